"""Ids are text: kept as written, but for blanks around them and the normal form of letters."""

from __future__ import annotations

import pyarrow as pa
import pyarrow.compute as pc

from lmm4rec.catalogue.readers.layout import Texts, flat


def clean_ids(column: Texts) -> tuple[pa.Array, int]:
    """(ids in NFC without outer blanks, null where empty; how many the trimming changed).

    Nothing goes through a number: "007", "1e5" and "NA" are ids.
    """
    texts = flat(column)
    trimmed = pc.utf8_trim_whitespace(texts)
    changed = pc.sum(pc.not_equal(trimmed, texts), min_count=0).as_py()
    normal = pc.utf8_normalize(trimmed, form="NFC")
    return pc.if_else(pc.equal(normal, ""), None, normal), int(changed)
