"""`check`: whatever a run reaches is found out before anything is computed, in one sentence."""

from __future__ import annotations

import os
import subprocess
import sys
from pathlib import Path
from typing import Any

import pytest

import lmm4rec
from lmm4rec.errors import InputError
from lmm4rec.params import read_params
from lmm4rec.study import sections
from lmm4rec.study.check import check_study
from lmm4rec.study.run import read_run
from tests.study.studies import REMOVED, ROOT, study

HUGE = 10**12
FOLDER = "datasets.ml-100k.source"
SPLIT = {"column": "set", "train": "a", "validation": "a", "test": "c"}
PARTS = {"file": {"train": "a.json", "validation": "b.json", "test": "b.json"}}
REVIEWS = {"fetch": {"reviews": {"url": "", "sha256": None}}}
RUN = [
    ("run.seeds", [1, 1, 1], "run.seeds names 1 twice"),
    ("run.seeds", [-1], "run.seeds.0 should be greater than or equal to 0, not -1"),
    ("run.seeds", [2**64], "run.seeds.0 should be less than 4294967296"),
    ("run.seeds", [2**32], "run.seeds.0 should be less than 4294967296"),
    ("run.seeds", 3, "run.seeds should be a list, [one, another], not 3"),
    ("run.seeds", [True], "run.seeds.0 should be a valid integer"),
    ("run.seeds", [1.0], "run.seeds.0 should be a valid integer"),
    ("run.seeds", None, "run.seeds should be a list"),
    ("run.seeds", [], "run.seeds should not be empty"),
    ("run.datasets", "demo", "run.datasets should be a list, [one, another], not 'demo'"),
    ("run.datasets", None, "run.datasets should be a list"),
    ("run.datasets", "", "run.datasets should be a list"),
    ("run.datasets", [None], "run.datasets.0 should be a valid string"),
    ("run.datasets", [""], "run.datasets: '' cannot be a name"),
    ("run.datasets", [], "run.datasets should not be empty"),
    ("run.datasets", ["demo", "demo"], "run.datasets names 'demo' twice"),
    ("run.features", ["noise", "noise", "clip-tiny"], "run.features names 'noise' twice"),
    ("run.encoders", ["clip-tiny", "clip-tiny"], "run.encoders names 'clip-tiny' twice"),
    ("run.recommenders", ["vbpr", "vbpr"], "run.recommenders names 'vbpr' twice"),
    ("run.controls", ["reference"], "run.controls: 'reference' is unknown"),
    ("run.features", [], "run.recommenders names 'vbpr', but run.features is empty"),
    ("run.end2end", [], "names 'vbpr', but run.end2end is empty"),
    ("run.end2end_recommenders", [], "but run.end2end_recommenders is empty"),
    ("run", None, "run should be a section of keys and values, not None"),
    ("run", [], "run should be a section of keys and values"),
    ("encoders", None, "encoders should hold sections by name, not None"),
    ("controls", "noise", "controls should hold sections by name, not 'noise'"),
    ("controls.reference", None, "controls.reference is None; name the features"),
    ("controls.reference", "", "controls.reference is ''; name the features"),
    ("controls.reference", 3, "controls.reference is 3; name the features"),
    ("controls.reference", "clip-tyni", "controls.reference: 'clip-tyni' is made by nothing"),
    ("controls.reference", "vlmo", "put 'vlmo' under run.encoders"),
    ("controls.reference", "noise", "controls.reference: 'noise' is a control itself"),
    ("controls.reference", "../raw", "'../raw' cannot be a name"),
    ("controls.reference", REMOVED, "controls.reference is missing"),
]
REACHED = [
    ("datasets.demo.preprocess.core", "three", "preprocess.core should be a valid integer"),
    ("datasets.demo.preprocess.core", -1, "preprocess.core should be greater"),
    ("datasets.demo.preprocess.split", "randon", "preprocess.split should be 'random'"),
    ("datasets.demo.preprocess.split", "given", "datasets.demo.source brings no split"),
    ("datasets.demo.preprocess.split_seed", 2**40, "split_seed should be less"),
    ("datasets.demo.preprocess.text_fields", ["title", "title"], "text_fields names 'title' twice"),
    ("datasets.demo.preprocess.text_field", [], "did you mean 'text_fields'?"),
    ("datasets.demo.source.seed", -1, "datasets.demo.source.seed should be greater"),
    ("datasets.demo.source.kind", "dmeo", "source.kind is 'dmeo'; did you mean 'demo'?"),
    ("datasets.demo.source.both_weight", float("inf"), "both_weight should be a finite number"),
    ("datasets.demo.images.jpeg_quality", 100, "images.jpeg_quality should be less"),
    ("datasets.demo.images", None, "datasets.demo.images should be a section"),
    ("datasets.demo.source", REMOVED, "datasets.demo.source is missing"),
    ("datasets.demo.sorce", {}, "datasets.demo.sorce is not a parameter; did you mean 'source'?"),
    ("datasets.sports.source.category", "", "source.category should not be empty"),
    ("datasets.sports.source.preset", "amazon-2013", "preset amazon-2013 no addresses"),
    ("datasets.sports.source.sha256", {"reviews": "abc"}, "sha256.reviews should be a SHA-256"),
    ("datasets.sports.source", REVIEWS, "fetch.reviews.url should not be empty"),
    (f"{FOLDER}.folder", "", "source.folder should not be empty"),
    (f"{FOLDER}.interactions", {"user": ""}, "interactions.user should not be empty"),
    (f"{FOLDER}.interactions", {"separator": ""}, "interactions.separator should not be empty"),
    (f"{FOLDER}.interactions", {"split": SPLIT}, "split gives two splits the one name 'a'"),
    (f"{FOLDER}.interactions", PARTS, "interactions gives two splits the one name 'b.json'"),
    (f"{FOLDER}.items", {"title": ""}, "items.title should not be empty"),
    ("encoders.clip-tiny.revision", "one", "encoders.clip-tiny.revision should be a valid integer"),
    ("encoders.clip-tiny.revision", 0, "encoders.clip-tiny.revision should be greater"),
    ("encoders.clip-tiny.weights.family", "clap", "weights.family is 'clap'"),
    ("encoders.clip-tiny.weights.kind", "pretrain", "did you mean 'pretrain-tiny'?"),
    ("encoders.clip-tiny.weights.seed", 2**64, "weights.seed should be less"),
    ("encoders.clip-tiny.extract.precision", "float16", "extract.precision should be 'float32'"),
    ("encoders.clip-tiny.extract.fusde", True, "did you mean 'fused'?"),
    ("encoders.clip-tiny.finetune.epochs", 0, "finetune.epochs should be greater"),
    ("encoders.clip-tiny.finetune.tune", {"kind": "some"}, "encoders.clip-tiny.finetune.tune"),
    ("encoders.clip-tiny.finetune.tune", {"kind": "last-blocks", "blocks": HUGE}, "tune.blocks"),
    ("encoders.clip-tiny.end2end.warmup_steps", -1, "end2end.warmup_steps should be greater"),
    ("encoders.clip-tiny.end2end", REMOVED, "encoders.clip-tiny.end2end is missing"),
    ("encoders.clip-tiny.finetnue", {}, "did you mean 'finetune'?"),
    ("encoders.clip.weights.pretrained", "", "weights.pretrained should not be empty"),
    ("encoders.clip.weights.sha256", "0" * 63, "weights.sha256 should be a SHA-256"),
    ("encoders.beit3.weights.variant", "huge", "beit3 has no variant 'huge'"),
    ("encoders.beit3.weights.image_pixels", HUGE, "weights.image_pixels should be less"),
    ("encoders.beit3.weights.tokenizer.path", "x", "must name either a url or a path"),
    ("encoders.resnet50-minilm.weights.text.path", "", "text.path should not be empty"),
    ("encoders.resnet50-minilm.weights.joint_dimensions", HUGE, "joint_dimensions should be less"),
    ("features.minimum_item_share", 2, "features.minimum_item_share should be less"),
    ("imports.cnn4096.files.demo.image.dimensions", HUGE, "demo.image.dimensions should be less"),
    ("imports.cnn4096.files.demo.image.file", "", "files.demo.image.file should not be empty"),
    ("controls.noise.seed", -1, "controls.noise.seed should be greater"),
    ("training.patience", 0, "training.patience should be greater"),
    ("training.validation_cutoff", HUGE, "training.validation_cutoff should be less"),
    ("training", None, "training should be a section of keys and values"),
    ("training", REMOVED, "training is missing"),
    ("end2end.refresh_steps", 0, "end2end.refresh_steps should be greater"),
    ("evaluation.cutoffs", [10, 0], "evaluation.cutoffs.1 should be greater"),
    ("evaluation.cutoffs", [10, 10], "evaluation.cutoffs names 10 twice"),
    ("evaluation.cutoffs", [HUGE], "evaluation.cutoffs.0 should be less"),
    ("evaluation.cutoffs", [], "evaluation.cutoffs should not be empty"),
    ("recommenders.vbpr.dimension", 64, "vbpr.dimension is not a parameter; did you mean"),
    ("recommenders.vbpr.dimensions", HUGE, "vbpr.dimensions should be less"),
    ("recommenders.vbpr.dimensions", -64, "vbpr.dimensions should be greater"),
    ("recommenders.vbpr.missing", "avg", "vbpr.missing should be 'mean' or 'zero', not 'avg'"),
    ("recommenders.vbpr.modalities", ["image", "image"], "modalities names 'image' twice"),
    ("recommenders.vbpr.learning_rate", float("nan"), "learning_rate should be a finite number"),
    ("recommenders.vbpr", REMOVED, "recommenders.vbpr is missing"),
    ("recommenders.bpr.learning_rate", "fast", "bpr.learning_rate should be a valid number"),
    ("recommenders.mmgcl.dropout", 1.5, "mmgcl.dropout should be less than 1"),
    ("recommenders.mmgcl.mask_weights", {"image": -1.0}, "mask_weights.image should be greater"),
    ("recommenders.mmgcl.layers", HUGE, "mmgcl.layers should be less"),
    ("recommenders.itemknn.neighbours", HUGE, "itemknn.neighbours should be less"),
    ("recommenders.lgmrec.keep_rate", 0.0, "lgmrec.keep_rate should be greater"),
]  # fmt: skip


