"""What ranks before what: one score, one order, and the compiled kernels that apply them.

Score: the inner product of two float32 vectors, summed in float64 in the order of the dimensions,
then rounded to float32. Products of two float32 numbers are exact in float64, so the score is one
well-defined number: it depends on no BLAS, block size, thread count or fused multiply-add.
Order: higher score first, equal scores by the lower item row. A float32 matrix product (BLAS,
FAISS, torch) serves to find candidates; `score_error` bounds how far it may lie from the score.

Legend: U users, I items, D dimensions, B some users, C candidates, K list length, P pairs.
Every kernel that calls another stands in this file, because numba's cache sees one file only.
"""

from __future__ import annotations

import numpy as np
from numba import njit, prange
from numpy.typing import NDArray

from lmm4rec.errors import InputError

Floats = NDArray[np.float32]
Doubles = NDArray[np.float64]
Rows = NDArray[np.int32]  # item rows
Places = NDArray[np.int64]  # user rows, or an indptr
TILE_ITEMS = 1024  # float64 scores of one tile (8 KiB) stay in the first-level cache


def check_vectors(users: Floats, items: Floats) -> None:
    """InputError on another shape than [U,D] and [I,D], on NaN or inf, or if a score overflows."""
    if users.ndim != 2 or items.ndim != 2 or users.shape[1] != items.shape[1]:
        raise InputError(
            f"user vectors {users.shape} and item vectors {items.shape} must be two matrices of "
            "one width; train the recommender again"
        )
    for name, vectors in (("user", users), ("item", items)):
        finite = np.isfinite(vectors).all(axis=1)
        if not finite.all():
            raise InputError(
                f"{name} vectors: row {int(np.argmin(finite))} holds NaN or inf; training "
                "diverged, train again with a lower learning rate"
            )
    if _norms(users).max(initial=0) * _norms(items).max(initial=0) > np.finfo(np.float32).max:
        raise InputError(
            "user and item vectors are so long that their scores overflow float32; training "
            "diverged, train again with a lower learning rate"
        )


def score_error(users: Floats, items: Floats, input_rounding: float = 0.0) -> Doubles:
    """Most that any float32 matrix product may differ from the score, per user: [U].

    Higham (2002), section 3.1: a float32 sum of D products in any order is off by at most
    gamma_D |u|.|i|, at most gamma_D ||u|| ||i||, plus what underflows to zero; two more units
    cover the score's own rounding. `input_rounding` is the relative error of a product whose
    inputs were shortened first (TF32).
    """
    dims = users.shape[1]
    relative = input_rounding + 1.01 * (dims + 2) * 2.0**-24
    lost = (dims + 1) * float(np.finfo(np.float32).tiny)
    error: Doubles = _norms(users) * (relative * _norms(items).max(initial=0)) + lost
    return error


def _norms(vectors: Floats) -> Doubles:
    norms: Doubles = np.sqrt(np.einsum("nd,nd->n", vectors, vectors, dtype=np.float64))
    return norms


@njit(cache=True)
def _score(user: Floats, item: Floats) -> np.float32:
    total = 0.0
    for d in range(len(user)):
        total += np.float64(user[d]) * np.float64(item[d])
    return np.float32(total)


@njit(cache=True)
def _score_tile(user: Floats, items_by_dim: Floats, start: int, totals: Doubles) -> None:
    """`totals` [tile] becomes the scores, not yet rounded, of the items from `start` on."""
    totals[:] = 0.0
    for d in range(len(user)):
        factor = np.float64(user[d])
        column = items_by_dim[d, start : start + len(totals)]
        for j in range(len(totals)):
            totals[j] += factor * np.float64(column[j])


@njit(cache=True)
def _holds(ascending: Rows, item: int) -> bool:
    at = np.searchsorted(ascending, item)
    return bool(at < len(ascending) and ascending[at] == item)


@njit(cache=True)
def _insert(rows: Rows, scores: Floats, filled: int, item: int, score: np.float32) -> int:
    """Put an item in its place in the lists [K], `filled` of them in use; returns the new count."""
    last = len(rows) - 1
    if filled > last:
        if score < scores[last] or (score == scores[last] and item > rows[last]):
            return filled
        at = last
    else:
        at = filled
        filled += 1
    while at > 0 and (scores[at - 1] < score or (scores[at - 1] == score and rows[at - 1] > item)):
        scores[at], rows[at] = scores[at - 1], rows[at - 1]
        at -= 1
    scores[at], rows[at] = score, item
    return filled


