"""Content ItemKNN: recommend what looks and reads like the user's own items. Nothing is trained.

The form of MMRec's ItemKNNCBF: f_i = [image ; text] as they are, S_ij = f_i . f_j / (|f_i| |f_j| +
shrink), the k largest of each row kept (item i itself included), score(u, j) = sum over u's
training items i of S_ij. With unscaled CNN features the image block dominates and shrink hardly
matters; with unit vectors shrink = 10 divides every similarity by about eleven, which leaves each
row's neighbours as they are.

The similarity matrix is never whole: blocks of rows, k kept of each. Memory: block x I floats.
"""

from __future__ import annotations

from typing import ClassVar

import torch
from pydantic import Field
from scipy.sparse import csr_array, vstack
from torch import Tensor

from lmm4rec.catalogue.corpus import TrainingView
from lmm4rec.features.features import Features
from lmm4rec.graphs.user_item import interaction_matrix
from lmm4rec.recommenders.shared.base import NeighbourhoodModel
from lmm4rec.recommenders.shared.content import JOINED, Content, ContentConfig

_BLOCK_ROWS = 1024


class ItemKNNConfig(ContentConfig):
    neighbours: int = Field(gt=0)  # k, the item itself included
    shrink: float = Field(ge=0)  # added to the product of norms


class ItemKNN(NeighbourhoodModel):
    Config: ClassVar[type[ItemKNNConfig]] = ItemKNNConfig

    def __init__(
        self, view: TrainingView, features: Features | None, config: ItemKNNConfig
    ) -> None:
        joined = Content(features, config, joined_in=("image", "text", "fused"))
        self._features = joined.table(JOINED)  # [I, C]
        self._interactions = interaction_matrix(view.train, view.n_users, view.n_items)
        self._config = config

    def scores(self) -> csr_array:
        scores = self._interactions @ self.similarities()
        scores.sort_indices()
        return csr_array(scores)

    def similarities(self) -> csr_array:
        """S with the k largest entries of each row, ties to the lower item, [I, I]."""
        n_items = len(self._features)
        kept = min(self._config.neighbours, n_items)
        norms = torch.linalg.vector_norm(self._features, dim=1)  # [I]
        blocks = []
        for start in range(0, n_items, _BLOCK_ROWS):
            rows = slice(start, start + _BLOCK_ROWS)
            scale = norms[rows, None] * norms[None, :] + self._config.shrink
            block = (self._features[rows] @ self._features.T) / scale.clamp_min(1e-12)
            blocks.append(csr_array(torch.where(_largest(block, kept), block, 0.0).numpy()))
        return csr_array(vstack(blocks))


def _largest(block: Tensor, kept: int) -> Tensor:
    """True at the `kept` largest entries of each row, ties to the lower column: [B, I]."""
    threshold = torch.topk(block, kept, dim=1, sorted=False).values.amin(dim=1, keepdim=True)
    above, tied = block > threshold, block == threshold
    room = kept - above.sum(dim=1, keepdim=True)
    return above | (tied & (tied.cumsum(dim=1) <= room))
