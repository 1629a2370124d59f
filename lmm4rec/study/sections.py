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
from lmm4rec.folders import write_text
from lmm4rec.params import Revision, Section, check_section, find, read_params
from lmm4rec.study.models import checked
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
    write_text(sound, key)


def reached(run: Run) -> Iterator[str]:
    """The dotted keys of all sections that the stages of this run read."""
    yield from (f"datasets.{name}" for name in run.datasets)
    yield from (f"encoders.{name}" for name in run.encoders)
    yield from (f"imports.{name}" for name in run.imported)
    yield from (f"controls.{name}" for name in run.controls)
    yield from (f"recommenders.{name}" for name in _recommenders(run))
    yield from ("features", "training", "evaluation")
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
    content = read_params(path)
    for name in run.datasets:
        key = f"datasets.{name}"
        check_section(find(content, key, path), _DatasetParts, key, path)
        source = checked(path, f"{key}.source")
        preprocess = checked(path, f"{key}.preprocess")
        checked(path, f"{key}.images")
        if preprocess.split == "given" and source.brings_split is False:
            raise InputError(
                f"{path}: {key}.preprocess.split is given, but {key}.source brings no split; "
                "choose random, lattice or temporal"
            )
        if preprocess.minimum_rating is not None and source.brings_ratings is False:
            raise InputError(
                f"{path}: {key}.preprocess.minimum_rating needs ratings, but {key}.source brings "
                "none; set it to null"
            )


def _check_features_and_evaluation(run: Run, path: Path) -> None:
    from lmm4rec.features.controls import CONTROLS

    checked(path, "features")
    for name in run.imported:
        checked(path, f"imports.{name}")
    for name in run.controls:
        key = f"controls.{name}"
        if name not in CONTROLS:
            raise InputError(
                f"{path}: {key} is no control that can be made; {did_you_mean(name, CONTROLS)}"
            )
        checked(path, key)
    checked(path, "evaluation")


def _check_encoders(run: Run, path: Path) -> None:
    content = read_params(path)
    for name in run.encoders:
        key = f"encoders.{name}"
        check_section(find(content, key, path), _EncoderParts, key, path)
        for part in ("weights", "extract", "finetune"):
            checked(path, f"{key}.{part}")
        if name in run.end2end:
            checked(path, f"{key}.end2end")


def _check_training(run: Run, path: Path) -> None:
    checked(path, "training")
    if run.end2end:
        checked(path, "end2end")
    for name in _recommenders(run):
        checked(path, f"recommenders.{name}")
