"""k-core and splits against slow, obvious references, on random catalogues."""

from collections import Counter, defaultdict

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from numpy.typing import NDArray

from lmm4rec.catalogue.splits import TEST, TRAIN, VALIDATION, SplitName, k_core, split

NAMES: list[SplitName] = ["random", "lattice", "temporal"]
Rows = list[tuple[int, int, int]]  # user, item, timestamp

# Up to five users of up to 40 interactions each: short ones, and both halves odd and even.
rows_strategy = st.lists(st.integers(1, 40), min_size=1, max_size=5).flatmap(
    lambda sizes: st.tuples(
        *(
            st.lists(
                st.tuples(st.just(user), st.integers(0, 59), st.integers(0, 9)),
                min_size=size,
                max_size=size,
                unique_by=lambda row: row[1],
            )
            for user, size in enumerate(sizes)
        )
    ).map(lambda users: [row for rows in users for row in rows])
)


def arrays(rows: Rows) -> tuple[NDArray[np.int64], ...]:
    return tuple(np.array(column, dtype=np.int64) for column in zip(*rows, strict=True))


def held_out_counts(name: str, n: int) -> tuple[int, int]:
    """(validation, test) as spec/data_and_metrics.md words it."""
    if n < 3:
        return 0, 0
    if n < 10:
        return 1, 1
    h = int(0.2 * n)
    return (h - h // 2, h // 2) if name == "lattice" else (h // 2, h - h // 2)


@given(rows_strategy, st.integers(0, 4))
def test_k_core_is_what_removing_one_by_one_leaves(rows: Rows, core: int) -> None:
    users, items, _ = arrays(rows)
    left = [(user, item) for user, item, _ in rows]
    while True:
        of_user, of_item = Counter(u for u, _ in left), Counter(i for _, i in left)
        poor = [pair for pair in left if min(of_user[pair[0]], of_item[pair[1]]) < core]
        if not poor:
            break
        left.remove(poor[0])
    kept = k_core(users, items, core)
    assert [row[:2] for row, stays in zip(rows, kept, strict=True) if stays] == left


@pytest.mark.parametrize("name", NAMES)
@given(rows=rows_strategy, seed=st.integers(0, 5))
def test_counts_per_user_follow_the_rule(name: SplitName, rows: Rows, seed: int) -> None:
    users, items, times = arrays(rows)
    splits = split(name, users, items, times, seed)
    for user in set(users):
        mine = Counter(splits[users == user].tolist())
        n = sum(mine.values())
        assert (mine[VALIDATION], mine[TEST]) == held_out_counts(name, n)


@pytest.mark.parametrize("name", NAMES)
@given(rows=rows_strategy, data=st.data())
def test_order_of_rows_does_not_matter(name: SplitName, rows: Rows, data: st.DataObject) -> None:
    shuffled = data.draw(st.permutations(rows))
    first = dict(zip(rows, split(name, *arrays(rows), 3), strict=True))
    assert dict(zip(shuffled, split(name, *arrays(shuffled), 3), strict=True)) == first


@given(rows_strategy)
def test_temporal_holds_out_each_users_last(rows: Rows) -> None:
    splits = split("temporal", *arrays(rows), 0)
    by_user = defaultdict(list)
    for (user, item, time), where in zip(rows, splits.tolist(), strict=True):
        by_user[user].append((time, item, where))
    for mine in by_user.values():
        in_time = [where for _, _, where in sorted(mine)]
        n_validation, n_test = held_out_counts("temporal", len(mine))
        n_train = len(mine) - n_validation - n_test
        assert in_time == [TRAIN] * n_train + [VALIDATION] * n_validation + [TEST] * n_test


def test_a_fifth_is_the_same_in_whole_numbers_and_in_floats() -> None:
    n = np.arange(1_000_000)
    assert (n // 5 == np.floor(0.2 * n)).all()


@pytest.mark.parametrize("name", ["random", "lattice"])
def test_every_row_is_as_likely_to_be_held_out(name: SplitName) -> None:
    users, items = np.repeat(np.arange(4000), 6), np.tile(np.arange(6), 4000)
    splits = split(name, users, items, np.zeros_like(users), seed=1)
    for where in (VALIDATION, TEST):
        shares = np.bincount(items[splits == where], minlength=6) / 4000
        assert np.abs(shares - 1 / 6).max() < 0.03  # five standard deviations


def test_seeds_differ_and_repeat() -> None:
    users, items = np.repeat(np.arange(50), 8), np.tile(np.arange(8), 50)
    one, same, two = (split("random", users, items, users, seed) for seed in (1, 1, 2))
    assert (one == same).all() and (one != two).any()
