"""What params.yaml says of one joint training, and the task that this makes of a catalogue."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path
from typing import Any

from lmm4rec.catalogue.corpus import TrainingView
from lmm4rec.encoders.base import Encoder
from lmm4rec.encoders.item_batches import ItemBatches
from lmm4rec.end2end.config import EncoderTrainingConfig, EndToEndConfig, modalities_to_encode
from lmm4rec.end2end.training import Task
from lmm4rec.params import find, read_params, read_section
from lmm4rec.recommenders import recommender_class
from lmm4rec.recommenders.shared.base import Recommender


@dataclass(frozen=True)
class Sections:
    """Of one encoder and one recommender that are trained together."""

    protocol: EndToEndConfig
    encoder: EncoderTrainingConfig
    encoder_revision: int
    model_class: type[Recommender]
    model: Any  # the `Config` of `model_class`

    def task(self, encoder: Encoder, view: TrainingView, items: ItemBatches, seed: int) -> Task:
        """InputError where the recommender reads what the encoder does not have."""
        return Task(
            view,
            items,
            lambda features: self.model_class(view, features, self.model),
            modalities_to_encode(encoder, self.model, self.protocol),
            self.protocol,
            self.encoder,
            seed,
        )

    def spelled(self) -> list[object]:
        """Every value, as JSON has it."""
        sections = (self.protocol, self.encoder, self.model)
        return [self.encoder_revision, *(part.model_dump(mode="json") for part in sections)]


def read_sections(params: Path, encoder: str, recommender: str) -> Sections:
    """`end2end`, `encoders.<encoder>.end2end` and `recommenders.<recommender>`, all checked."""
    model_class = recommender_class(recommender)
    return Sections(
        read_section(params, "end2end", EndToEndConfig),
        read_section(params, f"encoders.{encoder}.end2end", EncoderTrainingConfig),
        find(read_params(params), f"encoders.{encoder}.revision", params),
        model_class,
        read_section(params, f"recommenders.{recommender}", model_class.Config),
    )
