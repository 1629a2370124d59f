"""Where an encoder's weights come from: the kinds of `encoders.<name>.weights` in params.yaml.

Adding one: a `Weights` subclass and a line in the table.
"""

from __future__ import annotations

from abc import ABC, abstractmethod
from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Annotated, Any, Literal

import torch
from pydantic import AfterValidator, Field, model_validator

from lmm4rec.encoders import FAMILIES, encoder_class
from lmm4rec.encoders.base import Encoder
from lmm4rec.encoders.files.received_files import FileSource, ReceivedFiles
from lmm4rec.encoders.picture_texts import PicturesWithTexts
from lmm4rec.encoders.tuning.tuning import TuningConfig, tune_encoder
from lmm4rec.encoders.unimodal.published_towers import (
    TEXT_FOLDERS,
    PublishedImageTower,
    PublishedTextTower,
)
from lmm4rec.errors import InputError, did_you_mean
from lmm4rec.local_files import LocalFiles, paths_alone
from lmm4rec.params import (
    Dimensions,
    Revision,
    Section,
    Seed,
    Sha256,
    Text,
    check_section,
    find,
    read_params,
)


@dataclass(frozen=True)
class Workshop:
    """What making weights may need and no result depends on, but for the corpus of captions."""

    scratch: Path  # survives a kill, belongs to these parameters alone
    device: torch.device
    workers: int
    captioned_pictures: Callable[[int, int], Iterator[tuple[bytes, str]]]  # (count, seed)
    other_captions: Callable[[int, int], Iterator[str]]  # of the same pictures
    received: ReceivedFiles


def _known_family(name: str) -> str:
    if name not in FAMILIES:
        raise ValueError(f"is {name!r}, no family of encoders; {did_you_mean(name, FAMILIES)}")
    return name


class Weights(Section, ABC):
    """One kind of source."""

    kind: str
    revision: Revision  # of the code that makes them: training, or reading what came

    @abstractmethod
    def make(self, workshop: Workshop) -> Encoder:
        """The encoder with its weights, in eval mode, float32, on CPU."""

    def local_files(self) -> LocalFiles:
        """What it reads that lies on this machine and outside the project's care."""
        return {}


class OpenClipWeights(Weights):
    """Published weights of any CLIP-like model that open_clip knows; see `published_clip`."""

    kind: Literal["open_clip"]
    architecture: Text | None  # an open_clip name, hf-hub:owner/name, or null with a folder
    pretrained: Text | None  # open_clip's tag of the weights
    path: Text | None  # a local file of these weights, or a folder with open_clip_config.json
    sha256: Sha256 | None  # that the weights file must have

    def local_files(self) -> LocalFiles:
        return paths_alone(self.path)

    def make(self, workshop: Workshop) -> Encoder:
        from lmm4rec.encoders.clip.checkpoints import published_clip

        path = None if self.path is None else Path(self.path)
        return published_clip(
            self.architecture, self.pretrained, path, self.sha256, workshop.received
        )


class CheckpointWeights(Weights):
    """The published file of a unified encoder, and the file of its tokenizer."""

    kind: Literal["checkpoint"]
    family: Literal["beit3", "vlmo"]
    variant: str  # base, base_plus, large: what the family has
    image_pixels: int = Field(
        gt=0, le=4096
    )  # side of the pictures; positions are interpolated to it
    weights: FileSource
    tokenizer: FileSource

    @model_validator(mode="after")
    def _names_a_variant(self) -> CheckpointWeights:
        family: Any = encoder_class(self.family, "weights.family")
        if self.variant not in family.published:
            advice = did_you_mean(self.variant, family.published)
            raise ValueError(
                f"asks for too much: {self.family} has no variant {self.variant!r}; {advice}"
            )
        return self

    def local_files(self) -> LocalFiles:
        return paths_alone(self.weights.path, self.tokenizer.path)

    def make(self, workshop: Workshop) -> Encoder:
        family: Any = encoder_class(self.family, "weights.family")
        tokenizer = workshop.received.receive(self.tokenizer)  # the smaller file first
        weights = workshop.received.receive(self.weights)
        encoder: Encoder = family.from_checkpoint(
            self.variant, weights, tokenizer, self.image_pixels
        )
        return encoder


class UnimodalWeights(Weights):
    """A published image network and a published text network, side by side."""

    kind: Literal["unimodal"]
    image: PublishedImageTower
    text: PublishedTextTower
    joint_dimensions: Dimensions  # of the space in which fine-tuning compares
    seed: Seed  # of the maps into that space

    def local_files(self) -> LocalFiles:
        text = {} if self.text.path is None else {self.text.path: TEXT_FOLDERS}
        return paths_alone(self.image.path) | text

    def make(self, workshop: Workshop) -> Encoder:
        from lmm4rec.encoders.unimodal.checkpoints import published_pair

        torch.manual_seed(self.seed)
        return published_pair(self.image, self.text, self.joint_dimensions, workshop.received)


class TinyWeights(Weights, TuningConfig):
    """A small encoder of a family, trained here from scratch on generated pictures and captions."""

    kind: Literal["pretrain-tiny"]
    family: Annotated[str, AfterValidator(_known_family)]
    pairs: int = Field(gt=0, le=10_000_000)  # of the generated corpus, held-out ones included
    pairs_seed: Seed

    def make(self, workshop: Workshop) -> Encoder:
        corpus = list(workshop.captioned_pictures(self.pairs, self.pairs_seed))
        captions = [caption for _, caption in corpus]
        torch.manual_seed(self.seed)
        encoder = encoder_class(self.family, "weights.family").tiny(captions)
        others = workshop.other_captions(self.pairs, self.pairs_seed)
        trained, texts = encoder.to_pretrain(captions, others)
        source = PicturesWithTexts([picture for picture, _ in corpus], texts)
        tune_encoder(trained, source, self, workshop.scratch, workshop.device, workshop.workers)
        return encoder


KINDS: Mapping[str, type[Weights]] = {
    "open_clip": OpenClipWeights,
    "checkpoint": CheckpointWeights,
    "unimodal": UnimodalWeights,
    "pretrain-tiny": TinyWeights,
}


def read_weights(params: Path, encoder: str) -> Weights:
    """The source of an encoder's weights, as params.yaml describes it."""
    key = f"encoders.{encoder}.weights"
    value = find(read_params(params), key, params)
    kind = value.get("kind") if isinstance(value, Mapping) else None
    if kind not in KINDS:
        raise InputError(f"{params}: {key}.kind is {kind!r}; {did_you_mean(str(kind), KINDS)}")
    return check_section(value, KINDS[str(kind)], key, params)
