"""BEiT-3's tokenizer: a sentencepiece model read through the numbering of XLM-RoBERTa.

`transformers` is not used: release 5 turns a bare .spm file into a five-word vocabulary silently.
"""

from __future__ import annotations

import io
from collections.abc import Sequence
from pathlib import Path

import sentencepiece
import torch

from lmm4rec.encoders.base import TextBatch
from lmm4rec.encoders.texts import valid_unicode
from lmm4rec.errors import InputError

BOS, PAD, EOS, UNKNOWN = 0, 1, 2, 3
FALLBACK_TEXT = "item"  # stands in for a text without a single piece
MODEL_FILE = "tokenizer.spm"


class SentencePieceTokenizer:
    """Texts -> `tokens` int64 [B, L] and `padding_mask` bool [B, L] (True = pad), L = max_tokens.

    A sentencepiece id i becomes i + 1, its unknown piece 3; 0, 1, 2 are BOS, padding and EOS, and
    the last id is the mask's. Long texts lose their last tokens, not characters. Case is kept.
    """

    def __init__(self, model: bytes, max_tokens: int, source: str = "the tokenizer") -> None:
        self.model = model
        self.max_tokens = max_tokens
        try:
            self._pieces = sentencepiece.SentencePieceProcessor(model_proto=model)
        except RuntimeError:
            raise InputError(
                f"{source}: not a sentencepiece model, or a damaged one; download it again"
            ) from None
        self.size = int(self._pieces.get_piece_size()) + 2  # the padding's id and the mask's

    @classmethod
    def from_file(cls, path: Path, max_tokens: int) -> SentencePieceTokenizer:
        try:
            model = path.read_bytes()
        except OSError:
            raise InputError(
                f"{path}: cannot be read; give the sentencepiece file that belongs to the weights"
            ) from None
        return cls(model, max_tokens, source=str(path))

    def __call__(self, texts: Sequence[str]) -> TextBatch:
        tokens = torch.full((len(texts), self.max_tokens), PAD)
        for row, text in zip(tokens, texts, strict=True):
            ids = [BOS, *self.piece_ids(text)[: self.max_tokens - 2], EOS]
            row[: len(ids)] = torch.tensor(ids)
        return {"tokens": tokens, "padding_mask": tokens == PAD}

    def piece_ids(self, text: str) -> list[int]:
        """All pieces of one text, neither cut nor framed; never empty."""
        pieces = self._pieces.encode(valid_unicode(text)) or self._pieces.encode(FALLBACK_TEXT)
        return [piece + 1 if piece else UNKNOWN for piece in pieces]

    def save(self, folder: Path) -> None:
        (folder / MODEL_FILE).write_bytes(self.model)

    def __getstate__(self) -> tuple[bytes, int]:
        return self.model, self.max_tokens

    def __setstate__(self, state: tuple[bytes, int]) -> None:
        self.__init__(*state)  # type: ignore[misc]


def train_sentencepiece(
    texts: Sequence[str], vocab_size: int, max_tokens: int
) -> SentencePieceTokenizer:
    """A small vocabulary learned from `texts` by merging pairs: at most `vocab_size` entries.

    Published models are unigram, whose trainer knows no piece that stands in one word only: of few
    different words it would learn little more than the letters.
    It folds case: a few thousand texts hold no word often enough to learn it twice. The same texts
    give the same bytes. Raises InputError where the texts are too few to learn from.
    """
    model = io.BytesIO()
    try:
        sentencepiece.SentencePieceTrainer.train(
            sentence_iterator=iter([valid_unicode(text) for text in texts]),
            model_writer=model,
            vocab_size=vocab_size - 2,
            model_type="bpe",
            hard_vocab_limit=False,
            normalization_rule_name="nmt_nfkc_cf",
            num_threads=1,
            shuffle_input_sentence=False,
            minloglevel=2,
        )
    except RuntimeError as error:
        raise InputError(
            f"no sentencepiece vocabulary of {vocab_size} entries can be learned from "
            f"{len(texts)} texts ({' '.join(str(error).split())}); give more text"
        ) from None
    return SentencePieceTokenizer(model.getvalue(), max_tokens)
