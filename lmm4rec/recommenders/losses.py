"""Losses that several recommenders share. Formulas: spec of the MMRec family, section 0.

Shapes: B batch, D dims.
"""

from __future__ import annotations

import torch
from torch import Tensor
from torch.nn import functional as F


def bpr_loss(positive_scores: Tensor, negative_scores: Tensor) -> Tensor:
    """-mean log sigmoid(s_i - s_j) (Rendle et al., 2009), as the numerically exact softplus.

    The reference code's log(1e-10 + sigmoid(x)) differs from it only below x = -20 or so, where
    its gradient dies.
    """
    return F.softplus(negative_scores - positive_scores).mean()


def embedding_norms(*embeddings: Tensor) -> Tensor:
    """EMBREG: Frobenius norms, not squared, summed, over the row count of the last argument."""
    norms = [torch.linalg.vector_norm(embedding) for embedding in embeddings]
    return torch.stack(norms).sum() / embeddings[-1].shape[0]


def row_scores(left: Tensor, right: Tensor) -> Tensor:
    """Inner product of row b of both: [B, D], [B, D] -> [B]."""
    return torch.linalg.vecdot(left, right)
