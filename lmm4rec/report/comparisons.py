"""Who beats whom: paired tests over users, corrected for the number of questions asked.

Each user's metric is averaged over seeds first; then a two-sided paired t-test over users, and
Holm-Bonferroni over all comparisons of the dataset at once.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from itertools import combinations

from lmm4rec.report.runs import Runs
from lmm4rec.report.statistics import PairedTest, holm_bonferroni, paired_t_test


@dataclass(frozen=True)
class Comparison:
    first: Runs
    second: Runs
    metric: str
    test: PairedTest
    p_corrected: float

    @property
    def relative(self) -> float:
        """The difference as a share of the second one's mean."""
        base = float(self.second.users[self.metric].values.mean())
        return self.test.difference / base if base else float("inf")


def compare(runs: Sequence[Runs], metric: str) -> list[Comparison]:
    """The questions the study asks: does a recommender do better on one features folder than on
    another, and does it do better than the models that use ids alone?
    """
    by_ids = [run for run in runs if run.features == "none"]
    content = [run for run in runs if run.features != "none"]
    asked = [
        (first, second)
        for first, second in combinations(content, 2)
        if first.recommender == second.recommender
    ]
    asked += [(first, second) for first in content for second in by_ids]
    if not asked:
        return []
    tests = [paired_t_test(a.users[metric], b.users[metric]) for a, b in asked]
    corrected = holm_bonferroni([test.p for test in tests])
    return [
        Comparison(first, second, metric, test, float(p))
        for (first, second), test, p in zip(asked, tests, corrected, strict=True)
    ]
