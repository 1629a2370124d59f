"""A world in which the right answer is known: two kinds of items, two kinds of users.

Even users like even items, odd users odd ones (the checkerboard of benfred/implicit). Features
tell an item's kind, so that content alone must find it too.
"""

from __future__ import annotations

import numpy as np
import pyarrow as pa

from lmm4rec.catalogue.corpus import Pairs, TrainingView
from lmm4rec.features.features import Features

N_USERS, N_ITEMS = 40, 30


def ids(prefix: str, count: int) -> pa.Array:
    return pa.array([f"{prefix}{number:03d}" for number in range(count)])


def checkerboard(seed: int = 0, share: float = 0.6) -> TrainingView:
    """Each user has `share` of the items of their kind in training, one more in validation."""
    rng = np.random.default_rng(seed)
    train: list[tuple[int, int]] = []
    validation: list[tuple[int, int]] = []
    for user in range(N_USERS):
        liked = rng.permutation(np.arange(user % 2, N_ITEMS, 2))
        n_train = int(len(liked) * share)
        train += [(user, int(item)) for item in liked[:n_train]]
        validation.append((user, int(liked[n_train])))
    return TrainingView(ids("u", N_USERS), ids("i", N_ITEMS), pairs(train), pairs(validation))


def pairs(rows: list[tuple[int, int]]) -> Pairs:
    users, items = np.array(rows, np.int32).reshape(-1, 2).T
    return Pairs(users.copy(), items.copy())


def kind_features(seed: int = 0, dims: int = 12) -> Features:
    """Image and text vectors near one of two centres, by the item's kind."""
    rng = np.random.default_rng(seed)
    matrices = {}
    for modality in ("image", "text"):
        centres = rng.normal(size=(2, dims))
        noise = 0.1 * rng.normal(size=(N_ITEMS, dims))
        matrices[modality] = (centres[np.arange(N_ITEMS) % 2] + noise).astype(np.float32)
    present = {name: np.ones(N_ITEMS, bool) for name in ("image", "text")}
    return Features(ids("i", N_ITEMS), matrices, present)
