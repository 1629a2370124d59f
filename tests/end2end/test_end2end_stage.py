"""Stage end2end on a small catalogue, as dvc.yaml calls it."""

from __future__ import annotations

import csv
import shutil
from pathlib import Path
from typing import Any

import numpy as np
import pyarrow as pa
import pytest
from ruamel.yaml import YAML

from lmm4rec.catalogue.corpus import INTERACTIONS_SCHEMA
from lmm4rec.folders import fingerprint, read_json
from lmm4rec.recommenders import CONTENT, UNTRAINED, recommender_class
from lmm4rec.recommenders.shared.base import NeighbourhoodModel
from lmm4rec.tables import write_table
from lmm4rec.training.vectors import Vectors, read_vectors
from tests.catalogue import toy_catalogue as toy

COUNT = 40
OUTPUTS = ("data/vectors/toy", "data/end2end/toy", "data/curves/toy.csv")
EXTRA = ["--recommender", "vbpr", "--seed", "1", "--vectors", OUTPUTS[0], "--curve", OUTPUTS[2]]
COMMAND = toy.stage_command("end2end", OUTPUTS[1], *EXTRA)


@pytest.fixture
def project(tmp_path: Path) -> Path:
    """Users who like every third item; params.yaml's own sections, made small."""
    toy.toy_project(tmp_path, COUNT)
    rows = [
        {"user_id": f"u{user:02d}", "item_id": f"i{item:05d}", "rating": 5.0, "timestamp": 0,
         "split": "validation" if item >= 36 else "train"}
        for user in range(18) for item in range(user % 3, COUNT, 3)
    ]  # fmt: skip
    table = pa.Table.from_pylist(rows, schema=INTERACTIONS_SCHEMA)
    write_table(table, tmp_path / "data/corpus/toy/interactions.parquet")
    params = YAML(typ="safe").load((toy.ROOT / "params.yaml").read_text())
    toy_section = YAML(typ="safe").load(toy.PARAMS)["encoders"]["toy"]
    end2end = {
        "batch_size": 32, "maximum_epochs": 4, "freeze_epochs": 1, "alignment_weight": 0.1,
    }  # fmt: skip
    write(tmp_path, {
        "encoders": {"toy": toy_section | {"end2end": params["encoders"]["clip-tiny"]["end2end"]}},
        "recommenders": params["recommenders"],
        "end2end": params["end2end"] | end2end,
    })  # fmt: skip
    return tmp_path


def write(project: Path, params: dict[str, Any]) -> None:
    with (project / "params.yaml").open("w") as stream:
        YAML(typ="safe").dump(params, stream)


def fingerprints(project: Path) -> list[str]:
    return [fingerprint(project / name) for name in OUTPUTS]


@pytest.mark.slow
def test_killed_then_run_again_then_evaluated_and_extracted(project: Path) -> None:
    toy.kill_once_there(project, COMMAND, "end2end-*/best-*.pt")
    assert not any((project / name).exists() for name in OUTPUTS)
    done = toy.run(project, COMMAND)
    assert done.returncode == 0, done.stderr
    assert not list((project / "data/scratch").iterdir())
    first = fingerprints(project)
    vectors = read_vectors(project / OUTPUTS[0])
    assert isinstance(vectors, Vectors) and np.isfinite(vectors.items).all()
    best = read_json(project / OUTPUTS[0] / "history.json")["best_epoch"]
    rows = list(csv.DictReader((project / OUTPUTS[2]).open()))
    assert [row["epoch"] for row in rows] == ["1", "2", "3", "4"] and 1 <= best <= 4
    assert rows[0]["alignment_loss"] == "" and float(rows[0]["encoder_drift"]) == 0
    assert float(rows[1]["alignment_loss"]) > 0 and float(rows[1]["encoder_drift"]) > 0
    extract = toy.stage_command("extract", "data/features/toy/toy-e2e")
    extract[extract.index("data/weights/toy")] = OUTPUTS[1]
    assert toy.run(project, extract).returncode == 0
    for name in OUTPUTS[:2]:
        shutil.rmtree(project / name)
    assert toy.run(project, COMMAND).returncode == 0
    assert fingerprints(project) == first


@pytest.mark.parametrize(
    ("section", "key", "value", "sentence"),
    [
        ("end2end", "freeze_epoch", 3, "end2end.freeze_epoch is not a parameter; did you mean"),
        ("end2end", "refresh_steps", 0, "end2end.refresh_steps should be greater than 0, not 0"),
        ("encoders.toy.end2end", "warmup", 3, "encoders.toy.end2end.warmup is not a parameter"),
        ("encoders.toy.end2end", "tune", {"kind": "al"}, "encoders.toy.end2end.tune"),
        ("recommenders.vbpr", "modalities", ["fused"], "clip encodes picture and text apart"),
    ],
)
def test_each_mistake_in_params_is_one_sentence(
    project: Path, section: str, key: str, value: Any, sentence: str
) -> None:
    params = YAML(typ="safe").load((project / "params.yaml").read_text())
    here = params
    for step in section.split("."):
        here = here[step]
    here[key] = value
    write(project, params)
    assert_one_sentence(project, COMMAND, sentence)


@pytest.mark.parametrize(
    ("recommender", "sentence"),
    [
        ("itemknn", "--recommender: 'itemknn' is not trained"),
        ("bpr", "--recommender: 'bpr' reads no content"),
        ("vbrp", "--recommender: 'vbrp' is unknown; did you mean 'vbpr'?"),
        ("freedom", "recommenders.freedom.train_features is true"),
    ],
)
def test_recommenders_that_cannot_be_trained_so(
    project: Path, recommender: str, sentence: str
) -> None:
    command = [recommender if part == "vbpr" else part for part in COMMAND]
    assert_one_sentence(project, command, sentence)


def assert_one_sentence(project: Path, command: list[str], sentence: str) -> None:
    done = toy.run(project, command)
    assert done.returncode == 1
    last = done.stderr.strip().splitlines()[-1]
    assert last.startswith("Error: ") and sentence in last, done.stderr
    assert not any((project / name).exists() for name in OUTPUTS)


def test_the_untrained_are_those_without_weights() -> None:
    found = {name for name in CONTENT if issubclass(recommender_class(name), NeighbourhoodModel)}
    assert found == UNTRAINED
