import subprocess
import sys

import numpy as np
import pytest
from hypothesis import given, settings

from lmm4rec.errors import InputError
from lmm4rec.evaluation.metrics import evaluate_lists
from lmm4rec.ranking.ragged import Ragged
from lmm4rec.ranking.topk import top_k
from lmm4rec.training import validation
from lmm4rec.training.validation import recall_at_k
from tests.ranking.ranking_reference import worlds


@pytest.mark.parametrize("integers", [True, False])
def test_equals_the_recall_of_top_k_lists(integers):
    @given(worlds(integers=integers))
    @settings(max_examples=150, deadline=None)
    def check(world):
        users, items, k, seen, relevant = world
        rows, _ = top_k(users, items, k, seen)
        expected = evaluate_lists(rows, relevant, [k], ["recall"])[f"recall@{k}"]
        np.testing.assert_array_equal(recall_at_k(users, items, k, seen, relevant), expected)

    check()


def test_by_hand():
    items = np.array([[4], [3], [3], [1]], np.float32)
    users = np.ones((4, 1), np.float32)
    seen = Ragged.from_pairs([1, 2], [0, 1], 4)
    relevant = Ragged.from_pairs([0, 0, 1, 2, 2], [1, 2, 2, 1, 3], 4)
    # user 0: order 0 1 2 3, so of {1, 2} only 1 is in the first two: 1/2
    # user 1 has seen 0: order 1 2 3, and 2 is in the first two: 1
    # user 2 has seen 1, which is relevant and so missed; 3 is third of 0 2 3: 0
    # user 3 has nothing relevant: NaN
    found = recall_at_k(users, items, 2, seen, relevant)
    np.testing.assert_array_equal(found, [0.5, 1, 0, np.nan])


def test_items_a_last_bit_apart_are_decided_exactly():
    """Any float32 product would do: numpy's, and one that adds the dimensions backwards."""
    rng = np.random.default_rng(0)
    users = rng.standard_normal((60, 64)).astype(np.float32)
    items = np.repeat(rng.standard_normal((1, 64)).astype(np.float32), 300, axis=0)
    items[np.arange(300), rng.integers(0, 64, 300)] *= np.float32(1 + 2**-20)
    seen = Ragged.from_pairs(rng.integers(0, 60, 300), rng.integers(0, 300, 300), 60)
    relevant = Ragged.from_pairs(rng.integers(0, 60, 900), rng.integers(0, 300, 900), 60)
    rows, _ = top_k(users, items, 20, seen)
    expected = evaluate_lists(rows, relevant, [20], ["recall"])["recall@20"]

    def backwards(a, b, out):
        out[:] = 0
        for d in reversed(range(a.shape[1])):
            out += a[:, d : d + 1] * b[d]

    for matmul in (np.matmul, backwards):
        found = recall_at_k(users, items, 20, seen, relevant, matmul)
        np.testing.assert_array_equal(found, expected)


def test_blocks_do_not_change_the_result(monkeypatch):
    rng = np.random.default_rng(1)
    users, items = (rng.standard_normal((n, 8)).astype(np.float32) for n in (101, 50))
    seen = Ragged.from_pairs(rng.integers(0, 101, 400), rng.integers(0, 50, 400), 101)
    relevant = Ragged.from_pairs(rng.integers(0, 90, 80), rng.integers(0, 50, 80), 101)
    whole = recall_at_k(users, items, 10, seen, relevant)
    monkeypatch.setattr(validation, "BLOCK_BYTES", 7 * 4 * 50)  # seven users at a time
    np.testing.assert_array_equal(recall_at_k(users, items, 10, seen, relevant), whole)


def test_ordinary_vectors_are_decided_by_the_product_alone(monkeypatch):
    """Else every pair would be counted again over all items; here the best items are all seen."""
    rng = np.random.default_rng(3)
    users = np.abs(rng.standard_normal((40, 16))).astype(np.float32)
    items = rng.standard_normal((500, 16)).astype(np.float32)
    best = np.argsort(-(users @ items.T), axis=1)
    seen = Ragged.from_pairs(np.repeat(np.arange(40), 30), best[:, :30].ravel(), 40)
    relevant = Ragged.from_pairs(np.repeat(np.arange(40), 2), best[:, [49, 50]].ravel(), 40)
    monkeypatch.setattr(validation, "count_before", None)
    assert (recall_at_k(users, items, 20, seen, relevant) == 0.5).all()


def test_a_product_of_less_precision_is_refused():
    rng = np.random.default_rng(2)
    users, items = (rng.standard_normal((n, 32)).astype(np.float32) for n in (20, 30))
    relevant = Ragged.from_pairs(np.arange(20), np.arange(20), 20)

    def half(a, b, out):
        np.copyto(out, a.astype(np.float16) @ b.astype(np.float16))

    with pytest.raises(ValueError, match="less precise"):
        recall_at_k(users, items, 5, Ragged.from_pairs([], [], 20), relevant, half)


def test_bad_input_is_refused():
    some, none = np.ones((3, 4), np.float32), Ragged.from_pairs([], [], 3)
    with pytest.raises(InputError, match="k is 0"):
        recall_at_k(some, some, 0, none, none)
    with pytest.raises(InputError, match="user vectors: row 0"):
        recall_at_k(some * np.float32(np.nan), some, 1, none, none)
    with pytest.raises(ValueError, match="item row 3"):
        recall_at_k(some, some, 1, none, Ragged.from_pairs([0], [3], 3))
    assert np.isnan(recall_at_k(some, some, 1, none, none)).all()


@pytest.mark.parametrize(
    ("modules", "unwanted"),
    [
        ("lmm4rec.ranking.topk, faiss", ["torch", "pandas", "scipy.stats"]),
        ("lmm4rec.training.validation", ["torch", "pandas", "faiss", "scipy.stats"]),
        (
            "lmm4rec.evaluation.metrics, lmm4rec.ranking.ragged",
            ["torch", "pandas", "faiss", "numba", "scipy"],
        ),
        ("lmm4rec.report.statistics", ["torch", "pandas", "faiss", "numba", "scipy.stats"]),
    ],
)
def test_imports_stay_light(modules, unwanted):
    """Also: evaluation never loads torch and training never loads FAISS (two OpenMP runtimes)."""
    code = f"import sys, {modules}; print([m for m in {unwanted} if m in sys.modules])"
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    assert done.stdout.strip() == "[]"
