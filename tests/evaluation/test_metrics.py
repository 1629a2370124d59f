import math

import ir_measures
import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from ir_measures import AP, P, Qrel, R, ScoredDoc, nDCG

from lmm4rec.errors import InputError
from lmm4rec.evaluation.metrics import METRICS, evaluate_lists, find_hits
from lmm4rec.ranking.ragged import Ragged
from tests.ranking.ranking_reference import list_metrics, row


@st.composite
def rankings(draw):
    """(rows [U,K] with short lists, relevant): some users without any relevant item."""
    rng = np.random.default_rng(draw(st.integers(0, 2**32)))
    n_users, n_items, length = draw(st.integers(1, 8)), draw(st.integers(1, 60)), 25
    rows = np.full((n_users, length), -1, np.int32)
    for user in range(n_users):
        listed = rng.permutation(n_items)[: rng.integers(0, length + 1)]
        rows[user, : len(listed)] = listed
    chance = rng.choice([0, 0.05, 0.9], (n_users, 1))
    users, items = np.nonzero(rng.random((n_users, n_items)) < chance)
    return rows, Ragged.from_pairs(users, items, n_users)


@given(rankings())
@settings(max_examples=150, deadline=None)
def test_equals_the_plain_definitions(world):
    rows, relevant = world
    found = evaluate_lists(rows, relevant, [1, 5, 20, 25])
    for user in range(len(rows)):
        ranked = [item for item in rows[user].tolist() if item >= 0]
        wanted = set(row(relevant, user).tolist())
        for key, values in found.items():
            name, cutoff = key.split("@")
            if wanted:
                expected = list_metrics(ranked, wanted, int(cutoff))[name]
                assert values[user] == pytest.approx(expected, abs=1e-12), key
            else:
                assert math.isnan(values[user]), key


@given(rankings(), st.sampled_from([1, 5, 20]))
@settings(max_examples=40, deadline=None)
def test_equals_ir_measures(world, cutoff):
    rows, relevant = world
    qrels, run = [], []
    for user in range(len(rows)):
        qrels += [Qrel(str(user), str(item), 1) for item in row(relevant, user)]
        listed = [item for item in rows[user] if item >= 0]
        run += [ScoredDoc(str(user), str(item), -j) for j, item in enumerate(listed)]
    found = evaluate_lists(rows, relevant, [cutoff])
    names = {
        R @ cutoff: "recall",
        P @ cutoff: "precision",
        nDCG @ cutoff: "ndcg",
        AP @ cutoff: "map",
    }
    n_compared = 0
    for result in ir_measures.iter_calc(list(names), qrels, run):
        user, name = int(result.query_id), names[result.measure]
        ours = found[f"{name}@{cutoff}"][user]
        if name == "map":  # trec_eval divides by |G|, we by min(K, |G|)
            ours *= min(cutoff, relevant.lengths[user]) / relevant.lengths[user]
        assert ours == pytest.approx(result.value, abs=1e-6), result
        n_compared += 1
    answered = (relevant.lengths > 0) & (rows[:, 0] >= 0)
    assert n_compared >= 4 * answered.sum()


def metrics_of(ranked, wanted, cutoff):
    relevant = Ragged.from_pairs(np.zeros(len(wanted), int), wanted, 1)
    found = evaluate_lists(np.array([ranked], np.int32), relevant, [cutoff])
    return {key.split("@")[0]: values[0] for key, values in found.items()}


def test_first_case_by_hand():
    # relevant at places 1 and 3 of 5, and one more that the list lacks: |G| = 3
    found = metrics_of([10, 11, 12, 13, 14], [10, 12, 99], 5)
    assert found["recall"] == pytest.approx(2 / 3)
    assert found["precision"] == pytest.approx(2 / 5)
    # DCG 1/log2(2) + 1/log2(4) = 1.5; ideal 1 + 1/log2(3) + 1/2 = 2.13093
    assert found["ndcg"] == pytest.approx(1.5 / 2.1309297536)
    # precision 1/1 at place 1, 2/3 at place 3, over min(5, 3)
    assert found["map"] == pytest.approx((1 + 2 / 3) / 3)


def test_second_case_by_hand_more_relevant_than_places():
    # |G| = 4 > K = 2, the second place hits
    found = metrics_of([7, 1], [1, 2, 3, 4], 2)
    assert found["recall"] == pytest.approx(1 / 4)  # all of G, not min(K, |G|) = 2
    assert found["precision"] == pytest.approx(1 / 2)
    # DCG 1/log2(3) = 0.63093, ideal of two places 1.63093
    assert found["ndcg"] == pytest.approx(0.6309297536 / 1.6309297536)
    assert found["map"] == pytest.approx((1 / 2) / 2)


def test_third_case_by_hand_short_list():
    # the catalogue ended after two items; precision still divides by K = 4
    found = metrics_of([3, 8, -1, -1], [8], 4)
    assert found == {
        "recall": 1,
        "precision": 1 / 4,
        "ndcg": pytest.approx(1 / math.log2(3)),
        "map": 1 / 2,
    }


def test_a_perfect_list_gives_exactly_one():
    ranked = list(range(50))
    for n_wanted in (1, 3, 20, 50):
        found = metrics_of(ranked, ranked[:n_wanted], 20)
        assert found["ndcg"] == 1.0
        assert found["map"] == 1.0


def test_keys_and_the_choice_of_metrics():
    rows, relevant = np.zeros((1, 20), np.int32), Ragged.from_pairs([0], [0], 1)
    keys = list(evaluate_lists(rows, relevant, [5, 20]))
    assert set(keys) == {f"{name}@{k}" for name in METRICS for k in (5, 20)}
    assert list(evaluate_lists(rows, relevant, [20], ["ndcg"])) == ["ndcg@20"]


def test_the_same_item_of_another_user_is_no_hit():
    rows = np.array([[1, 0], [2, -1]], np.int32)
    relevant = Ragged.from_pairs([0, 1], [2, 0], 2)  # row -1 must not read as item 0 either
    assert not find_hits(rows, relevant).any()


@pytest.mark.filterwarnings("error")
def test_a_user_without_relevant_items_has_no_value_and_no_warning():
    relevant = Ragged(np.array([0, 0, 1]), np.array([3], np.int32))
    found = evaluate_lists(np.array([[3, 1], [3, 1]], np.int32), relevant, [1, 2])
    for values in found.values():
        assert np.isnan(values[0]) and values[1] > 0


def test_bad_input_is_refused():
    rows, relevant = np.zeros((1, 20), np.int32), Ragged.from_pairs([0], [0], 1)
    with pytest.raises(InputError, match="cutoff 21 does not fit lists of 20"):
        evaluate_lists(rows, relevant, [21])
    with pytest.raises(InputError, match="cutoff 0"):
        evaluate_lists(rows, relevant, [0])
    with pytest.raises(InputError, match="did you mean 'recall'"):
        evaluate_lists(rows, relevant, [5], ["recal"])
    with pytest.raises(ValueError, match="1 users, but there are 2"):
        evaluate_lists(np.zeros((2, 20), np.int32), relevant, [5])
