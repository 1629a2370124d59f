"""Sparse matrix times dense table, with gradients: a numba kernel on CPU, torch on CUDA.

torch's CSR product is the slower half of every graph recommender on CPU (DESIGN.md, section 6).
The kernel here splits rows into chunks of equal work, reads four neighbours per pass over the
columns, and its backward pass is the same product with the transposed matrix, which for a
symmetric matrix is the matrix itself.

Shapes: N rows, M columns, D dims of the dense table.
"""

from __future__ import annotations

from typing import Any
from weakref import ReferenceType, ref

import numpy as np
import torch
from numba import njit, prange
from numpy.typing import NDArray
from scipy.sparse import csr_array
from torch import Tensor

# Several chunks a thread: chunks are equal in edges, not in time, so the last one evens out.
_CHUNKS = 64


class SparseMatrix:
    """A constant sparse matrix [N, M] that multiplies dense tables on their own device."""

    def __init__(self, matrix: csr_array, *, symmetric: bool = False) -> None:
        """`symmetric` promises matrix == matrix.T, so that no transposed copy is ever made."""
        matrix = matrix.astype(np.float32)
        matrix.sort_indices()
        self.shape: tuple[int, int] = matrix.shape
        self.indptr: NDArray[np.int64] = matrix.indptr.astype(np.int64)
        self.indices: NDArray[np.int32] = matrix.indices.astype(np.int32)
        self.values: NDArray[np.float32] = matrix.data
        self._bounds = _equal_work(self.indptr)
        self._on_device: dict[torch.device, Tensor] = {}
        self._symmetric = symmetric
        self._transposed: SparseMatrix | None = None
        # What a transposed matrix was made of, held weakly: two matrices that held each other would
        # stay until the cycle collector came, and a graph made anew each epoch piles up meanwhile.
        self._origin: ReferenceType[SparseMatrix] | None = None

    @property
    def T(self) -> SparseMatrix:
        """The transposed matrix [M, N], made when it is first asked for."""
        if self._symmetric:
            return self
        origin = self._origin() if self._origin is not None else None
        if origin is not None:
            return origin
        if self._transposed is None:
            own = csr_array((self.values, self.indices, self.indptr), shape=self.shape)
            self._transposed = SparseMatrix(csr_array(own.T))
            self._transposed._origin = ref(self)
        return self._transposed

    def __matmul__(self, dense: Tensor) -> Tensor:
        """[N, M] @ [M, D] -> [N, D], differentiable in `dense`."""
        product: Tensor = _Product.apply(dense, self)
        return product

    def times(self, dense: Tensor) -> Tensor:
        """The product without gradient."""
        if dense.device.type != "cpu":
            return torch.sparse.mm(self.on(dense.device), dense)
        out = torch.empty(self.shape[0], dense.shape[1])
        table = dense.detach().contiguous().numpy()
        _multiply(self.indptr, self.indices, self.values, self._bounds, table, out.numpy())
        return out

    def rows_times(self, rows: Tensor, dense: Tensor) -> Tensor:
        """The named rows of the product alone: [R] and [M, D] -> [R, D], without gradient."""
        if dense.device.type != "cpu":
            return self.times(dense)[rows]
        out = torch.empty(len(rows), dense.shape[1])
        table = dense.detach().contiguous().numpy()
        _multiply_rows(self.indptr, self.indices, self.values, rows.numpy(), table, out.numpy())
        return out

    def times_scattered(self, rows: Tensor, few: Tensor) -> Tensor:
        """The product with a table that is zero outside `rows`: distinct [R], [R, D] -> [N, D]."""
        if few.device.type != "cpu":
            dense = few.new_zeros(self.shape[1], few.shape[1])
            return self.times(dense.index_copy_(0, rows, few))
        place = np.full(self.shape[1], -1, np.int32)
        place[rows.numpy()] = np.arange(len(rows), dtype=np.int32)
        out = torch.empty(self.shape[0], few.shape[1])
        table = few.detach().contiguous().numpy()
        _multiply_scattered(
            self.indptr, self.indices, self.values, self._bounds, place, table, out.numpy()
        )
        return out

    def on(self, device: torch.device) -> Tensor:
        """The matrix as a torch CSR tensor on `device`, copied there once."""
        if device not in self._on_device:
            parts = (torch.from_numpy(part) for part in (self.indptr, self.indices, self.values))
            indptr, indices, values = parts
            self._on_device[device] = torch.sparse_csr_tensor(
                indptr, indices.long(), values, self.shape, device=device
            )
        return self._on_device[device]


