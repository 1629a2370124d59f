"""Features as other tools leave them: arrays whose rows are numbers, arrays beside ids, and files.

`rows`: row k is item number k, and a file may say which id that is (MMRec, LATTICE). `rows-with-
ids`: a file names the rows' ids, line by line (Cornac). `file-per-item`: a folder of <id>.npy,
perhaps cut at the id's first dot (Ducho). `column`: a column of blank-separated numbers in a table
of tab-separated ones (RecBole). None of them is ever unpickled.
"""

from __future__ import annotations

import unicodedata
from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import Literal

import numpy as np
import pyarrow as pa
from numpy.typing import NDArray

from lmm4rec.arrays import open_array
from lmm4rec.doors import reading
from lmm4rec.errors import InputError
from lmm4rec.features.gathering import Vectors
from lmm4rec.params import Section, Sha256, Text

_SAVE_PLAINLY = "save it with numpy.save(path, array, allow_pickle=False)"
_CORRECT = "correct it in params.yaml, or mend the file"


class GivenFile(Section):
    """A file at an http(s) address or at a path on this machine, and the sum it must have."""

    file: Text
    sha256: Sha256 | None


class RowsImport(Section):
    """Row k of the array is item number k."""

    kind: Literal["rows"]
    array: GivenFile
    ids: GivenFile | None  # lines of id and number; null: the numbers are the ids
    missing: GivenFile | None  # lines of numbers whose rows stand for nothing; null: none do


class RowsWithIdsImport(Section):
    """Row k of the array is the item of line k."""

    kind: Literal["rows-with-ids"]
    array: GivenFile
    ids: GivenFile


class FilePerItemImport(Section):
    """A folder of one array an item."""

    kind: Literal["file-per-item"]
    folder: Text


class ColumnImport(Section):
    """A column of vectors in a tab-separated table; names as in its header, without the type."""

    kind: Literal["column"]
    table: GivenFile
    item: Text
    vector: Text


def read_rows(array: Path, ids: Path | None, missing: Path | None) -> Vectors:
    """Vectors whose rows are numbers. InputError: the files do not belong together."""
    matrix = _matrix(array)
    names = [str(row) for row in range(len(matrix))] if ids is None else _names(ids, len(matrix))
    is_there = np.ones(len(matrix), bool)
    if missing is not None:
        rows = {name: row for row, name in enumerate(names) if name is not None}
        for number, line in _lines(missing):
            row = int(line) if line.isdecimal() and line.isascii() else rows.get(line)
            if row is None and number == 1:
                continue  # a header
            if row is None or row >= len(matrix):
                raise InputError(
                    f"{missing}: line {number}, {line!r}, is no row of the {len(matrix)} of "
                    f"{array.name}; {_CORRECT}"
                )
            is_there[row] = False
    return Vectors(pa.array(names, pa.string()), matrix, is_there)


def read_rows_with_ids(array: Path, ids: Path) -> Vectors:
    """Vectors whose ids are the lines of a file. InputError: there are more or fewer of them."""
    matrix = _matrix(array)
    names = [line for _, line in _lines(ids)]
    if len(names) != len(matrix):
        raise InputError(
            f"{ids}: names {len(names)} items, but {array.name} has {len(matrix)} rows; give the "
            "pair that was written together"
        )
    return Vectors(pa.array(names, pa.string()), matrix, np.ones(len(matrix), bool))


def read_file_per_item(folder: Path, item_ids: Sequence[str]) -> Vectors:
    """Vectors of a folder's .npy files, each [D] or [1, D], named by their items.

    InputError: a name that is the beginning of several items' ids, files of several widths.
    """
    files = _arrays_of(folder)
    names = _whose({unicodedata.normalize("NFC", file.stem) for file in files}, item_ids, folder)
    vectors: list[NDArray[np.float32]] = []
    for file in files:
        vector = np.squeeze(open_array(file, _SAVE_PLAINLY))
        if vector.ndim > 1 or (vectors and vector.size != vectors[0].size):
            wanted = f", not one vector of {vectors[0].size}" if vectors else ", not one vector"
            raise InputError(f"{file}: has shape {vector.shape}{wanted}; remove or mend it")
        with np.errstate(over="ignore"):  # what float32 does not hold becomes infinity
            vectors.append(np.atleast_1d(vector).astype(np.float32))
    ids = [names.get(unicodedata.normalize("NFC", file.stem), file.stem) for file in files]
    return Vectors(pa.array(ids, pa.string()), np.stack(vectors), np.ones(len(vectors), bool))


