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

from lmm4rec.errors import InputError
from lmm4rec.folders import write_json
from lmm4rec.tables import read_table, write_table


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
    """Write the folder format; `history` must hold nothing that differs between equal runs."""
    write_table(pa.table({"user_id": vectors.user_ids}), folder / "users.parquet")
    write_table(pa.table({"item_id": vectors.item_ids}), folder / "items.parquet")
    if isinstance(vectors, Vectors):
        np.save(folder / "users.npy", vectors.users)
        np.save(folder / "items.npy", vectors.items)
    else:
        np.save(folder / "scores_indptr.npy", vectors.scores.indptr.astype(np.int64))
        np.save(folder / "scores_indices.npy", vectors.scores.indices.astype(np.int32))
        np.save(folder / "scores_values.npy", vectors.scores.data.astype(np.float32))
    write_json(folder / "history.json", history)


def read_vectors(folder: Path) -> Vectors | SparseScores:
    """Read the folder format back; dense matrices are memory-mapped, read-only."""
    users = read_table(folder / "users.parquet", ["user_id"], "train")["user_id"].combine_chunks()
    items = read_table(folder / "items.parquet", ["item_id"], "train")["item_id"].combine_chunks()
    if (folder / "users.npy").exists():
        vectors = Vectors(users, items, _load(folder, "users"), _load(folder, "items"))
        shapes = (vectors.users.shape[0], vectors.items.shape[0])
    else:
        parts = (_load(folder, f"scores_{name}") for name in ("values", "indices", "indptr"))
        return SparseScores(users, items, csr_array(tuple(parts), shape=(len(users), len(items))))
    if shapes != (len(users), len(items)) or vectors.users.shape[1] != vectors.items.shape[1]:
        raise InputError(
            f"{folder}: matrices {vectors.users.shape} and {vectors.items.shape} do not fit "
            f"{len(users)} users and {len(items)} items; run stage train again"
        )
    return vectors


def _load(folder: Path, name: str) -> NDArray[Any]:
    path = folder / f"{name}.npy"
    try:
        return np.load(path, mmap_mode="r", allow_pickle=False)
    except (OSError, ValueError, EOFError) as error:
        raise InputError(f"{path}: cannot be read ({error}); run stage train again") from None
