"""Arrays in and out: `.npy` files of real numbers, all of them finite.

A single NaN spreads to every score that it touches, and no stage fails over it: so arrays are
looked at wherever they enter or leave, in blocks of rows, without a copy.
"""

from __future__ import annotations

from pathlib import Path
from typing import Any, BinaryIO

import numpy as np
from numpy.typing import NDArray

from lmm4rec.doors import made_by, reading
from lmm4rec.errors import InputError
from lmm4rec.folders import whole_file

_BLOCK_BYTES = 4 << 20  # fits into a processor's cache: blocks cost no memory traffic of their own
_REAL_KINDS = "fiu"  # NumPy's letters: floating point, signed and unsigned integers


def open_array(path: Path, advice: str) -> NDArray[Any]:
    """The array of a `.npy` file, memory-mapped and read-only.

    Raises InputError for any other file and for other things than real numbers (integers among
    them). Whether its numbers are finite is not looked at.
    """
    with reading(path, "a NumPy array", advice), np.errstate(over="ignore"):
        # not np.load, which opens whatever it finds, archives and pickles too
        array = np.lib.format.open_memmap(path, mode="r")
    if array.dtype.kind not in _REAL_KINDS:
        raise InputError(
            f"{path}: holds {array.dtype} values, not real numbers; write it as float32"
        )
    return array


def read_array(path: Path, dimensions: int, stage: str) -> NDArray[Any]:
    """`open_array` of a file that `stage` writes, with so many dimensions, else InputError."""
    array = open_array(path, made_by(stage))
    if array.ndim != dimensions:
        raise InputError(
            f"{path}: has shape {array.shape}, not {dimensions} dimensions; {made_by(stage)}"
        )
    return array


def write_array(path: Path, array: NDArray[Any]) -> None:
    """`.npy`, whole or not at all. InputError: the disk does not take it."""
    with whole_file(path) as unfinished, unfinished.open("wb") as stream:
        # Not np.save: to a file of the system it writes by C's buffer, and what of that finds no
        # room when the file is closed is lost without a word.
        np.lib.format.write_array(_Bytes(stream), array, allow_pickle=False)


class _Bytes:
    """A stream of which NumPy knows no more than that it can be written to."""

    def __init__(self, stream: BinaryIO) -> None:
        self._stream = stream

    def write(self, part: bytes) -> int:
        return self._stream.write(part)


def row_not_finite(array: NDArray[Any]) -> int | None:
    """The first row that holds NaN or infinity; None: there is none."""
    rows = max(1, _BLOCK_BYTES // max(1, array[:1].nbytes))
    for start in range(0, len(array), rows):
        block = np.isfinite(array[start : start + rows])
        if not block.all():
            whole = block.reshape(len(block), -1).all(axis=1)
            return start + int(np.argmin(whole))
    return None
