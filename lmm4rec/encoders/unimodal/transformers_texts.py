"""Text towers that transformers builds: any of its encoders, pooled into one vector a text.

Shapes: B texts, L tokens, D dims.
"""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path
from typing import Any

import torch
from pydantic import Field
from tokenizers import Tokenizer
from torch import Tensor, nn
from transformers import AutoConfig, AutoModel

from lmm4rec.encoders.base import TextBatch
from lmm4rec.encoders.texts import longest, valid_unicode
from lmm4rec.encoders.unimodal.published_towers import Pooling
from lmm4rec.errors import InputError
from lmm4rec.params import Section

TOKENIZER_FILE = "tokenizer.json"


class TextTowerConfig(Section):
    """What rebuilds a text encoder without asking anyone."""

    model: dict[str, Any]  # transformers' own configuration; `model_type` names the architecture
    pooling: Pooling
    max_text_tokens: int = Field(gt=0)  # special ones included; longer texts lose their end


def settings_of(config: TextTowerConfig, source: str) -> Any:
    """transformers' configuration object; InputError for what is no text encoder it knows."""
    model = dict(config.model)
    kind = str(model.pop("model_type", None))
    try:
        settings = AutoConfig.for_model(kind, **model)
    except (ValueError, TypeError) as error:
        reason = " ".join(str(error).split())[:160]
        raise InputError(
            f"{source}: transformers cannot build a model of type {kind!r} ({reason}); choose a "
            "text encoder that needs no code of its own"
        ) from None
    if settings.is_encoder_decoder or getattr(settings, "is_decoder", False):
        raise InputError(
            f"{source}: a {kind} model writes texts instead of encoding them; choose a text encoder"
        )
    positions = getattr(settings, "max_position_embeddings", None)
    if positions is not None and config.max_text_tokens > positions:
        raise InputError(
            f"{source}: has {positions} text positions, fewer than max_text_tokens = "
            f"{config.max_text_tokens}; lower that parameter"
        )
    return settings


def build_text_tower(config: TextTowerConfig, source: str) -> nn.Module:
    """The network with random weights."""
    models: Any = AutoModel
    return without_pooler(models.from_config(settings_of(config, source)))


def without_pooler(tower: Any) -> nn.Module:
    """The tower without BERT's head for next sentences, which none of the poolings reads."""
    if getattr(tower, "pooler", None) is not None:
        tower.pooler = None
    found: nn.Module = tower
    return found


def pooled(tower: nn.Module, tokens: TextBatch, pooling: Pooling) -> Tensor:
    """Tokens of B texts -> [B, D] in float32, not normalised."""
    mask = tokens["attention_mask"]
    length = longest(mask.bool())  # padding of the whole batch changes no output
    mask = mask[:, :length]
    ids = tokens["tokens"][:, :length]
    hidden: Tensor = tower(input_ids=ids, attention_mask=mask).last_hidden_state.float()
    if pooling == "cls":
        return hidden[:, 0]
    weights = mask[:, :, None].to(hidden.dtype)  # [B, L, 1]
    return (hidden * weights).sum(1) / weights.sum(1)


def text_blocks(tower: Any) -> list[nn.Module]:
    """The transformer blocks, from input to output."""
    depth = tower.config.num_hidden_layers
    for module in tower.modules():
        if isinstance(module, nn.ModuleList) and len(module) == depth:
            return list(module)
    raise InputError(
        f"the text network {type(tower).__name__} has no list of its {depth} blocks, so it cannot "
        "be trained; choose a BERT-like network, or take the encoder out of run.tuned"
    )


class TextTokenizer:
    """Texts -> `tokens` and `attention_mask` (1 = real), int64 [B, L] with L = max_tokens.

    Any fast tokenizer, special tokens as it puts them, cut after whole tokens, padded to exactly
    max_tokens. Names of special tokens inside a text are ordinary text. A text that leaves no
    token at all becomes one padding token that counts as real.
    """

    def __init__(self, pieces: Tokenizer, max_tokens: int, pad_id: int) -> None:
        self.max_tokens, self.pad_id = max_tokens, pad_id
        self.size = int(pieces.get_vocab_size())
        self._pieces = pieces
        pieces.enable_truncation(max_tokens)
        pieces.no_padding()
        pieces.encode_special_tokens = True

    @classmethod
    def from_file(cls, path: Path, max_tokens: int, pad_id: int) -> TextTokenizer:
        try:
            pieces = Tokenizer.from_str(path.read_text(encoding="utf-8"))
        except Exception as error:  # the library raises bare Exceptions
            reason = " ".join(str(error).split())[:120]
            raise InputError(
                f"{path}: not a tokenizer file ({reason}); give the tokenizer.json that belongs to "
                "the weights"
            ) from None
        return cls(pieces, max_tokens, pad_id)

    def __call__(self, texts: Sequence[str]) -> TextBatch:
        tokens = torch.full((len(texts), self.max_tokens), self.pad_id)
        mask = torch.zeros_like(tokens)
        for row, text in enumerate(texts):
            ids = self._pieces.encode(valid_unicode(text)).ids or [self.pad_id]
            tokens[row, : len(ids)] = torch.tensor(ids)
            mask[row, : len(ids)] = 1
        return {"tokens": tokens, "attention_mask": mask}

    def save(self, folder: Path) -> None:
        (folder / TOKENIZER_FILE).write_text(self._pieces.to_str(pretty=True), encoding="utf-8")
