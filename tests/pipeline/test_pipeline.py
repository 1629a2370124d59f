"""The pipeline itself, on a demo made small: run once, then asked what it would run again.

The working tree is cloned into a temporary folder, shrunk through params.yaml, and driven with
`dvc` as a user drives it.
"""

from __future__ import annotations

import shutil
import subprocess
import sys
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from ruamel.yaml import YAML

from lmm4rec.encoders import load_encoder
from lmm4rec.folders import fingerprint, read_json, write_json
from tests.pipeline.small_demo import END_TO_END, SMALL, Clone, small_demo
from tests.processes import curve_numbers, distance

pytestmark = pytest.mark.pipeline


@pytest.fixture(scope="module")
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


def test_a_second_run_has_nothing_to_do(clone: Clone) -> None:
    assert clone.would_run() == set()


def test_editing_a_recommender_reruns_it_alone(clone: Clone) -> None:
    clone.edit({"recommenders.vbpr.dimensions": 8})
    features = SMALL["run.features"]
    runs = {f"{stage}@demo-{name}-vbpr-1" for stage in ("train", "evaluate") for name in features}
    assert clone.ran(clone.run("dvc", "repro")) == runs | {"report@demo"}


def test_editing_an_encoders_finetuning_reruns_its_branch(clone: Clone) -> None:
    clone.edit({"encoders.clip-tiny.finetune.epochs": 2})
    assert clone.would_run() == {
        "finetune@demo-clip-tiny",
        "extract-tuned@demo-clip-tiny",
        "train@demo-clip-tiny-tuned-vbpr-1",
        "evaluate@demo-clip-tiny-tuned-vbpr-1",
        "report@demo",
    }


def test_raising_an_encoders_revision_reruns_its_branch(clone: Clone) -> None:
    clone.edit({"encoders.clip-tiny.revision": 2})
    rerun = clone.would_run()
    assert {"weights", "extract", "finetune"} <= {name.partition("@")[0] for name in rerun}
    assert not {name for name in rerun if "bpr-1" in name and "-ids@" in name}
    assert not rerun & {"download@demo", "preprocess@demo", "images@demo"}


def test_adding_a_recommender_runs_only_it(clone: Clone) -> None:
    clone.edit({"run.recommenders": ["vbpr", "itemknn"]})
    rerun = clone.would_run()
    assert rerun - {"report@demo", "check"} == {
        f"{stage}@demo-{features}-itemknn-1"
        for stage in ("train", "evaluate")
        for features in SMALL["run.features"]
    }


def test_training_an_encoder_with_a_recommender_runs_only_that(clone: Clone) -> None:
    """The lists of the finished run are empty, which runs nothing."""
    clone.edit(END_TO_END)
    ran = clone.ran(clone.run("dvc", "repro"))
    together = {f"{stage}@demo-clip-tiny-vbpr-1" for stage in ("end2end", "evaluate-end2end")}
    assert ran - {"check"} == together | {"report@demo"}
    assert "clip-tiny-e2e" in (clone.folder / "data/reports/demo/results.md").read_text()
    before = (clone.folder / "dvc.lock").read_text()
    clone.run("dvc", "repro", "--force", "--no-run-cache", "-s", *sorted(together))
    assert (clone.folder / "dvc.lock").read_text() == before


def test_two_processes_come_to_what_one_has_found(clone: Clone) -> None:
    """Each stage that they can share: the same features; weights and curves but for rounding."""
    clone.edit(END_TO_END)
    clone.run("dvc", "repro")
    extracted, start, *trained = (
        clone.folder / "data" / path
        for path in (
            "features/demo/clip-tiny", "weights/clip-tiny",
            "tuned/demo/clip-tiny", "end2end/demo/clip-tiny/vbpr/1",
        )
    )  # fmt: skip
    curve_files = [
        clone.folder / "data/curves/demo" / name
        for name in ("clip-tiny.csv", "clip-tiny-e2e/vbpr/1.csv")
    ]
    features = fingerprint(extracted)
    weights = [load_encoder(path).state_dict() for path in trained]
    curves = [curve_numbers(path) for path in curve_files]
    names = ("extract@demo-clip-tiny", "finetune@demo-clip-tiny", "end2end@demo-clip-tiny-vbpr-1")
    again = ("dvc", "repro", "--force", "--no-run-cache", "--single-item", *names)
    assert clone.run("env", "LMM4REC_PROCESSES=2", *again).count("2 processes share the work") == 3
    assert fingerprint(extracted) == features
    first = load_encoder(start).state_dict()
    for path, known in zip(trained, weights, strict=True):
        moved = distance(first, known)
        assert moved > 0.01
        assert distance(load_encoder(path).state_dict(), known) < 0.02 * moved, path
    # Of 112 held-out pairs one or two may change places; of thousands of validation items, a few.
    for path, expected, changed in zip(curve_files, curves, (0.02, 0.001), strict=True):
        np.testing.assert_allclose(curve_numbers(path), expected, rtol=5e-3, atol=changed)


