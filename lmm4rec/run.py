"""params.yaml's `run`: which datasets, encoders, features, recommenders and seeds to combine."""

from __future__ import annotations

from collections.abc import Iterable
from pathlib import Path

from pydantic import Field

from lmm4rec.errors import InputError, did_you_mean
from lmm4rec.params import Section, check_section, find, read_params
from lmm4rec.recommenders import CONTENT, IDS


class Run(Section):
    datasets: list[str] = Field(min_length=1)
    encoders: list[str]
    tuned: list[str]
    controls: list[str]
    features: list[str]
    recommenders: list[str]
    id_recommenders: list[str]
    seeds: list[int] = Field(min_length=1)
    end2end: list[str]

    def combinations(self) -> list[tuple[str, str]]:
        """(features, recommender) of everything that is trained; features "none" for id models."""
        ids = [("none", recommender) for recommender in self.id_recommenders]
        return ids + [(f, recommender) for recommender in self.recommenders for f in self.features]


def read_run(path: Path) -> Run:
    """The `run` section; every name in it must be one that the file and the library know."""
    content = read_params(path)
    run = check_section(find(content, "run", path), Run, "run", path)
    for key, section in (("datasets", "datasets"), ("encoders", "encoders"), ("tuned", "encoders")):
        _check(getattr(run, key), find(content, section, path), key, path)
    _check(run.tuned, run.encoders, "tuned", path)
    _check(run.controls, find(content, "controls", path), "controls", path)
    _check_recommenders(run.recommenders, CONTENT, IDS, "recommenders", path)
    _check_recommenders(run.id_recommenders, IDS, CONTENT, "id_recommenders", path)
    return run


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
