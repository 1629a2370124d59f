"""The modality-specific pair: an image network and a text network that never saw each other.

The field's usual baseline (ResNet-50 and MiniLM) against which multi-modal encoders are compared.
Features are the pooled vectors of each network, of different dimensions, in spaces of their own.

Shapes: B pairs, D_i / D_t dims of image and text vectors, S picture side.
"""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from math import log
from pathlib import Path
from typing import Any, ClassVar, Self

import torch
import torch.nn.functional as F
from pydantic import Field
from torch import Tensor, nn

from lmm4rec.distributed import gather
from lmm4rec.encoders.base import Encoder, TextBatch
from lmm4rec.encoders.files.checkpoints import (
    WEIGHTS_FILE,
    load_exactly,
    read_checkpoint,
    read_config,
    write_encoder,
)
from lmm4rec.encoders.initialisation import initialise
from lmm4rec.encoders.objectives import contrastive_loss, similarity
from lmm4rec.encoders.tuning.shared_norms import share_batch_norms
from lmm4rec.encoders.unified.wordpiece_tokens import train_wordpiece
from lmm4rec.encoders.unimodal.pretraining import TrainedApart, caption_pairs
from lmm4rec.encoders.unimodal.timm_images import (
    ImageTowerConfig,
    Preprocessing,
    build_image_tower,
    pooled_dim,
)
from lmm4rec.encoders.unimodal.towers import aligned_at_output, image_blocks
from lmm4rec.encoders.unimodal.transformers_texts import (
    TOKENIZER_FILE,
    TextTokenizer,
    TextTowerConfig,
    build_text_tower,
    pooled,
    text_blocks,
)
from lmm4rec.errors import InputError
from lmm4rec.params import Section

MOST_UNUSED_ROWS = 128  # by which published token tables are rounded up
TINY_VOCABULARY = 1000  # entries that `Unimodal.tiny` learns
TINY_TEXT_TOKENS = 32


class UnimodalConfig(Section):
    image: ImageTowerConfig
    text: TextTowerConfig
    joint_dimensions: int = Field(gt=0)  # of the space in which fine-tuning compares


def tiny(vocab_size: int, max_text_tokens: int = TINY_TEXT_TOKENS) -> UnimodalConfig:
    """A ResNet of four blocks and a BERT of two, 0.8 M parameters, for 48-pixel pictures."""
    return UnimodalConfig(
        image=ImageTowerConfig(
            architecture="resnet10t",
            options={"channels": [24, 48, 96, 128], "stem_width": 16, "zero_init_last": False},
            preprocessing=Preprocessing(
                input_size=[3, 48, 48], interpolation="bicubic", mean=[0.5] * 3, std=[0.5] * 3,
                crop_pct=1.0, crop_mode="center",
            ),
        ),
        text=TextTowerConfig(
            model={
                "model_type": "bert", "vocab_size": vocab_size, "hidden_size": 96,
                "num_hidden_layers": 2, "num_attention_heads": 4, "intermediate_size": 384,
                "max_position_embeddings": max_text_tokens, "hidden_dropout_prob": 0.0,
                "attention_probs_dropout_prob": 0.0,
            },
            pooling="mean",
            max_text_tokens=max_text_tokens,
        ),
        joint_dimensions=64,
    )  # fmt: skip


