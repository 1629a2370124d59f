"""Cells of several lines: texts as they are, or rows that a lone quote swallowed."""

from __future__ import annotations

import re
from pathlib import Path

import duckdb

from lmm4rec.catalogue.readers.families.engine import quoted
from lmm4rec.catalogue.readers.layout import Layout
from lmm4rec.errors import InputError

_EXAMINED = 20_000  # rows of several lines
_ALIKE = 0.99
_SAMPLE = 1_000  # rows of one line, of which a column's kind is told
_SEPARATORS = (
    "case when contains({0}, chr(10)) "
    "then (length({0}) - length(replace({0}, {1}, ''))) // length({1}) else 0 end"
)
_NUMBER = re.compile(r"[+-]?[\d.,:/ -]+$")
_WORD = re.compile(r"\S+$")


def refuse_rows_in_cells(
    path: Path,
    connection: duckdb.DuckDBPyConnection,
    source: str,
    where: str,
    breaks: str,
    n: int,
    layout: Layout,
) -> None:
    """InputError where all lines that one row covers would be whole rows if quotes were letters.

    A text of several lines is cut by its separators into other numbers of cells, or into cells of
    other kinds; what a quote at a cell's beginning swallowed is a row line by line.
    """
    assert layout.separator is not None
    cells = ", ".join(f"c{k}" for k in range(n))
    query = f"select {cells} from {source} where not coalesce({where}, false) limit {_SAMPLE}"
    plain = connection.execute(query).fetchall()
    kinds = [_kind([row[k] for row in plain if row[k]]) for k in range(n)]
    if not any(kinds):
        return
    # so many separators are inside that each line may be a row
    inside = " + ".join(_SEPARATORS.format(f"c{k}", quoted(layout.separator)) for k in range(n))
    query = f"select {cells} from {source} where ({where}) and {inside} = {breaks} * {n - 1}"
    for row in connection.execute(f"{query} limit {_EXAMINED}").fetchall():
        lines = _as_written(row, layout).split("\n")
        if all(_is_row(line, kinds, layout) for line in lines if line.strip()):
            raise InputError(
                f"{path}: a quote swallows {len(lines) - 1} lines: a cell holds whole rows "
                f"({_beginning(lines[0])}); double the quotes inside cells, or take them out"
            )


def _as_written(row: tuple[str | None, ...], layout: Layout) -> str:
    """The row's lines, with quotes only around the cells of several lines.

    A separator inside another cell would not be taken for one in any case: it is a blank here.
    """
    separator = layout.separator
    assert separator is not None
    shown = [
        (cell or "") if "\n" in (cell or "") else (cell or "").replace(separator, " ")
        for cell in row
    ]
    return separator.join(f'"{cell}"' if "\n" in cell else cell for cell in shown)


def _kind(cells: list[str]) -> re.Pattern[str] | None:
    """What nearly all cells of a column are, if it is more than text."""
    for pattern in (_NUMBER, _WORD):
        alike = sum(pattern.match(cell) is not None for cell in cells)
        if len(cells) >= 2 and alike >= _ALIKE * len(cells):
            return pattern
    return None


def _is_row(line: str, kinds: list[re.Pattern[str] | None], layout: Layout) -> bool:
    cells = line.rstrip("\r").split(layout.separator)
    if len(cells) != len(kinds):
        return False
    pairs = zip(cells, kinds, strict=True)
    return all(kind is None or not cell or kind.match(cell.strip('"')) for cell, kind in pairs)


def _beginning(line: str) -> str:
    return line if len(line) <= 80 else line[:80] + "…"
