"""All pictures of a catalogue in one Parquet file, one row per item, whatever became of it.

`images.parquet`: item_id (the corpus's items, in its order), status, and bytes: a JPEG whose short
side is bounded, null unless the status is ok. Row groups are small, so that readers stream.
"""

from __future__ import annotations

import pyarrow as pa

OK = "ok"
NO_LINK = "no-link"  # the source names no picture
NOT_FOUND = "not-found"  # the link is dead, or the file is not there
NOT_AN_IMAGE = "not-an-image"  # HTML, truncated, or anything Pillow cannot read whole
TOO_LARGE = "too-large"  # more bytes or pixels than allowed (decompression bombs)
STATUSES = (OK, NO_LINK, NOT_FOUND, NOT_AN_IMAGE, TOO_LARGE)

IMAGES_SCHEMA = pa.schema(
    [("item_id", pa.string()), ("status", pa.string()), ("bytes", pa.binary())]
)
ROW_GROUP_ROWS = 512
