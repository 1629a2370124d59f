"""VLMo's transformer: shared attention, one feed-forward expert per modality, and on top a third.

Classes stand in the order of the forward pass; names of parameters are those of the official
checkpoints (microsoft/unilm, vlmo; Bao et al. 2022, "VLMo").

Shapes: B batch, G patches along a side, N = G * G patches, L text tokens, T tokens in the sequence
(L, N + 1, or L + N + 1), D width, H heads.
"""

from __future__ import annotations

from typing import Literal

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from lmm4rec.encoders.unified.unified import UnifiedConfig

Expert = Literal["text", "imag", "vl"]
Places = list[int] | None  # of tokens in the sequence; None: all of them


class VlmoConfig(UnifiedConfig):
    """The sizes of a VLMo, and which of its two kinds of position it has."""

    heads: int
    ffn_width: int
    blocks: int
    first_vl_block: int  # blocks from this one on have a vision-language expert
    absolute_positions: bool  # learned tables added to patches and words
    relative_position_bias: bool  # learned per head and block, added to attention
    relative_text_span: int  # the text length the bias table was laid out for
    layer_scale: bool
    layer_norm_eps: float
    text_layer_norm_eps: float  # of the text embedding and the language head


class TextEmbeddings(nn.Module):
    """BERT's embedding; its position table is part of every file and unused with relative bias."""

    def __init__(self, config: VlmoConfig) -> None:
        super().__init__()
        self.adds_positions = config.absolute_positions
        self.word_embeddings = nn.Embedding(config.vocab_size, config.width)
        self.position_embeddings = nn.Embedding(config.max_text_tokens, config.width)
        self.token_type_embeddings = nn.Embedding(2, config.width)
        self.LayerNorm = nn.LayerNorm(config.width, config.text_layer_norm_eps)
        positions = torch.arange(config.max_text_tokens, device="cpu")[None]
        self.register_buffer("position_ids", positions)

    def forward(self, tokens: Tensor) -> Tensor:
        embedded = self.word_embeddings(tokens) + self.token_type_embeddings.weight[0]
        if self.adds_positions:
            embedded = embedded + self.position_embeddings.weight[: tokens.shape[1]]
        normed: Tensor = self.LayerNorm(embedded)
        return normed


class PatchEmbedding(nn.Module):
    def __init__(self, config: VlmoConfig) -> None:
        super().__init__()
        patch = config.patch_pixels
        self.proj = nn.Conv2d(3, config.width, kernel_size=patch, stride=patch)

    def forward(self, pixels: Tensor) -> Tensor:
        patches: Tensor = self.proj(pixels).flatten(2).transpose(1, 2)  # [B, N, D], row by row
        return patches


class Attention(nn.Module):
    """Self-attention shared by all modalities; queries and values have a bias, keys have none."""

    def __init__(self, config: VlmoConfig) -> None:
        super().__init__()
        self.heads = config.heads
        self.qkv = nn.Linear(config.width, 3 * config.width, bias=False)
        self.q_bias = nn.Parameter(torch.zeros(config.width))
        self.v_bias = nn.Parameter(torch.zeros(config.width))
        self.proj = nn.Linear(config.width, config.width)

    def forward(self, tokens: Tensor, mask: Tensor | None, places: Places = None) -> Tensor:
        """[B, T, D] -> [B, T, D], or the rows of these places alone."""
        bias = torch.cat([self.q_bias, torch.zeros_like(self.q_bias), self.v_bias])
        # Called as a module, not through its weight: LoRA wraps the module.
        qkv = (self.qkv(tokens) + bias).view(*tokens.shape[:2], 3, self.heads, -1)
        query, key, value = qkv.permute(2, 0, 3, 1, 4)  # each [B, H, T, D / H]
        if places is not None:
            query = query[:, :, places]
            if mask is not None and mask.shape[2] > 1:
                mask = mask[:, :, places]
        mixed = F.scaled_dot_product_attention(query, key, value, attn_mask=mask)
        out: Tensor = self.proj(mixed.transpose(1, 2).flatten(2))  # [B, T, D]
        return out


