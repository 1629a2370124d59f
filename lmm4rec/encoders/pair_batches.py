"""Batches of matching pairs for training, epoch after epoch.

Pictures that do not change from epoch to epoch are decoded once if they fit into memory; that is a
matter of speed and never of result.
"""

from __future__ import annotations

from collections.abc import Iterator

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor
from tqdm import tqdm

from lmm4rec.distributed import is_main, numbers_of_all, own_part
from lmm4rec.encoders.base import Encoder, TextBatch
from lmm4rec.encoders.item_batches import chunks
from lmm4rec.encoders.picture_texts import PicturesWithTexts, prepared

Rows = NDArray[np.int64]
Pair = tuple[Tensor, TextBatch]  # pixels [B, 3, S, S] and tokens of B matching pairs

_MOST_CACHED_BYTES = 1 << 29
_DECODED_AT_ONCE = 256


class PairBatches:
    """Serves any rows of `source` as tensors on `device`, in the order they are asked for."""

    def __init__(
        self,
        encoder: Encoder,
        source: PicturesWithTexts,
        workers: int,
        device: torch.device,
    ) -> None:
        self._encoder, self._source = encoder, source
        self._workers, self._device = workers, device
        self._cache: Pair | None = None
        self._kept = np.zeros(len(source.texts), bool)  # rows that keep_decoded went through
        self._cached_at = np.full(len(source.texts), -1)  # row of the source -> row of the cache

    def keep_decoded(self, kept: Rows) -> None:
        """Decode the pictures of these rows now, unless they are too many for memory."""
        order = [kept[start:stop] for start, stop in chunks(len(kept), _DECODED_AT_ONCE)]
        raws = (self._source.raw(rows, None) for rows in order)
        # This process only waits meanwhile, so its core takes one more worker.
        workers = self._workers + 1 if self._workers else 0
        decoded = prepared(raws, self._encoder, workers, torch.device("cpu"))
        parts: list[Pair] = []
        readable: list[Rows] = []
        total, quiet = len(kept), not is_main()
        with tqdm(total=total, unit=" pictures", desc="decoding", disable=quiet) as progress:
            for rows, batch in zip(order, decoded, strict=True):
                pixels, tokens, inside = batch.pairs()
                if len(pixels) and pixels[0].nbytes * len(kept) > _MOST_CACHED_BYTES:
                    return
                if len(pixels):
                    parts.append((pixels, tokens))
                readable.append(rows[inside.numpy()])
                progress.update(len(rows))
        if parts:
            self._cache = _joined(parts)
            known = np.concatenate(readable)
            self._cached_at[known] = np.arange(len(known))
            self._kept[kept] = True

    def batches(self, order: list[Rows], augmenting_seed: int | None = None) -> Iterator[Pair]:
        """This process's part of each batch of `order`, without rows whose picture is unreadable.

        Batches that hold fewer than two pairs, or in which a process has none, are left out. With
        an `augmenting_seed` the pictures are varied; each row draws from (seed, row) alone.
        """
        parts = [own_part(rows) for rows in order]
        at_hand = augmenting_seed is None and all(self._kept[rows].all() for rows in parts)
        served = map(self._from_cache, parts) if at_hand else self._decoded(parts, augmenting_seed)
        return (pair for pair in served if self._is_batch(len(pair[0])))

    def _is_batch(self, own_pairs: int) -> bool:
        """Every process comes to the same answer. A pair alone has nothing to be told from."""
        pairs = numbers_of_all(own_pairs, self._device)
        return sum(pairs) > 1 and min(pairs) > 0

    def _decoded(self, order: list[Rows], augmenting_seed: int | None) -> Iterator[Pair]:
        raws = (self._source.raw(rows, augmenting_seed) for rows in order)
        for batch in prepared(raws, self._encoder, self._workers, self._device):
            pixels, tokens, _ = batch.to(self._device).pairs()
            yield pixels, tokens

    def _from_cache(self, rows: Rows) -> Pair:
        assert self._cache is not None
        at = self._cached_at[rows]
        chosen = torch.from_numpy(at[at >= 0])
        pixels, tokens = self._cache
        return pixels[chosen].to(self._device), {
            name: values[chosen].to(self._device) for name, values in tokens.items()
        }


def _joined(parts: list[Pair]) -> Pair:
    names = parts[0][1]
    tokens = {name: torch.cat([tokens[name] for _, tokens in parts]) for name in names}
    return torch.cat([pixels for pixels, _ in parts]), tokens
