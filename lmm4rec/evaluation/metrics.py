"""Ranking metrics per user: the definitions of MMRec (and so of the papers compared with).

For a user with relevant items G and a list of K items, y_j = 1 if the item at position j (from 1)
is relevant, else 0. All of G counts in recall, found or not; items missing from a short list
(row -1) are not relevant, and precision still divides by K.

    recall@K     sum_{j<=K} y_j / |G|                        (not min(K, |G|))
    precision@K  sum_{j<=K} y_j / K
    ndcg@K       sum_{j<=K} y_j / log2(j+1)  /  sum_{j<=min(K,|G|)} 1 / log2(j+1)
    map@K        sum_{j<=K} y_j precision@j  /  min(K, |G|)

Users without relevant items get NaN in every metric: means are taken over the others
(`numpy.nanmean`, or drop the users first). No rounding anywhere.

Legend: U users, K length of the lists.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence

import numpy as np
from numpy.typing import ArrayLike, NDArray

from lmm4rec.errors import InputError, did_you_mean
from lmm4rec.ranking.ragged import Ragged

Hits = NDArray[np.bool_]  # [U,K], y_j
PerUser = NDArray[np.float64]  # [U]
Metric = Callable[[Hits, NDArray[np.int64], int], PerUser]


def recall(hits: Hits, n_relevant: NDArray[np.int64], cutoff: int) -> PerUser:
    """Share of all relevant items that the first `cutoff` places hold."""
    return _divide(hits[:, :cutoff].sum(axis=1), n_relevant)


def precision(hits: Hits, n_relevant: NDArray[np.int64], cutoff: int) -> PerUser:
    """Share of the first `cutoff` places that hold a relevant item."""
    return _divide(hits[:, :cutoff].sum(axis=1), np.where(n_relevant, cutoff, 0))


def ndcg(hits: Hits, n_relevant: NDArray[np.int64], cutoff: int) -> PerUser:
    """Discounted gain against the best that any list could reach (Järvelin & Kekäläinen, 2002)."""
    discounts = 1 / np.log2(np.arange(2, cutoff + 2))  # [cutoff]
    # cumulative sums on both sides add in the same order: a perfect list gives exactly 1
    gained = (hits[:, :cutoff] * discounts).cumsum(axis=1)[:, -1]
    ideal = np.concatenate([[0.0], discounts.cumsum()])
    return _divide(gained, ideal[np.minimum(n_relevant, cutoff)])


def average_precision(hits: Hits, n_relevant: NDArray[np.int64], cutoff: int) -> PerUser:
    """Mean of precision at the place of each relevant item; those not in the list count 0."""
    found = hits[:, :cutoff].cumsum(axis=1)  # [U, cutoff]
    at_hits = hits[:, :cutoff] * found / np.arange(1, cutoff + 1)
    return _divide(at_hits.cumsum(axis=1)[:, -1], np.minimum(n_relevant, cutoff))


METRICS: Mapping[str, Metric] = {
    "recall": recall,
    "ndcg": ndcg,
    "precision": precision,
    "map": average_precision,
}


def evaluate_lists(
    rows: NDArray[np.int32],
    relevant: Ragged,
    cutoffs: Sequence[int],
    metrics: Sequence[str] = tuple(METRICS),
) -> dict[str, PerUser]:
    """Every metric at every cutoff, per user, under keys such as "recall@20".

    `rows` [U,K] are item rows, best first, distinct, -1 where the list ended (see
    `lmm4rec.ranking.topk`).
    InputError: an unknown metric, or a cutoff below 1 or beyond K.
    """
    relevant.check_fits(len(rows), np.iinfo(np.int32).max)
    for cutoff in cutoffs:
        if not 1 <= cutoff <= rows.shape[1]:
            raise InputError(
                f"metrics: cutoff {cutoff} does not fit lists of {rows.shape[1]} items; "
                "compute longer lists or lower the cutoff"
            )
    for name in metrics:
        if name not in METRICS:
            raise InputError(f"metrics: {name!r} is no metric; {did_you_mean(name, METRICS)}")
    hits, n_relevant = find_hits(rows, relevant), relevant.lengths
    return {
        f"{name}@{cutoff}": METRICS[name](hits, n_relevant, cutoff)
        for name in metrics
        for cutoff in cutoffs
    }


def find_hits(rows: NDArray[np.int32], relevant: Ragged) -> Hits:
    """Where the lists [U,K] hold a relevant item of their user: bool [U,K]."""
    owner = np.repeat(np.arange(len(relevant)), relevant.lengths)
    wanted = owner << 31 | relevant.indices  # ascending: users ascend, and items within a user
    keys = np.arange(len(rows))[:, None] << 31 | np.maximum(rows, 0).astype(np.int64)  # [U, K]
    wanted = np.append(wanted, np.iinfo(np.int64).max)  # so that a place exists for every key
    hits: Hits = (wanted[np.searchsorted(wanted, keys)] == keys) & (rows >= 0)
    return hits


def _divide(above: ArrayLike, below: ArrayLike) -> PerUser:
    """above / below, NaN where below is 0 (a user without relevant items)."""
    quotient = np.full(np.shape(above), np.nan)
    np.divide(above, below, out=quotient, where=np.greater(below, 0))
    return quotient
