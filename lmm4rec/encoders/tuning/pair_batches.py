"""Batches of matching pairs for training, epoch after epoch."""

from __future__ import annotations

from collections.abc import Iterator

import torch
from torch import Tensor

from lmm4rec.distributed import numbers_of_all, own_part
from lmm4rec.encoders.base import Encoder, TextBatch
from lmm4rec.encoders.item_batches import ItemBatches, Rows
from lmm4rec.encoders.picture_texts import PicturesWithTexts

_MOST_KEPT_BYTES = 1 << 29  # beside the activations of training

Pair = tuple[Tensor, TextBatch]  # pixels [B, 3, S, S] and tokens of B matching pairs


class PairBatches:
    """Serves any rows of `source` as tensors on `device`, in the order they are asked for."""

    def __init__(
        self,
        encoder: Encoder,
        source: PicturesWithTexts,
        workers: int,
        device: torch.device,
    ) -> None:
        self._items, self._device = ItemBatches(encoder, source, workers, device), device

    def keep_decoded(self, rows: Rows) -> None:
        """Decode the pictures of these rows now, unless they are too many for memory."""
        self._items.keep_decoded(rows, _MOST_KEPT_BYTES)

    def batches(self, order: list[Rows], augmenting_seed: int | None = None) -> Iterator[Pair]:
        """This process's part of each batch of `order`, without rows whose picture is unreadable.

        Batches that hold fewer than two pairs, or in which a process has none, are left out. With
        an `augmenting_seed` the pictures are varied; each row draws from (seed, row) alone.
        """
        parts = [own_part(rows) for rows in order]
        at_hand = augmenting_seed is None and all(map(self._items.keeps, parts))
        served = self._items.kept(parts) if at_hand else self._items.decoded(parts, augmenting_seed)
        for batch in served:
            pixels, tokens, _ = batch.to(self._device).pairs()
            if self._is_batch(len(pixels)):
                yield pixels, tokens

    def _is_batch(self, own_pairs: int) -> bool:
        """Every process comes to the same answer. A pair alone has nothing to be told from."""
        pairs = numbers_of_all(own_pairs, self._device)
        return sum(pairs) > 1 and min(pairs) > 0
