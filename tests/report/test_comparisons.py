"""Which runs are compared, what a gain is a share of, and which metrics a table shows."""

from __future__ import annotations

import numpy as np
import pytest

from lmm4rec.report.comparisons import compare
from lmm4rec.report.runs import Runs, shown_metrics
from lmm4rec.report.statistics import UserMetric

METRIC = "ndcg@20"


def runs(features: str, recommender: str, values: list[float], *names: str) -> Runs:
    users = UserMetric.of(np.arange(len(values)), values)
    metrics = [{"test": dict.fromkeys(names or (METRIC,), 0.5)}]
    return Runs(features, recommender, metrics, {METRIC: users})


def test_a_gain_is_the_difference_over_the_second_ones_mean() -> None:
    better = runs("clip", "vbpr", [0.3, 0.5, 0.4])
    worse = runs("noise", "vbpr", [0.2, 0.4, 0.2])
    (comparison,) = compare([better, worse], METRIC)
    assert comparison.test.difference == pytest.approx(0.4 - 0.8 / 3)
    assert comparison.relative == pytest.approx(0.5)  # 1.2 is half as much again as 0.8
    (other_way,) = compare([worse, better], METRIC)
    assert other_way.relative == pytest.approx(-1 / 3)


def test_a_gain_over_nothing_is_infinite() -> None:
    (comparison,) = compare(
        [runs("clip", "vbpr", [0.1, 0.2]), runs("none", "bpr", [0.0, 0.0])], METRIC
    )
    assert comparison.relative == float("inf")


def test_each_model_on_each_pair_of_features_and_each_against_those_of_ids() -> None:
    given = [
        runs("none", "bpr", [0.1, 0.2]),
        runs("clip", "vbpr", [0.2, 0.2]),
        runs("noise", "vbpr", [0.1, 0.3]),
        runs("clip", "freedom", [0.3, 0.3]),
    ]
    asked = {(one.first.name, one.second.name) for one in compare(given, METRIC)}
    assert asked == {
        ("vbpr(clip)", "vbpr(noise)"),
        ("vbpr(clip)", "bpr"),
        ("vbpr(noise)", "bpr"),
        ("freedom(clip)", "bpr"),
    }
    assert compare(given[:1], METRIC) == []


@pytest.mark.parametrize(
    ("names", "shown"),
    [
        (
            ["recall@10", "map@10", "ndcg@10", "recall@20", "ndcg@20", "recall@50"],
            ["recall@10", "ndcg@10", "recall@20", "ndcg@20"],
        ),
        (["recall@20", "ndcg@20", "recall@50"], ["recall@20", "ndcg@20"]),
        (["recall@5", "map@5"], ["recall@5", "map@5"]),  # none of the usual: all there are
    ],
)
def test_tables_show_recall_and_ndcg_at_10_and_20_or_all(
    names: list[str], shown: list[str]
) -> None:
    assert shown_metrics([runs("clip", "vbpr", [0.1, 0.2], *names)]) == shown
