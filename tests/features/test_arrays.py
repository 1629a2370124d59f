"""Other tools' arrays: every vector goes to its own item, or a sentence says why it cannot."""

from __future__ import annotations

import shutil
from pathlib import Path
from typing import Any

import numpy as np
import pyarrow as pa
import pytest

from lmm4rec.errors import InputError
from lmm4rec.features.arrays import (
    read_column,
    read_file_per_item,
    read_rows,
    read_rows_with_ids,
)
from lmm4rec.features.gathering import Gathered, Vectors, gathered

IDS = ["0001", "0002", "B3", "TB-0.7", "crème"]
ITEMS = pa.array(IDS)
MATRIX = np.arange(20, dtype=np.float64).reshape(5, 4) + 1  # row k is k * 4 + 1, ...


def saved(path: Path, array: Any, **options: Any) -> Path:
    np.save(path, array, **options)
    return path


def text(path: Path, content: str) -> Path:
    path.write_text(content, encoding="utf-8")
    return path


def of(vectors: Vectors) -> Gathered:
    return gathered(vectors, ITEMS, Path("x.npy"))


def first_numbers(found: Gathered) -> list[float | None]:
    """Of each item's vector, None where it is missing; missing rows hold zeros."""
    assert found.matrix.dtype == np.float32
    assert not found.matrix[~found.present].any()
    pairs = zip(found.matrix[:, 0].tolist(), found.present.tolist(), strict=True)
    return [number if there else None for number, there in pairs]


# ------------------------------------------------------------------------------------ rows (MMRec)


MAPS = {
    "mmrec": "asin\titemID\nB3\t0\n0002\t1\n0001\t2\ncrème\t3\nTB-0.7\t4\n",
    "lattice": "B3\t0\n0002\t1\n0001\t2\ncrème\t3\nTB-0.7\t4\n",
    "commas": "\ufeffB3,0\r\n0002,1\r\n0001,2\r\ncrème,3\r\nTB-0.7,4\r\n",
    "blanks": "org_id remap_id\n0002 1\nB3 0\nTB-0.7 4\n0001 2\ncrème 3\n\n",
    "number first": "itemID\tasin\n0\tB3\n1\t0002\n2\t0001\n3\tcrème\n4\tTB-0.7\n",
}


@pytest.mark.parametrize("content", MAPS.values(), ids=MAPS)
def test_row_k_is_item_number_k(content: str, tmp_path: Path) -> None:
    array = saved(tmp_path / "image_feat.npy", MATRIX)
    ids = text(tmp_path / "i_id_mapping.csv", content)
    vectors = read_rows(array, ids, text(tmp_path / "missed.csv", "1\n4\n"))
    assert isinstance(vectors.matrix.base, np.memmap) or isinstance(vectors.matrix, np.memmap)
    assert first_numbers(of(vectors)) == [9, None, 1, None, 13]
    assert of(vectors).counts == {
        "vectors": 5, "without_id": 0, "duplicate_items": 0, "of_no_item": 0,
        "said_to_be_missing": 2, "items_not_finite": 0,
    }  # fmt: skip


def test_without_a_map_the_numbers_are_the_ids(tmp_path: Path) -> None:
    vectors = read_rows(saved(tmp_path / "a.npy", MATRIX), None, None)
    items = pa.array(["0", "3", "7"])
    found = gathered(vectors, items, Path("a.npy"))
    assert first_numbers(found) == [1, 13, None]
    assert found.counts["of_no_item"] == 3


def test_missing_ones_may_be_named_by_id_under_a_header(tmp_path: Path) -> None:
    ids = text(tmp_path / "i.csv", MAPS["mmrec"])
    missing = text(tmp_path / "m.csv", "asin\ncrème\n")
    vectors = read_rows(saved(tmp_path / "a.npy", MATRIX), ids, missing)
    assert first_numbers(of(vectors)) == [9, 5, 1, 17, None]


def test_rows_that_no_id_claims_are_counted(tmp_path: Path) -> None:
    ids = text(tmp_path / "i.csv", "asin\titemID\nB3\t0\n0002\t3\n")
    found = of(read_rows(saved(tmp_path / "a.npy", MATRIX), ids, None))
    assert first_numbers(found) == [None, 13, 1, None, None]
    assert found.counts["without_id"] == 3


