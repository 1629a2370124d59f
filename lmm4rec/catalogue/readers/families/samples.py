"""WebDataset tars: a sample a row, its members named <key>.<field>."""

from __future__ import annotations

import json
import tarfile
from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import Any, BinaryIO

import pyarrow as pa

from lmm4rec import doors
from lmm4rec.catalogue.readers.families.values import UNPARSABLE, as_text
from lmm4rec.catalogue.readers.locators import member_locator
from lmm4rec.catalogue.readers.reading import Reading
from lmm4rec.catalogue.readers.unpacked import LONGEST_LINE_BYTES, opened

MEND = "pack it again"
PICTURES = frozenset(["avif", "bmp", "gif", "jpeg", "jpg", "png", "ppm", "tif", "tiff", "webp"])
_OWN = ["key", "txt", "pictures"]


def names(path: Path) -> list[str]:
    """key, txt, pictures, and the keys of the samples' JSON in order."""
    found = dict.fromkeys(_OWN)
    for sample in _samples(path, Reading(1.0, True), ""):
        found |= dict.fromkeys(sample)
    return list(found)


def read(path: Path, columns: Sequence[str], reading: Reading, root: Path) -> pa.Table:
    """The named columns as text; pictures is a JSON list of locators, in the order of their names.

    A sample whose JSON or text cannot be read is counted, and its other members are kept.
    """
    file = path.relative_to(root).as_posix()
    found = _samples(path, reading, file)
    rows = [[as_text(one.get(name), reading.counts) for name in columns] for one in found]
    cells = zip(*rows, strict=True) if rows else [()] * len(columns)
    return pa.table([pa.array(one, pa.string()) for one in cells], names=list(columns))


def _samples(path: Path, reading: Reading, file: str) -> Iterator[dict[str, Any]]:
    """In the order in which their first members stand in the tar."""
    samples: dict[str, dict[str, Any]] = {}
    pictures: dict[str, list[str]] = {}
    total, bad, first = 0, 0, ""
    for name, content in _members(path, reading):
        key, field = _parted(name)
        sample = samples.setdefault(key, {})
        if field.rpartition(".")[2].lower() in PICTURES:
            pictures.setdefault(key, []).append(name)
        elif content is not None:
            total += 1
            try:
                text = content.decode("utf-8")
                sample |= {"txt": text.strip()} if field == "txt" else _object(text)
            except UNPARSABLE:
                bad, first = bad + 1, first or name
    reading.unparsable(path, bad, total, first)
    for key, sample in samples.items():
        shown = [member_locator(file, name) for name in sorted(pictures.get(key, []))]
        yield {**sample, "key": key, "pictures": shown or None}


def _members(path: Path, reading: Reading) -> Iterator[tuple[str, bytes | None]]:
    """Each file in the tar, with its content where that is a sample's text or JSON."""
    door = doors.reading(path, "a sound tar", MEND, also=(tarfile.TarError,))
    with opened(path) as stream:
        tail = _Tail(stream)
        with door:
            tar = tarfile.open(fileobj=tail, mode="r|")  # type: ignore[call-overload]  # noqa: SIM115
        while True:
            with door:
                member = tar.next()
                if member is None:
                    break
                vars(tar)["members"].clear()  # it would remember them all
                content = None
                is_text = _parted(member.name)[1] in ("txt", "json")
                if is_text and member.isfile() and member.size <= LONGEST_LINE_BYTES:
                    inside = tar.extractfile(member)
                    content = inside.read() if inside is not None else None
            if member.isfile():
                yield member.name, content
    if any(tail.last):  # a whole tar ends in zeros, and tarfile takes any end for one
        reading.broke_off(path)


class _Tail:
    """A stream that remembers the last block that was read of it."""

    def __init__(self, stream: BinaryIO) -> None:
        self._stream, self.last = stream, b""

    def read(self, size: int) -> bytes:
        block = self._stream.read(size)
        self.last = (self.last + block)[-512:]
        return block


def _parted(name: str) -> tuple[str, str]:
    """(key, field): the key ends at the first dot of the base name.

    >>> _parted("shelf/TB-0.7.jpg")
    ('shelf/TB-0', '7.jpg')
    """
    folder, slash, base = name.rpartition("/")
    stem, _, field = base.partition(".")
    return folder + slash + stem, field


def _object(text: str) -> dict[str, Any]:
    value = json.loads(text)
    if not isinstance(value, dict):
        raise ValueError("not an object")
    return value
