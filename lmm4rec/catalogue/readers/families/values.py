"""Single values of JSON, of Python literals and of documents, as the text a column holds."""

from __future__ import annotations

import ast
import json
from collections import Counter
from collections.abc import Mapping, Sequence
from typing import Any


class Fault(ValueError):
    """A value that cannot be used; its name is what the skipped line is counted under."""


# What reading a line's value may raise.
UNPARSABLE = (ValueError, TypeError, KeyError, SyntaxError, AttributeError, RecursionError)


def parsed(line: bytes | str) -> dict[str, Any]:
    """The object of a line of JSON or of Python literals; one of `UNPARSABLE` where it is none."""
    text = line.decode("utf-8") if isinstance(line, bytes) else line
    try:
        value = json.loads(text)
    except ValueError:
        try:
            value = ast.literal_eval(text.strip())
        except MemoryError:  # how Python's parser says that a text is nested too deeply
            raise ValueError("nested too deeply") from None
    if not isinstance(value, dict):
        raise ValueError("not a dict")
    return value


def as_text(value: Any, counts: Counter[str]) -> str | None:
    """Text as it is, numbers in digits, lists and objects as JSON; null where there is nothing.

    Halves of letters, which JSON and literals can name, become U+FFFD (counted).
    """
    if value is None or value == "":
        return None
    if isinstance(value, str):
        text = value
    elif isinstance(value, bool):
        text = "true" if value else "false"
    elif isinstance(value, int | float):
        text = str(value)
    else:
        text = json.dumps(value, ensure_ascii=False, separators=(",", ":"))
    if _can_be_written(text):
        return text
    counts["texts_with_broken_characters"] += 1
    # halves that make a pair are joined, lone ones become U+FFFD
    return text.encode("utf-16", "surrogatepass").decode("utf-16", "replace")


def cells_of(
    item: Mapping[str, Any], columns: Sequence[str], ids: frozenset[str], counts: Counter[str]
) -> list[str | None]:
    """An object's values at `columns`; `Fault` where an id is one that cannot be written."""
    for column in ids:
        value = item.get(column)
        if isinstance(value, str) and not _can_be_written(value):
            raise Fault("ids_with_broken_characters")
        if isinstance(value, float):
            raise Fault("ids_with_fractions")
        if isinstance(value, bool) or not isinstance(value, str | int | None):
            raise Fault("ids_not_text")
    return [as_text(item.get(column), counts) for column in columns]


def _can_be_written(text: str) -> bool:
    """Whether it is Unicode: JSON and literals can also name halves of a surrogate pair."""
    try:
        text.encode("utf-8")
    except UnicodeEncodeError:
        return False
    return True
