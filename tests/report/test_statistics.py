import math

import numpy as np
import pytest
import scipy.stats
from hypothesis import given, settings
from hypothesis import strategies as st

from lmm4rec.errors import InputError
from lmm4rec.report.statistics import UserMetric, average_seeds, holm_bonferroni, paired_t_test


def numbered(values) -> UserMetric:
    return UserMetric.of([f"u{j:05}" for j in range(len(values))], values)


@given(st.integers(0, 2**32), st.integers(2, 200), st.sampled_from([0.8, 0.95, 0.99]))
@settings(max_examples=60, deadline=None)
def test_equals_scipy(seed, n, confidence):
    rng = np.random.default_rng(seed)
    first, second = rng.random(n), rng.random(n) + rng.normal(0, 0.2)
    ours = paired_t_test(numbered(first), numbered(second), confidence)
    theirs = scipy.stats.ttest_rel(first, second)
    interval = theirs.confidence_interval(confidence)
    assert ours.t == pytest.approx(theirs.statistic)
    assert ours.p == pytest.approx(theirs.pvalue)
    assert (ours.low, ours.high) == pytest.approx((interval.low, interval.high))
    assert ours.difference == pytest.approx(np.mean(first - second))
    assert ours.effect_size == pytest.approx(ours.t / math.sqrt(n))
    assert ours.n_users == n


def test_by_hand():
    # differences 1 2 3 4: mean 2.5, sd sqrt(5/3) = 1.29099, t = 2.5 / (1.29099 / 2) = 3.87298
    ours = paired_t_test(numbered([2.0, 3, 4, 5]), numbered([1.0, 1, 1, 1]))
    assert (ours.difference, ours.t) == pytest.approx((2.5, 3.872983))
    assert ours.effect_size == pytest.approx(1.936492)
    assert ours.p == pytest.approx(0.030466, abs=1e-6)  # t distribution, 3 degrees of freedom
    assert ours.high - ours.difference == pytest.approx(3.182446 * 0.6454972)  # t_.975,3 * sd/2


def test_tiny_p_values_do_not_vanish():
    rng = np.random.default_rng(0)
    first = rng.random(30_000)
    ours = paired_t_test(numbered(first + rng.random(30_000)), numbered(first))
    assert ours.p >= 0 and ours.t > 100
    slight = paired_t_test(numbered(rng.normal(0.1, 1, 30_000)), numbered(np.zeros(30_000)))
    assert 0 < slight.p < 1e-40


def test_differences_without_spread():
    same = paired_t_test(numbered([0.1, 0.7]), numbered([0.1, 0.7]))
    assert (same.p, same.t, same.effect_size, same.low, same.high) == (1, 0, 0, 0, 0)
    shifted = paired_t_test(numbered([1.0, 2.0, 3.0]), numbered([2.0, 3.0, 4.0]))
    assert (shifted.p, shifted.t, shifted.effect_size) == (0, -math.inf, -math.inf)
    assert (shifted.low, shifted.high) == (-1, -1)
    rounded = paired_t_test(numbered([0.1] * 3), numbered([0.0] * 3))  # their float mean is not 0.1
    assert (rounded.p, rounded.difference) == (0, 0.1)


def test_users_are_paired_by_id_not_by_position():
    first = UserMetric.of(["c", "a", "b"], [3.0, 1.0, 2.5])
    second = UserMetric.of(["b", "c", "a"], [2.0, 3.0, 0.0])
    assert first.user_ids.tolist() == ["a", "b", "c"]
    assert paired_t_test(first, second).difference == pytest.approx((1 + 0.5 + 0) / 3)


def test_seeds_are_averaged_per_user():
    first = UserMetric.of(["a", "b", "c"], [1, 2, 7])
    mean = average_seeds([first, UserMetric.of(["b", "c", "a"], [4, 8, 2])])
    assert mean.user_ids.tolist() == ["a", "b", "c"]
    assert mean.values.tolist() == [1.5, 3.0, 7.5]


@pytest.mark.parametrize(
    ("p_values", "adjusted"),
    [
        # 0.01*4; 0.02*3 = 0.06; 0.03*2 = 0.06; 0.04*1 raised to 0.06
        ([0.01, 0.04, 0.03, 0.02], [0.04, 0.06, 0.06, 0.06]),
        # Holm's steps on 0.005 0.01 0.03 0.04 0.05: the last three stop at 0.09
        ([0.05, 0.005, 0.04, 0.01, 0.03], [0.09, 0.025, 0.09, 0.04, 0.09]),
        ([0.6, 0.7], [1.0, 1.0]),
        ([0.03], [0.03]),
        ([], []),
    ],
)
def test_holm_bonferroni_by_hand(p_values, adjusted):
    assert holm_bonferroni(p_values).tolist() == pytest.approx(adjusted)


@given(st.lists(st.floats(0, 1), min_size=1, max_size=12), st.sampled_from([0.01, 0.05, 0.2]))
@settings(max_examples=200, deadline=None)
def test_holm_rejects_exactly_what_the_step_down_procedure_rejects(p_values, alpha):
    adjusted = holm_bonferroni(p_values)
    if np.isclose(adjusted, alpha, rtol=1e-12).any():
        return  # on the border the two orders of rounding may disagree
    rejected = set()
    for step, j in enumerate(np.argsort(p_values, kind="stable")):
        if p_values[j] > alpha / (len(p_values) - step):
            break
        rejected.add(int(j))
    assert set(np.flatnonzero(adjusted <= alpha).tolist()) == rejected


def test_bad_input_is_refused():
    some = numbered([1.0, 2.0])
    with pytest.raises(InputError, match="user 'b' was evaluated in one run"):
        paired_t_test(UserMetric.of(["a", "b"], [1, 2]), UserMetric.of(["a"], [1]))
    with pytest.raises(InputError, match="user 'b' was evaluated in one run"):
        average_seeds([UserMetric.of(["a", "b"], [1, 2]), UserMetric.of(["a", "c"], [1, 2])])
    with pytest.raises(InputError, match="no run to average"):
        average_seeds([])
    with pytest.raises(InputError, match="1 user is too few"):
        paired_t_test(numbered([1.0]), numbered([2.0]))
    with pytest.raises(InputError, match="user 'a' stands twice"):
        UserMetric.of(["a", "b", "a"], [1, 2, 3])
    with pytest.raises(InputError, match="user 'b' has no finite value"):
        UserMetric.of(["a", "b"], [1, np.nan])
    with pytest.raises(ValueError, match="two equal lists"):
        UserMetric.of(["a"], [1, 2])
    for outside in (np.nan, 1.01, -0.01):
        with pytest.raises(ValueError, match=r"in 0\.\.1"):
            holm_bonferroni([0.5, outside])
    assert paired_t_test(some, some).p == 1