@pytest.mark.parametrize(("key", "value", "sentence"), RUN + REACHED)
def test_a_fault_is_one_sentence(tmp_path: Path, key: str, value: Any, sentence: str) -> None:
    path = study(tmp_path, **{key: value})
    with pytest.raises(InputError) as caught:
        check_study(path, tmp_path / "scratch", {})
    said = str(caught.value)
    assert sentence in said and said.startswith(f"{path}: ") and "\n" not in said


def test_the_projects_own_params_and_all_that_they_can_reach_are_sound(tmp_path: Path) -> None:
    check_study(study(tmp_path), tmp_path / "scratch", {})
    content = read_params(ROOT / "params.yaml")
    everything: dict[str, Any] = {
        "run.encoders": list(content["encoders"]),
        "run.datasets": [name for name in content["datasets"] if name != "amazon-baby"],
        "run.imported": [],
        "run.recommenders": [name for name in content["recommenders"] if name != "bpr"][1:],
    }
    assert "lightgcn" not in everything["run.recommenders"]
    check_study(study(tmp_path, **everything), tmp_path / "scratch", {})
    check_study(ROOT / "params.yaml", tmp_path / "scratch", {})


def test_a_study_of_nothing(tmp_path: Path) -> None:
    empty: dict[str, Any] = {
        f"run.{key}": []
        for key in ("recommenders", "id_recommenders", "end2end", "end2end_recommenders")
    }
    with pytest.raises(InputError, match="run trains no recommender; name one under"):
        check_study(study(tmp_path, **empty), tmp_path, {})


