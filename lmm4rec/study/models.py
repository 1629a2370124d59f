"""Which model reads a section of params.yaml: its place by name, imported when it is needed."""

from __future__ import annotations

from collections.abc import Mapping
from importlib import import_module
from pathlib import Path
from typing import Any

from lmm4rec.params import read_section
from lmm4rec.recommenders import recommender_class

# Where the model of a section is; `*` stands for any name.
MODELS = {
    "datasets.*.preprocess": "lmm4rec.catalogue.preprocessing:PreprocessParams",
    "datasets.*.images": "lmm4rec.catalogue.pictures.collection:ImagesParams",
    "encoders.*.extract": "lmm4rec.features.extraction:ExtractConfig",
    "encoders.*.finetune": "lmm4rec.encoders.tuning.tuning:TuningConfig",
    "encoders.*.end2end": "lmm4rec.end2end.config:EncoderTrainingConfig",
    "features": "lmm4rec.features.rules:FeatureRules",
    "imports.*": "lmm4rec.features.imports:ImportConfig",
    "controls.noise": "lmm4rec.features.controls:ControlConfig",
    "controls.shuffled": "lmm4rec.features.controls:ControlConfig",
    "training": "lmm4rec.training.training:TrainingConfig",
    "end2end": "lmm4rec.end2end.config:EndToEndConfig",
    "evaluation": "lmm4rec.evaluation.evaluation:EvaluationConfig",
}
# Sections that choose a model by their `kind`: what reads them from (file, name).
READERS = {
    "datasets.*.source": "lmm4rec.catalogue.sources:read_source",
    "encoders.*.weights": "lmm4rec.encoders.files.weights:read_weights",
}


def sections_of(content: Mapping[str, Any]) -> list[str]:
    """The dotted keys of all sections that have a model, whether they stand there or not."""
    found = []
    for pattern in (*MODELS, *READERS, "recommenders.*"):
        head, star, tail = pattern.partition(".*")
        names = content.get(head) or {}
        found += [f"{head}.{name}{tail}" for name in names] if star else [pattern]
    return found


def checked(path: Path, key: str) -> Any:
    """The section at the dotted `key`, as the model that its stage uses.

    InputError: it is not what that stage expects.
    """
    head, _, rest = key.partition(".")
    name, _, tail = rest.partition(".")
    pattern = ".".join(part for part in (head, "*", tail) if part)
    if head == "recommenders":
        return read_section(path, key, recommender_class(name).Config)
    if pattern in READERS:
        return _named(READERS[pattern])(path, name)
    return read_section(path, key, _named(MODELS.get(key) or MODELS[pattern]))


def _named(place: str) -> Any:
    module, name = place.split(":")
    return getattr(import_module(module), name)
