"""Ratings: numbers out of text, with a decimal point or, throughout a column, a decimal comma."""

from __future__ import annotations

import pyarrow as pa
import pyarrow.compute as pc

from lmm4rec.catalogue.readers.layout import Texts, flat

LARGEST_RATING = 3.4e38  # of a float32
_POINT = r"^[+-]?(\d+\.?\d*|\.\d+)([eE][+-]?\d+)?$"
_COMMA = r"^[+-]?\d*,\d+$"
_THOUSANDS = r"^[+-]?\d{1,3},\d{3}$"  # or three decimals: nobody can tell


def read_ratings(column: Texts) -> tuple[pa.Array, pa.Array]:
    """(float64 [n] with nulls, is_bad [n]): bad is what is no finite number of a float32.

    An empty cell is null and not bad. "19,90" is a number where no cell of the column has a point
    for its decimals, and not all commas stand before three digits.
    """
    texts = pc.utf8_trim_whitespace(flat(column))
    is_there = pc.fill_null(pc.not_equal(texts, ""), False)
    has_comma = _matches(texts, _COMMA)
    if pc.any(has_comma, min_count=0).as_py() and _are_decimals(texts, has_comma):
        texts = pc.if_else(has_comma, pc.replace_substring(texts, ",", "."), texts)
    is_number = _matches(texts, _POINT)
    numbers = pc.cast(pc.if_else(is_number, texts, None), pa.float64())
    is_good = pc.fill_null(pc.less(pc.abs(numbers), LARGEST_RATING), False)
    return pc.if_else(is_good, numbers, None), pc.and_(is_there, pc.invert(is_good))


def _are_decimals(texts: pa.Array, has_comma: pa.Array) -> bool:
    has_point = pc.match_substring(texts, ".")
    is_either = pc.all(_matches(texts.filter(has_comma), _THOUSANDS), min_count=0).as_py()
    return not is_either and not pc.any(has_point, min_count=0).as_py()


def _matches(texts: pa.Array, pattern: str) -> pa.Array:
    return pc.fill_null(pc.match_substring_regex(texts, pattern), False)
