"""A person's files that changed since they were read: the stages, one after the other."""

from __future__ import annotations

import json
import shutil
from pathlib import Path
from typing import Any

import pytest
from click.testing import CliRunner, Result

from lmm4rec.encoders.files.weights import (
    CheckpointWeights,
    OpenClipWeights,
    UnimodalWeights,
    read_weights,
)
from lmm4rec.local_files import LocalRecord
from lmm4rec.params import read_params
from stages.check import main as check_main
from stages.download import main as download_main
from tests.study.studies import ROOT, study

SOURCE = "datasets.ml-100k.source"
RECORD = "data/sources/datasets/ml-100k.json"
SMALL: dict[str, Any] = {
    **{f"run.{key}": [] for key in read_params(ROOT / "params.yaml")["run"]},
    "run.datasets": ["ml-100k"],
    "run.seeds": [1],
    "run.id_recommenders": ["bpr"],
    f"{SOURCE}.folder": "mine",
}


@pytest.fixture(autouse=True)
def project(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """A catalogue that was downloaded under revision 1, and found sound."""
    monkeypatch.chdir(tmp_path)
    images = Path("mine/images")
    images.mkdir(parents=True)
    (images / "1.jpg").write_bytes(b"picture")
    Path("mine/interactions.csv").write_text("user_id,item_id,rating,timestamp\nu,1,5,1600000000\n")
    Path("mine/items.csv").write_text("item_id,title,genres,description\n1,a,b,c\n")
    study(Path(), **SMALL)
    assert download().exit_code == 0
    assert check().exit_code == 0


def download() -> Result:
    return CliRunner().invoke(
        download_main,
        ["--dataset", "ml-100k", "--output", "data/raw/ml-100k", "--record", RECORD],
    )


def check() -> Result:
    return CliRunner().invoke(
        check_main,
        ["--features", "data/features", "--records", "data/sources", "--output", "data/checked"],
    )


def edited() -> bytes:
    """The raw folder's table before a person edits theirs."""
    Path("mine/items.csv").write_text("item_id,title,genres,description\n1,A,b,c\n")
    return Path("data/raw/ml-100k/files/items.csv").read_bytes()


def test_it_stops_until_the_revision_is_raised() -> None:
    old = edited()
    for stopped in (check(), download()):  # download alone, whatever DVC thinks
        assert stopped.exit_code == 1
        assert stopped.output.startswith("Error: mine/items.csv: was changed since it was read")
        assert f"raise {SOURCE}.revision in params.yaml" in stopped.output
        assert Path("data/raw/ml-100k/files/items.csv").read_bytes() == old
    study(Path(), **SMALL, **{f"{SOURCE}.revision": 2})
    assert check().exit_code == 0
    assert download().exit_code == 0
    assert (
        Path("data/raw/ml-100k/files/items.csv").read_bytes() == Path("mine/items.csv").read_bytes()
    )
    assert json.loads(Path(RECORD).read_text())["revision"] == 2
    assert check().exit_code == 0
    study(Path(), **SMALL)  # back to a revision that stood for other files: they are read anew
    assert check().exit_code == 0


def test_another_parameter_of_the_source_hides_no_change() -> None:
    edited()
    for items in ({"file": "items.csv", "title": None}, None):  # all of the folder counts
        study(Path(), **SMALL, **{f"{SOURCE}.items": items})
        assert check().exit_code == 1
    shutil.copytree("mine", "other")
    study(Path(), **SMALL | {f"{SOURCE}.folder": "other"})  # DVC sees that by itself
    assert check().exit_code == 0


@pytest.mark.parametrize("change", ["added", "taken away"])
def test_a_file_more_or_less_stops_too(change: str) -> None:
    """What the folder is read as may hang on it: a second table, a picture that was lacking."""
    if change == "added":
        Path("mine/images/2.jpg").write_bytes(b"picture")
    else:
        Path("mine/images/1.jpg").unlink()
    assert check().exit_code == 1
    study(Path(), **SMALL, **{f"{SOURCE}.revision": 2})
    assert check().exit_code == 0


def test_weights_of_a_folder_that_changed_stop_it_too() -> None:
    key = "encoders.clip.weights"
    study(Path(), **SMALL | {"run.encoders": ["clip"], f"{key}.path": "own"})
    Path("own").mkdir()
    Path("own/model.bin").write_bytes(b"before")
    weights = read_weights(Path("params.yaml"), "clip")
    record = LocalRecord(key, Path("data/sources/encoders/clip.json"), Path("scratch"))
    with record.kept(weights.revision, weights.local_files()):
        pass
    assert check().exit_code == 0
    Path("own/model.bin").write_bytes(b"after!")
    stopped = check()
    assert stopped.exit_code == 1 and f"raise {key}.revision in params.yaml" in stopped.output


def test_a_colleague_without_the_folder_goes_on() -> None:
    shutil.rmtree("mine")
    shutil.rmtree("data/scratch")
    assert check().exit_code == 0


def test_a_colleague_with_another_copy_stops() -> None:
    edited()
    shutil.rmtree("data/scratch")
    shutil.rmtree("data/raw")
    assert "mine: was changed" in check().output  # the record knows the folder as a whole


def test_a_catalogue_that_is_not_run_is_not_looked_at() -> None:
    edited()
    study(Path(), **SMALL | {"run.datasets": ["demo"]})
    assert check().exit_code == 0


def test_what_a_generated_catalogue_reads_is_nothing() -> None:
    study(Path(), **SMALL | {"datasets.demo.source.users": 8, "datasets.demo.source.items": 20})
    options = ["--dataset", "demo", "--output", "raw", "--record", "r.json"]
    assert CliRunner().invoke(download_main, options).exit_code == 0
    revision = read_params(ROOT / "params.yaml")["datasets"]["demo"]["source"]["revision"]
    assert json.loads(Path("r.json").read_text()) == {"read": {}, "revision": revision}


def test_every_local_file_of_weights_is_among_those_read() -> None:
    encoders = read_params(ROOT / "params.yaml")["encoders"]
    clip = encoders["clip"]["weights"] | {"path": "folder"}
    assert OpenClipWeights(**clip).local_files() == {"folder": (".",)}
    local = {"url": None, "path": "a.pt", "sha256": None}
    vlmo = encoders["vlmo"]["weights"]
    weights = CheckpointWeights(**vlmo | {"weights": local, "tokenizer": local | {"path": "v"}})
    assert weights.local_files() == {"a.pt": (".",), "v": (".",)}
    assert CheckpointWeights(**vlmo).local_files() == {}
    pair = encoders["resnet50-minilm"]["weights"]
    image = pair["image"] | {"repository": None, "path": "i.pt"}
    text = pair["text"] | {"repository": None, "path": "t"}
    weights_of_two = UnimodalWeights(**pair | {"image": image, "text": text})
    assert weights_of_two.local_files() == {"i.pt": (".",), "t": (".", "1_Pooling")}
