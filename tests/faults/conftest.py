"""One study for all tables of faults, run once on however many workers."""

from __future__ import annotations

from pathlib import Path

import pytest
from filelock import FileLock

from tests.faults.small_study import COMMANDS, run, study


@pytest.fixture(scope="session")
def whole(tmp_path_factory: pytest.TempPathFactory, worker_id: str) -> Path:
    """A study whose every stage has run; tests change copies of it."""
    own = tmp_path_factory.getbasetemp()
    shared = (own if worker_id == "master" else own.parent) / "study"
    with FileLock(f"{shared}.lock"):
        if not shared.exists():
            unfinished = study(shared.with_suffix(".unfinished"))
            for stage in COMMANDS:
                done = run(unfinished, stage)
                assert done.code == 0, done.said
            unfinished.rename(shared)
    return shared
