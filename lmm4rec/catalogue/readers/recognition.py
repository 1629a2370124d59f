"""What a file is and how it is laid out, told by its content; its name is a hint at most."""

from __future__ import annotations

import codecs
import json
import re
from itertools import islice
from pathlib import Path
from typing import Literal

from lmm4rec import doors
from lmm4rec.catalogue.readers import cells
from lmm4rec.catalogue.readers.families import documents
from lmm4rec.catalogue.readers.families.values import UNPARSABLE, parsed
from lmm4rec.catalogue.readers.layout import Layout
from lmm4rec.catalogue.readers.reading import Reading
from lmm4rec.catalogue.readers.unpacked import (
    MEND,
    BrokenOff,
    lines,
    opened,
    raw_blocks,
    refuse_missing,
)
from lmm4rec.errors import InputError

Encoding = Literal["utf-8", "cp1252", "utf-16"]
_HEAD_BYTES = 1 << 16
_LINES_TRIED = 20
_TYPES = {"token", "token_seq", "float", "float_seq"}
_TEXTS = "bring a table of it as CSV, JSON lines or Parquet"
# (what the first bytes are, where they stand, what the file is, what to do)
_FOREIGN = (
    (b"\x80\x02", 0, "a pickle, which may run any code when it is opened", _TEXTS),
    (b"\x80\x03", 0, "a pickle, which may run any code when it is opened", _TEXTS),
    (b"\x80\x04", 0, "a pickle, which may run any code when it is opened", _TEXTS),
    (b"\x80\x05", 0, "a pickle, which may run any code when it is opened", _TEXTS),
    (b"\x93NUMPY", 0, "an array of numbers and no table", "name it as features, or take it away"),
    (b"\xde\xc0\xef\xbe", 16, "an LMDB, whose values are pickles", "give the folder of pictures"),
    (b"PK\x03\x04", 0, "a zip or a workbook", "unpack it, or save the sheet as CSV"),
    (b"\xd0\xcf\x11\xe0", 0, "an old workbook", "save the sheet as CSV"),
    (b"SQLite format 3\0", 0, "a database", _TEXTS),
    (b"\x89HDF\r\n", 0, "an HDF5 file", _TEXTS),
    (b"ARROW1", 0, "an Arrow file", "save it as Parquet"),
    (b"\x89PNG", 0, "a picture", "name its folder as pictures"),
    (b"\xff\xd8\xff", 0, "a picture", "name its folder as pictures"),
    (b"1AY&SY", 4, "packed with bzip2", "unpack it, or pack it with gzip"),
    (b"\xfd7zXZ\0", 0, "packed with xz", "unpack it, or pack it with gzip"),
    (b"\x28\xb5\x2f\xfd", 0, "packed with zstd", "unpack it, or pack it with gzip"),
)
_CONTROLS = bytes(set(range(32)) - {9, 10, 12, 13})
_PICKLED_NAMES = (".p", ".pkl", ".pickle")


def recognise(path: Path) -> Layout:
    """The layout of a file; InputError for what is no table, and says what to bring instead."""
    refuse_missing(path)
    head = _head(path)
    if not head.strip():
        raise InputError(f"{path}: is empty; bring one with rows, or take it away")
    if head.startswith(b"PAR1"):
        return Layout(family="parquet")
    if head[257:262] == b"ustar":
        return Layout(family="tar-samples")
    _refuse_foreign(path, head)
    encoding = _encoding(path, head)
    text = _decoded(head, encoding)
    start = text.lstrip("\ufeff \t\r\n")
    if re.match(r"sep=.\r?\n", start):
        raise InputError(
            f"{path}: its first line tells a workbook its separator; take that line out"
        )
    if start.startswith("<"):
        return _feed(path, start, encoding)
    if start.startswith(("{", "[")):
        found = _objects(path, encoding)
        if found is not None:
            return found
    return _delimited(path, Layout(family="delimited", encoding=encoding))


def _head(path: Path) -> bytes:
    with opened(path) as stream, doors.reading(path, "a sound gzip file", MEND):
        try:
            return stream.read(_HEAD_BYTES)
        except EOFError:
            pass
    try:
        return next(raw_blocks(path), b"")[:_HEAD_BYTES]
    except BrokenOff:
        return b""


def _refuse_foreign(path: Path, head: bytes) -> None:
    for magic, at, what, advice in _FOREIGN:
        if head[at : at + len(magic)] == magic:
            raise InputError(f"{path}: is {what}; {advice}")
    if path.suffix.lower() in _PICKLED_NAMES:
        raise InputError(f"{path}: is a pickle by its name, and those are never read; {_TEXTS}")
    is_wide = head.startswith((codecs.BOM_UTF16_LE, codecs.BOM_UTF16_BE))
    if not is_wide and len(head.translate(None, _CONTROLS)) < 0.99 * len(head):
        raise InputError(f"{path}: is no text, nor a Parquet file or tar; {_TEXTS}")