def test_a_comment_in_an_encoder_reruns_nothing(clone: Clone) -> None:
    for path in (clone.folder / "lmm4rec/encoders").rglob("*.py"):
        path.write_text(path.read_text() + "\n# a comment\n")
    assert clone.would_run() == set()


def test_a_change_in_a_recommenders_file_reruns_it(clone: Clone) -> None:
    path = clone.folder / "lmm4rec/recommenders/bpr.py"
    path.write_text(path.read_text() + "\n# a comment\n")
    assert clone.would_run() == {"train-ids@demo-bpr-1", "evaluate-ids@demo-bpr-1", "report@demo"}


def test_an_edit_that_changes_no_result_is_committed_without_a_run(clone: Clone) -> None:
    """As docs/development.md says; dvc.lock then holds the new code beside the old outputs."""
    before = clone.would_run()
    path = clone.folder / "lmm4rec/training/training.py"
    path.write_text(path.read_text() + "\n# a comment\n")
    assert {"train@demo-noise-vbpr-1", "train-ids@demo-bpr-1"} <= clone.would_run()
    clone.run("dvc", "commit", "--force", "train", "train-ids")
    assert clone.would_run() == before
    changed = clone.run("git", "diff", "--unified=0", "dvc.lock").splitlines()
    assert {line.split()[1] for line in changed if line[:2] in ("+ ", "- ")} == {"md5:", "size:"}


def test_every_stage_is_byte_identical_when_forced(clone: Clone) -> None:
    """All but `efficiency`, whose items per second are a measurement: it keeps what it found."""
    pipeline = clone.folder / "dvc.yaml"
    head = "\n  efficiency:"
    pipeline.write_text(pipeline.read_text().replace(head, f"{head}\n    frozen: true", 1))
    before = (clone.folder / "dvc.lock").read_text()
    clone.run("dvc", "repro", "--force", "--no-run-cache")
    assert (clone.folder / "dvc.lock").read_text() == before


def test_a_misspelt_name_in_run_is_named(clone: Clone) -> None:
    clone.edit({"run.id_recommenders": ["bprr"]})
    output = clone.run("dvc", "repro", check=False)
    assert "run.id_recommenders: 'bprr' is unknown; did you mean 'bpr'?" in output


def test_a_misspelt_parameter_stops_its_stage_with_advice(clone: Clone) -> None:
    path = clone.folder / "params.yaml"
    text = path.read_text()
    path.write_text(text.replace("    dimensions: 64", "    dimnesions: 64", 1))
    output = clone.run("dvc", "repro", check=False)
    assert "dimnesions is not a parameter; did you mean 'dimensions'?" in output


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
    assert "up to date" in other.run("dvc", "repro", "--allow-missing", "--dry")
    said = other.run(sys.executable, "-m", "stages.repro", "--pull", "--dry")
    assert said == "0 to run, 0 to fetch\n"
    assert not (other.folder / "data/features").exists()


def test_dvc_lists_every_file_a_cheap_stage_computes_with(clone: Clone) -> None:
    """A recommender's own file is a dependency of its training."""
    stages = YAML(typ="safe").load((clone.folder / "dvc.yaml").read_text())["stages"]
    for name in ("train", "train-ids"):
        assert "lmm4rec/recommenders/${item.recommender}.py" in stages[name]["deps"]


def test_killed_half_way_then_again(clone: Clone) -> None:
    """A stage that dies leaves no output; the next run brings the same bytes as an unbroken one."""
    before = (clone.folder / "dvc.lock").read_text()
    vectors = clone.folder / "data/vectors/demo/none/bpr/1"
    shutil.rmtree(vectors)
    process = subprocess.Popen(
        [sys.executable, "-m", "stages.train", "--recommender", "bpr", "--seed", "1",
         "--corpus", "data/corpus/demo", "--output", str(vectors)],
        cwd=clone.folder,
    )  # fmt: skip
    try:
        process.wait(timeout=1.5)
    except subprocess.TimeoutExpired:
        process.kill()
        process.wait()
        assert not vectors.exists()
    clone.run("dvc", "repro")
    assert (clone.folder / "dvc.lock").read_text() == before
