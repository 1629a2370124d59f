"""k-core filtering, and which interaction of a user trains, validates or tests.

Everything works on arrays of the same length n, one entry per interaction: user and item codes
(0 .. U-1, 0 .. I-1) and timestamps. Results do not depend on the order of the rows: rows are
ordered by (user, item) before any number is drawn, and a (user, item) pair stands only once.

The held-out counts of a user with n interactions: n < 3: none (all of it trains); n < 10: one for
validation and one for test; else h = floor(n / 5), of which floor(h / 2) for one and the rest for
the other: `random` and `temporal` give test the larger half, as MMRec does, `lattice` gives it to
validation, as LATTICE does.
"""

from __future__ import annotations

from typing import Literal

import numpy as np
from numpy.typing import NDArray

SplitName = Literal["random", "lattice", "temporal"]
TRAIN, VALIDATION, TEST = 0, 1, 2
FEWEST_TO_SPLIT = 3

Codes = NDArray[np.int64]


def k_core(users: Codes, items: Codes, core: int) -> NDArray[np.bool_]:
    """Which rows [n] stay when every user and item must keep at least `core` of them.

    Removing one may starve another, so it repeats until nothing changes.
    """
    rows = np.arange(len(users))
    while True:
        enough = np.ones(len(rows), dtype=bool)
        for codes in (users[rows], items[rows]):
            enough &= np.bincount(codes)[codes] >= core
        if enough.all():
            break
        rows = rows[enough]
    kept = np.zeros(len(users), dtype=bool)
    kept[rows] = True
    return kept


def split(name: SplitName, users: Codes, items: Codes, timestamps: Codes, seed: int) -> Codes:
    """The split of every row [n]: TRAIN, VALIDATION or TEST.

    `random` and `lattice` draw each user's held-out rows evenly; `temporal` takes the last rows
    for test and those before them for validation, equal times ordered by item, and uses no seed.
    """
    if name == "temporal":
        order = np.lexsort((items, timestamps, users))
    else:
        canonical = np.lexsort((items, users))
        drawn = np.random.default_rng(seed).random(len(users))
        order = canonical[np.lexsort((drawn, users[canonical]))]
    return _hold_out_last(users, order, larger_half=VALIDATION if name == "lattice" else TEST)


def _hold_out_last(users: Codes, order: Codes, larger_half: int) -> Codes:
    """Splits [n] when each user's rows, in `order`, end with validation and then test."""
    if not len(users):
        return np.zeros(0, dtype=np.int64)
    n = np.bincount(users)  # [U]
    held_out = np.where(n < 10, np.where(n < FEWEST_TO_SPLIT, 0, 2), n // 5)  # [U]
    smaller = held_out // 2  # [U]
    test = held_out - smaller if larger_half == TEST else smaller  # [U]
    ends = np.cumsum(n)  # [U], where each user's rows end in `order`
    sorted_users = users[order]
    from_end = ends[sorted_users] - 1 - np.arange(len(users))  # [n], 0 is the last row
    splits = np.full(len(users), TRAIN, dtype=np.int64)
    splits[order[from_end < held_out[sorted_users]]] = VALIDATION
    splits[order[from_end < test[sorted_users]]] = TEST
    return splits


def draw_validation(
    users: Codes, items: Codes, is_train: NDArray[np.bool_], seed: int
) -> NDArray[np.bool_]:
    """One training row of every user who has `FEWEST_TO_SPLIT` of them or more, drawn evenly: [n].

    For ready splits that have no validation part.
    """
    drawn = np.zeros(len(users), dtype=bool)
    rows = np.flatnonzero(is_train)
    canonical = rows[np.lexsort((items[rows], users[rows]))]
    chances = np.random.default_rng(seed).random(len(canonical))
    order = canonical[np.lexsort((chances, users[canonical]))]
    last = np.append(users[order][1:] != users[order][:-1], True)[: len(order)]
    enough = np.bincount(users[rows], minlength=1)[users[order]] >= FEWEST_TO_SPLIT
    drawn[order[last & enough]] = True
    return drawn
