"""Finished runs, read from the metrics folder alone.

A run's metrics stand in `<features>/<recommender>/<seed>.json`; beside it `<seed>.users.parquet`
holds two metrics per test user, compact enough for git (most users' values repeat), so that
significance can be tested in any clone without pulling a cache.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from lmm4rec.errors import InputError
from lmm4rec.evaluation.user_metrics import PAIRED
from lmm4rec.folders import read_json
from lmm4rec.report.statistics import UserMetric, average_seeds
from lmm4rec.tables import read_table


@dataclass(frozen=True)
class Runs:
    """All seeds of one recommender on one features folder."""

    features: str  # "none" for recommenders of ids alone
    recommender: str
    metrics: list[dict[str, Any]]  # one metrics file per seed
    users: dict[str, UserMetric]  # metric -> per test user, averaged over seeds

    @property
    def name(self) -> str:
        return (
            self.recommender if self.features == "none" else f"{self.recommender}({self.features})"
        )

    def values(self, split: str, metric: str) -> NDArray[np.float64]:
        """The metric's mean over users, one value per seed."""
        return np.array([metrics[split][metric] for metrics in self.metrics])


def shown_metrics(runs: Sequence[Runs]) -> list[str]:
    """The metrics that tables show: recall and NDCG at 10 and 20, or all if there are none."""
    names = list(runs[0].metrics[0]["test"])
    wanted = [f"{metric}@{cutoff}" for cutoff in (10, 20) for metric in PAIRED]
    return [name for name in wanted if name in names] or names


def read_runs(folder: Path, features: str, recommender: str, seeds: list[int]) -> Runs:
    """The runs of all seeds. InputError: one is missing, or they rank different users."""
    paths = [folder / features / recommender / f"{seed}.json" for seed in seeds]
    metrics = [_read_metrics(path, folder) for path in paths]
    fingerprints = {entry["test_users_sha256"] for entry in metrics}
    if len(fingerprints) > 1:
        raise InputError(
            f"{paths[0].parent}: its seeds were evaluated on different users; run `dvc repro`"
        )
    per_seed = [_read_users(path.with_suffix(".users.parquet")) for path in paths]
    users = {
        name: average_seeds([seed[name] for seed in per_seed])
        for name in per_seed[0]
        if all(name in seed for seed in per_seed)
    }
    return Runs(features, recommender, metrics, users)


def _read_metrics(path: Path, folder: Path) -> dict[str, Any]:
    names = path.relative_to(folder).with_suffix("").parts
    return read_metrics(path, _evaluation(folder.name, *names))


def read_metrics(path: Path, stage: str) -> dict[str, Any]:
    """The metrics file that `stage` leaves. InputError: it is not there."""
    if not path.exists():
        raise InputError(
            f"{path}: the run is missing; make it with `dvc repro`, or fetch it with "
            f"`git pull` ({stage})"
        )
    content: dict[str, Any] = read_json(path)
    return content


def _evaluation(dataset: str, features: str, recommender: str, seed: str) -> str:
    """The stage that writes a run's metrics."""
    if features == "none":
        return f"evaluate-ids@{dataset}-{recommender}-{seed}"
    if features.endswith("-e2e"):
        encoder = features.removesuffix("-e2e")
        return f"evaluate-end2end@{dataset}-{encoder}-{recommender}-{seed}"
    return f"evaluate@{dataset}-{features}-{recommender}-{seed}"


def _read_users(path: Path) -> dict[str, UserMetric]:
    table = read_table(path, None, "evaluate")
    rows = np.arange(len(table))
    return {
        name: UserMetric.of(rows, table[name].to_numpy().astype(np.float64))
        for name in table.column_names
    }
