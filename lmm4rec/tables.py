"""Parquet in and out: same table, same bytes; columns are checked on reading."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path

import numpy as np
import pyarrow as pa
import pyarrow.compute as pc
import pyarrow.parquet as pq

from lmm4rec.doors import made_by, reading
from lmm4rec.errors import InputError
from lmm4rec.folders import whole_file


def write_table(table: pa.Table, path: Path, row_group_rows: int = 1 << 20) -> None:
    """Write Parquet (zstd), whole or not at all; bytes depend on table and pyarrow alone."""
    with whole_file(path) as unfinished:
        pq.write_table(table, unfinished, compression="zstd", row_group_size=row_group_rows)


def read_table(path: Path, columns: Sequence[str] | None, stage: str) -> pa.Table:
    """The named columns of a Parquet file, or all; `stage` is the one that writes it."""
    door = reading(path, "a Parquet file", made_by(stage))
    with door:
        file = pq.ParquetFile(path)
    with file:
        names = file.schema_arrow.names
        columns = names if columns is None else columns
        missing = [name for name in columns if name not in names]
        if missing:
            raise InputError(
                f"{path}: column {missing[0]!r} is missing (found: {', '.join(names)}); "
                f"{made_by(stage)}"
            )
        with door:
            table = file.read(columns=list(columns))
            table.validate(full=True)  # texts in a damaged file may be no texts
    return table


def read_column_names(path: Path, stage: str) -> list[str]:
    """The columns of a Parquet file that `stage` writes."""
    with reading(path, "a Parquet file", made_by(stage)):
        return list(pq.read_schema(path).names)


def rows_of(ids: pa.ChunkedArray | pa.Array, known: pa.Array) -> np.ndarray:
    """For each id its row in `known`, -1 where it is not there: int64 [len(ids)]."""
    rows = pc.index_in(ids, value_set=known)
    return pc.fill_null(rows, -1).to_numpy(zero_copy_only=False).astype(np.int64)
