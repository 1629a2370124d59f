"""A few random moments at which a run is killed; `python -m tests.faults.chaos` tries more."""

from __future__ import annotations

from pathlib import Path

import pytest

from tests.faults.chaos import Project, chaos

pytestmark = pytest.mark.slow


def test_killed_at_random_moments_then_run_to_its_end(tmp_path: Path) -> None:
    project = Project.made(tmp_path / "project")
    tally = chaos(project, moments=4, seed=1)
    assert tally["moments"] == 4 and tally["runs compared"] >= 4