def test_what_no_control_reads_may_name_anything(tmp_path: Path) -> None:
    changes: dict[str, Any] = {"run.controls": [], "controls.reference": None}
    changes["run.features"] = ["clip-tiny"]
    check_study(study(tmp_path, **changes), tmp_path / "scratch", {})


def test_what_the_run_does_not_reach_is_left_alone(tmp_path: Path) -> None:
    changes: dict[str, Any] = {
        "recommenders.freedom.dimensions": -1,
        "encoders.vlmo.extract": None,
        "datasets.clothing.source": None,
    }
    check_study(study(tmp_path, **changes), tmp_path / "scratch", {})


def test_ratings_that_the_source_lacks(tmp_path: Path) -> None:
    changes: dict[str, Any] = {
        f"{FOLDER}.interactions": {"file": "interactions.csv", "rating": None},
        "datasets.ml-100k.preprocess.minimum_rating": 4.0,
    }
    with pytest.raises(InputError, match=r"minimum_rating needs ratings"):
        check_study(study(tmp_path, **changes), tmp_path / "scratch", {})


def test_sound_sections_are_not_looked_at_again(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    looked: list[Path] = []
    monkeypatch.setattr(sections, "_check", lambda run, path: looked.append(path))
    scratch = tmp_path / "scratch"
    for times, changes in (
        (1, {}),
        (1, {}),
        (1, {"recommenders.freedom.dimensions": 8}),  # not reached
        (2, {"recommenders.vbpr.dimensions": 8}),
        (3, {"recommenders.vbpr.dimensions": 8, "run.end2end": ["clip-tiny", "clip"]}),
    ):
        path = study(tmp_path, **changes)
        sections.check_sections(read_run(path), path, scratch)
        assert len(looked) == times
    assert Path(lmm4rec.__file__).parent == sections.LIBRARY  # code that changed is looked at anew
    library = tmp_path / "library"
    library.mkdir()
    monkeypatch.setattr(sections, "LIBRARY", library)
    sections.check_sections(read_run(path), path, scratch)
    (library / "model.py").write_text("a = 1\n")
    sections.check_sections(read_run(path), path, scratch)
    assert len(looked) == 5


def test_a_fault_is_not_remembered_as_sound(tmp_path: Path) -> None:
    path = study(tmp_path, **{"recommenders.vbpr.dimensions": -1})
    for _ in range(2):
        with pytest.raises(InputError):
            check_study(path, tmp_path / "scratch", {})


def test_a_params_file_that_is_not_text(tmp_path: Path) -> None:
    (tmp_path / "params.yaml").write_bytes(b"run: \xff")
    with pytest.raises(InputError, match="byte 5 is not UTF-8; save the file in that encoding"):
        check_study(tmp_path / "params.yaml", tmp_path, {})


def check(folder: Path) -> subprocess.CompletedProcess[str]:
    command = [sys.executable, "-m", "stages.check", "--features", "data/features"]
    command += ["--records", "data/sources", "--output", "data/checked.txt"]
    environment = os.environ | {"PYTHONPATH": str(ROOT)}
    return subprocess.run(command, cwd=folder, env=environment, capture_output=True, text=True)


def test_the_stage_looks_at_the_folders_that_are_there(tmp_path: Path) -> None:
    study(tmp_path, **{"run.features": ["mine"], "run.datasets": ["demo"]})
    done = check(tmp_path)
    assert done.returncode == 1 and "run.features: 'mine' is made by nothing" in done.stderr
    assert not (tmp_path / "data/checked.txt").exists()
    (tmp_path / "data/features/demo/mine").mkdir(parents=True)
    assert check(tmp_path).returncode == 0
    first = (tmp_path / "data/checked.txt").read_bytes()
    changes = {"run.features": ["mine"], "run.datasets": ["demo"]}
    study(tmp_path, **changes, **{"recommenders.freedom.dimensions": 8})
    assert check(tmp_path).returncode == 0
    assert (tmp_path / "data/checked.txt").read_bytes() == first


def test_an_unchanged_study_is_checked_without_the_libraries_that_take_seconds(
    tmp_path: Path,
) -> None:
    path = study(tmp_path)
    code = (
        "import sys, pathlib; from lmm4rec.study.check import check_study; "
        f"check_study(pathlib.Path({str(path)!r}), pathlib.Path({str(tmp_path)!r}), {{}}); "
        "print('torch' in sys.modules, 'pyarrow' in sys.modules)"
    )
    said = [
        subprocess.run(
            [sys.executable, "-c", code], cwd=ROOT, capture_output=True, text=True, check=True
        ).stdout.split()
        for _ in range(2)
    ]
    assert said == [["True", "True"], ["False", "False"]]
