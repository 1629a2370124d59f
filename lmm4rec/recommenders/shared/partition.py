"""log sum exp of inner products with every row of a large table, in blocks, with gradients.

The denominator of a contrast against all users or all items. The B x n products are never whole:
the backward pass computes each block again.

Legend: B rows, n rows of the table, K dims.
"""

from __future__ import annotations

from typing import Any

import torch
from torch import Tensor

_BLOCK_PRODUCTS = 1 << 20  # 4 MiB: stays in the cache; half the time of 16 MiB blocks


def log_partition(rows: Tensor, table: Tensor) -> Tensor:
    """log sum_j exp(x_b . y_j) over all j: [B, K], [n, K] -> [B]."""
    partition: Tensor = _LogPartition.apply(rows, table)
    return partition


class _LogPartition(torch.autograd.Function):
    @staticmethod
    def forward(ctx: Any, rows: Tensor, table: Tensor) -> Tensor:
        size = max(1, _BLOCK_PRODUCTS // len(table))
        blocks = torch.split(rows, size)
        parts = [torch.logsumexp(block @ table.T, dim=1) for block in blocks]
        partition = torch.cat(parts)
        ctx.save_for_backward(rows, table, partition)
        ctx.size = size
        return partition

    @staticmethod
    def backward(ctx: Any, *gradients: Tensor) -> tuple[Tensor, Tensor]:
        """Softmax weights s_bj: of x_b, sum_j s_bj y_j; of y_j, sum_b s_bj x_b; times g_b."""
        rows, table, partition = ctx.saved_tensors
        of_rows, of_table = [], torch.zeros_like(table)
        for block, total, gradient in zip(
            *(torch.split(part, ctx.size) for part in (rows, partition, gradients[0])), strict=True
        ):
            shares = torch.addmm(total[:, None], block, table.T, beta=-1).exp_()  # [b, n]
            of_rows.append((shares @ table) * gradient[:, None])
            of_table.addmm_(shares.T, block * gradient[:, None])
        return torch.cat(of_rows), of_table
