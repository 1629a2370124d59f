"""How a tiny modality-specific pair is trained: each network alone, so that nothing aligns them.

Like the published pair it stands for. ResNet-50 learned to name what photographs show; its small
kin learns to name the words of its pictures' captions, taken as labels (Joulin et al. 2016,
"Learning Visual Features from Large Weakly Supervised Data"). MiniLM (all-MiniLM-L6-v2) learned
that two texts of one meaning belong together; its small kin contrasts two captions of one picture
(the in-batch softmax of Henderson et al. 2017, scale 20, as sentence-transformers trains it). No
gradient, vector or parameter passes from one network to the other.

Shapes: B pictures, D_i dims, V vocabulary.
"""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from math import log
from pathlib import Path
from typing import ClassVar, NoReturn

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from lmm4rec.distributed import gather, share_of_mean
from lmm4rec.encoders.base import Encoder, TextBatch
from lmm4rec.encoders.objectives import contrastive_loss, similarity
from lmm4rec.encoders.unified.wordpiece_tokens import SPECIAL
from lmm4rec.encoders.unimodal.transformers_texts import TextTokenizer

TEXT_SCALE = 20.0
_BETWEEN = "\n"  # stands in no caption
_SECOND = "second_"  # how the tensors of the second caption begin


def caption_pairs(captions: Sequence[str], other_captions: Iterable[str]) -> list[str]:
    """Two captions of each picture as the one text that `TrainedApart` is given."""
    return [f"{one}{_BETWEEN}{two}" for one, two in zip(captions, other_captions, strict=True)]


class TwoCaptions:
    """Texts of `caption_pairs` -> the tensors of the first, and of the second as second_..."""

    def __init__(self, tokenizer: TextTokenizer) -> None:
        self._tokenizer = tokenizer

    def __call__(self, texts: Sequence[str]) -> TextBatch:
        first, second = ([text.split(_BETWEEN)[part] for text in texts] for part in (0, 1))
        others = {f"{_SECOND}{name}": x for name, x in self._tokenizer(second).items()}
        return self._tokenizer(first) | others


class TrainedApart(Encoder):
    """A pair whose losses are those of its networks alone. Shares its weights; is never saved."""

    family: ClassVar[str] = "unimodal"

    def __init__(self, pair: Encoder, tokenizer: TextTokenizer) -> None:
        """`pair` has a picture network `image_tower`; `tokenizer` is the pair's."""
        super().__init__()
        self.pair = pair
        vocabulary = tokenizer.size
        self.words = nn.Linear(pair.image_dim, vocabulary)
        self.image_dim, self.text_dim = pair.image_dim, pair.text_dim
        self.image_transform = pair.image_transform
        self.augmenting_transform = pair.augmenting_transform
        self.tokenizer = TwoCaptions(tokenizer)

    def losses(self, pixels: Tensor, tokens: TextBatch) -> dict[str, Tensor]:
        """`words`: cross entropy of the captions' words; `paraphrase`: InfoNCE of the captions."""
        first, second = _captions(tokens)
        pixels = pixels.contiguous(memory_format=torch.channels_last)  # a sixth of a step faster
        logits = self.words(self.pair.get_submodule("image_tower")(pixels).float())  # [B, V]
        said = torch.cat([first["tokens"], second["tokens"]], dim=1)  # [B, 2 L]
        ones, twos = (gather(self.pair.encode_texts(texts)) for texts in (first, second))
        scale = torch.tensor(log(TEXT_SCALE), device=ones.device)
        return {
            "words": word_loss(logits, said),
            "paraphrase": contrastive_loss(similarity(ones, twos, scale)),
        }

    def encode_images(self, pixels: Tensor) -> Tensor:
        return self.pair.encode_images(pixels)

    def encode_texts(self, tokens: TextBatch) -> Tensor:
        return self.pair.encode_texts(_captions(tokens)[0])

    def matching_images(self, pixels: Tensor) -> Tensor:
        return self.pair.matching_images(pixels)

    def matching_texts(self, tokens: TextBatch) -> Tensor:
        return self.pair.matching_texts(_captions(tokens)[0])

    def layers(self) -> list[nn.Module]:
        return self.pair.layers()

    def save(self, folder: Path) -> None:
        self.pair.save(folder)

    @classmethod
    def load(cls, folder: Path) -> NoReturn:
        raise NotImplementedError("what was trained apart is saved and loaded as its pair")


def word_loss(logits: Tensor, said: Tensor) -> Tensor:
    """Mean negative log probability of the words said: logits [B, V], token ids [B, ...] -> [].

    Each picture counts alike, and so does each of its tokens; special tokens are no words.
    """
    is_word = (said >= len(SPECIAL)).float()
    log_probability = F.log_softmax(logits, dim=1).gather(1, said)  # [B, 2 L]
    per_picture = (log_probability * is_word).sum(1) / is_word.sum(1).clamp(min=1)
    return share_of_mean(-per_picture.sum(), said.new_tensor(len(said)))


def _captions(tokens: TextBatch) -> tuple[TextBatch, TextBatch]:
    second = {name.removeprefix(_SECOND): x for name, x in tokens.items() if _SECOND in name}
    return {name: tokens[name] for name in second}, second