class FeedForward(nn.Module):
    def __init__(self, config: VlmoConfig) -> None:
        super().__init__()
        self.fc1 = nn.Linear(config.width, config.ffn_width)
        self.fc2 = nn.Linear(config.ffn_width, config.width)

    def forward(self, tokens: Tensor) -> Tensor:
        out: Tensor = self.fc2(F.gelu(self.fc1(tokens)))
        return out


class Block(nn.Module):
    """Attention, then the expert of the modality, each pre-normed and optionally scaled."""

    gamma_1: nn.Parameter | None
    gamma_2: nn.Parameter | None

    def __init__(self, config: VlmoConfig, has_vl_expert: bool) -> None:
        super().__init__()
        width, eps = config.width, config.layer_norm_eps
        self.norm1 = nn.LayerNorm(width, eps)
        self.attn = Attention(config)
        self.norm2_text = nn.LayerNorm(width, eps)
        self.norm2_imag = nn.LayerNorm(width, eps)
        self.mlp_text = FeedForward(config)
        self.mlp_imag = FeedForward(config)
        self.norm2_vl = nn.LayerNorm(width, eps) if has_vl_expert else None
        self.mlp_vl = FeedForward(config) if has_vl_expert else None
        for name in ("gamma_1", "gamma_2"):
            scale = nn.Parameter(torch.full((width,), 0.1)) if config.layer_scale else None
            self.register_parameter(name, scale)

    def forward(
        self,
        tokens: Tensor,
        expert: Expert,
        mask: Tensor | None,
        text_tokens: int = 0,
        places: Places = None,
    ) -> Tensor:
        """[B, T, D] -> [B, T, D]; expert "vl" takes the first `text_tokens` of T for text.

        Or the rows of these places of T alone, of which nothing else is computed.
        """
        attended = self.attn(self.norm1(tokens), mask, places)
        if places is not None:
            tokens = tokens[:, places]
            text_tokens = sum(place < text_tokens for place in places)
        tokens = tokens + _scaled(attended, self.gamma_1)
        return tokens + _scaled(self._feed_forward(tokens, expert, text_tokens), self.gamma_2)

    def _feed_forward(self, tokens: Tensor, expert: Expert, text_tokens: int) -> Tensor:
        out: Tensor
        if expert == "text":
            out = self.mlp_text(self.norm2_text(tokens))
        elif expert == "imag":
            out = self.mlp_imag(self.norm2_imag(tokens))
        elif self.mlp_vl is not None and self.norm2_vl is not None:
            out = self.mlp_vl(self.norm2_vl(tokens))
        else:  # below the vision-language blocks each part of a joint sequence has its own expert
            text = self.mlp_text(self.norm2_text(tokens[:, :text_tokens]))
            image = self.mlp_imag(self.norm2_imag(tokens[:, text_tokens:]))
            out = torch.cat([text, image], dim=1)
        return out


def _scaled(branch: Tensor, gamma: Tensor | None) -> Tensor:
    return branch if gamma is None else branch * gamma


class Transformer(nn.Module):
    def __init__(self, config: VlmoConfig) -> None:
        super().__init__()
        self.patch_embed = PatchEmbedding(config)
        self.cls_token = nn.Parameter(torch.zeros(1, 1, config.width))
        positions = torch.zeros(1, 1 + config.grid**2, config.width)
        self.pos_embed = nn.Parameter(positions) if config.absolute_positions else None
        self.blocks = nn.ModuleList(
            [Block(config, index >= config.first_vl_block) for index in range(config.blocks)]
        )
        self.norm = nn.LayerNorm(config.width, config.layer_norm_eps)

    def embed(self, pixels: Tensor) -> Tensor:
        """[B, 3, S, S] -> [B, N + 1, D], CLS first."""
        cls = self.cls_token.expand(len(pixels), -1, -1)
        tokens = torch.cat([cls, self.patch_embed(pixels)], dim=1)
        return tokens if self.pos_embed is None else tokens + self.pos_embed
