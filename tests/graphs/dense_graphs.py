"""Dense, slow and obvious graphs of the toy world, for the references of the graph recommenders."""

from __future__ import annotations

from typing import Any

import torch
from torch import Tensor

from lmm4rec.catalogue.corpus import TrainingView
from tests.toy import N_ITEMS, N_USERS, kind_features


def interactions(view: TrainingView) -> Tensor:
    """R, [U, I]."""
    matrix = torch.zeros(N_USERS, N_ITEMS)
    matrix[torch.from_numpy(view.train.users).long(), torch.from_numpy(view.train.items).long()] = 1
    return matrix


def symmetric(matrix: Tensor) -> Tensor:
    """D^-1/2 A D^-1/2 of R [U, I], [N, N]; isolated nodes have zero rows."""
    n_users, n_items = matrix.shape
    adjacency = torch.zeros(n_users + n_items, n_users + n_items)
    adjacency[:n_users, n_users:] = matrix
    adjacency[n_users:, :n_users] = matrix.T
    degrees = adjacency.sum(1)
    scale = torch.where(degrees > 0, degrees.clamp(min=1e-9).pow(-0.5), 0.0)
    return scale[:, None] * adjacency * scale[None, :]


def mean_of_layers(adjacency: Tensor, nodes: Tensor, n_layers: int) -> Tensor:
    powers = [torch.linalg.matrix_power(adjacency, n) @ nodes for n in range(n_layers + 1)]
    return torch.stack(powers).mean(0)


def raw_features(name: str) -> Tensor:
    return torch.from_numpy(kind_features().matrices[name])


def projected(model: Any, name: str) -> Tensor:
    """F W + b of a model with one projection per modality."""
    projection = model.projections[name]
    rows: Tensor = model.content.table(name) @ projection.weight.T + projection.bias
    return rows


def cosines(features: Tensor) -> Tensor:
    unit = features / features.norm(dim=1, keepdim=True)
    return unit @ unit.T


def nearest(similarity: Tensor, k: int) -> Tensor:
    """The k largest of each row with their values, zero elsewhere; differentiable. [I, I]"""
    kept = torch.zeros_like(similarity)
    kept.scatter_(1, similarity.detach().topk(min(k, len(similarity)), dim=1).indices, 1.0)
    return similarity * kept


def normalised(graph: Tensor) -> Tensor:
    """D^-1/2 S D^-1/2 with D the row sums, all of them positive in the toy."""
    scale = graph.sum(1).pow(-0.5)
    return scale[:, None] * graph * scale[None, :]
