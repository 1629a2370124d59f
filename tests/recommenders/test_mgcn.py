"""MGCN against a dense version of its equations."""

from __future__ import annotations

from typing import Any

import numpy as np
import pytest
import torch
from torch import Tensor, nn

from tests.graphs.dense_graphs import (
    cosines,
    interactions,
    mean_of_layers,
    nearest,
    normalised,
    projected,
    raw_features,
    symmetric,
)
from tests.recommenders.test_baselines import (
    NEGATIVES,
    POSITIVES,
    USERS,
    assert_same,
    built,
    dense_loss,
)
from tests.toy import N_USERS, checkerboard

MODALITIES = ("image", "text")


def gate(layer: nn.Sequential, rows: Tensor) -> Tensor:
    return 1 / (1 + torch.exp(-(rows @ layer[0].weight.T + layer[0].bias)))


def dense_vectors(model: Any) -> tuple[Tensor, Tensor]:
    """C and the side vectors of all nodes, [N, D] each."""
    config = model.config
    adjacency = symmetric(interactions(checkerboard()))
    shared = mean_of_layers(adjacency, model.table, config.layers)
    views = []
    for name in MODALITIES:
        content = projected(model, name)
        items = model.table[N_USERS:] * gate(model.gates[name], content)
        graph = normalised(nearest(cosines(raw_features(name)), config.neighbours))
        items = torch.linalg.matrix_power(graph, config.item_layers) @ items
        views.append(torch.cat([adjacency[:N_USERS, N_USERS:] @ items, items]))
    first, _, last = model.attention
    scores = [torch.tanh(view @ first.weight.T + first.bias) @ last.weight.T for view in views]
    total = sum((score.exp() for score in scores), torch.zeros(1))
    common = sum(
        (score.exp() / total * view for score, view in zip(scores, views, strict=True)),
        torch.zeros(1),
    )
    side = common
    for name, view in zip(MODALITIES, views, strict=True):
        side = side + gate(model.preferences[name], shared) * (view - common)
    return shared, side / 3


def dense_contrast(side: Tensor, shared: Tensor, rows: Tensor) -> Tensor:
    left, right = (part[rows] / part[rows].norm(dim=1, keepdim=True) for part in (side, shared))
    similar = torch.exp(left @ right.T / 0.2)
    return -torch.log(similar.diag() / similar.sum(1)).mean()


@pytest.mark.parametrize("train_features", [True, False])
@pytest.mark.parametrize(("layers", "item_layers", "k"), [(2, 1, 5), (1, 2, 10), (0, 0, 100)])
def test_mgcn_equals_its_equations(
    layers: int, item_layers: int, k: int, train_features: bool
) -> None:
    model = built(
        "mgcn",
        layers=layers,
        item_layers=item_layers,
        neighbours=k,
        regularisation=0.3,
        contrastive_weight=0.5,
        train_features=train_features,
    )
    shared, side = dense_vectors(model)
    final = shared + side
    batch = final[USERS], final[N_USERS + POSITIVES], final[N_USERS + NEGATIVES]
    squares = sum((part.pow(2).sum() for part in batch), torch.zeros(()))
    contrasts = [dense_contrast(side, shared, rows) for rows in (N_USERS + POSITIVES, USERS)]
    terms = {
        "bpr": dense_loss(*batch),
        "regularisation": 0.3 * squares / 2 / len(USERS),
        "contrast": 0.5 * (contrasts[0] + contrasts[1]),
    }
    assert_same(model, terms)
    torch.testing.assert_close(torch.cat(model.vectors()), final.detach(), rtol=1e-5, atol=1e-6)


def test_the_learning_rate_decays() -> None:
    model = built("mgcn", learning_rate_decay=0.9)
    factors = [model.learning_rate_factor(epoch) for epoch in (1, 26, 51)]
    np.testing.assert_allclose(factors, [1.0, 0.9**0.5, 0.9])
