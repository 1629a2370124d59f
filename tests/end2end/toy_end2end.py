"""The checkerboard with pictures and texts, and an encoder small enough for double precision."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path
from typing import Any, Self

import numpy as np
import torch
import torch.nn.functional as F
from PIL import Image
from torch import Tensor, nn

from lmm4rec.encoders.base import Encoder, TextBatch
from lmm4rec.encoders.item_batches import ItemBatches
from lmm4rec.encoders.picture_texts import PicturesWithTexts
from lmm4rec.encoders.tuning.trainable import TuneAll
from lmm4rec.end2end.config import EncoderTrainingConfig, EndToEndConfig, modalities_to_encode
from lmm4rec.end2end.training import Task
from lmm4rec.recommenders import recommender_class
from tests.encoders.encoder_contract import jpeg
from tests.recommenders.test_recommenders import section
from tests.toy import N_ITEMS, checkerboard

CPU = torch.device("cpu")
NO_PICTURE, NO_TEXT = (3, 7), (5, 7)
FROZEN_FEATURES = {"train_features": False}


def toy_source(*, complete: bool = False) -> PicturesWithTexts:
    """Reddish lamps at even rows, bluish chairs at odd ones; some lack a picture or a text."""
    rng = np.random.default_rng(0)
    pictures: list[bytes | None] = []
    texts = []
    for row in range(N_ITEMS):
        colour = np.array([(180, 60, 40), (40, 60, 180)][row % 2])
        pixels = (colour + rng.integers(-40, 40, (32, 32, 3))).clip(0, 255).astype(np.uint8)
        pictures.append(jpeg(Image.fromarray(pixels)))
        texts.append(f"a {('red lamp', 'blue chair')[row % 2]} of kind {rng.integers(100)}")
    if not complete:
        for row in NO_PICTURE:
            pictures[row] = None
        for row in NO_TEXT:
            texts[row] = " "
    return PicturesWithTexts(pictures, texts)


class ToyEncoder(Encoder):
    """One layer a modality, in double precision: 4 x 4 pixels and counts of letters in."""

    family = "toy"
    image_dim = text_dim = 5

    def __init__(self) -> None:
        super().__init__()
        self.towers = nn.ModuleList([nn.Linear(48, 5).double(), nn.Linear(26, 5).double()])
        self.image_transform = _small
        self.augmenting_transform = _small
        self.tokenizer = _letters

    def encode_images(self, pixels: Tensor) -> Tensor:
        return F.normalize(torch.tanh(self.towers[0](pixels.flatten(1))), dim=1)

    def encode_texts(self, tokens: TextBatch) -> Tensor:
        return F.normalize(torch.tanh(self.towers[1](tokens["letters"])), dim=1)

    def alignment_loss(self, images: Tensor, texts: Tensor) -> Tensor:
        return F.cross_entropy(5 * images @ texts.T, torch.arange(len(images)))

    def losses(self, pixels: Tensor, tokens: TextBatch) -> dict[str, Tensor]:
        raise NotImplementedError

    def layers(self) -> list[nn.Module]:
        return list(self.towers)

    def save(self, folder: Path) -> None:
        raise NotImplementedError

    @classmethod
    def load(cls, folder: Path) -> Self:
        raise NotImplementedError


def _small(picture: Image.Image) -> Tensor:
    return torch.from_numpy(np.array(picture.resize((4, 4)))).permute(2, 0, 1).double() / 128 - 1


def _letters(texts: Sequence[str]) -> TextBatch:
    counts = [[text.count(chr(97 + letter)) for letter in range(26)] for text in texts]
    return {"letters": torch.tensor(counts).double()}


def toy_encoder(seed: int = 0) -> ToyEncoder:
    torch.manual_seed(seed)
    return ToyEncoder()


def protocol(**changes: Any) -> EndToEndConfig:
    values = {
        "revision": 1, "batch_size": 128, "maximum_epochs": 3, "patience": 10, "validate_every": 1,
        "validation_cutoff": 5, "freeze_epochs": 0, "refresh_steps": None, "alignment_weight": 0.1,
    }  # fmt: skip
    return EndToEndConfig(**(values | changes))


def rates(**changes: Any) -> EncoderTrainingConfig:
    values = {
        "learning_rate": 1e-3, "weight_decay": 0.0, "warmup_steps": 0, "layer_decay": 1.0,
        "gradient_norm": 1.0, "precision": "float32", "tune": TuneAll(kind="all"),
    }  # fmt: skip
    return EncoderTrainingConfig(**(values | changes))


def recommender_section(name: str, **changes: Any) -> Any:
    has_copies = "train_features" in recommender_class(name).Config.model_fields
    return section(name, **((FROZEN_FEATURES if has_copies else {}) | changes))


def task(
    encoder: Encoder,
    name: str = "vbpr",
    config: EndToEndConfig | None = None,
    encoder_config: EncoderTrainingConfig | None = None,
    source: PicturesWithTexts | None = None,
    **changes: Any,
) -> Task:
    """Joint training of `encoder` and the recommender `name` on the checkerboard."""
    view, own = checkerboard(), recommender_section(name, **changes)
    config = config or protocol()

    def build(features: Any) -> Any:
        model = recommender_class(name)(view, features, own)
        return model.double() if isinstance(encoder, ToyEncoder) else model

    return Task(
        view,
        ItemBatches(encoder, source or toy_source(), 0),
        build,
        modalities_to_encode(encoder, own, config),
        config,
        encoder_config or rates(),
        seed=1,
    )
