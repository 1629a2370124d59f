"""LGMRec against a dense version of its equations, on the same random draws."""

from __future__ import annotations

from typing import Any

import pytest
import torch
from torch import Tensor
from torch.nn import functional as F

from lmm4rec.recommenders.shared.partition import log_partition
from tests.graphs.dense_graphs import interactions, mean_of_layers, raw_features, symmetric
from tests.recommenders.test_baselines import (
    NEGATIVES,
    POSITIVES,
    USERS,
    assert_same,
    built,
    dense_loss,
    norms,
)
from tests.toy import N_USERS, checkerboard


def unit(rows: Tensor) -> Tensor:
    return rows / rows.norm(dim=1, keepdim=True).clamp(min=1e-12)


def dense_final(model: Any, noisy: bool) -> tuple[Tensor, list[tuple[Tensor, Tensor]]]:
    """Final vectors [N, D], and the hyperedge vectors of users and items per modality."""
    config = model.config
    matrix = interactions(checkerboard())
    adjacency = symmetric(matrix)
    shared = mean_of_layers(adjacency, model.table, config.layers)
    local, total, hyper = shared, torch.zeros_like(shared), []
    for name in ("image", "text"):
        weights = model.weights[name]
        features = raw_features(name)
        items = features @ weights[:, : config.dimensions]
        nodes = torch.cat([matrix @ items / matrix.sum(1, keepdim=True), items])
        propagated = torch.linalg.matrix_power(adjacency, config.modality_layers) @ nodes
        local = local + unit(propagated)
        logits = features @ weights[:, config.dimensions :]
        memberships = []
        for part in (matrix @ logits, logits):  # in the order of the model's draws
            if noisy:
                part = F.gumbel_softmax(part, tau=config.temperature, dim=1)
                part = F.dropout(part, 1 - config.keep_rate)
            else:
                part = (part / config.temperature).softmax(1)
            memberships.append(part)
        item_rows = shared[N_USERS:]
        for _ in range(config.hyper_layers):
            latent = memberships[1].T @ item_rows
            item_rows, user_rows = memberships[1] @ latent, memberships[0] @ latent
        hyper.append((user_rows, item_rows))
        total = total + torch.cat([user_rows, item_rows])
    return local + config.global_weight * unit(total), hyper


def dense_contrast(left: Tensor, right: Tensor, rows: Tensor) -> Tensor:
    similar = torch.exp(unit(left)[rows] @ unit(right).T / 0.2)  # [B, n]
    positive = similar[torch.arange(len(rows)), rows]
    return -torch.log(positive / similar.sum(1)).sum()


@pytest.mark.parametrize(
    "sizes",
    [
        {"layers": 2, "modality_layers": 2, "hyperedges": 4, "hyper_layers": 1, "keep_rate": 1.0},
        {"layers": 1, "modality_layers": 1, "hyperedges": 6, "hyper_layers": 2, "keep_rate": 1.0},
        {"layers": 2, "modality_layers": 0, "hyperedges": 4, "hyper_layers": 1, "keep_rate": 0.7},
    ],
)
def test_lgmrec_equals_its_equations(sizes: dict[str, Any]) -> None:
    model = built("lgmrec", regularisation=0.3, contrastive_weight=0.1, **sizes)
    torch.manual_seed(3)
    final, ((image_users, image_items), (text_users, text_items)) = dense_final(model, noisy=True)
    batch = final[USERS], final[N_USERS + POSITIVES], final[N_USERS + NEGATIVES]
    contrast = dense_contrast(image_users, text_users, USERS)
    contrast = contrast + dense_contrast(image_items, text_items, POSITIVES)
    terms = {
        "bpr": dense_loss(*batch),
        "contrast": 0.1 * contrast,
        "regularisation": 0.3 * norms(*batch),
    }
    torch.manual_seed(3)
    assert_same(model, terms)
    expected, _ = dense_final(model, noisy=False)
    torch.testing.assert_close(torch.cat(model.vectors()), expected.detach(), rtol=1e-4, atol=1e-5)


def test_noise_is_for_training_alone() -> None:
    model = built("lgmrec")
    one, other = (model.losses(USERS, POSITIVES, NEGATIVES)["bpr"] for _ in range(2))
    assert one != other
    first, second = model.vectors(), model.vectors()
    assert torch.equal(first[0], second[0]) and torch.equal(first[1], second[1])


def test_one_modality_has_nothing_to_contrast() -> None:
    model = built("lgmrec", modalities=["text"])
    assert model.losses(USERS, POSITIVES, NEGATIVES)["contrast"] == 0


@pytest.mark.parametrize("block", [1, 7, 1 << 20])
def test_log_partition_equals_log_sum_exp(monkeypatch: pytest.MonkeyPatch, block: int) -> None:
    monkeypatch.setattr("lmm4rec.recommenders.shared.partition._BLOCK_PRODUCTS", block)
    rows = torch.randn(5, 3, dtype=torch.float64, requires_grad=True)
    table = (20 * torch.randn(4, 3, dtype=torch.float64)).requires_grad_()
    torch.testing.assert_close(
        log_partition(rows, table), torch.log(torch.exp(rows @ table.T).sum(1))
    )
    assert torch.autograd.gradcheck(log_partition, (rows, table))
