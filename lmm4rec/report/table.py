"""A table of the report beside its results: what it is about, and its cells as words."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass


@dataclass(frozen=True)
class Table:
    title: str
    about: str  # what the numbers are, in a sentence or two
    rows: Sequence[Sequence[str]]  # the head first
    n_words: int  # so many columns, from the left, hold words and not numbers
