"""Tables of cells between separators: parsed by the engine, every line accounted for.

The engine passes over a damaged stretch without a word where a quote opens and never closes, so
rows, refused rows and the line breaks inside cells are held against the file's own lines.
"""

from __future__ import annotations

import tempfile
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path

import duckdb
import numpy as np
import pyarrow as pa

from lmm4rec import doors
from lmm4rec.catalogue.readers.cells import first_row, may_quote, sample
from lmm4rec.catalogue.readers.families.engine import engine, quoted
from lmm4rec.catalogue.readers.families.swallowed import refuse_rows_in_cells
from lmm4rec.catalogue.readers.layout import Layout
from lmm4rec.catalogue.readers.reading import Reading
from lmm4rec.catalogue.readers.unpacked import BrokenOff, blocks
from lmm4rec.errors import InputError

MEND = "mend those lines"
_LONGEST_ROW_BYTES = 1 << 24
_TOO_LONG = b"(too long)"
_GLOBS = set("*?[]{}")


@dataclass
class Physical:
    """What the bytes of a file say, whoever parses them."""

    lines: int = 0  # that are not empty
    has_quotes: bool = False
    bare_returns: int = 0  # \r without \n after it
    pairs: int = 0  # \r\n
    breaks: int = 0  # \n, of pairs too
    unended: int = 0  # bytes in blocks without a line's end, at the last
    longest: int = 0  # the most of these

    @property
    def is_plain(self) -> bool:
        """Whether all line ends are of one kind, and no line is far too long."""
        is_one_kind = not self.bare_returns and self.pairs in (0, self.breaks)
        return is_one_kind and self.longest <= _LONGEST_ROW_BYTES


def names(path: Path, layout: Layout) -> list[str]:
    """Of the columns: the layout's own, else the header's, else column_1, column_2, ...

    A name without a type where the header gives one; a name that is empty becomes column_<k>.
    """
    first = first_row(path, layout)
    if layout.names:
        if len(layout.names) > len(first):
            raise InputError(
                f"{path}: has {len(first)} columns, and names are given for {len(layout.names)}: "
                f"{', '.join(layout.names)}; give at most one a column"
            )
        given = list(layout.names)
    elif layout.header:
        given = (
            [cell.rpartition(":")[0] or cell for cell in first] if layout.typed_header else first
        )
    else:
        given = []
    given = [name.strip() for name in given] + [""] * (len(first) - len(given))
    return [name or f"column_{number}" for number, name in enumerate(given, 1)]


def read(path: Path, layout: Layout, columns: Sequence[str], reading: Reading) -> pa.Table:
    """The named columns as text, empty cells null; rows that are torn are counted and left out."""
    known = names(path, layout)
    wanted = [known.index(name) for name in columns]
    with _plain(path, layout, reading) as (file, physical):
        lines = physical.lines - _head_lines(path, layout)
        has_quotes = may_quote(layout) and physical.has_quotes
        as_cut = layout.model_copy(update={"quoted": has_quotes})
        table, breaks, torn = _parsed(file, path, as_cut, len(known), wanted, lines)
    lost = lines - table.num_rows - breaks
    if lost < 0:
        raise InputError(
            f"{path}: has more rows than lines ({-lost} more); save it with one kind of line end"
        )
    if lost > torn.lines and as_cut.quoted:
        raise InputError(
            f"{path}: {lost - torn.lines} lines are lost in a cell whose quote opens and does not "
            f"close ({torn.first or 'near its end'}); double the quotes inside cells, or take them "
            "out"
        )
    reading.unparsable(path, lost, table.num_rows + lost, torn.first)
    return table.rename_columns(list(columns))


def _head_lines(path: Path, layout: Layout) -> int:
    if not layout.header:
        return 0
    return sum(cell.count("\n") for cell in first_row(path, layout)) + 1


@dataclass
class _Torn:
    """Rows that the engine refused."""

    lines: int
    first: str


def _parsed(
    file: Path, path: Path, layout: Layout, n: int, wanted: list[int], lines: int
) -> tuple[pa.Table, int, _Torn]:
    """(columns k<i>, lines inside cells, what was refused) of a file of so many lines."""
    with engine() as connection:
        source = _source(file, layout, n, _empty_lines(path, layout))
        shown = ", ".join(f"nullif(c{k}, '') as k{i}" for i, k in enumerate(wanted))
        table = _run(connection, f"select {shown} from {source}", path)
        if table.num_rows == lines or not layout.quoted:
            return table, 0, _torn(connection)
        torn = _torn(connection)  # before they are found once more
        breaks = "(" + " + ".join(_BREAKS.format(f"c{k}") for k in range(n)) + ")"
        where = " or ".join(f"contains(c{k}, chr(10))" for k in range(n))
        query = f"select sum({breaks})::bigint from {source} where {where}"
        counted = _run(connection, query, path)
        inside = counted[0][0].as_py() or 0
        if inside:
            refuse_rows_in_cells(path, connection, source, where, breaks, n, layout)
        return table, inside, torn


# Line breaks in a cell, those of empty lines left out.
_BREAKS = (
    "case when contains({0}, chr(10)) then "
    "length(regexp_replace({0}, '(\\r?\\n)+', chr(10), 'g')) - "
    "length(replace(regexp_replace({0}, '(\\r?\\n)+', chr(10), 'g'), chr(10), '')) else 0 end"
)


