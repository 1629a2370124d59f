"""params.yaml's `run`: which datasets, encoders, features, recommenders and seeds to combine."""

from __future__ import annotations

from collections.abc import Collection, Iterable, Mapping
from pathlib import Path
from typing import Any

from pydantic import Field

from lmm4rec.errors import InputError, did_you_mean
from lmm4rec.params import Section, check_section, find, read_params
from lmm4rec.recommenders import CONTENT, IDS, UNTRAINED


class Run(Section):
    datasets: list[str] = Field(min_length=1)
    encoders: list[str]
    tuned: list[str]
    controls: list[str]
    imported: list[str]
    features: list[str]
    recommenders: list[str]
    id_recommenders: list[str]
    seeds: list[int] = Field(min_length=1)
    end2end: list[str]
    end2end_recommenders: list[str]

    def combinations(self) -> list[tuple[str, str]]:
        """(features, recommender) of everything that is trained; features "none" for id models."""
        ids = [("none", recommender) for recommender in self.id_recommenders]
        content = [(f, recommender) for recommender in self.recommenders for f in self.features]
        together = [(f"{e}-e2e", r) for r in self.end2end_recommenders for e in self.end2end]
        return ids + content + together


def read_run(path: Path) -> Run:
    """The `run` section; every name in it must be one that the file and the library know."""
    content = read_params(path)
    run = check_section(find(content, "run", path), Run, "run", path)
    for key, section in (("datasets", "datasets"), ("encoders", "encoders")):
        _check(getattr(run, key), find(content, section, path), key, path)
    for key in ("tuned", "end2end"):
        _check(getattr(run, key), find(content, "encoders", path), key, path)
        _check(getattr(run, key), run.encoders, key, path)
    _check(run.controls, find(content, "controls", path), "controls", path)
    _check(run.imported, find(content, "imports", path), "imported", path)
    _check_imported(run, content, path)
    _check_recommenders(run.recommenders, CONTENT, IDS, "recommenders", path)
    _check_recommenders(run.id_recommenders, IDS, CONTENT, "id_recommenders", path)
    for name in run.end2end_recommenders:
        refuse_without_gradient(name, f"{path}: run.end2end_recommenders")
        refuse_trained_features(name, find(content, f"recommenders.{name}", path), path)
    for name in run.end2end:
        find(content, f"encoders.{name}.end2end", path)
    return run


def check_features(path: Path, standing: Mapping[str, Collection[str]]) -> None:
    """Every name of run.features must be made by a stage of this run, or stand there already.

    `standing` names the features folders that are there, by dataset: a person may have put them.
    """
    run = read_run(path)
    makers = _makers(read_params(path))
    made = {name for name, (key, member) in makers.items() if member in getattr(run, key)}
    for name in run.features:
        lacking = [one for one in run.datasets if name not in standing.get(one, ())]
        if name in made or not lacking:
            continue
        if name in makers:
            key, member = makers[name]
            advice = f"put {member!r} under run.{key}"
        else:
            known = made.union(*standing.values())
            advice = f"{did_you_mean(name, known)} (or put a folder of that name there)"
        raise InputError(
            f"{path}: run.features: {name!r} is made by nothing under `run` and is no features "
            f"folder of dataset {lacking[0]!r}; {advice}"
        )


def _makers(content: Mapping[str, Any]) -> dict[str, tuple[str, str]]:
    """Features a stage could make -> the key of `run` that asks for them, and the name under it."""
    encoders, controls = content["encoders"], content["controls"]
    return {
        **{name: ("encoders", name) for name in encoders},
        **{f"{name}-tuned": ("tuned", name) for name in encoders},
        **{name: ("controls", name) for name in controls if isinstance(controls[name], Mapping)},
        **{name: ("imported", name) for name in content["imports"]},
    }


def _check_imported(run: Run, content: Mapping[str, Any], path: Path) -> None:
    for name in run.imported:
        files = find(content, f"imports.{name}.files", path)
        for dataset in run.datasets:
            if dataset not in files:
                raise InputError(
                    f"{path}: run.imported: {name!r} has no file for dataset {dataset!r} under "
                    f"imports.{name}.files; add one, or take one of the two out of `run`"
                )


def refuse_without_gradient(name: str, where: str) -> None:
    """InputError unless it reads content and is trained, as end-to-end training needs."""
    if name in IDS or name in UNTRAINED:
        why = "reads no content" if name in IDS else "is not trained"
        raise InputError(
            f"{where}: {name!r} {why}, so that no gradient could reach an encoder; name another"
        )
    if name not in CONTENT:
        trained = CONTENT.keys() - UNTRAINED
        raise InputError(f"{where}: {name!r} is unknown; {did_you_mean(name, trained)}")


def refuse_trained_features(name: str, section: Mapping[str, Any], path: Path) -> None:
    """InputError where a recommender would train its own copy of what the encoder says."""
    if section.get("train_features"):
        raise InputError(
            f"{path}: recommenders.{name}.train_features is true, which trains a copy of the "
            "features that no encoder would hear of; set it to false for end-to-end training"
        )


def _check(names: list[str], known: Iterable[str], key: str, path: Path) -> None:
    known = list(known)
    for name in names:
        if name not in known:
            raise InputError(f"{path}: run.{key}: {name!r} is unknown; {did_you_mean(name, known)}")


def _check_recommenders(
    names: list[str], here: dict[str, str], there: dict[str, str], key: str, path: Path
) -> None:
    other = {"recommenders": "id_recommenders", "id_recommenders": "recommenders"}[key]
    for name in names:
        if name in there:
            raise InputError(
                f"{path}: run.{key}: {name!r} belongs under run.{other}; move it there"
            )
    _check(names, here, key, path)
