"""Features folders: joined by id, refused by name."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq
import pytest

from lmm4rec.errors import InputError
from lmm4rec.features.features import Features, read_features, write_features
from tests.toy import ids


def example(count: int = 6) -> Features:
    rng = np.random.default_rng(0)
    present = {"image": np.arange(count) != 2, "text": np.ones(count, bool)}
    image = rng.normal(size=(count, 4)).astype(np.float32)
    image[2] = 0
    text = rng.normal(size=(count, 3)).astype(np.float32)
    return Features(ids("i", count), {"image": image, "text": text}, present)


def test_rows_follow_the_ids_asked_for(tmp_path: Path) -> None:
    features = example()
    write_features(tmp_path, features, {"encoder": "toy"})
    wanted = features.item_ids.take(pa.array([5, 0, 2]))
    found = read_features(tmp_path, wanted)
    np.testing.assert_array_equal(found.matrices["text"], features.matrices["text"][[5, 0, 2]])
    np.testing.assert_array_equal(found.present["image"], [True, True, False])
    assert found.matrices["text"].dtype == np.float32


def test_equal_features_give_equal_bytes(tmp_path: Path) -> None:
    for name in ("a", "b"):
        (tmp_path / name).mkdir()
        write_features(tmp_path / name, example(), {"encoder": "toy"})
    for file in (tmp_path / "a").iterdir():
        assert file.read_bytes() == (tmp_path / "b" / file.name).read_bytes()


def test_missing_policies() -> None:
    features = example()
    mean = features.matrix("image", "mean")
    present = features.present["image"]
    np.testing.assert_allclose(mean[2], features.matrices["image"][present].mean(axis=0), rtol=1e-6)
    assert (features.matrix("image", "zero")[2] == 0).all()
    np.testing.assert_array_equal(mean[present], features.matrices["image"][present])


def test_a_folder_without_flags_counts_as_complete(tmp_path: Path) -> None:
    pq.write_table(pa.table({"item_id": ids("i", 2)}), tmp_path / "items.parquet")
    np.save(tmp_path / "text.npy", np.ones((2, 3), np.float64))
    found = read_features(tmp_path, ids("i", 2))
    assert found.present["text"].all() and set(found.matrices) == {"text"}


def test_items_it_lacks_are_named(tmp_path: Path) -> None:
    write_features(tmp_path, example(), {})
    wanted = pa.array(["i000", "stranger", "i001", "other"])
    with pytest.raises(InputError, match=r"2 of the corpus's 4 items.*first: stranger, other"):
        read_features(tmp_path, wanted)


def test_repeated_ids_are_refused(tmp_path: Path) -> None:
    write_features(tmp_path, example(3), {})
    pq.write_table(pa.table({"item_id": ["i000", "i001", "i000"]}), tmp_path / "items.parquet")
    with pytest.raises(InputError, match="'i000' stands twice"):
        read_features(tmp_path, ids("i", 1))


@pytest.mark.parametrize(
    ("damage", "sentence"),
    [
        (lambda path: np.save(path, np.ones((5, 3), np.float32)), r"shape \(5, 3\) does not fit"),
        (lambda path: path.write_bytes(b"\x93NUMPY"), "not a NumPy array"),
        (lambda path: np.save(path, np.array([{}], dtype=object)), "not a NumPy array"),
        (lambda path: np.save(path, np.full((6, 3), np.nan)), "holds NaN or infinity"),
    ],
)
def test_damaged_matrices_are_refused(tmp_path: Path, damage, sentence: str) -> None:  # type: ignore[no-untyped-def]
    write_features(tmp_path, example(), {})
    damage(tmp_path / "text.npy")
    with pytest.raises(InputError, match=sentence):
        read_features(tmp_path, ids("i", 6))


def test_no_matrix_at_all(tmp_path: Path) -> None:
    write_features(tmp_path, example(), {})
    for name in ("image", "text"):
        (tmp_path / f"{name}.npy").unlink()
    with pytest.raises(InputError, match=r"none of image\.npy"):
        read_features(tmp_path, ids("i", 6))
