"""Whether a study can run: names, sections, features, and files of this machine, in seconds."""

from __future__ import annotations

from collections.abc import Callable, Collection, Mapping
from functools import partial
from itertools import product
from pathlib import Path

from lmm4rec.errors import InputError
from lmm4rec.local_files import UNSAID_REVISION, LocalFiles, LocalRecord
from lmm4rec.params import find, read_params, read_section
from lmm4rec.study.run import Run, check_features, read_run
from lmm4rec.study.sections import check_sections


def check_study(path: Path, scratch: Path, standing: Mapping[str, Collection[str]]) -> Run:
    """The run of params.yaml at `path`; InputError for the first thing that no stage could use.

    `standing` names the features folders that are there, by dataset. `scratch` may be lost.
    """
    run = read_run(path)
    check_features(path, standing)
    check_sections(run, path, scratch)
    return run


def standing_features(folder: Path) -> dict[str, set[str]]:
    """The features folders that are there, by dataset: `folder/D/F`."""
    found: dict[str, set[str]] = {}
    for features in folder.glob("*/*/"):
        found.setdefault(features.parent.name, set()).add(features.name)
    return found


def check_local_files(run: Run, path: Path, records: Path, scratch: Path) -> None:
    """InputError where a file of this machine is another than what was read of it.

    `records/datasets/D.json`, `records/encoders/E.json` and `records/features/D/F.json` are what
    the stages that read such files say of them. Where params.yaml names another revision now, they
    are read anew.
    """
    for dataset in run.datasets:
        key = f"datasets.{dataset}.source"
        record = LocalRecord(key, records / "datasets" / f"{dataset}.json", scratch)
        _check(record, path, partial(_source_files, path, dataset))
    for encoder in run.encoders:
        key = f"encoders.{encoder}.weights"
        record = LocalRecord(key, records / "encoders" / f"{encoder}.json", scratch)
        _check(record, path, partial(_weights_files, path, encoder))
    for dataset, imported in product(run.datasets, run.imported):
        key = f"imports.{imported}.files.{dataset}"
        record = LocalRecord(key, records / "features" / dataset / f"{imported}.json", scratch)
        _check(record, path, partial(_imported_files, path, key))


def _check(record: LocalRecord, path: Path, named: Callable[[], LocalFiles]) -> None:
    revision = find(read_params(path), record.key, path).get("revision", UNSAID_REVISION)
    try:
        record.refuse_changes(revision)
    except InputError:
        # Only now is it worth a second to ask which files the section means: others may change.
        record.refuse_changes(revision, named())


def _source_files(path: Path, dataset: str) -> LocalFiles:
    from lmm4rec.catalogue.sources import read_source

    return read_source(path, dataset).local_files()


def _weights_files(path: Path, encoder: str) -> LocalFiles:
    from lmm4rec.encoders.files.weights import read_weights

    return read_weights(path, encoder).local_files()


def _imported_files(path: Path, key: str) -> LocalFiles:
    from lmm4rec.features.imports import DatasetImport

    return read_section(path, key, DatasetImport).local_files()
