"""What stage `download` leaves of each kind of source; captioned pictures of tiny encoders."""

from __future__ import annotations

import gzip
import hashlib
import io
import json
import zipfile
from collections.abc import Iterable
from pathlib import Path
from typing import Any

import numpy as np
from PIL import Image

from lmm4rec.catalogue.raw.recipe import RECIPE_FILE, Recipe
from lmm4rec.catalogue.raw.tables import FILES
from lmm4rec.catalogue.sources.base import SOURCE_FILE
from lmm4rec.catalogue.sources.demo import METADATA, REVIEWS
from lmm4rec.catalogue.sources.demo_world import captioned_pictures, other_captions
from lmm4rec.catalogue.sources.folder import Folder
from lmm4rec.catalogue.sources.resolving import resolve
from lmm4rec.catalogue.sources.words import Words
from lmm4rec.encoders.picture_texts import decode
from lmm4rec.folders import read_json
from lmm4rec.params import check_section
from tests.drift.numbers import Numbers
from tests.drift.world import run_stage, write_params

SOURCE: dict[str, Any] = {
    "kind": "demo", "revision": 1, "seed": 3, "users": 120, "items": 60,
    "interactions_per_user": 9.0, "both_weight": 1.2, "picture_weight": 1.6, "text_weight": 1.6,
    "hidden_weight": 0.5, "popularity_weight": 0.5, "missing_share": 0.1,
}  # fmt: skip
FORMATS = Path(__file__).parents[1] / "catalogue" / "formats"
SMALL = ("--dataset", "small", "--output", "raw", "--record", "record.json")
N_CAPTIONS = 40
CELLS = 4  # of each side, in which a picture's colours are summed up


def catalogue(project: Path) -> Numbers:
    """Reviews and metadata to the letter; pictures by their colours."""
    write_params(project, {"datasets": {"small": {"source": SOURCE}}})
    run_stage(project, "download", *SMALL)
    raw = project / "raw"
    packed = {name: (raw / FILES / name).read_bytes() for name in (REVIEWS, METADATA)}
    texts = {name: _sum(gzip.decompress(content)) for name, content in packed.items()}
    with zipfile.ZipFile(raw / "images.zip") as archive:
        pictures = {name: archive.read(name) for name in archive.namelist()}
    return {
        "texts": texts,
        "recipe": _recipe(raw / RECIPE_FILE),
        "names": _sum("\n".join(pictures).encode()),
        "pictures": _seen(pictures.values()),
    }


def fetched(project: Path) -> Numbers:
    """The two files of a category as a mirror has them, and what is noted of them."""
    mirror = project / "mirror"
    mirror.mkdir()
    review = {"reviewerID": "u", "asin": "i", "overall": 5.0, "unixReviewTime": 1_400_000_000}
    lines = {"reviews_Toy_5": json.dumps(review), "meta_Toy": "{'asin': 'i', 'title': 'Lamp'}"}
    for name, line in lines.items():
        content = gzip.compress(f"{line}\n".encode(), mtime=0)
        (mirror / f"{name}.json.gz").write_bytes(content)
    return _downloaded(project, {"preset": "amazon-2014", "category": "Toy"}, mirror)


def folder(project: Path) -> Numbers:
    """Tables and pictures of a person's own folder, found and said."""
    own = project / "own"
    (own / "pictures").mkdir(parents=True)
    (own / "log.csv").write_text(
        "client,customer,sku,ordered_at\nx,1,a,2024-01-02\nx,2,b,2024-02-03\n"
    )
    (own / "items.csv").write_text("sku;name;family\na;Lamp;lamps\nb;Desk;desks\n")
    stream = io.BytesIO()
    Image.new("RGB", (9, 7), (200, 30, 30)).save(stream, "PNG")
    (own / "pictures/a_1.png").write_bytes(stream.getvalue())
    return _downloaded(project, {"folder": str(own), "group": "family"})


def formats(_: Path) -> Numbers:
    """How the folders of published formats are read."""
    found: Numbers = {}
    for theirs in sorted(path for path in FORMATS.iterdir() if path.is_dir()):
        recipe = resolve(Folder(theirs), Words(), None, any_preset=True)
        said = recipe.model_dump(mode="json", exclude_defaults=True)
        found[theirs.name] = _sum(json.dumps(said, sort_keys=True).encode())
    return found


def _downloaded(project: Path, source: dict[str, Any], mirror: Path | None = None) -> Numbers:
    """Each file that lies in the raw folder then, but for the section itself; archives unpacked."""
    write_params(project, {"datasets": {"small": {"source": {"revision": 1, **source}}}})
    run_stage(project, "download", *SMALL, mirror=mirror)
    found: Numbers = {}
    raw = project / "raw"
    for path in sorted(path for path in raw.rglob("*") if path.is_file()):
        name = path.relative_to(raw).as_posix()
        if path.suffix == ".zip":
            with zipfile.ZipFile(path) as archive:
                found |= {f"{name}/{n}": _sum(archive.read(n)) for n in archive.namelist()}
        elif name == RECIPE_FILE:
            found[name] = _recipe(path)
        elif name != SOURCE_FILE:
            found[name] = _sum(path.read_bytes())
    return found


def _recipe(path: Path) -> Numbers:
    """Without what stands there by default: a word more changes no recipe that lacks it."""
    recipe = check_section(read_json(path), Recipe, "recipe", path)
    said: Numbers = recipe.model_dump(mode="json", exclude_defaults=True)
    return said


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


CATALOGUE = {"demo": catalogue, "fetched": fetched, "folder": folder, "formats": formats}
CAPTIONS = {"web": captions}
