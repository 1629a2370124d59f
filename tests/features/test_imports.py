"""The stage import-features on files of this machine: found, checked, recorded, joined by id."""

from __future__ import annotations

import hashlib
import json
from pathlib import Path
from typing import Any

import numpy as np
import pyarrow as pa
import pytest
from click.testing import CliRunner

from lmm4rec.errors import InputError
from lmm4rec.features.features import read_features
from lmm4rec.features.imports import DatasetImport, ImportConfig
from lmm4rec.folders import write_json
from lmm4rec.params import check_section
from lmm4rec.study.check import check_local_files
from lmm4rec.study.run import Run
from stages.import_features import main
from tests.catalogue.toy_catalogue import write_bare_items

N = 12
IDS = [f"i{row:02d}" for row in range(N)]
MAPPED = "asin\titemID\n" + "".join(f"{item}\t{N - 1 - row}\n" for row, item in enumerate(IDS))


def given(file: Path) -> dict[str, Any]:
    return {"file": str(file), "sha256": None}


@pytest.fixture
def project(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """A corpus, and beside it what MMRec and Cornac would leave."""
    monkeypatch.chdir(tmp_path)
    (tmp_path / "corpus").mkdir()
    (tmp_path / "theirs").mkdir()
    write_bare_items(tmp_path / "corpus", IDS, [""] * N)
    rng = np.random.default_rng(0)
    image = rng.normal(size=(N, 5))
    image[[0, 3]] = image.mean(axis=0)  # how MMRec fills what is missing
    np.save(tmp_path / "theirs/image_feat.npy", image)
    np.save(tmp_path / "theirs/text.npy", rng.normal(size=(N - 1, 3)).astype(np.float32))
    (tmp_path / "theirs/map.csv").write_text(MAPPED)
    (tmp_path / "theirs/missed.csv").write_text("0\n3\n")
    (tmp_path / "theirs/ids.txt").write_text("\n".join(IDS[1:]))
    return tmp_path


def section(project: Path, revision: int = 1) -> dict[str, Any]:
    theirs = project / "theirs"
    image = {"kind": "rows", "array": given(theirs / "image_feat.npy"),
             "ids": given(theirs / "map.csv"), "missing": given(theirs / "missed.csv")}  # fmt: skip
    text = {"kind": "rows-with-ids", "array": given(theirs / "text.npy"),
            "ids": given(theirs / "ids.txt")}  # fmt: skip
    return {"revision": revision, "image": image, "text": text}


def run(project: Path, toy: dict[str, Any], share: float = 0.5) -> str:
    """What the stage says where it fails; empty where it does not."""
    rules = {"minimum_item_share": share, "maximum_alike_share": 0.5}
    write_json(
        project / "params.yaml", {"features": rules, "imports": {"x": {"files": {"toy": toy}}}}
    )
    options = ["--imported", "x", "--dataset", "toy", "--corpus", "corpus", "--output", "out"]
    done = CliRunner().invoke(main, [*options, "--record", "records/features/toy/x.json"])
    assert done.exit_code in (0, 1) and not isinstance(done.exception, InputError)
    return done.output if done.exit_code else ""


def test_both_modalities_join_by_id(project: Path) -> None:
    assert run(project, section(project)) == ""
    features = read_features(project / "out", pa.array(IDS))
    image = (
        np.load(project / "theirs/image_feat.npy", allow_pickle=False)
        .astype(np.float32)[::-1]
        .copy()
    )
    image[[N - 1, N - 4]] = 0
    np.testing.assert_array_equal(features.matrices["image"], image)
    assert np.flatnonzero(~features.present["image"]).tolist() == [N - 4, N - 1]
    text = np.load(project / "theirs/text.npy", allow_pickle=False)
    np.testing.assert_array_equal(features.matrices["text"][1:], text)
    assert np.flatnonzero(~features.present["text"]).tolist() == [0]
    about = json.loads((project / "out/about.json").read_text())
    assert about["counts"]["image"]["said_to_be_missing"] == 2
    assert about["files"].keys() == {
        "image_feat.npy", "map.csv", "missed.csv", "text.npy", "ids.txt"
    }  # fmt: skip
    assert str(project) not in json.dumps(about)
    assert not list((project / "data/scratch").glob("import*"))


def test_features_of_most_items_are_asked_for(project: Path) -> None:
    said = run(project, section(project), share=0.95)
    assert "text.npy" not in said and "image_feat.npy: 2 of the corpus's 12 items have no" in said
    (project / "theirs/missed.csv").write_text("")
    said = run(project, section(project), share=0.95)
    assert "text.npy: 1 of the corpus's 12 items have no vector there (first: 'i00')" in said


def test_mean_vectors_in_place_of_missing_ones_are_refused(project: Path) -> None:
    """All of MMRec's, but for the list of what is missing."""
    image = np.load(project / "theirs/image_feat.npy", allow_pickle=False)
    image[:8] = image[0]
    np.save(project / "theirs/image_feat.npy", image)
    toy = section(project)
    toy["image"]["missing"] = None
    assert "8 of 12 vectors are one and the same (first: item 'i04')" in run(project, toy)


def test_sums_are_checked(project: Path) -> None:
    toy = section(project)
    content = (project / "theirs/map.csv").read_bytes()
    toy["image"]["ids"]["sha256"] = hashlib.sha256(content).hexdigest().upper()
    assert run(project, toy) == ""
    toy["image"]["ids"]["sha256"] = "0" * 64
    assert "map.csv: the file's SHA-256 is " in run(project, toy)
    toy["image"]["ids"] = given(project / "theirs/gone.csv")
    assert "gone.csv: there is no such file; correct it under imports" in run(project, toy)


def test_an_edit_is_noticed_until_the_revision_is_raised(project: Path) -> None:
    assert run(project, section(project)) == ""
    record = json.loads((project / "records/features/toy/x.json").read_text())
    assert len(record["read"]) == 5
    lists = dict.fromkeys(Run.model_fields, ())
    asked = Run.model_construct(**{**lists, "datasets": ["toy"], "imported": ["x"]})
    places = project / "params.yaml", project / "records", project / "data/scratch"
    (project / "records/datasets").mkdir()
    write_params = json.loads((project / "params.yaml").read_text())
    write_params["datasets"] = {"toy": {"source": {"revision": 1}}}
    write_json(project / "params.yaml", write_params)
    check_local_files(asked, *places)
    np.save(project / "theirs/text.npy", np.zeros((N - 1, 3)))
    says = r"text\.npy: was changed .* raise imports\.x\.files\.toy\.revision in params\.yaml"
    with pytest.raises(InputError, match=says):
        check_local_files(asked, *places)
    assert "text.npy: was changed" in run(project, section(project))
    np.save(project / "theirs/text.npy", np.random.default_rng(1).normal(size=(N - 1, 3)))
    assert run(project, section(project, revision=2)) == ""


@pytest.mark.parametrize(
    ("change", "says"),
    [
        ({"image": None, "text": None}, "imports.x.toy names neither image nor text; give one"),
        ({"image": {"kind": "row"}}, "imports.x.toy.image"),
        ({"revision": 0}, "imports.x.toy.revision should be greater than 0"),
        ({"images": None}, "imports.x.toy.images is not a parameter; did you mean 'image'"),
        ({"text": {"kind": "column", "table": given(Path("x")), "item": "a", "vectr": "b"}},
         "imports.x.toy.text.vectr is not a parameter; did you mean 'vector'"),
    ],
)  # fmt: skip
def test_sections_that_are_wrong(change: dict[str, Any], says: str, tmp_path: Path) -> None:
    values = section(tmp_path) | change
    with pytest.raises(InputError, match=says):
        check_section(values, DatasetImport, "imports.x.toy", Path("params.yaml"))
    with pytest.raises(InputError):
        check_section({"files": {"toy": values}}, ImportConfig, "imports.x", Path("params.yaml"))
