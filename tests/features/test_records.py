"""Features that come as a file of records: what is kept, what is counted, what is refused."""

from __future__ import annotations

import gzip
import json
import shutil
import subprocess
import sys
from collections.abc import Callable
from pathlib import Path

import numpy as np
import pyarrow as pa
import pytest
import torch
from click.testing import CliRunner
from numpy.typing import NDArray
from ruamel.yaml import YAML

from lmm4rec.errors import InputError
from lmm4rec.features.features import Features, read_features
from lmm4rec.features.records import RecordsImport, read_records
from lmm4rec.recommenders.shared.content import Content, ContentConfig
from stages.import_features import main
from tests.catalogue.toy_catalogue import write_bare_items
from tests.local_server import local_server

ROOT = Path(__file__).parents[2]
CONFIG = RecordsImport(kind="records", id_bytes=10, dimensions=6, file="x.b", sha256=None)
ITEMS = pa.array(["B000000001", "B000000002", "B000000003", "B000000004"])


def record(item_id: str, vector: NDArray[np.float32]) -> bytes:
    return item_id.encode().ljust(10)[:10] + vector.astype("<f4").tobytes()


def world(count: int = 700) -> dict[str, NDArray[np.float32]]:
    """Vectors of many products, the corpus's third item not among them."""
    rng = np.random.default_rng(0)
    names = [f"B{number:09d}" for number in rng.permutation(count) if number != 3]
    return {name: rng.standard_normal(6).astype(np.float32) for name in names}


def written(folder: Path, content: bytes) -> Path:
    path = folder / "image_features_X.b"
    path.write_bytes(content)
    return path


def file_of(vectors: dict[str, NDArray[np.float32]]) -> bytes:
    return b"".join(record(name, vector) for name, vector in vectors.items())


@pytest.mark.parametrize("pack", [bytes, gzip.compress])
def test_items_of_the_corpus_are_picked_out(pack: Callable[[bytes], bytes], tmp_path: Path) -> None:
    vectors = world()
    path = written(tmp_path, pack(file_of(vectors)))
    matrix, present, counts = read_records(path, ITEMS, CONFIG)
    assert present.tolist() == [True, True, False, True]
    for row, name in enumerate(ITEMS.to_pylist()):
        expected = vectors.get(name, np.zeros(6))
        np.testing.assert_array_equal(matrix[row], expected)
    assert counts == {"records": 699, "duplicate_items": 0, "items_not_finite": 0}


def test_an_item_that_stands_twice_keeps_its_first_record(tmp_path: Path) -> None:
    vectors = world()
    again = record("B000000002", np.ones(6)) + record("B000000699", np.ones(6))
    path = written(tmp_path, file_of(vectors) + again)
    matrix, _, counts = read_records(path, ITEMS, CONFIG)
    np.testing.assert_array_equal(matrix[1], vectors["B000000002"])
    assert counts["duplicate_items"] == 1  # strangers are not counted


def test_vectors_that_are_not_finite_are_missing(tmp_path: Path) -> None:
    vectors = world()
    vectors["B000000004"][2] = np.nan
    matrix, present, counts = read_records(written(tmp_path, file_of(vectors)), ITEMS, CONFIG)
    assert present.tolist() == [True, True, False, False]
    assert not matrix[3].any() and counts["items_not_finite"] == 1


@pytest.mark.parametrize(
    ("change", "message"),
    [
        (lambda whole: whole[:-5], r"X\.b: ends 29 bytes into record 699 of 34 bytes each; fetch"),
        (lambda whole: gzip.compress(whole)[:-500], r"X\.b: not a whole gzip file"),
        (lambda whole: gzip.compress(whole[:-5]), r"X\.b: ends 29 bytes into record 699"),
        (lambda _: b"\x1f\x8b nothing of the kind", r"X\.b: not a whole gzip file"),
        (lambda _: b"", r"holds none of the corpus's 4 items in 0 records"),
        (lambda _: record("A000000001", np.ones(6)), r"none of the corpus's 4 items in 1 records"),
        (lambda _: b"<html>" + b" " * 28, r"record 1 begins with b'<html>.*no item id"),
    ],
)
def test_files_that_are_of_no_use(
    change: Callable[[bytes], bytes], message: str, tmp_path: Path
) -> None:
    with pytest.raises(InputError, match=message):
        read_records(written(tmp_path, change(file_of(world()))), ITEMS, CONFIG)


