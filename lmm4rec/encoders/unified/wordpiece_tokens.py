"""VLMo's tokenizer: BERT's lower-casing WordPiece over a vocab.txt.

`transformers` is not used: its release 5 turns `BertTokenizer(vocab_file=...)` into a five-word
vocabulary silently.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Sequence
from pathlib import Path

import torch
from tokenizers import Tokenizer, models, normalizers, pre_tokenizers, processors

from lmm4rec.encoders.base import TextBatch
from lmm4rec.encoders.texts import valid_unicode
from lmm4rec.errors import InputError

SPECIAL = ("[PAD]", "[UNK]", "[CLS]", "[SEP]", "[MASK]")
CONTINUATION = "##"  # how a piece begins that continues a word
VOCAB_FILE = "vocab.txt"


class WordPieceTokenizer:
    """Texts -> `tokens` and `attention_mask` (1 = real), int64 [B, L] with L = max_tokens.

    [CLS] pieces [SEP], cut after whole tokens and padded to exactly max_tokens. Names of special
    tokens inside a text are ordinary text.
    """

    def __init__(
        self, vocabulary: Sequence[str], max_tokens: int, source: str = "the vocabulary"
    ) -> None:
        ids = {piece: index for index, piece in enumerate(vocabulary)}
        missing = [name for name in SPECIAL if name not in ids]
        if missing or len(ids) != len(vocabulary):
            fault = f"lacks {', '.join(missing)}" if missing else "names a piece twice"
            raise InputError(
                f"{source}: {fault}, so it is not a BERT vocabulary; give bert-base-uncased's "
                "vocab.txt, or the one that belongs to the weights"
            )
        self.vocabulary = tuple(vocabulary)
        self.max_tokens = max_tokens
        self.size = len(vocabulary)
        self.mask_id = ids["[MASK]"]
        self.special_ids = torch.tensor([ids[name] for name in SPECIAL])
        # bool [V]: the pieces that continue the word of the piece before them
        self.continuations = torch.tensor([name.startswith(CONTINUATION) for name in vocabulary])
        self.pieces = _bert_pieces(ids, max_tokens)

    @classmethod
    def from_file(cls, path: Path, max_tokens: int) -> WordPieceTokenizer:
        try:
            lines = path.read_text(encoding="utf-8").split("\n")
        except (OSError, UnicodeDecodeError):
            raise InputError(
                f"{path}: cannot be read as text; give the vocab.txt that belongs to the weights"
            ) from None
        if lines[-1] == "":
            lines.pop()
        return cls(lines, max_tokens, source=str(path))

    def __call__(self, texts: Sequence[str]) -> TextBatch:
        # One by one: the batched call starts threads, which forked data-loading workers dislike.
        encoded = [self.pieces.encode(valid_unicode(text)) for text in texts]
        shape = (len(texts), self.max_tokens)
        return {
            "tokens": torch.tensor([text.ids for text in encoded]).long().reshape(shape),
            "attention_mask": torch.tensor([text.attention_mask for text in encoded])
            .long()
            .reshape(shape),
        }

    def save(self, folder: Path) -> None:
        (folder / VOCAB_FILE).write_text("\n".join(self.vocabulary) + "\n", encoding="utf-8")


def _bert_pieces(ids: dict[str, int], max_tokens: int) -> Tokenizer:
    pieces = Tokenizer(models.WordPiece(ids, unk_token="[UNK]", max_input_chars_per_word=100))
    pieces.normalizer = normalizers.BertNormalizer(lowercase=True)
    pieces.pre_tokenizer = pre_tokenizers.BertPreTokenizer()
    pieces.post_processor = processors.BertProcessing(
        ("[SEP]", ids["[SEP]"]), ("[CLS]", ids["[CLS]"])
    )
    pieces.enable_truncation(max_tokens)
    pieces.enable_padding(length=max_tokens, pad_id=ids["[PAD]"], pad_token="[PAD]")
    return pieces


def train_wordpiece(texts: Sequence[str], vocab_size: int, max_tokens: int) -> WordPieceTokenizer:
    """A small vocabulary: the specials, every letter seen, then the most frequent words.

    At most `vocab_size` entries; words left out are spelled in letters. Ours, because the library's
    trainer numbers pieces in an order that changes from run to run. Raises InputError where
    `vocab_size` does not hold the letters.
    """
    normalizer = normalizers.BertNormalizer(lowercase=True)
    splitter = pre_tokenizers.BertPreTokenizer()
    count = Counter(
        word
        for text in texts
        for word, _ in splitter.pre_tokenize_str(normalizer.normalize_str(valid_unicode(text)))
    )
    letters = sorted({letter for word in count for letter in word})
    spelled = [*SPECIAL, *letters, *(CONTINUATION + letter for letter in letters)]
    if len(spelled) > vocab_size:
        raise InputError(
            f"a vocabulary of {vocab_size} entries does not hold the {len(letters)} letters of the "
            f"texts; set it to {len(spelled)} or more"
        )
    words = [word for word in count if len(word) > 1]
    words.sort(key=lambda word: (-count[word], word))
    return WordPieceTokenizer([*spelled, *words[: vocab_size - len(spelled)]], max_tokens)
