"""Single values of other people's records: an id, a number, a time, a text, or a named fault.

Whatever JSON or a Python literal can hold may stand where an id or a number ought to.
"""

from __future__ import annotations

import html
import math
import re
from collections import Counter
from contextlib import suppress
from typing import Any

_SPACE = re.compile(r"\s+")
LARGEST_RATING = 3.4e38  # of a float32
SECONDS_BEFORE = 2.0**63  # of a time, either way: what an int64 holds


class Fault(ValueError):
    """A value that cannot be used; its name is what the skipped line is counted under."""


def as_id(value: Any) -> str | None:
    """A text that can be written; None where there is none.

    Numbers are refused: nobody can tell 7 from 007 afterwards.
    """
    if value is None:
        return None
    if not isinstance(value, str):
        raise Fault("ids_not_text")
    if not _can_be_written(value):
        raise Fault("ids_with_broken_characters")
    return value


def as_rating(value: Any) -> float:
    """A number that is finite as float32 too, or the text of one."""
    rating = _number(value, "ratings_not_numbers")
    if abs(rating) > LARGEST_RATING:
        raise Fault("ratings_not_numbers")
    return rating


def as_seconds(value: Any) -> int:
    """Whole seconds that fit into an int64; fractions are cut."""
    seconds = value if type(value) is int else math.trunc(_number(value, "times_not_numbers"))
    if not -SECONDS_BEFORE <= seconds < SECONDS_BEFORE:
        raise Fault("times_out_of_range")
    return seconds


def as_text(value: Any, counts: Counter[str]) -> str:
    """One line, entities unescaped; empty where there is nothing, or (counted) no text."""
    return plain(_written(value, counts))


def as_link(value: Any, counts: Counter[str]) -> str | None:
    """A text without the space around it; None where there is none."""
    return _written(value, counts).strip() or None


def plain(text: str) -> str:
    """One line, entities unescaped."""
    with suppress(ValueError):  # an entity's number has more digits than Python reads
        text = html.unescape(text)
    return _SPACE.sub(" ", text).strip()


def _number(value: Any, fault: str) -> float:
    if isinstance(value, bool) or not isinstance(value, int | float | str):
        raise Fault(fault)
    try:
        number = float(value)
    except (ValueError, OverflowError):
        raise Fault(fault) from None
    if not math.isfinite(number):
        raise Fault(fault)
    return number


def _written(value: Any, counts: Counter[str]) -> str:
    if not isinstance(value, str):
        counts.update(["fields_not_text"] if value is not None else [])
        return ""
    if _can_be_written(value):
        return value
    counts["texts_with_broken_characters"] += 1
    # halves that make a pair are joined, lone ones become U+FFFD
    return value.encode("utf-16", "surrogatepass").decode("utf-16", "replace")


def _can_be_written(text: str) -> bool:
    """Whether it is Unicode: JSON and literals can also name halves of a surrogate pair."""
    try:
        text.encode("utf-8")
    except UnicodeEncodeError:
        return False
    return True
