"""Merchant feeds: RSS or Atom, an entry a row, one entry in memory at a time."""

from __future__ import annotations

import json
from collections.abc import Iterator, Sequence
from pathlib import Path
from xml.etree import ElementTree

import pyarrow as pa

from lmm4rec import doors
from lmm4rec.catalogue.readers.reading import Reading
from lmm4rec.catalogue.readers.unpacked import opened
from lmm4rec.errors import InputError

MEND = "export the feed again"
_ENTRIES = ("item", "entry")
_GOOGLE = "{http://base.google.com/ns/1.0}"


def names(path: Path) -> list[str]:
    """Of the columns, in the order in which the entries first have them, without g:."""
    found: dict[str, None] = {}
    for entry in _entries(path):
        found |= dict.fromkeys(entry)
    return list(found)


def read(path: Path, columns: Sequence[str], reading: Reading) -> pa.Table:
    """The named columns as text; what an entry repeats is a JSON list, as are parts of a part."""
    rows = [[entry.get(name) for name in columns] for entry in _entries(path)]
    reading.unparsable(path, 0, len(rows), "")
    cells = zip(*rows, strict=True) if rows else [()] * len(columns)
    return pa.table([pa.array(one, pa.string()) for one in cells], names=list(columns))


def _entries(path: Path) -> Iterator[dict[str, str]]:
    """Each entry's texts by name; of a name that stands with and without g: the one with it."""
    _refuse_declarations(path)
    door = doors.reading(path, "sound XML", MEND, also=(ElementTree.ParseError,))
    with opened(path) as stream:
        steps = ElementTree.iterparse(stream, events=("start", "end"))
        stack: list[ElementTree.Element] = []
        while True:
            with door:
                step = next(steps, None)
            if step is None:
                return
            event, element = step
            if event == "start":
                stack.append(element)
                continue
            stack.pop()
            if _local(element) in _ENTRIES:
                yield _texts(element)
                element.clear()
                if stack:  # its parent need not remember it
                    stack[-1].remove(element)


def _texts(entry: ElementTree.Element) -> dict[str, str]:
    theirs: dict[str, list[str]] = {}
    plain: dict[str, list[str]] = {}
    for part in entry:
        text = _text(part)
        if text:
            group = theirs if part.tag.startswith(_GOOGLE) else plain
            group.setdefault(_local(part), []).append(text)
    return {
        name: texts[0] if len(texts) == 1 else json.dumps(texts, ensure_ascii=False)
        for name, texts in (plain | theirs).items()
    }


def _text(part: ElementTree.Element) -> str:
    if len(part):
        inside = {_local(one): _text(one) for one in part}
        return json.dumps(inside, ensure_ascii=False)
    return (part.text or "").strip() or part.get("href", "")


def _local(element: ElementTree.Element) -> str:
    return str(element.tag).rpartition("}")[2]


def _refuse_declarations(path: Path) -> None:
    """No feed declares entities; those that do mean to fill the memory or to read other files."""
    with opened(path) as stream, doors.reading(path, "sound XML", MEND):
        beginning = stream.read(1 << 16)
    if b"<!ENTITY" in beginning or "<!ENTITY".encode("utf-16-le") in beginning:
        raise InputError(f"{path}: declares entities, which a feed does not need; take them out")
