import numpy as np
import pytest
import scipy.sparse
from hypothesis import given, settings
from hypothesis import strategies as st

from lmm4rec.errors import InputError
from lmm4rec.ranking import topk
from lmm4rec.ranking.ragged import Ragged
from lmm4rec.ranking.ranking import TILE_ITEMS, check_vectors, score_error
from lmm4rec.ranking.topk import top_k, top_k_sparse
from tests.ranking.ranking_reference import masked_argsort, worlds


def exact_scores(users: np.ndarray, items: np.ndarray) -> np.ndarray:
    """The score as defined: exact products, added in float64 dimension by dimension, rounded."""
    products = users.astype(np.float64)[:, None, :] * items.astype(np.float64)[None]  # [U, I, D]
    return np.cumsum(products, axis=-1)[..., -1].astype(np.float32)


def assert_lists(found, expected):
    np.testing.assert_array_equal(found[0], expected[0])
    np.testing.assert_array_equal(found[1], expected[1])
    assert (found[0].dtype, found[1].dtype) == (np.int32, np.float32)


@given(worlds(integers=True))
@settings(max_examples=150, deadline=None)
def test_equals_masked_argsort_with_ties_and_full_histories(world):
    users, items, k, seen, _ = world
    assert_lists(top_k(users, items, k, seen), masked_argsort(users @ items.T, k, seen))


@given(worlds(integers=False))
@settings(max_examples=60, deadline=None)
def test_equals_masked_argsort_on_real_numbers(world):
    users, items, k, seen, _ = world
    assert_lists(top_k(users, items, k, seen), masked_argsort(exact_scores(users, items), k, seen))


def no_history(n_users: int) -> Ragged:
    return Ragged.from_pairs([], [], n_users)


def test_three_cases_by_hand():
    items = np.array([[1, 0], [0, 1], [1, 1], [1, 0], [-1, 0]], np.float32)
    users = np.array([[2, 1], [0, 0], [1, -1]], np.float32)
    seen = Ragged.from_pairs([0, 2, 2, 2, 2], [2, 0, 1, 3, 4], 3)
    rows, scores = top_k(users, items, 3, seen)
    # user 0: scores 2 1 3 2 -2, item 2 seen: the tied 0 and 3 by row, then 1
    assert (rows[0].tolist(), scores[0].tolist()) == ([0, 3, 1], [2, 2, 1])
    # user 1: all scores are 0: the first three rows
    assert (rows[1].tolist(), scores[1].tolist()) == ([0, 1, 2], [0, 0, 0])
    # user 2 has seen all but item 2: two places stay empty
    assert (rows[2].tolist(), scores[2].tolist()) == ([2, -1, -1], [0, -np.inf, -np.inf])


@pytest.mark.parametrize("n_items", [200, 3 * TILE_ITEMS + 7])
def test_ties_that_straddle_what_faiss_proposes(n_items):
    """All items but a few are one vector: FAISS may propose any, the lowest rows must come out."""
    items = np.ones((n_items, 4), np.float32)
    items[[5, n_items - 1]] = 2
    users = np.random.default_rng(0).standard_normal((50, 4)).astype(np.float32)
    seen = Ragged.from_pairs(np.repeat(np.arange(50), 2), np.tile([0, 5], 50), 50)
    expected = masked_argsort(exact_scores(users, items), 10, seen)
    assert_lists(top_k(users, items, 10, seen), expected)


def test_scores_closer_than_float32_products_can_tell():
    """Items that differ in the last bit: float32 sums mix them up, the exact score does not."""
    rng = np.random.default_rng(1)
    users = rng.standard_normal((40, 64)).astype(np.float32)
    items = np.repeat(rng.standard_normal((1, 64)).astype(np.float32), 500, axis=0)
    items[np.arange(500), rng.integers(0, 64, 500)] *= np.float32(1 + 2**-20)
    seen = no_history(40)
    expected = masked_argsort(exact_scores(users, items), 20, seen)
    in_float32 = masked_argsort(users @ items.T, 20, seen)
    assert not np.array_equal(in_float32[0], expected[0])  # the case is hard
    assert_lists(top_k(users, items, 20, seen), expected)


