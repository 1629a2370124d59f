"""VLMo: its transformer run over images, texts or both, and all heads of its pretraining.

Names of parameters are those of the official checkpoints (microsoft/unilm, vlmo; Bao et al. 2022,
"VLMo: Unified Vision-Language Pre-Training with Mixture-of-Modality-Experts").

Shapes: B batch, N patches of a picture, L text tokens, T tokens in the sequence (L, N + 1, or
L + N + 1), D width, H heads, V vocabulary.
"""

from __future__ import annotations

from math import log
from typing import NamedTuple

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from lmm4rec.encoders.initialisation import initialise, initialise_places
from lmm4rec.encoders.unified import relative_positions
from lmm4rec.encoders.unified.vlmo_blocks import (
    Expert,
    Places,
    TextEmbeddings,
    Transformer,
    VlmoConfig,
)


class Projection(nn.Module):
    """A bias-free head onto the embedding space, L2-normalised in float32: [B, D] -> [B, D]."""

    def __init__(self, width: int) -> None:
        super().__init__()
        self.fc = nn.Linear(width, width, bias=False)

    def forward(self, readout: Tensor) -> Tensor:
        embedding: Tensor = F.normalize(self.fc(readout).float(), dim=-1)
        return embedding


class Pooler(nn.Module):
    def __init__(self, width: int) -> None:
        super().__init__()
        self.dense = nn.Linear(width, width)

    def forward(self, readout: Tensor) -> Tensor:
        return torch.tanh(self.dense(readout))


class MatchHead(nn.Module):
    """Pooled pair [B, D] -> logits [B, 2]: no match, match."""

    def __init__(self, width: int) -> None:
        super().__init__()
        self.fc = nn.Linear(width, 2)

    def forward(self, pooled: Tensor) -> Tensor:
        logits: Tensor = self.fc(pooled)
        return logits


class HeadTransform(nn.Module):
    def __init__(self, config: VlmoConfig) -> None:
        super().__init__()
        self.dense = nn.Linear(config.width, config.width)
        self.LayerNorm = nn.LayerNorm(config.width, config.text_layer_norm_eps)

    def forward(self, tokens: Tensor) -> Tensor:
        normed: Tensor = self.LayerNorm(F.gelu(self.dense(tokens)))
        return normed


class LanguageHead(nn.Module):
    """Text tokens [..., D] -> logits [..., V]; the decoder is not tied to the word table."""

    def __init__(self, config: VlmoConfig) -> None:
        super().__init__()
        self.transform = HeadTransform(config)
        self.decoder = nn.Linear(config.width, config.vocab_size, bias=False)
        self.bias = nn.Parameter(torch.zeros(config.vocab_size))

    def forward(self, tokens: Tensor) -> Tensor:
        logits: Tensor = self.decoder(self.transform(tokens)) + self.bias
        return logits


class Branches(NamedTuple):
    """Both embeddings of one modality [B, D]: by its own experts, and by the vl experts on top."""

    plain: Tensor
    vl: Tensor


class Context(NamedTuple):
    """What the tokens of a sequence may attend to."""

    seen: Tensor | None  # bool [B, 1, 1, T], True = seen; None where there is no padding
    biases: Tensor | None  # [blocks, 1, H, T, T], added before the softmax

    def mask(self, block: int) -> Tensor | None:
        """The attention mask of one block, made when needed: with bias it is [B, H, T, T]."""
        if self.biases is None or self.seen is None:
            return self.seen if self.biases is None else self.biases[block]
        return self.biases[block].masked_fill(~self.seen, -torch.inf)


