"""Every section of params.yaml that a run reaches, checked by the model that its stage will use.

What passed is remembered with a fingerprint of the sections and of the library's code, because
the models live in modules that take seconds to import.
"""

from __future__ import annotations

import hashlib
from collections.abc import Iterator
from pathlib import Path
from typing import Any

from lmm4rec.errors import InputError, did_you_mean
from lmm4rec.params import Revision, Section, check_section, find, read_params
from lmm4rec.study.run import Run

LIBRARY = Path(__file__).parents[1]


class _DatasetParts(Section):
    source: Any
    preprocess: Any
    images: Any


class _EncoderParts(Section):
    revision: Revision
    weights: Any
    extract: Any
    finetune: Any
    end2end: Any = None  # read_run asks for it where it is needed


def check_sections(run: Run, path: Path, scratch: Path) -> None:
    """InputError for the first reached section that its stage would refuse.

    `scratch` is a folder that may be lost: it remembers which sections were found sound.
    """
    content = read_params(path)
    sections = [(key, find(content, key, path)) for key in reached(run)]
    sound = scratch / "sound-sections"
    shaped_by = f"{path}\n{run!r}\n{sections!r}\n{_code_fingerprint()}"
    key = hashlib.sha256(shaped_by.encode()).hexdigest()
    if sound.exists() and sound.read_text(encoding="utf-8") == key:
        return
    _check(run, path)
    scratch.mkdir(parents=True, exist_ok=True)
    sound.write_text(key, encoding="utf-8")


def reached(run: Run) -> Iterator[str]:
    """The dotted keys of all sections that the stages of this run read."""
    yield from (f"datasets.{name}" for name in run.datasets)
    yield from (f"encoders.{name}" for name in run.encoders)
    yield from (f"imports.{name}" for name in run.imported)
    yield from (f"controls.{name}" for name in run.controls)
    yield from (f"recommenders.{name}" for name in _recommenders(run))
    yield from ("training", "evaluation")
    if run.end2end:
        yield "end2end"


def _recommenders(run: Run) -> list[str]:
    named = (*run.recommenders, *run.id_recommenders, *run.end2end_recommenders)
    return list(dict.fromkeys(named))


def _code_fingerprint() -> str:
    digest = hashlib.sha256()
    for file in sorted(LIBRARY.rglob("*.py")):
        digest.update(file.read_bytes())
    return digest.hexdigest()


def _check(run: Run, path: Path) -> None:
    """The cheap modules first: most mistakes are told before torch is imported."""
    _check_catalogues(run, path)
    _check_features_and_evaluation(run, path)
    _check_encoders(run, path)
    _check_training(run, path)


def _check_catalogues(run: Run, path: Path) -> None:
    from lmm4rec.catalogue.picture_collection import ImagesParams
    from lmm4rec.catalogue.preprocessing import PreprocessParams
    from lmm4rec.catalogue.sources import read_source

    content = read_params(path)
    for name in run.datasets:
        key = f"datasets.{name}"
        parts = check_section(find(content, key, path), _DatasetParts, key, path)
        source = read_source(path, name)
        preprocess = check_section(parts.preprocess, PreprocessParams, f"{key}.preprocess", path)
        check_section(parts.images, ImagesParams, f"{key}.images", path)
        if preprocess.split == "given" and not source.brings_split:
            raise InputError(
                f"{path}: {key}.preprocess.split is given, but {key}.source brings no split; "
                "choose random, lattice or temporal"
            )
        if preprocess.minimum_rating is not None and not source.brings_ratings:
            raise InputError(
                f"{path}: {key}.preprocess.minimum_rating needs ratings, but {key}.source brings "
                "none; set it to null"
            )


def _check_features_and_evaluation(run: Run, path: Path) -> None:
    from lmm4rec.evaluation.evaluation import EvaluationConfig
    from lmm4rec.features.controls import CONTROLS, ControlConfig
    from lmm4rec.features.imported_features import ImportConfig

    content = read_params(path)
    for name in run.imported:
        key = f"imports.{name}"
        check_section(find(content, key, path), ImportConfig, key, path)
    for name in run.controls:
        key = f"controls.{name}"
        if name not in CONTROLS:
            raise InputError(
                f"{path}: {key} is no control that can be made; {did_you_mean(name, CONTROLS)}"
            )
        check_section(find(content, key, path), ControlConfig, key, path)
    check_section(find(content, "evaluation", path), EvaluationConfig, "evaluation", path)


def _check_encoders(run: Run, path: Path) -> None:
    if not run.encoders:
        return
    from lmm4rec.encoders.files.weights import read_weights
    from lmm4rec.encoders.tuning.tuning import TuningConfig
    from lmm4rec.end2end.config import EncoderTrainingConfig
    from lmm4rec.features.extraction import ExtractConfig

    content = read_params(path)
    for name in run.encoders:
        key = f"encoders.{name}"
        parts = check_section(find(content, key, path), _EncoderParts, key, path)
        read_weights(path, name)
        check_section(parts.extract, ExtractConfig, f"{key}.extract", path)
        check_section(parts.finetune, TuningConfig, f"{key}.finetune", path)
        if name in run.end2end:
            check_section(parts.end2end, EncoderTrainingConfig, f"{key}.end2end", path)


def _check_training(run: Run, path: Path) -> None:
    from lmm4rec.end2end.config import EndToEndConfig
    from lmm4rec.recommenders import recommender_class
    from lmm4rec.training.training import TrainingConfig

    content = read_params(path)
    check_section(find(content, "training", path), TrainingConfig, "training", path)
    if run.end2end:
        check_section(find(content, "end2end", path), EndToEndConfig, "end2end", path)
    for name in _recommenders(run):
        key = f"recommenders.{name}"
        check_section(find(content, key, path), recommender_class(name).Config, key, path)
