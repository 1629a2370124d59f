"""BEiT-3 for retrieval: a multiway transformer with one set of weights per modality.

Classes stand in the order of the forward pass; names of parameters are those of the official
checkpoints (microsoft/unilm, beit3; Wang et al. 2022, "Image as a Foreign Language").

Shapes: B batch, G patches along a side, N = G * G patches, L text tokens, T tokens in the sequence
(N + 1, L, or N + 1 + L), D width, H heads.
"""

from __future__ import annotations

from math import log

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from lmm4rec.encoders.initialisation import initialise, initialise_places
from lmm4rec.encoders.unified.unified import UnifiedConfig

UNUSED_POSITIONS = 2  # rows 0 and 1 of both position tables: the first token has row 2


class Beit3Config(UnifiedConfig):
    """The sizes of a BEiT-3."""

    unused_vocab_rows: int  # the last ones of the word table
    text_positions: int
    heads: int
    ffn_width: int
    layers: int
    layer_norm_eps: float


# The tokens of a sequence by modality: "A" image [B, N + 1, D], "B" text [B, L, D], either or both
# (image first). Each expert sees its own part only; attention alone joins them.
Streams = dict[str, Tensor]


def join(streams: Streams) -> Tensor:
    """[B, N + 1, D] and [B, L, D] -> [B, T, D]: image, then text."""
    parts = list(streams.values())
    return parts[0] if len(parts) == 1 else torch.cat(parts, dim=1)


def split_like(joined: Tensor, streams: Streams) -> Streams:
    """[B, T, D] -> the parts that `streams` has."""
    parts = torch.split(joined, [part.shape[1] for part in streams.values()], dim=1)
    return dict(zip(streams, parts, strict=True))


def first_tokens(streams: Streams) -> Streams:
    """CLS of the image and BOS of the text, [B, 1, D] each: what embeddings are read from."""
    return {modality: part[:, :1] for modality, part in streams.items()}


def add(left: Streams, right: Streams) -> Streams:
    return {modality: left[modality] + right[modality] for modality in left}


class Multiway(nn.ModuleDict):
    """Two experts of one shape: A for image tokens, B for text tokens."""

    def __init__(self, image_expert: nn.Module, text_expert: nn.Module) -> None:
        super().__init__({"A": image_expert, "B": text_expert})

    def forward(self, streams: Streams) -> Streams:
        return {modality: self[modality](part) for modality, part in streams.items()}


def _linear(inputs: int, outputs: int) -> Multiway:
    return Multiway(nn.Linear(inputs, outputs), nn.Linear(inputs, outputs))


def _norm(width: int, eps: float) -> Multiway:
    return Multiway(nn.LayerNorm(width, eps), nn.LayerNorm(width, eps))


class VisionEmbedding(nn.Module):
    def __init__(self, config: Beit3Config) -> None:
        super().__init__()
        patch = config.patch_pixels
        self.proj = nn.Conv2d(3, config.width, kernel_size=patch, stride=patch)
        self.cls_token = nn.Parameter(torch.zeros(1, 1, config.width))
        # Pretraining's token for hidden patches: part of the files, of no retrieval pass.
        self.mask_token = nn.Parameter(torch.zeros(1, 1, config.width), requires_grad=False)

    def forward(self, pixels: Tensor) -> Tensor:
        patches = self.proj(pixels).flatten(2).transpose(1, 2)  # [B, N, D], row by row
        return torch.cat([self.cls_token.expand(len(pixels), -1, -1), patches], dim=1)


