"""From vectors to metrics files and the report, on a world small enough to check by hand."""

from __future__ import annotations

import subprocess
import sys
from pathlib import Path

import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq
import pytest
from scipy.sparse import csr_array

from lmm4rec.errors import InputError
from lmm4rec.evaluation.evaluation import EvaluationConfig, evaluate
from lmm4rec.evaluation.user_metrics import write_user_metrics
from lmm4rec.folders import write_json
from lmm4rec.report.comparisons import compare
from lmm4rec.report.markdown import tables
from lmm4rec.report.page import page
from lmm4rec.report.runs import read_runs
from lmm4rec.report.tunings import tunings_table
from lmm4rec.training.vectors import SparseScores, Vectors, read_vectors, write_vectors

CONFIG = EvaluationConfig(cutoffs=[1, 2, 20], mask_validation_at_test=False)
ITEMS = pa.array(["a", "b", "c", "d"])
USERS = pa.array(["u1", "u2", "u3"])


@pytest.fixture
def corpus(tmp_path: Path) -> Path:
    """u1 trains on a, validates b, tests c; u2 trains on a and tests d; u3 trains alone."""
    rows = [
        ("u1", "a", "train"),
        ("u1", "b", "validation"),
        ("u1", "c", "test"),
        ("u2", "a", "train"),
        ("u2", "d", "test"),
        ("u3", "b", "train"),
    ]
    users, items, splits = (list(column) for column in zip(*rows, strict=True))
    folder = tmp_path / "corpus"
    folder.mkdir()
    table = pa.table({"user_id": users, "item_id": items, "split": splits})
    pq.write_table(table, folder / "interactions.parquet")
    pq.write_table(pa.table({"item_id": ITEMS}), folder / "item_ids.parquet")
    return folder


def ranking_abcd() -> Vectors:
    """Everybody's scores are 4, 3, 2, 1 for a, b, c, d."""
    return Vectors(
        USERS, ITEMS, np.ones((3, 1), np.float32), np.array([[4], [3], [2], [1]], np.float32)
    )


def test_metrics_by_hand(corpus: Path) -> None:
    results = evaluate(corpus, ranking_abcd(), CONFIG)
    test = results["test"]
    assert test.user_ids.to_pylist() == ["u1", "u2"]
    # u1 ranks b, c, d: its c is second. u2 ranks b, c, d too: its d is third.
    np.testing.assert_allclose(test.metrics["recall@2"], [1, 0])
    np.testing.assert_allclose(test.metrics["recall@20"], [1, 1])
    np.testing.assert_allclose(test.metrics["ndcg@20"], [1 / np.log2(3), 1 / np.log2(4)])
    validation = results["validation"]
    assert validation.user_ids.to_pylist() == ["u1"]
    assert validation.means()["recall@1"] == 1.0


def test_validation_items_can_be_masked_at_test(corpus: Path) -> None:
    masked = EvaluationConfig(cutoffs=[1], mask_validation_at_test=True)
    test = evaluate(corpus, ranking_abcd(), masked)["test"]
    np.testing.assert_allclose(test.metrics["recall@1"], [1, 0])  # b is gone, c leads


def test_lists_name_users_and_items(corpus: Path) -> None:
    lists = evaluate(corpus, ranking_abcd(), CONFIG)["test"].lists_table().to_pylist()
    of_u1 = [(row["rank"], row["item_id"], row["score"]) for row in lists if row["user_id"] == "u1"]
    assert of_u1 == [(1, "b", 3.0), (2, "c", 2.0), (3, "d", 1.0)]


def test_sparse_scores_rank_like_dense_ones(corpus: Path, tmp_path: Path) -> None:
    dense = np.array([[4, 3, 2, 1]] * 3, np.float32)
    sparse = SparseScores(USERS, ITEMS, csr_array(dense))
    (tmp_path / "v").mkdir()
    write_vectors(tmp_path / "v", sparse, {})
    found = evaluate(corpus, read_vectors(tmp_path / "v"), CONFIG)["test"]
    np.testing.assert_array_equal(found.rows, evaluate(corpus, ranking_abcd(), CONFIG)["test"].rows)


def test_vectors_of_another_corpus_are_refused(corpus: Path) -> None:
    other = Vectors(USERS, pa.array(["a", "b", "c", "x"]), np.ones((3, 1)), np.ones((4, 1)))
    with pytest.raises(InputError, match="are not the 4 items of the vectors"):
        evaluate(corpus, other, CONFIG)


def test_damaged_vectors_are_refused(tmp_path: Path) -> None:
    write_vectors(tmp_path, ranking_abcd(), {})
    np.save(tmp_path / "users.npy", np.ones((2, 1), np.float32))
    told = r"matrices \(2, 1\) and \(4, 1\) do not fit 3 users and 4 items; run stage train again"
    with pytest.raises(InputError, match=told):
        read_vectors(tmp_path)
    (tmp_path / "users.npy").write_bytes(b"half")
    with pytest.raises(InputError, match=r"users\.npy: not a NumPy array"):
        read_vectors(tmp_path)


