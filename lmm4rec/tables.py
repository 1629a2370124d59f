"""Parquet in and out: same table, same bytes; columns are checked on reading."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path

import numpy as np
import pyarrow as pa
import pyarrow.compute as pc
import pyarrow.parquet as pq

from lmm4rec.errors import InputError


def write_table(table: pa.Table, path: Path, row_group_rows: int = 1 << 20) -> None:
    """Write Parquet (zstd). Bytes depend on the table and on pyarrow's version alone."""
    pq.write_table(table, path, compression="zstd", row_group_size=row_group_rows)


def read_table(path: Path, columns: Sequence[str] | None, made_by: str) -> pa.Table:
    """The named columns of a Parquet file, or all; `made_by` is the stage that writes it."""
    try:
        file = pq.ParquetFile(path)
    except FileNotFoundError:
        raise InputError(
            f"{path}: there is no such file; run stage {made_by}, or `dvc pull` its output"
        ) from None
    except pa.ArrowInvalid as error:
        raise InputError(
            f"{path}: not a Parquet file ({error}); run stage {made_by} again"
        ) from None
    with file:
        columns = file.schema_arrow.names if columns is None else columns
        missing = [name for name in columns if name not in file.schema_arrow.names]
        if missing:
            raise InputError(
                f"{path}: column {missing[0]!r} is missing (found: "
                f"{', '.join(file.schema_arrow.names)}); run stage {made_by} again"
            )
        return file.read(columns=list(columns))


def rows_of(ids: pa.ChunkedArray | pa.Array, known: pa.Array) -> np.ndarray:
    """For each id its row in `known`, -1 where it is not there: int64 [len(ids)]."""
    rows = pc.index_in(ids, value_set=known)
    return pc.fill_null(rows, -1).to_numpy(zero_copy_only=False).astype(np.int64)
