"""Columns of files of any family, as text: nothing goes through a number, nothing is guessed."""

from __future__ import annotations

from collections.abc import Collection, Sequence
from pathlib import Path

import numpy as np
import pyarrow as pa

from lmm4rec.catalogue.readers.families import delimited, documents, feed, lines, parquet, samples
from lmm4rec.catalogue.readers.layout import Layout
from lmm4rec.catalogue.readers.reading import Reading
from lmm4rec.catalogue.readers.unpacked import refuse_missing
from lmm4rec.errors import InputError, did_you_mean

FILE_NUMBER = "file_number"
# Their objects may lack a key in one file and have it in the next.
_LOOSE = ("json-lines", "literal-lines", "json-records", "json-by-id", "feed", "tar-samples")


def column_names(path: Path, layout: Layout) -> list[str]:
    """The columns that `read_rows` can give of a file, in its order.

    Of JSON and literal lines: the keys of the first 5,000.
    """
    refuse_missing(path)
    if layout.family == "delimited":
        return delimited.names(path, layout)
    if layout.family == "parquet":
        return parquet.names(path)
    if layout.family == "feed":
        return feed.names(path)
    if layout.family == "tar-samples":
        return samples.names(path)
    if layout.family.startswith("json-") and layout.family != "json-lines":
        return documents.names(path, layout)
    return lines.names(path, layout)


def read_rows(
    paths: Sequence[Path],
    layout: Layout,
    columns: Sequence[str],
    reading: Reading,
    wanted: tuple[str, set[str]] | None = None,
    *,
    root: Path | None = None,
    ids: Collection[str] = (),
) -> pa.Table:
    """The files' rows, one file after the other: `columns` as text, and `file_number` (int32).

    Empty cells are null. Lists and objects are JSON, times of Parquet are ISO, in UTC where they
    have a zone; numbers stand as written, but a JSON number with a fraction or an exponent as the
    shortest text of its value. Pictures inside Parquet files or tars become locators, relative to
    `root` (by default the first file's folder). Rows whose cell in the column of `wanted` is none
    of its ids may be missing. `ids` names columns whose values are ids: numbers with fractions or
    beyond what floats hold are refused there, or counted where they stand in single lines.

    Raises `InputError` for a column that is not there or stands there twice, and for more torn
    lines than `reading` allows.
    """
    names = list(dict.fromkeys(columns))
    base = root if root is not None else (paths[0].parent if paths else Path())
    if layout.family not in _LOOSE:
        for path in paths:
            _refuse_absent(path, names, column_names(path, layout))
    found = []
    for number, path in enumerate(paths):
        refuse_missing(path)
        table = _read(path, layout, names, frozenset(ids) & set(names), reading, wanted, base)
        numbers = pa.array(np.full(table.num_rows, number, np.int32))
        found.append(table.append_column(FILE_NUMBER, numbers))
    schema = pa.schema([*((name, pa.string()) for name in names), (FILE_NUMBER, pa.int32())])
    table = pa.concat_tables([one.cast(schema) for one in found] or [schema.empty_table()])
    if layout.family in _LOOSE and paths:
        _refuse_never_seen(paths, layout, names, table)
    return table


def _read(
    path: Path,
    layout: Layout,
    names: list[str],
    ids: frozenset[str],
    reading: Reading,
    wanted: tuple[str, set[str]] | None,
    root: Path,
) -> pa.Table:
    if layout.family == "delimited":
        return delimited.read(path, layout, names, reading)
    if layout.family == "parquet":
        return parquet.read(path, names, ids, root)
    if layout.family == "feed":
        return feed.read(path, names, reading)
    if layout.family == "tar-samples":
        return samples.read(path, names, reading, root)
    if layout.family.startswith("json-") and layout.family != "json-lines":
        return documents.read(path, layout, names, ids, reading)
    inside = names if wanted is None else list(dict.fromkeys([*names, wanted[0]]))
    return lines.read(path, layout, inside, ids, reading, wanted).select(names)


def _refuse_absent(path: Path, names: list[str], known: list[str]) -> None:
    for name in names:
        if name not in known:
            raise InputError(
                f"{path}: has no column {name!r} (it has {', '.join(known)}); correct its name: "
                f"{did_you_mean(name, known)}"
            )
        if known.count(name) > 1:
            raise InputError(
                f"{path}: column {name!r} stands there {known.count(name)} times; give each its "
                "own name"
            )


def _refuse_never_seen(
    paths: Sequence[Path], layout: Layout, names: list[str], table: pa.Table
) -> None:
    """InputError for a column that is null throughout and that no object is known to have."""
    empty = [name for name in names if table[name].null_count == table.num_rows]
    if empty:
        known = list(dict.fromkeys(name for path in paths for name in column_names(path, layout)))
        _refuse_absent(paths[0], empty, known)
