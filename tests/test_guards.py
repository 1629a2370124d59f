"""The guards of long stages are there: files, tests and revisions that `tests/guards.py` names."""

from __future__ import annotations

import json
import re
from importlib import import_module
from itertools import pairwise
from pathlib import Path
from typing import Any

import pytest

from lmm4rec.local_files import UNSAID_REVISION
from lmm4rec.params import read_params
from tests.drift.cases import CASES
from tests.drift.golden import golden_file, revisions
from tests.drift.mutations import MUTATIONS, Mutation
from tests.guards import GUARDED, UNGUARDED, guard_of

ROOT = Path(__file__).parents[1]
ROOMS = (
    "lmm4rec/encoders", "lmm4rec/end2end", "lmm4rec/features", "lmm4rec/catalogue/readers",
    "lmm4rec/catalogue/sources",
)  # fmt: skip
OF_CHEAP_STAGES = {
    "lmm4rec/features/controls.py",
    "lmm4rec/features/arrays.py",
    "lmm4rec/features/gathering.py",
    "lmm4rec/features/given_files.py",
    "lmm4rec/features/imports.py",
    "lmm4rec/features/records.py",
}


@pytest.mark.parametrize("path", GUARDED)
def test_each_guard_is_a_test_and_names_a_revision(path: str) -> None:
    found = re.fullmatch(r"(tests/\S+)\.py::(test_\w+) \(raise (\S+\.revision)\)", GUARDED[path])
    assert found, GUARDED[path]
    module, test, key = found.groups()
    assert (ROOT / path).exists()
    assert callable(getattr(import_module(module.replace("/", ".")), test))
    before, _, after = key.partition(".*.")
    params = read_params(ROOT / "params.yaml")
    sections = list(params[before].values()) if after else [params]
    for here in sections:
        assert isinstance(_revision_at((after or key).split("."), here), int)


def _revision_at(steps: list[str], here: Any) -> Any:
    """A source may leave its revision out: that is revision 1, and can be raised."""
    for above, step in pairwise(["", *steps]):
        is_unsaid = (above, step) == ("source", "revision") and step not in here
        here = UNSAID_REVISION if is_unsaid else here[step]
    return here


@pytest.mark.parametrize("room", ROOMS)
def test_every_file_of_a_long_stage_has_a_guard_or_a_reason(room: str) -> None:
    files = {str(path.relative_to(ROOT)) for path in (ROOT / room).rglob("*.py")}
    docstrings_alone = {name for name in files if (ROOT / name).read_text().count("\n") <= 2}
    unclaimed = {name for name in files if guard_of(name) is None and name not in UNGUARDED}
    assert unclaimed <= OF_CHEAP_STAGES | docstrings_alone


def test_a_file_has_a_guard_or_a_reason_to_have_none() -> None:
    assert not GUARDED.keys() & UNGUARDED.keys()
    assert all((ROOT / name).is_file() and reason for name, reason in UNGUARDED.items())


@pytest.mark.parametrize("kind", CASES)
def test_each_case_names_revisions_of_params_yaml(kind: str) -> None:
    params = read_params(ROOT / "params.yaml")
    for case in CASES[kind]:
        keys = revisions(kind, case)
        assert keys, case
        for key in keys:
            assert isinstance(_revision_at(key.split("."), params), int), key


@pytest.mark.parametrize("mutation", MUTATIONS, ids=lambda one: f"{one.path}: {one.old}")
def test_what_a_mutation_changes_still_stands(mutation: Mutation) -> None:
    """Once, so that it is clear what is changed; the case that is to notice is one."""
    assert (ROOT / "lmm4rec" / mutation.path).read_text().count(mutation.old) == 1
    assert mutation.case in CASES[mutation.kind]


@pytest.mark.parametrize("kind", ["finetuning", "end2end", "pretraining"])
def test_training_goes_somewhere(kind: str) -> None:
    """An epoch 0 that is kept would say nothing of the weights."""
    stored = json.loads(golden_file(kind).read_text())
    assert stored.keys() == CASES[kind].keys()
    for case, numbers in stored.items():
        assert max(size for size, _ in numbers["weights"]["tensors"].values()) > 1e-4, case
