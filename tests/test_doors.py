"""Errors of libraries become sentences; errors of this project keep their tracebacks."""

from __future__ import annotations

import gzip
import json
import zipfile
from collections.abc import Callable
from pathlib import Path

import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq
import pytest
from safetensors.numpy import load_file

from lmm4rec.doors import made_by, reading
from lmm4rec.errors import InputError
from lmm4rec.tables import rows_of

LIBRARIES: dict[str, Callable[[Path], object]] = {
    "pyarrow": pq.read_table,
    "NumPy": lambda path: np.lib.format.open_memmap(path, mode="r"),
    "safetensors": load_file,
    "JSON": lambda path: json.loads(path.read_text(encoding="utf-8")),
    "gzip": lambda path: gzip.decompress(path.read_bytes()),
    "zip": zipfile.ZipFile,
}


@pytest.mark.parametrize("library", LIBRARIES)
@pytest.mark.parametrize("content", [b"", b"no such format" * 9, b"\xff" * 99])
def test_what_a_library_says_of_other_bytes(library: str, content: bytes, tmp_path: Path) -> None:
    (tmp_path / "f").write_bytes(content)
    if library == "gzip" and not content:
        return  # a gzip file of nothing is one
    with (
        pytest.raises(InputError, match=r"/f: not a good one \(.+\); run stage train again, or"),
        reading(tmp_path / "f", "a good one", made_by("train")),
    ):
        LIBRARIES[library](tmp_path / "f")


@pytest.mark.parametrize("library", LIBRARIES)
def test_files_that_are_absent_or_folders(library: str, tmp_path: Path) -> None:
    with (
        pytest.raises(InputError, match="/f: there is no such file; mend it"),
        reading(tmp_path / "f", "a good one", "mend it"),
    ):
        LIBRARIES[library](tmp_path / "f")
    if library != "pyarrow":  # it reads folders
        with (
            pytest.raises(InputError, match=r"cannot be read|not a good one"),
            reading(tmp_path, "a good one", "mend it"),
        ):
            LIBRARIES[library](tmp_path)


def test_too_little_memory() -> None:
    with (
        pytest.raises(InputError, match=r"^f: not a good one that fits into memory; mend it$"),
        reading(Path("f"), "a good one", "mend it"),
    ):
        raise MemoryError


@pytest.mark.parametrize(
    "error", [KeyError("a"), AttributeError("a"), IndexError(), ZeroDivisionError()]
)
def test_errors_that_say_nothing_of_a_file_pass(error: Exception) -> None:
    with pytest.raises(type(error)), reading(Path("f"), "a good one", "mend it"):
        raise error


def test_a_mistake_in_a_function_of_this_project_keeps_its_traceback() -> None:
    """Even of a kind that libraries use."""
    with pytest.raises(pa.ArrowTypeError), reading(Path("f"), "a good one", "mend it"):
        rows_of(pa.array(["a"]), pa.array([1.5]))


def test_a_sentence_is_one_line_that_can_be_printed() -> None:
    sentence = str(InputError("a\nb\ud800\x07.csv: é 文 is 'x\\y'; mend it"))
    assert sentence == r"a\nb\ud800\x07.csv: é 文 is 'x\y'; mend it"
    sentence.encode()
