"""Lists out of cells: JSON or Python lists as text, or parts joined by bars, arrows or commas."""

from __future__ import annotations

import ast
import json
import re
from collections.abc import Callable
from typing import Any

import pyarrow as pa

from lmm4rec.catalogue.readers.layout import Texts, flat

_LONGEST = 1 << 20  # letters of a cell: parsed, a hostile one takes 300 times that
_NOTHING = frozenset(("(no genres listed)", "nan", "none", "null", "[]", "{}"))
_COMMA_BETWEEN = re.compile(r"""['"\]]\s*,""")
_BLANK_BETWEEN = re.compile(r"""(?<=['"])\s+(?=['"])""")


def as_lists(column: Texts, split: bool = True) -> pa.Array:
    """list<string> [n], no null in it: the parts of each cell, an empty list where there is none.

    Of a list of paths the first is taken, of objects their names; nulls inside are skipped. With
    `split`, a cell that is no list is cut at bars, else at " > " and ", "; without, it is one part.
    """
    return by_distinct(column, lambda text: parts(text, split))


def by_distinct(column: Texts, convert: Callable[[str], list[str]]) -> pa.Array:
    """`convert` of each cell; equal cells are converted once."""
    coded = flat(column).dictionary_encode()
    cells = [convert(text) for text in coded.dictionary.to_pylist()]
    cells.append([])  # of null
    codes = coded.indices.fill_null(len(cells) - 1)
    return pa.array(cells, pa.list_(pa.string())).take(codes)


def parts(text: str, split: bool = True) -> list[str]:
    """One cell, as `as_lists` has it."""
    text = text.strip()
    if not text or text.lower() in _NOTHING:
        return []
    value = parsed(text)
    if isinstance(value, list | tuple):
        return _flattened(value)
    if isinstance(value, dict):
        return [name] if (name := _name(value)) else []
    if not split:
        return [text]
    if text.startswith("[") and text.endswith("]"):  # a list without quotes
        text = text[1:-1]
    pieces = text.split("|") if "|" in text else re.split(r" > |, ", text)
    return [piece for piece in map(str.strip, pieces) if piece]


def parsed(text: str) -> Any:
    """The list or object that a cell holds as JSON or as Python writes it; None if it is none."""
    if not text.startswith(("[", "{")) or len(text) > _LONGEST:
        return None
    try:
        return json.loads(text)
    except (ValueError, RecursionError):
        pass
    if not _COMMA_BETWEEN.search(text):  # numpy writes ['a' 'b'], which Python reads as ['ab']
        text = _BLANK_BETWEEN.sub(", ", text)
    try:
        return ast.literal_eval(text)
    except (ValueError, TypeError, SyntaxError, MemoryError, RecursionError):
        return None


def _flattened(value: list[Any] | tuple[Any, ...]) -> list[str]:
    first = next((one for one in value if one is not None), None)
    if isinstance(first, list | tuple):  # paths
        return _flattened(first)
    found = [_name(one) for one in value]
    return [name for name in found if name]


def _name(value: Any) -> str:
    if isinstance(value, dict):
        value = value.get("name") or value.get("title")
    if value is None or isinstance(value, bool | list | tuple | dict):
        return ""
    text = str(value).strip()
    # halves of letters cannot be written
    return text.encode("utf-16", "surrogatepass").decode("utf-16", "replace")
