"""Whose picture is it? Told by the names of files and folders.

Read in this order: `<item>.<ending>`; `<item>_<k>`, `<item>-<k>`, `<item> (k)` and `<item>(k)`; a
folder named after the item. Where a file's own name and its folder's both name items, and several
folders hold files of one name (1.jpg, 2.jpg, ...), these only count, and the folders decide.
Unicode's composed and decomposed letters (NFC, NFD) are the same.
"""

from __future__ import annotations

import re
import unicodedata
from collections import Counter
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from typing import NamedTuple

import numpy as np
import pyarrow as pa

from lmm4rec.catalogue.corpus import PICTURES_SCHEMA
from lmm4rec.catalogue.pictures.containers import PICTURE_ENDINGS
from lmm4rec.catalogue.pictures.hints import Hinted, hint_for

_NUMBERED = re.compile(r"(?s)(?P<item>.+?)(?P<mark>[_-](?P<k>\d{1,18})| ?\((?P<b>\d{1,18})\))")
_IN_A_PACK = re.compile(
    r"(.+?\.(?:zip|tar|tgz|gz|tbz2|bz2|txz|xz))#(.+)", re.DOTALL | re.IGNORECASE
)
_CELL = re.compile(r"\.parquet#\d+/", re.IGNORECASE)
_FOLDER = "<item>/*"
_FEW = 0.5  # of items with a picture, and of pictures with an item: below both a hint is looked for


@dataclass(frozen=True)
class Matched:
    """Pictures and their items."""

    table: pa.Table  # `PICTURES_SCHEMA`, sorted by item, then position
    pattern: str | None  # how most are named: photos/**/<item>_<k>.jpg; None: there are none
    strangers: tuple[str, ...]  # files of no item, in the order of their names
    hint: str | None  # why so few match and what to do, where that can be seen


class _Reading(NamedTuple):
    """What a name says: the item, how it says so, and what orders the item's pictures."""

    item: str
    form: str
    order: tuple[int, int]


class _File(NamedTuple):
    name: str
    folders: tuple[str, ...]
    stem: str


def match_pictures(names: Sequence[str], item_ids: Sequence[str]) -> Matched:
    """The pictures of each item: `<item>.jpg` first, then by number, then in natural name order.

    Cells of Parquet files are passed over: they have a place and no name.
    """
    known = {composed(item): item for item in item_ids}
    files = [_parted(name) for name in sorted(names) if not is_cell(name)]
    found = _assigned(files, known)
    pictures: dict[str, list[tuple[_File, _Reading]]] = {}
    for file, reading in zip(files, found, strict=True):
        if reading is not None:
            pictures.setdefault(known[reading.item], []).append((file, reading))
    for of_item in pictures.values():
        of_item.sort(key=lambda one: (one[1].order, natural(one[0].name)))
    ordered = {item: [file.name for file, _ in pictures[item]] for item in sorted(pictures)}
    strangers = tuple(file.name for file, one in zip(files, found, strict=True) if one is None)
    hint = None
    if files and known and _share(found, known) < _FEW:
        hint = _hint(files, found, list(known))
    pairs = [(file, one) for file, one in zip(files, found, strict=True) if one is not None]
    return Matched(picture_table(ordered), _pattern(pairs), strangers, hint)


def picture_table(by_item: Mapping[str, Sequence[str]]) -> pa.Table:
    """`PICTURES_SCHEMA`, of each item's pictures in order."""
    counts = [len(pictures) for pictures in by_item.values()]
    items = np.repeat(np.arange(len(counts)), counts)
    positions = [position for count in counts for position in range(count)]
    ids = pa.array(list(by_item), pa.string()).take(pa.array(items, pa.int64()))
    flat = [picture for pictures in by_item.values() for picture in pictures]
    return pa.table([ids, pa.array(positions, pa.int32()), flat], schema=PICTURES_SCHEMA)


def is_cell(name: str) -> bool:
    """Whether it is a picture in a table's cell (`picture_locator`)."""
    return "#" in name and _CELL.search(name) is not None


def composed(text: str) -> str:
    """As letters are compared: NFC."""
    return unicodedata.normalize("NFC", text)


def natural(text: str) -> tuple[tuple[int, int, str, str], ...]:
    """A key by which 2 comes before 10."""
    key = []
    for part in re.findall(r"\d+|\D+", text):
        digits = part.lstrip("0")
        key.append((0, len(digits), digits, part) if part.isdecimal() else (1, 0, part, ""))
    return tuple(key)


def parts_of(name: str) -> tuple[tuple[str, ...], str]:
    """Folders and file name; what holds a packed picture (photos.zip#) counts as a folder."""
    pack = _IN_A_PACK.fullmatch(name) if "#" in name else None
    *folders, last = name.split("/") if pack is None else [*pack[1].split("/"), *pack[2].split("/")]
    return tuple(folders), last


