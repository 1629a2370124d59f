"""What end-to-end training can be told, and what it cannot be asked for."""

from __future__ import annotations

from typing import Any, Literal

from pydantic import Field

from lmm4rec.encoders.base import Encoder
from lmm4rec.encoders.tuning.trainable import Tune
from lmm4rec.errors import InputError
from lmm4rec.params import Revision, Section, Steps
from lmm4rec.training.training import TrainingConfig


class EndToEndConfig(TrainingConfig):
    """The protocol: params.yaml's `end2end` section. The recommender keeps its own section."""

    revision: Revision
    freeze_epochs: int = Field(ge=0, le=1_000_000)  # in which the recommender is trained alone
    # between refreshes of the bank beside every epoch's
    refresh_steps: int | None = Field(gt=0, le=1_000_000_000)
    alignment_weight: float = Field(ge=0)  # of the encoder's own alignment loss


class EncoderTrainingConfig(Section):
    """How the encoder is trained in it: `encoders.<name>.end2end` in params.yaml."""

    learning_rate: float = Field(gt=0)  # AdamW's, after the warm-up
    weight_decay: float = Field(ge=0)  # AdamW's, on matrices alone
    warmup_steps: Steps  # with a rising learning rate, from the first step it trains in
    layer_decay: float = Field(gt=0, le=1)  # learning rate of a block over that of the next
    gradient_norm: float = Field(gt=0)  # of the encoder's gradient; a longer one is cut to it
    precision: Literal["float32", "bfloat16"]  # of the encoder's matrix products
    tune: Tune


def modalities_to_encode(
    encoder: Encoder, recommender_config: Any, config: EndToEndConfig
) -> tuple[str, ...]:
    """What a step encodes: what the recommender reads, and what the alignment loss compares.

    InputError where the encoder has no such vector.
    """
    wanted = dict.fromkeys(recommender_config.modalities)
    if config.alignment_weight > 0:
        wanted |= dict.fromkeys(("image", "text"))
    if "fused" in wanted and encoder.fused_dim is None:
        raise InputError(
            f"{encoder.family} encodes picture and text apart, so that there is no `fused` vector "
            "to train on; take it out of the recommender's `modalities` in params.yaml"
        )
    return tuple(wanted)
