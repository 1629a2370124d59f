"""The table of faults in matrices and tables: refused by the file's name, and the item's."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path

import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq
import pytest
from scipy.sparse import csr_array

from lmm4rec.arrays import row_not_finite
from lmm4rec.errors import InputError
from lmm4rec.features.features import Features, read_features, write_features
from lmm4rec.tables import read_table
from lmm4rec.training.vectors import SparseScores, Vectors, read_vectors, write_vectors
from tests.toy import ids

N = 5


def with_header(path: Path, shape: object, descr: str = "<f4") -> None:
    spelled = repr({"descr": descr, "fortran_order": False, "shape": shape}).encode() + b"\n"
    length = len(spelled).to_bytes(2, "little")
    path.write_bytes(b"\x93NUMPY\x01\x00" + length + spelled + bytes(500))


def saved_archive(path: Path) -> None:
    np.savez(path.with_suffix(".npz"), a=np.ones((N, 3), np.float32))
    path.with_suffix(".npz").rename(path)


def values(*given: object) -> Callable[[Path], None]:
    return lambda path: np.save(path, np.array([given] * N))


NOT_REAL = "values, not real numbers; write it as float32"
# fault: how the file is written, what the sentence says of it
ARRAYS: dict[str, tuple[Callable[[Path], None], str]] = {
    "an archive": (saved_archive, "not a NumPy array"),
    "texts": (values("a", "b"), rf"holds <U1 {NOT_REAL}"),
    "bytes": (values(b"a", b"b"), rf"holds .S1 {NOT_REAL}"),
    "void": (lambda path: np.save(path, np.zeros((N, 3), "V8")), rf"holds .V8 {NOT_REAL}"),
    "records": (lambda path: np.save(path, np.zeros((N, 3), "f4,f4")), NOT_REAL),
    "complex numbers": (values(1j, 2), rf"holds complex128 {NOT_REAL}"),
    "times": (values(np.datetime64(1, "s")), rf"holds datetime64\[s\] {NOT_REAL}"),
    "truth values": (values(True, False), rf"holds bool {NOT_REAL}"),
    "objects": (lambda path: np.save(path, np.array([[{}]] * N)), "not a NumPy array"),
    "10**15 rows": (lambda path: with_header(path, (10**15, 3)), "not a NumPy array"),
    "10**30 rows": (lambda path: with_header(path, (10**30, 3)), "not a NumPy array"),
    "negative rows": (lambda path: with_header(path, (-N, 3)), "not a NumPy array"),
    "rows of text": (lambda path: with_header(path, "ab"), "not a NumPy array"),
    "a truth value of rows": (lambda path: with_header(path, (True, 3)), "not a NumPy array"),
    "no such type": (lambda path: with_header(path, (N, 3), "<q9"), "not a NumPy array"),
    "one dimension": (lambda path: np.save(path, np.ones(N, np.float32)), "not 2 dimensions"),
    "nothing": (lambda path: path.write_bytes(b""), "not a NumPy array"),
    "a pickle": (lambda path: path.write_bytes(b"\x80\x04K\x01."), "not a NumPy array"),
    "cut off": (lambda path: path.write_bytes(path.read_bytes()[:-9]), "not a NumPy array"),
    "a header of minus signs": (
        lambda path: path.write_bytes(b"\x93NUMPY\x01\x00" + b"\x28\x23" + b"-" * 9000),
        "not a NumPy array",
    ),
}


def features(count: int = N) -> Features:
    matrices = {name: np.ones((count, 3), np.float32) for name in ("image", "text")}
    return Features(ids("i", count), matrices, {name: np.ones(count, bool) for name in matrices})


def vectors() -> Vectors:
    return Vectors(ids("u", N), ids("i", N), *(np.ones((N, 3), np.float32) for _ in "ui"))


@pytest.mark.parametrize("fault", ARRAYS)
def test_a_matrix_with_a_fault_is_refused(fault: str, tmp_path: Path) -> None:
    write, sentence = ARRAYS[fault]
    write_features(tmp_path, features(), {})
    write(tmp_path / "text.npy")
    with pytest.raises(InputError, match=rf"text\.npy: .*{sentence}"):
        read_features(tmp_path, ids("i", N))
    write_vectors(tmp_path, vectors(), {})
    write(tmp_path / "users.npy")
    with pytest.raises(InputError, match=rf"users\.npy: .*{sentence}"):
        read_vectors(tmp_path)


@pytest.mark.parametrize("kind", ["<f2", "<f8", ">f4", "<i8", "|u1"])
def test_real_numbers_of_any_kind_are_read(kind: str, tmp_path: Path) -> None:
    write_features(tmp_path, features(), {})
    np.save(tmp_path / "text.npy", np.full((N, 2), 3, kind))
    found = read_features(tmp_path, ids("i", N)).matrices["text"]
    assert found.dtype == np.float32 and (found == 3).all()


@pytest.mark.parametrize("bad", [np.nan, np.inf, -np.inf, 1e300])
def test_features_are_finite_where_they_enter_and_leave(bad: float, tmp_path: Path) -> None:
    write_features(tmp_path, features(), {})
    matrix = np.ones((N, 3))
    matrix[3, 1] = bad
    np.save(tmp_path / "text.npy", matrix)
    wanted = ids("i", N).take(pa.array([4, 3, 0]))
    with pytest.raises(InputError, match=r"text\.npy: the vector of item 'i003' holds NaN or inf"):
        read_features(tmp_path, wanted)
    assert read_features(tmp_path, wanted.take(pa.array([0, 2]))).matrices["text"].shape == (2, 3)
    with np.errstate(over="ignore"):
        made = Features(ids("i", N), {"text": matrix.astype(np.float32)}, {})
    with pytest.raises(InputError, match=r"out/text\.npy: the vector of item 'i003'"):
        write_features(tmp_path / "out", made, {})
    assert not (tmp_path / "out").exists()


@pytest.mark.parametrize("bad", [np.nan, np.inf])
@pytest.mark.parametrize("part", ["users", "items"])
def test_vectors_are_finite_where_they_enter_and_leave(
    part: str, bad: float, tmp_path: Path
) -> None:
    write_vectors(tmp_path, vectors(), {})
    matrix = np.ones((N, 3), np.float32)
    matrix[2] = bad
    np.save(tmp_path / f"{part}.npy", matrix)
    sentence = rf"{part}\.npy: row of '{part[0]}002' holds NaN or infinity"
    with pytest.raises(InputError, match=sentence):
        read_vectors(tmp_path)
    given = {"users": np.ones((N, 3)), "items": np.ones((N, 3)), part: matrix}
    with pytest.raises(InputError, match=sentence):
        write_vectors(tmp_path / "out", Vectors(ids("u", N), ids("i", N), **given), {})


SCORES: dict[str, tuple[str, list[float], str]] = {
    "an item that is none": ("indices", [0, N, 1], "not the scores of these users and items"),
    "a negative item": ("indices", [0, -1, 1], "not the scores of these users and items"),
    "rows that end late": ("indptr", [0, 1, 2, 3, 3, 9], "not the scores of these users"),
    "rows that go back": ("indptr", [0, 2, 1, 3, 3, 3], "not the scores of these users"),
    "too few rows": ("indptr", [0, 3], "not the scores of these users and items"),
    "infinity": ("values", [1, np.inf, 1], r"scores_values\.npy: row number 1 holds NaN"),
}


@pytest.mark.parametrize("fault", SCORES)
def test_sparse_scores_that_fit_no_users_and_items(fault: str, tmp_path: Path) -> None:
    name, content, sentence = SCORES[fault]
    scores = csr_array(([1.0, 2.0, 3.0], [0, 1, 2], [0, 1, 2, 3, 3, 3]), shape=(N, N))
    write_vectors(tmp_path, SparseScores(ids("u", N), ids("i", N), scores), {})
    assert isinstance(read_vectors(tmp_path), SparseScores)
    np.save(
        tmp_path / f"scores_{name}.npy", np.array(content, np.float32 if name == "values" else int)
    )
    with pytest.raises(InputError, match=sentence):
        read_vectors(tmp_path)


@pytest.mark.parametrize("row", [0, 1, 1500, 2999])
def test_the_first_bad_row_is_found_in_whatever_block(row: int) -> None:
    array = np.ones((3000, 2000), np.float32)  # several blocks
    assert row_not_finite(array) is None
    array[row, 7] = array[2999, 0] = np.nan
    assert row_not_finite(array) == row
    assert row_not_finite(array[:, 7]) == row
    assert row_not_finite(array[:0]) is None and row_not_finite(array[:, :0]) is None


FLAGS = {
    "texts": (["False"] * N, "holds string values, not booleans"),
    "numbers": ([0] * N, "holds int64 values, not booleans"),
    "nothing": ([None] * N, "holds null values, not booleans"),
    "gaps": ([True] * (N - 1) + [None], "holds nulls, not booleans"),
}


@pytest.mark.parametrize("fault", FLAGS)
@pytest.mark.parametrize("column", ["has_image", "has_text"])
def test_flags_that_are_no_booleans(fault: str, column: str, tmp_path: Path) -> None:
    content, sentence = FLAGS[fault]
    write_features(tmp_path, features(), {})
    table = read_table(tmp_path / "items.parquet", ["item_id"], "extract")
    pq.write_table(table.append_column(column, pa.array(content)), tmp_path / "items.parquet")
    with pytest.raises(InputError, match=rf"items\.parquet: column '{column}' {sentence}"):
        read_features(tmp_path, ids("i", N))


def test_a_table_with_any_byte_changed_is_read_or_refused_by_name(tmp_path: Path) -> None:
    path = tmp_path / "items.parquet"
    pq.write_table(pa.table({"item_id": ids("i", 40), "n": range(40)}), path, compression="zstd")
    content = path.read_bytes()
    refused = 0
    for place in range(len(content)):
        path.write_bytes(content[:place] + bytes([content[place] ^ 0x81]) + content[place + 1 :])
        try:
            read_table(path, None, "preprocess").to_pylist()
        except InputError as error:
            refused += str(error).startswith(f"{path}: ")
    assert refused > len(content) // 3


@pytest.mark.parametrize("kept", [0, 3, 30, -1])
def test_a_table_that_is_cut_off(kept: int, tmp_path: Path) -> None:
    path = tmp_path / "items.parquet"
    pq.write_table(pa.table({"item_id": ids("i", 40)}), path)
    path.write_bytes(path.read_bytes()[:kept])
    with pytest.raises(InputError, match=r"items\.parquet: not a Parquet file \(.+\); run stage"):
        read_table(path, None, "preprocess")
