"""Slow and obvious: what top-k, recall and the metrics must equal, and the cases to try them on."""

import math

import numpy as np
from hypothesis import strategies as st

from lmm4rec.ranking.ragged import Ragged


def row(lists: Ragged, user: int) -> np.ndarray:
    return lists.indices[lists.indptr[user] : lists.indptr[user + 1]]


def masked_argsort(scores: np.ndarray, k: int, seen: Ragged) -> tuple[np.ndarray, np.ndarray]:
    """Full scores [U,I] -> rows and scores [U,k], seen items left out, ties by item row."""
    rows = np.full((len(scores), k), -1)
    best = np.full((len(scores), k), -np.inf)
    for user in range(len(scores)):
        order = np.argsort(-scores[user], kind="stable")
        order = order[~np.isin(order, row(seen, user))][:k]
        rows[user, : len(order)] = order
        best[user, : len(order)] = scores[user, order]
    return rows, best


def list_metrics(ranked: list[int], wanted: set[int], cutoff: int) -> dict[str, float]:
    """The four definitions of spec section 5 in plain Python, for one user with wanted items."""
    y = [int(item in wanted) for item in ranked[:cutoff]]
    reach = min(cutoff, len(wanted))
    gain = sum(hit / math.log2(place + 2) for place, hit in enumerate(y))
    ideal = sum(1 / math.log2(place + 2) for place in range(reach))
    at_hits = sum(hit * sum(y[: place + 1]) / (place + 1) for place, hit in enumerate(y))
    return {
        "recall": sum(y) / len(wanted),
        "precision": sum(y) / cutoff,
        "ndcg": gain / ideal,
        "map": at_hits / reach,
    }


@st.composite
def worlds(draw, integers: bool = True):
    """(users, items, k, seen, relevant): small, full of ties if `integers`, heavy histories too."""
    rng = np.random.default_rng(draw(st.integers(0, 2**32)))
    n_users, n_items = draw(st.integers(1, 12)), draw(st.integers(1, 150))
    dims, k = draw(st.integers(1, 6)), draw(st.integers(1, 40))
    if integers:
        largest = draw(st.sampled_from([0, 1, 3, 1000]))
        users = rng.integers(-largest, largest + 1, (n_users, dims)).astype(np.float32)
        items = rng.integers(-largest, largest + 1, (n_items, dims)).astype(np.float32)
    else:
        users = rng.standard_normal((n_users, dims)).astype(np.float32)
        items = rng.standard_normal((n_items, dims)).astype(np.float32)
    share_seen = rng.choice([0, 0.02, 0.3, 0.97, 1], n_users)  # of the catalogue, per user
    seen = _draw_lists(rng, share_seen, n_items)
    relevant = _draw_lists(rng, rng.choice([0, 0.02, 0.2], n_users), n_items)
    return users, items, k, seen, relevant


def _draw_lists(rng: np.random.Generator, shares: np.ndarray, n_items: int) -> Ragged:
    users, items = np.nonzero(rng.random((len(shares), n_items)) < shares[:, None])
    return Ragged.from_pairs(users, items, len(shares))
