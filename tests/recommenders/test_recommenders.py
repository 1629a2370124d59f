"""What every registered recommender must do, whatever its mathematics."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from ruamel.yaml import YAML

from lmm4rec.catalogue.corpus import TrainingView
from lmm4rec.errors import InputError
from lmm4rec.features.features import Features, read_features, write_features
from lmm4rec.params import check_section
from lmm4rec.recommenders import CONTENT, RECOMMENDERS, recommender_class
from lmm4rec.recommenders.shared.base import NeighbourhoodModel, Recommender
from lmm4rec.training.training import TrainingConfig, score, train
from lmm4rec.training.vectors import SparseScores
from tests.toy import N_ITEMS, checkerboard, kind_features

ROOT = Path(__file__).parents[2]
PROTOCOL = TrainingConfig(
    batch_size=64, maximum_epochs=60, patience=60, validate_every=1, validation_cutoff=5
)
CPU = torch.device("cpu")
# Of 64 items in a batch a user of the toy has about 19 in training: a softmax over the batch cannot
# fall below log 20 = 3.0 from the log 64 = 4.2 of a guess.
LOSS_FALLS_TO = {"slmrec": 0.8}


def section(name: str, **changes: Any) -> Any:
    """The recommender's own section of params.yaml, sized for a toy."""
    values = dict(YAML(typ="safe").load((ROOT / "params.yaml").read_text())["recommenders"][name])
    if "learning_rate" in values:
        values |= {"learning_rate": 0.02}
    values |= {key: value for key, value in {"dimensions": 16}.items() if key in values}
    return check_section(
        values | changes, recommender_class(name).Config, f"recommenders.{name}", ROOT
    )


def fit(name: str, view: TrainingView, features: Features, seed: int = 1, **changes: Any) -> Any:
    """Train `name` and return its whole score matrix [U, I] and its history."""
    torch.manual_seed(seed)
    model = recommender_class(name)(
        view, features if name in CONTENT else None, section(name, **changes)
    )
    if not isinstance(model, Recommender):
        return score(model, view).scores.toarray(), None
    vectors, history = train(model, view, PROTOCOL, seed, CPU)
    return vectors.users @ vectors.items.T, history


def unseen(scores: np.ndarray, view: TrainingView) -> np.ndarray:
    masked = scores.copy()
    masked[view.train.users, view.train.items] = -np.inf
    return masked


@pytest.mark.parametrize("name", RECOMMENDERS)
def test_solves_the_checkerboard(name: str) -> None:
    view = checkerboard()
    scores, _ = fit(name, view, kind_features())
    best = unseen(scores, view).argmax(axis=1)
    assert (best % 2 == np.arange(len(best)) % 2).all()


@pytest.mark.parametrize("name", RECOMMENDERS)
def test_loss_falls_and_the_best_epoch_is_kept(name: str) -> None:
    _, history = fit(name, checkerboard(), kind_features())
    if history is None:
        return
    totals = [sum(terms.values()) for terms in history.losses]
    assert np.mean(totals[-5:]) < LOSS_FALLS_TO.get(name, 0.7) * totals[0]
    assert history.best_recall == max(recall for _, recall in history.validation)
    first_best = next(
        epoch for epoch, recall in history.validation if recall == history.best_recall
    )
    assert history.best_epoch == first_best


@pytest.mark.parametrize("name", RECOMMENDERS)
def test_same_seed_same_bytes_other_seed_other_weights(name: str) -> None:
    view, features = checkerboard(), kind_features()
    first, history = fit(name, view, features)
    again, _ = fit(name, view, features)
    assert first.tobytes() == again.tobytes()
    if history is not None:
        other, _ = fit(name, view, features, seed=2)
        assert not np.array_equal(first, other)


@pytest.mark.parametrize("name", RECOMMENDERS)
def test_vectors_come_without_gradient(name: str) -> None:
    view, features = checkerboard(), kind_features() if name in CONTENT else None
    model = recommender_class(name)(view, features, section(name))
    if isinstance(model, Recommender):
        model.begin_epoch(np.random.default_rng(0))
        vectors = model.vectors()
        assert [len(part) for part in vectors] == [view.n_users, view.n_items]
        assert not any(part.requires_grad for part in vectors)


@pytest.mark.parametrize(
    ("base", "methods"),
    [
        (Recommender, ("__init__", "losses", "vectors")),
        (NeighbourhoodModel, ("__init__", "scores")),
    ],
)
def test_a_model_that_lacks_a_method_cannot_be_made(base: Any, methods: tuple[str, ...]) -> None:
    complete: dict[str, Any] = {method: lambda _: None for method in methods}
    type("Whole", (base,), complete)()
    for lacking in methods:
        rest = {method: made for method, made in complete.items() if method != lacking}
        with pytest.raises(TypeError, match=rf"abstract class Half.*\b{lacking}\b"):
            type("Half", (base,), rest)()


