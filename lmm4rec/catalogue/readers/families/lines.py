"""Files of a record a line: JSON, Python literals, baskets, and lines that are cut but once.

JSON is parsed by the engine, many lines at a time. What it refuses, and Python literals, are
parsed one by one: a literal takes some 0.1 ms, so lines that are not wanted are told by a glance.
"""

from __future__ import annotations

import re
import unicodedata
from collections.abc import Iterator, Sequence
from itertools import islice
from pathlib import Path
from typing import Any

import duckdb
import pyarrow as pa
import pyarrow.compute as pc

from lmm4rec.catalogue.readers.families.engine import engine, quoted
from lmm4rec.catalogue.readers.families.values import UNPARSABLE, Fault, cells_of, parsed
from lmm4rec.catalogue.readers.ids import clean_ids
from lmm4rec.catalogue.readers.layout import Layout
from lmm4rec.catalogue.readers.reading import Reading
from lmm4rec.catalogue.readers.unpacked import lines

Wanted = tuple[str, set[str]]
_NAMED = 5_000  # lines whose keys are the columns


def names(path: Path, layout: Layout) -> list[str]:
    """Of the columns: fixed ones, or the keys of the first 5,000 objects in order."""
    fixed = _FIXED.get(layout.family)
    if fixed is not None:
        return fixed
    found: dict[str, None] = {}
    reading = Reading(maximum_unparsable_share=1.0, accept_truncated=True)
    every = (line for batch in lines(path, layout, reading) for line in batch)
    for line in islice(every, _NAMED):
        try:
            found |= dict.fromkeys(map(str, parsed(line)))
        except UNPARSABLE:
            continue
    return list(found)


_FIXED = {
    "baskets": ["user", "item", "position"],
    "cut-lines": ["id", "text"],
    "text-lines": ["row", "text"],
}


def read(
    path: Path,
    layout: Layout,
    columns: Sequence[str],
    ids: frozenset[str],
    reading: Reading,
    wanted: Wanted | None,
) -> pa.Table:
    """The named columns as text; lines that cannot be read are counted and left out."""
    schema = pa.schema([(name, pa.string()) for name in columns])
    if layout.family in ("json-lines", "literal-lines"):
        found = _Objects(path, layout, columns, ids, reading, wanted).tables()
    else:
        found = _plain_tables(path, layout, reading)
    return pa.concat_tables(
        [table.select(list(columns)) for table in found] or [schema.empty_table()]
    )


class _Objects:
    """A pass over a file of objects."""

    def __init__(
        self,
        path: Path,
        layout: Layout,
        columns: Sequence[str],
        ids: frozenset[str],
        reading: Reading,
        wanted: Wanted | None,
    ) -> None:
        self._path, self._layout, self._columns = path, layout, list(columns)
        self._ids, self._reading, self._wanted = ids, reading, wanted
        self._glance = None if wanted is None else _glance(wanted[0])
        self._total, self._bad, self._first = 0, 0, ""

    def tables(self) -> list[pa.Table]:
        """One a batch of lines; ends with the verdict over lines that could not be read."""
        found = []
        with engine() as connection:
            for batch in lines(self._path, self._layout, self._reading):
                if not batch:
                    continue
                if self._layout.family == "json-lines":
                    found.append(self._json(batch, connection))
                else:
                    found.append(self._literals(batch))
                self._total += len(batch)
        self._reading.unparsable(self._path, self._bad, self._total, self._first)
        return found

    def _literals(self, batch: list[bytes]) -> pa.Table:
        rows = [row for k, line in enumerate(batch) if (row := self._cells(line, k)) is not None]
        return self._table(rows)

    def _cells(self, line: bytes, k: int) -> list[str | None] | None:
        """A line's cells; None where it is not wanted, or cannot be read (counted)."""
        if self._glance is not None and self._wanted is not None:
            seen = self._glance.match(line)
            # bytes that are no UTF-8 are met again, and counted, below
            text = _decoded(seen[1] or seen[2]) if seen else None
            if text is not None and (known := _clean(text)) not in self._wanted[1]:
                self._reading.unwanted.update([known] if known else [])
                return None
        try:
            item = parsed(line)
            cells = cells_of(item, self._columns, self._ids, self._reading.counts)
        except UNPARSABLE as error:
            self._reading.counts.update(error.args if isinstance(error, Fault) else ())
            self._bad += 1
            self._first = self._first or f"line {self._total + k + 1}"
            return None
        if self._wanted is not None and self._wanted[0] in self._columns:
            value = cells[self._columns.index(self._wanted[0])]
            if value is not None and _clean(value) not in self._wanted[1]:
                self._reading.unwanted.add(_clean(value))
                return None
        return cells

    def _json(self, batch: list[bytes], connection: duckdb.DuckDBPyConnection) -> pa.Table:
        texts = _as_texts(batch)
        connection.register("batch", pa.table({"line": texts}))
        table = connection.sql(_extraction(self._columns, self._ids)).to_arrow_table()
        is_read = table["is_read"].combine_chunks()
        table = table.drop_columns(["is_read"]).rename_columns(self._columns)
        if not pc.all(is_read).as_py():
            table = self._mended(table, is_read, batch)
        return self._only_wanted(table)

    def _mended(self, table: pa.Table, is_read: pa.Array, batch: list[bytes]) -> pa.Table:
        """With the lines that only Python reads in their places, and without unreadable ones."""
        kept: list[bool] = is_read.to_pylist()
        rows = []
        for k, good in enumerate(kept):
            if not good:
                row = self._cells(batch[k], k)
                kept[k] = row is not None
                if row is not None:
                    rows.append(row)
        by_hand = pc.and_(pc.invert(is_read), pa.array(kept)).filter(pa.array(kept))
        columns = []
        for k, column in enumerate(table.itercolumns()):
            cells = pa.array([row[k] for row in rows], pa.string())
            chosen = column.combine_chunks().filter(pa.array(kept))
            columns.append(pc.replace_with_mask(chosen, by_hand, cells))
        return pa.table(columns, names=self._columns)

    def _only_wanted(self, table: pa.Table) -> pa.Table:
        if self._wanted is None or self._wanted[0] not in self._columns:
            return table
        name, ids = self._wanted
        texts, _ = clean_ids(table[name])
        chosen = pc.is_in(texts, value_set=pa.array(sorted(ids), pa.string()))
        passed = pc.and_(pc.invert(chosen), pc.is_valid(texts))
        self._reading.unwanted.update(pc.unique(texts.filter(passed)).to_pylist())
        return table.filter(pc.invert(passed))

    def _table(self, rows: list[list[str | None]]) -> pa.Table:
        columns = list(zip(*rows, strict=True)) if rows else [()] * len(self._columns)
        return pa.table([pa.array(cells, pa.string()) for cells in columns], names=self._columns)


