"""How a table's lines are cut: its separator, its quotes, and whether a header stands above."""

from __future__ import annotations

import csv
import io
import re
from collections import Counter
from collections.abc import Iterator
from itertools import islice
from pathlib import Path
from typing import Literal

from lmm4rec.catalogue.readers.layout import Layout
from lmm4rec.catalogue.readers.unpacked import BrokenOff, blocks
from lmm4rec.errors import InputError

SEPARATORS = ("::", "\t", ";", ",", "|")  # of equal counts the first is taken
_SHARE = 0.9  # of lines that are cut alike
_SAMPLE_BYTES = 1 << 20
_SAMPLE_ROWS = 2_000
_VALUE = re.compile(
    r"[+-]?[\d.,]*\d(e[+-]?\d+)?$"  # a number
    r"|\d{1,4}[-./]\d{1,2}[-./]\d{1,4}([ T].*)?$"  # a date
    r"|(https?://|www\.)"  # a link
    r"|(true|false|null|none|nan|n/a)$"
    r"|[\[{(].*[\]})]$",
    re.IGNORECASE,
)
_QUOTED_THROUGHOUT = re.compile(r'"(?:[^"]|"")*"$')

Escape = Literal['"', "\\"]


def sample(path: Path, layout: Layout) -> str:
    """The file's first whole lines: up to 1 MiB of text."""
    taken, size = [], 0
    try:
        for block in blocks(path, layout):
            taken.append(block)
            size += len(block)
            if size >= _SAMPLE_BYTES:
                break
    except BrokenOff:
        pass
    text = b"".join(taken)
    if size > _SAMPLE_BYTES:
        text = text[: max(text.rfind(b"\n", 0, _SAMPLE_BYTES) + 1, 1 << 16)]
    decoded = text.decode("utf-8", "replace").replace("\r\n", "\n")
    return decoded.replace("\r", " " if "\n" in decoded else "\n")


def may_quote(layout: Layout) -> bool:
    """Whether cells may stand in quotes: never where the separator has several letters."""
    return layout.quoted and len(layout.separator or "") == 1


def rows(text: str, layout: Layout) -> Iterator[list[str]]:
    """The cells of each row that is not empty; ValueError over a quote that is out of place."""
    separator = layout.separator
    assert separator is not None
    if not may_quote(layout):
        yield from (line.split(separator) for line in text.split("\n") if line)
        return
    csv.field_size_limit(_SAMPLE_BYTES)  # its own is below what a page of a shop takes
    is_doubled = layout.escape == '"'
    reader = csv.reader(
        io.StringIO(text, newline="\n"),
        delimiter=separator,
        doublequote=is_doubled,
        escapechar=None if is_doubled else "\\",
        strict=True,
    )
    try:
        yield from filter(None, reader)
    except csv.Error as error:
        if "unexpected end" in str(error) and len(text) > _SAMPLE_BYTES // 4:
            return  # the sample ends inside a cell
        raise ValueError(str(error)) from None


def first_row(path: Path, layout: Layout) -> list[str]:
    """The cells of the file's first row: its header where it has one."""
    try:
        found = next(rows(sample(path, layout), layout), None)
    except ValueError as error:
        raise InputError(
            f"{path}: its first row cannot be cut into cells ({error}); mend its quotes"
        ) from None
    if not found:
        raise InputError(f"{path}: is empty; bring one with rows, or take it away")
    return found


def cut(path: Path, layout: Layout) -> Layout:
    """`layout` with the separator, quotes and escape that cut most lines into equal numbers."""
    text = sample(path, layout)
    if '"' not in text and len(text) >= _SAMPLE_BYTES // 4:
        text += _lines_with_quotes(path, layout)
    found = [one for separator in SEPARATORS if (one := _cut_by(text, separator, layout))]
    found = [one for one in found if not _is_decimal_comma(one, found, text)]
    if not found:
        return _ragged(path, text, layout)
    share, width, best = max(found, key=lambda one: (round(one[0], 2), one[1]))
    if share < 1 and width == 2 and '"' not in text and _is_never_short(text, best):
        return _ragged(path, text, layout)
    return best


def _lines_with_quotes(path: Path, layout: Layout) -> str:
    """The first lines that have one, for files whose beginning has none."""
    found: list[bytes] = []
    size = 0
    try:
        for block in blocks(path, layout):
            if b'"' not in block:
                continue
            # lines that the block's borders cut are left out
            inside = block[block.find(b"\n") + 1 : block.rfind(b"\n") + 1]
            lines = [line for line in inside.split(b"\n") if b'"' in line][:_SAMPLE_ROWS]
            found.extend(lines)
            size += sum(map(len, lines))
            if len(found) >= _SAMPLE_ROWS or size >= _SAMPLE_BYTES:
                break
    except BrokenOff:
        pass
    text = b"\n".join([*found, b""]).decode("utf-8", "replace")
    return text.replace("\r\n", "\n").replace("\r", " ")


