"""A category of Amazon's 2014 release in a folder: lines of reviews and of metadata, packed."""

from __future__ import annotations

import gzip
import json
from collections.abc import Sequence
from pathlib import Path

from lmm4rec.catalogue.raw.catalogue import RawCatalogue, open_raw
from tests.catalogue.sources.catalogues import download

REVIEWS, METADATA = "reviews_Toy_5.json.gz", "meta_Toy.json.gz"
WHEN = 1_400_000_000


def review(user: str, item: str, stars: float = 5.0, when: int = WHEN) -> dict[str, object]:
    return {"reviewerID": user, "asin": item, "overall": stars, "unixReviewTime": when}


def packed(path: Path, lines: Sequence[str | bytes]) -> Path:
    texts = (line.encode() if isinstance(line, str) else line for line in lines)
    path.write_bytes(gzip.compress(b"".join(line + b"\n" for line in texts), 1, mtime=0))
    return path


def category(
    folder: Path, reviews: Sequence[str | bytes], metadata: Sequence[str | bytes] | None = None
) -> RawCatalogue:
    """What download makes of these lines, as preset amazon-2014.

    Its files are found under `files/` of the catalogue's folder by `REVIEWS` and `METADATA`.
    """
    theirs = folder / "theirs"
    theirs.mkdir(parents=True)
    packed(theirs / REVIEWS, reviews)
    if metadata is not None:
        packed(theirs / METADATA, metadata)
    return open_raw(download(theirs, folder / "made", preset="amazon-2014"))


def reviewed(*items: str) -> list[str]:
    """Lines of reviews in which a user took each of the items."""
    return [json.dumps(review("u1", item)) for item in items]
