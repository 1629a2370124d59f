"""params.yaml's `run`: which datasets, encoders, features, recommenders and seeds to combine."""

from __future__ import annotations

from collections.abc import Collection, Iterable, Mapping
from pathlib import Path
from typing import Annotated, Any

from pydantic import Field

from lmm4rec.errors import InputError, did_you_mean
from lmm4rec.params import Distinct, Section, Seed, check_section, find, read_params
from lmm4rec.recommenders import CONTENT, IDS, UNTRAINED
from lmm4rec.study.names import refuse_one_stage_for_two, refuse_unsafe_names

Names = Annotated[list[str], Distinct]


class Run(Section):
    datasets: Names = Field(min_length=1)
    encoders: Names
    tuned: Names
    controls: Names
    imported: Names
    features: Names
    recommenders: Names
    id_recommenders: Names
    seeds: Annotated[list[Seed], Distinct] = Field(min_length=1)
    end2end: Names
    end2end_recommenders: Names

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
    for key in Run.model_fields:
        if key != "seeds":
            refuse_unsafe_names(getattr(run, key), key, path)
    for key in ("datasets", "encoders"):
        _check(getattr(run, key), _sections(content, key, path), key, path)
    for key in ("tuned", "end2end"):
        _check(getattr(run, key), _sections(content, "encoders", path), key, path)
        _check(getattr(run, key), run.encoders, key, path)
    _check(run.controls, _sections(content, "controls", path), "controls", path)
    _check(run.imported, _sections(content, "imports", path), "imported", path)
    _check_imported(run, content, path)
    _check_recommenders(run.recommenders, CONTENT, IDS, "recommenders", path)
    _check_recommenders(run.id_recommenders, IDS, CONTENT, "id_recommenders", path)
    for name in run.end2end_recommenders:
        refuse_without_gradient(name, f"{path}: run.end2end_recommenders")
        refuse_trained_features(name, find(content, f"recommenders.{name}", path), path)
    for name in run.end2end:
        find(content, f"encoders.{name}.end2end", path)
    _refuse_nothing(run, path)
    _refuse_two_makers(run, path)
    return run


def check_features(path: Path, standing: Mapping[str, Collection[str]]) -> None:
    """Every name of run.features must be made by a stage of this run, or stand there already.

    `standing` names the features folders that are there, by dataset: a person may have put them.
    The controls' reference likewise.
    """
    run = read_run(path)
    content = read_params(path)
    for name in run.features:
        _refuse_unmade(name, "run.features", run, content, path, standing)
    if run.controls:
        reference = find(content, "controls.reference", path)
        if not isinstance(reference, str) or not reference:
            raise InputError(
                f"{path}: controls.reference is {reference!r}; name the features that the "
                "controls are made after, one of run.encoders"
            )
        if reference in run.controls:
            raise InputError(
                f"{path}: controls.reference: {reference!r} is a control itself; name an encoder"
            )
        refuse_unsafe_names([reference], "encoders", path)
        _refuse_unmade(reference, "controls.reference", run, content, path, standing)


def _refuse_unmade(
    name: str,
    where: str,
    run: Run,
    content: Mapping[str, Any],
    path: Path,
    standing: Mapping[str, Collection[str]],
) -> None:
    makers = _makers(content, path)
    made = {name for name, (key, member) in makers.items() if member in getattr(run, key)}
    lacking = [one for one in run.datasets if name not in standing.get(one, ())]
    if name in made or not lacking:
        return
    if name in makers:
        key, member = makers[name]
        advice = f"put {member!r} under run.{key}"
    else:
        known = made.union(*standing.values())
        advice = f"{did_you_mean(name, known)} (or put a folder of that name there)"
    raise InputError(
        f"{path}: {where}: {name!r} is made by nothing under `run` and is no features "
        f"folder of dataset {lacking[0]!r}; {advice}"
    )


def _makers(content: Mapping[str, Any], path: Path) -> dict[str, tuple[str, str]]:
    """Features a stage could make -> the key of `run` that asks for them, and the name under it."""
    encoders = _sections(content, "encoders", path)
    return {
        **{name: ("encoders", name) for name in encoders},
        **{f"{name}-tuned": ("tuned", name) for name in encoders},
        **{name: ("controls", name) for name in _sections(content, "controls", path)},
        **{name: ("imported", name) for name in _sections(content, "imports", path)},
    }


def _sections(content: Mapping[str, Any], key: str, path: Path) -> list[str]:
    """The names of the sections under `key`; values beside them are none of them."""
    sections = find(content, key, path)
    if not isinstance(sections, Mapping):
        raise InputError(f"{path}: {key} should hold sections by name, not {sections!r}")
    return [str(name) for name, value in sections.items() if isinstance(value, Mapping)]


def _refuse_nothing(run: Run, path: Path) -> None:
    """InputError where a list combines with an empty one, and where nothing is trained at all."""
    for one, other in (
        ("recommenders", "features"),
        ("end2end", "end2end_recommenders"),
        ("end2end_recommenders", "end2end"),
    ):
        if getattr(run, one) and not getattr(run, other):
            raise InputError(
                f"{path}: run.{one} names {getattr(run, one)[0]!r}, but run.{other} is empty, so "
                f"that nothing is trained with it; name something there, or empty run.{one}"
            )
    if not run.combinations():
        raise InputError(
            f"{path}: run trains no recommender; name one under run.id_recommenders, or under "
            "run.recommenders together with run.features"
        )


def _refuse_two_makers(run: Run, path: Path) -> None:
    """InputError where two stages would write the same features, or DVC take two for one."""
    made: dict[str, str] = {}
    for key, ending in (
        ("encoders", ""),
        ("tuned", "-tuned"),
        ("end2end", "-e2e"),
        ("controls", ""),
        ("imported", ""),
    ):
        for member in getattr(run, key):
            name = member + ending
            if name in made:
                raise InputError(
                    f"{path}: run.{key}: {member!r} makes features {name!r}, and so does "
                    f"run.{made[name]}; rename one of the two"
                )
            made[name] = key
    others = made | {name: "features" for name in run.features if name not in made}
    refuse_one_stage_for_two(run.datasets, others, path)


def _check_imported(run: Run, content: Mapping[str, Any], path: Path) -> None:
    for name in run.imported:
        files = find(content, f"imports.{name}.files", path)
        for dataset in run.datasets:
            if not isinstance(files, Mapping) or dataset not in files:
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


def refuse_trained_features(name: str, section: Any, path: Path) -> None:
    """InputError where a recommender would train its own copy of what the encoder says."""
    if isinstance(section, Mapping) and section.get("train_features"):
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
