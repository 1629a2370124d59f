"""Losses that several recommenders share. Formulas: spec of the MMRec family, section 0.

Shapes: B batch, D dims.
"""

from __future__ import annotations

from collections.abc import Iterable
from typing import Any

import torch
from torch import Tensor
from torch.autograd.function import once_differentiable
from torch.nn import functional as F


def bpr_loss(positive_scores: Tensor, negative_scores: Tensor) -> Tensor:
    """-mean log sigmoid(s_i - s_j) (Rendle et al., 2009), as the numerically exact softplus.

    The reference code's log(1e-10 + sigmoid(x)) differs from it only below x = -20 or so, where
    its gradient dies.
    """
    return F.softplus(negative_scores - positive_scores).mean()


def info_nce(
    left: Tensor, right: Tensor, temperature: float, others: Iterable[Tensor] = ()
) -> Tensor:
    """Mean over b of -log( exp(x_b . y_b / t) / sum_c exp(x_b . y_c / t) ): [B, D], [B, D].

    One direction (van den Oord et al., 2018): row b of `left` is to find row b of `right` among
    the rows of the batch, and among row b of each of `others` [B, D]. Rows are taken as they are;
    normalise them first for cosines. A row that the batch repeats counts among its own negatives.
    Memory: B x B.
    """
    logits = left @ right.T  # [B, B]
    own = [row_scores(left, other)[:, None] for other in others]  # [B, 1] each
    if own:
        logits = torch.cat([logits, *own], dim=1)
    targets = torch.arange(len(left), device=left.device)
    return F.cross_entropy(logits / temperature, targets)


def embedding_norms(*embeddings: Tensor) -> Tensor:
    """EMBREG: Frobenius norms, not squared, summed, over the row count of the last argument."""
    norms = [frobenius_norm(embedding) for embedding in embeddings]
    return torch.stack(norms).sum() / embeddings[-1].shape[0]


def frobenius_norm(rows: Tensor) -> Tensor:
    """||X||_F, [B, D] -> []; its gradient is X / ||X||_F, and zero where X is.

    Every bit is that of `torch.linalg.vector_norm`, whose backward pass fills a mask of zeros over
    the whole of X in case its norm is zero: a fifth of a VBPR step on CPU.
    """
    norm: Tensor = _FrobeniusNorm.apply(rows)
    return norm


class _FrobeniusNorm(torch.autograd.Function):
    @staticmethod
    def forward(ctx: Any, rows: Tensor) -> Tensor:
        norm = torch.linalg.vector_norm(rows)
        ctx.save_for_backward(rows, norm)
        return norm

    @staticmethod
    @once_differentiable
    def backward(ctx: Any, *gradients: Tensor) -> Tensor:
        rows, norm = ctx.saved_tensors
        return (rows / torch.where(norm == 0, torch.inf, norm)).mul_(gradients[0])


def row_scores(left: Tensor, right: Tensor) -> Tensor:
    """Inner product of row b of both: [B, D], [B, D] -> [B]."""
    return torch.linalg.vecdot(left, right)


def half_squared_norms(*embeddings: Tensor) -> Tensor:
    """L2REG: half the squared Frobenius norms, summed, over the row count of the last argument.

    The reference divides by the batch size of the protocol even in an epoch's short last batch;
    here that batch weighs per row like any other.
    """
    squares = [embedding.square().sum() for embedding in embeddings]
    return 0.5 * torch.stack(squares).sum() / embeddings[-1].shape[0]


def cosine_loss(online: Tensor, target: Tensor) -> Tensor:
    """1 - mean cosine of row b of both (BYOL-style): no gradient reaches the target. [B, D] each"""
    return 1.0 - F.cosine_similarity(online, target.detach(), dim=1).mean()