class Attention(nn.Module):
    """Joint softmax attention over both modalities, projections by modality, sub-LN before out."""

    def __init__(self, config: Beit3Config) -> None:
        super().__init__()
        self.heads = config.heads
        self.q_proj = _linear(config.width, config.width)
        self.k_proj = _linear(config.width, config.width)
        self.v_proj = _linear(config.width, config.width)
        self.inner_attn_ln = _norm(config.width, config.layer_norm_eps)
        self.out_proj = _linear(config.width, config.width)

    def forward(self, asking: Streams, streams: Streams, is_real: Tensor | None) -> Streams:
        """What the tokens of `asking` find among those of `streams`."""
        query = self._by_head(join(self.q_proj(asking)))  # [B, H, T asking, D / H]
        key = self._by_head(join(self.k_proj(streams)))  # [B, H, T, D / H]
        value = self._by_head(join(self.v_proj(streams)))
        mixed = F.scaled_dot_product_attention(query, key, value, attn_mask=is_real)
        merged = mixed.transpose(1, 2).flatten(2)  # [B, T asking, D]
        out: Streams = self.out_proj(self.inner_attn_ln(split_like(merged, asking)))
        return out

    def _by_head(self, tokens: Tensor) -> Tensor:
        """[B, T, D] -> [B, H, T, D / H]."""
        return tokens.view(*tokens.shape[:2], self.heads, -1).transpose(1, 2)


class FeedForward(nn.Module):
    def __init__(self, config: Beit3Config) -> None:
        super().__init__()
        self.fc1 = nn.Linear(config.width, config.ffn_width)
        self.ffn_layernorm = nn.LayerNorm(config.ffn_width, config.layer_norm_eps)
        self.fc2 = nn.Linear(config.ffn_width, config.width)

    def forward(self, tokens: Tensor) -> Tensor:
        out: Tensor = self.fc2(self.ffn_layernorm(F.gelu(self.fc1(tokens))))
        return out


class Layer(nn.Module):
    """Pre-norm attention, then pre-norm feed-forward (whose norm is named `final_layer_norm`)."""

    def __init__(self, config: Beit3Config) -> None:
        super().__init__()
        self.self_attn_layer_norm = _norm(config.width, config.layer_norm_eps)
        self.self_attn = Attention(config)
        self.final_layer_norm = _norm(config.width, config.layer_norm_eps)
        self.ffn = Multiway(FeedForward(config), FeedForward(config))

    def forward(
        self, streams: Streams, is_real: Tensor | None, first_alone: bool = False
    ) -> Streams:
        """With `first_alone` only each modality's first token, of which alone it is computed."""
        normed = self.self_attn_layer_norm(streams)
        asking = first_tokens(normed) if first_alone else normed
        kept = first_tokens(streams) if first_alone else streams
        kept = add(kept, self.self_attn(asking, normed, is_real))
        return add(kept, self.ffn(self.final_layer_norm(kept)))


class MultiwayTransformer(nn.Module):
    def __init__(self, config: Beit3Config) -> None:
        super().__init__()
        image_positions = UNUSED_POSITIONS + 1 + config.grid**2
        self.embed_positions = Multiway(
            nn.Embedding(image_positions, config.width),
            nn.Embedding(config.text_positions, config.width),
        )
        self.layers = nn.ModuleList([Layer(config) for _ in range(config.layers)])
        self.layer_norm = _norm(config.width, config.layer_norm_eps)

    def forward(
        self, streams: Streams, padding_mask: Tensor | None, first_alone: bool = False
    ) -> Streams:
        """Embedded tokens of one or both modalities -> normalised last hidden states.

        `padding_mask` bool [B, L], True = pad; padded text tokens enter as exact zeros and are
        seen by no token, but are computed like any other. With `first_alone` only those of each
        modality's first token, so that the last layer has less to do.
        """
        streams = self._with_positions(streams)
        is_real = None
        if padding_mask is not None:
            streams["B"] = streams["B"].masked_fill(padding_mask[..., None], 0.0)
            image_tokens = streams["A"].shape[1] if "A" in streams else 0
            is_real = F.pad(~padding_mask, (image_tokens, 0), value=True)[:, None, None]
        for depth, layer in enumerate(self.layers, start=1):
            streams = layer(streams, is_real, first_alone and depth == len(self.layers))
        normed: Streams = self.layer_norm(streams)
        return normed

    def _with_positions(self, streams: Streams) -> Streams:
        """Each modality counts its own tokens from 0; token t has row t + 2 of its own table."""
        rows = {
            modality: torch.arange(part.shape[1], device=part.device) + UNUSED_POSITIONS
            for modality, part in streams.items()
        }
        return add(streams, self.embed_positions(rows))


