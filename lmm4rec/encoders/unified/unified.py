"""What BEiT-3 and VLMo are alike as encoders: sizes, one tokenizer file, how they come from files.

Shapes: B batch, L text tokens, D width.
"""

from __future__ import annotations

from abc import abstractmethod
from collections.abc import Callable, Mapping, Sequence
from pathlib import Path
from typing import Any, ClassVar, Protocol, Self

import torch
import torch.nn.functional as F
from torch import Tensor

from lmm4rec.encoders.base import Encoder, TextBatch
from lmm4rec.encoders.files.checkpoints import (
    WEIGHTS_FILE,
    StateDict,
    load_exactly,
    read_checkpoint,
    read_config,
    variant_named,
    without_weights,
    write_encoder,
)
from lmm4rec.encoders.pictures import RandomSquare, SquashToSquare
from lmm4rec.errors import InputError
from lmm4rec.params import Section


class UnifiedConfig(Section):
    """The sizes that both have; `vocab_size` counts the rows of the word table."""

    image_pixels: int
    patch_pixels: int
    vocab_size: int
    max_text_tokens: int
    width: int

    @property
    def grid(self) -> int:
        """Patches along a side of the picture."""
        return self.image_pixels // self.patch_pixels

    def model_post_init(self, _: object) -> None:
        if self.grid < 1 or self.image_pixels % self.patch_pixels:
            raise InputError(
                f"image_pixels {self.image_pixels} is not a multiple of the patch, "
                f"{self.patch_pixels} pixels; set a multiple of {self.patch_pixels}"
            )


class UnifiedTokenizer(Protocol):
    """A tokenizer that stands in one file."""

    size: int  # of its vocabulary

    def __call__(self, texts: Sequence[str]) -> TextBatch: ...

    def save(self, folder: Path) -> None: ...

    @classmethod
    def from_file(cls, path: Path, max_tokens: int) -> Self: ...


class UnifiedEncoder(Encoder):
    """One transformer for pictures and texts, read from official files or folders of `save`.

    A subclass is a network too, and is made from a config and a tokenizer.
    """

    Config: ClassVar[type[UnifiedConfig]]
    Tokenizer: ClassVar[type[UnifiedTokenizer]]
    tokenizer_file: ClassVar[str]  # in a folder of `save`
    published: ClassVar[Mapping[str, Callable[[int], Any]]]  # variant -> its config, by image side
    containers: ClassVar[Sequence[str]]  # where official files keep the state dict
    config: UnifiedConfig
    tokenizer: UnifiedTokenizer

    @staticmethod
    @abstractmethod
    def adapt(state: StateDict, config: Any, source: str) -> StateDict:
        """An official state dict as this variant needs it; InputError for another kind of file."""

    def _equip(self, config: UnifiedConfig, tokenizer: UnifiedTokenizer) -> None:
        self.image_dim = self.text_dim = config.width
        self.fused_dim = 2 * config.width
        self.image_transform = SquashToSquare(config.image_pixels)
        self.augmenting_transform = RandomSquare(config.image_pixels)
        self.tokenizer = tokenizer

    def save(self, folder: Path) -> None:
        write_encoder(folder, self.family, self.config, self)
        self.tokenizer.save(folder)

    @classmethod
    def load(cls, folder: Path) -> Self:
        config = read_config(folder, cls.family, cls.Config)
        weights = folder / WEIGHTS_FILE
        state = read_checkpoint(weights)
        return cls._build(config, state, str(weights), folder / cls.tokenizer_file)

    @classmethod
    def from_checkpoint(
        cls, variant: str, weights: Path, tokenizer: Path, image_pixels: int = 224
    ) -> Self:
        """The encoder from an official file and that of its tokenizer, on CPU, in eval mode.

        Image positions are interpolated where the file was trained on another picture size.
        Raises InputError for files of another kind, variant or vocabulary.
        """
        config = variant_named(variant, cls.published, cls.family)(image_pixels)
        state = cls.adapt(read_checkpoint(weights, cls.containers), config, str(weights))
        return cls._build(config, state, str(weights), tokenizer)

    @classmethod
    def _build(cls, config: UnifiedConfig, state: StateDict, source: str, tokenizer: Path) -> Self:
        pieces = cls.Tokenizer.from_file(tokenizer, config.max_text_tokens)
        with without_weights():
            encoder = cls(config, pieces)
        load_exactly(encoder, state, source)
        return encoder.eval()


def fused_embedding(readouts: Sequence[Tensor]) -> Tensor:
    """Image and text readout of a joint pass, [B, D] each -> [B, 2 D], each of length sqrt(1/2).

    So the whole is L2-normalised and both modalities weigh the same.
    """
    halves = [F.normalize(readout.float(), dim=-1) for readout in readouts]
    return torch.cat(halves, dim=-1) / 2**0.5
