"""What a fuzzed reader is."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path
from typing import Any, NamedTuple

from hypothesis import strategies as st


class Reader(NamedTuple):
    """Cases, and how one is written into a folder and read from there.

    `read` returns where the case was accepted and raises InputError where it was refused; an
    AssertionError says that what was accepted is not what a reference reads.
    """

    cases: st.SearchStrategy[Any]
    read: Callable[[Path, Any], object]
