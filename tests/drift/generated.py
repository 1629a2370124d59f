"""What is generated here: the demo's catalogue, and the captioned pictures of tiny encoders."""

from __future__ import annotations

import gzip
import hashlib
import zipfile
from collections.abc import Iterable
from pathlib import Path
from typing import Any

import numpy as np

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
N_CAPTIONS = 40
CELLS = 4  # of each side, in which a picture's colours are summed up


def catalogue(project: Path) -> Numbers:
    """Reviews and metadata to the letter; pictures by their colours."""
    write_params(project, {"datasets": {"small": {"source": SOURCE}}})
    run_stage(project, "download", "--dataset", "small", "--output", "raw")
    raw = project / "raw"
    texts = {name: _sum(gzip.decompress((raw / name).read_bytes())) for name in (REVIEWS, METADATA)}
    with zipfile.ZipFile(raw / "images.zip") as archive:
        pictures = {name: archive.read(name) for name in archive.namelist()}
    return {
        "texts": texts,
        "names": _sum("\n".join(pictures).encode()),
        "pictures": _seen(pictures.values()),
    }


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


CATALOGUE = {"demo": catalogue}
CAPTIONS = {"web": captions}