def _clean(text: str) -> str:
    return unicodedata.normalize("NFC", text.strip())


def _glance(column: str) -> re.Pattern[bytes]:
    """The first key of nearly every metadata line; a line where it is not is parsed whole."""
    key = re.escape(column.encode("utf-8"))
    return re.compile(rb"""\{u?['"]%s['"]: ?u?(?:'([^'\\]+)'|"([^"\\]+)")""" % key)


def _as_texts(batch: list[bytes]) -> pa.Array:
    """Null where a line is no UTF-8."""
    found = pa.array(batch, pa.binary())
    try:
        return found.cast(pa.string())
    except pa.ArrowInvalid:
        return pa.array([_decoded(line) for line in batch], pa.string())


def _decoded(line: bytes) -> str | None:
    try:
        return line.decode("utf-8")
    except UnicodeDecodeError:
        return None


def _extraction(columns: Sequence[str], ids: frozenset[str]) -> str:
    """SQL: k<i> are the columns, is_read tells whether the line is an object as JSON has it."""
    paths = [quoted("/" + name.replace("~", "~0").replace("/", "~1")) for name in columns]
    shown = ", ".join(f"nullif(cells[{k}], '') as k{k}" for k in range(1, len(paths) + 1))
    # an id that is neither text nor a whole number is looked at by hand
    where = [paths[list(columns).index(name)] for name in sorted(ids)]
    kinds = "('DOUBLE', 'BOOLEAN', 'ARRAY', 'OBJECT')"
    odd = [f"coalesce(json_type(line, {path}) in {kinds}, false)" for path in where]
    good = " and ".join(["true", *(f"not {one}" for one in odd)])
    return (
        f"select {shown}, case when is_object then {good} else false end as is_read "
        "from (select line, is_object, case when is_object then "
        f"json_extract_string(line, [{', '.join(paths)}]) end as cells "
        "from (select line, coalesce(json_valid(line) and "
        "starts_with(ltrim(line, ' ' || chr(9)), '{'), false) as is_object from batch))"
    )


def _plain_tables(path: Path, layout: Layout, reading: Reading) -> list[pa.Table]:
    """Of the families whose lines are no objects."""
    found: list[pa.Table] = []
    total, bad, first = 0, 0, ""
    for batch in lines(path, layout, reading):
        rows: list[tuple[Any, ...]] = []
        for number, line in enumerate(batch, total + 1):
            try:
                rows.extend(_pieces(line.decode("utf-8"), number, layout))
            except ValueError:
                bad, first = bad + 1, first or f"line {number}"
        total += len(batch)
        columns = zip(*rows, strict=True) if rows else [()] * len(_FIXED[layout.family])
        arrays = [pa.array([cell or None for cell in cells], pa.string()) for cells in columns]
        found.append(pa.table(arrays, names=_FIXED[layout.family]))
    reading.unparsable(path, bad, total, first)
    return found


def _pieces(line: str, number: int, layout: Layout) -> Iterator[tuple[Any, ...]]:
    """A line's rows; ValueError where it cannot be cut."""
    if layout.family == "text-lines":
        yield str(number - 1), line.strip()
        return
    separator = layout.separator
    assert separator is not None
    if not line or separator not in line:
        raise ValueError("not cut")
    key, _, rest = line.partition(separator)
    if layout.family == "cut-lines":
        yield key.strip(), rest.strip()
        return
    items = rest.split(layout.second_separator or separator)
    for position, item in enumerate(filter(None, map(str.strip, items))):
        yield key.strip(), item, str(position)
