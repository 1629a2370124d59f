"""Stages shared by the processes of torchrun: the results of one process, and one end for all."""

from __future__ import annotations

import csv
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from torch import Tensor

from lmm4rec.distributed import is_main, rank
from lmm4rec.encoders import FAMILIES, load_encoder
from lmm4rec.encoders.base import Encoder
from lmm4rec.encoders.picture_texts import PicturesWithTexts
from lmm4rec.encoders.tuning.pair_batches import PairBatches
from lmm4rec.encoders.tuning.tuning import TuningConfig, tune_encoder
from lmm4rec.errors import InputError
from lmm4rec.features.extraction import ExtractConfig, Pace, extract
from lmm4rec.features.items import Catalogue
from lmm4rec.folders import fingerprint
from lmm4rec.params import read_section
from tests.catalogue import toy_catalogue as toy
from tests.encoders.encoder_contract import tiny
from tests.processes import distance, together, torchrun

CPU = torch.device("cpu")

pytestmark = pytest.mark.slow
BROKEN = 31  # a row whose picture nobody can read

# Runs stage finetune; the second process fails in its third step.
FAILING_STAGE = """
import itertools, os
from lmm4rec.encoders.clip.clip import Clip
from lmm4rec.errors import InputError
from stages.finetune import main

calls, original = itertools.count(), Clip.losses

def losses(self, *batch):
    if os.environ["RANK"] == "1" and next(calls) == 2:
        raise InputError("a picture bites")
    return original(self, *batch)

Clip.losses = losses
main()
"""


# -------------------------------------------------------------------------------------- the stages


@pytest.fixture
def one_thread() -> Iterator[None]:
    """As in the stages that the tests start."""
    before = torch.get_num_threads()
    torch.set_num_threads(1)
    yield
    torch.set_num_threads(before)


def test_extract_gives_the_bytes_of_one_process(tmp_path: Path, one_thread: None) -> None:
    """1,100 items are three shards: one process has two of them."""
    project = toy.toy_project(tmp_path, 1100)
    command = toy.stage_command("extract", "data/features/toy/toy", "--batch-size", "100")
    done = toy.run(project, [*command, "--processes", "2"])
    assert done.returncode == 0, done.stderr
    assert done.stderr.count("2 processes share the work") == 1
    assert done.stderr.count("1100 items in") == 1
    scratch, alone = project / "data/scratch", project / "alone"
    assert not list(scratch.iterdir())
    items = Catalogue(project / "data/corpus/toy", project / "data/images/toy")
    config = ExtractConfig(precision="float32", fused=False)
    extract(tiny("clip"), items, config, Pace(100, 0, CPU), scratch, alone, {})
    for name in ("items.parquet", "image.npy", "text.npy"):
        assert fingerprint(project / "data/features/toy/toy" / name) == fingerprint(alone / name)


def test_finetune_gives_the_curve_of_one_process(tmp_path: Path, one_thread: None) -> None:
    project = toy.toy_project(tmp_path, 100)
    command = toy.stage_command(
        "finetune", "data/tuned/toy", "--curve", "data/toy.csv", "--metrics", "data/toy.json"
    )
    done = toy.run(project, torchrun(command))
    assert done.returncode == 0, done.stderr
    assert done.stderr.count("kept epoch") == 1
    assert load_encoder(project / "data/tuned/toy").family == "clip"
    assert not list((project / "data/scratch").iterdir())
    with (project / "data/toy.csv").open() as stream:
        curve = [float(row["validation_loss"]) for row in csv.DictReader(stream)]
    params = read_section(project / "params.yaml", "encoders.toy.finetune", TuningConfig)
    items = PicturesWithTexts(*toy.toy_items(100))
    alone = tune_encoder(tiny("clip"), items, params, project / "data/scratch", CPU, 0)
    np.testing.assert_allclose(curve, [row["validation_loss"] for row in alone], rtol=1e-3)  # type: ignore[arg-type]


def test_where_one_process_fails_all_end_and_leave_nothing(tmp_path: Path) -> None:
    project = toy.toy_project(tmp_path, 200)
    (project / "failing.py").write_text(FAILING_STAGE)
    command = toy.stage_command(
        "finetune", "data/tuned/toy", "--curve", "data/toy.csv", "--metrics", "data/toy.json"
    )
    command[2] = "failing"
    done = toy.run(project, [*command, "--processes", "2"])
    assert done.returncode == 1
    assert "Error: a picture bites" in done.stderr
    said = ("another process of this run stopped", "torchrun ended this process")
    assert any(f"Error: {words}" in done.stderr for words in said), done.stderr
    assert not (project / "data/tuned").exists() and not (project / "data/toy.csv").exists()


