"""SLMRec against a dense, obvious version of its equations."""

from __future__ import annotations

from typing import Any

import pytest
import torch
from torch import Tensor

from lmm4rec.recommenders.shared import branches
from lmm4rec.recommenders.slmrec import SLMRec
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


def built(**changes: Any) -> SLMRec:
    torch.manual_seed(0)
    return SLMRec(checkerboard(), kind_features(), section("slmrec", **changes))


def linear(layer: Any, rows: Tensor) -> Tensor:
    return rows @ layer.weight.T + layer.bias


def dense(model: SLMRec) -> tuple[Tensor, Tensor, dict[str, Tensor]]:
    """Final users and items, and the items' signals by branch."""
    found = {
        name: branch(model.branches.users, start, model.config.layers)
        for name, start in inputs_of(model.branches).items()
    }
    users = linear(model.read_user, torch.cat([users for users, _ in found.values()], dim=1))
    items = linear(model.read_item, torch.cat([items for _, items in found.values()], dim=1))
    return users, items, {name: items for name, (_, items) in found.items()}


@pytest.mark.parametrize("limit", [1 << 30, 0])  # features propagated once, or projected each step
def test_slmrec_equals_its_equations(limit: int, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(branches, "PROPAGATED_BYTES", limit)
    model = built(temperature=0.3, alignment_temperature=0.7, alignment_weight=0.6)
    assert model.branches.propagated == (limit > 0)
    users, items, signals = dense(model)
    identity, image, text = (signals[name][POSITIVES] for name in ("id", "image", "text"))
    heads, (g3, g5) = model.alignment.heads, model.alignment.narrowings[0]
    first = linear(model.alignment.first, identity)
    narrow = linear(g5, linear(g3, first))
    assert narrow.shape[1] == first.shape[1] // 2
    expected = {
        "contrast": cross_entropy(unit(users[USERS]), unit(items[POSITIVES]), 0.3),
        "alignment_image": 0.6 * cross_entropy(first, linear(heads[0], image), 0.7),
        "alignment_text": 0.6 * cross_entropy(narrow, linear(heads[1], text), 0.7),
    }
    assert_same(model, model.losses(USERS, POSITIVES, NEGATIVES), expected)
    torch.testing.assert_close(model.vectors()[0], users.detach(), rtol=1e-5, atol=1e-6)
    torch.testing.assert_close(model.vectors()[1], items.detach(), rtol=1e-5, atol=1e-6)


def test_one_modality_has_one_alignment() -> None:
    model = built(modalities=["text"], alignment_weight=1.0, alignment_temperature=0.5)
    _, _, signals = dense(model)
    first = linear(model.alignment.first, signals["id"][POSITIVES])
    text = linear(model.alignment.heads[0], signals["text"][POSITIVES])
    found = model.losses(USERS, POSITIVES, NEGATIVES)
    assert found.keys() == {"contrast", "alignment_text"}
    torch.testing.assert_close(found["alignment_text"], cross_entropy(first, text, 0.5))


def test_negatives_play_no_part() -> None:
    model = built()
    first = model.losses(USERS, POSITIVES, NEGATIVES)
    assert first == model.losses(USERS, POSITIVES, POSITIVES)


def test_items_without_content_stay_finite() -> None:
    features = kind_features()
    for matrix in features.matrices.values():
        matrix[:7] = 0.0
    model = SLMRec(checkerboard(), features, section("slmrec"))
    loss = torch.stack(list(model.losses(USERS, POSITIVES, NEGATIVES).values())).sum()
    gradients = torch.autograd.grad(loss, list(model.parameters()))
    assert all(bool(torch.isfinite(gradient).all()) for gradient in gradients)
