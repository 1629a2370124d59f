"""Where the two networks of a modality-specific pair come from: sections of params.yaml."""

from __future__ import annotations

from pathlib import Path
from typing import Literal

from pydantic import Field, model_validator

from lmm4rec.encoders.files.hub import Repository
from lmm4rec.encoders.files.received_files import ReceivedFiles
from lmm4rec.params import Section, Sha256, Text

_WEIGHTS_NAMES = ("model.safetensors", "pytorch_model.bin")
TEXT_FOLDERS = (".", "1_Pooling")  # of a text network's folder: where its files lie

Pooling = Literal["mean", "cls"]  # of a text's tokens: the mean of the real ones, or the first


class PublishedTower(Section):
    """Where a network's files lie."""

    repository: Text | None  # owner/name on the hub
    path: Text | None  # a local folder laid out like a repository, instead
    sha256: Sha256 | None  # that the weights file must have; null: that of its first download

    @model_validator(mode="after")
    def _names_one_place(self) -> PublishedTower:
        if (self.repository is None) == (self.path is None):
            raise ValueError("must name either a repository or a path; set the other to null")
        return self

    def files(self) -> Repository:
        if self.path is None:
            return Repository(str(self.repository))
        return Repository(self.path, Path(self.path))

    def weights(self, received: ReceivedFiles) -> Path:
        files = self.files()
        path = files.file(_WEIGHTS_NAMES)
        return received.note(path, files.origin(path.name), self.sha256)


class PublishedImageTower(PublishedTower):
    """A network of timm; `path` may also be its weights file."""

    architecture: Text | None  # timm's name, tag included; null: config.json beside the weights

    def weights(self, received: ReceivedFiles) -> Path:
        if self.path is not None and Path(self.path).is_file():
            return received.note(Path(self.path), None, self.sha256)
        return super().weights(received)


class PublishedTextTower(PublishedTower):
    """A network of transformers with its tokenizer.json."""

    pooling: Pooling | None  # null: as sentence-transformers' 1_Pooling/config.json says
    max_text_tokens: int = Field(gt=0, le=65_536)
