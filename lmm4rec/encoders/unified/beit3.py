"""The BEiT-3 encoder: the network with its pictures, its tokenizer, its objective and its files."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import ClassVar, Self

from torch import Tensor, nn

from lmm4rec.distributed import gather
from lmm4rec.encoders.base import TextBatch
from lmm4rec.encoders.files.checkpoints import StateDict, kind_of
from lmm4rec.encoders.objectives import contrastive_loss, similarity
from lmm4rec.encoders.texts import longest
from lmm4rec.encoders.unified.beit3_network import UNUSED_POSITIONS, Beit3Config, Beit3Network
from lmm4rec.encoders.unified.positions import resize_grid
from lmm4rec.encoders.unified.sentencepiece_tokens import (
    MODEL_FILE,
    SentencePieceTokenizer,
    train_sentencepiece,
)
from lmm4rec.encoders.unified.unified import UnifiedEncoder, fused_embedding
from lmm4rec.errors import InputError

VISION_POSITIONS = "beit3.encoder.embed_positions.A.weight"
PRETRAINING_HEADS = ("mlm_head.", "mim_head.", "beit3.encoder.output_projection.")
TINY_VOCABULARY = 1000  # entries that `Beit3.tiny` learns
TINY_TEXT_TOKENS = 32
RETRIEVAL_HEADS = ("vision_head.weight", "language_head.weight", "logit_scale")


def base(image_pixels: int = 224) -> Beit3Config:
    """222 M parameters: beit3_base_itc_patch16_224 and its retrieval fine-tunings."""
    return Beit3Config(
        image_pixels=image_pixels, patch_pixels=16, vocab_size=64010, unused_vocab_rows=8,
        max_text_tokens=64, text_positions=1024, width=768, heads=12, ffn_width=3072, layers=12,
        layer_norm_eps=1e-5,
    )  # fmt: skip


def large(image_pixels: int = 224) -> Beit3Config:
    """675 M parameters: beit3_large_itc_patch16_224 and its retrieval fine-tunings."""
    return Beit3Config(
        image_pixels=image_pixels, patch_pixels=16, vocab_size=64010, unused_vocab_rows=8,
        max_text_tokens=64, text_positions=1024, width=1024, heads=16, ffn_width=4096, layers=24,
        layer_norm_eps=1e-5,
    )  # fmt: skip


def tiny(vocab_size: int, max_text_tokens: int = TINY_TEXT_TOKENS) -> Beit3Config:
    """0.4 M parameters for 48-pixel pictures, to be trained from scratch."""
    return Beit3Config(
        image_pixels=48, patch_pixels=12, vocab_size=vocab_size, unused_vocab_rows=0,
        max_text_tokens=max_text_tokens, text_positions=max_text_tokens + UNUSED_POSITIONS,
        width=64, heads=2, ffn_width=256, layers=3, layer_norm_eps=1e-5,
    )  # fmt: skip


PUBLISHED: dict[str, Callable[[int], Beit3Config]] = {"base": base, "large": large}


class Beit3(Beit3Network, UnifiedEncoder):
    """BEiT-3 (ITC): D-dimensional image and text embeddings, and both readouts of a joint pass.

    Tokens are `tokens` int64 [B, L] and `padding_mask` bool [B, L], True = pad.
    """

    family: ClassVar[str] = "beit3"
    Config = Beit3Config
    Tokenizer = SentencePieceTokenizer
    tokenizer_file = MODEL_FILE
    published = PUBLISHED
    containers = ("model", "module", "state_dict")
    config: Beit3Config

    def __init__(self, config: Beit3Config, tokenizer: SentencePieceTokenizer) -> None:
        super().__init__(config)
        entries = config.vocab_size - config.unused_vocab_rows
        if tokenizer.size != entries:
            raise InputError(
                f"the sentencepiece model has {tokenizer.size} entries but these weights were "
                f"trained with {entries}; give the file that belongs to them"
            )
        self._equip(config, tokenizer)

    def encode_images(self, pixels: Tensor) -> Tensor:
        return self.image_embedding(pixels)

    def encode_texts(self, tokens: TextBatch) -> Tensor:
        return self.text_embedding(*_trimmed(tokens))

    def encode_pairs(self, pixels: Tensor, tokens: TextBatch) -> Tensor:
        """[B, 2 D]: image CLS and text BOS after one joint pass."""
        return fused_embedding(self.fused_readouts(pixels, *_trimmed(tokens)))

    def losses(self, pixels: Tensor, tokens: TextBatch) -> dict[str, Tensor]:
        """`itc`: the retrieval loss over two single-modality passes."""
        images, texts = gather(self.encode_images(pixels)), gather(self.encode_texts(tokens))
        return {"itc": self.alignment_loss(images, texts)}

    def alignment_loss(self, images: Tensor, texts: Tensor) -> Tensor:
        return contrastive_loss(similarity(images, texts, self.logit_scale))

    def layers(self) -> list[nn.Module]:
        return list(self.beit3.encoder.layers)

    @classmethod
    def tiny(cls, texts: Sequence[str]) -> Self:
        pieces = train_sentencepiece(texts, TINY_VOCABULARY, TINY_TEXT_TOKENS)
        return cls(tiny(pieces.size, TINY_TEXT_TOKENS), pieces)

    @staticmethod
    def adapt(state: StateDict, config: Beit3Config, source: str) -> StateDict:
        """An official state dict as this variant needs it: heads checked, positions resized.

        Leaves out the pretraining heads; raises InputError for what is no retrieval checkpoint.
        """
        if "beit3.encoder.layer_norm.A.weight" not in state:
            raise InputError(
                f"{source}: {kind_of(state)}, not a BEiT-3 checkpoint; "
                "give beit3_*_itc_patch16_224.pth or a BEiT-3 retrieval fine-tuning"
            )
        lacking = [name for name in RETRIEVAL_HEADS if name not in state]
        if lacking:
            raise InputError(
                f"{source}: a BEiT-3 checkpoint without retrieval heads ({lacking[0]}; a "
                "pretraining file or another task's), which gives no embeddings; give "
                "beit3_*_itc_patch16_224.pth"
            )
        state = {name: x for name, x in state.items() if not name.startswith(PRETRAINING_HEADS)}
        if VISION_POSITIONS in state:
            kept = UNUSED_POSITIONS + 1
            state[VISION_POSITIONS] = resize_grid(state[VISION_POSITIONS], kept, config.grid)
        return state


def _trimmed(tokens: TextBatch) -> tuple[Tensor, Tensor]:
    """Ids and padding without the columns that are padding in every row; no output changes."""
    padding = tokens["padding_mask"].bool()
    length = longest(~padding)
    return tokens["tokens"][:, :length], padding[:, :length]
