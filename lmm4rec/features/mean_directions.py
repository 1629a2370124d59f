"""Several pictures of an item as one vector: the mean of their unit vectors, of length 1 again.

Shapes: n rows of a shard, B of a batch, D dims.
"""

from __future__ import annotations

from typing import Any

import numpy as np
from numpy.typing import NDArray

from lmm4rec.encoders.item_batches import Embeddings

_OF_PICTURES = ("image", "fused")  # a text is the same beside any picture


class MeanDirections:
    """Takes further vectors to the rows of a shard that holds the main ones.

    A row to which nothing is added keeps its bytes.
    """

    def __init__(self, shard: dict[str, NDArray[Any]]) -> None:
        self._shard = shard
        self._sums: dict[str, NDArray[np.float64]] = {}  # [n, D] by modality

    def add(self, rows: NDArray[np.int64], vectors: Embeddings) -> None:
        """Vectors of a batch whose pictures belong to these rows [B], each of length 1."""
        for name in _OF_PICTURES:
            if name in vectors:
                places, values = vectors[name]
                if name not in self._sums:
                    self._sums[name] = self._shard[name].astype(np.float64)
                own = rows[places.numpy()]
                np.add.at(self._sums[name], own, values.float().cpu().numpy())
                if name == "image":
                    self._shard["has_image"][own] = True

    def settle(self, rows: NDArray[np.int64]) -> None:
        """Put the mean directions into these rows; where pictures cancel out the row stays."""
        touched = np.unique(rows)
        for name, sums in self._sums.items():
            lengths = np.linalg.norm(sums[touched], axis=1)  # [n]
            has_direction = lengths > 1e-6
            chosen = touched[has_direction]
            unit = sums[chosen] / lengths[has_direction, None]
            self._shard[name][chosen] = unit.astype(np.float32)