@pytest.mark.parametrize("name", CONTENT)
def test_a_folder_with_permuted_rows_changes_nothing(name: str, tmp_path: Path) -> None:
    view, features = checkerboard(), kind_features()
    expected, _ = fit(name, view, features)
    order = np.random.default_rng(3).permutation(N_ITEMS)
    shuffled = Features(
        features.item_ids.take(order),
        {key: matrix[order] for key, matrix in features.matrices.items()},
        {key: flags[order] for key, flags in features.present.items()},
    )
    write_features(tmp_path, shuffled, {})
    found, _ = fit(name, view, read_features(tmp_path, view.item_ids))
    assert found.tobytes() == expected.tobytes()


@pytest.mark.parametrize("name", CONTENT)
def test_features_of_other_items_change_the_result(name: str) -> None:
    view, features = checkerboard(), kind_features()
    other = kind_features(seed=9)
    assert not np.array_equal(fit(name, view, features)[0], fit(name, view, other)[0])


@pytest.mark.parametrize("policy", ["mean", "zero"])
@pytest.mark.parametrize("name", CONTENT)
def test_missing_rows_follow_the_named_policy(name: str, policy: str) -> None:
    view, features = checkerboard(), kind_features()
    present = {key: flags.copy() for key, flags in features.present.items()}
    present["image"][[3, 7]] = False
    garbage = {key: matrix.copy() for key, matrix in features.matrices.items()}
    garbage["image"][[3, 7]] = 1e6
    filled = {key: matrix.copy() for key, matrix in features.matrices.items()}
    others = features.matrices["image"][present["image"]]
    filled["image"][[3, 7]] = others.mean(axis=0) if policy == "mean" else 0.0
    found, _ = fit(name, view, Features(features.item_ids, garbage, present), missing=policy)
    expected, _ = fit(name, view, Features(features.item_ids, filled, features.present))
    np.testing.assert_array_equal(found, expected)


@pytest.mark.parametrize("name", CONTENT)
def test_a_single_modality_suffices(name: str) -> None:
    view = checkerboard()
    scores, _ = fit(name, view, kind_features(), modalities=["text"])
    assert np.isfinite(scores).all()


@pytest.mark.parametrize("name", CONTENT)
def test_without_features_is_one_sentence(name: str) -> None:
    with pytest.raises(InputError, match=r"run\.id_recommenders"):
        recommender_class(name)(checkerboard(), None, section(name))


@pytest.mark.parametrize("name", CONTENT)
def test_an_absent_modality_is_named(name: str) -> None:
    features = kind_features()
    text_only = Features(
        features.item_ids, {"text": features.matrices["text"]}, {"text": features.present["text"]}
    )
    with pytest.raises(InputError, match="no 'image' matrix"):
        recommender_class(name)(checkerboard(), text_only, section(name))


@pytest.mark.parametrize("name", RECOMMENDERS)
def test_cold_items_and_users_of_one_item_get_finite_scores(name: str) -> None:
    view = checkerboard()
    cold = 4
    keep = (view.train.items != cold) & ((view.train.users != 0) | (view.train.items == 2))
    thin = TrainingView(
        view.user_ids,
        view.item_ids,
        type(view.train)(view.train.users[keep], view.train.items[keep]),
        view.validation,
    )
    scores, _ = fit(name, thin, kind_features())
    assert np.isfinite(scores).all()


@pytest.mark.parametrize("name", CONTENT)
def test_all_zero_feature_rows_give_finite_scores(name: str) -> None:
    view, features = checkerboard(), kind_features()
    matrices = {key: matrix.copy() for key, matrix in features.matrices.items()}
    matrices["image"][[2, 5]] = 0.0
    matrices["text"][5] = 0.0
    scores, _ = fit(name, view, Features(features.item_ids, matrices, features.present))
    assert np.isfinite(scores).all()


@pytest.mark.parametrize("name", [name for name in CONTENT if hasattr(section(name), "neighbours")])
def test_more_neighbours_than_items_are_all_items(name: str) -> None:
    view, features = checkerboard(), kind_features()
    beyond, _ = fit(name, view, features, neighbours=10 * N_ITEMS)
    every, _ = fit(name, view, features, neighbours=N_ITEMS)
    np.testing.assert_array_equal(beyond, every)
    assert np.isfinite(every).all()


def test_a_diverging_loss_stops_with_advice() -> None:
    features = kind_features()
    huge = Features(
        features.item_ids,
        {key: matrix * 1e30 for key, matrix in features.matrices.items()},
        features.present,
    )
    with pytest.raises(InputError, match="lower the recommender's learning_rate"):
        fit("vbpr", checkerboard(), huge)


def test_unknown_recommender_names_the_nearest() -> None:
    with pytest.raises(InputError, match="did you mean 'lightgcn'"):
        recommender_class("lightgnc")


def test_scores_of_a_neighbourhood_model_stay_sparse() -> None:
    view = checkerboard()
    model = recommender_class("itemknn")(view, kind_features(), section("itemknn", neighbours=2))
    sparse = score(model, view)
    assert isinstance(sparse, SparseScores)
    assert sparse.scores.nnz <= 2 * len(view.train)
