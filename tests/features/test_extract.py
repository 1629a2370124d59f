"""Extraction: rows that never shift, any batch size and worker count, kills, and about.json."""

from __future__ import annotations

import json
import shutil
from pathlib import Path
from types import SimpleNamespace

import numpy as np
import pytest
import torch

from lmm4rec.catalogue.corpus import read_item_ids
from lmm4rec.catalogue.downloads import file_sha256
from lmm4rec.encoders import FAMILIES
from lmm4rec.encoders.base import Encoder
from lmm4rec.encoders.picture_texts import decode
from lmm4rec.errors import InputError
from lmm4rec.features import extraction
from lmm4rec.features.extraction import ExtractConfig, Pace, describe, extract
from lmm4rec.features.features import Features, read_features
from lmm4rec.features.items import Catalogue
from lmm4rec.folders import fingerprint
from tests.catalogue import toy_catalogue as toy
from tests.encoders.encoder_contract import tiny

CPU = torch.device("cpu")
SEPARATE = ExtractConfig(precision="float32", fused=False)


def features_of(
    project: Path,
    encoder: Encoder,
    batch_size: int = 64,
    workers: int = 0,
    config: ExtractConfig = SEPARATE,
) -> Features:
    """Extract into a fresh folder of `project` and read what stands there."""
    corpus, images = project / "data/corpus/toy", project / "data/images/toy"
    scratch, folder = project / "scratch", project / "features"
    for path in (scratch, folder):
        shutil.rmtree(path, ignore_errors=True)
        path.mkdir()
    pace = Pace(batch_size, workers, CPU)
    extract(encoder, Catalogue(corpus, images), config, pace, scratch, folder, {})
    return read_features(folder, read_item_ids(corpus))


def catalogue(project: Path, count: int = 40) -> Path:
    toy.write_catalogue(project, *toy.toy_items(count))
    return project


def test_rows_are_what_the_encoder_says_of_each_item(tmp_path: Path) -> None:
    encoder = tiny("clip")
    pictures, texts = toy.toy_items(40)
    features = features_of(catalogue(tmp_path), encoder)
    lacking = {"image": {toy.NO_PICTURE, toy.NEITHER}, "text": {toy.NO_TEXT, toy.NEITHER}}
    for name, rows in lacking.items():
        assert set(np.flatnonzero(~features.present[name])) == rows
        assert not features.matrices[name][sorted(rows)].any()
    for row, (picture, text) in enumerate(zip(pictures, texts, strict=True)):
        with torch.no_grad():
            if row not in lacking["image"]:
                image = decode(picture)  # type: ignore[arg-type]
                alone = encoder.encode_images(encoder.image_transform(image)[None])[0]  # type: ignore[arg-type]
                assert np.abs(features.matrices["image"][row] - alone.numpy()).max() < 1e-5
            if row not in lacking["text"]:
                alone = encoder.encode_texts(encoder.tokenizer([text]))[0]
                assert np.abs(features.matrices["text"][row] - alone.numpy()).max() < 1e-5


@pytest.mark.parametrize("family", FAMILIES)
def test_neither_batch_size_nor_workers_matter(family: str, tmp_path: Path) -> None:
    """530 items: two shards, the second begun in the middle of nowhere."""
    encoder, project = tiny(family), catalogue(tmp_path, 530)
    config = ExtractConfig(precision="float32", fused=encoder.fused_dim is not None)
    reference = features_of(project, encoder, 64, 0, config)
    assert len(reference.item_ids) == 530
    bytes_before = fingerprint(project / "features")
    for batch_size, workers in ((64, 2), (7, 1), (1000, 0)):
        other = features_of(project, encoder, batch_size, workers, config)
        assert other.matrices.keys() == reference.matrices.keys()
        for name in reference.matrices:
            difference = np.abs(other.matrices[name] - reference.matrices[name]).max()
            assert difference < 1e-5
            np.testing.assert_array_equal(other.present[name], reference.present[name])
        if batch_size == 64:
            assert fingerprint(project / "features") == bytes_before


@pytest.mark.parametrize("content", [b"<html>gone</html>", b"", b"\xff\xd8\xff\xe0 and no more"])
def test_a_corrupt_picture_changes_its_own_row_alone(content: bytes, tmp_path: Path) -> None:
    encoder, row = tiny("clip"), 20
    before = features_of(catalogue(tmp_path / "whole"), encoder, batch_size=16)
    pictures, texts = toy.toy_items(40)
    pictures[row] = content
    toy.write_catalogue(tmp_path / "broken", pictures, texts)
    after = features_of(tmp_path / "broken", encoder, batch_size=16)
    assert np.flatnonzero(before.present["image"] != after.present["image"]).tolist() == [row]
    assert not after.matrices["image"][row].any() and before.matrices["image"][row].any()
    others = np.arange(40) != row
    for name in ("image", "text"):
        assert np.abs(before.matrices[name] - after.matrices[name])[others].max() < 1e-6
    np.testing.assert_array_equal(before.present["text"], after.present["text"])


