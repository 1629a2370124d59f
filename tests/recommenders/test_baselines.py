"""BPR, LightGCN, VBPR and ItemKNN against dense, obvious versions of their equations."""

from __future__ import annotations

from typing import Any

import numpy as np
import pytest
import torch
from torch import Tensor

from lmm4rec.recommenders import recommender_class
from lmm4rec.recommenders.shared.base import Recommender
from lmm4rec.recommenders.shared.losses import bpr_loss, embedding_norms, frobenius_norm
from tests.recommenders.test_recommenders import section
from tests.toy import N_ITEMS, N_USERS, checkerboard, kind_features

USERS = torch.tensor([0, 1, 0, 5, 7])
POSITIVES = torch.tensor([2, 3, 4, 3, 9])
NEGATIVES = torch.tensor([5, 2, 2, 8, 2])  # repeats on purpose, also across roles


def built(name: str, **changes: Any) -> Any:
    torch.manual_seed(0)
    return recommender_class(name)(checkerboard(), kind_features(), section(name, **changes))


def dense_loss(user: Tensor, positive: Tensor, negative: Tensor) -> Tensor:
    margin = (user * positive).sum(1) - (user * negative).sum(1)
    return -torch.log(torch.sigmoid(margin)).mean()


def norms(*tables: Tensor) -> Tensor:
    return sum((table.pow(2).sum().sqrt() for table in tables), torch.zeros(())) / len(tables[-1])


def assert_same(model: Recommender, terms: dict[str, Tensor]) -> None:
    """Loss terms and every parameter's gradient agree to 1e-5."""
    found = model.losses(USERS, POSITIVES, NEGATIVES)
    assert found.keys() == terms.keys()
    for name in terms:
        torch.testing.assert_close(found[name], terms[name], rtol=1e-5, atol=1e-6)
    parameters = list(model.parameters())
    ours = torch.autograd.grad(torch.stack(list(found.values())).sum(), parameters)
    theirs = torch.autograd.grad(torch.stack(list(terms.values())).sum(), parameters)
    for one, other in zip(ours, theirs, strict=True):
        torch.testing.assert_close(one, other, rtol=1e-5, atol=1e-6)


def test_bpr_equals_its_equations() -> None:
    model = built("bpr", regularisation=0.3)
    user, item = model.table[:N_USERS], model.table[N_USERS:]
    batch = user[USERS], item[POSITIVES], item[NEGATIVES]
    assert_same(model, {"bpr": dense_loss(*batch), "regularisation": 0.3 * norms(*batch)})
    users, items = model.vectors()
    torch.testing.assert_close(users, user.detach())
    torch.testing.assert_close(items, item.detach())


@pytest.mark.parametrize("layers", [0, 1, 3])
def test_lightgcn_equals_its_equations(layers: int) -> None:
    model = built("lightgcn", layers=layers, regularisation=0.3)
    view = checkerboard()
    adjacency = torch.zeros(N_USERS + N_ITEMS, N_USERS + N_ITEMS)
    users, items = torch.from_numpy(view.train.users).long(), torch.from_numpy(view.train.items)
    adjacency[users, N_USERS + items.long()] = 1
    adjacency = adjacency + adjacency.T
    scale = adjacency.sum(1).clamp(min=1).rsqrt()
    adjacency = scale[:, None] * adjacency * scale
    powers = [
        torch.linalg.matrix_power(adjacency, power) @ model.table for power in range(layers + 1)
    ]
    final = torch.stack(powers).mean(0)
    batch = final[USERS], final[N_USERS + POSITIVES], final[N_USERS + NEGATIVES]
    first = model.table[USERS], model.table[N_USERS + POSITIVES], model.table[N_USERS + NEGATIVES]
    assert_same(model, {"bpr": dense_loss(*batch), "regularisation": 0.3 * norms(*first)})
    torch.testing.assert_close(torch.cat(model.vectors()), final.detach(), rtol=1e-5, atol=1e-6)