def stem_of(file_name: str) -> str:
    """Without its ending, where that is a picture's: ids may hold dots."""
    stem, dot, ending = file_name.rpartition(".")
    return stem if dot and f".{ending.lower()}" in PICTURE_ENDINGS else file_name


def _parted(name: str) -> _File:
    folders, last = parts_of(composed(name))
    return _File(name, folders, stem_of(last))


def _assigned(files: list[_File], known: Mapping[str, object]) -> list[_Reading | None]:
    """What each file's name says, or its folder's."""
    by_name = [_of_name(file.stem, known) for file in files]
    by_folder = [_of_folder(file.folders, known) for file in files]
    both = [
        file.stem
        for file, own, its in zip(files, by_name, by_folder, strict=True)
        if own is not None and its is not None and own.item != its.item
    ]
    folders_decide = len(set(both)) < len(both)
    chosen: list[_Reading | None] = []
    for own, its in zip(by_name, by_folder, strict=True):
        of_folder = own is None or (folders_decide and its is not None)
        chosen.append(its if of_folder else own)
    return chosen


def _of_name(stem: str, known: Mapping[str, object]) -> _Reading | None:
    if stem in known:
        return _Reading(stem, "<item>", (0, 0))
    numbered = _NUMBERED.fullmatch(stem)
    if numbered is None or numbered["item"] not in known:
        return None
    mark = re.sub(r"\d+", "<k>", numbered["mark"])
    return _Reading(numbered["item"], f"<item>{mark}", (1, int(numbered["k"] or numbered["b"])))


def _of_folder(folders: tuple[str, ...], known: Mapping[str, object]) -> _Reading | None:
    nearest = next((folder for folder in reversed(folders) if folder in known), None)
    return None if nearest is None else _Reading(nearest, _FOLDER, (2, 0))


def _share(found: list[_Reading | None], known: Mapping[str, object]) -> float:
    """Of items that have a picture, or of pictures that have an item: the larger."""
    of_an_item = [reading.item for reading in found if reading is not None]
    return max(len(set(of_an_item)) / len(known), len(of_an_item) / len(found))


def _hint(files: list[_File], now: list[_Reading | None], item_ids: list[str]) -> str | None:
    share = _share(now, dict.fromkeys(item_ids))

    def tried(items: Callable[[str], str], names: Callable[[str], str]) -> Hinted | None:
        """What would match if ids and names were written so, and an example that then does."""
        known = {items(item): item for item in item_ids}
        changed = [
            _File(file.name, tuple(map(names, file.folders)), names(file.stem)) for file in files
        ]
        found = _assigned(changed, known)
        for file, before, after in zip(files, now, found, strict=True):
            if before is None and after is not None:
                return Hinted(share, _share(found, known), known[after.item], file.name)
        return None

    return hint_for(item_ids, [file.stem for file in files], tried)


def _pattern(pairs: list[tuple[_File, _Reading]]) -> str | None:
    """The commonest form below the folder that all share."""
    if not pairs:
        return None
    form = Counter(reading.form for _, reading in pairs).most_common(1)[0][0]
    above = [_above(file, reading) for file, reading in pairs]
    shared = _common_start(above)
    deeper = any(len(folders) > len(shared) for folders in above)
    endings = Counter(_ending(file.name) for file, _ in pairs)
    names = sorted(endings, key=lambda ending: (-endings[ending], ending))
    ending = names[0] if len(names) == 1 else f"{{{','.join(names)}}}"
    return "/".join([*shared, *(["**"] if deeper else []), form + ending])


def _above(file: _File, reading: _Reading) -> tuple[str, ...]:
    """The folders that do not say whose the picture is."""
    if reading.form != _FOLDER:
        return file.folders
    places = range(len(file.folders) - 1, -1, -1)
    return file.folders[: next(at for at in places if file.folders[at] == reading.item)]


def _common_start(paths: list[tuple[str, ...]]) -> tuple[str, ...]:
    first, last = min(paths), max(paths)
    length = next(
        (at for at, (a, b) in enumerate(zip(first, last, strict=False)) if a != b),
        min(len(first), len(last)),
    )
    return first[:length]


def _ending(name: str) -> str:
    last = parts_of(name)[1]
    return last[len(stem_of(last)) :].lower()


def unclaimed(names: Sequence[str], table: pa.Table) -> Iterator[str]:
    """Of the archive's names those that no row of a picture table names."""
    claimed = set(table["picture"].to_pylist())
    return (name for name in sorted(names) if name not in claimed)
