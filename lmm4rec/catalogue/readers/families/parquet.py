"""Parquet files: typed columns as text, and pictures inside them as locators."""

from __future__ import annotations

import json
from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import Any

import pyarrow as pa
import pyarrow.compute as pc
import pyarrow.parquet as pq

from lmm4rec import doors
from lmm4rec.catalogue.readers.families.engine import engine
from lmm4rec.catalogue.readers.locators import picture_locator
from lmm4rec.errors import InputError

MEND = "write it anew"
_WHOLE_BELOW = 2.0**53  # floats that hold every whole number
_ROWS = 65_536
_ROWS_WITH_PICTURES = 256


def names(path: Path) -> list[str]:
    """Of the columns."""
    with doors.reading(path, "readable as Parquet", MEND):
        return list(pq.read_schema(path).names)


def read(path: Path, columns: Sequence[str], ids: frozenset[str], root: Path) -> pa.Table:
    """The named columns as text; of `ids` floats only where they are whole numbers.

    Times become ISO, in UTC where they have a zone; lists and structs JSON; pictures ({bytes,
    path}, a list of them, or the same as a struct of lists) JSON lists of locators, where bytes
    are, or of their paths.
    """
    file = path.relative_to(root).as_posix()
    found: dict[str, list[pa.Array]] = {name: [] for name in columns}
    begun = 0
    for batch in _batches(path, columns):
        for name in columns:
            column = batch.column(batch.schema.get_field_index(name))
            if picture_kind(column.type) is not None:
                texts = _locators(column, file, name, begun)
            else:
                if name in ids:
                    column = _as_ids(column, path, name)
                texts = _as_text(column, path, name)
            found[name].append(texts)
        begun += batch.num_rows
    chunks = {name: pa.chunked_array(texts, pa.string()) for name, texts in found.items()}
    return pa.table(chunks)


def picture_kind(kind: pa.DataType) -> str | None:
    """'one', 'list' or 'lists' (a struct of them) where values are {bytes, path}; else None."""
    if _is_list(kind):
        return "list" if picture_kind(kind.value_type) == "one" else None
    if not pa.types.is_struct(kind) or kind.get_field_index("bytes") < 0:
        return None
    inside = kind.field("bytes").type
    if _is_list(inside):
        return "lists" if _is_binary(inside.value_type) else None
    return "one" if _is_binary(inside) else None


def _batches(path: Path, columns: Sequence[str]) -> Iterator[pa.RecordBatch]:
    door = doors.reading(path, "readable as Parquet", MEND)
    with door:
        file = pq.ParquetFile(path, pre_buffer=False)
        kinds = [file.schema_arrow.field(name).type for name in columns]
        has_pictures = any(picture_kind(kind) is not None for kind in kinds)
        rows = _ROWS_WITH_PICTURES if has_pictures else _ROWS
        steps = file.iter_batches(batch_size=rows, columns=list(columns))
    with file:
        while True:
            with door:
                batch = next(steps, None)
                if batch is None:
                    return
                batch.validate(full=True)  # texts in a damaged file may be no texts
            yield batch


def _as_text(column: pa.Array, path: Path, name: str) -> pa.Array:
    """Null where the value is null or empty."""
    kind = column.type
    if pa.types.is_dictionary(kind):
        return _as_text(column.dictionary_decode(), path, name)
    if isinstance(column, pa.ExtensionArray):
        return _as_text(column.storage, path, name)
    if pa.types.is_nested(kind):
        return _as_json(column)
    if pa.types.is_timestamp(kind):
        # without a zone: the strings of naive times, which are never moved
        ending = "Z" if kind.tz is not None else ""
        naive = column.cast(pa.timestamp(kind.unit))
        texts = pc.strftime(naive, format="%Y-%m-%dT%H:%M:%S")
        texts = pc.replace_substring_regex(texts, r"\.0+$", "")
        return pc.binary_join_element_wise(texts, ending, "")
    try:
        texts = column.cast(pa.string())
    except (pa.ArrowInvalid, pa.ArrowNotImplementedError) as error:
        raise InputError(
            f"{path}: column {name!r} is not plain text ({doors.shortened(error)}); store text"
        ) from None
    if pa.types.is_floating(kind):
        texts = pc.if_else(pc.is_nan(column), None, texts)
    return pc.if_else(pc.equal(texts, ""), None, texts)


def _as_ids(column: pa.Array, path: Path, name: str) -> pa.Array:
    """Floats without fractions as whole numbers; InputError for what nobody takes for an id."""
    if pa.types.is_dictionary(column.type):
        column = column.dictionary_decode()
    if not pa.types.is_floating(column.type):
        odd = (pa.types.is_nested, pa.types.is_temporal, pa.types.is_boolean)
        if any(is_such(column.type) for is_such in odd):
            raise _no_ids(path, name, f"{column.type} values")
        return column
    column = column.cast(pa.float64())
    there = pc.is_finite(column)
    if not pc.all(pc.equal(pc.trunc(column), column).filter(there), min_count=0).as_py():
        raise _no_ids(path, name, "numbers with fractions")
    if not pc.all(pc.less(pc.abs(column), _WHOLE_BELOW).filter(there), min_count=0).as_py():
        raise _no_ids(path, name, "numbers that floats do not hold exactly")
    return pc.if_else(there, column, None).cast(pa.int64())


def _no_ids(path: Path, name: str, what: str) -> InputError:
    return InputError(
        f"{path}: column {name!r} holds {what}; ids are texts or whole numbers: store them so"
    )


def _as_json(column: pa.Array) -> pa.Array:
    with engine() as connection:
        connection.register("part", pa.table({"c": column}))
        query = "select case when c is not null then to_json(c)::varchar end as c from part"
        return connection.sql(query).to_arrow_table()["c"].combine_chunks()


def _locators(column: pa.Array, file: str, name: str, begun: int) -> pa.Array:
    """Of each row's pictures, a JSON list; null where it has none."""
    cells = []
    for row, pictures in enumerate(_flags(column), begun):
        shown = [
            picture_locator(file, row, name, k) if has_bytes else path
            for k, (has_bytes, path) in enumerate(pictures)
            if has_bytes or path
        ]
        cells.append(json.dumps(shown, ensure_ascii=False) if shown else None)
    return pa.array(cells, pa.string())


def _flags(column: pa.Array) -> Iterator[list[tuple[bool, str | None]]]:
    """Of each row's pictures: whether bytes are there, and the path."""
    for value in column:
        cell: Any = value.as_py()
        if cell is None:
            yield []
        elif isinstance(cell, list):
            yield [_flag(one) for one in cell]
        elif isinstance(cell.get("bytes"), list) or isinstance(cell.get("path"), list):
            bytes_ = cell.get("bytes") or []
            paths = cell.get("path") or [None] * len(bytes_)
            bytes_ = bytes_ or [None] * len(paths)
            yield [(bool(b), p) for b, p in zip(bytes_, paths, strict=False)]
        else:
            yield [_flag(cell)]


def _flag(picture: dict[str, Any] | None) -> tuple[bool, str | None]:
    if picture is None:
        return False, None
    return bool(picture.get("bytes")), picture.get("path")


def _is_list(kind: pa.DataType) -> bool:
    return bool(pa.types.is_list(kind) or pa.types.is_large_list(kind))


def _is_binary(kind: pa.DataType) -> bool:
    return bool(pa.types.is_binary(kind) or pa.types.is_large_binary(kind))
