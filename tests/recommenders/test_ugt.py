"""UGT against a dense, obvious version of its equations."""

from __future__ import annotations

from typing import Any

import pytest
import torch
from torch import Tensor

from lmm4rec.recommenders.shared import branches
from lmm4rec.recommenders.ugt import UGT, AttentiveFusion
from tests.recommenders.dense_branches import (
    NEGATIVES,
    POSITIVES,
    USERS,
    assert_same,
    branch,
    cross_entropy,
    inputs_of,
    unit,
)
from tests.recommenders.test_recommenders import section
from tests.toy import checkerboard, kind_features


def built(**changes: Any) -> UGT:
    torch.manual_seed(0)
    return UGT(checkerboard(), kind_features(), section("ugt", **changes))


def fused(model: UGT, signals: list[Tensor]) -> Tensor:
    """Node by node."""
    hidden, query = model.fusion.hidden, model.fusion.query.weight[0]
    rows = []
    for row in zip(*signals, strict=True):
        scores = [torch.tanh(hidden.weight @ signal + hidden.bias) @ query for signal in row]
        weights = torch.stack(scores).exp()
        rows.append(sum(w * s for w, s in zip(weights / weights.sum(), row, strict=True)))
    return torch.stack(rows)


@pytest.mark.parametrize("limit", [1 << 30, 0])  # features propagated once, or projected each step
def test_ugt_equals_its_equations(limit: int, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(branches, "PROPAGATED_BYTES", limit)
    model = built(temperature=0.3, contrast_weight=0.6)
    assert model.branches.propagated == (limit > 0)
    inputs = inputs_of(model.branches)
    signals = [branch(model.branches.users, x, model.config.layers) for x in inputs.values()]
    users, items = (fused(model, list(side)) for side in zip(*signals, strict=True))
    margin = (users[USERS] * (items[POSITIVES] - items[NEGATIVES])).sum(1)
    distinct = sorted(set(POSITIVES.tolist()))
    image, text = unit(inputs["image"])[distinct], unit(inputs["text"])[distinct]
    both = cross_entropy(image, text, 0.3) + cross_entropy(text, image, 0.3)
    expected = {"bpr": -torch.log(torch.sigmoid(margin)).mean(), "contrast": 0.6 * both / 2}
    assert_same(model, model.losses(USERS, POSITIVES, NEGATIVES), expected)
    torch.testing.assert_close(model.vectors()[0], users.detach(), rtol=1e-5, atol=1e-6)
    torch.testing.assert_close(model.vectors()[1], items.detach(), rtol=1e-5, atol=1e-6)


def test_fusion_by_hand() -> None:
    """q . tanh(x) is tanh(1) for signal (1, 0) and 0 for (0, 1)."""
    fusion = AttentiveFusion(2)
    with torch.no_grad():
        fusion.hidden.weight.copy_(torch.eye(2))
        fusion.hidden.bias.zero_()
        fusion.query.weight.copy_(torch.tensor([[1.0, 0.0]]))
        found = fusion(torch.tensor([[1.0, 0.0, 0.0, 1.0]]))
    weight = torch.sigmoid(torch.tanh(torch.tensor(1.0))).item()
    torch.testing.assert_close(found, torch.tensor([[weight, 1 - weight]]))


def test_one_modality_has_nothing_to_contrast() -> None:
    assert built(modalities=["text"]).losses(USERS, POSITIVES, NEGATIVES).keys() == {"bpr"}


def test_items_without_content_stay_finite() -> None:
    features = kind_features()
    for matrix in features.matrices.values():
        matrix[:7] = 0.0
    model = UGT(checkerboard(), features, section("ugt"))
    loss = torch.stack(list(model.losses(USERS, POSITIVES, NEGATIVES).values())).sum()
    gradients = torch.autograd.grad(loss, list(model.parameters()))
    assert all(bool(torch.isfinite(gradient).all()) for gradient in gradients)
