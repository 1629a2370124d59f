"""Pictures where people keep them: folders, zips, tars and Parquet files, one by one as streams.

Nothing is unpacked to disk and no picture is held whole, Parquet's cells aside.
"""

from __future__ import annotations

import lzma
import os
import tarfile
import zipfile
from collections import Counter
from collections.abc import Iterator
from contextlib import closing, suppress
from dataclasses import dataclass
from itertools import chain
from pathlib import Path
from typing import Any, NamedTuple, Protocol

import pyarrow as pa
import pyarrow.parquet as pq

from lmm4rec.catalogue.readers.locators import picture_locator
from lmm4rec.doors import reading
from lmm4rec.errors import InputError

PICTURE_ENDINGS = frozenset(
    {".jpg", ".jpeg", ".jpe", ".jfif", ".png", ".webp", ".gif", ".bmp", ".dib", ".tif", ".tiff",
     ".avif"}
)  # fmt: skip
# Folders that file managers and archivers add, full of previews and attributes.
_HIDDEN_FOLDERS = ("__MACOSX", "@eaDir")
_BEGINNINGS = (b"\xff\xd8\xff", b"\x89PNG\r\n", b"GIF8", b"II*\0", b"MM\0*")
_CHUNK_BYTES = 1 << 20
_ROWS_AT_ONCE = 64
# Pictures hardly shrink: what unpacks to more than this and 100 times its size holds none.
_MOST_UNPACKED_BYTES, _MOST_TIMES = 1 << 30, 100
_MEND = "fetch or pack it again"
_TAR_DAMAGE = (tarfile.TarError, lzma.LZMAError)


class Picture(NamedTuple):
    """Where it was, how many bytes it should have, and those bytes (read once)."""

    name: str
    size: int
    content: Iterator[bytes]


@dataclass
class Tally:
    """What was met besides pictures."""

    counts: Counter[str]
    endings: Counter[str]
    first_left_out: str | None = None

    def leave_out(self, name: str) -> None:
        self.counts["not_pictures"] += 1
        self.endings[os.path.splitext(name)[1].lower() or "no ending"] += 1
        self.first_left_out = self.first_left_out or name


class _Stream(Protocol):
    def read(self, size: int, /) -> bytes: ...


def below_folder(folder: Path, label: str, tally: Tally) -> Iterator[Picture]:
    """The pictures of a folder of any depth, `label` before their paths; links are followed."""
    seen: set[str] = set()  # a link may lead back up
    for here, folders, files in os.walk(folder, onerror=_refuse_folder, followlinks=True):
        seen.add(os.path.realpath(here))
        shown = sorted(name for name in folders if not _is_hidden(name))
        tally.counts["hidden"] += len(folders) - len(shown)
        folders[:] = [name for name in shown if os.path.realpath(Path(here, name)) not in seen]
        for name in sorted(files):
            if _is_hidden(name):
                tally.counts["hidden"] += 1
                continue
            path = Path(here, name)
            yield from loose(path, label + path.relative_to(folder).as_posix(), tally)


def loose(path: Path, name: str, tally: Tally) -> Iterator[Picture]:
    """One file, if it is a picture."""
    door = reading(path, "a file", "make it readable, or remove it")
    with door:
        size = path.stat().st_size
        stream = path.open("rb")
    with stream:
        yield from _if_picture(name, size, _chunks(stream, door), tally)


def in_zip(path: Path, label: str, tally: Tally) -> Iterator[Picture]:
    """The pictures of a zip, as `<label>#<member>`, in the order of their names."""
    door = reading(path, "a whole zip file", _MEND, (NotImplementedError, RuntimeError))
    with door:
        archive = zipfile.ZipFile(path)
    budget = _Budget(path)
    with archive:
        for entry in sorted(archive.infolist(), key=_member_name):
            name = _member_name(entry)
            if entry.is_dir() or name.endswith("/") or _left_hidden(name, tally):
                continue
            if entry.flag_bits & 1:
                raise InputError(f"{path}: {name} is encrypted; unpack it and give the folder")
            with door:
                stream = archive.open(entry)
            with stream:
                chunks = budget.spent(_chunks(stream, door))
                yield from _if_picture(f"{label}#{name}", entry.file_size, chunks, tally)


def in_tar(path: Path, label: str, tally: Tally) -> Iterator[Picture]:
    """The pictures of a tar, compressed or not, as `<label>#<member>`, in its own order."""
    door = reading(path, "a whole tar file", _MEND, _TAR_DAMAGE)
    with door:
        archive = tarfile.open(path, "r|*")  # noqa: SIM115 - closed below, outside the door
    budget = _Budget(path)
    with closing(archive):
        while True:
            with door:
                entry = archive.next()
            if entry is None:
                return
            name = entry.name.removeprefix("./")
            if entry.isdir() or _left_hidden(name, tally):
                continue
            with door:
                stream = archive.extractfile(entry) if entry.isreg() else None
            if stream is None:  # a link or a device
                tally.leave_out(f"{label}#{name}")
                continue
            chunks = budget.spent(_chunks(stream, door))
            yield from _if_picture(f"{label}#{name}", entry.size, chunks, tally)


