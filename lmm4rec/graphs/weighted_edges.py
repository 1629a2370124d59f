"""Sparse graphs whose weights carry gradient: lists of edges between items.

Which edges there are is found without gradient (`lmm4rec.graphs.item_graphs`); their weights are
then computed by autograd for those edges alone, so nothing here is larger than edges x dims.

Legend: I items, E edges, D dims of a dense table.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

import torch
from scipy.sparse import csr_array
from torch import Tensor
from torch.nn import functional as F

from lmm4rec.graphs.sparse import SparseMatrix

_BLOCK_EDGES = 1 << 18  # edges whose gradient is computed at once: 64 MiB a table at 64 dims


@dataclass(frozen=True)
class WeightedEdges:
    """Edge e leads from item rows[e] to columns[e], int64 [E], with weights[e]; repeats add up."""

    rows: Tensor
    columns: Tensor
    weights: Tensor
    n_items: int

    def times(self, factor: Tensor | float) -> WeightedEdges:
        return WeightedEdges(self.rows, self.columns, self.weights * factor, self.n_items)

    def normalised(self) -> WeightedEdges:
        """D^-1/2 S D^-1/2 with D the row sums; isolated where a sum is not positive."""
        zeros = self.weights.new_zeros(self.n_items)
        sums = zeros.index_add(0, self.rows, self.weights)  # [I]
        # The inner `where` keeps the gradient of the rejected branch finite.
        scale = torch.where(sums > 0, torch.where(sums > 0, sums, 1.0).rsqrt(), 0.0)
        return self.times(scale[self.rows] * scale[self.columns])

    def matrix(self) -> SparseMatrix:
        """The graph as a constant."""
        weights = self.weights.detach().cpu().numpy()
        places = self.rows.cpu().numpy(), self.columns.cpu().numpy()
        return SparseMatrix(csr_array((weights, places), shape=(self.n_items, self.n_items)))

    def product(self, table: Tensor) -> Tensor:
        """S X: [I, D] -> [I, D], with gradients for the weights and for X."""
        product: Tensor = _EdgeProduct.apply(self.weights, table, self)
        return product


def cosine_edges(features: Tensor, pattern: csr_array) -> WeightedEdges:
    """The edges of `pattern`, weighted with the cosines of their ends in `features` [I, D]."""
    rows, columns, _ = _parts(pattern, features.device)
    unit = F.normalize(features, dim=1)
    # An item of zeros is alike to itself alone, as in the pattern: its diagonal is a constant.
    itself = rows == columns
    cosines = torch.linalg.vecdot(unit.index_select(0, rows), unit.index_select(0, columns))
    return WeightedEdges(rows, columns, torch.where(itself, 1.0, cosines), len(features))


def constant_edges(graph: csr_array, device: torch.device) -> WeightedEdges:
    """A graph of fixed weights as edges on `device`."""
    return WeightedEdges(*_parts(graph, device), graph.shape[0])


def joined(parts: Sequence[WeightedEdges]) -> WeightedEdges:
    """The sum of graphs."""
    rows, columns, weights = (
        torch.cat(tensors)
        for tensors in zip(
            *((part.rows, part.columns, part.weights) for part in parts), strict=True
        )
    )
    return WeightedEdges(rows, columns, weights, parts[0].n_items)


def _parts(graph: csr_array, device: torch.device) -> tuple[Tensor, Tensor, Tensor]:
    coo = graph.tocoo()
    rows, columns, values = (torch.from_numpy(part) for part in (*coo.coords, coo.data))
    return rows.to(device, torch.int64), columns.to(device, torch.int64), values.to(device)


class _EdgeProduct(torch.autograd.Function):
    @staticmethod
    def forward(ctx: Any, weights: Tensor, table: Tensor, edges: WeightedEdges) -> Tensor:
        ctx.matrix, ctx.edges = edges.matrix(), edges
        ctx.save_for_backward(table)
        return ctx.matrix.times(table)

    @staticmethod
    def backward(ctx: Any, *gradients: Tensor) -> tuple[Tensor, Tensor, None]:
        """Of edge (i, j): g_i . x_j; of the table: S^T g."""
        (table,), (gradient,) = ctx.saved_tensors, gradients
        pairs = zip(
            ctx.edges.rows.split(_BLOCK_EDGES), ctx.edges.columns.split(_BLOCK_EDGES), strict=True
        )
        of_weights = [
            torch.linalg.vecdot(gradient[rows], table[columns]) for rows, columns in pairs
        ]
        return torch.cat(of_weights), ctx.matrix.T.times(gradient), None
