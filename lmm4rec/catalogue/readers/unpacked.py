"""Bytes of a file as UTF-8, unpacked where it is packed: in blocks, or cut into lines."""

from __future__ import annotations

import codecs
import gzip
from collections.abc import Iterator
from pathlib import Path
from typing import BinaryIO, cast

from tqdm import tqdm

from lmm4rec import doors
from lmm4rec.catalogue.readers.layout import Layout
from lmm4rec.catalogue.readers.reading import Reading
from lmm4rec.errors import InputError

BLOCK_BYTES = 4 << 20
# The longest lines of the 2014 files have some 100 kB. Parsed, a hostile one takes 300 times its
# size in memory.
LONGEST_LINE_BYTES = 1 << 20
OVERLONG = b""
MEND = "bring a whole copy of it"
_GZIP = b"\x1f\x8b"
_UTF8_MARK = codecs.BOM_UTF8


class BrokenOff(Exception):
    """A packed file ends before its end; whatever came before has been given."""


def opened(path: Path) -> BinaryIO:
    """The file for reading, unpacked if its first bytes are gzip's."""
    with doors.reading(path, "a file", MEND):
        stream = path.open("rb")
        if stream.peek(2)[:2] != _GZIP:
            return stream
        stream.close()
        return cast(BinaryIO, gzip.open(path, "rb"))


def raw_blocks(path: Path) -> Iterator[bytes]:
    """Unpacked blocks of at least `BLOCK_BYTES` (the last is shorter), in the file's encoding.

    Raises `BrokenOff` at the end of a packed file that is not whole.
    """
    door = doors.reading(path, "a sound gzip file", MEND)
    with opened(path) as stream:
        while True:
            parts, size, is_broken = [], 0, False
            while size < BLOCK_BYTES:
                with door:
                    try:
                        # one read at a time: what came before the break is not lost with it
                        part = cast(gzip.GzipFile, stream).read1(BLOCK_BYTES)
                    except EOFError:
                        is_broken, part = True, b""
                if not part:
                    break
                parts.append(part)
                size += len(part)
            if parts:
                yield b"".join(parts)
            if is_broken:
                raise BrokenOff
            if size < BLOCK_BYTES:
                return


def blocks(path: Path, layout: Layout) -> Iterator[bytes]:
    """As `raw_blocks`, in UTF-8 and without a byte order mark.

    What is not UTF-8 in a file that is read as such is passed on as it is.
    """
    if layout.encoding == "utf-8":
        first = True
        for block in raw_blocks(path):
            yield block.removeprefix(_UTF8_MARK) if first else block
            first = False
        return
    decoder = codecs.getincrementaldecoder(layout.encoding)()
    door = doors.reading(path, f"a text in {layout.encoding}", "save it in UTF-8")
    for block in raw_blocks(path):
        with door:
            yield decoder.decode(block).encode("utf-8")
    with door:
        yield decoder.decode(b"", final=True).encode("utf-8")


def lines(path: Path, layout: Layout, reading: Reading) -> Iterator[list[bytes]]:
    """Whole lines without their ends, many at a time; blank ones are left out.

    In the place of a line of more than `LONGEST_LINE_BYTES` stands `OVERLONG`, which no reader can
    parse, and `overlong_lines` counts it: it is never held whole. A file that breaks off raises
    `InputError`, unless `reading.accept_truncated`: then its whole lines are given, the torn last
    one is not, and `truncated_files` counts it.
    """
    rest, is_long = b"", False
    with tqdm(unit="B", unit_scale=True, desc=path.name, leave=False, delay=2) as progress:
        try:
            for block in blocks(path, layout):
                progress.update(len(block))
                whole = (rest + block).split(b"\n")
                rest = whole.pop()
                if whole and is_long:  # the end of a line whose beginning is gone
                    whole[0], is_long = OVERLONG, False
                    reading.counts["overlong_lines"] += 1
                    yield [OVERLONG, *_without_blanks(whole[1:], reading)]
                else:
                    yield _without_blanks(whole, reading)
                if len(rest) > LONGEST_LINE_BYTES:
                    rest, is_long = b"", True
        except BrokenOff:
            reading.broke_off(path)
            return
    if is_long:
        reading.counts["overlong_lines"] += 1
        yield [OVERLONG]
    else:
        yield _without_blanks([rest], reading)


def _without_blanks(whole: list[bytes], reading: Reading) -> list[bytes]:
    if whole and max(map(len, whole)) > LONGEST_LINE_BYTES:
        is_long = [len(line) > LONGEST_LINE_BYTES for line in whole]
        reading.counts["overlong_lines"] += sum(is_long)
        marked = [None if long else line for line, long in zip(whole, is_long, strict=True)]
        kept = [line for line in marked if line is None or line.strip()]
        return [OVERLONG if line is None else line.rstrip(b"\r") for line in kept]
    return [line.rstrip(b"\r") for line in whole if line.strip()]


def refuse_missing(path: Path) -> None:
    """InputError unless `path` is a file."""
    if not path.is_file():
        raise InputError(f"{path}: there is no such file; correct its name")