def in_parquet(path: Path, label: str, tally: Tally) -> Iterator[Picture]:
    """The pictures of all columns of image structs {bytes, path}, lists of them among these.

    A struct without bytes names a file of another machine: it is counted.
    """
    door = reading(path, "a Parquet file", _MEND)
    with door:
        file = pq.ParquetFile(path)
    with file:
        columns = [field.name for field in file.schema_arrow if _holds_pictures(field.type)]
        batches = file.iter_batches(_ROWS_AT_ONCE, columns=columns) if columns else iter(())
        row = 0
        while True:
            with door:
                batch = next(batches, None)
                if batch is not None:
                    batch.validate(full=True)
            if batch is None:
                return
            for column in columns:
                for place, cell in enumerate(batch[column].to_pylist(), row):
                    for k, content in enumerate(_contents(cell)):
                        if not content:
                            tally.counts["without_bytes"] += 1
                            continue
                        name = picture_locator(label, place, column, k)
                        yield Picture(name, len(content), iter([content]))
            row += batch.num_rows


def picture_columns(path: Path) -> list[str]:
    """The columns of a Parquet file that hold pictures."""
    with reading(path, "a Parquet file", _MEND):
        schema = pq.read_schema(path)
    return [field.name for field in schema if _holds_pictures(field.type)]


class _Budget:
    """How much a packed file may still unpack to."""

    def __init__(self, path: Path) -> None:
        self._path, self._spent = path, 0
        self._most = max(_MOST_UNPACKED_BYTES, _MOST_TIMES * path.stat().st_size)

    def spent(self, chunks: Iterator[bytes]) -> Iterator[bytes]:
        for chunk in chunks:
            self._spent += len(chunk)
            if self._spent > self._most:
                raise InputError(
                    f"{self._path}: unpacks to more than {self._most} bytes, {_MOST_TIMES} times "
                    "its size or more, as pictures never do; unpack it and give the folder"
                )
            yield chunk


def _if_picture(name: str, size: int, chunks: Iterator[bytes], tally: Tally) -> Iterator[Picture]:
    if os.path.splitext(name)[1].lower() in PICTURE_ENDINGS:
        yield Picture(name, size, chunks)
        return
    first = next(chunks, b"")
    if _begins_like_a_picture(first):
        yield Picture(name, size, chain([first], chunks))
    else:
        tally.leave_out(name)


def _begins_like_a_picture(content: bytes) -> bool:
    is_webp = content[:4] == b"RIFF" and content[8:12] == b"WEBP"
    return is_webp or content[4:12] == b"ftypavif" or content.startswith(_BEGINNINGS)


def _chunks(stream: _Stream, door: reading) -> Iterator[bytes]:
    while True:
        with door:
            chunk = stream.read(_CHUNK_BYTES)
        if not chunk:
            return
        yield chunk


def _is_hidden(name: str) -> bool:
    return name.startswith(".") or name in _HIDDEN_FOLDERS


def _left_hidden(name: str, tally: Tally) -> bool:
    """Whether any part of the path is hidden, which is counted; . and .. are no hidden names."""
    hidden = any(part not in (".", "..") and _is_hidden(part) for part in name.split("/"))
    tally.counts["hidden"] += hidden
    return hidden


def _member_name(entry: zipfile.ZipInfo) -> str:
    """With / between its parts, and in UTF-8 where it was written so without saying it (macOS)."""
    name = entry.filename
    if not entry.flag_bits & 0x800:
        with suppress(UnicodeError):
            name = name.encode("cp437").decode("utf-8")
    return (name if "/" in name else name.replace("\\", "/")).removeprefix("./")


def _refuse_folder(error: OSError) -> None:
    raise InputError(
        f"{error.filename}: cannot be read ({error.strerror}); make it readable, or remove it"
    )


def _holds_pictures(kind: pa.DataType) -> bool:
    """{bytes, path}, a list of those, or {[bytes], [path]}: a `Sequence` of Hugging Face's."""
    if _is_list(kind):
        kind = kind.value_type
    if not pa.types.is_struct(kind) or kind.get_field_index("bytes") < 0:
        return False
    content = kind.field("bytes").type
    content = content.value_type if _is_list(content) else content
    return bool(pa.types.is_binary(content) or pa.types.is_large_binary(content))


def _is_list(kind: pa.DataType) -> bool:
    return bool(
        pa.types.is_list(kind) or pa.types.is_large_list(kind) or pa.types.is_fixed_size_list(kind)
    )


def _contents(cell: Any) -> list[bytes | None]:
    """The bytes of a cell's pictures, in order."""
    if cell is None:
        return []
    if isinstance(cell, dict):
        content = cell["bytes"]
        return content if isinstance(content, list) else [content]
    return [one and one["bytes"] for one in cell]
