"""What stage `download` leaves of each kind of source; captioned pictures of tiny encoders."""

from __future__ import annotations

import gzip
import hashlib
import io
import zipfile
from collections.abc import Iterable
from pathlib import Path
from typing import Any

import numpy as np
from PIL import Image

from lmm4rec.catalogue.sources.base import SOURCE_FILE
from lmm4rec.catalogue.sources.demo import METADATA, REVIEWS
from lmm4rec.catalogue.sources.demo_world import captioned_pictures, other_captions
from lmm4rec.encoders.picture_texts import decode
from tests.drift.numbers import Numbers
from tests.drift.world import run_stage, write_params

SOURCE: dict[str, Any] = {
    "kind": "demo", "revision": 1, "seed": 3, "users": 120, "items": 60,
    "interactions_per_user": 9.0, "both_weight": 1.2, "picture_weight": 1.6, "text_weight": 1.6,
    "hidden_weight": 0.5, "popularity_weight": 0.5, "missing_share": 0.1,
}  # fmt: skip
SMALL = ("--dataset", "small", "--output", "raw", "--record", "record.json")
N_CAPTIONS = 40
CELLS = 4  # of each side, in which a picture's colours are summed up


def catalogue(project: Path) -> Numbers:
    """Reviews and metadata to the letter; pictures by their colours."""
    write_params(project, {"datasets": {"small": {"source": SOURCE}}})
    run_stage(project, "download", *SMALL)
    raw = project / "raw"
    texts = {name: _sum(gzip.decompress((raw / name).read_bytes())) for name in (REVIEWS, METADATA)}
    with zipfile.ZipFile(raw / "images.zip") as archive:
        pictures = {name: archive.read(name) for name in archive.namelist()}
    return {
        "texts": texts,
        "names": _sum("\n".join(pictures).encode()),
        "pictures": _seen(pictures.values()),
    }


def amazon2014(project: Path) -> Numbers:
    """The two files of a category as a mirror has them, and what is noted of them."""
    mirror = project / "mirror"
    mirror.mkdir()
    host = "http://snap.invalid/files"
    files = {}
    for key, name in (("reviews", "reviews_Toy_5.json.gz"), ("metadata", "meta_Toy.json.gz")):
        (mirror / name).write_bytes(gzip.compress(f"{{'file': '{key}'}}\n".encode(), mtime=0))
        files[key] = {"url": f"{host}/{name}", "sha256": None}
    return _downloaded(project, {"kind": "amazon2014", **files}, mirror)


def files(project: Path) -> Numbers:
    """Tables and pictures of a person's own folder."""
    own = project / "own"
    (own / "pictures").mkdir(parents=True)
    (own / "log.csv").write_text("who,what\n1,a\n")
    (own / "items.csv").write_text("what,name\na,Lamp\n")
    stream = io.BytesIO()
    Image.new("RGB", (9, 7), (200, 30, 30)).save(stream, "PNG")
    (own / "pictures/a.png").write_bytes(stream.getvalue())
    columns = dict.fromkeys(("brand", "categories", "description", "image"))
    return _downloaded(project, {
        "kind": "files", "folder": str(own), "images": "pictures",
        "interactions": {
            "format": "table", "file": "log.csv", "separator": ",", "user": "who", "item": "what",
            "rating": None, "timestamp": None, "split": None,
        },
        "items": {
            "file": "items.csv", "separator": ",", "item": "what", "title": "name", **columns,
        },
    })  # fmt: skip


def _downloaded(project: Path, source: dict[str, Any], mirror: Path | None = None) -> Numbers:
    """Each file that lies in the raw folder then, but for the section itself; archives unpacked."""
    write_params(project, {"datasets": {"small": {"source": {"revision": 1, **source}}}})
    run_stage(project, "download", *SMALL, mirror=mirror)
    found = {}
    for path in sorted((project / "raw").iterdir()):
        if path.suffix == ".zip":
            with zipfile.ZipFile(path) as archive:
                found |= {f"{path.name}/{n}": _sum(archive.read(n)) for n in archive.namelist()}
        elif path.name != SOURCE_FILE:
            found[path.name] = _sum(path.read_bytes())
    return found


def captions(_: Path) -> Numbers:
    """Both captions of each picture to the letter; pictures by their colours."""
    pairs = list(captioned_pictures(N_CAPTIONS, seed=5))
    others = list(other_captions(N_CAPTIONS, seed=5))
    return {
        "captions": _sum("\n".join(caption for _, caption in pairs).encode()),
        "others": _sum("\n".join(others).encode()),
        "pictures": _seen(picture for picture, _ in pairs),
    }


def _seen(pictures: Iterable[bytes]) -> Numbers:
    """Mean and deviation in each cell of all pictures laid over one another, and of each alone."""
    arrays = []
    for content in pictures:
        picture = decode(content)
        assert picture is not None
        arrays.append(np.asarray(picture, np.float64))
    stack = np.stack(arrays)  # [N, S, S, 3]
    count, side = stack.shape[:2]
    size = side // CELLS
    cells = stack.reshape(count, CELLS, size, CELLS, size, 3)
    return {
        "shape": list(stack.shape),
        "means": np.round(cells.mean((0, 2, 4)), 3).tolist(),
        "deviations": np.round(cells.std((2, 4)).mean(0), 3).tolist(),
        "each": np.round(stack.mean((1, 2)), 3).tolist(),
    }


def _sum(content: bytes) -> str:
    return hashlib.sha256(content).hexdigest()[:16]


CATALOGUE = {"demo": catalogue, "amazon2014": amazon2014, "files": files}
CAPTIONS = {"web": captions}