def test_truncated_picture_is_missing_and_not_half_grey(tmp_path: Path) -> None:
    pictures, texts = toy.toy_items(20)
    pictures[10] = pictures[10][: len(pictures[10]) // 2]  # type: ignore[index]
    toy.write_catalogue(tmp_path, pictures, texts)
    assert not features_of(tmp_path, tiny("clip")).present["image"][10]


def test_nothing_there_at_all(tmp_path: Path) -> None:
    toy.write_catalogue(tmp_path, [None] * 9, [""] * 9)
    features = features_of(tmp_path, tiny("clip"))
    assert not features.present["image"].any() and not features.matrices["text"].any()


def test_bfloat16_is_near_float32(tmp_path: Path) -> None:
    encoder, project = tiny("clip"), catalogue(tmp_path)
    exact = features_of(project, encoder)
    half = ExtractConfig(precision="bfloat16", fused=False)
    near = features_of(project, encoder, config=half)
    for name in ("image", "text"):
        assert near.matrices[name].dtype == np.float32
        assert 1e-6 < np.abs(near.matrices[name] - exact.matrices[name]).max() < 0.05


def test_the_pace_is_told(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
) -> None:
    moments = iter([100.0, 108.0])
    clock = SimpleNamespace(monotonic=lambda: next(moments))
    monkeypatch.setattr(extraction, "time", clock)
    with caplog.at_level("INFO", logger=extraction.__name__):
        features_of(catalogue(tmp_path, 20), tiny("clip"))
    assert "20 items in 8.0 s (2.5 items/s)" in caplog.messages


def test_fused_where_there_is_one(tmp_path: Path) -> None:
    fused = ExtractConfig(precision="float32", fused=True)
    with pytest.raises(InputError, match=r"extract\.fused is true, but clip encodes"):
        features_of(catalogue(tmp_path / "a"), tiny("clip"), config=fused)
    encoder = tiny("beit3")
    features = features_of(catalogue(tmp_path / "b"), encoder, batch_size=16, config=fused)
    assert features.matrices["fused"].shape == (40, encoder.fused_dim)
    incomplete = {toy.NO_PICTURE, toy.NO_TEXT, toy.NEITHER}
    assert set(np.flatnonzero(~features.present["fused"])) == incomplete
    pictures, texts = toy.toy_items(40)
    image = encoder.image_transform(decode(pictures[9]))[None]  # type: ignore[arg-type]
    with torch.no_grad():
        alone = encoder.encode_pairs(image, encoder.tokenizer([texts[9]]))[0].numpy()
    assert np.abs(features.matrices["fused"][9] - alone).max() < 1e-5


def test_a_batch_that_fails_leaves_whole_shards_and_nothing_else(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Shards of an earlier run are used: what they hold is not computed again."""
    encoder, project = tiny("clip"), catalogue(tmp_path, 530)
    features_of(project, encoder)
    whole = fingerprint(project / "features")
    (project / "scratch" / "000000512.safetensors").unlink()
    encoded = []
    original = encoder.encode_images
    monkeypatch.setattr(encoder, "encode_images", lambda x: encoded.append(len(x)) or original(x))
    corpus, images = project / "data/corpus/toy", project / "data/images/toy"
    again = project / "again"
    again.mkdir()
    scratch = project / "scratch"
    extract(encoder, Catalogue(corpus, images), SEPARATE, Pace(64, 0, CPU), scratch, again, {})
    assert sum(encoded) == 18
    assert fingerprint(again) == whole


def test_pictures_of_another_corpus(tmp_path: Path) -> None:
    project = catalogue(tmp_path / "one")
    toy.write_catalogue(tmp_path / "two", *toy.toy_items(39))
    with pytest.raises(InputError, match=r"images\.parquet: does not hold the items.*'i00039'"):
        Catalogue(tmp_path / "two/data/corpus/toy", project / "data/images/toy")


@pytest.mark.slow
def test_stage_killed_then_run_again_gives_the_same_bytes(tmp_path: Path) -> None:
    """1,100 items, three shards: the kill comes once the first stands."""
    project = toy.toy_project(tmp_path, 1100)
    command = toy.stage_command("extract", "data/features/toy/toy", "--batch-size", "64")
    toy.kill_once_there(project, command, "extract-*/000000000.safetensors")
    assert not (project / "data/features/toy/toy").exists()
    done = toy.run(project, command)
    assert done.returncode == 0, done.stderr
    assert not list((project / "data/scratch").iterdir())
    resumed = fingerprint(project / "data/features/toy/toy")
    assert "1100 items in" not in done.stderr  # some were done
    shutil.rmtree(project / "data/features")
    assert toy.run(project, command).returncode == 0
    assert fingerprint(project / "data/features/toy/toy") == resumed
    about = json.loads((project / "data/features/toy/toy/about.json").read_text())
    weights = project / "data/weights/toy/model.safetensors"
    assert about["weights_sha256"] == file_sha256(weights)
    assert about["encoder"] == "toy" and about["family"] == "clip" and about["normalised"]
    assert about["items"] == 1100 and about["items_with_image"] == 1098
    assert about["dims"] == {"image": 64, "text": 64}
    assert about["dtype"] == about["precision"] == "float32"
    assert "Resize" in about["preprocessing"] and about["pooling"]
    assert str(tmp_path) not in json.dumps(about)


def test_preprocessing_is_described_without_addresses_in_memory() -> None:
    one, two = (describe(tiny(family), SEPARATE) for family in ("clip", "clip"))
    assert one == two
    for family in ("clip", "beit3", "vlmo"):
        assert "0x" not in str(describe(tiny(family), SEPARATE)["preprocessing"])