@pytest.mark.parametrize(
    ("ids", "missing", "says"),
    [
        ("B3\t0\n0002\t5\n", "", r"i\.csv: line 2 speaks of row 5, but the array has 5 rows; give"),
        ("a\t0\nb\tx\nc\t2\n", "", r"i\.csv: line 2 gives no number to its id; correct"),
        ("a\t0\nb\t0\n", "", r"i\.csv: line 2 gives row 0 a second id; correct"),
        ("a\t0\nb\n", "", r"i\.csv: line 2, 'b', is no id and number; correct"),
        ("a\t0\n", "7\n", r"m\.csv: line 1, '7', is no row of the 5 of a\.npy; correct"),
        ("a\t0\n", "0\nx\n", r"m\.csv: line 2, 'x', is no row of the 5 of a\.npy; correct"),
    ],
)
def test_files_that_do_not_belong_together(
    ids: str, missing: str, says: str, tmp_path: Path
) -> None:
    paths = text(tmp_path / "i.csv", ids), text(tmp_path / "m.csv", missing)
    with pytest.raises(InputError, match=says):
        read_rows(saved(tmp_path / "a.npy", MATRIX), *paths)


def test_a_text_that_is_none(tmp_path: Path) -> None:
    (tmp_path / "i.csv").write_bytes(b"cr\xe8me\t0\n")
    with pytest.raises(
        InputError, match=r"i\.csv: not a UTF-8 text .*; correct it in params\.yaml"
    ):
        read_rows(saved(tmp_path / "a.npy", MATRIX), tmp_path / "i.csv", None)


@pytest.mark.parametrize(
    ("array", "says"),
    [
        (np.ones((2, 3, 4)), r"shape \(2, 3, 4\), not one row an item"),
        (np.ones(3), r"shape \(3,\), not one row an item"),
        (np.ones((5, 0)), r"shape \(5, 0\), not one row an item|not a NumPy array"),
        (np.array([["a"]]), r"holds <U1 values, not real numbers; write it as float32"),
    ],
)
def test_arrays_that_are_no_vectors(array: Any, says: str, tmp_path: Path) -> None:
    with pytest.raises(InputError, match=says):
        read_rows(saved(tmp_path / "a.npy", array), None, None)


def test_pickled_arrays_are_refused(tmp_path: Path) -> None:
    path = saved(tmp_path / "a.npy", np.array([{}], dtype=object), allow_pickle=True)
    with pytest.raises(InputError, match=r"a\.npy: not a NumPy array .*allow_pickle=False"):
        read_rows(path, None, None)
    (tmp_path / "b.npy").write_bytes(b"\x80\x04N.")
    with pytest.raises(InputError, match=r"b\.npy: not a NumPy array"):
        read_rows(tmp_path / "b.npy", None, None)


# --------------------------------------------------------------------------- rows with ids (Cornac)


def test_rows_follow_the_file_of_ids(tmp_path: Path) -> None:
    ids = text(tmp_path / "item_ids.txt", "crème\nB3\nB3\nstranger\n0002\n")
    found = of(read_rows_with_ids(saved(tmp_path / "a.npy", MATRIX), ids))
    assert first_numbers(found) == [None, 17, 5, None, 1]  # of B3 the first row
    assert (found.counts["duplicate_items"], found.counts["of_no_item"]) == (1, 1)


@pytest.mark.parametrize("lines", [4, 6])
def test_more_or_fewer_ids_than_rows(lines: int, tmp_path: Path) -> None:
    ids = text(tmp_path / "ids.txt", "\n".join("abcdef"[:lines]))
    with pytest.raises(InputError, match=rf"ids\.txt: names {lines} items, but a\.npy has 5 rows"):
        read_rows_with_ids(saved(tmp_path / "a.npy", MATRIX), ids)


def test_none_of_the_items(tmp_path: Path) -> None:
    ids = text(tmp_path / "ids.txt", "1\n2\n3\n4\n5\n")
    vectors = read_rows_with_ids(saved(tmp_path / "a.npy", MATRIX), ids)
    says = r"x\.npy: holds none of the corpus's 5 items \(these begin with '0001', its own with '1'"
    with pytest.raises(InputError, match=says):
        of(vectors)


@pytest.mark.parametrize("kind", ["f2", "f4", "f8", ">f4", "i8", "u1"])
def test_any_real_numbers(kind: str, tmp_path: Path) -> None:
    array = np.asfortranarray(MATRIX.astype(kind))
    ids = text(tmp_path / "ids.txt", "\n".join(IDS))
    found = of(read_rows_with_ids(saved(tmp_path / "a.npy", array), ids))
    assert first_numbers(found) == [1, 5, 9, 13, 17]


def test_what_is_not_finite_is_missing(tmp_path: Path) -> None:
    array = MATRIX.copy()
    array[0, 1], array[2, 0], array[3, 3] = np.nan, np.inf, 1e300  # the last as float32 too
    ids = text(tmp_path / "ids.txt", "\n".join(IDS))
    found = of(read_rows_with_ids(saved(tmp_path / "a.npy", array), ids))
    assert first_numbers(found) == [None, 5, None, None, 17]
    assert found.counts["items_not_finite"] == 3


