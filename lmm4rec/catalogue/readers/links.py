"""Links and names of pictures out of cells, the main one first."""

from __future__ import annotations

import re
from typing import Any

import pyarrow as pa

from lmm4rec.catalogue.readers.layout import Texts
from lmm4rec.catalogue.readers.lists import by_distinct, parsed

_SIZES = ("hi_res", "large", "url", "src", "image", "link", "path", "file_name", "thumb")
_SCHEME = re.compile(r"https?://", re.IGNORECASE)
_BETWEEN_LINKS = re.compile(r"\s*\|\s*(?=https?://)|[,;]?\s+(?=https?://)|,(?=https?://)", re.I)
_BETWEEN_NAMES = re.compile(r"\s*\|\s*|,\s+|;\s+")
_IS_NAME = re.compile(r"\S.*\.[A-Za-z0-9]{2,5}$")


def as_links(column: Texts) -> pa.Array:
    """list<string> [n], no null in it: each cell's links, the main one first, none twice.

    A cell holds a link; links joined by bars, commas or blanks (a comma inside a link stays, where
    no blank or new link follows it); a JSON or Python list; objects with hi_res, large or thumb
    and a variant, of which MAIN comes first; or one object of such lists.
    """
    return by_distinct(column, links)


def links(text: str) -> list[str]:
    """One cell, as `as_links` has it."""
    text = text.strip()
    value = parsed(text)
    if isinstance(value, dict):
        value = _rows(value)
    if isinstance(value, list | tuple):
        entries = [one for one in value if isinstance(one, dict)]
        if entries:
            entries.sort(key=lambda one: str(one.get("variant")).upper() != "MAIN")
            found = [_largest(one) for one in entries]
        else:
            found = [one for one in value if isinstance(one, str)]
    else:
        found = _pieces(text)
    return list(dict.fromkeys(_writable(one.strip()) for one in found if one.strip()))


def _rows(value: dict[str, Any]) -> list[dict[str, Any]]:
    """{"large": [a, b]} as [{"large": a}, {"large": b}]; any other object as the only one."""
    lists = {name: cells for name, cells in value.items() if isinstance(cells, list)}
    if not lists:
        return [value]
    longest = max(map(len, lists.values()))
    return [
        {name: cells[k] for name, cells in lists.items() if k < len(cells)} for k in range(longest)
    ]


def _largest(entry: dict[str, Any]) -> str:
    return next((one for size in _SIZES if isinstance(one := entry.get(size), str) and one), "")


def _pieces(text: str) -> list[str]:
    if _SCHEME.search(text):
        return _BETWEEN_LINKS.split(text)
    names = _BETWEEN_NAMES.split(text)
    # a name may hold a comma itself: all parts must look like names
    return names if "|" in text or all(map(_IS_NAME.match, names)) else [text]


def _writable(text: str) -> str:
    return text.encode("utf-16", "surrogatepass").decode("utf-16", "replace")
