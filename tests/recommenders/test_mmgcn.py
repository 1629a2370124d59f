"""MMGCN against a dense, obvious version of its equations."""

from __future__ import annotations

from typing import Any

import pytest
import torch
from torch import Tensor

from lmm4rec.recommenders.mmgcn import MMGCN, ModalityNetwork
from tests.graphs.dense_graphs import interactions, raw_features
from tests.recommenders.dense_branches import NEGATIVES, POSITIVES, USERS, assert_same, unit
from tests.recommenders.test_recommenders import section
from tests.toy import N_ITEMS, N_USERS, checkerboard, kind_features


def built(**changes: Any) -> MMGCN:
    torch.manual_seed(0)
    small = {"image_dimensions": 5, "regularisation": 0.3}
    return MMGCN(checkerboard(), kind_features(), section("mmgcn", **(small | changes)))


def leaky(rows: Tensor) -> Tensor:
    return torch.where(rows > 0, rows, 0.01 * rows)


def dense_network(network: Any, features: Tensor, table: Tensor) -> Tensor:
    """X_L, node by node where the mean is taken."""
    if network.projection is not None:
        features = features @ network.projection.weight.T + network.projection.bias
    nodes = torch.cat([unit(network.preferences), unit(features)])
    matrix = interactions(checkerboard())
    adjacency = torch.zeros(N_USERS + N_ITEMS, N_USERS + N_ITEMS)
    adjacency[:N_USERS, N_USERS:], adjacency[N_USERS:, :N_USERS] = matrix, matrix.T
    for layer in network.layers:
        messages = nodes @ layer.message.weight.T
        means = [
            messages[row > 0].mean(0) if row.any() else torch.zeros_like(messages[0])
            for row in adjacency
        ]
        heard = leaky(torch.stack(means))
        own = leaky(nodes @ layer.own.weight.T + layer.own.bias) + table
        join = torch.cat([layer.join_message.weight, layer.join_own.weight], dim=1)
        nodes = leaky(torch.cat([heard, own], dim=1) @ join.T + layer.join_message.bias)
    return nodes


def dense_final(model: MMGCN) -> Tensor:
    outputs = [
        dense_network(network, raw_features(name), model.table)
        for name, network in model.networks.items()
    ]
    return sum(outputs[1:], outputs[0]) / len(outputs)


@pytest.mark.parametrize("layers", [1, 3])
@pytest.mark.parametrize("modalities", [["image", "text"], ["text"]])
def test_mmgcn_equals_its_equations(layers: int, modalities: list[str]) -> None:
    model = built(layers=layers, modalities=modalities)
    final = dense_final(model)
    user, positive, negative = (
        final[USERS], final[N_USERS + POSITIVES], final[N_USERS + NEGATIVES]
    )  # fmt: skip
    margin = (user * positive).sum(1) - (user * negative).sum(1)
    table = model.table
    stacked_users = torch.cat([table[USERS], table[USERS]])
    stacked_items = torch.cat([table[N_USERS + POSITIVES], table[N_USERS + NEGATIVES]])
    penalty = (stacked_users**2 + stacked_items**2).mean()
    if "image" in modalities:
        penalty = penalty + (model.networks["image"].preferences ** 2).mean()
    expected = {
        "bpr": -torch.log(torch.sigmoid(margin)).mean(), "regularisation": 0.3 * penalty
    }  # fmt: skip
    assert_same(model, model.losses(USERS, POSITIVES, NEGATIVES), expected)
    torch.testing.assert_close(torch.cat(model.vectors()), final.detach(), rtol=1e-5, atol=1e-6)


def test_regularisation_by_hand() -> None:
    """Squares of 4 for users, 1 and 9 for positives and negatives, 0.25 for preferences."""
    model = built(regularisation=1.0)
    with torch.no_grad():
        model.table.zero_()
        model.table[0], model.table[N_USERS], model.table[N_USERS + 1] = 2.0, 1.0, 3.0
        model.networks["image"].preferences.fill_(0.5)
    zero = torch.tensor([0])
    found = model.losses(zero, zero, torch.tensor([1]))["regularisation"]
    assert found.item() == pytest.approx(4 + (1 + 9) / 2 + 0.25)


def test_only_images_are_projected() -> None:
    model = built(image_dimensions=5)
    image, text = model.networks["image"], model.networks["text"]
    assert isinstance(image, ModalityNetwork) and isinstance(text, ModalityNetwork)
    assert image.preferences.shape == (N_USERS, 5) and text.preferences.shape == (N_USERS, 12)
    assert text.projection is None


def test_id_and_preference_tables_are_trained() -> None:
    model = built(regularisation=0.0)
    loss = model.losses(USERS, POSITIVES, NEGATIVES)["bpr"]
    tables = [model.table, *(network.preferences for network in model.networks.values())]
    assert all(bool(gradient.any()) for gradient in torch.autograd.grad(loss, tables))


def test_items_without_content_stay_finite() -> None:
    features = kind_features()
    for matrix in features.matrices.values():
        matrix[:7] = 0.0
    model = MMGCN(checkerboard(), features, section("mmgcn"))
    loss = torch.stack(list(model.losses(USERS, POSITIVES, NEGATIVES).values())).sum()
    gradients = torch.autograd.grad(loss, list(model.parameters()))
    assert all(bool(torch.isfinite(gradient).all()) for gradient in gradients)
