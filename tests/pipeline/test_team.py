"""A second clone of the small demo, with the first one's cache as its remote."""

from __future__ import annotations

import sys
from collections.abc import Callable
from pathlib import Path

import pytest

from lmm4rec.folders import read_json, write_json
from tests.pipeline.small_demo import Clone

pytestmark = pytest.mark.pipeline


@pytest.fixture
def colleague(clone: Clone, tmp_path: Path) -> Callable[[], Clone]:
    """A second clone of what the first one committed and pushed."""

    def make() -> Clone:
        remote = tmp_path / "remote"
        clone.run("dvc", "remote", "add", "--force", "--default", "team", str(remote))
        clone.run("dvc", "push")
        clone.run("git", "clone", "--quiet", str(clone.folder), str(tmp_path / "colleague"))
        other = Clone(tmp_path / "colleague")
        other.run("dvc", "remote", "add", "--force", "--default", "team", str(remote))
        return other

    return make


@pytest.mark.slow
def test_a_colleague_trains_on_pulled_features(
    clone: Clone, colleague: Callable[[], Clone]
) -> None:
    other = colleague()
    other.edit({"recommenders.vbpr.dimensions": 8})
    # Somebody else's numbers came with a merge: they are no reason to measure again.
    measured = other.folder / "data/metrics/efficiency/clip-tiny.measured.json"
    write_json(measured, read_json(measured) | {"items_per_second": 1.0})
    output = other.run("dvc", "repro", "--pull", "--allow-missing")
    assert {name.split("@")[0] for name in other.ran(output)} == {"train", "evaluate", "report"}
    assert (other.folder / "data/reports/demo/index.html").exists()
    for absent in ("raw", "images", "weights", "tuned"):
        assert not (other.folder / "data" / absent).exists()


def test_a_clone_is_checked_without_downloading(
    clone: Clone, colleague: Callable[[], Clone]
) -> None:
    other = colleague()
    assert other.ran(other.run("dvc", "repro", "--allow-missing", "--dry")) == set()
    said = other.run(sys.executable, "-m", "stages.repro", "--pull", "--dry")
    assert said == "0 to run, 0 to fetch\n"
    assert not (other.folder / "data/features").exists()
