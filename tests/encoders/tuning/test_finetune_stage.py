"""Stage finetune, what it writes beside the weights, and retrieval recall by hand."""

from __future__ import annotations

import csv
import math
import shutil
from pathlib import Path

import pytest
import torch

from lmm4rec.encoders.tuning.retrieval import retrieval_recall
from lmm4rec.encoders.tuning.tuning_curve import CurveRow, before_and_after, write_curve
from lmm4rec.folders import fingerprint, read_json
from tests.catalogue import toy_catalogue as toy


def test_recall_by_hand() -> None:
    images = torch.eye(6)
    assert retrieval_recall(images, images)["image_to_text_recall@1"] == 1.0
    shifted = images.roll(1, 0)  # every text is its neighbour's; its own ties with four others
    recalls = retrieval_recall(images, shifted)
    assert recalls["image_to_text_recall@1"] == 0.0
    assert math.isclose(recalls["text_to_image_recall@5"], 4 / 5)
    blind = torch.ones(6, 3)  # says the same of everything: no better than chance
    recalls = retrieval_recall(blind, blind)
    assert math.isclose(recalls["image_to_text_recall@1"], 1 / 6)
    assert math.isclose(recalls["text_to_image_recall@5"], 5 / 6)


@pytest.mark.slow
def test_stage_killed_then_run_again_gives_the_same_bytes(tmp_path: Path) -> None:
    project = toy.toy_project(tmp_path, 200)
    outputs = ("data/tuned/toy", "data/plots/toy.csv", "data/metrics/toy.json")
    command = toy.stage_command(
        "finetune", outputs[0], "--curve", outputs[1], "--metrics", outputs[2]
    )
    toy.kill_once_there(project, command, "finetune-*/latest.pt")
    assert not (project / "data/tuned").exists()
    done = toy.run(project, command)
    assert done.returncode == 0, done.stderr
    assert "going on after epoch" in done.stderr
    assert not list((project / "data/scratch").iterdir())
    first = [fingerprint(project / name) for name in outputs]
    shutil.rmtree(project / "data/tuned")
    assert toy.run(project, command).returncode == 0
    again = [fingerprint(project / name) for name in outputs]
    assert again == first
    rows = list(csv.DictReader((project / "data/plots/toy.csv").open()))
    assert [row["epoch"] for row in rows] == ["0", "1", "2", "3"]
    assert rows[0]["training_loss"] == "" and float(rows[3]["validation_loss"]) > 0
    told = read_json(project / outputs[2])
    assert told["held_out_pairs"] == 39  # a fifth of the 197 items that have both
    kept = rows[told["kept_epoch"]]
    for name, value in told["after"].items():
        assert value == float(kept[name]) and told["before"][name] == float(rows[0][name])


def test_before_and_after_are_epoch_0_and_the_kept_one() -> None:
    recalls = [0.1, 0.4, 0.9]
    curve: list[CurveRow] = [
        {"epoch": epoch, "learning_rate": 1.0, "held_out_pairs": 7, "validation_loss": loss,
         "image_to_text_recall@1": recall}
        for epoch, (loss, recall) in enumerate(zip([3.0, 1.0, 2.0], recalls, strict=True))
    ]  # fmt: skip
    assert before_and_after(curve) == {
        "held_out_pairs": 7,
        "epochs": 2,
        "kept_epoch": 1,
        "before": {"validation_loss": 3.0, "image_to_text_recall@1": 0.1},
        "after": {"validation_loss": 1.0, "image_to_text_recall@1": 0.4},
    }


def test_curve_columns_are_those_of_all_rows(tmp_path: Path) -> None:
    path = tmp_path / "below" / "curve.csv"
    write_curve(path, [{"epoch": 0, "a": None}, {"epoch": 1, "a": 0.5, "b": 2.0}])
    assert path.read_text() == "epoch,a,b\n0,,\n1,0.5,2.0\n"
