"""Negatives are unseen training items, uniform, and the same whatever the threads."""

from __future__ import annotations

import numba
import numpy as np
import pytest

from lmm4rec.errors import InputError
from lmm4rec.training.sampling import TripleSampler
from tests.toy import N_USERS, checkerboard, pairs


def epoch(sampler: TripleSampler, number: int) -> np.ndarray:
    batches = list(sampler.epoch(number, batch_size=50))
    assert all(len(batch.users) == 50 for batch in batches[:-1])
    parts = [np.stack([b.users, b.positives, b.negatives]) for b in batches]
    return np.concatenate(parts, axis=1)


def test_every_pair_once_and_no_negative_seen() -> None:
    train = checkerboard().train
    triples = epoch(TripleSampler(train, N_USERS, seed=1), 1)
    given = set(zip(train.users.tolist(), train.items.tolist(), strict=True))
    drawn = list(zip(triples[0].tolist(), triples[1].tolist(), strict=True))
    assert len(drawn) == len(given) and set(drawn) == given
    assert not given & set(zip(triples[0].tolist(), triples[2].tolist(), strict=True))
    assert np.isin(triples[2], train.items).all()


def test_draws_depend_on_seed_and_epoch_alone() -> None:
    train = checkerboard().train
    first = epoch(TripleSampler(train, N_USERS, seed=1), 1)
    threads = numba.get_num_threads()
    try:
        numba.set_num_threads(1)
        np.testing.assert_array_equal(first, epoch(TripleSampler(train, N_USERS, seed=1), 1))
    finally:
        numba.set_num_threads(threads)
    assert not np.array_equal(first, epoch(TripleSampler(train, N_USERS, seed=1), 2))
    assert not np.array_equal(first, epoch(TripleSampler(train, N_USERS, seed=2), 1))


def test_negatives_are_uniform_over_the_unseen() -> None:
    """One user has item 0 of ten; chi-square over 9 candidates stays below the 1e-6 quantile."""
    train = pairs([(0, 0)] * 1 + [(1, item) for item in range(10)])
    sampler = TripleSampler(train, 2, seed=3)
    drawn = np.concatenate([epoch(sampler, number)[2] for number in range(1, 4001)])
    counts = np.bincount(drawn, minlength=10)
    assert counts[0] == 0 and counts.sum() == 4000  # user 1 has everything: no triple
    expected = counts.sum() / 9
    assert ((counts[1:] - expected) ** 2 / expected).sum() < 43


def test_negatives_are_those_of_splitmix64_in_plain_integers() -> None:
    """Pair and attempt walk a counter; its mixed high word scales to the candidates."""
    step, word = 0x9E3779B97F4A7C15, 2**64

    def mixed(state: int) -> int:
        state = (state ^ (state >> 30)) * 0xBF58476D1CE4E5B9 % word
        state = (state ^ (state >> 27)) * 0x94D049BB133111EB % word
        return state ^ (state >> 31)

    assert mixed(step) == 0xE220A8397B1DCDAF  # the first number of the published generator, seed 0
    train = checkerboard().train
    seen = {user: set(train.items[train.users == user].tolist()) for user in range(N_USERS)}
    candidates = sorted(set(train.items.tolist()))
    key = int(np.random.SeedSequence([7, 3, 0x6E656761]).generate_state(1, np.uint64)[0])
    users, _, negatives = epoch(TripleSampler(train, N_USERS, seed=7), 3)
    for pair, (user, negative) in enumerate(zip(users.tolist(), negatives.tolist(), strict=True)):
        counter, item = mixed((key + pair * step) % word), -1
        while item < 0 or item in seen[user]:
            counter = (counter + step) % word
            item = candidates[(mixed(counter) >> 32) * len(candidates) >> 32]
        assert item == negative


def test_nothing_to_draw_is_one_sentence() -> None:
    with pytest.raises(InputError, match="every user has taken every item"):
        TripleSampler(pairs([(0, 0), (0, 1)]), 1, seed=0)