def _encoding(path: Path, head: bytes) -> Encoding:
    """By the mark, else UTF-8 if the whole file is that, else cp1252.

    A file of UTF-8 with a few bytes out of order stays UTF-8: its torn lines are counted.
    """
    if head.startswith((codecs.BOM_UTF16_LE, codecs.BOM_UTF16_BE)):
        return "utf-16"
    strict, lenient = (codecs.getincrementaldecoder("utf-8")(how) for how in ("strict", "replace"))
    wrong = right = 0
    try:
        for block in raw_blocks(path):
            if not wrong:
                state = strict.getstate()
                try:
                    strict.decode(block)
                    right += 0 if block.isascii() else 1
                    continue
                except UnicodeDecodeError:
                    lenient.setstate(state)
            text = lenient.decode(block)
            marks = text.count("\ufffd")
            wrong += marks
            right += len(text) - len(text.encode("ascii", "ignore")) - marks
        strict.decode(b"", final=not wrong)
    except BrokenOff:
        pass
    except UnicodeDecodeError:  # the file ends within a letter
        wrong += 1
    if not wrong or right > 2 * wrong:
        return "utf-8"
    _refuse_undefined(path)
    return "cp1252"


def _refuse_undefined(path: Path) -> None:
    """InputError where a byte is none of cp1252 either."""
    at = 0
    try:
        for block in raw_blocks(path):
            found = re.search(rb"[\x81\x8d\x8f\x90\x9d]", block)
            if found:
                raise InputError(
                    f"{path}: byte {at + found.start()} (0x{found[0].hex()}) is neither UTF-8 nor "
                    "Windows-1252; save the file in UTF-8"
                )
            at += len(block)
    except BrokenOff:
        pass


def _decoded(head: bytes, encoding: Encoding) -> str:
    return codecs.getincrementaldecoder(encoding)("replace").decode(head)


def _feed(path: Path, start: str, encoding: Encoding) -> Layout:
    if re.search(r"<(rss|feed|channel)\b", start, re.IGNORECASE):
        return Layout(family="feed", encoding=encoding)
    raise InputError(
        f"{path}: is XML or HTML and no merchant feed (RSS or Atom); bring a feed, or a "
        "table as CSV"
    )


def _objects(path: Path, encoding: Encoding) -> Layout | None:
    """JSON or literals, an object a line or one document; None where lines merely begin so."""
    layout = Layout(family="json-lines", encoding=encoding)
    begun = _first_lines(path, layout)
    found = [one for line in begun if (one := _parsed(line)) is not None]
    is_lines = bool(found) and 2 * len(found) >= len(begun)
    if is_lines and (len(begun) > 1 or not _is_document(found[0][1])):
        is_json = 2 * sum(how == "json" for how, _ in found) >= len(found)
        return layout if is_json else layout.model_copy(update={"family": "literal-lines"})
    shape = documents.shape(path, layout)
    return None if shape is None else layout.model_copy(update={"family": shape})


def _first_lines(path: Path, layout: Layout) -> list[bytes]:
    reading = Reading(maximum_unparsable_share=1.0, accept_truncated=True)
    every = (line for batch in lines(path, layout, reading) for line in batch)
    return list(islice(every, _LINES_TRIED))


def _parsed(line: bytes) -> tuple[Literal["json", "literal"], dict[str, object]] | None:
    """A line's object, and how it is written."""
    try:
        value = parsed(line)
    except UNPARSABLE:
        return None
    try:
        json.loads(line)
    except ValueError:
        return "literal", value
    return "json", value


def _is_document(value: dict[str, object]) -> bool:
    """Whether one object alone is many rows: {id: {...}}, {user: [item, ...]}, {id: value}."""
    kinds = {type(one) for one in value.values()}
    return kinds in ({dict}, {list}) or documents.is_mapping(value)


def _delimited(path: Path, layout: Layout) -> Layout:
    found = cells.cut(path, layout)
    if found.family != "delimited":
        return found
    try:
        head = list(islice(cells.rows(cells.sample(path, found), found), 1_000))
    except ValueError:  # a quote out of place: what stands before it is enough here
        letters = found.model_copy(update={"quoted": False})
        head = list(islice(cells.rows(cells.sample(path, found), letters), 1_000))
    types = [cell.rpartition(":")[2] for cell in head[0]]
    if set(types) <= _TYPES:
        # RecBole's own: cells are never quoted there
        return found.model_copy(update={"typed_header": True, "quoted": False})
    return found.model_copy(update={"header": cells.has_header(head)})
