"""A tiny encoder tuned on the toy catalogue's pairs, shared by the tests of tuning."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import torch

from lmm4rec.encoders.base import Encoder
from lmm4rec.encoders.picture_texts import PicturesWithTexts
from lmm4rec.encoders.tuning.tuning import (
    TuningConfig,
    tune_encoder,
)
from tests.catalogue import toy_catalogue as toy
from tests.encoders.encoder_contract import tiny

CPU = torch.device("cpu")


def config(**changes: Any) -> TuningConfig:
    values = {
        "seed": 1, "epochs": 3, "batch_size": 16, "learning_rate": 2e-3, "weight_decay": 0.1,
        "warmup_share": 0.1, "layer_decay": 1.0, "gradient_norm": 1.0, "validation_share": 0.2,
        "augment": False, "precision": "float32", "tune": {"kind": "all"},
    }  # fmt: skip
    return TuningConfig.model_validate(values | changes)


def source(count: int = 160) -> PicturesWithTexts:
    return PicturesWithTexts(*toy.toy_items(count))


def tuned(
    scratch: Path, workers: int = 0, family: str = "clip", **changes: Any
) -> tuple[Encoder, list[dict[str, Any]]]:
    scratch.mkdir(exist_ok=True)
    encoder = tiny(family)
    return encoder, tune_encoder(encoder, source(), config(**changes), scratch, CPU, workers)


def same_weights(one: Encoder, two: Encoder) -> bool:
    left, right = one.state_dict(), two.state_dict()
    return all(torch.equal(left[name], right[name]) for name in left)