@njit(parallel=True, cache=True)
def pair_scores(users: Floats, items: Floats, user_rows: Places, item_rows: Rows) -> Floats:
    """The score of each pair of rows: float32 [P]."""
    scores = np.empty(len(user_rows), np.float32)
    for p in prange(len(user_rows)):
        scores[p] = _score(users[user_rows[p]], items[item_rows[p]])
    return scores


@njit(parallel=True, cache=True)
def rank_candidates(
    users: Floats,
    items: Floats,
    indptr: Places,
    indices: Rows,
    user_rows: Places,
    candidates: Places,
    rows: Rows,
    scores: Floats,
) -> None:
    """Fill `rows` and `scores` [U,K] of the given users [B] from their candidate items [B,C].

    `indptr` and `indices` hold what each user has seen; those candidates are left out.
    """
    for b in prange(len(user_rows)):
        u = user_rows[b]
        seen = indices[indptr[u] : indptr[u + 1]]
        filled = 0
        for item in candidates[b]:
            if not _holds(seen, item):
                filled = _insert(rows[u], scores[u], filled, item, _score(users[u], items[item]))


@njit(parallel=True, cache=True)
def rank_everything(
    users: Floats,
    items_by_dim: Floats,
    indptr: Places,
    indices: Rows,
    user_rows: Places,
    rows: Rows,
    scores: Floats,
) -> None:
    """As `rank_candidates` with every item a candidate; `items_by_dim` is [D,I], C-contiguous."""
    n_items = items_by_dim.shape[1]
    for b in prange(len(user_rows)):
        u = user_rows[b]
        totals = np.empty(TILE_ITEMS, np.float64)
        filled, at, end = 0, indptr[u], indptr[u + 1]
        for start in range(0, n_items, TILE_ITEMS):
            tile = totals[: min(TILE_ITEMS, n_items - start)]
            _score_tile(users[u], items_by_dim, start, tile)
            for j in range(len(tile)):
                if at < end and indices[at] == start + j:
                    at += 1
                else:
                    filled = _insert(rows[u], scores[u], filled, start + j, np.float32(tile[j]))


@njit(parallel=True, cache=True)
def count_before(
    users: Floats,
    items_by_dim: Floats,
    indptr: Places,
    indices: Rows,
    user_rows: Places,
    item_rows: Rows,
) -> Places:
    """For each pair (user row, item row), how many unseen items rank before the item: int64 [P]."""
    counts = np.zeros(len(user_rows), np.int64)
    n_items = items_by_dim.shape[1]
    for p in prange(len(user_rows)):
        u, item = user_rows[p], item_rows[p]
        target = _score(users[u], items_by_dim[:, item])
        totals = np.empty(TILE_ITEMS, np.float64)
        before, at, end = 0, indptr[u], indptr[u + 1]
        for start in range(0, n_items, TILE_ITEMS):
            tile = totals[: min(TILE_ITEMS, n_items - start)]
            _score_tile(users[u], items_by_dim, start, tile)
            for j in range(len(tile)):
                if at < end and indices[at] == start + j:
                    at += 1
                else:
                    score = np.float32(tile[j])
                    if score > target or (score == target and start + j < item):
                        before += 1
        counts[p] = before
    return counts


@njit(parallel=True, cache=True)
def rank_stored(
    score_indptr: Places,
    score_indices: Rows,
    score_data: Floats,
    indptr: Places,
    indices: Rows,
    n_items: int,
    rows: Rows,
    scores: Floats,
) -> None:
    """Fill `rows` and `scores` [U,K] from sparse scores (CSR, ascending); what is not stored is 0.

    Stored positive scores come first, then zeros by item row, stored or not, then negative ones.
    """
    for u in prange(len(rows)):
        stored = score_indices[score_indptr[u] : score_indptr[u + 1]]
        data = score_data[score_indptr[u] : score_indptr[u + 1]]
        seen = indices[indptr[u] : indptr[u + 1]]
        filled, has_negative = 0, False
        for j in range(len(stored)):
            has_negative |= bool(data[j] < 0)
            if data[j] > 0 and not _holds(seen, stored[j]):
                filled = _insert(rows[u], scores[u], filled, stored[j], data[j])
        at, seen_at = 0, 0
        for item in range(n_items):
            if filled == len(rows[u]):
                break
            value, was_seen = np.float32(0), False
            if at < len(stored) and stored[at] == item:
                value = data[at]
                at += 1
            if seen_at < len(seen) and seen[seen_at] == item:
                was_seen = True
                seen_at += 1
            if value == 0 and not was_seen:
                rows[u, filled], scores[u, filled] = item, 0
                filled += 1
        if has_negative and filled < len(rows[u]):
            for j in range(len(stored)):
                if data[j] < 0 and not _holds(seen, stored[j]):
                    filled = _insert(rows[u], scores[u], filled, stored[j], data[j])
