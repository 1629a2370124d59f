"""Files that are no tables are refused, each with what to bring instead."""

from __future__ import annotations

import pickle
from pathlib import Path

import numpy as np
import pytest

from lmm4rec.catalogue.readers.recognition import recognise
from lmm4rec.errors import InputError
from tests.catalogue.given import FORMATS


def foreign(path: Path) -> dict[str, bytes]:
    np.save(path / "numbers.npy", np.zeros(3))
    of_objects = b"{'descr': '|O', 'fortran_order': False, 'shape': (1,), }\n"
    return {
        "typespaces.p": pickle.dumps({"a": 1}),
        "old.pkl": pickle.dumps({"a": 1}, protocol=0),
        "numbers.npy": (path / "numbers.npy").read_bytes(),
        "objects.npy": b"\x93NUMPY\x01\x00" + bytes([len(of_objects), 0]) + of_objects,
        "book.xlsx": b"PK\x03\x04" + b"\0" * 50,
        "page.html": b"<!doctype html><html><body>no</body></html>",
        "one.txt": b"a\nb\nc\n",
        "empty.csv": b"",
        "blank.csv": b" \n \n",
        "picture.csv": b"\xff\xd8\xff\xe0" + b"x" * 50,
        "noise.bin": bytes(range(256)) * 10,
        "shape.json": b'{"a": {"b": 1},\n"c": [1]}',
        "broken.json": b'{"a": {"b": 1},',
    }


ADVICE = {
    "typespaces.p": "is a pickle",
    "old.pkl": "is a pickle by its name",
    "numbers.npy": "name it as features",
    "objects.npy": "an array",
    "book.xlsx": "save the sheet as CSV",
    "page.html": "no merchant feed",
    "one.txt": "no separator among",
    "empty.csv": "is empty",
    "blank.csv": "is empty",
    "picture.csv": "name its folder as pictures",
    "noise.bin": "is no text",
    "shape.json": "JSON of no known shape",
    "broken.json": "not valid JSON",
}


@pytest.mark.parametrize("name", ADVICE)
def test_what_is_no_table_is_refused_with_what_to_bring(tmp_path: Path, name: str) -> None:
    (tmp_path / name).write_bytes(foreign(tmp_path)[name])
    with pytest.raises(InputError, match=ADVICE[name]):
        recognise(tmp_path / name)


def test_an_lmdb_is_refused_for_its_pickles() -> None:
    with pytest.raises(InputError, match="LMDB, whose values are pickles; give the folder"):
        recognise(FORMATS / "11_microlens/tiny_cover.lmdb")
