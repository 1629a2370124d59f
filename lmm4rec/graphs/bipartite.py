"""Light graph convolution that starts on one side of the user-item graph, and its dropouts.

The layers of A^l X alternate between the sides of a bipartite graph: what starts on the items is
on the users after one layer and back on the items after two. A table that is zero on one side thus
needs half the work, and several readouts LGC([E; X_b]) that share the users' table E are, by
linearity, one convolution of E from the users' side plus one of [X_1 | X_2 | ...] from the items'.

Shapes: S nodes on the starting side ("own"), O on the other, D dims, R rows.
"""

from __future__ import annotations

from typing import Any

import numpy as np
import torch
from numpy.typing import NDArray
from scipy.sparse import csr_array
from torch import Tensor

from lmm4rec.graphs.sparse import SparseMatrix


def one_sided_convolution(
    matrix: SparseMatrix, start: Tensor, n_layers: int
) -> tuple[Tensor, Tensor]:
    """LGC([X; 0]) on both sides: X [S, D] -> ([S, D], [O, D]), without gradient.

    `matrix` [O, S] carries the starting side to the other one.
    """
    own, other = start.clone(), start.new_zeros(matrix.shape[0], start.shape[1])
    layer = start
    for depth in range(1, n_layers + 1):
        layer = _towards(matrix, depth).times(layer)
        (other if depth % 2 else own).add_(layer)
    return own.div_(n_layers + 1), other.div_(n_layers + 1)


def one_sided_convolution_rows(
    matrix: SparseMatrix, start: Tensor, n_layers: int, own: Tensor, other: Tensor
) -> tuple[Tensor, Tensor]:
    """The rows `own` and `other`, each distinct, of the above, differentiable in `start`.

    The last layer is computed for its rows alone and the gradient, zero elsewhere, enters the
    backward pass as those rows. Nothing is kept between the passes: the map is linear.
    """
    own_rows, other_rows = _OneSidedRows.apply(start, own, other, matrix, n_layers)
    return own_rows, other_rows


class _OneSidedRows(torch.autograd.Function):
    @staticmethod
    def forward(
        ctx: Any, start: Tensor, own: Tensor, other: Tensor, matrix: SparseMatrix, n_layers: int
    ) -> tuple[Tensor, Tensor]:
        ctx.matrix, ctx.n_layers = matrix, n_layers
        ctx.save_for_backward(own, other)
        on_other = start.new_zeros(len(other), start.shape[1])
        sides = (own, start.index_select(0, own)), (other, on_other)
        layer = start
        for depth in range(1, n_layers + 1):
            rows, total = sides[depth % 2]
            if depth == n_layers:
                total += _towards(matrix, depth).rows_times(rows, layer)
            else:
                layer = _towards(matrix, depth).times(layer)
                total += layer.index_select(0, rows)
        return sides[0][1] / (n_layers + 1), sides[1][1] / (n_layers + 1)

    @staticmethod
    def backward(ctx: Any, *gradients: Tensor) -> tuple[Tensor, None, None, None, None]:
        """With g_l the gradient of layer l's side: g_0 + M_1^T (g_1 + M_2^T (...)), by Horner."""
        rows = ctx.saved_tensors
        few = [gradient / (ctx.n_layers + 1) for gradient in gradients]
        gradient = few[0].new_zeros(0)
        for depth in range(ctx.n_layers, 0, -1):
            back, side = _towards(ctx.matrix, depth).T, depth % 2
            if depth == ctx.n_layers:
                gradient = back.times_scattered(rows[side], few[side])
            else:
                gradient = back.times(gradient.index_add_(0, rows[side], few[side]))
        if ctx.n_layers == 0:
            gradient = few[0].new_zeros(ctx.matrix.shape[1], few[0].shape[1])
        return gradient.index_add_(0, rows[0], few[0]), None, None, None, None


def _towards(matrix: SparseMatrix, depth: int) -> SparseMatrix:
    """Odd layers lie on the other side, even ones on the starting side."""
    return matrix if depth % 2 else matrix.T


def edge_dropout(
    interactions: csr_array, share: float, generator: np.random.Generator
) -> csr_array:
    """R [U, I] with floor((1 - share) |E|) of its edges, drawn uniformly without replacement."""
    n_kept = int((1 - share) * interactions.nnz + 1e-6)  # 0.2 of 10 is 2, whatever 1 - 0.8 is
    keys = generator.random(interactions.nnz, dtype=np.float32)
    mask = np.zeros(interactions.nnz, bool)
    if n_kept:
        mask[np.argpartition(keys, n_kept - 1)[:n_kept]] = True
    return _edges_where(interactions, mask)


def node_dropout(
    interactions: csr_array, share: float, generator: np.random.Generator
) -> csr_array:
    """R [U, I] in which floor(share U) users and floor(share I) items have lost all their edges."""
    stays = []
    for count in interactions.shape:
        flags = np.ones(count, bool)
        flags[generator.permutation(count)[: int(share * count + 1e-6)]] = False
        stays.append(flags)
    by_user = np.repeat(stays[0], np.diff(interactions.indptr))
    return _edges_where(interactions, by_user & stays[1][interactions.indices])


def _edges_where(matrix: csr_array, mask: NDArray[np.bool_]) -> csr_array:
    kept_before = np.concatenate([[0], np.cumsum(mask)]).astype(matrix.indptr.dtype)
    parts = matrix.data[mask], matrix.indices[mask], kept_before[matrix.indptr]
    return csr_array(parts, shape=matrix.shape)
