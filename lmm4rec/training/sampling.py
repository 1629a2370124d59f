"""Training triples (user, positive, negative): one negative per training pair and epoch.

A negative is uniform over the items that occur in training, drawn again while the user has it.
Random numbers come from a counter (SplitMix64 of seed, epoch, pair and attempt), so that a draw
depends on nothing but those four: not on threads, not on batches.
"""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass

import numpy as np
from numba import njit, prange
from numpy.typing import NDArray

from lmm4rec.catalogue.corpus import Pairs
from lmm4rec.errors import InputError
from lmm4rec.ranking.ragged import Ragged

Rows = NDArray[np.int32]


@dataclass(frozen=True)
class Triples:
    """One batch of rows: users, positives and negatives, int32 [B] each."""

    users: Rows
    positives: Rows
    negatives: Rows


class TripleSampler:
    """All triples of an epoch, shuffled, in batches. The last batch may be short."""

    def __init__(self, train: Pairs, n_users: int, seed: int) -> None:
        self._candidates = np.unique(train.items)
        self._history = Ragged.from_pairs(train.users, train.items, n_users)
        # A user who has every candidate leaves nothing to draw: such pairs make no triple.
        drawable = (self._history.lengths < len(self._candidates))[train.users]
        self._pairs = Pairs(train.users[drawable], train.items[drawable])
        self._seed = seed
        if not len(self._pairs):
            raise InputError(
                "training data: every user has taken every item, so that there is nothing to rank; "
                "check the dataset's interactions and its preprocess section in params.yaml"
            )

    def __len__(self) -> int:
        return len(self._pairs)

    def epoch(self, number: int, batch_size: int) -> Iterator[Triples]:
        """The batches of one epoch; the same (seed, number) gives the same batches."""
        order = np.random.default_rng([self._seed, number]).permutation(len(self._pairs))
        users, positives = self._pairs.users[order], self._pairs.items[order]
        negatives = _draw_negatives(
            users,
            self._candidates,
            self._history.indptr,
            self._history.indices,
            np.uint64(_counter_key(self._seed, number)),
        )
        for start in range(0, len(order), batch_size):
            chosen = slice(start, start + batch_size)
            yield Triples(users[chosen], positives[chosen], negatives[chosen])


def _counter_key(seed: int, epoch: int) -> int:
    """64 well-mixed bits for one epoch of one seed."""
    return int(np.random.SeedSequence([seed, epoch, 0x6E656761]).generate_state(1, np.uint64)[0])


@njit(cache=True)
def _mixed(state: np.uint64) -> np.uint64:
    """SplitMix64's output function (Steele, Lea and Flood, 2014)."""
    state = (state ^ (state >> np.uint64(30))) * np.uint64(0xBF58476D1CE4E5B9)
    state = (state ^ (state >> np.uint64(27))) * np.uint64(0x94D049BB133111EB)
    return state ^ (state >> np.uint64(31))


@njit(parallel=True, cache=True)
def _draw_negatives(
    users: Rows, candidates: Rows, indptr: NDArray[np.int64], indices: Rows, key: np.uint64
) -> Rows:
    n_candidates = np.uint64(len(candidates))
    negatives = np.empty(len(users), np.int32)
    for pair in prange(len(users)):
        history = indices[indptr[users[pair]] : indptr[users[pair] + 1]]
        counter = _mixed(key + np.uint64(pair) * np.uint64(0x9E3779B97F4A7C15))
        while True:
            counter = counter + np.uint64(0x9E3779B97F4A7C15)
            # High 32 bits times n, high word: uniform without the slow 64-bit remainder.
            draw = ((_mixed(counter) >> np.uint64(32)) * n_candidates) >> np.uint64(32)
            item = candidates[draw]
            place = np.searchsorted(history, item)
            if place == len(history) or history[place] != item:
                break
        negatives[pair] = item
    return negatives
