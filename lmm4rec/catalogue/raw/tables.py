"""What every raw catalogue is read into, and where its files lie."""

from __future__ import annotations

import pyarrow as pa

FILES = "files"  # the folder below the raw one where they lie as they came

RAW_INTERACTIONS = pa.schema(
    [
        ("user_id", pa.string()),
        ("item_id", pa.string()),
        ("kind", pa.string()),  # view, purchase, ...; null where the source tells no kinds apart
        ("rating", pa.float64()),  # null where the source has none; the kind's weight with kinds
        ("timestamp", pa.int64()),  # seconds since 1970, 0 where the source has none
        ("split", pa.string()),  # train, validation or test; null unless the source brings a split
    ]
)
TEXT_FIELDS = ("title", "brand", "categories", "description")
RAW_ITEMS = pa.schema(
    [
        ("item_id", pa.string()),
        *((name, pa.string()) for name in TEXT_FIELDS),
        ("group", pa.string()),  # the product that the item is a variant of; null: none is known
        ("is_draft", pa.bool_()),  # not offered: no new arrival
    ]
)