class VlmoNetwork(nn.Module):
    """VLMo with all heads of its pretraining."""

    text_index: Tensor  # rows of the bias table for pairs of tokens, [L, L] and [N + 1, N + 1]
    image_index: Tensor
    relative_position_bias_table: nn.Parameter | None

    def __init__(self, config: VlmoConfig) -> None:
        super().__init__()
        self.config = config
        width = config.width
        self.text_embeddings = TextEmbeddings(config)
        self.token_type_embeddings = nn.Embedding(2, width)  # VLMo's own: text, image
        self.transformer = Transformer(config)
        self.pooler = Pooler(width)
        self.mlm_score = LanguageHead(config)
        self.itm_score = MatchHead(width)
        self.itc_text_proj, self.itc_image_proj = Projection(width), Projection(width)
        self.itc_vl_text_proj, self.itc_vl_image_proj = Projection(width), Projection(width)
        self.logit_scale = nn.Parameter(torch.tensor(log(1 / 0.07)))  # logarithms of the scales
        self.logit_vl_scale = nn.Parameter(torch.tensor(log(1 / 0.07)))
        self._all = range(config.blocks)
        grid, span = config.grid, config.relative_text_span
        text_index = relative_positions.text_index(config.max_text_tokens, grid, span)
        self.register_buffer("text_index", text_index, persistent=False)
        self.register_buffer("image_index", relative_positions.image_index(grid), persistent=False)
        table = torch.zeros(relative_positions.table_rows(grid, span), config.heads * config.blocks)
        has_table = config.relative_position_bias
        bias_table = nn.Parameter(table) if has_table else None
        self.register_parameter("relative_position_bias_table", bias_table)
        self.apply(initialise)
        if self.transformer.pos_embed is not None:
            initialise_places([self.transformer.pos_embed])

    def embed_image(self, pixels: Tensor) -> Tensor:
        """[B, 3, S, S] -> [B, N + 1, D], before the first block."""
        embedded: Tensor = self.transformer.embed(pixels) + self.token_type_embeddings.weight[1]
        return embedded

    def embed_text(self, tokens: Tensor) -> Tensor:
        """int64 [B, L] -> [B, L, D], before the first block; padding is embedded like the rest."""
        embedded: Tensor = self.text_embeddings(tokens) + self.token_type_embeddings.weight[0]
        return embedded

    def image_tokens(self, embedded: Tensor) -> tuple[Tensor, Tensor]:
        """Embedded images -> last hidden states before and after the final norm, [B, N + 1, D]."""
        hidden = self._through(embedded, "imag", self._image_context(), self._all)
        return hidden, self._normed(hidden)

    def text_tokens(self, embedded: Tensor, attention_mask: Tensor) -> tuple[Tensor, Tensor]:
        """Embedded texts and their mask [B, L] (1 = real) -> as `image_tokens`, [B, L, D]."""
        context = self._text_context(attention_mask)
        hidden = self._through(embedded, "text", context, self._all)
        return hidden, self._normed(hidden)

    def fused_tokens(
        self, image: Tensor, text: Tensor, attention_mask: Tensor
    ) -> tuple[Tensor, Tensor]:
        """A joint pass over embedded inputs -> normed image [B, N + 1, D] and text [B, L, D]."""
        length = text.shape[1]
        normed = self._normed(self._joint(image, text, attention_mask, None))
        return normed[:, length:], normed[:, :length]

    def image_readout(self, embedded: Tensor) -> Tensor:
        """Embedded images -> their normed CLS [B, D]: `image_tokens` of which no more is needed."""
        hidden = self._through(embedded, "imag", self._image_context(), self._all, 0, [0])
        return self._normed(hidden[:, 0])

    def text_readout(self, embedded: Tensor, attention_mask: Tensor) -> Tensor:
        """Embedded texts and their mask -> their normed CLS [B, D]."""
        context = self._text_context(attention_mask)
        return self._normed(self._through(embedded, "text", context, self._all, 0, [0])[:, 0])

    def fused_readouts(
        self, image: Tensor, text: Tensor, attention_mask: Tensor
    ) -> tuple[Tensor, Tensor]:
        """A joint pass over embedded inputs -> normed image CLS and text CLS, [B, D] each."""
        length = text.shape[1]
        hidden = self._joint(image, text, attention_mask, [0, length])
        return self._normed(hidden[:, 1]), self._normed(hidden[:, 0])

    def image_branches(self, embedded: Tensor) -> Branches:
        """Embedded images -> the plain embedding and the vl experts', sharing the lower blocks."""
        plain, vl = self._branches(embedded, "imag", self._image_context())
        return Branches(self.itc_image_proj(plain), self.itc_vl_image_proj(vl))

    def text_branches(self, embedded: Tensor, attention_mask: Tensor) -> Branches:
        """Embedded texts -> the plain embedding and the vl experts', sharing the lower blocks."""
        plain, vl = self._branches(embedded, "text", self._text_context(attention_mask))
        return Branches(self.itc_text_proj(plain), self.itc_vl_text_proj(vl))

    def match_logits(self, image: Tensor, text: Tensor, attention_mask: Tensor) -> Tensor:
        """Embedded pairs -> [B, 2], from the pooled text CLS of a joint pass."""
        cls = self._normed(self._joint(image, text, attention_mask, [0])[:, 0])
        logits: Tensor = self.itm_score(self.pooler(cls))
        return logits

    def language_logits(
        self, image: Tensor, text: Tensor, attention_mask: Tensor, wanted: Tensor
    ) -> Tensor:
        """Embedded pairs (text masked) -> [M, V], of the M tokens that `wanted` bool [B, L] marks.

        Of all tokens they would be the largest tensor of training by far.
        """
        _, tokens = self.fused_tokens(image, text, attention_mask)
        logits: Tensor = self.mlm_score(tokens[wanted])
        return logits

    def _joint(self, image: Tensor, text: Tensor, attention_mask: Tensor, places: Places) -> Tensor:
        """Embedded inputs, text first -> hidden states of a joint pass, [B, L + N + 1, D]."""
        joint = torch.cat([text, image], dim=1)
        context = self._joint_context(attention_mask)
        return self._through(joint, "vl", context, self._all, text.shape[1], places)

    def _through(
        self,
        tokens: Tensor,
        expert: Expert,
        context: Context,
        blocks: range,
        text_tokens: int = 0,
        places: Places = None,
    ) -> Tensor:
        """The tokens after these blocks; after the last one those of `places` alone."""
        for index in blocks:
            wanted = places if index == blocks[-1] else None
            block = self.transformer.blocks[index]
            tokens = block(tokens, expert, context.mask(index), text_tokens, wanted)
        return tokens

    def _normed(self, hidden: Tensor) -> Tensor:
        normed: Tensor = self.transformer.norm(hidden)
        return normed

    def _branches(self, tokens: Tensor, expert: Expert, context: Context) -> tuple[Tensor, Tensor]:
        """Normed readouts [B, D] of all blocks by `expert`, and with the vl experts on top."""
        lower = range(self.config.first_vl_block)
        upper = range(self.config.first_vl_block, self.config.blocks)
        shared = self._through(tokens, expert, context, lower)
        plain = self._through(shared, expert, context, upper, 0, [0])
        vl = self._through(shared, "vl", context, upper, 0, [0])
        return self._normed(plain[:, 0]), self._normed(vl[:, 0])

    def _image_context(self) -> Context:
        return Context(None, self._biases(self.image_index))

    def _text_context(self, attention_mask: Tensor) -> Context:
        length = attention_mask.shape[1]
        biases = self._biases(self.text_index[:length, :length])
        return Context(attention_mask.bool()[:, None, None], biases)

    def _joint_context(self, attention_mask: Tensor) -> Context:
        length, image_tokens = attention_mask.shape[1], len(self.image_index)
        is_real = F.pad(attention_mask.bool(), (0, image_tokens), value=True)
        text = self.text_index[:length, :length]
        index = relative_positions.joint_index(text, self.image_index, self.config.grid)
        return Context(is_real[:, None, None], self._biases(index))

    def _biases(self, index: Tensor) -> Tensor | None:
        """Table rows [T, T] -> [blocks, 1, H, T, T]: block l reads columns l * H to (l + 1) * H."""
        table = self.relative_position_bias_table
        if table is None:
            return None
        bias = table.T.index_select(1, index.flatten())  # [blocks * H, T * T]
        return bias.view(self.config.blocks, 1, self.config.heads, *index.shape)
