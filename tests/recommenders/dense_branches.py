"""Dense, slow and obvious branches with a shared user table, for the models that have them."""

from __future__ import annotations

from typing import Any

import torch
from torch import Tensor

from lmm4rec.recommenders.shared.branches import SharedUserBranches
from lmm4rec.recommenders.shared.content import Content, ContentConfig, Modality
from tests.graphs.dense_graphs import interactions, mean_of_layers, symmetric
from tests.toy import N_USERS, checkerboard, kind_features

USERS = torch.tensor([0, 1, 0, 5, 7])
POSITIVES = torch.tensor([2, 3, 4, 3, 9])
NEGATIVES = torch.tensor([5, 2, 2, 8, 2])  # repeats on purpose, also across roles


def unit_features(name: str) -> Tensor:
    features = torch.from_numpy(kind_features().matrices[name])
    return features / features.pow(2).sum(1, keepdim=True).sqrt()


def unit_content(*modalities: Modality) -> Content:
    config = ContentConfig(modalities=list(modalities), missing="zero", scaling="unit")
    return Content(kind_features(), config)


def inputs_of(branches: SharedUserBranches) -> dict[str, Tensor]:
    """What each branch starts from on the items' side, from features of unit norm."""
    inputs: dict[str, Tensor] = {"id": branches.items}
    for name in branches.names:
        linear: Any = branches.projections[name]
        inputs[name] = unit_features(name) @ linear.weight.T + linear.bias
    return inputs


def branch(users: Tensor, inputs: Tensor, n_layers: int, matrix: Tensor | None = None) -> Any:
    """([U, d], [I, d]) of one branch, on the training graph or on another R."""
    adjacency = symmetric(interactions(checkerboard()) if matrix is None else matrix)
    nodes = mean_of_layers(adjacency, torch.cat([users, inputs]), n_layers)
    return nodes[:N_USERS], nodes[N_USERS:]


def cross_entropy(left: Tensor, right: Tensor, temperature: float) -> Tensor:
    """In-batch softmax, pair by pair."""
    terms = []
    for row in range(len(left)):
        scores = torch.stack([left[row] @ other for other in right]) / temperature
        terms.append(torch.log(torch.exp(scores).sum()) - scores[row])
    return torch.stack(terms).mean()


def unit(rows: Tensor) -> Tensor:
    return rows / rows.pow(2).sum(1, keepdim=True).sqrt()


def assert_same(model: Any, found: dict[str, Tensor], expected: dict[str, Tensor]) -> None:
    """Loss terms and every parameter's gradient agree to 1e-5."""
    assert found.keys() == expected.keys()
    for name in expected:
        torch.testing.assert_close(found[name], expected[name], rtol=1e-5, atol=1e-6)
    parameters = list(model.parameters())
    ours = torch.autograd.grad(torch.stack(list(found.values())).sum(), parameters)
    theirs = torch.autograd.grad(torch.stack(list(expected.values())).sum(), parameters)
    for one, other in zip(ours, theirs, strict=True):
        torch.testing.assert_close(one, other, rtol=1e-5, atol=1e-6)
