"""Evaluation of vectors on a corpus: lists, per-user metrics and their means for both splits.

Protocol: every item of the corpus is a candidate, the user's training items are left out (at test
also the validation items, if the configuration says so), users with at least one held-out item
count, means are plain. Nothing here knows which recommender made the vectors.

Shapes: U users with something held out, K the longest cutoff.
"""

from __future__ import annotations

from dataclasses import dataclass
from hashlib import sha256
from pathlib import Path
from typing import Annotated, Any

import numpy as np
import pyarrow as pa
from numpy.typing import NDArray
from pydantic import Field

from lmm4rec.catalogue.corpus import Pairs, read_item_ids, read_split
from lmm4rec.errors import InputError
from lmm4rec.evaluation.metrics import evaluate_lists
from lmm4rec.params import Cutoff, Distinct, Section
from lmm4rec.ranking.ragged import Ragged
from lmm4rec.ranking.topk import top_k, top_k_sparse
from lmm4rec.training.vectors import SparseScores, Vectors


class EvaluationConfig(Section):
    """params.yaml's `evaluation` section."""

    cutoffs: Annotated[list[Cutoff], Distinct] = Field(min_length=1)  # k of every metric
    mask_validation_at_test: bool  # leave validation items out of test rankings too


@dataclass(frozen=True)
class SplitResult:
    """What one split says of one set of vectors."""

    split: str
    user_ids: pa.Array  # [U] users with held-out items
    item_ids: pa.Array  # all candidates
    rows: NDArray[np.int32]  # [U, K] recommended item rows, best first, -1 past the end
    scores: NDArray[np.float32]  # [U, K]
    metrics: dict[str, NDArray[np.float64]]  # "recall@20" -> [U]

    def means(self) -> dict[str, float]:
        return {name: float(values.mean()) for name, values in self.metrics.items()}

    def lists_table(self) -> pa.Table:
        """user_id, rank (from 1), item_id and score: a row per recommendation."""
        n_users, length = self.rows.shape
        kept = self.rows.ravel() >= 0
        users = np.repeat(np.arange(n_users), length)[kept]
        ranks = np.tile(np.arange(1, length + 1, dtype=np.int32), n_users)[kept]
        return pa.table(
            {
                "user_id": self.user_ids.take(pa.array(users)),
                "rank": ranks,
                "item_id": self.item_ids.take(pa.array(self.rows.ravel()[kept])),
                "score": self.scores.ravel()[kept],
            }
        )

    def users_table(self) -> pa.Table:
        """user_id and every metric: a row per user."""
        return pa.table({"user_id": self.user_ids, **self.metrics})

    def users_fingerprint(self) -> str:
        """SHA-256 of the user ids in row order: equal where rows may be paired."""
        return sha256("\n".join(self.user_ids.to_pylist()).encode()).hexdigest()


def evaluate(
    corpus: Path, vectors: Vectors | SparseScores, config: EvaluationConfig, device: str = "cpu"
) -> dict[str, SplitResult]:
    """Results on the validation and the test split. InputError: vectors of another corpus."""
    item_ids = read_item_ids(corpus)
    if not vectors.item_ids.equals(item_ids):
        raise InputError(
            f"{corpus}: its {len(item_ids)} items are not the {len(vectors.item_ids)} items of the "
            "vectors; train on this corpus again"
        )
    splits = {
        name: read_split(corpus, name, vectors.user_ids, item_ids)
        for name in ("train", "validation", "test")
    }
    seen_at_test = ["train", "validation"] if config.mask_validation_at_test else ["train"]
    return {
        "validation": _evaluate_split(splits, "validation", ["train"], vectors, config, device),
        "test": _evaluate_split(splits, "test", seen_at_test, vectors, config, device),
    }


def protocol(config: EvaluationConfig) -> dict[str, Any]:
    """The choices that a reader of the numbers must know, for the metrics file."""
    return {
        "candidates": "all items of the corpus",
        "left_out_at_test": "training and validation items of the user"
        if config.mask_validation_at_test
        else "training items of the user",
        "left_out_at_validation": "training items of the user",
        "ties": "broken by item id",
        "users": "those with at least one held-out item; plain mean",
    }


def _evaluate_split(
    splits: dict[str, Pairs],
    split: str,
    left_out: list[str],
    vectors: Vectors | SparseScores,
    config: EvaluationConfig,
    device: str,
) -> SplitResult:
    n_users = len(vectors.user_ids)
    relevant = Ragged.from_pairs(splits[split].users, splits[split].items, n_users)
    seen = Ragged.from_pairs(
        np.concatenate([splits[name].users for name in left_out]),
        np.concatenate([splits[name].items for name in left_out]),
        n_users,
    )
    chosen = np.flatnonzero(relevant.lengths)
    if not len(chosen):
        raise InputError(
            f"the corpus has no {split} interactions; check the dataset's preprocess.split in "
            "params.yaml"
        )
    relevant, seen, k = relevant.of(chosen), seen.of(chosen), max(config.cutoffs)
    if isinstance(vectors, SparseScores):
        rows, scores = top_k_sparse(vectors.scores[chosen], k, seen)
    else:
        rows, scores = top_k(vectors.users[chosen], vectors.items, k, seen, device)
    metrics = evaluate_lists(rows, relevant, config.cutoffs)
    user_ids = vectors.user_ids.take(pa.array(chosen))
    return SplitResult(split, user_ids, vectors.item_ids, rows, scores, metrics)
