"""Cached results of long stages are what this code computes; if not, a revision is to be raised."""

from __future__ import annotations

import json
from collections.abc import Callable

import pytest

from tests.drift.cases import CASES
from tests.drift.golden import computed, golden_file, revisions
from tests.drift.numbers import differences


def check(kind: str, case: str) -> None:
    stored = json.loads(golden_file(kind).read_text())
    found = differences(computed(kind, case), stored[case], case)
    assert not found, (
        f"{kind} now gives other numbers ({'; '.join(found[:3])}; {len(found)} in all): cached "
        f"results are no longer what this code computes. If that is meant, raise "
        f"{', '.join(revisions(kind, case))} in params.yaml and run `python -m tests.drift {kind}`"
    )


def cases(kind: str) -> Callable[[Callable[[str], None]], Callable[[str], None]]:
    return pytest.mark.parametrize("case", CASES[kind])


@cases("extraction")
def test_extraction(case: str) -> None:
    check("extraction", case)


@cases("finetuning")
def test_finetuning(case: str) -> None:
    check("finetuning", case)


@cases("end2end")
def test_end2end(case: str) -> None:
    check("end2end", case)


@cases("pretraining")
def test_pretraining(case: str) -> None:
    check("pretraining", case)


@cases("conversion")
def test_conversion(case: str) -> None:
    check("conversion", case)


@cases("catalogue")
def test_catalogue(case: str) -> None:
    check("catalogue", case)


@cases("captions")
def test_captions(case: str) -> None:
    check("captions", case)