def read_column(table: Path, item: str, vector: str) -> Vectors:
    """Vectors of a table's column; empty cells are missing. InputError: no such column or value."""
    lines = _lines(table)
    header = [name.partition(":")[0] for name in next(lines, (1, ""))[1].split("\t")]
    for name in (item, vector):
        if name not in header:
            found = ", ".join(header)
            raise InputError(f"{table}: has no column {name!r} (found: {found}); {_CORRECT}")
    at, value_at = header.index(item), header.index(vector)
    ids: list[str] = []
    vectors: list[NDArray[np.float32]] = []
    for number, line in lines:
        cells = line.split("\t")
        text = cells[value_at] if len(cells) > value_at else ""
        if not text.strip():
            continue
        try:
            numbers = np.array(text.split(), dtype=np.float32)
        except ValueError:
            numbers = np.zeros(0, np.float32)
        if not len(numbers) or (vectors and len(numbers) != len(vectors[0])):
            raise InputError(
                f"{table}: line {number}, column {vector!r}: {text[:40]!r} is not a vector of as "
                f"many numbers as the others; {_CORRECT}"
            )
        ids.append(cells[at].strip())
        vectors.append(numbers)
    if not vectors:
        raise InputError(f"{table}: column {vector!r} is empty; {_CORRECT}")
    return Vectors(pa.array(ids, pa.string()), np.stack(vectors), np.ones(len(vectors), bool))


def _matrix(path: Path) -> NDArray[np.float32]:
    matrix = open_array(path, _SAVE_PLAINLY)
    if matrix.ndim != 2 or not matrix.size:
        raise InputError(
            f"{path}: has shape {matrix.shape}, not one row an item; give another file"
        )
    return matrix


def _lines(path: Path) -> Iterator[tuple[int, str]]:
    """The lines that are not blank, without the space around them, and their numbers from 1."""
    with reading(path, "a UTF-8 text", _CORRECT):
        text = path.read_text(encoding="utf-8-sig")
    for number, line in enumerate(text.split("\n"), 1):
        kept = line.strip(" \r") if "\t" in line else line.strip()
        if kept:
            yield number, unicodedata.normalize("NFC", kept)


def _names(path: Path, n_rows: int) -> list[str | None]:
    """The id of each row, of lines (id, number) or (number, id), with or without a header."""
    pairs = [(number, *_pair(line, path, number)) for number, line in _lines(path)]
    second = all(pair[2].isdecimal() for pair in pairs[1:])
    if not second and not all(pair[1].isdecimal() for pair in pairs[1:]):
        line = next(pair[0] for pair in pairs[1:] if not pair[2].isdecimal())
        raise InputError(f"{path}: line {line} gives no number to its id; {_CORRECT}")
    names: list[str | None] = [None] * n_rows
    for line, one, other in pairs:
        item_id, number = (one, other) if second else (other, one)
        if not number.isdecimal():
            continue  # the header
        if int(number) >= n_rows:
            raise InputError(
                f"{path}: line {line} speaks of row {number}, but the array has {n_rows} rows; "
                "give the map and the array of one run"
            )
        if names[int(number)] is not None:
            raise InputError(f"{path}: line {line} gives row {number} a second id; {_CORRECT}")
        names[int(number)] = item_id
    return names


def _pair(line: str, path: Path, number: int) -> tuple[str, str]:
    separator = next((one for one in "\t," if one in line), None)
    cells = line.split(separator)
    if len(cells) < 2:
        raise InputError(f"{path}: line {number}, {line!r}, is no id and number; {_CORRECT}")
    return cells[0].strip(), cells[1].strip()


def _arrays_of(folder: Path) -> list[Path]:
    if not folder.is_dir():
        raise InputError(f"{folder}: there is no such folder; {_CORRECT}")
    files = sorted(folder.glob("*.npy"))
    if not files:
        below = sorted({str(file.parent) for file in folder.rglob("*.npy")})
        there = f"these below it do: {', '.join(below[:5])}" if below else "nor does any below it"
        raise InputError(f"{folder}: holds no .npy file, {there}; name one that does")
    return files


def _whose(stems: set[str], item_ids: Sequence[str], folder: Path) -> dict[str, str]:
    """File name -> item: its whole id, or its id up to the first dot where no other begins so."""
    if any("." in item and item in stems for item in item_ids):  # nothing was cut
        return {item: item for item in item_ids if item in stems}
    by_beginning: dict[str, list[str]] = {}
    for item in item_ids:
        by_beginning.setdefault(item.partition(".")[0], []).append(item)
    for short, items in by_beginning.items():
        if short in stems and len(items) > 1:
            raise InputError(
                f"{folder}: {short}.npy may be item {items[0]!r} or {items[1]!r}, as names were "
                "cut at the first dot; name these files by whole ids"
            )
    return {short: items[0] for short, items in by_beginning.items() if short in stems}
