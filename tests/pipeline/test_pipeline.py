"""The pipeline itself, on a demo made small: run once, then asked what it would run again.

The working tree is cloned into a temporary folder, shrunk through params.yaml, and driven with
`dvc` as a user drives it.
"""

from __future__ import annotations

import shutil
import subprocess
import sys

import numpy as np
import pytest

from lmm4rec.encoders import load_encoder
from lmm4rec.folders import fingerprint
from tests.pipeline.small_demo import END_TO_END, SMALL, Clone
from tests.processes import curve_numbers, distance

pytestmark = pytest.mark.pipeline


def test_a_second_run_has_nothing_to_do(clone: Clone) -> None:
    assert clone.would_run() == set()


@pytest.mark.slow
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
    assert rerun - {"report@demo"} == {
        f"{stage}@demo-{features}-itemknn-1"
        for stage in ("train", "evaluate")
        for features in SMALL["run.features"]
    }


@pytest.mark.slow
def test_training_an_encoder_with_a_recommender_runs_only_that(clone: Clone) -> None:
    """The lists of the finished run are empty, which runs nothing."""
    clone.edit(END_TO_END)
    ran = clone.ran(clone.run("dvc", "repro"))
    together = {f"{stage}@demo-clip-tiny-vbpr-1" for stage in ("end2end", "evaluate-end2end")}
    assert ran == together | {"report@demo"}
    assert "clip-tiny-e2e" in (clone.folder / "data/reports/demo/results.md").read_text()
    before = (clone.folder / "dvc.lock").read_text()
    clone.run("dvc", "repro", "--force", "--no-run-cache", "-s", *sorted(together))
    assert (clone.folder / "dvc.lock").read_text() == before


@pytest.mark.slow
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


@pytest.mark.slow
def test_every_stage_is_byte_identical_when_forced(clone: Clone) -> None:
    """All but `efficiency`, whose items per second are a measurement: it keeps what it found."""
    pipeline = clone.folder / "dvc.yaml"
    head = "\n  efficiency:"
    pipeline.write_text(pipeline.read_text().replace(head, f"{head}\n    frozen: true", 1))
    before = (clone.folder / "dvc.lock").read_text()
    clone.run("dvc", "repro", "--force", "--no-run-cache")
    assert (clone.folder / "dvc.lock").read_text() == before


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
