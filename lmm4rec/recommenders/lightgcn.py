"""LightGCN: id embeddings smoothed over the user-item graph.

He et al., "LightGCN: simplifying and powering graph convolution network for recommendation",
SIGIR 2020. Vectors: the mean of layers 0 .. L of A^l E (eq. 8, 11), A symmetric-normalised without
self loops. Loss: BPR + regularisation x the (unsquared) norms of the batch's layer-0 rows.
A training step propagates L - 1 full layers and the batch's rows of the last one.
Memory: BPR's plus the graph, 12 bytes an edge and direction.
"""

from __future__ import annotations

from typing import ClassVar

import torch
from pydantic import Field
from torch import Tensor

from lmm4rec.catalogue.corpus import TrainingView
from lmm4rec.features.features import Features
from lmm4rec.graphs.user_item import adjacency_of, light_convolution, light_convolution_rows
from lmm4rec.params import Dimensions, Layers
from lmm4rec.recommenders.shared.base import Losses, Recommender, TrainedConfig, id_table
from lmm4rec.recommenders.shared.batches import distinct_nodes, take
from lmm4rec.recommenders.shared.losses import bpr_loss, embedding_norms, row_scores


class LightGCNConfig(TrainedConfig):
    dimensions: Dimensions  # of user and item vectors
    layers: Layers  # of the graph convolution
    regularisation: float = Field(ge=0)  # weight of the layer-0 embedding norms


class LightGCN(Recommender):
    Config: ClassVar[type[LightGCNConfig]] = LightGCNConfig
    config: LightGCNConfig

    def __init__(
        self, view: TrainingView, features: Features | None, config: LightGCNConfig
    ) -> None:
        super().__init__(view, features, config)
        self.n_users = view.n_users
        self.adjacency = adjacency_of(view)
        self.table = id_table(view, config.dimensions)  # [N, D] users, then items

    def losses(self, users: Tensor, positives: Tensor, negatives: Tensor) -> Losses:
        nodes = distinct_nodes(users, positives, negatives, self.n_users)
        first, final = light_convolution_rows(
            self.adjacency, self.table, self.config.layers, nodes.rows
        )  # [R, D] each
        places = nodes.users, nodes.positives, nodes.negatives
        user, positive, negative = (take(final, rows) for rows in places)  # [B, D] each
        penalty = embedding_norms(*(take(first, rows) for rows in places))
        return {
            "bpr": bpr_loss(row_scores(user, positive), row_scores(user, negative)),
            "regularisation": self.config.regularisation * penalty,
        }

    @torch.no_grad()
    def vectors(self) -> tuple[Tensor, Tensor]:
        final = light_convolution(self.adjacency, self.table.detach(), self.config.layers)
        return final[: self.n_users], final[self.n_users :]
