"""Why pictures and items do not find each other: changes of names tried out, one after another."""

from __future__ import annotations

import re
import unicodedata
from collections import Counter
from collections.abc import Callable, Iterator, Sequence
from functools import partial
from typing import NamedTuple

from lmm4rec.catalogue.pictures.containers import PICTURE_ENDINGS

_MANY = 0.5  # of what matches: less is no explanation


class Hinted(NamedTuple):
    """The shares that match without and with a change, and an item and a picture that then do."""

    before: float
    after: float
    item: str
    picture: str


Change = Callable[[str], str]
Trial = Callable[[Change, Change], Hinted | None]  # of changed ids and changed names


def hint_for(item_ids: Sequence[str], stems: Sequence[str], tried: Trial) -> str | None:
    """A sentence of what is wrong and what to do, for the first change that lets many match."""
    for ids, names, words in _changes(item_ids, stems):
        found = tried(ids, names)
        if found is None or found.after <= _MANY or found.after <= found.before:
            continue
        shares = f"{_percent(found.after)} would match instead of {_percent(found.before)}"
        return words.format(
            item=found.item, changed=ids(found.item), picture=found.picture, shares=shares
        )
    return None


_ZEROS_OF_IDS = (
    "the ids have lost their leading zeros: item {item!r} is {changed!r} in the pictures' names "
    "({picture}), and with ids of that length {shares}; write the ids as text, zeros included"
)
_ZEROS = (
    "the ids and the pictures' names differ in leading zeros: item {item!r} is the picture "
    "{picture}, and without such zeros {shares}; write both alike"
)
_ENDING_IN_IDS = (
    "the ids end like files: item {item!r} is the picture {picture}, and without the ending "
    "{shares}; write the ids without it"
)
_CASE = (
    "the ids and the pictures' names differ in upper and lower case: item {item!r} is the picture "
    "{picture}, and with case put aside {shares}; write both alike"
)
_FORM = (
    "the ids and the pictures' names use different characters for the same letters: item {item!r} "
    "is the picture {picture}, and in one form (NFKC) {shares}; write both alike"
)
_DEPTH = (
    "the ids name folders that the pictures do not lie in: item {item!r} is the picture {picture}, "
    "and by the ids' last part {shares}; write the ids without folders"
)


def _changes(item_ids: Sequence[str], stems: Sequence[str]) -> Iterator[tuple[Change, Change, str]]:
    """What to do to ids and to names, and the sentence to say if that was it."""
    length = _commonest_length(stems)
    if length is not None:
        yield partial(_padded, length), _same, _ZEROS_OF_IDS
    yield _without_zeros, _without_zeros, _ZEROS
    yield _without_ending, _same, _ENDING_IN_IDS
    yield str.casefold, str.casefold, _CASE
    yield _compatible, _compatible, _FORM
    if any("/" in item for item in item_ids):
        yield _last_part, _same, _DEPTH


def _commonest_length(stems: Sequence[str]) -> int | None:
    """Of the digits that names begin with."""
    digits = (re.match(r"\d+", stem) for stem in stems)
    lengths = Counter(len(found[0]) for found in digits if found)
    return lengths.most_common(1)[0][0] if lengths else None


def _padded(length: int, text: str) -> str:
    return text.zfill(length) if text.isdecimal() else text


def _same(text: str) -> str:
    return text


def _without_zeros(text: str) -> str:
    return re.sub(r"^0+(?=\d)", "", text)


def _without_ending(text: str) -> str:
    stem, dot, ending = text.rpartition(".")
    return stem if dot and f".{ending.lower()}" in PICTURE_ENDINGS else text


def _compatible(text: str) -> str:
    return unicodedata.normalize("NFKC", text)


def _last_part(text: str) -> str:
    return text.rpartition("/")[2]


def _percent(share: float) -> str:
    return f"{100 * share:.0f} %"
