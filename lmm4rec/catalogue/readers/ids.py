"""Ids are text: kept as written, but for blanks around them and the normal form of letters."""

from __future__ import annotations

import unicodedata

import pyarrow as pa
import pyarrow.compute as pc

from lmm4rec.catalogue.readers.layout import Texts, flat

_INVISIBLE = r"[\x00\x{200b}-\x{200d}\x{2060}\x{feff}]"


def clean_ids(column: Texts) -> tuple[pa.Array, int]:
    """(ids in NFC without outer blanks, null where empty; how many the trimming changed).

    Nothing goes through a number: "007", "1e5" and "NA" are ids.
    """
    texts = flat(column)
    trimmed = pc.utf8_trim_whitespace(_visible(texts))
    changed = pc.sum(pc.not_equal(trimmed, texts), min_count=0).as_py()
    normal = composed(trimmed)
    return pc.if_else(pc.equal(normal, ""), None, normal), int(changed)


def _visible(texts: pa.Array) -> pa.Array:
    """Without marks and blanks of no width, and out of the cells by which spreadsheets keep text.

    `="00123"` is how an export says 00123.
    """
    for pattern, new in ((_INVISIBLE, ""), (r'^="([^"]*)"$', r"\1")):
        if pc.any(pc.match_substring_regex(texts, pattern), min_count=0).as_py():
            texts = pc.replace_substring_regex(texts, pattern, new)
    return texts


def composed(texts: pa.Array) -> pa.Array:
    """The texts in NFC.

    pyarrow's own utf8_normalize is not used: it gives NFD whatever form is asked for (25.0.1).
    """
    is_more = pc.fill_null(pc.invert(pc.string_is_ascii(texts)), False)
    if not pc.any(is_more, min_count=0).as_py():
        return texts
    normal = [unicodedata.normalize("NFC", text) for text in texts.filter(is_more).to_pylist()]
    return pc.replace_with_mask(texts, is_more, pa.array(normal, pa.string()))
