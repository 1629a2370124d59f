"""Exact top-k: every item is a candidate, the user's seen items are left out, ties by item row.

FAISS's flat index proposes k + history + a margin; `ranking.py` gives each proposal its one
well-defined score and sorts. A user's list is kept if its last score lies above anything that
FAISS left out, float32 error included; the few users for whom that is not proven (ties across the
cut, very long histories) are ranked over all items. So no result depends on BLAS or device.

Legend: U users, I items, D dimensions, K = k.
"""

from __future__ import annotations

from collections.abc import Iterator
from typing import TYPE_CHECKING, Any

import numpy as np

from lmm4rec.errors import InputError
from lmm4rec.ranking.ragged import Ragged
from lmm4rec.ranking.ranking import (
    Floats,
    Places,
    Rows,
    check_vectors,
    rank_candidates,
    rank_everything,
    rank_stored,
    score_error,
)

if TYPE_CHECKING:
    from scipy.sparse import csr_array

Lists = tuple[Rows, Floats]  # item rows [U,K] and scores [U,K]

MARGIN = 16  # proposals beyond k + history: the gap in score that proves a list complete
BLOCK_BYTES = 64 << 20  # what FAISS returns for one block of users
TF32_ROUNDING = 2.0**-9  # a GPU may shorten both inputs to 10 bits of mantissa
FAISS_CUDA_LONGEST = 2048  # FAISS on CUDA returns no longer lists


def top_k(users: Floats, items: Floats, k: int, seen: Ragged, device: str = "cpu") -> Lists:
    """The k best unseen items of every user, best first: rows int32 [U,k], scores float32 [U,k].

    Where fewer than k items are left, row -1 and score -inf fill the list. `device` "cuda" lets
    FAISS search on a GPU: same result. Memory: a copy of the items in the index (and a second if
    some users need all items ranked), the result (8 U k bytes), and about 64 MiB + 16 MiB of
    FAISS's blocks. InputError: NaN, inf, overflow, other shapes, k < 1, no such device.
    """
    _check_k(k)
    users, items = np.ascontiguousarray(users, np.float32), np.ascontiguousarray(items, np.float32)
    check_vectors(users, items)
    seen.check_fits(len(users), len(items))
    rows, scores = _empty_lists(len(users), k)
    index, input_rounding = _flat_index(items, device)
    error = score_error(users, items, input_rounding)  # [U]
    longest = len(items) // 2 if device == "cpu" else min(len(items) // 2, FAISS_CUDA_LONGEST)
    unproven = []
    for width, block in _blocks(k + MARGIN, seen.lengths):
        if width > longest:
            unproven.append(block)
            continue
        found, candidates = index.search(users[block], width)  # [B, width] both
        rank_candidates(users, items, seen.indptr, seen.indices, block, candidates, rows, scores)
        left_out = found[:, -1].astype(np.float64) + error[block]  # no other item scores higher
        unproven.append(block[scores[block, -1] <= left_out])
    again = np.concatenate([*unproven, np.empty(0, np.int64)])
    if len(again):
        by_dim = np.ascontiguousarray(items.T)  # [D, I]
        rank_everything(users, by_dim, seen.indptr, seen.indices, again, rows, scores)
    return rows, scores


def top_k_sparse(scores: csr_array, k: int, seen: Ragged) -> Lists:
    """`top_k` of scores that a model gives as a sparse matrix [U,I]; what is not stored is 0.

    For neighbourhood models, whose score is no inner product. Scores are compared as float32.
    Users are independent: to bound memory, build and pass them in row blocks. Memory beside the
    matrix: the result (8 U k bytes) and a float32 copy of the stored scores.
    InputError: NaN or inf, k < 1.
    """
    _check_k(k)
    if not scores.has_canonical_format:
        scores = scores.copy()
        scores.sum_duplicates()  # sorts, too
    n_users, n_items = scores.shape
    seen.check_fits(n_users, n_items)
    with np.errstate(over="ignore"):  # inf is refused below
        data = scores.data.astype(np.float32)
    if not np.isfinite(data).all():
        raise InputError("a sparse score is NaN or inf; check the features behind the neighbours")
    rows, best = _empty_lists(n_users, k)
    indptr, indices = scores.indptr.astype(np.int64), scores.indices.astype(np.int32)
    rank_stored(indptr, indices, data, seen.indptr, seen.indices, n_items, rows, best)
    return rows, best


def _check_k(k: int) -> None:
    if k < 1:
        raise InputError(f"top-k: k is {k}, but a list holds at least 1 item; raise the cutoffs")


def _empty_lists(n_users: int, k: int) -> Lists:
    return np.full((n_users, k), -1, np.int32), np.full((n_users, k), -np.inf, np.float32)


def _flat_index(items: Floats, device: str) -> tuple[Any, float]:
    """FAISS's exact inner-product index, and the relative rounding of its inputs."""
    import faiss

    index = faiss.IndexFlatIP(items.shape[1])
    index.add(items)
    if device == "cpu":
        return index, 0.0
    if device != "cuda":
        raise InputError(f"top-k: no device {device!r}; known are cpu, cuda")
    if not (hasattr(faiss, "StandardGpuResources") and faiss.get_num_gpus()):
        raise InputError("top-k: FAISS sees no GPU here; use device cpu")
    return faiss.index_cpu_to_gpu(faiss.StandardGpuResources(), 0, index), TF32_ROUNDING


def _blocks(base: int, histories: Places) -> Iterator[tuple[int, Places]]:
    """Users in blocks of similar history, with the number of proposals each block needs.

    Histories are rounded up to a power of two, so that few widths occur and one user who has seen
    thousands of items does not widen everyone's search.
    """
    rounded = np.where(histories, 1 << np.ceil(np.log2(np.maximum(histories, 1))).astype(int), 0)
    for longest in np.unique(rounded):
        width = base + int(longest)
        members = np.flatnonzero(rounded == longest)
        size = max(1, BLOCK_BYTES // (width * 12))  # 4 bytes of score and 8 of row each
        for start in range(0, len(members), size):
            yield width, members[start : start + size]
