"""The pictures of a catalogue in Parquet: one row per item, whatever became of it, and the others.

`images.parquet`: item_id (the corpus's items, in its order), status, and bytes: a JPEG whose short
side is bounded, null unless the status is ok. `more_images.parquet`: likewise the further pictures
of items of which several are kept, by item, then by position; empty where one is kept. Row groups
are small, so that readers stream.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterable
from pathlib import Path

import pyarrow as pa
import pyarrow.parquet as pq

OK = "ok"
NO_LINK = "no-link"  # the source names no picture
NOT_FOUND = "not-found"  # the link is dead, or the file is not there
REFUSED = "refused"  # the link leads to an address that is not asked (public_addresses)
NOT_AN_IMAGE = "not-an-image"  # HTML, truncated, or anything Pillow cannot read whole
TOO_LARGE = "too-large"  # more bytes or pixels than allowed (decompression bombs)
STATUSES = (OK, NO_LINK, NOT_FOUND, NOT_AN_IMAGE, TOO_LARGE)

IMAGES, MORE_IMAGES = "images.parquet", "more_images.parquet"
IMAGES_SCHEMA = pa.schema(
    [("item_id", pa.string()), ("status", pa.string()), ("bytes", pa.binary())]
)
MORE_IMAGES_SCHEMA = pa.schema(
    [
        ("item_id", pa.string()),
        ("position", pa.int32()),
        ("status", pa.string()),
        ("bytes", pa.binary()),
    ]
)
ROW_GROUP_ROWS = 512


def write_images(path: Path, row_groups: Iterable[pa.Table]) -> dict[str, int]:
    """Write tables of `IMAGES_SCHEMA`, each as a row group, as they come; counts by status.

    Refused links are counted where there are any: most catalogues have none.
    """
    return _write(path, IMAGES_SCHEMA, row_groups)


def write_more_images(path: Path, parts: Iterable[pa.Table]) -> dict[str, int]:
    """Write tables of `MORE_IMAGES_SCHEMA`, as `write_images` does."""
    return _write(path, MORE_IMAGES_SCHEMA, parts)


def is_link(picture: str) -> bool:
    """Whether it is asked for over the network; what else names a picture is in the archive."""
    return picture[:8].lower().startswith(("http://", "https://"))


def _write(path: Path, schema: pa.Schema, parts: Iterable[pa.Table]) -> dict[str, int]:
    counts: Counter[str] = Counter()
    # JPEGs do not shrink, and a dictionary of them would only be thrown away again
    options = {"compression": "none", "use_dictionary": False}
    with pq.ParquetWriter(path, schema, **options) as writer:
        for rows in parts:
            writer.write_table(rows, row_group_size=ROW_GROUP_ROWS)
            counts.update(rows["status"].to_pylist())
    refused = {REFUSED: counts[REFUSED]} if counts[REFUSED] else {}
    return {status: counts[status] for status in STATUSES} | refused
