"""Item-item graphs: every item's k most similar items by content, sparse from the start.

Similarity is the cosine. Neighbours are found by FAISS in blocks (`lmm4rec.ranking.topk`), so that
no I x I matrix ever exists: a graph takes 8 k I bytes, its making two copies of the features.

What degenerate rows get:
- An item is always its own first neighbour, with similarity 1, however many duplicates it has.
- Equal similarities go to the lower item row. Duplicates (items without a picture, all filled with
  one mean vector) are searched once and shared out, so they cost no more than other rows.
- An item of zeros is alike to itself alone: its row holds the diagonal, and no other row names it.
- Under `normalised`, an item whose similarities do not add up to more than zero is left isolated,
  where D^-1/2 would be infinite or NaN.

Legend: I items, D dims, K neighbours, L live (not all-zero) items, G distinct rows among them.
"""

from __future__ import annotations

from collections.abc import Iterable

import numpy as np
from numpy.typing import NDArray
from scipy.sparse import csr_array, diags_array
from torch import Tensor

from lmm4rec.errors import InputError
from lmm4rec.graphs.user_item import inverse_root
from lmm4rec.ranking.ragged import Ragged
from lmm4rec.ranking.ranking import Floats, Places, Rows, rank_candidates
from lmm4rec.ranking.topk import top_k

_BLOCK_CANDIDATES = 4 << 20  # candidates of duplicates ranked at once: 32 MiB


def nearest_neighbours(features: Tensor, k: int) -> csr_array:
    """Cosines of each item [I, D] and its k most similar ones, itself included: [I, I], float32.

    k beyond the catalogue takes all of it. The graph is directed. On CUDA, FAISS searches there.
    InputError where a feature is NaN or infinite.
    """
    matrix = features.detach().cpu().numpy()
    unit = _unit_rows(matrix)
    live = np.flatnonzero(unit.any(axis=1))  # [L]
    searched = unit if len(live) == len(unit) else unit[live]
    others, cosines = _others(searched, min(k, len(unit)) - 1, features.device.type)  # [L, K-1]
    filled = others >= 0
    rows = np.repeat(live, filled.sum(axis=1))
    diagonal = np.arange(len(unit))
    graph = csr_array(
        (
            np.concatenate([np.ones(len(unit), np.float32), cosines[filled]]),
            (np.concatenate([diagonal, rows]), np.concatenate([diagonal, live[others[filled]]])),
        ),
        shape=(len(unit), len(unit)),
    )
    graph.sort_indices()
    return graph


def unweighted(graph: csr_array) -> csr_array:
    """The same edges with weight 1 each."""
    return csr_array((np.ones_like(graph.data), graph.indices, graph.indptr), shape=graph.shape)


def normalised(graph: csr_array) -> csr_array:
    """D^-1/2 S D^-1/2 with D the row sums of S; isolated where a sum is not positive."""
    scale = diags_array(inverse_root(graph.sum(axis=1)).astype(np.float32))
    return csr_array(scale @ graph @ scale)


def mixed(graphs: Iterable[csr_array], weights: Iterable[float]) -> csr_array:
    """sum_m w_m S_m: at most K entries a row per graph."""
    parts = [graph * np.float32(weight) for graph, weight in zip(graphs, weights, strict=True)]
    total = parts[0]
    for part in parts[1:]:
        total = total + part
    return csr_array(total)


def _unit_rows(matrix: Floats) -> Floats:
    """Rows of norm 1, or of zeros; scaled by their largest entry first, so that none overflows."""
    peaks = np.maximum(matrix.max(axis=1, initial=0), -matrix.min(axis=1, initial=0))  # [I]
    if not np.isfinite(peaks).all():
        raise InputError(
            f"item vectors: the row of item number {int(np.argmin(np.isfinite(peaks)))} holds NaN "
            "or infinity; mend that feature, or lower the recommender's learning_rate in "
            "params.yaml if training made it so"
        )
    peaks[peaks == 0] = 1
    unit: Floats = np.divide(matrix, peaks[:, None], dtype=np.float32)
    norms = np.sqrt(np.einsum("id,id->i", unit, unit))
    norms[norms == 0] = 1
    unit /= norms[:, None]
    unit += 0.0  # -0.0 becomes 0.0: duplicates are found by their bytes
    return unit


def _others(unit: Floats, k: int, device: str) -> tuple[Rows, Floats]:
    """The k most similar rows beside the row itself: rows, -1 where there are none, and cosines."""
    if k < 1 or len(unit) < 2:
        return np.full((len(unit), 0), -1, np.int32), np.empty((len(unit), 0), np.float32)
    distinct, group_of = _distinct_rows(unit)
    if len(distinct) == len(unit):
        return top_k(unit, unit, k, _itself(len(unit)), device)
    return _share_out(unit, k, distinct, group_of, device)


def _share_out(
    unit: Floats, k: int, distinct: Places, group_of: Places, device: str
) -> tuple[Rows, Floats]:
    """`_others` of rows with duplicates: nearest groups first, then their members ranked.

    The k nearest groups hold the k nearest rows, ties included, because groups stand in the order
    of their first members and every group has one.
    """
    n_groups = len(distinct)
    vectors = unit[distinct]  # [G, D]
    near = np.arange(n_groups)[:, None]  # a group is its own nearest
    if n_groups > 1:
        found, _ = top_k(vectors, vectors, k, _itself(n_groups), device)
        near = np.concatenate([near, found], axis=1)  # [G, K+1], -1 where there are no more
    members = _first_members(group_of, n_groups, k + 1)  # [G+1, M]; its last row is empty
    rows = np.full((len(unit), k), -1, np.int32)
    cosines = np.full((len(unit), k), -np.inf, np.float32)
    itself = _itself(len(unit))
    size = max(1, _BLOCK_CANDIDATES // (near.shape[1] * members.shape[1]))
    for start in range(0, len(unit), size):
        block = np.arange(start, min(start + size, len(unit)))
        candidates = members[near[group_of[block]]].reshape(len(block), -1)  # [B, (K+1) M]
        # The row itself fills the gaps: it is left out by the ranking.
        candidates = np.where(candidates < 0, block[:, None], candidates)
        rank_candidates(unit, unit, itself.indptr, itself.indices, block, candidates, rows, cosines)
    return rows, cosines


def _distinct_rows(unit: Floats) -> tuple[Places, Places]:
    """First row of every group of equal rows, ascending [G], and the group of every row [L]."""
    as_bytes = np.ascontiguousarray(unit).view(np.dtype((np.void, unit[0].nbytes))).ravel()
    _, first, inverse = np.unique(as_bytes, return_index=True, return_inverse=True)
    order = np.argsort(first)
    place = np.empty_like(order)
    place[order] = np.arange(len(order))
    return first[order], place[inverse]


def _first_members(group_of: Places, n_groups: int, most: int) -> NDArray[np.int64]:
    """The lowest rows of each group, at most `most` of them, then -1: [G+1, M]."""
    order = np.argsort(group_of, kind="stable")
    sizes = np.bincount(group_of, minlength=n_groups)
    rank = np.arange(len(order)) - np.repeat(np.cumsum(sizes) - sizes, sizes)
    kept = rank < most
    members = np.full((n_groups + 1, min(most, int(sizes.max()))), -1)
    members[group_of[order][kept], rank[kept]] = order[kept]
    return members


def _itself(count: int) -> Ragged:
    """Every row has seen itself alone: what `top_k` leaves out."""
    return Ragged(np.arange(count + 1, dtype=np.int64), np.arange(count, dtype=np.int32))
