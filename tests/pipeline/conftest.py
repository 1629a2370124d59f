"""The small demo, run once for all tests of this folder, on however many workers."""

from __future__ import annotations

import shutil
from pathlib import Path
from typing import Any

import pytest
from filelock import FileLock

from tests.pipeline.small_demo import Clone, small_demo


@pytest.fixture(scope="session")
def finished(tmp_path_factory: pytest.TempPathFactory, worker_id: str) -> Clone:
    """The small demo, run to its end: a worker's own copy of what the first of them ran."""
    own = tmp_path_factory.getbasetemp()
    shared = (own if worker_id == "master" else own.parent) / "small-demo"
    with FileLock(f"{shared}.lock"):
        if not shared.exists():
            run(small_demo(shared.with_suffix(".unfinished")))
            shared.with_suffix(".unfinished").rename(shared)
    return Clone(Path(shutil.copytree(shared, own / "project", symlinks=True)))


def run(clone: Clone) -> None:
    clone.run("dvc", "repro")
    clone.run("git", "add", "--all")
    clone.run("git", "-c", "user.name=t", "-c", "user.email=t@localhost", "commit", "-qm", "run")


@pytest.fixture
def clone(finished: Clone) -> Any:
    """The finished demo; whatever a test changed is restored afterwards."""
    yield finished
    finished.run("git", "checkout", "--", ".")
    finished.run("git", "clean", "--force", "-d", "--quiet", "data/metrics")  # of added runs
    finished.run("dvc", "checkout", "--force")  # what a test made is in no cache