def _cut_by(text: str, separator: str, layout: Layout) -> tuple[float, int, Layout] | None:
    """(share of equal rows, cells a row, layout) by the better of the ways to take quotes."""
    as_letters = layout.model_copy(update={"separator": separator, "quoted": False})
    ways = [as_letters]
    if len(separator) == 1 and '"' in text:
        escapes: tuple[Escape, ...] = ('"', "\\")
        ways += [as_letters.model_copy(update={"quoted": True, "escape": e}) for e in escapes]
    elif len(separator) == 1 and separator in ",;":
        # no quote in the sample: further down they may stand as they do in most such files
        ways = [as_letters.model_copy(update={"quoted": True})]
    measured = [(*_alike(text, way), way) for way in ways]
    if separator in ",;" and len(ways) > 1:
        letters, *as_quotes = measured
        best = max(as_quotes, key=lambda one: one[0])
        if best[0] == 0 and letters[0] > 0.5:
            # a quote out of place: the reader says where, the lines say how they are cut
            return (_SHARE, letters[1], as_quotes[0][2]) if letters[1] >= 2 else None
    elif len(ways) > 1 and _is_quoted_throughout(text, as_letters):
        best = measured[1]
    else:
        best = max(measured, key=lambda one: one[0])  # of equals the first: letters
    return best if best[0] >= _SHARE and best[1] >= 2 else None


def _alike(text: str, layout: Layout) -> tuple[float, int]:
    """(share of rows with the most usual number of cells, that number)."""
    try:
        counts = Counter(map(len, islice(rows(text, layout), _SAMPLE_ROWS)))
    except ValueError:
        return 0.0, 0
    if not counts:
        return 0.0, 0
    cells, n = counts.most_common(1)[0]
    return n / counts.total(), cells


def _is_quoted_throughout(text: str, as_letters: Layout) -> bool:
    """Whether cells that begin with a quote are whole quoted cells, and that with a reason.

    The reason is a column in which all cells are, or quotes that are doubled inside.
    """
    cut_rows = list(islice(rows(text, as_letters), _SAMPLE_ROWS))
    quoted = "\n".join(line for line in text.split("\n") if '"' in line)
    begun = [cell for row in rows(quoted, as_letters) for cell in row if cell.startswith('"')]
    if not begun or not all(map(_QUOTED_THROUGHOUT.match, begun)):
        return False
    if all('""' in cell[1:-1] for cell in begun):
        return True
    below = cut_rows[1:] or cut_rows
    width = min(map(len, cut_rows))
    return any(
        all(_QUOTED_THROUGHOUT.match(row[k]) for row in below if row[k]) for k in range(width)
    )


def _is_never_short(text: str, layout: Layout) -> bool:
    """Whether no row has one cell alone: what has more than two is a text with separators."""
    return all(len(row) > 1 for row in islice(rows(text, layout), _SAMPLE_ROWS))


def _is_decimal_comma(
    one: tuple[float, int, Layout], found: list[tuple[float, int, Layout]], text: str
) -> bool:
    """Whether the commas that cut so well stand in numbers between semicolons."""
    others = {layout.separator for _, _, layout in found}
    if one[2].separator != "," or ";" not in others:
        return False
    return not re.search(r"(?<!\d),|,(?!\d)", text[: 1 << 16])


def _ragged(path: Path, text: str, layout: Layout) -> Layout:
    """Lines of a key and what belongs to it: baskets of words, or a text after the first cut."""
    for separator in SEPARATORS:
        one = layout.model_copy(update={"separator": separator, "quoted": False, "header": False})
        if separator in ",;" and re.search(rf'(?m)(?:^|{separator})"', text):
            continue  # a table, whose quotes are not as they should be
        cut_rows = list(islice(rows(text, one), _SAMPLE_ROWS))
        if len(cut_rows) < 2 or any(len(row) < 2 for row in cut_rows):
            continue
        keys = [row[0] for row in cut_rows]
        if len(set(keys)) < len(keys) or any(re.search(r"\s", key) for key in keys):
            continue
        is_words = all(cell and not re.search(r"\s", cell) for row in cut_rows for cell in row)
        return one.model_copy(update={"family": "baskets" if is_words else "cut-lines"})
    raise InputError(
        f"{path}: no separator among , ; | :: and tab cuts its lines into equal numbers of cells, "
        "two or more; bring a table with a header and one of these separators"
    )


def has_header(found: list[list[str]]) -> bool:
    """Whether the first of these rows names columns: none of its cells is a value.

    Nor does a cell stand in its column again, or look like the ids that stand below it. A name may
    be empty, as that of the rows' numbers often is, where a column of values stands below a name.
    """
    if not found:
        return False
    names, below = [cell.strip() for cell in found[0]], found[1:]
    columns = [[row[k].strip() for row in below if k < len(row)] for k in range(len(names))]
    if any(map(_VALUE.match, names)):
        return False
    named = [(name, cells) for name, cells in zip(names, columns, strict=True) if name]
    if len(named) < len(names) and not any(_is_values(cells) for _, cells in named):
        return False
    return bool(named) and not any(_is_like(name, cells) for name, cells in named)


def _is_values(cells: list[str]) -> bool:
    there = [cell for cell in cells if cell]
    return bool(there) and all(map(_VALUE.match, there))


def _is_like(name: str, cells: list[str]) -> bool:
    """Whether a first cell is one of those below it, or an id of their kind."""
    if name in cells:
        return True
    alike = sum(_shape(cell) == _shape(name) for cell in cells)
    return re.search(r"\d", name) is not None and alike > 0.5 * len(cells)


def _shape(cell: str) -> str:
    """Letters and digits by their kinds: B0TINY0003 becomes A0A0."""
    return re.sub(r"\d+", "0", re.sub(r"[^\W\d_]+", "A", cell))
