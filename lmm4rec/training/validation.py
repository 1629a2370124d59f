"""Recall@K for model selection, without top-k lists: count what ranks before each relevant item.

One float32 matrix product per block of users, then one compiled pass over the block. The result
is exactly the recall of `lmm4rec.ranking.topk` lists, whatever the BLAS: an item that lies within
the float32 error of the relevant one is only decided by its exact score where it decides a hit.
FAISS is not imported here (training must not load it beside torch).

Legend: U users, I items, D dimensions, B users of a block, P relevant pairs of a block.
"""

from __future__ import annotations

from collections.abc import Callable

import numpy as np
from numba import njit, prange
from numpy.typing import NDArray

from lmm4rec.errors import InputError
from lmm4rec.ranking.ragged import Ragged
from lmm4rec.ranking.ranking import (
    Floats,
    Places,
    Rows,
    check_vectors,
    count_before,
    pair_scores,
    score_error,
)

Matmul = Callable[[Floats, Floats, Floats], object]
"""matmul(a [B,D], b [D,I], out [B,I]): the float32 product, written into `out`."""

BLOCK_BYTES = 16 << 20  # scores of one block of users: stays in the last-level cache
MISS, HIT, UNDECIDED, IMPRECISE = 0, 1, 2, 3


def recall_at_k(
    users: Floats,
    items: Floats,
    k: int,
    seen: Ragged,
    relevant: Ragged,
    matmul: Matmul = np.matmul,
) -> NDArray[np.float64]:
    """Relevant items among the user's k best unseen ones / all their relevant items: [U].

    NaN for users without relevant items. A relevant item that was seen is a miss. `matmul` may be
    another float32 product. Memory: one block of scores (16 MiB) and a copy of the users.
    InputError: NaN, inf, overflow, other shapes, k < 1; ValueError: `matmul` is no float32 product.
    """
    if k < 1:
        raise InputError(f"recall at k: k is {k}, but must be at least 1; raise the cutoff")
    users, items = np.ascontiguousarray(users, np.float32), np.ascontiguousarray(items, np.float32)
    check_vectors(users, items)
    seen.check_fits(len(users), len(items))
    relevant.check_fits(len(users), len(items))
    pair_users = np.repeat(np.arange(len(users)), relevant.lengths)
    verdicts = _verdicts(users, items, k, seen, relevant, pair_users, matmul)
    if (verdicts == IMPRECISE).any():
        raise ValueError("matmul is less precise than a float32 product; is TF32 or bf16 on?")
    open_pairs = np.flatnonzero(verdicts == UNDECIDED)
    if len(open_pairs):
        by_dim = np.ascontiguousarray(items.T)  # [D, I]
        pairs = pair_users[open_pairs], relevant.indices[open_pairs]
        before = count_before(users, by_dim, seen.indptr, seen.indices, *pairs)
        verdicts[open_pairs] = np.where(before < k, HIT, MISS)
    hits = np.bincount(pair_users[verdicts == HIT], minlength=len(users))
    recall = np.full(len(users), np.nan)
    np.divide(hits, relevant.lengths, out=recall, where=relevant.lengths > 0)
    return recall


def _verdicts(
    users: Floats,
    items: Floats,
    k: int,
    seen: Ragged,
    relevant: Ragged,
    pair_users: Places,
    matmul: Matmul,
) -> NDArray[np.int8]:
    """MISS, HIT, UNDECIDED or IMPRECISE for every relevant pair, block by block of users."""
    target = pair_scores(users, items, pair_users, relevant.indices).astype(np.float64)
    error = score_error(users, items)[pair_users]
    low = np.nextafter((target - error).astype(np.float32), np.float32(-np.inf))
    high = np.nextafter((target + error).astype(np.float32), np.float32(np.inf))
    verdicts = np.empty(len(pair_users), np.int8)
    active = np.flatnonzero(relevant.lengths)
    size = max(1, min(len(active), BLOCK_BYTES // (4 * max(1, len(items)))))
    buffer = np.empty((size, len(items)), np.float32)
    for start in range(0, len(active), size):
        block = active[start : start + size]
        scores = buffer[: len(block)]  # [B, I]
        matmul(users[block], items.T, scores)
        own = slice(relevant.indptr[block[0]], relevant.indptr[block[-1] + 1])
        line = np.searchsorted(block, pair_users[own])  # pair -> line of the block
        _judge(
            scores, line, pair_users[own], relevant.indices[own], low[own], high[own],
            seen.indptr, seen.indices, k, verdicts[own],
        )  # fmt: skip
    return verdicts


@njit(parallel=True, cache=True)
def _judge(
    scores: Floats,
    line: Places,
    pair_users: Places,
    pair_items: Rows,
    low: Floats,
    high: Floats,
    indptr: Places,
    indices: Rows,
    k: int,
    verdicts: NDArray[np.int8],
) -> None:
    """Write a verdict for each pair [P]: `low` and `high` enclose what may tie with its item."""
    for p in prange(len(line)):
        row, item, floor, ceiling = scores[line[p]], pair_items[p], low[p], high[p]
        surely, maybe = np.int32(0), np.int32(-1)  # -1: the item does not compete with itself
        for j in range(len(row)):
            surely += np.int32(row[j] > ceiling)
            maybe += np.int32(row[j] >= floor)
        was_seen = False
        for s in indices[indptr[pair_users[p]] : indptr[pair_users[p] + 1]]:
            surely -= np.int32(row[s] > ceiling)
            maybe -= np.int32(row[s] >= floor)
            was_seen |= s == item
        if not floor <= row[item] <= ceiling:
            verdicts[p] = IMPRECISE
        elif was_seen or surely >= k:
            verdicts[p] = MISS
        elif maybe < k:
            verdicts[p] = HIT
        else:
            verdicts[p] = UNDECIDED
