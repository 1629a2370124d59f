"""Several pictures of an item become one vector, and nothing else of the features changes."""

from __future__ import annotations

import json
import shutil
from pathlib import Path

import numpy as np
import pyarrow.parquet as pq
import pytest
import torch

from lmm4rec.encoders.picture_texts import decode
from lmm4rec.errors import InputError
from lmm4rec.features.extraction import ExtractConfig
from lmm4rec.features.items import Catalogue
from lmm4rec.features.mean_directions import MeanDirections
from lmm4rec.folders import fingerprint
from tests.catalogue import toy_catalogue as toy
from tests.encoders.encoder_contract import tiny
from tests.features.test_extract import catalogue, features_of


def several(project: Path, count: int = 40) -> dict[int, list[bytes]]:
    """A catalogue in which some items have up to three further pictures: row -> these."""
    pictures, texts = toy.toy_items(count)
    spare = [one for one in toy.toy_items(count, seed=1)[0] if one is not None]
    toy.write_catalogue(project, pictures, texts)
    with_further = [row for row in range(0, count, 3) if pictures[row] is not None]
    further = {row: [spare[(row + k) % len(spare)] for k in range(1 + row % 3)]
               for row in (*with_further, 2, count - 1)}  # fmt: skip
    rows = [{"item_id": f"i{row:05d}", "status": "ok" if p else "no-link", "bytes": p}
            for row, p in enumerate(pictures)]  # fmt: skip
    more: list[dict[str, object]] = []
    for row, contents in sorted(further.items()):
        dead = {"item_id": f"i{row:05d}", "position": 1, "status": "not-found", "bytes": None}
        more += [dead, *({**dead, "position": 2 + k, "status": "ok", "bytes": content}
                         for k, content in enumerate(contents))]  # fmt: skip
    toy.write_pictures(project / "data/images/toy", rows, more)
    return further


@pytest.mark.parametrize("family", ["clip", "beit3"])
def test_several_pictures_give_their_mean_direction(family: str, tmp_path: Path) -> None:
    encoder = tiny(family)
    config = ExtractConfig(precision="float32", fused=encoder.fused_dim is not None)
    one = features_of(catalogue(tmp_path / "one"), encoder, 16, config=config)
    further = several(tmp_path / "several")
    found = features_of(tmp_path / "several", encoder, 16, config=config)
    pictures, texts = toy.toy_items(40)
    np.testing.assert_array_equal(found.matrices["text"], one.matrices["text"])
    for name in {"image", "fused"} & found.matrices.keys():
        np.testing.assert_array_equal(found.present[name], one.present[name])
        for row in range(40):
            if row not in further:
                np.testing.assert_array_equal(found.matrices[name][row], one.matrices[name][row])
                continue
            if not found.present[name][row]:
                continue
            vectors = []
            for content in (pictures[row], *further[row]):
                image = encoder.image_transform(decode(content))[None]  # type: ignore[arg-type]
                with torch.no_grad():
                    vectors.append(
                        encoder.encode_images(image)[0]
                        if name == "image"
                        else encoder.encode_pairs(image, encoder.tokenizer([texts[row]]))[0]
                    )
            mean = torch.stack(vectors).mean(0)
            expected = (mean / mean.norm()).numpy()
            assert np.abs(found.matrices[name][row] - expected).max() < 1e-5
            assert np.abs(found.matrices[name][row] - one.matrices[name][row]).max() > 1e-3


def test_several_pictures_across_shards_batches_and_workers(tmp_path: Path) -> None:
    encoder = tiny("clip")
    several(tmp_path, 530)
    reference = features_of(tmp_path, encoder, 64, 0)
    before = fingerprint(tmp_path / "features")
    for batch_size, workers in ((64, 2), (7, 0), (1000, 0)):
        other = features_of(tmp_path, encoder, batch_size, workers)
        for name in reference.matrices:
            assert np.abs(other.matrices[name] - reference.matrices[name]).max() < 1e-5
        if workers:
            assert fingerprint(tmp_path / "features") == before


def test_pictures_that_cancel_out_leave_the_main_one() -> None:
    shard = {"image": np.array([[1, 0], [0, 1]], np.float32), "has_image": np.array([True, False])}
    means, rows = MeanDirections(shard), np.array([0, 1])
    means.add(rows, {"image": (torch.tensor([0, 1]), torch.tensor([[-1.0, 0.0], [1.0, 0.0]]))})
    means.settle(rows)
    assert shard["image"][0].tolist() == [1, 0]
    assert shard["image"][1] == pytest.approx(np.full(2, 0.5**0.5))
    assert shard["has_image"].tolist() == [True, True]


@pytest.mark.slow
def test_the_stage_says_how_many_pictures_were_there_and_used(tmp_path: Path) -> None:
    project = toy.toy_project(tmp_path, 40)
    command = toy.stage_command("extract", "data/features/toy/toy")
    assert toy.run(project, command).returncode == 0
    about = project / "data/features/toy/toy/about.json"
    assert "pictures" not in json.loads(about.read_text())
    shutil.rmtree(project / "data/corpus")
    shutil.rmtree(project / "data/images")
    further = several(project)
    assert toy.run(project, command).returncode == 0
    opened = sum(map(len, further.values()))
    found = json.loads(about.read_text())["pictures"]
    assert found == {"there": 38 + opened + len(further), "used": 38 + opened}


def test_further_pictures_of_another_corpus(tmp_path: Path) -> None:
    several(tmp_path)
    more = tmp_path / "data/images/toy/more_images.parquet"
    rows = pq.read_table(more)
    pq.write_table(rows.take([len(rows) - 1, 0]), more)
    with pytest.raises(
        InputError, match=r"more_images\.parquet: does not hold .* run stage images"
    ):
        Catalogue(tmp_path / "data/corpus/toy", tmp_path / "data/images/toy")
