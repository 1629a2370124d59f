"""Columns of a person's CSV or Parquet file, with ids kept as the text they are."""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path

import pyarrow as pa
import pyarrow.compute as pc
import pyarrow.csv as csv
import pyarrow.parquet as pq

from lmm4rec.catalogue.sources.base import Reading
from lmm4rec.catalogue.sources.values import plain
from lmm4rec.doors import reading as reading_file
from lmm4rec.doors import shortened
from lmm4rec.errors import InputError, did_you_mean

MEND = "mend the original and run stage download again"
_WHOLE_BELOW = 2.0**53  # floats that hold every whole number


def read_columns(
    path: Path, separator: str, columns: Mapping[str, str], section: str, reading: Reading
) -> pa.Table:
    """The file's columns as strings, renamed to the keys of `columns` (their parameters' names).

    Empty cells are null. A missing column raises `InputError` naming file, column and parameter
    (`section.key`); CSV rows with too many or too few cells are counted as unparsable.
    """
    is_parquet = path.suffix == ".parquet"
    _refuse_missing(path, _names(path, separator, is_parquet), columns, section)
    names = list(dict.fromkeys(columns.values()))
    if is_parquet:
        with reading_file(path, "readable as Parquet", MEND):
            table = pq.read_table(path, columns=names)
            table.validate(full=True)  # texts in a damaged file may be no texts
    else:
        table = _read_csv(path, separator, names, reading)
    found = {key: _as_strings(table[name], path, name) for key, name in columns.items()}
    for key in {"user", "item"} & columns.keys():
        found[key] = _as_ids(table[columns[key]], found[key], path, columns[key])
    return pa.table(found)


def as_numbers(table: pa.Table, column: str, limit: float) -> tuple[pa.Array, pa.Array]:
    """(float64 [n], is_bad [n]): a column of number texts; bad where it is empty or no number.

    Numbers that do not lie between -limit and limit are bad, too. A column that the table does not
    have is all null, and none of it bad.
    """
    n = table.num_rows
    if column not in table.column_names:
        return pa.nulls(n, pa.float64()), pa.array([False] * n, pa.bool_())
    texts = pc.utf8_trim_whitespace(table[column])
    is_number = pc.match_substring_regex(texts, r"^[+-]?(\d+\.?\d*|\.\d+)([eE][+-]?\d+)?$")
    numbers = pc.cast(pc.if_else(is_number, texts, None), pa.float64())
    is_good = pc.fill_null(pc.less(pc.abs(numbers), limit), False)
    return pc.if_else(is_good, numbers, None), pc.invert(is_good)


def as_plain_text(table: pa.Table, column: str) -> pa.Array:
    """A text column with entities unescaped, on one line; empty where it is missing or null.

    Lists, as some catalogues keep categories, and bars between names become spaces.
    """
    if column not in table.column_names:
        return pa.array([""] * table.num_rows, pa.string())
    texts = table[column].to_pylist()
    if column == "categories":
        texts = [text.replace("|", " ") if text else text for text in texts]
    return pa.array([plain(text or "") for text in texts], pa.string())


def _names(path: Path, separator: str, is_parquet: bool) -> list[str]:
    with reading_file(path, f"readable as {'Parquet' if is_parquet else 'CSV'}", MEND):
        if is_parquet:
            return list(pq.read_schema(path).names)
        with csv.open_csv(path, parse_options=_parsing(separator, [])) as stream:
            return list(stream.schema.names)


def _refuse_missing(path: Path, names: list[str], columns: Mapping[str, str], section: str) -> None:
    for key, name in columns.items():
        if name not in names:
            raise InputError(
                f"{path}: has no column {name!r} (it has {', '.join(names)}); correct "
                f"{section}.{key}: {did_you_mean(name, names)}"
            )


def _parsing(separator: str, torn: list[int]) -> csv.ParseOptions:
    def skip(row: csv.InvalidRow) -> str:
        torn.append(row.number or 0)
        return "skip"

    return csv.ParseOptions(delimiter=separator, newlines_in_values=True, invalid_row_handler=skip)


def _read_csv(path: Path, separator: str, names: list[str], reading: Reading) -> pa.Table:
    torn: list[int] = []
    conversion = csv.ConvertOptions(
        column_types={name: pa.string() for name in names},
        include_columns=names,
        strings_can_be_null=True,
        null_values=[""],
    )
    with reading_file(path, "readable as CSV", MEND):
        table = csv.read_csv(
            path,
            read_options=csv.ReadOptions(use_threads=False),  # so that torn rows have numbers
            parse_options=_parsing(separator, torn),
            convert_options=conversion,
        )
    first = f"row {torn[0]}" if torn else ""
    reading.unparsable(path, len(torn), table.num_rows + len(torn), first)
    return table


def _as_strings(column: pa.ChunkedArray, path: Path, name: str) -> pa.ChunkedArray:
    if pa.types.is_dictionary(column.type):
        column = column.cast(column.type.value_type)
    if pa.types.is_timestamp(column.type) or pa.types.is_date(column.type):
        column = pc.cast(column.cast(pa.timestamp("s"), safe=False), pa.int64())
    try:
        if pa.types.is_list(column.type) or pa.types.is_large_list(column.type):
            return _joined(column.cast(pa.list_(pa.string())))
        return column.cast(pa.string())
    except (pa.ArrowInvalid, pa.ArrowNotImplementedError) as error:
        raise InputError(
            f"{path}: column {name!r} is not plain text ({shortened(error)}); store text"
        ) from None


def _joined(lists: pa.ChunkedArray) -> pa.ChunkedArray:
    """Each list's texts with spaces between them; what is null in a list is left out."""
    rows = lists.to_pylist()
    texts = [None if row is None else " ".join(text for text in row if text) for row in rows]
    return pa.chunked_array([pa.array(texts, pa.string())])


def _as_ids(
    column: pa.ChunkedArray, texts: pa.ChunkedArray, path: Path, name: str
) -> pa.ChunkedArray:
    """The texts, null where a number is missing; InputError for what nobody takes for an id."""
    kind = column.type.value_type if pa.types.is_dictionary(column.type) else column.type
    if pa.types.is_floating(kind):  # whole numbers with gaps, as pandas keeps them
        column = column.cast(pa.float64())
        there = pc.is_finite(column)
        if not pc.all(pc.equal(pc.trunc(column), column).filter(there), min_count=0).as_py():
            raise _no_ids(path, name, "numbers with fractions")
        if not pc.all(pc.less(pc.abs(column), _WHOLE_BELOW).filter(there), min_count=0).as_py():
            raise _no_ids(path, name, "numbers that floats do not hold exactly")
        return pc.if_else(there, texts, None)
    if not any(is_kind(kind) for is_kind in _ID_KINDS):
        raise _no_ids(path, name, f"{kind} values")
    return texts


_ID_KINDS = (pa.types.is_string, pa.types.is_large_string, pa.types.is_integer, pa.types.is_null)


def _no_ids(path: Path, name: str, what: str) -> InputError:
    return InputError(
        f"{path}: column {name!r} holds {what}; ids are texts or whole numbers: {MEND}"
    )