class Unimodal(Encoder):
    """Both networks, and two linear maps into a joint space that only fine-tuning uses.

    Tokens are `tokens` and `attention_mask` (1 = real), both int64 [B, L].
    """

    family: ClassVar[str] = "unimodal"
    tokenizer: TextTokenizer
    image_tower: Any
    text_tower: Any

    def __init__(
        self, config: UnimodalConfig, tokenizer: TextTokenizer, source: str = "config"
    ) -> None:
        """Random weights from torch's global generator; `source` is for messages."""
        super().__init__()
        self.config = config
        self.image_tower = build_image_tower(config.image, source)
        share_batch_norms(self.image_tower)
        self.text_tower = build_text_tower(config.text, source)
        _refuse_other_vocabulary(tokenizer.size, self.text_tower.config.vocab_size)
        self.image_dim = pooled_dim(self.image_tower)
        self.text_dim = int(self.text_tower.config.hidden_size)
        self.pooling = (
            f"pooled by each network itself: image as timm does, text {config.text.pooling}"
        )
        self.image_projection = nn.Linear(self.image_dim, config.joint_dimensions, bias=False)
        self.text_projection = nn.Linear(self.text_dim, config.joint_dimensions, bias=False)
        self.logit_scale = nn.Parameter(torch.tensor(log(1 / 0.07)))  # the logarithm of the scale
        for projection in (self.image_projection, self.text_projection):
            projection.apply(initialise)
        self.image_transform = config.image.preprocessing.transform()
        self.augmenting_transform = config.image.preprocessing.augmenting_transform()
        self.tokenizer = tokenizer

    def encode_images(self, pixels: Tensor) -> Tensor:
        """The image network's pooled vector, L2-normalised."""
        pixels = pixels.contiguous(memory_format=torch.channels_last)  # convolutions are faster
        return F.normalize(self.image_tower(pixels).float(), dim=-1)

    def encode_texts(self, tokens: TextBatch) -> Tensor:
        """The text network's pooled vector, L2-normalised."""
        return F.normalize(pooled(self.text_tower, tokens, self.config.text.pooling), dim=-1)

    def matching_images(self, pixels: Tensor) -> Tensor:
        return _projected(self.image_projection, self.encode_images(pixels))

    def matching_texts(self, tokens: TextBatch) -> Tensor:
        return _projected(self.text_projection, self.encode_texts(tokens))

    def losses(self, pixels: Tensor, tokens: TextBatch) -> dict[str, Tensor]:
        """`itc`: symmetric InfoNCE in the joint space."""
        images, texts = gather(self.encode_images(pixels)), gather(self.encode_texts(tokens))
        return {"itc": self.alignment_loss(images, texts)}

    def alignment_loss(self, images: Tensor, texts: Tensor) -> Tensor:
        """Of the pooled vectors [B, D_i] and [B, D_t], projected into the joint space."""
        joint = _projected(self.image_projection, images), _projected(self.text_projection, texts)
        return contrastive_loss(similarity(*joint, self.logit_scale))

    def layers(self) -> list[nn.Module]:
        return aligned_at_output([image_blocks(self.image_tower), text_blocks(self.text_tower)])

    def new_parameters(self) -> list[nn.Parameter]:
        projections = (self.image_projection, self.text_projection)
        return [*(one for part in projections for one in part.parameters()), self.logit_scale]

    def save(self, folder: Path) -> None:
        write_encoder(folder, self.family, self.config, self)
        self.tokenizer.save(folder)

    @classmethod
    def load(cls, folder: Path) -> Self:
        config = read_config(folder, cls.family, UnimodalConfig)
        tokenizer = read_tokenizer(folder / TOKENIZER_FILE, config.text)
        encoder = cls(config, tokenizer, str(folder))
        weights = folder / WEIGHTS_FILE
        load_exactly(encoder, read_checkpoint(weights), str(weights))
        return encoder.eval()

    @classmethod
    def tiny(cls, texts: Sequence[str]) -> Self:
        pieces = train_wordpiece(texts, TINY_VOCABULARY, TINY_TEXT_TOKENS).pieces
        tokenizer = TextTokenizer(pieces, TINY_TEXT_TOKENS, pad_id=0)
        return cls(tiny(tokenizer.size), tokenizer)

    def to_pretrain(
        self, captions: Sequence[str], other_captions: Iterable[str]
    ) -> tuple[Encoder, Sequence[str]]:
        return TrainedApart(self, self.tokenizer), caption_pairs(captions, other_captions)


def read_tokenizer(path: Path, config: TextTowerConfig) -> TextTokenizer:
    """The tokenizer file of a text tower."""
    pad_id = config.model.get("pad_token_id")
    return TextTokenizer.from_file(path, config.max_text_tokens, pad_id or 0)


def _projected(projection: nn.Linear, vectors: Tensor) -> Tensor:
    return F.normalize(projection(vectors.to(projection.weight.dtype)).float(), dim=-1)


def _refuse_other_vocabulary(entries: int, rows: int) -> None:
    if not rows - MOST_UNUSED_ROWS <= entries <= rows:
        raise InputError(
            f"the tokenizer has {entries} entries but these weights were trained with {rows}; give "
            f"the {TOKENIZER_FILE} that belongs to them"
        )