@pytest.mark.parametrize("scaling", ["none", "unit", "standard"])
def test_vbpr_equals_its_equations(scaling: str) -> None:
    model = built("vbpr", regularisation=0.3, scaling=scaling)
    matrices = kind_features().matrices
    parts = []
    for name in ("text", "image"):  # text first, as in the reference
        part = torch.from_numpy(matrices[name])
        if scaling == "unit":
            part = part / part.pow(2).sum(1, keepdim=True).sqrt()
        if scaling == "standard":
            part = (part - part.mean(0)) / part.var(0, unbiased=False).sqrt()
        parts.append(part)
    content = torch.cat(parts, 1)
    items = torch.cat([model.items, content @ model.projection.weight.T + model.projection.bias], 1)
    batch = model.users[USERS], items[POSITIVES], items[NEGATIVES]
    assert_same(model, {"bpr": dense_loss(*batch), "regularisation": 0.3 * norms(*batch)})
    torch.testing.assert_close(model.vectors()[1], items.detach(), rtol=1e-5, atol=1e-6)


@pytest.mark.parametrize("shrink", [0.0, 10.0])
@pytest.mark.parametrize("neighbours", [1, 3, 500])
def test_itemknn_equals_its_equations(neighbours: int, shrink: float) -> None:
    model = built("itemknn", neighbours=neighbours, shrink=shrink)
    matrices = kind_features().matrices
    content = np.concatenate([matrices["image"], matrices["text"]], axis=1)
    similarity = np.zeros((N_ITEMS, N_ITEMS), np.float32)
    for i in range(N_ITEMS):
        row = [
            content[i] @ other / (np.linalg.norm(content[i]) * np.linalg.norm(other) + shrink)
            for other in content
        ]
        for j in np.argsort(-np.array(row), kind="stable")[:neighbours]:
            similarity[i, j] = row[j]
    expected = np.zeros((N_USERS, N_ITEMS))
    train = checkerboard().train
    for user, item in zip(train.users, train.items, strict=True):
        expected[user] += similarity[item]
    np.testing.assert_allclose(model.scores().toarray(), expected, rtol=1e-4, atol=1e-5)


def test_itemknn_breaks_ties_by_item() -> None:
    features = kind_features()
    for matrix in features.matrices.values():
        matrix[:] = 1.0  # every item is like every other
    model = recommender_class("itemknn")(checkerboard(), features, section("itemknn", neighbours=3))
    kept = model.similarities().toarray() > 0
    assert kept[:, :3].all() and kept.sum() == 3 * N_ITEMS


def test_losses_by_hand() -> None:
    """log(1 + e^-1) = 0.313262 for a margin of 1; norms 5 and 0 over two rows give 2.5."""
    loss = bpr_loss(torch.tensor([2.0, 0.0]), torch.tensor([1.0, -1.0]))
    assert loss.item() == pytest.approx(0.3132617)
    rows = torch.tensor([[3.0, 0.0], [0.0, 4.0]])
    assert embedding_norms(rows, torch.zeros(2, 2)).item() == pytest.approx(2.5)


@pytest.mark.parametrize("factor", [1.0, 0.0])
def test_every_bit_of_the_norm_and_its_gradient_is_torchs(factor: float) -> None:
    ours = (
        factor * torch.randn(33, 7, generator=torch.Generator().manual_seed(2))
    ).requires_grad_()
    theirs = ours.detach().clone().requires_grad_()
    norm, expected = frobenius_norm(ours), torch.linalg.vector_norm(theirs)
    (0.3 * norm).backward()
    (0.3 * expected).backward()
    assert torch.equal(norm, expected)
    assert ours.grad is not None and theirs.grad is not None
    assert torch.equal(ours.grad, theirs.grad)
    assert bool(ours.grad.any()) == bool(factor)
