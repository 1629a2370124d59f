"""Whose picture is it? Told by a table: links, file names and photo ids, found in the archive.

An http(s) link stays as it is. A file is found by its path, then by the end of its path, then by a
name or, last, by a name without ending that is the only one of its kind. What is not there keeps
the name that it was called by, so that it counts as not found and never as no picture.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from urllib.parse import unquote

import pyarrow as pa

from lmm4rec.catalogue.pictures.images import is_link
from lmm4rec.catalogue.pictures.matching import (
    composed,
    is_cell,
    parts_of,
    picture_table,
    stem_of,
    unclaimed,
)
from lmm4rec.errors import InputError


@dataclass(frozen=True)
class Located:
    """What a table says of pictures, and what there is of it."""

    table: pa.Table  # `PICTURES_SCHEMA`, sorted by item, then position
    links: int  # of the rows: http(s) links
    found: int  # files of the archive
    not_there: tuple[str, ...]  # neither, in the table's order
    strangers: tuple[str, ...]  # the archive's files that no item names


def locate_listed(listed: pa.Table, names: Sequence[str]) -> Located:
    """Pictures of (item_id string, pictures list<string>), among the archive's `names`.

    An item may have several rows; of a picture that an item names twice the first counts,
    and nulls and empty texts are no pictures. InputError: a name that may be several files.
    """
    index = _Index(names)
    by_item: dict[str, dict[str, None]] = {}
    links, not_there = 0, []
    for row in listed.to_pylist():
        pictures = by_item.setdefault(row["item_id"], {})
        for value in row["pictures"] or []:
            called = (value or "").strip()
            if not called:
                continue
            place = called if is_link(called) else index.find(called, row["item_id"])
            kept = called if place is None else place
            if kept in pictures:
                continue
            pictures[kept] = None
            links += is_link(called)
            not_there += [called] if place is None else []
    table = picture_table({item: list(by_item[item]) for item in sorted(by_item)})
    found = table.num_rows - links - len(not_there)
    return Located(table, links, found, tuple(not_there), tuple(unclaimed(names, table)))


class _Index:
    """The archive's files by path, by the ends of their paths, and by stem."""

    def __init__(self, names: Sequence[str]) -> None:
        self._whole = {composed(name): name for name in names}
        self._ends: dict[str, list[str]] = {}
        self._stems: dict[str, list[str]] = {}
        for name in sorted(names):
            if is_cell(name):  # it has a place and no name
                continue
            folders, last = parts_of(composed(name))
            parts = (*folders, last)
            for start in range(1, len(parts)):
                self._ends.setdefault("/".join(parts[start:]), []).append(name)
            if not folders:
                self._ends.setdefault(last, []).append(name)
            self._stems.setdefault(stem_of(last), []).append(name)

    def find(self, called: str, item: str) -> str | None:
        """Its name in the archive; None: it is not there."""
        spellings = dict.fromkeys([called, called.replace("\\", "/"), unquote(called)])
        for spelling in spellings:
            path = composed(spelling.removeprefix("file://").removeprefix("./").lstrip("/"))
            if path in self._whole:
                return self._whole[path]
            if is_cell(path):
                continue
            last = path.rpartition("/")[2]
            for names, key in ((self._ends, path), (self._ends, last), (self._stems, last)):
                if key in names:
                    return _only(names, key, called, item)
            if stem_of(last) in self._stems:  # another ending than is written
                return _only(self._stems, stem_of(last), called, item)
        return None


def _only(names: Mapping[str, list[str]], key: str, called: str, item: str) -> str:
    found = names[key]
    if len(found) > 1:
        raise InputError(
            f"picture {called!r} of item {item!r} may be {found[0]} or {found[1]}; write it with "
            "its folder and ending, as it is called there"
        )
    return found[0]
