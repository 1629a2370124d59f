import numpy as np
import pytest

from lmm4rec.ranking.ragged import Ragged


def test_pairs_are_sorted_and_repeats_dropped():
    lists = Ragged.from_pairs([2, 0, 2, 0, 2], [5, 9, 1, 3, 5], rows=4)
    assert lists.indptr.tolist() == [0, 2, 2, 4, 4]
    assert lists.indices.tolist() == [3, 9, 1, 5]
    assert lists.lengths.tolist() == [2, 0, 2, 0]
    assert (lists.indptr.dtype, lists.indices.dtype, len(lists)) == (np.int64, np.int32, 4)


def test_no_pairs_and_no_users():
    assert Ragged.from_pairs([], [], rows=3).lengths.tolist() == [0, 0, 0]
    assert len(Ragged.from_pairs([], [], rows=0)) == 0


def test_largest_item_row_survives():
    largest = 2**31 - 1
    lists = Ragged.from_pairs([1, 0], [largest, largest], rows=2)
    assert lists.indices.tolist() == [largest, largest]


@pytest.mark.parametrize(
    ("users", "items"), [([2], [0]), ([-1], [0]), ([0], [-1]), ([0], [2**31]), ([0, 1], [0])]
)
def test_pairs_outside_the_world_are_refused(users, items):
    with pytest.raises(ValueError):
        Ragged.from_pairs(users, items, rows=2)


@pytest.mark.parametrize(
    ("indptr", "indices"),
    [
        ([0, 2, 1, 3], [1, 2, 3]),  # goes back
        ([1, 3], [1, 2, 3]),  # does not start at 0
        ([0, 2], [1, 2, 3]),  # does not end at nnz
        ([0, 2], [2, 1]),  # not ascending
        ([0, 1, 3], [9, 4, 4]),  # repeated
        ([0, 1], [-1]),
        ([], []),
    ],
)
def test_broken_arrays_are_refused(indptr, indices):
    with pytest.raises(ValueError):
        Ragged(np.array(indptr, np.int64), np.array(indices, np.int32))


def test_a_new_user_may_start_lower_even_after_empty_users():
    lists = Ragged(np.array([0, 0, 2, 2, 3, 3], np.int64), np.array([7, 8, 1], np.int32))
    assert lists.lengths.tolist() == [0, 2, 0, 1, 0]


def test_other_dtypes_are_refused():
    with pytest.raises(ValueError, match="int64"):
        Ragged(np.array([0, 1], np.int32), np.array([1], np.int32))
    with pytest.raises(ValueError, match="int32"):
        Ragged(np.array([0, 1], np.int64), np.array([1], np.int64))


def test_check_fits_names_what_does_not():
    lists = Ragged.from_pairs([0], [5], rows=2)
    lists.check_fits(2, 6)
    with pytest.raises(ValueError, match="2 users, but there are 3"):
        lists.check_fits(3, 6)
    with pytest.raises(ValueError, match="item row 5"):
        lists.check_fits(2, 5)


def test_of_takes_the_lists_of_some_users_in_their_order():
    lists = Ragged.from_pairs([0, 0, 2, 3], [4, 5, 1, 7], rows=5)
    some = lists.of(np.array([3, 1, 0, 3]))
    assert some.lengths.tolist() == [1, 0, 2, 1]
    assert some.indices.tolist() == [7, 4, 5, 7]
    assert len(lists.of(np.array([], np.int64))) == 0