# ------------------------------------------------------------------------------ training in general


def config(**changes: Any) -> TuningConfig:
    values = {
        "seed": 1, "epochs": 2, "batch_size": 17, "learning_rate": 1e-3, "weight_decay": 0.1,
        "warmup_share": 0.1, "layer_decay": 0.9, "gradient_norm": 1.0, "validation_share": 0.2,
        "augment": True, "precision": "float32", "tune": {"kind": "all"},
    }  # fmt: skip
    return TuningConfig.model_validate(values | changes)


def source() -> PicturesWithTexts:
    pictures, texts = toy.toy_items(90)
    pictures[BROKEN] = b"not a picture"
    return PicturesWithTexts(pictures, texts)


def tuned(family: str, scratch: Path, **changes: Any) -> tuple[Encoder, list[dict[str, Any]]]:
    scratch.mkdir(exist_ok=True)
    encoder = tiny(family)
    return encoder, tune_encoder(encoder, source(), config(**changes), scratch, CPU, 0)


def latest(scratch: Path) -> dict[str, Tensor]:
    """The weights after the last epoch, be it the best or not."""
    weights: dict[str, Tensor] = torch.load(scratch / "latest.pt", weights_only=True)["encoder"]
    return weights


def check_tuning(folder: Path) -> None:
    for family in FAMILIES:
        encoder, curve = tuned(family, folder / f"{family}-shared", augment=family != "beit3")
        known = torch.load(folder / family, weights_only=True)
        tolerance = 0.01 if family == "unimodal" else 1e-4
        for row, expected in zip(curve, known["curve"], strict=True):
            assert row.keys() == expected.keys()
            for name, value in expected.items():
                # A pair that nearly ties with another may change places.
                error = 2 / 17 + 1e-6 if "recall" in name else 2e-3
                assert row[name] == (value and pytest.approx(value, rel=2e-3, abs=error)), name
        # Adam's first steps have the same length however small a gradient is, so that rounding
        # moves weights; behind batch norms, a thousand times as much as elsewhere.
        trained = latest(folder / f"{family}-shared")
        moved = distance(tiny(family).state_dict(), known["weights"])
        assert distance(trained, known["weights"]) < tolerance * moved, family
        checksum = torch.tensor([float(w.double().sum()) for w in encoder.state_dict().values()])
        torch.save(checksum, folder / f"{family}-{rank()}")


def test_tuning_of_every_family_is_that_of_one_process(tmp_path: Path) -> None:
    """Pictures varied alike or kept decoded, batches that do not divide, one broken picture, chance
    that VLMo draws."""
    for family in FAMILIES:
        alone = tmp_path / f"{family}-alone"
        _, curve = tuned(family, alone, augment=family != "beit3")
        torch.save({"weights": latest(alone), "curve": curve}, tmp_path / family)
    together(2, tmp_path, check_tuning, tmp_path)
    for family in FAMILIES:
        first, second = (
            torch.load(tmp_path / f"{family}-{number}", weights_only=True) for number in (0, 1)
        )
        assert torch.equal(first, second)  # both processes end with the same encoder


def check_going_on(folder: Path) -> None:
    """A run broken off goes on in two processes; one that cannot see its files is refused."""
    scratch = folder / "broken-off"
    _, curve = tuned("clip", scratch)
    assert len(curve) == 3 and curve[:2] == torch.load(folder / "epochs", weights_only=True)
    hidden = scratch if is_main() else folder / "elsewhere"
    with pytest.raises(InputError, match=r"latest\.pt: only some processes of this run find it"):
        tuned("clip", hidden)


def test_a_run_goes_on_in_more_processes(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    original, calls = PairBatches.batches, []

    def batches(self: PairBatches, *given: Any) -> Any:
        calls.append(1)
        if len(calls) == 4:  # the second epoch's training
            raise KeyboardInterrupt
        return original(self, *given)

    monkeypatch.setattr(PairBatches, "batches", batches)
    with pytest.raises(KeyboardInterrupt):
        tuned("clip", tmp_path / "broken-off")
    monkeypatch.undo()
    latest = torch.load(tmp_path / "broken-off/latest.pt", weights_only=True)
    torch.save(latest["curve"], tmp_path / "epochs")
    together(2, tmp_path, check_going_on, tmp_path)


def check_too_small() -> None:
    with pytest.raises(InputError, match=r"3 processes cannot share a batch of 2 pairs"):
        tuned("clip", Path("unused"), batch_size=2)


def test_more_processes_than_pairs(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(tmp_path)
    together(3, tmp_path, check_too_small)
