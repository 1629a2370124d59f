"""Exact top-k and validation at Sports scale: `python -m tests.benchmarks.topk`.

Prints medians of five, and the floor: the float32 matrix product alone, in the same blocks.
"""

import resource
import statistics
import time
from collections.abc import Callable

import numpy as np

from lmm4rec.evaluation.metrics import evaluate_lists
from lmm4rec.ranking.ragged import Ragged
from lmm4rec.ranking.topk import top_k
from lmm4rec.training.validation import BLOCK_BYTES, recall_at_k

N_USERS, N_ITEMS, DIMS = 35_598, 18_357, 64
N_TRAINING, N_HELD_OUT = 218_409, 37_899
REPEATS = 5


def main() -> None:
    rng = np.random.default_rng(0)
    users = rng.standard_normal((N_USERS, DIMS), dtype=np.float32)
    items = rng.standard_normal((N_ITEMS, DIMS), dtype=np.float32)
    seen = random_lists(rng, N_TRAINING)
    relevant = random_lists(rng, N_HELD_OUT)
    rows, _ = top_k(users, items, 50, seen)  # also compiles, once per machine
    recall = recall_at_k(users, items, 20, seen, relevant)
    cutoffs = [5, 10, 20, 50]
    metrics = evaluate_lists(rows, relevant, cutoffs)
    np.testing.assert_array_equal(recall, metrics["recall@20"])

    print(f"{N_USERS} users, {N_ITEMS} items, {DIMS} dimensions; median of {REPEATS}")
    floor = report("matrix product alone", lambda: product_only(users, items))
    print(f"  = {2e-9 * N_USERS * N_ITEMS * DIMS / floor:.0f} GFLOP/s")
    report("recall_at_k, k = 20", lambda: recall_at_k(users, items, 20, seen, relevant))
    report("top_k, k = 50", lambda: top_k(users, items, 50, seen))
    report(
        "evaluate_lists, 4 metrics at 4 cutoffs", lambda: evaluate_lists(rows, relevant, cutoffs)
    )
    peak_kib = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss
    print(f"{'peak memory of the process':40} {peak_kib / 2**20:6.2f} GiB")


def random_lists(rng: np.random.Generator, n_pairs: int) -> Ragged:
    """Pairs spread over all users: each has at least the rounded-down mean number of items."""
    users = np.arange(n_pairs) % N_USERS
    return Ragged.from_pairs(users, rng.integers(0, N_ITEMS, n_pairs), N_USERS)


def product_only(users: np.ndarray, items: np.ndarray) -> None:
    size = BLOCK_BYTES // (4 * N_ITEMS)
    scores = np.empty((size, N_ITEMS), np.float32)
    for start in range(0, N_USERS, size):
        block = users[start : start + size]
        np.matmul(block, items.T, scores[: len(block)])


def report(name: str, run: Callable[[], object]) -> float:
    seconds = []
    for _ in range(REPEATS):
        start = time.perf_counter()
        run()
        seconds.append(time.perf_counter() - start)
    median = statistics.median(seconds)
    print(f"{name:40} {median:6.2f} s   ({min(seconds):.2f} to {max(seconds):.2f})")
    return median


if __name__ == "__main__":
    main()
