"""LATTICE against a dense version of its equations; when its graph is built, and with gradient."""

from __future__ import annotations

from typing import Any

import numpy as np
import pytest
import torch
from torch import Tensor

from lmm4rec.graphs.item_graphs import nearest_neighbours
from lmm4rec.graphs.weighted_edges import WeightedEdges, cosine_edges
from lmm4rec.recommenders.lattice import LATTICE
from lmm4rec.recommenders.shared.losses import half_squared_norms
from lmm4rec.training.training import train
from tests.graphs.dense_graphs import (
    cosines,
    interactions,
    mean_of_layers,
    nearest,
    normalised,
    projected,
    raw_features,
)
from tests.recommenders.test_baselines import (
    NEGATIVES,
    POSITIVES,
    USERS,
    assert_same,
    built,
    dense_loss,
)
from tests.recommenders.test_recommenders import CPU, PROTOCOL
from tests.toy import N_ITEMS, N_USERS, checkerboard

RNG = np.random.default_rng(0)


def dense_final(model: Any) -> tuple[Tensor, Tensor]:
    config = model.config
    learned = original = torch.zeros(N_ITEMS, N_ITEMS)
    shares = model.modality_logits.exp() / model.modality_logits.exp().sum()
    for share, name in zip(shares, ("image", "text"), strict=True):
        learned = learned + share * nearest(cosines(projected(model, name)), config.neighbours)
        raw = nearest(cosines(raw_features(name)), config.neighbours)
        original = original + share * normalised(raw)
    graph = normalised(learned) * (1 - config.original_weight) + original * config.original_weight
    similar = torch.linalg.matrix_power(graph, config.item_layers) @ model.table[N_USERS:]
    adjacency = torch.eye(N_USERS + N_ITEMS)
    adjacency[:N_USERS, N_USERS:] = interactions(checkerboard())
    adjacency[N_USERS:, :N_USERS] = interactions(checkerboard()).T
    adjacency = adjacency / adjacency.sum(1, keepdim=True)
    nodes = mean_of_layers(adjacency, model.table, config.layers)
    return nodes[:N_USERS], nodes[N_USERS:] + similar / similar.norm(dim=1, keepdim=True)


def dense_terms(model: Any) -> dict[str, Tensor]:
    users, items = dense_final(model)
    batch = users[USERS], items[POSITIVES], items[NEGATIVES]
    squares = sum((part.pow(2).sum() for part in batch), torch.zeros(()))
    return {"bpr": dense_loss(*batch), "regularisation": 0.3 * squares / 2 / len(USERS)}


@pytest.mark.parametrize(
    ("layers", "item_layers", "k", "original_weight"),
    [(2, 1, 5, 0.9), (1, 2, 4, 0.5), (2, 1, 10, 0.0), (0, 1, 100, 0.3)],
)
def test_lattice_equals_its_equations(
    layers: int, item_layers: int, k: int, original_weight: float
) -> None:
    model = built(
        "lattice",
        layers=layers,
        item_layers=item_layers,
        neighbours=k,
        original_weight=original_weight,
        regularisation=0.3,
        train_features=True,
    )
    with torch.no_grad():
        model.modality_logits.copy_(torch.tensor([0.2, -0.4]))
    assert_same(model, dense_terms(model))
    for found, expected in zip(model.vectors(), dense_final(model), strict=True):
        torch.testing.assert_close(found, expected.detach(), rtol=1e-5, atol=1e-6)


def test_the_graph_has_gradient_in_the_first_batch_of_an_epoch_alone() -> None:
    model = built("lattice", original_weight=0.5, regularisation=0.3, neighbours=5)
    content = [model.modality_logits, *model.content.parameters(), *model.projections.parameters()]
    for _ in range(2):
        model.begin_epoch(RNG)
        for batch in range(3):
            model.zero_grad()
            sum(model.losses(USERS, POSITIVES, NEGATIVES).values()).backward()
            moved = [part.grad is not None and bool(part.grad.any()) for part in content]
            # A shift of all items alike (the biases) moves cosines, too: all have gradient.
            assert all(moved) if batch == 0 else not any(moved)
            assert model.table.grad.any()


