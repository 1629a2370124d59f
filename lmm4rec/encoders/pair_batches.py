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

from lmm4rec.encoders.base import Encoder, TextBatch
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
        rows: Rows,
        workers: int,
        device: torch.device,
    ) -> None:
        """`rows`: those that will ever be asked for, ascending."""
        self._encoder, self._source = encoder, source
        self._rows, self._workers, self._device = rows, workers, device
        self._cache: Pair | None = None
        self._cached_at = np.full(len(source.texts), -1)  # row of the source -> row of the cache

    def keep_decoded(self) -> None:
        """Decode every picture now, unless they are too many for memory."""
        order = [
            self._rows[start : start + _DECODED_AT_ONCE]
            for start in range(0, len(self._rows), _DECODED_AT_ONCE)
        ]
        raws = (self._source.raw(rows, None) for rows in order)
        decoded = prepared(raws, self._encoder, self._workers, torch.device("cpu"))
        parts: list[Pair] = []
        readable: list[Rows] = []
        with tqdm(total=len(self._rows), unit=" pictures", desc="decoding") as progress:
            for rows, batch in zip(order, decoded, strict=True):
                pixels, tokens, inside = batch.pairs()
                if len(pixels) and pixels[0].nbytes * len(self._rows) > _MOST_CACHED_BYTES:
                    return
                if len(pixels):
                    parts.append((pixels, tokens))
                readable.append(rows[inside.numpy()])
                progress.update(len(rows))
        if parts:
            self._cache = _joined(parts)
            known = np.concatenate(readable)
            self._cached_at[known] = np.arange(len(known))

    def batches(self, order: list[Rows], augmenting_seed: int | None = None) -> Iterator[Pair]:
        """One batch per element of `order`; rows whose picture proves unreadable are left out.

        So are batches with fewer than two pairs. With an `augmenting_seed` the pictures are varied;
        batch i draws from (seed, i) alone.
        """
        served = (
            self._decoded(order, augmenting_seed)
            if self._cache is None or augmenting_seed is not None
            else map(self._from_cache, order)
        )
        # A pair alone has nothing to be told from.
        return (pair for pair in served if len(pair[0]) > 1)

    def _decoded(self, order: list[Rows], augmenting_seed: int | None) -> Iterator[Pair]:
        raws = (
            self._source.raw(rows, _batch_seed(augmenting_seed, number))
            for number, rows in enumerate(order)
        )
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


def _batch_seed(seed: int | None, number: int) -> int | None:
    if seed is None:
        return None
    return int(np.random.SeedSequence([seed, number]).generate_state(1)[0])