def write_run(folder: Path, corpus: Path, name: str, seed: int, vectors: Vectors) -> None:
    results = evaluate(corpus, vectors, CONFIG)
    target = folder / name
    target.mkdir(parents=True, exist_ok=True)
    write_user_metrics(target / f"{seed}.users.parquet", results["test"])
    content = {split: result.means() for split, result in results.items()}
    content["test_users_sha256"] = results["test"].users_fingerprint()
    write_json(target / f"{seed}.json", content | {"protocol": {"ties": "broken by item id"}})


@pytest.mark.parametrize(("cutoffs", "kept"), [([5, 20, 21], 20), ([21, 30], 30), ([5, 10], 10)])
def test_the_metrics_of_every_user_are_kept_at_20_or_at_the_longest_cutoff(
    corpus: Path, tmp_path: Path, cutoffs: list[int], kept: int
) -> None:
    config = EvaluationConfig(cutoffs=cutoffs, mask_validation_at_test=False)
    write_user_metrics(tmp_path / "users.parquet", evaluate(corpus, ranking_abcd(), config)["test"])
    table = pq.read_table(tmp_path / "users.parquet")
    assert table.column_names == [f"recall@{kept}", f"ndcg@{kept}"]


def test_report_tests_users_pairwise(corpus: Path, tmp_path: Path) -> None:
    metrics = tmp_path / "demo"
    backwards = Vectors(
        USERS, ITEMS, np.ones((3, 1), np.float32), np.array([[1], [2], [3], [4]], np.float32)
    )
    write_run(metrics, corpus, "clip/vbpr", 1, ranking_abcd())
    write_run(metrics, corpus, "clip/vbpr", 2, ranking_abcd())
    write_run(metrics, corpus, "none/bpr", 1, backwards)
    write_run(metrics, corpus, "none/bpr", 2, ranking_abcd())
    runs = [read_runs(metrics, "clip", "vbpr", [1, 2]), read_runs(metrics, "none", "bpr", [1, 2])]
    (comparison,) = compare(runs, "ndcg@20")
    # u1: c second both ways; u2: d third or first, so seeds average (1/2 + 1) / 2 against 1/2.
    assert comparison.test.difference == pytest.approx((0 + 0.5 - 0.75) / 2)
    html = page("demo", runs, [comparison])
    assert "vbpr(clip)" in html and "broken by item id" in html and "Fine-tuning" not in html


def test_report_shows_retrieval_before_and_after_tuning(corpus: Path, tmp_path: Path) -> None:
    metrics = tmp_path / "demo"
    write_run(metrics, corpus, "clip/vbpr", 1, ranking_abcd())
    runs = [read_runs(metrics, "clip", "vbpr", [1])]
    (metrics / "tuning").mkdir()
    names = ("image_to_text_recall@5", "image_to_text_recall@10", "text_to_image_recall@5")
    before = {"validation_loss": 4.0, **dict(zip(names, (0.1, 0.3, 0.2), strict=True))}
    after = {"validation_loss": 3.0, **dict(zip(names, (0.25, 0.4, 0.5), strict=True))}
    told = {"held_out_pairs": 113, "epochs": 10, "kept_epoch": 4, "before": before, "after": after}
    write_json(metrics / "tuning/clip.json", told)
    further = tunings_table(metrics, ["clip"])
    row = "| clip | 113 | 4 of 10 | 0.100 → 0.250 | 0.300 → 0.400 | 0.200 → 0.500 |"
    assert row in tables(runs, [], further).splitlines()
    html = page("demo", runs, [], further)
    assert (
        "<th>image → text R@5</th><th>image → text R@10</th>" in html
        and "<td>0.200 → 0.500</td>" in html
    )


def test_a_missing_tuning_is_named(tmp_path: Path) -> None:
    with pytest.raises(InputError, match=r"clip\.json: the run is missing.*finetune@demo-clip"):
        tunings_table(tmp_path / "demo", ["clip"])


@pytest.mark.parametrize(
    ("features", "stage"),
    [
        ("clip", "evaluate@demo-clip-vbpr-2"),
        ("none", "evaluate-ids@demo-vbpr-2"),
        ("clip-e2e", "evaluate-end2end@demo-clip-vbpr-2"),
    ],
)
def test_a_missing_run_is_named(corpus: Path, tmp_path: Path, features: str, stage: str) -> None:
    metrics = tmp_path / "demo"
    write_run(metrics, corpus, f"{features}/vbpr", 1, ranking_abcd())
    with pytest.raises(InputError, match=rf"2\.json: the run is missing.*\({stage}\)"):
        read_runs(metrics, features, "vbpr", [1, 2])


def test_evaluation_and_report_do_not_load_torch() -> None:
    code = (
        "import sys, lmm4rec.evaluation.evaluation, lmm4rec.report.page, lmm4rec.study.run; "
        "sys.exit('torch' in sys.modules or 'pandas' in sys.modules)"
    )
    assert subprocess.run([sys.executable, "-c", code], check=False).returncode == 0
