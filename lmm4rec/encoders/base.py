"""What every encoder is: weights, preprocessing and tokenizer that belong together.

Shapes: B batch, S image side in pixels, L text tokens, D_i / D_t / D_f dims of image, text and
fused vectors.
"""

from __future__ import annotations

from abc import ABC, abstractmethod
from collections.abc import Callable, Iterable, Sequence
from functools import partial
from pathlib import Path
from typing import ClassVar, Self

import torch
from PIL import Image
from torch import Tensor, nn
from torch.utils.checkpoint import checkpoint

from lmm4rec.errors import InputError

# What a tokenizer returns and `encode_texts` takes: named tensors, each [B, ...].
TextBatch = dict[str, Tensor]


class Encoder(nn.Module, ABC):
    """A multi-modal encoder that can be saved, loaded, run and fine-tuned.

    A folder written by `save` holds `model.safetensors` (under the official key names),
    `config.json` (`family`, plus all that is needed to rebuild the architecture) and the
    tokenizer's files if it has any; `load` needs nothing else and opens no socket.
    """

    family: ClassVar[str]
    image_dim: int
    text_dim: int
    fused_dim: int | None = None
    pooling: str = "the encoder's own retrieval embedding"  # how features are read out, in words

    # Both are picklable and free of weights, so that data-loading workers can carry them.
    image_transform: Callable[[Image.Image], Tensor]  # RGB picture -> [3, S, S]
    augmenting_transform: Callable[[Image.Image], Tensor]  # the same, randomly, for fine-tuning
    tokenizer: Callable[[Sequence[str]], TextBatch]

    @abstractmethod
    def encode_images(self, pixels: Tensor) -> Tensor:
        """[B, 3, S, S] -> [B, D_i]: the encoder's own embedding, L2-normalised."""

    @abstractmethod
    def encode_texts(self, tokens: TextBatch) -> Tensor:
        """Tokens of B texts -> [B, D_t]: the encoder's own embedding, L2-normalised."""

    def matching_images(self, pixels: Tensor) -> Tensor:
        """[B, 3, S, S] -> [B, D]: what retrieval compares with `matching_texts`, L2-normalised.

        The embedding itself, unless pictures and texts are embedded in spaces of their own.
        """
        return self.encode_images(pixels)

    def matching_texts(self, tokens: TextBatch) -> Tensor:
        """Tokens of B texts -> [B, D]: what retrieval compares with `matching_images`."""
        return self.encode_texts(tokens)

    def encode_pairs(self, pixels: Tensor, tokens: TextBatch) -> Tensor:
        """[B, 3, S, S] and tokens -> [B, D_f], for encoders with `fused_dim`."""
        raise NotImplementedError(f"{self.family} has no fused embedding")

    @abstractmethod
    def losses(self, pixels: Tensor, tokens: TextBatch) -> dict[str, Tensor]:
        """The terms of the encoder's own training objective on B distinct matching pairs.

        Each term is a scalar already multiplied by its weight; the loss is their sum.
        """

    def alignment_loss(self, images: Tensor, texts: Tensor) -> Tensor:
        """ITC of B matching embeddings [B, D_i] and [B, D_t], as its own objective computes it."""
        raise NotImplementedError(f"{self.family} has no alignment loss on embeddings")

    @abstractmethod
    def layers(self) -> list[nn.Module]:
        """The transformer blocks (or stages) from input to output, one list over both towers.

        Partial tuning unfreezes the last N; layer-wise learning-rate decay counts by them. A
        two-tower encoder interleaves: element i is an `nn.ModuleList` of both towers' block i.
        """

    def new_parameters(self) -> list[nn.Parameter]:
        """Those that no pre-training has seen: low-rank tuning trains them beside its own."""
        return []

    def train(self, mode: bool = True) -> Self:
        """As in `nn.Module`, but batch norms whose weights are frozen keep their statistics too."""
        super().train(mode)
        for module in self.modules():
            if isinstance(module, nn.modules.batchnorm._BatchNorm):
                weights = list(module.parameters())
                module.train(mode and any(weight.requires_grad for weight in weights))
        return self

    def checkpoint_activations(self) -> None:
        """Keep what enters a block instead of what happens in it, and compute that again in the
        backward pass: less memory for a third more work, and the same gradients."""
        for layer in self.layers():
            for block in layer if isinstance(layer, nn.ModuleList) else [layer]:
                block.forward = partial(checkpoint, block.forward, use_reentrant=False)

    @abstractmethod
    def save(self, folder: Path) -> None:
        """Write weights, config and tokenizer files into an existing, empty folder."""

    @classmethod
    @abstractmethod
    def load(cls, folder: Path) -> Self:
        """Rebuild the encoder from a folder written by `save`, in eval mode, float32, on CPU."""

    @classmethod
    def tiny(cls, texts: Sequence[str]) -> Self:
        """A small encoder for 48-pixel pictures, to be trained from scratch.

        Weights come from torch's global generator; a vocabulary may be learned from `texts`.
        """
        raise InputError(f"{cls.family} has no tiny variant; name another family to pre-train")

    def to_pretrain(
        self, captions: Sequence[str], other_captions: Iterable[str]
    ) -> tuple[Encoder, Sequence[str]]:
        """What is trained so that this tiny encoder learns, and the text of each picture for it.

        That is the encoder itself with the captions, unless it learns by another objective than
        the one it is fine-tuned with. `other_captions` say the same pictures in other words.
        """
        return self, captions

    @property
    def device(self) -> torch.device:
        return next(self.parameters()).device
