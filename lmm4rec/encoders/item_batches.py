"""Any items of a catalogue as tensors, again and again, and what an encoder makes of them.

Pictures are decoded and texts tokenized once if they fit into memory; otherwise whenever they are
asked for. That is a matter of speed and never of result.

Shapes: N items of the catalogue, B of a batch, R those of them that have a modality.
"""

from __future__ import annotations

from collections.abc import Collection, Iterable, Iterator

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor
from tqdm import tqdm

from lmm4rec.distributed import is_main
from lmm4rec.encoders.base import Encoder
from lmm4rec.encoders.picture_texts import Batch, PicturesWithTexts, prepared

Rows = NDArray[np.int64]
Embeddings = dict[str, tuple[Tensor, Tensor]]  # modality -> rows of the batch [R], vectors [R, D]

CPU = torch.device("cpu")
MOST_KEPT_BYTES = 2 << 30  # of decoded pictures
_DECODED_AT_ONCE = 256


class ItemBatches:
    """Serves batches of items, their pictures and texts as `encoder` takes them, on CPU.

    `device` is where they go from there: memory is pinned for CUDA.
    """

    def __init__(
        self, encoder: Encoder, source: PicturesWithTexts, workers: int, device: torch.device = CPU
    ) -> None:
        self._encoder, self._source = encoder, source
        self._workers, self._device = workers, device
        self._cache: Batch | None = None  # of all items that are kept at once
        self._is_kept = np.zeros(len(source.texts), bool)
        self._picture_at = np.full(len(source.texts), -1)  # item -> row of the cache's pixels
        self._text_at = np.full(len(source.texts), -1)

    def __len__(self) -> int:
        return len(self._source.texts)

    def batches(self, order: Iterable[Rows]) -> Iterator[Batch]:
        """One batch per element of `order`, which is read only a few elements ahead."""
        return self.kept(order) if self._is_kept.all() else self.decoded(order)

    def keeps(self, rows: Rows) -> bool:
        """Whether `kept` can serve these items."""
        return bool(self._is_kept[rows].all())

    def keep_decoded(self, items: Rows | None = None, most_bytes: int = MOST_KEPT_BYTES) -> None:
        """Decode these items now (None: all), unless their pictures take more than `most_bytes`.

        They take the place of those that were kept before.
        """
        wanted = np.arange(len(self)) if items is None else items
        order = [wanted[start:stop] for start, stop in chunks(len(wanted), _DECODED_AT_ONCE)]
        # This process only waits meanwhile, so its core takes one more worker.
        served = self._prepared(order, None, self._workers + 1 if self._workers else 0)
        parts: list[Batch] = []
        with tqdm(
            total=len(wanted), unit=" items", desc="decoding", disable=not is_main()
        ) as progress:
            for rows, batch in zip(order, served, strict=True):
                if len(batch.pixels) and batch.pixels[0].nbytes * len(wanted) > most_bytes:
                    return
                at = torch.from_numpy(rows)
                parts.append(
                    batch._replace(
                        picture_rows=at[batch.picture_rows], text_rows=at[batch.text_rows]
                    )
                )
                progress.update(len(rows))
        self._cache = _joined(parts)
        for places in (self._picture_at, self._text_at):
            places.fill(-1)
        self._is_kept.fill(False)
        self._picture_at[self._cache.picture_rows] = np.arange(len(self._cache.picture_rows))
        self._text_at[self._cache.text_rows] = np.arange(len(self._cache.text_rows))
        self._is_kept[wanted] = True

    def kept(self, order: Iterable[Rows]) -> Iterator[Batch]:
        """Batches of items that `keep_decoded` went through."""
        return map(self._from_cache, order)

    def decoded(self, order: Iterable[Rows], augmenting_seed: int | None = None) -> Iterator[Batch]:
        """Batches made now; with a seed the pictures are varied, each by (seed, item) alone."""
        return self._prepared(order, augmenting_seed, self._workers)

    def _prepared(
        self, order: Iterable[Rows], augmenting_seed: int | None, workers: int
    ) -> Iterator[Batch]:
        raws = (self._source.raw(rows, augmenting_seed) for rows in order)
        return prepared(raws, self._encoder, workers, self._device)

    def _from_cache(self, rows: Rows) -> Batch:
        assert self._cache is not None
        pictures, texts = self._picture_at[rows], self._text_at[rows]
        chosen = torch.from_numpy(texts[texts >= 0])
        return Batch(
            self._cache.pixels[torch.from_numpy(pictures[pictures >= 0])],
            torch.from_numpy(np.flatnonzero(pictures >= 0)),
            {name: values[chosen] for name, values in self._cache.tokens.items()},
            torch.from_numpy(np.flatnonzero(texts >= 0)),
        )


def embedded(encoder: Encoder, batch: Batch, modalities: Collection[str]) -> Embeddings:
    """The vectors of these modalities, of the rows that have them; `fused` needs both others."""
    found: Embeddings = {}
    if "image" in modalities and len(batch.picture_rows):
        found["image"] = batch.picture_rows, encoder.encode_images(batch.pixels)
    if "text" in modalities and len(batch.text_rows):
        found["text"] = batch.text_rows, encoder.encode_texts(batch.tokens)
    if "fused" in modalities:
        pixels, tokens, rows = batch.pairs()
        if len(rows):
            found["fused"] = rows, encoder.encode_pairs(pixels, tokens)
    return found


def chunks(count: int, size: int) -> list[tuple[int, int]]:
    """(start, stop) of consecutive parts of at most `size`."""
    return [(start, min(start + size, count)) for start in range(0, count, size)]


def _joined(parts: list[Batch]) -> Batch:
    pixels = [part.pixels for part in parts if len(part.picture_rows)]
    tokens = [part.tokens for part in parts if len(part.text_rows)]
    names = tokens[0] if tokens else {}
    return Batch(
        torch.cat(pixels) if pixels else torch.empty(0),
        torch.cat([part.picture_rows for part in parts]),
        {name: torch.cat([part[name] for part in tokens]) for name in names},
        torch.cat([part.text_rows for part in parts]),
    )
