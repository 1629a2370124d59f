"""CLIP ViT-B/16's sizes in torch's own blocks, for machines without open_clip."""

from __future__ import annotations

from pathlib import Path
from typing import Self

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from lmm4rec.encoders.base import Encoder, TextBatch
from lmm4rec.encoders.objectives import contrastive_loss, similarity


class PlainClip(Encoder):
    """Two pre-norm transformers of 12 blocks; random weights; no tokenizer, no files."""

    family = "plain-clip"

    def __init__(self, side: int, text_tokens: int, vocabulary: int, dims: int) -> None:
        super().__init__()
        self.image_dim = self.text_dim = dims
        self.patches = nn.Conv2d(3, 768, 16, 16, bias=False)
        self.first_token = nn.Parameter(torch.randn(768) * 0.02)
        self.places = nn.Parameter(torch.randn((side // 16) ** 2 + 1, 768) * 0.02)
        self.words = nn.Embedding(vocabulary, 512)
        self.text_places = nn.Parameter(torch.randn(text_tokens, 512) * 0.02)
        self.towers = nn.ModuleList(
            nn.ModuleList(_block(width) for _ in range(12)) for width in (768, 512)
        )
        self.heads = nn.ModuleList(
            nn.Sequential(nn.LayerNorm(width), nn.Linear(width, dims, bias=False))
            for width in (768, 512)
        )
        self.logit_scale = nn.Parameter(torch.tensor(2.66))

    def encode_images(self, pixels: Tensor) -> Tensor:
        patches = self.patches(pixels).flatten(2).transpose(1, 2)  # [B, N, 768]
        first = self.first_token.expand(len(pixels), 1, -1)
        tokens = torch.cat([first, patches], dim=1) + self.places
        for block in self.layers()[:12]:
            tokens = block(tokens)
        return F.normalize(self.heads[0](tokens[:, 0]).float(), dim=1)

    def encode_texts(self, tokens: TextBatch) -> Tensor:
        hidden = self.words(tokens["tokens"]) + self.text_places
        mask = nn.Transformer.generate_square_subsequent_mask(
            hidden.shape[1], device=hidden.device, dtype=hidden.dtype
        )
        for block in self.layers()[12:]:
            hidden = block(hidden, src_mask=mask, is_causal=True)
        return F.normalize(self.heads[1](hidden[:, -1]).float(), dim=1)

    def alignment_loss(self, images: Tensor, texts: Tensor) -> Tensor:
        return contrastive_loss(similarity(images, texts, self.logit_scale))

    def losses(self, pixels: Tensor, tokens: TextBatch) -> dict[str, Tensor]:
        return {"itc": self.alignment_loss(self.encode_images(pixels), self.encode_texts(tokens))}

    def layers(self) -> list[nn.Module]:
        return [block for tower in self.towers for block in tower]  # type: ignore[union-attr]

    def save(self, folder: Path) -> None:
        raise NotImplementedError

    @classmethod
    def load(cls, folder: Path) -> Self:
        raise NotImplementedError


def _block(width: int) -> nn.Module:
    return nn.TransformerEncoderLayer(
        width, width // 64, 4 * width, dropout=0.0, activation="gelu",
        batch_first=True, norm_first=True,
    )  # fmt: skip