def _empty_lines(path: Path, layout: Layout) -> int:
    """Before the first row: the engine would take the first for the header."""
    text = sample(path, layout)
    return len(text) - len(text.lstrip("\n"))


def _source(file: Path, layout: Layout, n: int, skip: int) -> str:
    columns = ", ".join(f"'c{k}': 'VARCHAR'" for k in range(n))
    assert layout.separator is not None
    return (
        f"read_csv({quoted(str(file))}, columns = {{{columns}}}, auto_detect = false, "
        f"delim = {quoted(layout.separator)}, quote = {quoted(QUOTE if layout.quoted else '')}, "
        f"escape = {quoted(layout.escape if layout.quoted else '')}, "
        f"header = {str(layout.header).lower()}, compression = 'none', comment = '', "
        f"skip = {skip}, ignore_errors = true, store_rejects = true, rejects_limit = 0, "
        f"max_line_size = {_LONGEST_ROW_BYTES})"
    )


QUOTE = '"'


def _run(connection: duckdb.DuckDBPyConnection, query: str, path: Path) -> pa.Table:
    with doors.reading(path, "a table of cells", MEND, also=(duckdb.Error,)):
        return connection.sql(query).to_arrow_table()


def _torn(connection: duckdb.DuckDBPyConnection) -> _Torn:
    """Each refused row counts with the lines it covers, but that of an open quote as one."""
    breaks = _BREAKS.format("rtrim(csv_line, chr(10) || chr(13))")
    found = connection.execute(
        f"select line, min(case when error_type = 'UNQUOTED VALUE' then 1 else 1 + {breaks} end), "
        "any_value(error_message) from reject_errors group by line order by line"
    ).fetchall()
    if not found:
        return _Torn(0, "")
    line, _, message = found[0]
    return _Torn(
        sum(row[1] for row in found), f"line {line}: {doors.shortened(ValueError(message))}"
    )


@contextmanager
def _plain(path: Path, layout: Layout, reading: Reading) -> Iterator[tuple[Path, Physical]]:
    """A file that the engine reads as it is: the person's own, or a copy while it is needed."""
    with tempfile.TemporaryDirectory() as folder:
        copy = Path(folder) / "table.txt"
        if layout.encoding == "utf-8" and not _is_packed(path):
            physical = _physical(blocks(path, layout))
            if physical.is_plain:
                if _GLOBS & set(str(path)):  # the engine would take the name for a pattern
                    copy.symlink_to(path.resolve())
                yield copy if copy.is_symlink() else path, physical
                return
        physical = Physical()
        with copy.open("wb") as out:
            for block in _with_plain_ends(path, layout, reading):
                out.write(block)
        yield copy, _physical(_blocks_of(copy))


def _with_plain_ends(path: Path, layout: Layout, reading: Reading) -> Iterator[bytes]:
    """Blocks whose lines end in \\n alone; a lone \\r ends one only where there is no \\n.

    In the place of a line that is too long stands one cell, so that it counts as a torn row.
    """
    held, torn, is_old, is_long, first = b"", b"", False, False, True
    try:
        for block in blocks(path, layout):
            block = held + block
            held = b"\r" if block.endswith(b"\r") else b""
            block = block[: len(block) - len(held)]
            if first:
                is_old, first = b"\n" not in block and b"\r" in block, False
            block = block.replace(b"\r\n", b"\n").replace(b"\r", b"\n" if is_old else b" ")
            if is_long and b"\n" in block:
                is_long, block = False, block[block.index(b"\n") :]
                yield _TOO_LONG
            whole, end, torn = (torn + (b"" if is_long else block)).rpartition(b"\n")
            yield whole + end
            if len(torn) > _LONGEST_ROW_BYTES:
                torn, is_long = b"", True
                reading.counts["overlong_lines"] += 1
    except BrokenOff:
        reading.broke_off(path)
        return
    yield _TOO_LONG if is_long else torn


def _blocks_of(copy: Path) -> Iterator[bytes]:
    with copy.open("rb") as stream:
        while block := stream.read(1 << 22):
            yield block


def _is_packed(path: Path) -> bool:
    with path.open("rb") as stream:
        return stream.read(2) == b"\x1f\x8b"


def _physical(parts: Iterator[bytes]) -> Physical:
    found, is_after_return, is_begun = Physical(), False, False
    for block in parts:
        returns = pairs = 0
        if b"\r" in block:
            returns, pairs = block.count(b"\r"), block.count(b"\r\n")
        pairs += is_after_return and block.startswith(b"\n")
        found.pairs += pairs
        found.bare_returns += returns - pairs
        found.has_quotes = found.has_quotes or b'"' in block
        is_after_return = block.endswith(b"\r")
        letters = block.replace(b"\r", b"") if returns else block
        if letters:
            ends = np.flatnonzero(np.frombuffer(letters, np.uint8) == 10)
            found.breaks += len(ends)
            found.unended = 0 if len(ends) else found.unended + len(letters)
            found.longest = max(found.longest, found.unended)
            # a line ends here that has a letter: its end does not follow another's
            empty = np.count_nonzero(np.diff(ends) == 1) + (not is_begun and letters[:1] == b"\n")
            found.lines += len(ends) - int(empty)
            is_begun = letters[-1:] != b"\n"
    found.lines += is_begun
    return found