def test_same_result_in_any_block_and_order(monkeypatch):
    rng = np.random.default_rng(2)
    users, items = (rng.standard_normal((n, 48)).astype(np.float32) for n in (300, 700))
    seen = Ragged.from_pairs(rng.integers(0, 300, 3000), rng.integers(0, 700, 3000), 300)
    whole = top_k(users, items, 20, seen)
    monkeypatch.setattr(topk, "BLOCK_BYTES", 10_000)
    assert_lists(top_k(users, items, 20, seen), whole)
    alone = top_k(
        users[7:8],
        items,
        20,
        Ragged.from_pairs(
            np.zeros(seen.lengths[7], int), seen.indices[seen.indptr[7] : seen.indptr[8]], 1
        ),
    )
    np.testing.assert_array_equal(alone[1][0], whole[1][7])


def test_most_users_need_no_second_ranking(monkeypatch):
    """The proof must hold for ordinary vectors, else every user would be ranked over all items."""
    rng = np.random.default_rng(3)
    users, items = (rng.standard_normal((n, 64)).astype(np.float32) for n in (500, 3000))
    seen = Ragged.from_pairs(rng.integers(0, 500, 3000), rng.integers(0, 3000, 3000), 500)
    ranked_again = []
    real = topk.rank_everything
    monkeypatch.setattr(
        topk, "rank_everything", lambda *args: (ranked_again.extend(args[4]), real(*args))
    )
    top_k(users, items, 50, seen)
    assert len(ranked_again) <= 5


def test_exact_although_the_device_shortens_its_inputs(monkeypatch):
    """What a GPU with TF32 does: FAISS sees 10-bit mantissas; the lists must not change."""
    import faiss

    def shortened(vectors):
        bits = np.ascontiguousarray(vectors, np.float32).view(np.uint32)
        return ((bits + 0x1000) & np.uint32(0xFFFFE000)).view(np.float32)

    class Tf32Index:
        def __init__(self, items):
            self.flat = faiss.IndexFlatIP(items.shape[1])
            self.flat.add(shortened(items))

        def search(self, users, width):
            return self.flat.search(shortened(users), width)

    rng = np.random.default_rng(4)
    users, items = (rng.standard_normal((n, 16)).astype(np.float32) for n in (400, 4000))
    items = items / 50 + items[0]  # much alike, as items of one catalogue may be
    seen = no_history(400)
    monkeypatch.setattr(topk, "MARGIN", 1)  # so that a wrong proposal would be missed
    expected = top_k(users, items, 30, seen)
    monkeypatch.setattr(
        topk, "_flat_index", lambda items, device: (Tf32Index(items), topk.TF32_ROUNDING)
    )
    assert_lists(top_k(users, items, 30, seen), expected)
    monkeypatch.setattr(topk, "_flat_index", lambda items, device: (Tf32Index(items), 0.0))
    careless = top_k(users, items, 30, seen)
    assert not np.array_equal(careless[0], expected[0])  # the allowance is what saves it


@given(st.integers(0, 2**32), st.integers(1, 200), st.sampled_from([1e-20, 1.0, 1e15]))
@settings(max_examples=50, deadline=None)
def test_float32_products_stay_within_the_stated_error(seed, dims, scale):
    rng = np.random.default_rng(seed)
    users = (rng.standard_normal((5, dims)) * scale).astype(np.float32)
    items = (rng.standard_normal((9, dims)) * scale).astype(np.float32)
    away = np.abs((users @ items.T).astype(np.float64) - exact_scores(users, items))
    assert (away <= score_error(users, items)[:, None]).all()


def test_the_stated_error_by_hand():
    """Two dimensions, whatever the number of users: 1.01 (2 + 2) 2^-24 of the longest product."""
    users = np.array([[3, 4], [0, 0], [0, 1], [1, 0], [0, 2]], np.float32)
    items = np.array([[1, 0], [6, 8], [0, 2]], np.float32)
    lost = 3 * 2.0**-126
    expected = 1.01 * 4 * 2.0**-24 * np.array([50.0, 0.0, 10.0, 10.0, 20.0]) + lost
    np.testing.assert_allclose(score_error(users, items), expected, rtol=1e-12)
    shortened = score_error(users, items, input_rounding=2.0**-10)
    np.testing.assert_allclose(
        shortened - expected, 2.0**-10 * (expected - lost) / (1.01 * 4 * 2.0**-24)
    )
    assert score_error(users, items[:0]).tolist() == [lost] * 5


