"""Pictures and texts on their way into an encoder: decoded, tokenized and batched in workers.

The parent reads, the workers decode: a `RawBatch` travels to a worker as bytes and comes back as
tensors, so that nothing of the catalogue is copied into each worker and what a batch holds does not
depend on how many there are.

Shapes: B rows of a batch, S picture side, L text tokens.
"""

from __future__ import annotations

import io
import warnings
from collections.abc import Iterable, Iterator, Sequence
from dataclasses import dataclass
from typing import NamedTuple

import numpy as np
import torch
from numpy.typing import NDArray
from PIL import Image
from torch import Tensor
from torch.utils.data import DataLoader, Dataset

from lmm4rec.encoders.base import Encoder, TextBatch


class RawBatch(NamedTuple):
    """Rows as they are stored; None and blank texts are missing."""

    pictures: list[bytes | None]
    texts: list[str]
    augmenting_seeds: list[int] | None  # one a row; None: the transform without chance


class Batch(NamedTuple):
    """Rows as an encoder takes them. Rows numbers count from 0 within the batch."""

    pixels: Tensor  # [B_i, 3, S, S]: the rows whose picture can be read
    picture_rows: Tensor  # [B_i] int64, ascending
    tokens: TextBatch  # each [B_t, ...]: the rows that have a text
    text_rows: Tensor  # [B_t] int64, ascending

    def pairs(self) -> tuple[Tensor, TextBatch, Tensor]:
        """Pixels and tokens of the rows that have both, and these rows [B_p]."""
        has_text = torch.isin(self.picture_rows, self.text_rows)
        has_picture = torch.isin(self.text_rows, self.picture_rows)
        tokens = {name: values[has_picture] for name, values in self.tokens.items()}
        return self.pixels[has_text], tokens, self.picture_rows[has_text]

    def to(self, device: torch.device) -> Batch:
        """The tensors that encoders take on `device`; row numbers stay where they are."""
        pixels = self.pixels.to(device, non_blocking=True)
        tokens = {name: x.to(device, non_blocking=True) for name, x in self.tokens.items()}
        return self._replace(pixels=pixels, tokens=tokens)


class Preparation(Dataset[Batch]):
    """Turns a `RawBatch` into a `Batch`; it is indexed with the raw batch itself."""

    def __init__(self, encoder: Encoder) -> None:
        self._transform = encoder.image_transform
        self._augment = encoder.augmenting_transform
        self._tokenizer = encoder.tokenizer

    def __getitem__(self, raw: RawBatch) -> Batch:
        pictures = [None if content is None else decode(content) for content in raw.pictures]
        picture_rows = [row for row, picture in enumerate(pictures) if picture is not None]
        text_rows = [row for row, text in enumerate(raw.texts) if text.strip()]
        return Batch(
            self._pixels(pictures, raw.augmenting_seeds),
            torch.tensor(picture_rows, dtype=torch.int64),
            self._tokenizer([raw.texts[row] for row in text_rows]) if text_rows else {},
            torch.tensor(text_rows, dtype=torch.int64),
        )

    def _pixels(self, pictures: list[Image.Image | None], seeds: list[int] | None) -> Tensor:
        if seeds is None:
            made = [self._transform(picture) for picture in pictures if picture]
        else:
            paired = zip(pictures, seeds, strict=True)
            made = [self._varied(picture, seed) for picture, seed in paired if picture]
        return torch.stack(made) if made else torch.empty(0)

    def _varied(self, picture: Image.Image, seed: int) -> Tensor:
        """Chance belongs to the row, not to its batch or worker, and leaves the training's own."""
        with torch.random.fork_rng(devices=[]):
            torch.default_generator.manual_seed(seed)
            return self._augment(picture)


def decode(content: bytes) -> Image.Image | None:
    """The RGB picture in `content`, or None where Pillow cannot read all of it."""
    try:
        with warnings.catch_warnings():
            warnings.simplefilter("ignore")  # Pillow's doubts about metadata
            with Image.open(io.BytesIO(content)) as picture:
                return picture.convert("RGB")
    except MemoryError:
        raise
    except Exception:  # readers of broken files raise nearly anything
        return None


def prepared(
    raw_batches: Iterable[RawBatch], encoder: Encoder, workers: int, device: torch.device
) -> Iterator[Batch]:
    """The batches in the given order, decoded ahead by `workers` processes (0: by this one).

    `raw_batches` is read only a few batches ahead. Memory is pinned where `device` is CUDA.
    """
    loader: Iterable[Batch] = DataLoader(
        Preparation(encoder),
        sampler=raw_batches,
        batch_size=None,
        num_workers=workers,
        pin_memory=device.type == "cuda",
        worker_init_fn=_one_thread if workers else None,
    )
    return iter(loader)


def _one_thread(_: int) -> None:
    torch.set_num_threads(1)


@dataclass(frozen=True)
class PicturesWithTexts:
    """N pictures, each with its text; None and blank texts are missing. All of it in memory."""

    pictures: Sequence[bytes | None]
    texts: Sequence[str]

    def complete_rows(self) -> NDArray[np.int64]:
        """The rows that have both, ascending."""
        both = [
            row
            for row, (picture, text) in enumerate(zip(self.pictures, self.texts, strict=True))
            if picture is not None and text.strip()
        ]
        return np.array(both, dtype=np.int64)

    def raw(self, rows: Iterable[int], augmenting_seed: int | None) -> RawBatch:
        """`rows` as they are stored; with a seed each row varies by (seed, row) alone."""
        rows = list(rows)
        seeds = None if augmenting_seed is None else [_seed(augmenting_seed, row) for row in rows]
        return RawBatch(
            [self.pictures[row] for row in rows], [self.texts[row] for row in rows], seeds
        )


def _seed(seed: int, row: int) -> int:
    return int(np.random.SeedSequence([seed, row]).generate_state(1)[0])
