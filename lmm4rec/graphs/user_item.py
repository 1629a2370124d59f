"""Graphs over users and items, and light graph convolution over them.

Node order: users 0 .. U-1, then items U .. U+I-1; N = U + I nodes.
"""

from __future__ import annotations

from typing import Any

import numpy as np
import torch
from scipy.sparse import block_array, csr_array, diags_array, eye_array
from torch import Tensor

from lmm4rec.catalogue.corpus import Pairs, TrainingView
from lmm4rec.graphs.sparse import SparseMatrix


def interaction_matrix(pairs: Pairs, n_users: int, n_items: int) -> csr_array:
    """R: 1 where the user has the item, [U, I], float32; repeated pairs count once."""
    ones = np.ones(len(pairs), np.float32)
    matrix = csr_array((ones, (pairs.users, pairs.items)), shape=(n_users, n_items))
    matrix.sum_duplicates()
    matrix.data[:] = 1.0
    return matrix


def normalised_interactions(interactions: csr_array) -> csr_array:
    """D_u^-1/2 R D_i^-1/2, [U, I]: the upper right block of the symmetric adjacency."""
    user_scale = inverse_root(interactions.sum(axis=1))
    item_scale = inverse_root(interactions.sum(axis=0))
    per_edge = np.repeat(user_scale, np.diff(interactions.indptr))
    values = interactions.data * per_edge * item_scale[interactions.indices]
    parts = (values.astype(np.float32), interactions.indices, interactions.indptr)
    return csr_array(parts, shape=interactions.shape)


def symmetric_adjacency(interactions: csr_array) -> SparseMatrix:
    """D^-1/2 A D^-1/2 of the bipartite graph, [N, N], no self loops (LightGCN, eq. 8).

    Isolated nodes have zero rows.
    """
    scaled = normalised_interactions(interactions)
    return SparseMatrix(csr_array(block_array([[None, scaled], [scaled.T, None]])), symmetric=True)


def mean_adjacency(interactions: csr_array) -> SparseMatrix:
    """D^-1 A of the bipartite graph, [N, N]: row n times X is the mean over n's neighbours.

    No self loops; isolated nodes have zero rows.
    """
    adjacency = csr_array(block_array([[None, interactions], [interactions.T, None]]))
    degrees = np.diff(adjacency.indptr)
    adjacency.data = np.repeat(1.0 / np.maximum(degrees, 1), degrees)
    return SparseMatrix(adjacency)


def adjacency_of(view: TrainingView) -> SparseMatrix:
    """The symmetric adjacency of a corpus's training interactions."""
    return symmetric_adjacency(interaction_matrix(view.train, view.n_users, view.n_items))


def row_stochastic_adjacency(interactions: csr_array) -> SparseMatrix:
    """(D + I)^-1 (A + I) of the bipartite graph, [N, N]: means over neighbours and the node itself.

    Directed; an isolated node has itself alone.
    """
    joined = block_array([[None, interactions], [interactions.T, None]], format="csr")
    looped = csr_array(joined + eye_array(joined.shape[0], dtype=np.float32))
    scale = diags_array((1 / looped.sum(axis=1)).astype(np.float32))
    return SparseMatrix(csr_array(scale @ looped))


def light_convolution(adjacency: SparseMatrix, nodes: Tensor, n_layers: int) -> Tensor:
    """Mean of the layers 0 .. L of A^l X: [N, D] -> [N, D] (LightGCN's readout)."""
    total, layer = nodes, nodes
    for _ in range(n_layers):
        layer = adjacency @ layer
        total = total + layer
    return total / (n_layers + 1)


def light_convolution_rows(
    adjacency: SparseMatrix, nodes: Tensor, n_layers: int, rows: Tensor
) -> tuple[Tensor, Tensor]:
    """The layer-0 rows and the readout rows a batch needs: distinct [R] -> ([R, D], [R, D]).

    Equal to indexing `nodes` and `light_convolution`, but the last layer is computed for those
    rows alone and the gradient, which is zero elsewhere, enters the backward pass as R rows.
    Nothing is kept between the passes: the map is linear.
    """
    first, readout = _LightConvolutionRows.apply(nodes, rows, adjacency, n_layers)
    return first, readout


class _LightConvolutionRows(torch.autograd.Function):
    @staticmethod
    def forward(
        ctx: Any, nodes: Tensor, rows: Tensor, adjacency: SparseMatrix, n_layers: int
    ) -> tuple[Tensor, Tensor]:
        ctx.adjacency, ctx.n_layers = adjacency, n_layers
        ctx.save_for_backward(rows)
        first = nodes.index_select(0, rows)
        total, layer = first.clone(), nodes
        for depth in range(n_layers):
            if depth == n_layers - 1:
                total += adjacency.rows_times(rows, layer)
            else:
                layer = adjacency.times(layer)
                total += layer.index_select(0, rows)
        return first, total / (n_layers + 1)

    @staticmethod
    def backward(ctx: Any, *gradients: Tensor) -> tuple[Tensor, None, None, None]:
        """With g the readout's gradient: X' = (g + A^T (g + A^T (...))) / (L + 1), by Horner."""
        (rows,) = ctx.saved_tensors
        to_first, to_readout = gradients
        few = to_readout / (ctx.n_layers + 1)
        if ctx.n_layers == 0:
            gradient = few.new_zeros(ctx.adjacency.shape[0], few.shape[1])
        else:
            gradient = ctx.adjacency.T.times_scattered(rows, few)
            for _ in range(ctx.n_layers - 1):
                gradient.index_add_(0, rows, few)
                gradient = ctx.adjacency.T.times(gradient)
        gradient.index_add_(0, rows, few + to_first)
        return gradient, None, None, None


def propagated_rows(graph: SparseMatrix, nodes: Tensor, n_layers: int, rows: Tensor) -> Tensor:
    """Rows of S^L X: distinct [R] -> [R, D]. The graph may be directed.

    Equal to indexing L products, but the last one is computed for those rows alone, and the first
    of the backward pass from them alone.
    """
    propagated: Tensor = _PropagatedRows.apply(nodes, rows, graph, n_layers)
    return propagated


class _PropagatedRows(torch.autograd.Function):
    @staticmethod
    def forward(
        ctx: Any, nodes: Tensor, rows: Tensor, graph: SparseMatrix, n_layers: int
    ) -> Tensor:
        ctx.graph, ctx.n_layers, ctx.n_nodes = graph, n_layers, len(nodes)
        ctx.save_for_backward(rows)
        if n_layers == 0:
            return nodes[rows]
        for _ in range(n_layers - 1):
            nodes = graph.times(nodes)
        return graph.rows_times(rows, nodes)

    @staticmethod
    def backward(ctx: Any, *gradients: Tensor) -> tuple[Tensor, None, None, None]:
        (rows,), (few,) = ctx.saved_tensors, gradients
        if ctx.n_layers == 0:
            gradient = few.new_zeros(ctx.n_nodes, few.shape[1]).index_copy_(0, rows, few)
        else:
            gradient = ctx.graph.T.times_scattered(rows, few)
            for _ in range(ctx.n_layers - 1):
                gradient = ctx.graph.T.times(gradient)
        return gradient, None, None, None


def inverse_root(degrees: np.ndarray) -> np.ndarray:
    """degrees^-1/2; zero for isolated nodes, as for sums of weights that are negative."""
    with np.errstate(divide="ignore", invalid="ignore"):
        scale = 1.0 / np.sqrt(degrees)
    scale[~np.isfinite(scale)] = 0.0
    return scale