def test_no_items_no_users_and_long_lists():
    empty = np.empty((0, 4), np.float32)
    some = np.ones((3, 4), np.float32)
    assert top_k(empty, some, 2, no_history(0))[0].shape == (0, 2)
    assert (top_k(some, empty, 2, no_history(3))[0] == -1).all()
    assert top_k(some, some, 5, no_history(3))[0].tolist() == [[0, 1, 2, -1, -1]] * 3


@pytest.mark.parametrize("bad", [np.nan, np.inf, -np.inf])
@pytest.mark.parametrize("which", ["user", "item"])
def test_nan_and_inf_are_refused_by_row(bad, which):
    vectors = {name: np.ones((4, 3), np.float32) for name in ("user", "item")}
    vectors[which][2, 1] = bad
    with pytest.raises(InputError, match=f"{which} vectors: row 2 holds NaN or inf"):
        top_k(vectors["user"], vectors["item"], 1, no_history(4))


def test_other_bad_input_is_refused():
    some = np.ones((3, 4), np.float32)
    with pytest.raises(InputError, match="overflow"):
        top_k(some * np.float32(1e20), some * np.float32(1e20), 1, no_history(3))
    with pytest.raises(InputError, match="one width"):
        top_k(some, some[:, :2], 1, no_history(3))
    for users, items in (
        (some[0], some),
        (some, some[0]),
        (some[None], some),
        (some, some[:, :, None]),
    ):
        with pytest.raises(InputError, match="must be two matrices of one width"):
            check_vectors(users, items)
    with pytest.raises(InputError, match="k is 0"):
        top_k(some, some, 0, no_history(3))
    with pytest.raises(InputError, match="no device 'tpu'"):
        top_k(some, some, 1, no_history(3), device="tpu")
    with pytest.raises(ValueError, match="2 users"):
        top_k(some, some, 1, no_history(2))


def test_cuda_without_a_gpu_says_so(monkeypatch):
    import faiss

    monkeypatch.setattr(faiss, "get_num_gpus", lambda: 0, raising=False)
    some = np.ones((3, 4), np.float32)
    with pytest.raises(InputError, match="sees no GPU"):
        top_k(some, some, 1, no_history(3), device="cuda")


@given(worlds(), st.integers(0, 2**32), st.sampled_from([0.0, 0.05, 0.5]))
@settings(max_examples=150, deadline=None)
def test_sparse_equals_masked_argsort(world, seed, density):
    _, items, k, seen, _ = world
    rng = np.random.default_rng(seed)
    dense = rng.integers(-2, 3, (len(seen), len(items))) * (
        rng.random((len(seen), len(items))) < density
    )
    stored = scipy.sparse.csr_array(dense.astype(np.float64))
    stored.data[rng.random(len(stored.data)) < 0.2] = 0  # a stored zero ranks as any other zero
    found = top_k_sparse(stored, k, seen)
    assert_lists(found, masked_argsort(stored.toarray(), k, seen))


def test_sparse_sums_duplicates_and_leaves_its_input_alone():
    parts = np.array([2.0, 1.0, 2.0]), np.array([3, 1, 3]), np.array([0, 3])
    stored = scipy.sparse.csr_array(parts, shape=(1, 5))
    rows, scores = top_k_sparse(stored, 3, no_history(1))
    assert (rows.tolist(), scores.tolist()) == ([[3, 1, 0]], [[4, 1, 0]])
    assert stored.indices.tolist() == [3, 1, 3]


@pytest.mark.parametrize("bad", [np.nan, np.inf, 1e300])
def test_sparse_refuses_what_is_not_finite(bad):
    stored = scipy.sparse.csr_array(np.array([[0.0, bad]]))
    with pytest.raises(InputError, match="NaN or inf"):
        top_k_sparse(stored, 1, no_history(1))
    with pytest.raises(InputError, match="k is -1"):
        top_k_sparse(stored, -1, no_history(1))
