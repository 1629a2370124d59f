"""Fuzzed readers; what may stand where an id or a text ought to; bytes that were damaged."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path
from typing import Any, NamedTuple

from hypothesis import strategies as st


class Reader(NamedTuple):
    """Cases, and how one is written into a folder and read from there.

    `read` returns where the case was accepted and raises InputError where it was refused; an
    AssertionError says that what was accepted is not what a reference reads.
    """

    cases: st.SearchStrategy[Any]
    read: Callable[[Path, Any], object]


WORDS = st.text(
    st.characters(codec="utf-8", exclude_categories=["Cs"]), max_size=12
) | st.sampled_from(
    ["", "007", "i1", "u1", "&amp;", "&#" + "9" * 5000 + ";", "a\0b", " ", "\u2028"]
)
BROKEN = st.sampled_from(["\ud800", "a\udfffb", "\ud83d\ude00"])  # surrogates, lone and in a pair
NUMBERS = st.one_of(
    st.integers(-10, 10),
    st.floats(allow_nan=True, allow_infinity=True),
    st.sampled_from([10**18, 2**63 - 1, 2**63, -(2**63), 10**400, 1e30, 1e300, True, False]),
)
NUMBER_TEXTS = st.one_of(
    st.integers().map(str),
    st.floats().map(str),
    st.sampled_from(
        ["1e30", "1e400", "9" * 400, "Infinity", "NaN", "-.5", "5.", "1_0", "٣", " 4 "]
    ),
)
SCALARS = st.one_of(st.none(), WORDS, BROKEN, NUMBERS, NUMBER_TEXTS)
ANYTHING = st.recursive(
    SCALARS,
    lambda inner: st.lists(inner, max_size=3) | st.dictionaries(WORDS, inner, max_size=3),
    max_leaves=6,
)
LENGTHS = st.sampled_from([10, 500, 5_000, 100_000])
# Texts that parsers of nested things meet with a recursion.
DEEP = st.builds(
    lambda unit, count: unit * count,
    st.sampled_from(["-", "[", "(", "{", '{"a":', "not ", "1+", "~", "[[],", "- "]),
    LENGTHS,
)


def mostly(usual: st.SearchStrategy[Any], rare: st.SearchStrategy[Any]) -> st.SearchStrategy[Any]:
    """`usual` seven times in eight: where all is hostile, only the first check is reached."""
    return st.integers(0, 7).flatmap(lambda draw: rare if draw == 0 else usual)


Damage = Callable[[bytes], bytes]


@st.composite
def damages(draw: st.DrawFn) -> Damage:
    """A change to some bytes: none, other values, a cut, or an insertion."""
    kind = draw(st.sampled_from(["none"] * 4 + ["other", "cut", "inserted"]))
    places = draw(st.lists(st.tuples(st.floats(0, 1), st.integers(0, 255)), max_size=4))
    if kind == "none" or not places:
        return bytes

    def damage(content: bytes) -> bytes:
        changed = bytearray(content)
        for share, value in places:
            place = int(share * len(changed))
            if kind == "cut":
                del changed[place:]
            elif kind == "inserted":
                changed.insert(place, value)
            elif changed:
                changed[min(place, len(changed) - 1)] = value
        return bytes(changed)

    return damage
