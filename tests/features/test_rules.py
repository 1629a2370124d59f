"""A person's own features: whatever their ids are, they meet their items; silence is refused."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq
import pytest

from lmm4rec.errors import InputError
from lmm4rec.features.features import read_features
from lmm4rec.features.rules import FeatureRules

RULES = FeatureRules(minimum_item_share=0.5, maximum_alike_share=0.5)
N = 8


def folder(
    path: Path, ids: pa.Array, matrix: np.ndarray | None = None, **flags: list[bool]
) -> Path:
    path.mkdir(exist_ok=True)
    pq.write_table(pa.table({"item_id": ids, **flags}), path / "items.parquet")
    given = np.arange(3 * len(ids), dtype=np.float32).reshape(-1, 3) if matrix is None else matrix
    np.save(path / "image.npy", given)
    return path


def kinds_of_ids() -> dict[str, pa.Array]:
    numbers = list(range(100, 100 + N))
    texts = [str(number) for number in numbers]
    whole = {str(kind): pa.array(numbers, kind) for kind in
             (pa.int64(), pa.uint32(), pa.int16(), pa.uint64())}  # fmt: skip
    return whole | {
        "string": pa.array(texts),
        "large_string": pa.array(texts, pa.large_string()),
        "string_view": pa.array(texts, pa.string_view()),
        "dictionary": pa.array(texts).dictionary_encode(),
        "dictionary of numbers": pa.array(numbers).dictionary_encode(),
        "with blanks": pa.array([f" {one}\t" for one in texts]),
    }


@pytest.mark.parametrize("kind", kinds_of_ids())
def test_ids_of_any_type(kind: str, tmp_path: Path) -> None:
    path = folder(tmp_path, kinds_of_ids()[kind])
    found = read_features(path, pa.array([str(number) for number in range(107, 99, -1)]), RULES)
    np.testing.assert_array_equal(found.matrices["image"][:, 0], np.arange(21, -1, -3))
    assert found.present["image"].all()


def test_accents_are_the_same_however_they_are_composed(tmp_path: Path) -> None:
    found = read_features(folder(tmp_path, pa.array(["cre\u0300me"])), pa.array(["crème"]), RULES)
    assert found.present["image"].tolist() == [True]


@pytest.mark.parametrize("ids", [pa.array([1.0, 2.0]), pa.array([b"a"]), pa.array([True])])
def test_other_ids_are_a_sentence(ids: pa.Array, tmp_path: Path) -> None:
    says = r"items\.parquet: column 'item_id' holds \w+ values; write ids as texts or whole numbers"
    with pytest.raises(InputError, match=says):
        read_features(folder(tmp_path, ids), pa.array(["1"]), RULES)


def test_items_without_a_row_are_missing_and_extra_rows_ignored(
    tmp_path: Path, caplog: pytest.LogCaptureFixture
) -> None:
    caplog.set_level("INFO")
    path = folder(tmp_path, pa.array(["d", "b", "x", "a", "y"]), has_image=[True] * 3 + [False] * 2)
    found = read_features(path, pa.array(["a", "b", "c", "d"]), RULES)
    assert found.present["image"].tolist() == [False, True, False, True]
    np.testing.assert_array_equal(
        found.matrices["image"], [[9, 10, 11], [3, 4, 5], [0, 0, 0], [0, 1, 2]]
    )
    assert "1 of 4 items have no row and count as missing; 2 rows are of no item" in caplog.text
    mean = found.matrix("image", "mean")
    np.testing.assert_allclose(mean[2], [1.5, 2.5, 3.5])


def test_too_few_rows_are_a_sentence_with_both_kinds_of_ids(tmp_path: Path) -> None:
    path = folder(tmp_path, pa.array([1, 2, 3]))
    says = (
        r"features of 3 of the corpus's 4 items are missing \(first: 01, 02, 03; its own ids begin "
        r"with '1'\), more than features\.minimum_item_share = 0\.5 allows"
    )
    with pytest.raises(InputError, match=says):
        read_features(path, pa.array(["01", "02", "03", "3"]), RULES)
    lower = RULES.model_copy(update={"minimum_item_share": 0.25})
    assert read_features(path, pa.array(["01", "02", "03", "3"]), lower).present["image"].sum() == 1
    nothing = RULES.model_copy(update={"minimum_item_share": 0.0})
    with pytest.raises(InputError, match="2 of the corpus's 2 items are missing"):
        read_features(path, pa.array(["01", "02"]), nothing)


IDS = pa.array([f"i{row}" for row in range(N)])


def alike(rows: int, value: float | None) -> np.ndarray:
    """The last `rows` rows hold one number throughout, or (None) one vector."""
    matrix = np.random.default_rng(1).normal(size=(N, 3)).astype(np.float32)
    matrix[N - rows :] = matrix[0] * 2 if value is None else value
    return matrix


@pytest.mark.parametrize(
    ("value", "what"), [(0.0, "one number throughout"), (3.5, "one number"), (None, "one and the")]
)
def test_vectors_that_say_nothing_are_refused(
    value: float | None, what: str, tmp_path: Path
) -> None:
    assert read_features(folder(tmp_path, IDS, alike(4, value)), IDS, RULES).present["image"].all()
    path = folder(tmp_path, IDS, alike(5, value))
    says = rf"image\.npy: 5 of 8 vectors are {what}.*first: item 'i3'.*maximum_alike_share = 0\.5"
    with pytest.raises(InputError, match=says):
        read_features(path, IDS, RULES)
    flagged = folder(tmp_path, IDS, alike(5, value), has_image=[True] * 3 + [False] * 5)
    read_features(flagged, IDS, RULES)  # as it advises
    read_features(path, IDS, RULES.model_copy(update={"maximum_alike_share": 0.7}))


def test_one_number_an_item_is_no_repetition(tmp_path: Path) -> None:
    read_features(folder(tmp_path, IDS, np.arange(N, dtype=np.float32)[:, None]), IDS, RULES)


def test_matrices_are_memory_mapped(tmp_path: Path) -> None:
    found = read_features(folder(tmp_path, IDS), IDS, RULES).matrices["image"]
    assert isinstance(found, np.memmap) or isinstance(found.base, np.memmap)
