"""BM3: bootstrapped multi-modal model; no negatives, no augmented graphs.

Zhou, Zhou, Liu, Zeng, Miao, Wang, You and Jiang, "Bootstrap latent representations for
multi-modal recommendation", WWW 2023.

- [U; I'] = LightGCN's readout, I = I' + Q; content x^m = F^m W_m + b_m; f a linear predictor.
- Targets are the same vectors under dropout, without gradient: U*, I*, x*^m. With
  c(a, b) = 1 - mean cosine(a, b*) over the batch's pairs (u, i):
  L_rec = c(f(U), I*) + c(f(I), U*);  L_mm = sum_m c(f(x^m), I*) + c(f(x^m), x*^m).
- Loss: L_rec + contrastive_weight x L_mm + regularisation x (|U|_F + |I|_F) / n_items, norms of all
  propagated users and items. Score: f(U_u) . f(I_i). The sampled negatives are not used.

Choices. Masks are drawn for the distinct rows of the batch, not for the whole tables: each target
row has one mask per step either way. The published code trains a copy of the features:
`train_features`.

A step propagates the whole graph, which the regulariser reads, and projects the batch's items.
Memory: the tables, times about eight; the features once, four times over if trained.
"""

from __future__ import annotations

from typing import ClassVar

import torch
from pydantic import Field
from torch import Tensor, nn
from torch.nn import functional as F

from lmm4rec.catalogue.corpus import TrainingView
from lmm4rec.features.features import Features
from lmm4rec.graphs.user_item import adjacency_of, light_convolution
from lmm4rec.params import Dimensions, Layers
from lmm4rec.recommenders.shared.base import Losses, Recommender, TrainedConfig, id_table
from lmm4rec.recommenders.shared.content import Content, ContentConfig, projections
from lmm4rec.recommenders.shared.losses import cosine_loss, embedding_norms


class BM3Config(ContentConfig, TrainedConfig):
    dimensions: Dimensions  # of user and item vectors
    layers: Layers  # of the graph convolution
    dropout: float = Field(ge=0, lt=1)  # of the targets
    regularisation: float = Field(ge=0)  # weight of the norms of all propagated embeddings
    contrastive_weight: float = Field(ge=0)  # of the losses on projected features
    train_features: bool  # true: train a copy of the features; false: frozen


class BM3(Recommender):
    Config: ClassVar[type[BM3Config]] = BM3Config
    config: BM3Config

    def __init__(self, view: TrainingView, features: Features | None, config: BM3Config) -> None:
        super().__init__(view, features, config)
        self.n_users = view.n_users
        self.adjacency = adjacency_of(view)
        self.table = id_table(view, config.dimensions)  # [N, D] users, then items
        self.predictor = nn.Linear(config.dimensions, config.dimensions)
        self.content = Content(features, config, trained=config.train_features)
        self.projections = projections(self.content, config.dimensions)
        for projection in self.projections.values():
            nn.init.xavier_normal_(projection.get_parameter("weight"))
        nn.init.xavier_normal_(self.predictor.weight)

    def losses(self, users: Tensor, positives: Tensor, negatives: Tensor) -> Losses:
        all_users, all_items = self._propagated(self.table)
        user_rows, user_places = torch.unique(users, return_inverse=True)
        item_rows, item_places = torch.unique(positives, return_inverse=True)
        user, item = all_users[user_rows], all_items[item_rows]  # [Ru, D], [Ri, D]
        user_target, item_target = self._target(user)[user_places], self._target(item)[item_places]
        terms = {
            "users": cosine_loss(self.predictor(user)[user_places], item_target),
            "items": cosine_loss(self.predictor(item)[item_places], user_target),
            "regularisation": self.config.regularisation * embedding_norms(all_users, all_items),
        }
        for name, projection in self.projections.items():
            projected = projection(self.content.rows(name, item_rows))  # [Ri, D]
            target = self._target(projected)[item_places]
            predicted = self.predictor(projected)[item_places]  # [B, D]
            loss = cosine_loss(predicted, item_target) + cosine_loss(predicted, target)
            terms[name] = self.config.contrastive_weight * loss
        return terms

    def _propagated(self, table: Tensor) -> tuple[Tensor, Tensor]:
        """U and I = I' + Q."""
        nodes = light_convolution(self.adjacency, table, self.config.layers)
        return nodes[: self.n_users], nodes[self.n_users :] + table[self.n_users :]

    def _target(self, rows: Tensor) -> Tensor:
        return F.dropout(rows.detach(), self.config.dropout)

    @torch.no_grad()
    def vectors(self) -> tuple[Tensor, Tensor]:
        users, items = self._propagated(self.table.detach())
        return self.predictor(users), self.predictor(items)
