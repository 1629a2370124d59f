"""Lists of items per user in two arrays: what a user has seen, or what is relevant to them."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
from numpy.typing import ArrayLike, NDArray


@dataclass(frozen=True, eq=False)
class Ragged:
    """User u's items are `indices[indptr[u]:indptr[u + 1]]`: ascending, each one once.

    Shapes: indptr int64 [U+1], indices int32 [nnz]. ValueError if they break that promise.
    """

    indptr: NDArray[np.int64]
    indices: NDArray[np.int32]

    def __post_init__(self) -> None:
        indptr, indices = self.indptr, self.indices
        if indptr.dtype != np.int64 or indptr.ndim != 1 or not len(indptr):
            raise ValueError("indptr must be int64 [U+1]")
        if indices.dtype != np.int32 or indices.ndim != 1:
            raise ValueError("indices must be int32 [nnz]")
        if indptr[0] != 0 or indptr[-1] != len(indices) or (np.diff(indptr) < 0).any():
            raise ValueError("indptr must rise from 0 to the number of indices")
        if len(indices) and indices.min() < 0:
            raise ValueError("an item row is negative")
        rises = np.diff(indices) > 0
        starts = indptr[1:-1]
        rises[starts[(starts > 0) & (starts < len(indices))] - 1] = True  # a new user may go back
        if not rises.all():
            raise ValueError("the items of a user must ascend, each one once")

    @classmethod
    def from_pairs(cls, users: ArrayLike, items: ArrayLike, rows: int) -> Ragged:
        """Sort (user row, item row) pairs and drop repeats; `rows` is the number of users U.

        ValueError where the arrays differ in length or a user row lies outside 0..U-1.
        """
        users, items = np.asarray(users, np.int64), np.asarray(items, np.int64)
        if users.shape != items.shape or users.ndim != 1:
            raise ValueError(f"users {users.shape} and items {items.shape} must be lists of pairs")
        if len(users) and (users.min() < 0 or users.max() >= rows):
            raise ValueError(f"a user row lies outside 0..{rows - 1}")
        if len(items) and (items.min() < 0 or items.max() >= 2**31):
            raise ValueError("an item row is negative or beyond int32")
        pairs = np.unique(users << 31 | items)
        indptr = np.searchsorted(pairs, np.arange(rows + 1, dtype=np.int64) << 31)
        return cls(indptr.astype(np.int64), (pairs & (2**31 - 1)).astype(np.int32))

    def of(self, rows: NDArray[np.int64]) -> Ragged:
        """The lists of the given users alone, in that order: a Ragged with len(rows) users."""
        lengths = self.lengths[rows]
        indptr = np.concatenate([[0], np.cumsum(lengths)]).astype(np.int64)
        places = np.arange(indptr[-1]) - np.repeat(indptr[:-1] - self.indptr[rows], lengths)
        return Ragged(indptr, self.indices[places])

    def __len__(self) -> int:
        return len(self.indptr) - 1

    @property
    def lengths(self) -> NDArray[np.int64]:
        """Number of items of each user: [U]."""
        return np.diff(self.indptr)

    def check_fits(self, users: int, items: int) -> None:
        """ValueError unless there is one list per user and every item row is below `items`."""
        if len(self) != users:
            raise ValueError(f"lists for {len(self)} users, but there are {users}")
        if len(self.indices) and self.indices.max() >= items:
            raise ValueError(f"a list holds item row {self.indices.max()}, but items are {items}")
