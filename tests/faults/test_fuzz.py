"""A few hostile cases for every reader; `python -m tests.faults.fuzz` tries more."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest
from hypothesis import HealthCheck, given, settings

from lmm4rec.errors import InputError
from tests.faults import fuzz
from tests.faults.fuzz import READERS, outcome
from tests.faults.values import Reader, damages

FEW = settings(
    max_examples=25, derandomize=True, database=None, deadline=None,
    suppress_health_check=list(HealthCheck),
)  # fmt: skip


@pytest.mark.parametrize("name", READERS)
def test_a_case_is_read_rightly_or_refused_in_one_sentence(name: str, tmp_path: Path) -> None:
    @FEW
    @given(READERS[name].cases)
    def try_all(case: Any) -> None:
        assert outcome(READERS[name], tmp_path, case) in ("accepted", "refused")

    try_all()


def failing(error: BaseException) -> Reader:
    def read(folder: Path, case: Any) -> None:
        raise error

    return Reader(damages(), read)


@pytest.mark.parametrize(
    ("error", "found"),
    [
        (InputError("a.csv: is empty; fill it"), "refused"),
        (InputError(""), "no sentence: ''"),
        (ValueError("bug"), "ValueError at test_fuzz.py:"),
        (AssertionError(), "AssertionError at test_fuzz.py:"),
        (fuzz.Hang(), "hang"),
    ],
)
def test_outcomes_are_told_apart(error: BaseException, found: str, tmp_path: Path) -> None:
    assert outcome(failing(error), tmp_path, None).startswith(found)


def test_a_hang_is_noticed(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    def read(folder: Path, case: Any) -> None:
        while True:
            pass

    monkeypatch.setattr(fuzz, "LONGEST_SECONDS", 1)
    assert outcome(Reader(damages(), read), tmp_path, None) == "hang"