def test_later_batches_equal_the_equations_with_the_graph_of_the_first() -> None:
    model = built("lattice", original_weight=0.5, regularisation=0.3, neighbours=5)
    model.begin_epoch(RNG)
    model.losses(USERS, POSITIVES, NEGATIVES)
    before = {name: part.detach().clone() for name, part in model.named_parameters()}
    with torch.no_grad():
        for part in [*model.projections.parameters(), *model.content.parameters()]:
            part.add_(torch.randn_like(part))
        model.table.mul_(1.5)
    later = model.losses(USERS, POSITIVES, NEGATIVES)
    stale_free = model.vectors()
    torch.testing.assert_close(stale_free[1], dense_final(model)[1].detach(), rtol=1e-5, atol=1e-5)
    model.load_state_dict({**before, "table": model.table.detach()})
    for name, term in dense_terms(model).items():
        torch.testing.assert_close(later[name], term, rtol=1e-5, atol=1e-6)


def test_equal_vectors_are_searched_once(monkeypatch: pytest.MonkeyPatch) -> None:
    searches = []

    def counted(features: Tensor, k: int) -> Any:
        searches.append(len(features))
        return nearest_neighbours(features, k)

    monkeypatch.setattr("lmm4rec.recommenders.lattice.nearest_neighbours", counted)
    model = built("lattice")
    assert len(searches) == 2  # the originals
    model.vectors()
    model.begin_epoch(RNG)
    model.losses(USERS, POSITIVES, NEGATIVES)
    model.vectors()
    assert len(searches) == 4
    with torch.no_grad():
        model.projections["text"].bias.add_(1.0)
    model.vectors()
    assert len(searches) == 5


def test_the_learning_rate_decays_in_training(monkeypatch: pytest.MonkeyPatch) -> None:
    model = built("lattice", learning_rate_decay=0.96)
    assert model.learning_rate_factor(1) == 1.0
    assert model.learning_rate_factor(51) == pytest.approx(0.96)
    assert model.learning_rate_factor(26) == pytest.approx(0.96**0.5)
    monkeypatch.setattr(LATTICE, "learning_rate_factor", lambda self, epoch: float(epoch < 2))
    short = PROTOCOL.model_copy(update={"maximum_epochs": 2})
    model = built("lattice")
    start = model.table.detach().clone()
    train(model, checkerboard(), short.model_copy(update={"maximum_epochs": 1}), 0, CPU)
    after_one = model.table.detach().clone()
    assert not torch.equal(start, after_one)
    model = built("lattice")
    train(model, checkerboard(), short, 0, CPU)
    torch.testing.assert_close(model.table.detach(), after_one, rtol=0, atol=0)


def test_negative_sums_and_zero_rows_leave_finite_gradients() -> None:
    """Item 1's weights add up to less than zero, item 2's to exactly zero."""
    weights = torch.tensor([1.0, 0.5, 1.0, -3.0, 1.0, -1.0], requires_grad=True)
    rows, columns = torch.tensor([0, 0, 1, 1, 2, 2]), torch.tensor([0, 1, 1, 0, 2, 0])
    edges = WeightedEdges(rows, columns, weights, 3).normalised()
    dense = torch.zeros(3, 3)
    dense[0, 0] = 1 / 1.5
    torch.testing.assert_close(torch.from_numpy(_dense(edges)), dense)
    edges.product(torch.ones(3, 2)).sum().backward()
    assert torch.isfinite(weights.grad).all()


def test_items_of_zeros_are_alike_to_themselves_alone() -> None:
    features = torch.tensor([[1.0, 0.0], [0.0, 0.0], [1.0, 1.0]], requires_grad=True)
    edges = cosine_edges(features, nearest_neighbours(features, 3))
    half = np.sqrt(0.5)
    np.testing.assert_allclose(_dense(edges), [[1, 0, half], [0, 1, 0], [half, 0, 1]], rtol=1e-6)
    edges.weights.sum().backward()
    assert torch.isfinite(features.grad).all()


def test_half_squared_norms_by_hand() -> None:
    """(9 + 16 + 1 + 1) / 2 over two rows."""
    found = half_squared_norms(torch.tensor([[3.0], [4.0]]), torch.ones(2, 1))
    assert found.item() == pytest.approx(6.75)


def _dense(edges: WeightedEdges) -> np.ndarray:
    return edges.matrix().on(CPU).to_dense().numpy()


def test_frozen_features_are_no_parameters() -> None:
    model = built("lattice", train_features=False)
    assert not [name for name, _ in model.named_parameters() if name.startswith("content.")]
    assert model.vectors()[1].isfinite().all()
