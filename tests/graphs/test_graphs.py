"""Sparse products and light convolution against dense, obvious mathematics."""

from __future__ import annotations

import gc
import weakref

import numpy as np
import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from scipy.sparse import csr_array, random_array

from lmm4rec.graphs.sparse import SparseMatrix
from lmm4rec.graphs.user_item import (
    adjacency_of,
    interaction_matrix,
    light_convolution,
    light_convolution_rows,
    mean_adjacency,
    symmetric_adjacency,
)
from tests.toy import checkerboard, pairs

sizes = st.integers(1, 40)


@settings(max_examples=30, deadline=None)
@given(sizes, sizes, st.integers(1, 70), st.floats(0, 1), st.integers(0, 9))
def test_products_and_gradients_equal_dense_ones(
    rows: int, columns: int, dims: int, density: float, seed: int
) -> None:
    rng = np.random.default_rng(seed)
    sparse = csr_array(random_array((rows, columns), density=density, rng=rng, dtype=np.float32))
    matrix, dense = SparseMatrix(sparse), torch.from_numpy(sparse.toarray())
    table = torch.from_numpy(rng.normal(size=(columns, dims)).astype(np.float32))
    table.requires_grad_()
    weights = torch.from_numpy(rng.normal(size=(rows, dims)).astype(np.float32))
    torch.testing.assert_close(matrix @ table, dense @ table)
    (gradient,) = torch.autograd.grad(((matrix @ table) * weights).sum(), table)
    torch.testing.assert_close(gradient, dense.T @ weights, rtol=1e-4, atol=1e-5)
    some = torch.from_numpy(np.flatnonzero(rng.random(rows) < 0.5))
    torch.testing.assert_close(matrix.rows_times(some, table), (dense @ table)[some])
    few = weights[some]
    scattered = torch.zeros_like(weights).index_copy_(0, some, few)
    torch.testing.assert_close(
        matrix.T.times_scattered(some, few), dense.T @ scattered, rtol=1e-4, atol=1e-5
    )


def test_symmetric_normalisation_by_hand() -> None:
    """User 0 has items 0 and 1, user 1 has item 1 (twice); item 2 is isolated."""
    matrix = interaction_matrix(pairs([(0, 0), (0, 1), (1, 1), (1, 1)]), 2, 3)
    dense = symmetric_adjacency(matrix).on(torch.device("cpu")).to_dense()
    expected = torch.zeros(5, 5)
    expected[0, 2] = expected[2, 0] = 1 / np.sqrt(2 * 1)
    expected[0, 3] = expected[3, 0] = 1 / np.sqrt(2 * 2)
    expected[1, 3] = expected[3, 1] = 1 / np.sqrt(1 * 2)
    torch.testing.assert_close(dense, expected)


def test_mean_adjacency_by_hand() -> None:
    """User 0 has items 0 and 1, user 1 has item 1; item 2 is isolated."""
    matrix = interaction_matrix(pairs([(0, 0), (0, 1), (1, 1)]), 2, 3)
    graph = mean_adjacency(matrix)
    expected = torch.zeros(5, 5)
    expected[0, 2] = expected[0, 3] = expected[3, 0] = expected[3, 1] = 0.5
    expected[1, 3] = expected[2, 0] = 1.0
    torch.testing.assert_close(graph.on(torch.device("cpu")).to_dense(), expected)
    torch.testing.assert_close(graph.T.on(torch.device("cpu")).to_dense(), expected.T)


@pytest.mark.parametrize("n_layers", [0, 1, 2, 3])
def test_rows_of_the_convolution_equal_the_whole(n_layers: int) -> None:
    view = checkerboard()
    adjacency = adjacency_of(view)
    nodes = torch.randn(adjacency.shape[0], 8, dtype=torch.float32).requires_grad_()
    rows = torch.tensor([0, 3, 41, 69])
    weights = torch.randn(2, len(rows), 8)
    first, readout = light_convolution_rows(adjacency, nodes, n_layers, rows)
    whole = light_convolution(adjacency, nodes, n_layers)
    torch.testing.assert_close(first, nodes[rows])
    torch.testing.assert_close(readout, whole[rows])
    (found,) = torch.autograd.grad((first * weights[0] + readout * weights[1]).sum(), nodes)
    expected = torch.autograd.grad(
        (nodes[rows] * weights[0] + whole[rows] * weights[1]).sum(), nodes
    )[0]
    torch.testing.assert_close(found, expected)
    dense = adjacency.on(torch.device("cpu")).to_dense()
    power, total = nodes.detach(), nodes.detach().clone()
    for _ in range(n_layers):
        power = dense @ power
        total += power
    torch.testing.assert_close(whole.detach(), total / (n_layers + 1))


def test_a_matrix_and_its_transpose_do_not_keep_each_other() -> None:
    """Without the cycle collector: what is made anew each epoch must go when it is let go."""
    gc.disable()
    try:
        sparse = csr_array(random_array((7, 5), density=0.5, rng=0, dtype=np.float32))
        for make in (lambda: SparseMatrix(sparse), lambda: SparseMatrix(sparse).T):
            matrix = make()
            assert matrix.T.shape == matrix.shape[::-1]
            gone = [weakref.ref(matrix), weakref.ref(matrix.T)]
            del matrix
            assert [one() for one in gone] == [None, None]
        symmetric = symmetric_adjacency(interaction_matrix(pairs([(0, 0), (0, 1)]), 1, 2))
        assert symmetric.T is symmetric
        alone = weakref.ref(symmetric)
        del symmetric
        assert alone() is None
    finally:
        gc.enable()


def test_a_transposed_matrix_outlives_what_it_was_made_of() -> None:
    sparse = csr_array(random_array((7, 5), density=0.5, rng=0, dtype=np.float32))
    matrix = SparseMatrix(sparse)
    transposed = matrix.T
    assert transposed.T is matrix and matrix.T is transposed
    del matrix
    table = torch.randn(5, 3)
    torch.testing.assert_close(transposed.T @ table, torch.from_numpy(sparse.toarray()) @ table)
    assert transposed.T.T is transposed


def test_away_from_the_cpu_torch_multiplies(monkeypatch: pytest.MonkeyPatch) -> None:
    """On the device of the table; here one that holds no numbers, where a kernel would fail."""
    asked: list[tuple[torch.device, torch.Size]] = []

    def product(sparse: torch.Tensor, dense: torch.Tensor) -> torch.Tensor:
        asked.append((sparse.device, dense.shape))
        return dense.new_empty(sparse.shape[0], dense.shape[1])

    monkeypatch.setattr(torch.sparse, "mm", product)
    matrix = SparseMatrix(csr_array(np.arange(6.0).reshape(2, 3)))
    meta = torch.device("meta")
    table, rows = torch.empty(3, 4, device=meta), torch.zeros(1, dtype=torch.int64, device=meta)
    assert matrix.times(table).shape == (2, 4)
    assert matrix.rows_times(rows, table).shape == (1, 4)
    assert matrix.times_scattered(rows, table[:1]).shape == (2, 4)
    assert asked == [(meta, (3, 4))] * 3


def test_torch_multiplies_the_same_matrix() -> None:
    matrix = SparseMatrix(csr_array(np.array([[0.0, 2.0, 0.0], [3.0, 0.0, 4.0]])))
    table = torch.arange(12.0).reshape(3, 4)
    torch.testing.assert_close(
        torch.sparse.mm(matrix.on(torch.device("cpu")), table), matrix.times(table)
    )
