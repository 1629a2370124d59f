"""Item graphs against dense similarity matrices, and what degenerate rows get."""

from __future__ import annotations

import numpy as np
import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from scipy.sparse import csr_array

from lmm4rec.errors import InputError
from lmm4rec.graphs.item_graphs import mixed, nearest_neighbours, normalised, unweighted
from lmm4rec.graphs.sparse import SparseMatrix


def dense_neighbours(features: np.ndarray, k: int) -> np.ndarray:
    """Itself first, then by cosine, then by row; items of zeros apart. [I, I]"""
    features = features.astype(np.float64)
    norms = np.linalg.norm(features, axis=1)
    graph = np.eye(len(features))
    for i in np.flatnonzero(norms):
        # Six decimals: equal cosines must not differ by their rounding here.
        cosines = {
            j: round(float(features[i] @ features[j] / (norms[i] * norms[j])), 6)
            for j in np.flatnonzero(norms)
            if j != i
        }
        for j in sorted(cosines, key=lambda j: (-cosines[j], j))[: k - 1]:
            graph[i, j] = cosines[j]
    return graph


@pytest.mark.parametrize("k", [1, 2, 5, 10, 60, 1000])
def test_neighbours_equal_a_dense_argsort(k: int) -> None:
    features = np.random.default_rng(k).normal(size=(60, 7)).astype(np.float32)
    found = nearest_neighbours(torch.from_numpy(features), k)
    np.testing.assert_allclose(found.toarray(), dense_neighbours(features, k), atol=2e-6)
    assert found.nnz == 60 * min(k, 60)
    assert found.has_canonical_format


@settings(max_examples=60, deadline=None)
@given(st.integers(1, 45), st.integers(1, 8), st.integers(1, 12), st.integers(0, 99))
def test_duplicates_zeros_and_ties(n_items: int, n_kinds: int, k: int, seed: int) -> None:
    """Few distinct rows, axis-aligned so that ties are exact; the last kind is zeros."""
    rng = np.random.default_rng(seed)
    kinds = np.eye(8, dtype=np.float32)[:n_kinds]
    kinds[-1] = 0
    features = kinds[rng.integers(0, n_kinds, n_items)] * rng.choice([1, 2, 4], (n_items, 1))
    features = features.astype(np.float32)
    found = nearest_neighbours(torch.from_numpy(features), k)
    pattern = dense_neighbours(features, k)
    np.testing.assert_allclose(found.toarray(), pattern, atol=2e-6)
    # Zero cosines are edges too: compare the stored pattern by counts.
    live = features.any(axis=1)
    counts = np.where(live, np.minimum(k, live.sum()), 1)
    np.testing.assert_array_equal(np.diff(found.indptr), counts)


def test_duplicates_share_neighbours_and_the_lower_row_wins() -> None:
    """Rows 1, 2, 3, 4 are equal; row 0 is near them, row 5 far."""
    features = torch.tensor([[1.0, 0.5]] + [[1.0, 0.0]] * 4 + [[-1.0, 0.0]])
    kept = [set(row.indices.tolist()) for row in nearest_neighbours(features, 3)]
    assert kept == [{0, 1, 2}, {1, 2, 3}, {1, 2, 3}, {1, 2, 3}, {1, 2, 4}, {5, 0, 1}]


def test_all_items_equal_or_all_zero() -> None:
    same = nearest_neighbours(torch.ones(5, 3), 2).toarray()
    np.testing.assert_allclose(same[:, 0], 1)  # the lowest row, and itself
    np.testing.assert_allclose(np.diag(same), 1)
    assert nearest_neighbours(torch.zeros(5, 3), 2).toarray().tolist() == np.eye(5).tolist()


def test_one_item_is_its_own_graph() -> None:
    assert nearest_neighbours(torch.ones(1, 3), 10).toarray().tolist() == [[1.0]]


@pytest.mark.parametrize("scale", [1e-40, 1e-20, 1e20, 3e38])
def test_tiny_and_huge_rows_have_cosines(scale: float) -> None:
    features = torch.tensor([[0.5, 0.5], [0.5, 0.0], [0.5, 0.1]], dtype=torch.float64) * scale
    graph = nearest_neighbours(features.float(), 3).toarray()
    np.testing.assert_allclose(graph[0, 1], np.sqrt(0.5), rtol=1e-3)
    np.testing.assert_allclose(graph[1, 2], 0.5 / np.hypot(0.5, 0.1), rtol=1e-3)


@pytest.mark.parametrize("bad", [np.nan, np.inf, -np.inf])
def test_features_that_are_not_finite_are_refused(bad: float) -> None:
    features = torch.ones(4, 3)
    features[2, 1] = bad
    with pytest.raises(InputError, match="item number 2 holds NaN or infinity"):
        nearest_neighbours(features, 2)


def test_normalisation_by_hand() -> None:
    """Row sums 2, 4 and -1: the third item is left isolated."""
    graph = csr_array(np.array([[1.5, 0.5, 0], [2, 1, 1], [0, -2, 1]], np.float32))
    expected = [[1.5 / 2, 0.5 / np.sqrt(8), 0], [2 / np.sqrt(8), 1 / 4, 0], [0, 0, 0]]
    np.testing.assert_allclose(normalised(graph).toarray(), expected, rtol=1e-6)


def test_normalised_unit_weights_are_one_over_k() -> None:
    features = torch.randn(30, 6, generator=torch.Generator().manual_seed(0))
    graph = normalised(unweighted(nearest_neighbours(features, 4)))
    np.testing.assert_allclose(graph.data, 0.25, rtol=1e-6)
    assert graph.nnz == 30 * 4


def test_mixed_graphs_and_their_transposed_products() -> None:
    first = csr_array(np.array([[1, 2], [0, 3]], np.float32))
    second = csr_array(np.array([[0, 4], [5, 0]], np.float32))
    graph = mixed([first, second], [0.25, 0.75])
    dense = torch.tensor([[0.25, 3.5], [3.75, 0.75]])
    np.testing.assert_allclose(graph.toarray(), dense)
    table = torch.randn(2, 3, requires_grad=True)
    (SparseMatrix(graph) @ table).square().sum().backward()
    expected = 2 * dense.T @ (dense @ table.detach())
    torch.testing.assert_close(table.grad, expected)
