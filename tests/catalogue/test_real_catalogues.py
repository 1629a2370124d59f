"""Parsers and preprocessing on real data; skipped where ../shared/data is absent."""

import json
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import pyarrow as pa
import pytest

from lmm4rec.catalogue.corpus import read_item_ids, read_picture_sources
from lmm4rec.catalogue.pictures.archive import ARCHIVE
from lmm4rec.catalogue.pictures.collection import ImagesParams, collect_images
from lmm4rec.catalogue.pictures.images import STATUSES
from lmm4rec.catalogue.pictures.links import from_archive
from lmm4rec.catalogue.preprocessing import PreprocessParams, write_corpus
from lmm4rec.catalogue.raw.catalogue import RawCatalogue, open_raw
from lmm4rec.catalogue.readers.reading import Reading
from lmm4rec.catalogue.sources import FetchedSource, read_source
from lmm4rec.catalogue.sources.base import Source
from lmm4rec.catalogue.sources.folder_source import FolderSource
from lmm4rec.errors import InputError
from lmm4rec.params import check_section, read_params

ROOT = Path(__file__).parents[2]
DATA = ROOT.parent / "shared" / "data"
PARAMS = ROOT / "params.yaml"

pytestmark = pytest.mark.skipif(not DATA.is_dir(), reason=f"no real data at {DATA}")


def section(dataset: str) -> Mapping[str, Any]:
    found: Mapping[str, Any] = read_params(PARAMS)["datasets"][dataset]
    return found


def folder_source(dataset: str) -> FolderSource:
    source = read_source(PARAMS, dataset)
    assert isinstance(source, FolderSource)
    return source.model_copy(update={"folder": str(ROOT / source.folder)})


def corpus(raw: RawCatalogue, dataset: str, root: Path, **changes: Any) -> dict[str, Any]:
    """about.json of the corpus of a dataset."""
    params = PreprocessParams.model_validate({**section(dataset)["preprocess"], **changes})
    (root / "corpus").mkdir()
    return write_corpus(raw, root / "corpus", params)


def downloaded(source: Source, root: Path) -> RawCatalogue:
    (root / "raw").mkdir()
    (root / "scratch").mkdir()
    source.download(root / "raw", root / "scratch", root / "salt")
    return open_raw(root / "raw")


def mirrored(category: str, root: Path, *roles: str) -> RawCatalogue:
    """A category of Amazon 2014, or of its files those that play these roles."""
    whole = FetchedSource(preset="amazon-2014", category=category).remote_files()
    files = {role: whole[role] for role in roles} if roles else whole
    return downloaded(FetchedSource(fetch=files), root)


def test_every_section_of_params_is_whole() -> None:
    for dataset, values in read_params(PARAMS)["datasets"].items():
        read_source(PARAMS, dataset)
        for name, model in (("preprocess", PreprocessParams), ("images", ImagesParams)):
            check_section(values[name], model, f"datasets.{dataset}.{name}", PARAMS)


def test_ml100k(tmp_path: Path) -> None:
    raw = downloaded(folder_source("ml-100k"), tmp_path)
    about = corpus(raw, "ml-100k", tmp_path, core=0)
    assert (about["users"], about["items"], about["interactions"]) == (943, 1682, 100_000)
    assert about["items_with_picture_named"] == 1663
    assert about["cleaning"]["repeated_item_rows"] == 1746 - 1682
    items, named = read_item_ids(tmp_path / "corpus"), read_picture_sources(tmp_path / "corpus")
    params = check_section(section("ml-100k")["images"], ImagesParams, "images", PARAMS)
    (tmp_path / "images").mkdir()
    archive = from_archive(tmp_path / "raw" / ARCHIVE)
    output, scratch = tmp_path / "images", tmp_path / "scratch"
    counts = collect_images(items, named, archive, output, scratch, params, threads=2)
    assert counts == dict.fromkeys(STATUSES, 0) | {"ok": 1663, "no-link": 19}


def test_musical_instruments_is_already_a_five_core(tmp_path: Path, monkeypatch: Any) -> None:
    monkeypatch.setenv("LMM4REC_MIRROR", str(DATA / "amazon2014"))
    raw = mirrored("Musical_Instruments", tmp_path, "reviews")
    about = corpus(raw, "baby", tmp_path)
    assert (about["users"], about["items"], about["interactions"]) == (1429, 900, 10_261)
    assert about["cleaning"]["outside_core"] == about["cleaning"]["unparsable_lines"] == 0
    assert about["items_without_text"] == 900 and about["items_with_picture_named"] == 0


def test_digital_music_is_refused_unless_truncation_is_accepted(
    tmp_path: Path, monkeypatch: Any
) -> None:
    monkeypatch.setenv("LMM4REC_MIRROR", str(DATA / "amazon2014"))
    raw = mirrored("Digital_Music", tmp_path)
    with pytest.raises(InputError, match="breaks off before its end"):
        raw.interactions(Reading(0.0, False))
    reading = Reading(0.0, True)
    reviews = raw.interactions(reading)
    assert reviews.num_rows == 6908
    assert len(reviews["user_id"].unique()) == 2490
    wanted = reviews["item_id"].unique()
    assert len(wanted) == 382
    assert raw.items(wanted, reading).num_rows == 382
    assert reading.counts["truncated_files"] == 2
    pictures = raw.pictures(wanted, reading).table
    assert all(link.startswith("http://") for link in pictures["picture"].to_pylist())
    assert 0.5 * 382 < pictures.num_rows <= 382


def test_digital_music_preprocesses(tmp_path: Path, monkeypatch: Any) -> None:
    monkeypatch.setenv("LMM4REC_MIRROR", str(DATA / "amazon2014"))
    raw = mirrored("Digital_Music", tmp_path)
    about = corpus(raw, "baby", tmp_path, accept_truncated=True)
    assert about["cleaning"]["raw_interactions"] == 6908
    assert about["cleaning"]["truncated_files"] == 2
    assert 0 < about["interactions"] < 6908
    assert about["items_without_text"] == 0


def test_amazon_baby_with_its_published_split(tmp_path: Path) -> None:
    raw = downloaded(folder_source("amazon-baby"), tmp_path)
    about = corpus(raw, "amazon-baby", tmp_path)
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
    raw = downloaded(folder_source("amazon-baby"), tmp_path)
    about = corpus(raw, "amazon-baby", tmp_path, split="random", core=5)
    assert about["interactions_by_split"] == {
        "train": 118_551, "validation": 20_559, "test": 21_682
    }  # fmt: skip
