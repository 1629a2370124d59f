"""LATTICE: item graphs learned from content, mixed with the graphs of the raw features.

Zhang, Zhu, Liu, Wu, Wang and Wang, "Mining latent structures for multimedia recommendation",
ACM MM 2021.

- Per modality m: S0^m, the k nearest items by cosine of the raw features, normalised on both
  sides, frozen; and kNN(C~^m), the k nearest by cosine of F^m W_m + b_m, with gradient through the
  cosines that are kept. w = softmax(theta).
- S = (1 - lambda) N(sum_m w_m kNN(C~^m)) + lambda sum_m w_m S0^m, N(X) = D^-1/2 X D^-1/2.
- h = S^L' Q. [U; I] is LightGCN's readout over (D + I)^-1 (A + I). Final items: I + h / |h|.
- Loss: BPR + regularisation x half the squared norms of the batch's final vectors (per row).

Choices, as published: the features are a trained copy (`train_features`; false freezes them); the
item graph is built with gradient in the first batch of each epoch and held fixed for the rest of
it, so W, theta and F move once an epoch. `vectors` builds it anew under the present weights. The
learning rate decays by learning_rate_decay every 50 epochs, smoothly.

Sparse throughout: 4 k edges an item with two modalities; each build searches the projected
features once, unless they are the very ones that were searched last. Memory: the features (four
times over if trained), a few copies of edges x dimensions in the first batch.
"""

from __future__ import annotations

from typing import ClassVar

import torch
from pydantic import Field
from scipy.sparse import csr_array
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
    propagated_rows,
    row_stochastic_adjacency,
)
from lmm4rec.graphs.weighted_edges import WeightedEdges, constant_edges, cosine_edges, joined
from lmm4rec.params import Dimensions, Layers, Neighbours
from lmm4rec.recommenders.shared.base import Losses, Recommender, TrainedConfig, id_table
from lmm4rec.recommenders.shared.batches import distinct_nodes
from lmm4rec.recommenders.shared.content import Content, ContentConfig, projections
from lmm4rec.recommenders.shared.losses import bpr_loss, half_squared_norms, row_scores


class LATTICEConfig(ContentConfig, TrainedConfig):
    dimensions: Dimensions  # of user and item vectors
    projected_dimensions: Dimensions  # of the learned similarity's space
    layers: Layers  # of the user-item graph
    item_layers: Layers  # L', of the item graph
    neighbours: Neighbours  # k of the item graphs, the item itself included
    original_weight: float = Field(ge=0, le=1)  # lambda: share of the raw features' graphs
    regularisation: float = Field(ge=0)  # weight of the squared norms of final vectors
    train_features: bool  # true: train a copy of the features; false: frozen
    learning_rate_decay: float = Field(gt=0, le=1)  # of the learning rate, in 50 epochs


class LATTICE(Recommender):
    Config: ClassVar[type[LATTICEConfig]] = LATTICEConfig
    config: LATTICEConfig

    def __init__(
        self, view: TrainingView, features: Features | None, config: LATTICEConfig
    ) -> None:
        super().__init__(view, features, config)
        self.content = Content(features, config, trained=config.train_features)
        self.n_users = view.n_users
        self.adjacency = row_stochastic_adjacency(
            interaction_matrix(view.train, view.n_users, view.n_items)
        )
        self.originals = self._original_graphs()
        self.table = id_table(view, config.dimensions)  # [N, D] users, then items
        self.projections = projections(self.content, config.projected_dimensions)
        self.modality_logits = nn.Parameter(torch.full((len(self.projections),), 0.5))  # theta
        self._searched: dict[str, tuple[Tensor, csr_array]] = {}  # what was searched, and found
        self._graph: SparseMatrix | None = None  # of the present epoch, once its first batch ran

    def content_changed(self) -> None:
        self.originals = self._original_graphs()
        self._graph = None

    def learning_rate_factor(self, epoch: int) -> float:
        return self.config.learning_rate_decay ** ((epoch - 1) / 50)

    def begin_epoch(self, generator: object) -> None:
        self._graph = None

    def losses(self, users: Tensor, positives: Tensor, negatives: Tensor) -> Losses:
        nodes = distinct_nodes(users, positives, negatives, self.n_users)
        _, final = light_convolution_rows(
            self.adjacency, self.table, self.config.layers, nodes.rows
        )  # [R, D]
        first_item = int(torch.searchsorted(nodes.rows, self.n_users))
        similar = self._similar(nodes.rows[first_item:] - self.n_users)
        item = final[first_item:] + F.normalize(similar, dim=1)
        user = final[nodes.users]  # [B, D]
        positive, negative = item[nodes.positives - first_item], item[nodes.negatives - first_item]
        penalty = half_squared_norms(user, positive, negative)
        return {
            "bpr": bpr_loss(row_scores(user, positive), row_scores(user, negative)),
            "regularisation": self.config.regularisation * penalty,
        }

    def _similar(self, items: Tensor) -> Tensor:
        """Rows of h: distinct [R] -> [R, D]. The first call of an epoch builds the graph."""
        table, n_layers = self.table[self.n_users :], self.config.item_layers
        if self._graph is not None:
            return propagated_rows(self._graph, table, n_layers, items)
        graph = self.item_graph()
        self._graph = graph.matrix()
        for _ in range(n_layers):
            table = graph.product(table)
        return table[items]

    def item_graph(self) -> WeightedEdges:
        """S under the present weights, with gradient where autograd is on."""
        shares = torch.softmax(self.modality_logits, dim=0)
        learned, original = [], []
        for share, (name, projection), graph in zip(
            shares, self.projections.items(), self.originals, strict=True
        ):
            projected = projection(self.content.table(name))  # [I, projected_dimensions]
            pattern = self._neighbours(name, projected.detach())
            learned.append(cosine_edges(projected, pattern).times(share))
            original.append(constant_edges(graph, projected.device).times(share))
        kept = self.config.original_weight
        return joined([joined(learned).normalised().times(1 - kept), joined(original).times(kept)])

    def _original_graphs(self) -> list[csr_array]:
        """S0 of every modality."""
        return [
            normalised(nearest_neighbours(table, self.config.neighbours))
            for table in self.content.tables().values()
        ]

    def _neighbours(self, name: str, projected: Tensor) -> csr_array:
        """The kept edges; equal vectors are not searched twice (validation, then next epoch)."""
        if name not in self._searched or not torch.equal(self._searched[name][0], projected):
            found = nearest_neighbours(projected, self.config.neighbours)
            self._searched[name] = projected, found
        return self._searched[name][1]

    @torch.no_grad()
    def vectors(self) -> tuple[Tensor, Tensor]:
        final = light_convolution(self.adjacency, self.table, self.config.layers)
        graph = self.item_graph().matrix()
        similar = self.table[self.n_users :]
        for _ in range(self.config.item_layers):
            similar = graph @ similar
        return final[: self.n_users], final[self.n_users :] + F.normalize(similar, dim=1)
