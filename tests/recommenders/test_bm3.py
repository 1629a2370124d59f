"""BM3 against a dense version of its equations."""

from __future__ import annotations

import pytest
import torch
from torch import Tensor

from lmm4rec.recommenders.shared.losses import cosine_loss
from tests.graphs.dense_graphs import interactions, mean_of_layers, projected, symmetric
from tests.recommenders.test_baselines import NEGATIVES, POSITIVES, USERS, assert_same, built
from tests.toy import N_ITEMS, N_USERS, checkerboard


def dense_cosine_loss(online: Tensor, target: Tensor) -> Tensor:
    products = (online * target).sum(1)
    return 1 - (products / (online.norm(dim=1) * target.norm(dim=1))).mean()


@pytest.mark.parametrize("train_features", [True, False])
@pytest.mark.parametrize("layers", [0, 1, 2])
def test_bm3_equals_its_equations(layers: int, train_features: bool) -> None:
    model = built(
        "bm3",
        layers=layers,
        dropout=0.0,
        regularisation=0.3,
        contrastive_weight=0.7,
        train_features=train_features,
    )
    nodes = mean_of_layers(symmetric(interactions(checkerboard())), model.table, layers)
    users, items = nodes[:N_USERS], nodes[N_USERS:] + model.table[N_USERS:]

    def predictor(rows: Tensor) -> Tensor:
        return rows @ model.predictor.weight.T + model.predictor.bias

    terms = {
        "users": dense_cosine_loss(predictor(users[USERS]), items[POSITIVES].detach()),
        "items": dense_cosine_loss(predictor(items[POSITIVES]), users[USERS].detach()),
        "regularisation": 0.3 * (users.pow(2).sum().sqrt() + items.pow(2).sum().sqrt()) / N_ITEMS,
    }
    for name in ("image", "text"):
        content = projected(model, name)[POSITIVES]
        terms[name] = 0.7 * (
            dense_cosine_loss(predictor(content), items[POSITIVES].detach())
            + dense_cosine_loss(predictor(content), content.detach())
        )
    assert_same(model, terms)
    found = model.vectors()
    torch.testing.assert_close(found[0], predictor(users).detach(), rtol=1e-5, atol=1e-6)
    torch.testing.assert_close(found[1], predictor(items).detach(), rtol=1e-5, atol=1e-6)
    trained = dict(model.named_parameters())
    assert ("content.image" in trained) == train_features


def test_targets_alone_are_dropped_out() -> None:
    """Each target row has one mask per step; final vectors and negatives know nothing of it."""
    model = built("bm3", dropout=0.5)
    first = model.vectors()
    torch.manual_seed(1)
    one = model.losses(USERS, POSITIVES, NEGATIVES)
    torch.manual_seed(1)
    same = model.losses(USERS, POSITIVES, POSITIVES)
    torch.manual_seed(2)
    other = model.losses(USERS, POSITIVES, NEGATIVES)
    for name, term in one.items():
        assert term == same[name]
        assert (term == other[name]) == (name == "regularisation")
    model.eval()
    assert all(torch.equal(a, b) for a, b in zip(first, model.vectors(), strict=True))
    torch.manual_seed(0)
    rows = torch.ones(1000, 8)
    dropped = model._target(rows)
    assert set(dropped.unique().tolist()) == {0.0, 2.0}
    assert 0.45 < (dropped == 0).float().mean() < 0.55


def test_cosine_loss_by_hand() -> None:
    """Cosines 1 and 0.6 give 1 - 0.8; the target gets no gradient."""
    online = torch.tensor([[2.0, 0.0], [3.0, 4.0]], requires_grad=True)
    target = torch.tensor([[5.0, 0.0], [1.0, 0.0]], requires_grad=True)
    loss = cosine_loss(online, target)
    assert loss.item() == pytest.approx(0.2)
    loss.backward()
    assert target.grad is None and online.grad is not None
