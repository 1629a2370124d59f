"""How a picture that lies inside another file is called, in tables and in the archive alike."""

from __future__ import annotations


def picture_locator(file: str, row: int, column: str, k: int) -> str:
    """The k-th picture in a cell of a Parquet file; rows and pictures count from 0."""
    return f"{file}#{row}/{column}/{k}"
