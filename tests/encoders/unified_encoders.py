"""Tiny BEiT-3 and VLMo encoders over a small vocabulary, shared by their tests."""

from __future__ import annotations

from functools import cache

import torch
from torch import Tensor

from lmm4rec.encoders.unified import beit3, vlmo
from lmm4rec.encoders.unified.beit3 import Beit3
from lmm4rec.encoders.unified.sentencepiece_tokens import (
    SentencePieceTokenizer,
    train_sentencepiece,
)
from lmm4rec.encoders.unified.vlmo import Vlmo
from lmm4rec.encoders.unified.wordpiece_tokens import WordPieceTokenizer, train_wordpiece

COLOURS = ("red", "green", "blue", "yellow", "black", "white", "pink", "grey")
THINGS = ("lamp", "chair", "table", "bottle", "jacket", "blanket", "stroller", "backpack")
TEXTS = [f"a {colour} {thing} number {n}" for n, colour in enumerate(COLOURS) for thing in THINGS]
AWKWARD = [
    "",
    "   ",
    "\ud800 lone surrogate",
    "\x00\x01",
    "مرحبا بالعالم שלום",
    "👩‍👩‍👧 🎉",
    "日本語のテキスト",
    "word " * 10_000,
    "[SEP] [MASK] <s> </s> <pad>",
]


@cache
def spm() -> SentencePieceTokenizer:
    return train_sentencepiece(TEXTS, vocab_size=120, max_tokens=16)


@cache
def wordpiece() -> WordPieceTokenizer:
    return train_wordpiece(TEXTS, vocab_size=120, max_tokens=16)


def tiny_beit3(seed: int = 0) -> Beit3:
    torch.manual_seed(seed)
    return Beit3(beit3.tiny(spm().size, max_text_tokens=16), spm())


def tiny_vlmo(seed: int = 0, relative: bool = False) -> Vlmo:
    torch.manual_seed(seed)
    config = vlmo.tiny(wordpiece().size, max_text_tokens=16)
    if relative:
        switches = {
            "absolute_positions": False,
            "relative_position_bias": True,
            "layer_scale": True,
        }
        config = config.model_copy(update=switches)
    encoder = Vlmo(config, wordpiece())
    if encoder.relative_position_bias_table is not None:
        torch.nn.init.normal_(encoder.relative_position_bias_table)
    return encoder


def pictures(count: int, seed: int = 1) -> Tensor:
    return torch.randn(count, 3, 48, 48, generator=torch.Generator().manual_seed(seed))


def worst(left: Tensor, right: Tensor) -> float:
    return (left - right).abs().max().item()