@pytest.mark.parametrize(("id_bytes", "dimensions"), [(10, 5), (10, 7), (9, 6), (11, 6)])
def test_records_of_another_size(id_bytes: int, dimensions: int, tmp_path: Path) -> None:
    config = CONFIG.model_copy(update={"id_bytes": id_bytes, "dimensions": dimensions})
    with pytest.raises(InputError, match="correct id_bytes and dimensions"):
        read_records(written(tmp_path, file_of(world(703))), ITEMS, config)


# ------------------------------------------------------------------------------------------ stage


PARAMS = """
features: {{minimum_item_share: 0.5, maximum_alike_share: 0.5}}
imports:
  cnn:
    files:
      toy:
        revision: 1
        image: {{kind: records, id_bytes: 10, dimensions: 6, file: "{url}", sha256: null}}
        text: null
"""


def test_stage_resumes_and_writes_an_image_only_folder(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.chdir(tmp_path)
    monkeypatch.delenv("LMM4REC_MIRROR", raising=False)
    monkeypatch.setattr("time.sleep", lambda _: None)
    corpus = tmp_path / "corpus"
    corpus.mkdir()
    write_bare_items(corpus, ITEMS.to_pylist(), [""] * len(ITEMS))
    options = ["--imported", "cnn", "--dataset", "toy", "--corpus", "corpus", "--output", "out"]
    options += ["--record", "record.json"]
    with local_server() as server:
        server.files["/image_features_X.b"] = file_of(world())
        server.cuts["/image_features_X.b"] = [9000]
        address = server.address("/image_features_X.b")
        Path("params.yaml").write_text(PARAMS.format(url=address))
        done = CliRunner().invoke(main, options)
        assert done.exit_code == 0, done.output
        assert server.requests[-1][1] == "bytes=9000-"
    features = read_features(Path("out"), ITEMS)
    assert list(features.matrices) == ["image"]
    about = json.loads(Path("out/about.json").read_text())
    assert about["items_with_image"] == 3 and about["counts"]["image"]["records"] == 699
    assert list(about["files"]) == [address] and len(about["files"][address]) == 64
    assert json.loads(Path("record.json").read_text()) == {"revision": 1, "read": {}}
    assert not list(Path("data/scratch").iterdir())


def test_recommenders_of_missing_modalities_say_so() -> None:
    features = Features(ITEMS, {"image": np.ones((4, 6), np.float32)}, {"image": np.ones(4, bool)})
    fields = {"missing": "mean", "scaling": "none"}
    both = ContentConfig.model_validate(fields | {"modalities": ["image", "text"]})
    with pytest.raises(InputError, match=r"no 'text' matrix, only image; set .*`modalities`"):
        Content(features, both)
    alone = Content(features, ContentConfig.model_validate(fields | {"modalities": ["image"]}))
    assert torch.equal(alone.table("image"), torch.ones(4, 6))


@pytest.mark.parametrize("imported", [[], ["cnn4096"]])
def test_dvc_takes_any_list_of_imports(imported: list[str], tmp_path: Path) -> None:
    """An empty list too: it is the default."""
    shutil.copy(ROOT / "dvc.yaml", tmp_path)
    yaml = YAML()
    params = yaml.load((ROOT / "params.yaml").read_text())
    assert params["run"]["imported"] == []
    params["run"]["imported"], params["run"]["datasets"] = imported, ["sports"]
    yaml.dump(params, tmp_path / "params.yaml")
    dvc = [str(Path(sys.executable).parent / "dvc")]
    subprocess.run([*dvc, "init", "--no-scm", "-q"], cwd=tmp_path, check=True)
    listed = subprocess.run(
        [*dvc, "stage", "list", "--name-only"],
        cwd=tmp_path, capture_output=True, text=True, check=True,
    )  # fmt: skip
    stages = [name for name in listed.stdout.split() if name.startswith("import-features")]
    assert stages == [f"import-features@sports-{name}" for name in imported]
