"""Columns of a person's CSV or Parquet file, with ids kept as the text they are."""

from __future__ import annotations

import html
import re
from collections.abc import Mapping
from pathlib import Path

import pyarrow as pa
import pyarrow.compute as pc
import pyarrow.csv as csv
import pyarrow.parquet as pq

from lmm4rec.catalogue.sources.base import Reading
from lmm4rec.errors import InputError, did_you_mean

_SPACE = re.compile(r"\s+")


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
        table = pq.read_table(path, columns=names)
    else:
        table = _read_csv(path, separator, names, reading)
    found = {key: _as_strings(table[name], path) for key, name in columns.items()}
    return pa.table(found)


def as_numbers(table: pa.Table, column: str) -> tuple[pa.Array, pa.Array]:
    """(float64 [n], is_bad [n]): a column of number texts; bad where it is empty or no number.

    A column that the table does not have is all null, and none of it bad.
    """
    n = table.num_rows
    if column not in table.column_names:
        return pa.nulls(n, pa.float64()), pa.array([False] * n, pa.bool_())
    texts = pc.utf8_trim_whitespace(table[column])
    is_number = pc.match_substring_regex(texts, r"^[+-]?(\d+\.?\d*|\.\d+)([eE][+-]?\d+)?$")
    is_number = pc.fill_null(is_number, False)
    return pc.cast(pc.if_else(is_number, texts, None), pa.float64()), pc.invert(is_number)


def as_plain_text(table: pa.Table, column: str) -> pa.Array:
    """A text column with entities unescaped, on one line; empty where it is missing or null.

    Lists, as some catalogues keep categories, and bars between names become spaces.
    """
    if column not in table.column_names:
        return pa.array([""] * table.num_rows, pa.string())
    texts = table[column].to_pylist()
    if column == "categories":
        texts = [text.replace("|", " ") if text else text for text in texts]
    plain = [_SPACE.sub(" ", html.unescape(text or "")).strip() for text in texts]
    return pa.array(plain, pa.string())


def _names(path: Path, separator: str, is_parquet: bool) -> list[str]:
    try:
        if is_parquet:
            return list(pq.read_schema(path).names)
        with csv.open_csv(path, parse_options=_parsing(separator, [])) as stream:
            return list(stream.schema.names)
    except FileNotFoundError:
        raise InputError(f"{path}: there is no such file; run stage download again") from None
    except pa.ArrowInvalid as error:
        kind = "Parquet" if is_parquet else "CSV"
        raise InputError(f"{path}: not readable as {kind} ({error}); mend the file") from None


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
    try:
        table = csv.read_csv(
            path,
            read_options=csv.ReadOptions(use_threads=False),  # so that torn rows have numbers
            parse_options=_parsing(separator, torn),
            convert_options=conversion,
        )
    except pa.ArrowInvalid as error:
        raise InputError(f"{path}: not readable as CSV ({error}); mend the file") from None
    first = f"row {torn[0]}" if torn else ""
    reading.unparsable(path, len(torn), table.num_rows + len(torn), first)
    return table


def _as_strings(column: pa.ChunkedArray, path: Path) -> pa.ChunkedArray:
    if pa.types.is_list(column.type) or pa.types.is_large_list(column.type):
        column = pc.binary_join(column.cast(pa.list_(pa.string())), " ")
    if pa.types.is_timestamp(column.type) or pa.types.is_date(column.type):
        column = pc.cast(column.cast(pa.timestamp("s"), safe=False), pa.int64())
    try:
        return column.cast(pa.string())
    except (pa.ArrowInvalid, pa.ArrowNotImplementedError) as error:
        raise InputError(f"{path}: a column is not plain text ({error}); store text") from None
