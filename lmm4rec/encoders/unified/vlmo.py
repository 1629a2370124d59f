"""The VLMo encoder: the network with its pictures, its tokenizer, its objectives and its files."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import ClassVar, Self

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from lmm4rec.distributed import gather, own_slice, share_of_mean
from lmm4rec.encoders.base import TextBatch
from lmm4rec.encoders.objectives import (
    IGNORED_LABEL,
    contrastive_loss,
    hard_negatives,
    mask_whole_words,
    masked_language_loss,
    similarity,
)
from lmm4rec.encoders.texts import longest
from lmm4rec.encoders.unified.unified import UnifiedEncoder, fused_embedding
from lmm4rec.encoders.unified.vlmo_blocks import VlmoConfig
from lmm4rec.encoders.unified.vlmo_checkpoints import CONTAINERS, adapt
from lmm4rec.encoders.unified.vlmo_network import VlmoNetwork
from lmm4rec.encoders.unified.wordpiece_tokens import (
    VOCAB_FILE,
    WordPieceTokenizer,
    train_wordpiece,
)
from lmm4rec.errors import InputError

MLM_WEIGHT = 0.25
TINY_VOCABULARY = 1000  # entries that `Vlmo.tiny` learns
TINY_TEXT_TOKENS = 32


def base(image_pixels: int = 224) -> VlmoConfig:
    """202 M parameters with all heads: vlmo_base_patch16_224."""
    return VlmoConfig(
        image_pixels=image_pixels, patch_pixels=16, vocab_size=30522, max_text_tokens=40,
        width=768, heads=12, ffn_width=3072, blocks=12, first_vl_block=10,
        absolute_positions=False, relative_position_bias=True, relative_text_span=196,
        layer_scale=True, layer_norm_eps=1e-6, text_layer_norm_eps=1e-12,
    )  # fmt: skip


def base_plus(image_pixels: int = 224) -> VlmoConfig:
    """185 M parameters with all heads: vlmo_base_plus_patch16_224, which LMM4Rec uses."""
    return VlmoConfig(
        image_pixels=image_pixels, patch_pixels=16, vocab_size=30522, max_text_tokens=40,
        width=544, heads=16, ffn_width=2176, blocks=24, first_vl_block=21,
        absolute_positions=True, relative_position_bias=False, relative_text_span=196,
        layer_scale=False, layer_norm_eps=1e-6, text_layer_norm_eps=1e-12,
    )  # fmt: skip


def large(image_pixels: int = 224) -> VlmoConfig:
    """599 M parameters with all heads: vlmo_large_patch16_224."""
    return VlmoConfig(
        image_pixels=image_pixels, patch_pixels=16, vocab_size=30522, max_text_tokens=40,
        width=1024, heads=16, ffn_width=4096, blocks=24, first_vl_block=21,
        absolute_positions=False, relative_position_bias=True, relative_text_span=196,
        layer_scale=True, layer_norm_eps=1e-6, text_layer_norm_eps=1e-12,
    )  # fmt: skip


def tiny(vocab_size: int, max_text_tokens: int = TINY_TEXT_TOKENS) -> VlmoConfig:
    """0.4 M parameters for 48-pixel pictures, to be trained from scratch."""
    return VlmoConfig(
        image_pixels=48, patch_pixels=12, vocab_size=vocab_size, max_text_tokens=max_text_tokens,
        width=64, heads=2, ffn_width=256, blocks=3, first_vl_block=2,
        absolute_positions=True, relative_position_bias=False, relative_text_span=196,
        layer_scale=False, layer_norm_eps=1e-6, text_layer_norm_eps=1e-12,
    )  # fmt: skip


PUBLISHED: dict[str, Callable[[int], VlmoConfig]] = {
    "base": base,
    "base_plus": base_plus,
    "large": large,
}


class Vlmo(VlmoNetwork, UnifiedEncoder):
    """VLMo: D-dimensional image and text embeddings, and both readouts of a joint pass.

    Tokens are `tokens` and `attention_mask` (1 = real), both int64 [B, L].
    """

    family: ClassVar[str] = "vlmo"
    Config = VlmoConfig
    Tokenizer = WordPieceTokenizer
    tokenizer_file = VOCAB_FILE
    published = PUBLISHED
    containers = CONTAINERS
    adapt = staticmethod(adapt)
    config: VlmoConfig
    tokenizer: WordPieceTokenizer

    def __init__(self, config: VlmoConfig, tokenizer: WordPieceTokenizer) -> None:
        super().__init__(config)
        if tokenizer.size != config.vocab_size:
            raise InputError(
                f"the WordPiece vocabulary has {tokenizer.size} entries but these weights were "
                f"trained with {config.vocab_size}; give the vocab.txt that belongs to them"
            )
        self._equip(config, tokenizer)

    def encode_images(self, pixels: Tensor) -> Tensor:
        """The plain branch (the official `infer_image_ft`)."""
        embedding: Tensor = self.itc_image_proj(self.image_readout(self.embed_image(pixels)))
        return embedding

    def encode_texts(self, tokens: TextBatch) -> Tensor:
        """The plain branch (the official `infer_text_ft`)."""
        ids, attention_mask = _trimmed(tokens)
        readout = self.text_readout(self.embed_text(ids), attention_mask)
        embedding: Tensor = self.itc_text_proj(readout)
        return embedding

    def encode_pairs(self, pixels: Tensor, tokens: TextBatch) -> Tensor:
        """[B, 2 D]: image CLS and text CLS after one joint pass."""
        ids, attention_mask = _trimmed(tokens)
        image, text = self.embed_image(pixels), self.embed_text(ids)
        return fused_embedding(self.fused_readouts(image, text, attention_mask))

    def losses(self, pixels: Tensor, tokens: TextBatch) -> dict[str, Tensor]:
        """`itc` (mean of the plain and the vl branch), `itm`, and `mlm` with its weight in it.

        Hard negatives and masks come from torch's global generator. Needs two pairs or more.
        """
        # With several processes chance is drawn for the pairs of all, everywhere alike, and ITM and
        # MLM are computed for one's own: the result is that of one process.
        every = _trimmed({name: gather(values) for name, values in tokens.items()})
        own = own_slice(len(pixels), pixels.device)
        ids, attention_mask = (values[own] for values in every)
        image, text = self.embed_image(pixels), self.embed_text(ids)
        itc, logits_per_image = self.contrast(image, text, attention_mask)
        wrong = hard_negatives(logits_per_image)
        masked, labels = (values[own] for values in self._masked(*every))
        return {
            "itc": itc,
            "itm": self.match_loss(gather(image), gather(text), every[1], *wrong, own),
            "mlm": self.masking_loss(image, masked, labels, attention_mask),
        }

    def alignment_loss(self, images: Tensor, texts: Tensor) -> Tensor:
        """The plain branch's ITC."""
        return contrastive_loss(similarity(images, texts, self.logit_scale))

    def contrast(
        self, image: Tensor, text: Tensor, attention_mask: Tensor
    ) -> tuple[Tensor, Tensor]:
        """Embedded pairs -> the ITC loss over both branches, and the plain logits [B, B].

        With several processes: their own pairs -> loss and logits over the pairs of all.
        """
        images, texts = self.image_branches(image), self.text_branches(text, attention_mask)
        plain = similarity(gather(images.plain), gather(texts.plain), self.logit_scale)
        vl = similarity(gather(images.vl), gather(texts.vl), self.logit_vl_scale)
        return (contrastive_loss(plain) + contrastive_loss(vl)) / 2, plain

    def match_loss(
        self,
        image: Tensor,
        text: Tensor,
        attention_mask: Tensor,
        image_of_text: Tensor,
        text_of_image: Tensor,
        own: slice = slice(None),
    ) -> Tensor:
        """ITM: B pairs against each text with a wrong image and each image with a wrong text.

        `own`: of the pairs given, those that this process judges; its part of the mean over all.
        """
        images, texts, mask = image[own], text[own], attention_mask[own]
        wrong = text_of_image[own]
        logits = self.match_logits(
            torch.cat([images, image[image_of_text[own]], images]),
            torch.cat([texts, texts, text[wrong]]),
            torch.cat([mask, mask, attention_mask[wrong]]),
        )  # [3 B, 2]
        labels = torch.zeros(len(logits), dtype=torch.long, device=logits.device)
        labels[: len(images)] = 1
        total = F.cross_entropy(logits.float(), labels, reduction="sum")
        return share_of_mean(total, torch.tensor(len(labels), device=logits.device))

    def masking_loss(
        self, image: Tensor, ids: Tensor, labels: Tensor, attention_mask: Tensor
    ) -> Tensor:
        """MLM beside the own image, weighted: embedded images, masked ids and labels [B, L]."""
        wanted = labels != IGNORED_LABEL
        logits = self.language_logits(image, self.embed_text(ids), attention_mask, wanted)
        return MLM_WEIGHT * masked_language_loss(logits, labels[wanted])

    def _masked(self, ids: Tensor, attention_mask: Tensor) -> tuple[Tensor, Tensor]:
        """Ids with whole words masked, and their labels, both [B, L]."""
        special = self.tokenizer.special_ids.to(ids.device)
        maskable = attention_mask.bool() & ~torch.isin(ids, special)
        continues = self.tokenizer.continuations.to(ids.device)[ids]
        vocab_size, mask_id = self.config.vocab_size, self.tokenizer.mask_id
        return mask_whole_words(ids, continues, maskable, mask_id, vocab_size)

    def layers(self) -> list[nn.Module]:
        return list(self.transformer.blocks)

    @classmethod
    def tiny(cls, texts: Sequence[str]) -> Self:
        pieces = train_wordpiece(texts, TINY_VOCABULARY, TINY_TEXT_TOKENS)
        return cls(tiny(pieces.size, TINY_TEXT_TOKENS), pieces)


def _trimmed(tokens: TextBatch) -> tuple[Tensor, Tensor]:
    """Ids and mask without the columns that are padding in every row; no output changes."""
    mask = tokens["attention_mask"]
    length = longest(mask.bool())
    return tokens["tokens"][:, :length], mask[:, :length]
