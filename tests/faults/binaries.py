"""Readers of binary files: Parquet, NumPy, weights, saved states, pictures: damaged or absurd."""

from __future__ import annotations

import io
import warnings
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq
import torch
from hypothesis import strategies as st
from PIL import Image
from safetensors.torch import save

from lmm4rec.arrays import row_not_finite
from lmm4rec.catalogue.images import NOT_AN_IMAGE, OK, TOO_LARGE
from lmm4rec.catalogue.pictures import PictureParams, reencode
from lmm4rec.encoders.files.checkpoints import load_exactly, read_checkpoint
from lmm4rec.errors import InputError
from lmm4rec.features.features import read_features
from lmm4rec.resuming import load_state, tensor_not_finite
from lmm4rec.tables import read_table
from lmm4rec.training.vectors import read_vectors
from tests.faults.records import files_source, forgiving
from tests.faults.values import Damage, Reader, damages, mostly
from tests.toy import ids

ROWS = 4

# -------------------------------------------------------------------------------------- Parquet

VALUES: dict[str, list[Any]] = {
    "text": ["a", None, "c\0", ""],
    "large text": ["a", "b", "c", None],
    "whole": [1, 2, None, 4],
    "float": [1.0, float("nan"), None, 4.0],
    "fraction": [1.5, float("inf"), 1e300, -1.0],
    "bool": [True, False, None, True],
    "list": [["a", None], None, [], ["b"]],
    "nested": [[["a"]], [], None, [[]]],
    "struct": [{"a": 1}] * ROWS,
    "binary": [b"\xff", b"", b"a", b"b"],
    "huge": [2**63 - 1, 0, -(2**63), 1],
    "time": [1_500_000_000, None, -5, 0],
    "day": [10_000, None, -5, 0],
    "nothing": [None] * ROWS,
}
TYPES: dict[str, list[pa.DataType | None]] = {
    "text": [pa.string(), pa.dictionary(pa.int32(), pa.string())],
    "large text": [pa.large_string()],
    "whole": [pa.int64(), pa.int8(), pa.decimal128(9, 2), pa.float16()],
    "float": [pa.float64()],
    "fraction": [pa.float32(), pa.float64()],
    "huge": [pa.int64(), pa.timestamp("us"), pa.timestamp("ns"), pa.duration("s")],
    "time": [pa.timestamp("s"), pa.timestamp("ms", "UTC"), pa.timestamp("us"), pa.time64("us")],
    "day": [pa.date32()],
}


def column(draw: st.DrawFn, usual: str) -> pa.Array:
    kind = draw(mostly(st.just(usual), st.sampled_from(list(VALUES))))
    return pa.array(VALUES[kind], draw(st.sampled_from(TYPES.get(kind, [None]))))


@st.composite
def tables(draw: st.DrawFn) -> tuple[pa.Table, str, Damage]:
    named = {"who": "text", "what": "text", "stars": "float", "when": "time", "label": "text"}
    columns = {name: column(draw, usual) for name, usual in named.items()}
    compression = draw(st.sampled_from(["zstd", "snappy", "none"]))
    return pa.table(columns), compression, draw(damages())


def read_parquet(folder: Path, case: tuple[pa.Table, str, Damage]) -> None:
    table, compression, damage = case
    path = folder / "log.parquet"
    pq.write_table(table, path, compression=compression)
    path.write_bytes(damage(path.read_bytes()))
    read_table(path, None, "preprocess").validate(full=True)
    found = files_source(file="log.parquet").read_interactions(folder, forgiving())
    assert found.num_rows <= ROWS or damage is not bytes
    found.to_pylist()


# ---------------------------------------------------------------------------------------- arrays

DESCRIPTIONS = mostly(
    st.sampled_from(["<f4", "<f8", "<f2", ">f4", "<i4"]),
    st.sampled_from(["|O", "|V8", "<M8[s]", "<c8", "|S3", "<U2", "|b1", "<f4,<f4", "xx", "", 3]),
)  # fmt: skip
SHAPES = mostly(
    st.just((ROWS, 3)),
    st.lists(st.sampled_from([0, 1, 4, -1, 2**31, 10**15, 2**62, 10**30]), max_size=3).map(tuple),
)


@st.composite
def array_files(draw: st.DrawFn) -> bytes:
    header = {
        "descr": draw(DESCRIPTIONS),
        "fortran_order": draw(st.booleans()),
        "shape": draw(SHAPES),
    }
    spelled = repr(header).encode() + b" " * draw(st.integers(0, 64)) + b"\n"
    number = mostly(st.floats(-9, 9), st.floats(width=32))
    numbers = draw(mostly(st.just([1.0] * 24), st.lists(number, min_size=24, max_size=24)))
    body = np.array(numbers, "<f4").tobytes()
    content = b"\x93NUMPY\x01\x00" + len(spelled).to_bytes(2, "little") + spelled + body
    archive = io.BytesIO()
    np.savez(archive, a=np.ones((ROWS, 3), np.float32))
    chosen = draw(mostly(st.just(content), st.just(archive.getvalue()) | st.binary(max_size=99)))
    return draw(damages())(chosen)


