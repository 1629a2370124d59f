"""Parsers and preprocessing on real data; skipped where ../shared/data is absent."""

import json
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import pyarrow as pa
import pytest

from lmm4rec.catalogue.images import STATUSES
from lmm4rec.catalogue.picture_archive import ARCHIVE
from lmm4rec.catalogue.picture_collection import ImagesParams, collect_images
from lmm4rec.catalogue.picture_links import from_archive
from lmm4rec.catalogue.preprocessing import PreprocessParams, write_corpus
from lmm4rec.catalogue.sources.amazon2014 import (
    Amazon2014Source,
    RemoteFile,
    read_metadata,
    read_reviews,
)
from lmm4rec.catalogue.sources.base import Reading, Source
from lmm4rec.catalogue.sources.files import FilesSource
from lmm4rec.errors import InputError
from lmm4rec.params import check_section, read_params

ROOT = Path(__file__).parents[2]
DATA = ROOT.parent / "shared" / "data"
PARAMS = ROOT / "params.yaml"

pytestmark = pytest.mark.skipif(not DATA.is_dir(), reason=f"no real data at {DATA}")


def section(dataset: str) -> Mapping[str, Any]:
    found: Mapping[str, Any] = read_params(PARAMS)["datasets"][dataset]
    return found


def files_source(dataset: str) -> FilesSource:
    values = dict(section(dataset)["source"])
    values["folder"] = str(ROOT / values["folder"])
    return check_section(values, FilesSource, f"datasets.{dataset}.source", PARAMS)


def corpus(source: Source, dataset: str, root: Path, **changes: Any) -> dict[str, Any]:
    """about.json of the corpus of a dataset whose raw files are in root/raw."""
    params = PreprocessParams.model_validate({**section(dataset)["preprocess"], **changes})
    (root / "corpus").mkdir()
    return write_corpus(source, root / "raw", root / "corpus", params)


def downloaded(source: Source, root: Path) -> Source:
    (root / "raw").mkdir()
    (root / "scratch").mkdir()
    source.download(root / "raw", root / "scratch")
    return source


def test_every_section_of_params_is_whole() -> None:
    from lmm4rec.catalogue.sources import read_source

    for dataset, values in read_params(PARAMS)["datasets"].items():
        read_source(PARAMS, dataset)
        for name, model in (("preprocess", PreprocessParams), ("images", ImagesParams)):
            check_section(values[name], model, f"datasets.{dataset}.{name}", PARAMS)


def test_ml100k(tmp_path: Path) -> None:
    source = downloaded(files_source("ml-100k"), tmp_path)
    about = corpus(source, "ml-100k", tmp_path, core=0)
    assert (about["users"], about["items"], about["interactions"]) == (943, 1682, 100_000)
    assert about["items_without_picture_link"] == 1682 - 1663
    assert about["cleaning"]["duplicate_items"] == 1746 - 1682
    items = pa.parquet.read_table(tmp_path / "corpus" / "items.parquet")
    params = check_section(section("ml-100k")["images"], ImagesParams, "images", PARAMS)
    (tmp_path / "images").mkdir()
    archive = from_archive(tmp_path / "raw" / ARCHIVE)
    scratch = tmp_path / "scratch"
    counts = collect_images(items, archive, tmp_path / "images", scratch, params, threads=2)
    assert counts == dict.fromkeys(STATUSES, 0) | {"ok": 1663, "no-link": 19}


def test_musical_instruments_is_already_a_five_core(tmp_path: Path, monkeypatch: Any) -> None:
    monkeypatch.setenv("LMM4REC_MIRROR", str(DATA / "amazon2014"))
    url = "http://mirrored.invalid/reviews_Musical_Instruments_5.json.gz"
    reviews = RemoteFile(url=url, sha256=None)
    source = Amazon2014Source(kind="amazon2014", revision=1, reviews=reviews, metadata=None)
    about = corpus(downloaded(source, tmp_path), "baby", tmp_path)
    assert (about["users"], about["items"], about["interactions"]) == (1429, 900, 10_261)
    assert about["cleaning"]["outside_core"] == about["cleaning"]["unparsable_lines"] == 0
    assert about["items_without_text"] == about["items_without_picture_link"] == 900


def test_digital_music_is_refused_unless_truncation_is_accepted() -> None:
    path = DATA / "amazon2014" / "reviews_Digital_Music_5.json.gz"
    with pytest.raises(InputError, match="breaks off before its end"):
        read_reviews(path, Reading(0.0, False))
    reading = Reading(0.0, True)
    reviews = read_reviews(path, reading)
    assert reviews.num_rows == 6908
    assert len(reviews["user_id"].unique()) == 2490
    wanted = reviews["item_id"].unique()
    assert len(wanted) == 382
    items = read_metadata(DATA / "amazon2014" / "meta_Digital_Music.json.gz", wanted, reading)
    assert items.num_rows == 382
    assert all(link.startswith("http://") for link in items["image"].drop_null().to_pylist())
    assert reading.counts["truncated_files"] == 2


def test_digital_music_preprocesses(tmp_path: Path, monkeypatch: Any) -> None:
    monkeypatch.setenv("LMM4REC_MIRROR", str(DATA / "amazon2014"))
    files = [
        RemoteFile(url=f"http://mirrored.invalid/{name}_Digital_Music{tail}.json.gz", sha256=None)
        for name, tail in (("reviews", "_5"), ("meta", ""))
    ]
    source = Amazon2014Source(kind="amazon2014", revision=1, reviews=files[0], metadata=files[1])
    about = corpus(downloaded(source, tmp_path), "baby", tmp_path, accept_truncated=True)
    assert about["cleaning"]["raw_interactions"] == 6908
    assert about["cleaning"]["truncated_files"] == 2
    assert 0 < about["interactions"] < 6908
    assert about["items_without_text"] == 0


def test_amazon_baby_with_its_published_split(tmp_path: Path) -> None:
    about = corpus(downloaded(files_source("amazon-baby"), tmp_path), "amazon-baby", tmp_path)
    assert (about["users"], about["items"], about["interactions"]) == (19_445, 7_050, 160_792)
    assert about["interactions_by_split"] == {
        "train": 119_674, "validation": 20_559, "test": 20_559
    }  # fmt: skip
    theirs = json.loads((DATA / "amazon_baby_splits" / "test.json").read_text())
    table = pa.parquet.read_table(tmp_path / "corpus" / "interactions.parquet")
    ours = {(row["user_id"], row["item_id"]) for row in table.to_pylist() if row["split"] == "test"}
    assert ours == {(user, str(item)) for user, items in theirs.items() for item in items}


def test_random_split_of_baby_has_the_counts_of_mmrec(tmp_path: Path) -> None:
    """118,551 / 20,559 / 21,682: MMRec's own split of the same interactions."""
    source = downloaded(files_source("amazon-baby"), tmp_path)
    about = corpus(source, "amazon-baby", tmp_path, split="random", core=5)
    assert about["interactions_by_split"] == {
        "train": 118_551, "validation": 20_559, "test": 21_682
    }  # fmt: skip
