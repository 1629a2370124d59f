"""Is one run better than another? Paired tests over users, corrected for how many were made.

Users are paired by id. With several seeds, each user's metric is averaged over them first, so that
the number of seeds never inflates the number of independent observations.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
from numpy.typing import ArrayLike, NDArray

from lmm4rec.errors import InputError


@dataclass(frozen=True, eq=False)
class UserMetric:
    """One metric per user: ids [n], ascending and distinct, and finite float64 values [n]."""

    user_ids: NDArray[np.object_]
    values: NDArray[np.float64]

    @classmethod
    def of(cls, user_ids: ArrayLike, values: ArrayLike) -> UserMetric:
        """Sort by id. InputError on a repeated id or on NaN (users without relevant items)."""
        ids, numbers = np.asarray(user_ids, object), np.asarray(values, np.float64)
        if ids.shape != numbers.shape or ids.ndim != 1:
            raise ValueError(f"ids {ids.shape} and values {numbers.shape} must be two equal lists")
        order = np.argsort(ids, kind="stable")
        ids, numbers = ids[order], numbers[order]
        repeated = ids[1:] == ids[:-1]
        if repeated.any():
            raise InputError(
                f"per-user metrics: user {ids[:-1][repeated][0]!r} stands twice; evaluate again"
            )
        if not np.isfinite(numbers).all():
            raise InputError(
                f"per-user metrics: user {ids[np.argmin(np.isfinite(numbers))]!r} has no finite "
                "value; leave users without held-out items out"
            )
        return cls(ids, numbers)


@dataclass(frozen=True)
class PairedTest:
    """Result of a two-sided paired t-test of `first` against `second`."""

    n_users: int
    difference: float  # mean of first - second
    low: float  # confidence interval of the difference
    high: float
    effect_size: float  # Cohen's d_z: mean of the differences / their standard deviation
    t: float
    p: float  # not corrected; see holm_bonferroni


def average_seeds(runs: Sequence[UserMetric]) -> UserMetric:
    """Each user's mean over runs that differ in their seed alone. InputError: users differ."""
    if not runs:
        raise InputError("statistics: there is no run to average; list at least one seed")
    for run in runs[1:]:
        _check_same_users(runs[0], run)
    return UserMetric(runs[0].user_ids, np.mean([run.values for run in runs], axis=0))


def paired_t_test(first: UserMetric, second: UserMetric, confidence: float = 0.95) -> PairedTest:
    """Student's paired t-test over users, with n - 1 degrees of freedom.

    If all differences are equal, there is no spread to compare with: p is 1 where they are 0, else
    0 with an infinite t and effect. InputError: the users differ, or there are fewer than two.
    """
    _check_same_users(first, second)
    differences = first.values - second.values
    n = len(differences)
    if n < 2:
        raise InputError(f"paired t-test: {n} user is too few; evaluate on at least 2 users")
    mean, deviation = float(differences.mean()), float(differences.std(ddof=1))
    if differences.min() == differences.max():  # exactly, where rounding may leave a deviation
        mean, deviation = float(differences[0]), 0.0
    if deviation == 0:
        effect = float(np.copysign(np.inf, mean)) if mean else 0.0
    else:
        effect = mean / deviation
    from scipy.special import stdtr, stdtrit  # here: whoever only reads metrics needs no SciPy

    t = effect * float(np.sqrt(n))
    half = float(stdtrit(n - 1, (1 + confidence) / 2)) * deviation / float(np.sqrt(n))
    p = 2 * float(stdtr(n - 1, -abs(t)))
    return PairedTest(n, mean, mean - half, mean + half, effect, t, p)


def holm_bonferroni(p_values: ArrayLike) -> NDArray[np.float64]:
    """Adjusted p-values of one family of m comparisons, in the order given (Holm, 1979).

    The j-th smallest p is multiplied by m - j + 1, made non-decreasing and cut at 1; comparing the
    result with alpha keeps the chance of any false finding in the family below alpha.
    """
    p = np.asarray(p_values, np.float64)
    if p.ndim != 1 or not ((p >= 0) & (p <= 1)).all():
        raise ValueError("p-values must be a list of numbers in 0..1")
    order = np.argsort(p, kind="stable")
    stepped = np.maximum.accumulate(p[order] * np.arange(len(p), 0, -1))
    adjusted = np.empty_like(p)
    adjusted[order] = np.minimum(stepped, 1)
    return adjusted


def _check_same_users(first: UserMetric, second: UserMetric) -> None:
    if not np.array_equal(first.user_ids, second.user_ids):
        stray = sorted(set(first.user_ids) ^ set(second.user_ids))[0]
        raise InputError(
            f"statistics: user {stray!r} was evaluated in one run but not in the other; evaluate "
            "both on the same corpus and split"
        )
