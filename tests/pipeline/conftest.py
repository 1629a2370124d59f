"""The small demo, run once for all tests of this folder, which share a worker."""

from __future__ import annotations

from typing import Any

import pytest

from tests.pipeline.small_demo import Clone, small_demo


@pytest.fixture(scope="session")
def finished(tmp_path_factory: pytest.TempPathFactory) -> Clone:
    """The small demo, run to its end."""
    folder = tmp_path_factory.mktemp("pipeline") / "project"
    clone = small_demo(folder)
    clone.run("dvc", "repro")
    clone.run("git", "add", "--all")
    clone.run("git", "-c", "user.name=t", "-c", "user.email=t@localhost", "commit", "-qm", "run")
    return clone


@pytest.fixture
def clone(finished: Clone) -> Any:
    """The finished demo; whatever a test changed is restored afterwards."""
    yield finished
    finished.run("git", "checkout", "--", ".")
    finished.run("git", "clean", "--force", "-d", "--quiet", "data/metrics")  # of added runs
    finished.run("dvc", "checkout", "--force")  # what a test made is in no cache