class _Product(torch.autograd.Function):
    @staticmethod
    def forward(ctx: Any, dense: Tensor, matrix: SparseMatrix) -> Tensor:
        ctx.matrix = matrix
        return matrix.times(dense)

    @staticmethod
    def backward(ctx: Any, *gradients: Tensor) -> tuple[Tensor, None]:
        return ctx.matrix.T.times(gradients[0]), None


def _equal_work(indptr: NDArray[np.int64]) -> NDArray[np.int64]:
    """Row bounds [chunks + 1] such that every chunk holds about as many edges plus rows."""
    work = indptr + np.arange(len(indptr))
    targets = np.linspace(0, work[-1], _CHUNKS + 1)
    bounds = np.searchsorted(work, targets).astype(np.int64)
    bounds[-1] = len(indptr) - 1
    return bounds


@njit(fastmath={"contract", "reassoc", "nsz"}, cache=True, inline="always")
def _row(indices, values, start, end, table, out):  # type: ignore[no-untyped-def]
    dims = out.shape[0]
    out[:] = 0.0
    edge = start
    while edge + 4 <= end:
        a, b = table[indices[edge]], table[indices[edge + 1]]
        c, d = table[indices[edge + 2]], table[indices[edge + 3]]
        v, w, x, y = values[edge], values[edge + 1], values[edge + 2], values[edge + 3]
        for k in range(dims):
            out[k] += (v * a[k] + w * b[k]) + (x * c[k] + y * d[k])
        edge += 4
    while edge < end:
        a = table[indices[edge]]
        v = values[edge]
        for k in range(dims):
            out[k] += v * a[k]
        edge += 1


@njit(parallel=True, fastmath={"contract", "reassoc", "nsz"}, cache=True)
def _multiply(indptr, indices, values, bounds, table, out):  # type: ignore[no-untyped-def]
    for chunk in prange(len(bounds) - 1):
        for row in range(bounds[chunk], bounds[chunk + 1]):
            _row(indices, values, indptr[row], indptr[row + 1], table, out[row])


@njit(parallel=True, fastmath={"contract", "reassoc", "nsz"}, cache=True)
def _multiply_rows(indptr, indices, values, rows, table, out):  # type: ignore[no-untyped-def]
    for place in prange(len(rows)):
        row = rows[place]
        _row(indices, values, indptr[row], indptr[row + 1], table, out[place])


@njit(parallel=True, fastmath={"contract", "reassoc", "nsz"}, cache=True)
def _multiply_scattered(indptr, indices, values, bounds, place, table, out):  # type: ignore[no-untyped-def]
    longest = np.max(indptr[1:] - indptr[:-1])
    for chunk in prange(len(bounds) - 1):
        sources = np.empty(longest + 1, np.int32)
        weights = np.empty(longest + 1, np.float32)
        for row in range(bounds[chunk], bounds[chunk + 1]):
            # Keep the edges that meet a row of the table, without a branch per edge.
            kept = 0
            for edge in range(indptr[row], indptr[row + 1]):
                source = place[indices[edge]]
                sources[kept] = source
                weights[kept] = values[edge]
                kept += source >= 0
            _row(sources, weights, 0, kept, table, out[row])
