"""MGCN: content purified by what users do, then fused beside the collaborative view.

Yu, Tan, Lu and Bao, "Multi-view graph convolutional network for multimedia recommendation",
ACM MM 2023.

- Purifier: x^m = Q * sigmoid(g_m(F^m W_m + b_m)), elementwise.
- Collaborative view: C = LightGCN's readout. Item views: x^m <- (S^m)^L' x^m over the k nearest
  items by cosine, weights the cosines, normalised on both sides; users get R^ x^m, with R^ the
  upper right block of the normalised adjacency. X_m = [users; items].
- Fuser: a = softmax over m of q(X_m); common = sum_m a_m X_m; specific_m = p_m(C) * (X_m -
  common); side = (sum_m specific_m + common) / (M + 1), M modalities. Final: C + side.
- Loss: BPR + regularisation x half the squared norms of the batch's final vectors (per row)
  + contrastive_weight x [InfoNCE(side_i, C_i) + InfoNCE(side_u, C_u)], rows normalised, the batch's
  positives and users as each other's negatives. The learning rate decays as LATTICE's.

Choices: features stay frozen unless `train_features` is on.

Scale: users average over their items and items over their neighbours, so every step projects the
whole catalogue: I x content dims x dimensions multiply-adds, forward and backward. All else is
computed for the rows of the batch. Memory: the features and a few tables.
"""

from __future__ import annotations

from typing import ClassVar

import numpy as np
import torch
from pydantic import Field
from scipy.sparse import csr_array, eye_array, vstack
from torch import Tensor, nn
from torch.nn import functional as F

from lmm4rec.catalogue.corpus import TrainingView
from lmm4rec.features.features import Features
from lmm4rec.graphs.item_graphs import nearest_neighbours, normalised
from lmm4rec.graphs.sparse import SparseMatrix
from lmm4rec.graphs.user_item import (
    interaction_matrix,
    light_convolution,
    light_convolution_rows,
    normalised_interactions,
    propagated_rows,
    symmetric_adjacency,
)
from lmm4rec.params import Dimensions, Layers, Neighbours
from lmm4rec.recommenders.shared.base import Losses, Recommender, TrainedConfig, id_table
from lmm4rec.recommenders.shared.batches import distinct_nodes
from lmm4rec.recommenders.shared.content import Content, ContentConfig, projections
from lmm4rec.recommenders.shared.losses import bpr_loss, half_squared_norms, info_nce, row_scores


class MGCNConfig(ContentConfig, TrainedConfig):
    dimensions: Dimensions  # of user and item vectors
    layers: Layers  # of the user-item graph
    item_layers: Layers  # L', of the item graphs
    neighbours: Neighbours  # k of the item graphs, the item itself included
    regularisation: float = Field(ge=0)  # weight of the squared norms of final vectors
    contrastive_weight: float = Field(ge=0)  # of side against collaborative vectors
    temperature: float = Field(gt=0)  # of that contrast
    train_features: bool  # true: train a copy of the features; false: frozen
    learning_rate_decay: float = Field(gt=0, le=1)  # of the learning rate, in 50 epochs


class MGCN(Recommender):
    Config: ClassVar[type[MGCNConfig]] = MGCNConfig
    config: MGCNConfig

    def __init__(self, view: TrainingView, features: Features | None, config: MGCNConfig) -> None:
        super().__init__(view, features, config)
        self.content = Content(features, config, trained=config.train_features)
        dims = config.dimensions
        self.n_users = view.n_users
        interactions = interaction_matrix(view.train, view.n_users, view.n_items)
        self.adjacency = symmetric_adjacency(interactions)
        self.from_items = _from_items(interactions)
        self.item_graphs = self._item_graphs()
        self.table = id_table(view, dims)  # [N, D] users, then items
        self.projections = projections(self.content, dims)
        self.gates = nn.ModuleDict({name: _gate(dims) for name in self.content.names})  # g
        self.preferences = nn.ModuleDict({name: _gate(dims) for name in self.content.names})  # p
        self.attention = nn.Sequential(  # q
            nn.Linear(dims, dims), nn.Tanh(), nn.Linear(dims, 1, bias=False)
        )

    def content_changed(self) -> None:
        self.item_graphs = self._item_graphs()

    def _item_graphs(self) -> list[SparseMatrix]:
        """S of every modality."""
        return [
            SparseMatrix(normalised(nearest_neighbours(table, self.config.neighbours)))
            for table in self.content.tables().values()
        ]

    def learning_rate_factor(self, epoch: int) -> float:
        return self.config.learning_rate_decay ** ((epoch - 1) / 50)

    def losses(self, users: Tensor, positives: Tensor, negatives: Tensor) -> Losses:
        nodes = distinct_nodes(users, positives, negatives, self.n_users)
        _, shared = light_convolution_rows(
            self.adjacency, self.table, self.config.layers, nodes.rows
        )  # [R, D]
        views = [
            propagated_rows(self.from_items, items, 1, nodes.rows) for items in self._item_views()
        ]
        side = self._fused(shared, views)
        final = shared + side
        user, positive, negative = (
            final[rows] for rows in (nodes.users, nodes.positives, nodes.negatives)
        )  # [B, D] each
        contrast = self._contrast(side, shared, nodes.positives)
        contrast = contrast + self._contrast(side, shared, nodes.users)
        penalty = half_squared_norms(user, positive, negative)
        return {
            "bpr": bpr_loss(row_scores(user, positive), row_scores(user, negative)),
            "regularisation": self.config.regularisation * penalty,
            "contrast": self.config.contrastive_weight * contrast,
        }

    def _item_views(self) -> list[Tensor]:
        """(S^m)^L' x^m of every modality: [I, D] each."""
        ids = self.table[self.n_users :]
        views = []
        for (name, projection), graph in zip(
            self.projections.items(), self.item_graphs, strict=True
        ):
            view = ids * self.gates[name](projection(self.content.table(name)))
            for _ in range(self.config.item_layers):
                view = graph @ view
            views.append(view)
        return views

    def _fused(self, shared: Tensor, views: list[Tensor]) -> Tensor:
        """The side vectors of some nodes from their rows of C and of every X_m: [R, D]."""
        stacked = torch.stack(views)  # [M, R, D]
        common = (torch.softmax(self.attention(stacked), dim=0) * stacked).sum(dim=0)
        total = common
        for preference, view in zip(self.preferences.values(), views, strict=True):
            total = total + preference(shared) * (view - common)
        return total / (len(views) + 1)

    def _contrast(self, side: Tensor, shared: Tensor, rows: Tensor) -> Tensor:
        left, right = F.normalize(side, dim=1)[rows], F.normalize(shared, dim=1)[rows]
        return info_nce(left, right, self.config.temperature)

    @torch.no_grad()
    def vectors(self) -> tuple[Tensor, Tensor]:
        shared = light_convolution(self.adjacency, self.table, self.config.layers)
        side = self._fused(shared, [self.from_items @ items for items in self._item_views()])
        final = shared + side
        return final[: self.n_users], final[self.n_users :]


def _gate(dims: int) -> nn.Sequential:
    return nn.Sequential(nn.Linear(dims, dims), nn.Sigmoid())


def _from_items(interactions: csr_array) -> SparseMatrix:
    """[R^; 1]: a table of items to the vectors of all nodes, [N, I]."""
    itself = eye_array(interactions.shape[1], dtype=np.float32)
    return SparseMatrix(csr_array(vstack([normalised_interactions(interactions), itself])))
