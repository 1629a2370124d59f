"""Names for pictures that lie inside other files, so that a table of rows can point at them."""

from __future__ import annotations


def picture_locator(file: str, row: int, column: str, k: int) -> str:
    """Of the k-th picture (from 0) in a cell of a Parquet file, whose rows count from 0.

    >>> picture_locator("items/train-0.parquet", 7, "image", 0)
    'items/train-0.parquet#7/image/0'
    """
    return f"{file}#{row}/{column}/{k}"


def member_locator(file: str, member: str) -> str:
    """Of a member of an archive.

    >>> member_locator("shard-0.tar", "W000.side1.jpg")
    'shard-0.tar#W000.side1.jpg'
    """
    return f"{file}#{member}"