def read_arrays(folder: Path, case: bytes) -> None:
    """As a features folder's matrix and as a vectors folder's."""
    item_ids = ids("i", ROWS)
    for name, column_name in (("items", "item_id"), ("users", "user_id")):
        pq.write_table(pa.table({column_name: item_ids}), folder / f"{name}.parquet")
    doors: tuple[Callable[[], Any], ...] = (
        lambda: read_features(folder, item_ids).matrices["text"],
        lambda: read_vectors(folder).users,  # type: ignore[union-attr]
    )
    np.save(folder / "items.npy", np.ones((ROWS, 3), np.float32))
    for name, door in zip(("text", "users"), doors, strict=True):
        (folder / f"{name}.npy").write_bytes(case)
        matrix = door()
        assert matrix.ndim == 2 and len(matrix) == ROWS and row_not_finite(matrix) is None


# ------------------------------------------------------------------------- weights, saved states

DTYPES = mostly(
    st.sampled_from([torch.float32, torch.float16, torch.bfloat16]),
    st.sampled_from([torch.int64, torch.bool, torch.complex64, torch.float8_e4m3fn, torch.uint8]),
)


@st.composite
def states(draw: st.DrawFn) -> dict[Any, torch.Tensor]:
    names = draw(mostly(st.just(["weight", "bias"]), st.lists(st.text(max_size=5), max_size=2)))
    state: dict[Any, torch.Tensor] = {}
    for name in names:
        shape = draw(mostly(st.just((2, 3) if name == "weight" else (2,)),
                            st.lists(st.integers(0, 3), max_size=3).map(tuple)))  # fmt: skip
        number = draw(mostly(st.floats(-9, 9), st.sampled_from([torch.nan, torch.inf])))
        state[name] = torch.full(shape, number).to(draw(DTYPES))
    return state


@st.composite
def weight_files(draw: st.DrawFn) -> bytes:
    state = draw(states())
    if draw(st.booleans()):
        content = save({str(name): value for name, value in state.items()})
    else:
        stream = io.BytesIO()
        keys = draw(mostly(st.just({}), st.sampled_from([{1: 2}, {None: 3}, {"model": {2: 3}}])))
        torch.save({**keys, **state}, stream, _use_new_zipfile_serialization=draw(st.booleans()))
        content = stream.getvalue()
    return draw(damages())(content)


def read_weights(folder: Path, case: bytes) -> None:
    path = folder / "model.safetensors"
    path.write_bytes(case)
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        model = torch.nn.Linear(3, 2)
        load_exactly(model, read_checkpoint(path), str(path))
    assert tensor_not_finite(model.state_dict()) is None
    model(torch.ones(1, 3))


def read_state(folder: Path, case: bytes) -> None:
    (folder / "latest.pt").write_bytes(case)
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        load_state(folder / "latest.pt", torch.device("cpu"))


# --------------------------------------------------------------------------------------- pictures

PICTURES = PictureParams(
    short_side_pixels=16, jpeg_quality=80, minimum_side_pixels=8, maximum_bytes=200_000,
    maximum_pixels=40_000,
)  # fmt: skip
MODES = ("1", "L", "LA", "P", "RGB", "RGBA", "CMYK", "YCbCr", "LAB", "I", "F", "I;16")
KINDS = ("JPEG", "PNG", "WEBP", "GIF", "BMP", "TIFF", "PPM", "ICO")


@st.composite
def pictures(draw: st.DrawFn) -> bytes:
    size = draw(st.tuples(st.integers(1, 40), st.integers(1, 40)) | st.just((300, 300)))
    stream = io.BytesIO()
    mode, kind = draw(st.sampled_from(MODES)), draw(st.sampled_from(KINDS))
    options = {"compression": draw(st.sampled_from(["raw", "tiff_lzw", "tiff_deflate"]))}
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        try:
            colour = draw(st.integers(0, 255)) if len(mode) == 1 or ";" in mode else None
            picture = Image.new(mode, size, colour) if colour else Image.new(mode, size)
            picture.save(stream, kind, **(options if kind == "TIFF" else {}))
        except (OSError, ValueError, KeyError):  # a format without this mode
            Image.new("RGB", size).save(stream, "PNG")
    return draw(damages())(draw(mostly(st.just(stream.getvalue()), st.binary(max_size=300))))


def read_picture(folder: Path, case: bytes) -> None:
    status, content = reencode(case, PICTURES)
    if status != OK:
        assert status in (NOT_AN_IMAGE, TOO_LARGE) and content is None
        raise InputError(status)
    assert content is not None
    with Image.open(io.BytesIO(content)) as picture:
        picture.load()
        assert picture.mode == "RGB" and 1 <= min(picture.size) <= 16


READERS = {
    "Parquet": Reader(tables(), read_parquet),
    "NumPy": Reader(array_files(), read_arrays),
    "weights": Reader(weight_files(), read_weights),
    "saved states": Reader(weight_files(), read_state),
    "pictures": Reader(pictures(), read_picture),
}