class Beit3Backbone(nn.Module):
    def __init__(self, config: Beit3Config) -> None:
        super().__init__()
        self.text_embed = nn.Embedding(config.vocab_size, config.width)
        self.vision_embed = VisionEmbedding(config)
        self.encoder = MultiwayTransformer(config)


class Beit3Network(nn.Module):
    """BEiT-3 with its two retrieval heads."""

    def __init__(self, config: Beit3Config) -> None:
        super().__init__()
        self.config = config
        self.beit3 = Beit3Backbone(config)
        self.vision_head = nn.Linear(config.width, config.width, bias=False)
        self.language_head = nn.Linear(config.width, config.width, bias=False)
        self.logit_scale = nn.Parameter(torch.tensor(log(1 / 0.07)))  # the logarithm of the scale
        self.apply(initialise)
        initialise_places(self.beit3.encoder.embed_positions["A"].parameters())

    def image_tokens(self, pixels: Tensor) -> Tensor:
        """[B, 3, S, S] -> [B, N + 1, D], CLS first."""
        return self._image(pixels)["A"]

    def text_tokens(self, tokens: Tensor, padding_mask: Tensor) -> Tensor:
        """int64 [B, L] and its padding (True = pad) -> [B, L, D], BOS first."""
        return self._text(tokens, padding_mask)["B"]

    def fused_tokens(
        self, pixels: Tensor, tokens: Tensor, padding_mask: Tensor
    ) -> tuple[Tensor, Tensor]:
        """One joint pass -> image tokens [B, N + 1, D] and text tokens [B, L, D]."""
        hidden = self._joint(pixels, tokens, padding_mask)
        return hidden["A"], hidden["B"]

    def fused_readouts(
        self, pixels: Tensor, tokens: Tensor, padding_mask: Tensor
    ) -> tuple[Tensor, Tensor]:
        """One joint pass -> image CLS and text BOS, [B, D] each."""
        hidden = self._joint(pixels, tokens, padding_mask, first_alone=True)
        return hidden["A"][:, 0], hidden["B"][:, 0]

    def image_embedding(self, pixels: Tensor) -> Tensor:
        """[B, 3, S, S] -> [B, D], L2-normalised in float32."""
        readout = self._image(pixels, first_alone=True)["A"][:, 0]
        return F.normalize(self.vision_head(readout).float(), dim=-1)

    def text_embedding(self, tokens: Tensor, padding_mask: Tensor) -> Tensor:
        """int64 [B, L] and its padding -> [B, D], L2-normalised in float32."""
        readout = self._text(tokens, padding_mask, first_alone=True)["B"][:, 0]
        return F.normalize(self.language_head(readout).float(), dim=-1)

    def _image(self, pixels: Tensor, first_alone: bool = False) -> Streams:
        streams = {"A": self.beit3.vision_embed(pixels)}
        hidden: Streams = self.beit3.encoder(streams, None, first_alone)
        return hidden

    def _text(self, tokens: Tensor, padding_mask: Tensor, first_alone: bool = False) -> Streams:
        streams = {"B": self.beit3.text_embed(tokens)}
        hidden: Streams = self.beit3.encoder(streams, padding_mask.bool(), first_alone)
        return hidden

    def _joint(
        self, pixels: Tensor, tokens: Tensor, padding_mask: Tensor, first_alone: bool = False
    ) -> Streams:
        streams = {"A": self.beit3.vision_embed(pixels), "B": self.beit3.text_embed(tokens)}
        hidden: Streams = self.beit3.encoder(streams, padding_mask.bool(), first_alone)
        return hidden
