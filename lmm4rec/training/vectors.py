"""Vectors: what a trained recommender hands over; evaluation needs nothing else of it.

Folder format: `users.parquet` and `items.parquet` (ids in row order), then either `users.npy`
[U, D] and `items.npy` [I, D], float32, whose inner products are the scores, or, for neighbourhood
models whose scores have no such factors, the sparse score matrix [U, I] in CSR form:
`scores_indptr.npy`, `scores_indices.npy`, `scores_values.npy`. `history.json` tells the training.

Shapes: U users, I items, D dims.
"""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import pyarrow as pa
from numpy.typing import NDArray
from scipy.sparse import csr_array

from lmm4rec.arrays import read_array, row_not_finite, write_array
from lmm4rec.doors import finished_name, made_by, reading
from lmm4rec.errors import InputError
from lmm4rec.folders import write_json
from lmm4rec.tables import read_table, write_table

_ADVICE = "look at the values of the features, or lower the recommender's learning_rate"


@dataclass(frozen=True)
class Vectors:
    """Score of user u and item i = users[u] @ items[i]."""

    user_ids: pa.Array
    item_ids: pa.Array
    users: NDArray[np.float32]  # [U, D]
    items: NDArray[np.float32]  # [I, D]


@dataclass(frozen=True)
class SparseScores:
    """Score of user u and item i = scores[u, i], zero where nothing is stored."""

    user_ids: pa.Array
    item_ids: pa.Array
    scores: csr_array  # [U, I], float32, column indices sorted


def write_vectors(folder: Path, vectors: Vectors | SparseScores, history: Any) -> None:
    """Write the folder format; `history` must hold nothing that differs between equal runs.

    Raises `InputError` where a vector or a score is not finite, before anything is written.
    """
    _refuse_not_finite(folder, vectors, _ADVICE)
    write_table(pa.table({"user_id": vectors.user_ids}), folder / "users.parquet")
    write_table(pa.table({"item_id": vectors.item_ids}), folder / "items.parquet")
    if isinstance(vectors, Vectors):
        write_array(folder / "users.npy", vectors.users)
        write_array(folder / "items.npy", vectors.items)
    else:
        write_array(folder / "scores_indptr.npy", vectors.scores.indptr.astype(np.int64))
        write_array(folder / "scores_indices.npy", vectors.scores.indices.astype(np.int32))
        write_array(folder / "scores_values.npy", vectors.scores.data.astype(np.float32))
    write_json(folder / "history.json", history)


def read_vectors(folder: Path) -> Vectors | SparseScores:
    """Read the folder format back; dense matrices are memory-mapped, read-only.

    Raises `InputError` for whatever does not fit together or is not finite.
    """
    users = read_table(folder / "users.parquet", ["user_id"], "train")["user_id"].combine_chunks()
    items = read_table(folder / "items.parquet", ["item_id"], "train")["item_id"].combine_chunks()
    is_dense = (folder / "users.npy").exists()
    vectors = (_dense if is_dense else _sparse)(folder, users, items)
    _refuse_not_finite(folder, vectors, made_by("train"))
    return vectors


def _dense(folder: Path, users: pa.Array, items: pa.Array) -> Vectors:
    matrices = [read_array(folder / f"{name}.npy", 2, "train") for name in ("users", "items")]
    lengths = tuple(len(matrix) for matrix in matrices)
    if lengths != (len(users), len(items)) or matrices[0].shape[1] != matrices[1].shape[1]:
        raise InputError(
            f"{folder}: matrices {matrices[0].shape} and {matrices[1].shape} do not fit "
            f"{len(users)} users and {len(items)} items; run stage train again"
        )
    return Vectors(users, items, matrices[0], matrices[1])


def _sparse(folder: Path, users: pa.Array, items: pa.Array) -> SparseScores:
    parts = [
        read_array(folder / f"scores_{name}.npy", 1, "train")
        for name in ("values", "indices", "indptr")
    ]
    with reading(folder, "the scores of these users and items", made_by("train")):
        scores = csr_array(tuple(parts), shape=(len(users), len(items)))
        scores.check_format(full_check=True)
    return SparseScores(users, items, scores)


def _refuse_not_finite(folder: Path, vectors: Vectors | SparseScores, advice: str) -> None:
    if isinstance(vectors, SparseScores):
        named = [("scores_values", vectors.scores.data, None)]
    else:
        named = [
            ("users", vectors.users, vectors.user_ids),
            ("items", vectors.items, vectors.item_ids),
        ]
    for name, array, ids in named:
        bad = row_not_finite(array)
        if bad is not None:
            row = f"number {bad}" if ids is None else f"of {ids[bad].as_py()!r}"
            raise InputError(
                f"{finished_name(folder / name)}.npy: row {row} holds NaN or infinity; {advice}"
            )