# --------------------------------------------------------------------------- a file an item (Ducho)


def folder_of(path: Path, names: list[str]) -> Path:
    path.mkdir(parents=True)
    for row, name in enumerate(names):
        saved(path / f"{name}.npy", MATRIX[row : row + 1].astype(np.float32))
    return path


def test_names_cut_at_the_first_dot(tmp_path: Path) -> None:
    folder = folder_of(tmp_path / "avgpool", ["TB-0", "0002", "cre\u0300me", "stranger", "B3"])
    found = of(read_file_per_item(folder, IDS))
    assert first_numbers(found) == [None, 5, 17, 1, 9]
    assert found.counts["of_no_item"] == 1


def test_names_that_were_not_cut(tmp_path: Path) -> None:
    items = ["TB-0", "TB-0.7", "TB-0.8"]
    folder = folder_of(tmp_path / "f", ["TB-0.7", "TB-0"])
    found = gathered(read_file_per_item(folder, items), pa.array(items), folder)
    assert first_numbers(found) == [5, 1, None]


def test_a_cut_name_of_two_items_is_refused(tmp_path: Path) -> None:
    folder = folder_of(tmp_path / "f", ["TB-0", "B3"])
    says = r"TB-0\.npy may be item 'TB-0\.7' or 'TB-0\.8'.*; name these files by whole ids"
    with pytest.raises(InputError, match=says):
        read_file_per_item(folder, ["B3", "TB-0.7", "TB-0.8"])
    for item in ("TB-0.7", "TB-0.8"):
        shutil.copy(folder / "TB-0.npy", folder / f"{item}.npy")  # as it advises
    assert len(read_file_per_item(folder, ["B3", "TB-0.7", "TB-0.8"]).ids) == 4


def test_vectors_alone_and_rows_of_one(tmp_path: Path) -> None:
    folder = folder_of(tmp_path / "f", ["0001"])
    saved(folder / "0002.npy", MATRIX[1])
    assert first_numbers(of(read_file_per_item(folder, IDS)))[:2] == [1, 5]


def test_folders_that_are_of_no_use(tmp_path: Path) -> None:
    with pytest.raises(InputError, match=r"gone: there is no such folder; correct"):
        read_file_per_item(tmp_path / "gone", IDS)
    with pytest.raises(InputError, match=r"holds no \.npy file, nor does any below it"):
        read_file_per_item(tmp_path, IDS)
    folder = folder_of(tmp_path / "torch/avgpool", ["0001"])
    with pytest.raises(
        InputError, match=r"no \.npy file, these below it do: .*torch/avgpool; name"
    ):
        read_file_per_item(tmp_path, IDS)
    saved(folder / "0002.npy", np.ones((1, 7)))
    with pytest.raises(InputError, match=r"0002\.npy: has shape \(7,\), not one vector of 4; rem"):
        read_file_per_item(folder, IDS)
    saved(folder / "0000.npy", np.ones((2, 4)))
    with pytest.raises(InputError, match=r"0000\.npy: has shape \(2, 4\), not one vector; remove"):
        read_file_per_item(folder, IDS)


# ------------------------------------------------------------------------------- a column (RecBole)


TABLE = (
    'item_id:token\ttitle:token_seq\timage_emb:float_seq\n0002\t"Pan\t1 2 3.5\n'
    "B3\tLamp\t\nTB-0.7\tTote\t-4e-1 5 6\nother\t\t7 8 9\n"
)


def test_a_column_of_vectors(tmp_path: Path) -> None:
    table = text(tmp_path / "x.item", TABLE)
    found = of(read_column(table, "item_id", "image_emb"))
    assert first_numbers(found) == [None, 1, None, pytest.approx(-0.4), None]
    assert found.matrix.shape == (5, 3) and found.counts["of_no_item"] == 1


@pytest.mark.parametrize(
    ("content", "says"),
    [
        (
            TABLE.replace("image_emb", "emb"),
            r"has no column 'image_emb' \(found: item_id, title, e",
        ),
        (
            TABLE.replace("7 8 9", "7 8"),
            r"line 5, column 'image_emb': '7 8' is not a vector of as m",
        ),
        (TABLE.replace("7 8 9", "7 8 x"), r"line 5, column 'image_emb': '7 8 x' is not a vector"),
        (TABLE.partition("\n")[0], r"column 'image_emb' is empty"),
        ("", r"has no column 'item_id' \(found: \)"),
    ],
)
def test_columns_that_are_of_no_use(content: str, says: str, tmp_path: Path) -> None:
    with pytest.raises(InputError, match=says):
        read_column(text(tmp_path / "x.item", content), "item_id", "image_emb")
