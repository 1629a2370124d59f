"""Ids that were harmed on their way: digits that a spreadsheet dropped, one id in two spellings."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path

import pyarrow as pa
import pyarrow.compute as pc

from lmm4rec.errors import InputError

# As spreadsheets write a number of many digits; nobody writes an id so.
_SHORTENED = r"^\d(\.\d+)?E\+\d+$"
_MOST_SHORTENED = 0.01
_SHOWN = 2


def refuse_shortened(ids: pa.Array, path: Path, columns: Sequence[str]) -> None:
    """InputError where ids were written as 4.00123E+12: what was cut off cannot be had back."""
    distinct = pc.unique(ids).drop_null()
    is_short = pc.match_substring_regex(distinct, _SHORTENED)
    count = pc.sum(is_short, min_count=0).as_py()
    if count > _MOST_SHORTENED * len(distinct):
        raise InputError(
            f"{path}: {', '.join(columns)} holds {distinct.filter(is_short)[0].as_py()!r} and "
            f"{count - 1} more such ids, whose last digits a spreadsheet dropped; export that "
            "column as text"
        )


def alike(ids: pa.Array) -> list[list[str]]:
    """Ids that differ in case, leading zeros, inner blanks or a .0 at the end alone."""
    found: dict[str, list[str]] = {}
    for one in ids.to_pylist():
        found.setdefault(_skeleton(one), []).append(one)
    return [same for same in found.values() if len(same) > 1]


def told(groups: list[list[str]]) -> str | None:
    """The first of them in words; null where there are none."""
    return None if not groups else " and ".join(map(repr, groups[0][:_SHOWN]))


def _skeleton(one: str) -> str:
    bare = "".join(one.split()).casefold()
    if bare.endswith(".0") and bare[:-2].isdecimal():
        bare = bare[:-2]
    return bare.lstrip("0") or bare
