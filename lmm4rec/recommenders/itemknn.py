"""Content ItemKNN: recommend what looks and reads like the user's own items. Nothing is trained.

The form of MMRec's ItemKNNCBF: f_i = [image ; text] as they are, S_ij = f_i . f_j / (|f_i| |f_j| +
shrink), the k largest of each row kept (item i itself included), score(u, j) = sum over u's
training items i of S_ij. With unscaled CNN features the image block dominates and shrink hardly
matters; with unit vectors shrink = 10 divides every similarity by about eleven, which leaves each
row's neighbours as they are.

The similarity matrix is never whole: blocks of rows, k kept of each. Memory: `BLOCK_BYTES` for a
block and all that finding its largest takes, whatever the number of items (one row at least).
"""

from __future__ import annotations

from collections.abc import Iterator
from typing import ClassVar

import torch
from pydantic import Field
from scipy.sparse import csr_array, vstack
from torch import Tensor

from lmm4rec.catalogue.corpus import TrainingView
from lmm4rec.features.features import Features
from lmm4rec.graphs.user_item import interaction_matrix
from lmm4rec.params import Neighbours
from lmm4rec.recommenders.shared.base import NeighbourhoodModel
from lmm4rec.recommenders.shared.content import JOINED, Content, ContentConfig

BLOCK_BYTES = 256 << 20  # of all that is held for a block of rows
_MOST_BLOCK_ROWS = 1024
_BYTES_PER_ENTRY = 20  # products, scales or running counts, and marks; as measured at 200,000 items


class ItemKNNConfig(ContentConfig):
    neighbours: Neighbours  # k, the item itself included
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
        for rows in blocks_of_rows(n_items):
            scale = norms[rows, None] * norms[None, :]
            scale.add_(self._config.shrink).clamp_min_(1e-12)
            block = (self._features[rows] @ self._features.T).div_(scale)
            del scale
            blocks.append(_entries(block, _largest(block, kept)))
        return csr_array(vstack(blocks))


def blocks_of_rows(n_items: int) -> Iterator[slice]:
    """Slices that cover the rows of an [I, I] matrix, none over `BLOCK_BYTES`."""
    size = max(1, min(_MOST_BLOCK_ROWS, BLOCK_BYTES // (_BYTES_PER_ENTRY * n_items)))
    return (slice(start, start + size) for start in range(0, n_items, size))


def _entries(block: Tensor, chosen: Tensor) -> csr_array:
    """The chosen entries that are not zero: [B, I] and bool [B, I] -> sparse [B, I]."""
    chosen &= block != 0
    ends = chosen.sum(dim=1).cumsum(dim=0)
    indptr = torch.cat([ends.new_zeros(1), ends]).numpy()
    columns = chosen.nonzero()[:, 1].numpy()
    return csr_array((block[chosen].numpy(), columns, indptr), shape=tuple(block.shape))


def _largest(block: Tensor, kept: int) -> Tensor:
    """True at the `kept` largest entries of each row, ties to the lower column: [B, I]."""
    threshold = torch.topk(block, kept, dim=1, sorted=False).values.amin(dim=1, keepdim=True)
    above, tied = block > threshold, block == threshold
    room = kept - above.sum(dim=1, keepdim=True)
    return above | (tied & (tied.cumsum(dim=1, dtype=torch.int32) <= room))
