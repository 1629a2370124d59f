"""FREEDOM: a frozen item graph from content, and a user-item graph that is thinned every epoch.

Zhou and Shen, "A tale of two graphs: freezing and denoising graph structures for multimodal
recommendation", ACM MM 2023.

- Item graph, made once from the features as given: per modality the k nearest items by cosine,
  weight 1 each, normalised on both sides; S = sum_m a_m S^m. h = S^L' Q.
- User-item graph: every epoch keeps floor((1 - rho) |E|) edges, drawn without replacement with
  probability proportional to 1 / sqrt(d_u d_i), and normalises what is left. [U; I] is LightGCN's
  readout on it, final items are I + h. `vectors` uses the whole graph.
- Loss: BPR(U, I + h) + content_weight x sum_m BPR(U, F^m W_m + b_m), exact log-sigmoid.

Choices. The published code trains a copy of the features, which only the second loss reads:
`train_features`. It caches the item graph on disk by k and a alone; here it is made from the
features given, each time. a_image = image_weight, the other modalities share the rest.

A step projects the distinct items of the batch and computes the last layers for the batch's rows
alone. Memory: the features, k entries an item and modality; trained features four times over.
Scale: the neighbour search reads the features I / 1000 times or so, once.
"""

from __future__ import annotations

from typing import ClassVar

import numpy as np
import torch
from pydantic import Field
from torch import Tensor

from lmm4rec.catalogue.corpus import Pairs, TrainingView
from lmm4rec.features.features import Features
from lmm4rec.graphs.item_graphs import mixed, nearest_neighbours, normalised, unweighted
from lmm4rec.graphs.sparse import SparseMatrix
from lmm4rec.graphs.user_item import (
    interaction_matrix,
    light_convolution,
    light_convolution_rows,
    propagated_rows,
    symmetric_adjacency,
)
from lmm4rec.params import Dimensions, Layers, Neighbours
from lmm4rec.recommenders.shared.base import Losses, Recommender, TrainedConfig, id_table
from lmm4rec.recommenders.shared.batches import distinct_nodes
from lmm4rec.recommenders.shared.content import Content, ContentConfig, projections
from lmm4rec.recommenders.shared.losses import bpr_loss, row_scores


class FREEDOMConfig(ContentConfig, TrainedConfig):
    dimensions: Dimensions  # of user and item vectors
    layers: Layers  # of the user-item graph
    item_layers: Layers  # L', of the item graph
    neighbours: Neighbours  # k of the item graph, the item itself included
    image_weight: float = Field(ge=0, le=1)  # a: share of the image graph where there are others
    edge_dropout: float = Field(ge=0, lt=1)  # rho: share of the edges an epoch goes without
    content_weight: float = Field(ge=0)  # of the BPR losses on projected features
    train_features: bool  # true: train a copy of the features; false: frozen


class FREEDOM(Recommender):
    Config: ClassVar[type[FREEDOMConfig]] = FREEDOMConfig
    config: FREEDOMConfig

    def __init__(
        self, view: TrainingView, features: Features | None, config: FREEDOMConfig
    ) -> None:
        super().__init__(view, features, config)
        self.content = Content(features, config, trained=config.train_features)
        self.n_users = view.n_users
        self.interactions = interaction_matrix(view.train, view.n_users, view.n_items)
        self.adjacency = symmetric_adjacency(self.interactions)
        self.thinned = self.adjacency  # until an epoch begins
        self.item_graph = _item_graph(self.content.tables(), config)
        self.table = id_table(view, config.dimensions)  # [N, D] users, then items
        self.projections = projections(self.content, config.dimensions)

    def content_changed(self) -> None:
        self.item_graph = _item_graph(self.content.tables(), self.config)

    def begin_epoch(self, generator: np.random.Generator) -> None:
        edges = self.interactions.tocoo()
        pairs = Pairs(edges.row.astype(np.int32), edges.col.astype(np.int32))
        kept = kept_edges(pairs, self.config.edge_dropout, generator)
        self.thinned = symmetric_adjacency(interaction_matrix(kept, *self.interactions.shape))

    def losses(self, users: Tensor, positives: Tensor, negatives: Tensor) -> Losses:
        nodes = distinct_nodes(users, positives, negatives, self.n_users)
        _, final = light_convolution_rows(
            self.thinned, self.table, self.config.layers, nodes.rows
        )  # [R, D]
        first_item = int(torch.searchsorted(nodes.rows, self.n_users))
        items = nodes.rows[first_item:] - self.n_users  # distinct, ascending
        positives, negatives = nodes.positives - first_item, nodes.negatives - first_item
        similar = propagated_rows(
            self.item_graph, self.table[self.n_users :], self.config.item_layers, items
        )
        user = final[nodes.users]  # [B, D]
        item = final[first_item:] + similar
        terms = {"bpr": _bpr(user, item, positives, negatives)}
        for name, projection in self.projections.items():
            projected = projection(self.content.rows(name, items))
            loss = _bpr(user, projected, positives, negatives)
            terms[f"bpr_{name}"] = self.config.content_weight * loss
        return terms

    @torch.no_grad()
    def vectors(self) -> tuple[Tensor, Tensor]:
        final = light_convolution(self.adjacency, self.table.detach(), self.config.layers)
        similar = self.table[self.n_users :].detach()
        for _ in range(self.config.item_layers):
            similar = self.item_graph @ similar
        return final[: self.n_users], final[self.n_users :] + similar


def kept_edges(pairs: Pairs, dropout: float, generator: np.random.Generator) -> Pairs:
    """floor((1 - dropout) |E|) edges, drawn without replacement by 1 / sqrt(d_u d_i), in order.

    Edges with the smallest Exp(1) / weight are such a draw (Efraimidis and Spirakis, 2006).
    """
    n_kept = int((1 - dropout) * len(pairs) + 1e-6)  # 0.2 of 10 edges is 2, whatever 1 - 0.8 is
    user_degrees, item_degrees = np.bincount(pairs.users), np.bincount(pairs.items)
    roots = np.sqrt(user_degrees[pairs.users] * item_degrees[pairs.items].astype(np.float64))
    keys = generator.exponential(size=len(pairs)) * roots
    kept = np.sort(np.argpartition(keys, n_kept - 1)[:n_kept]) if n_kept else np.empty(0, np.int64)
    return Pairs(pairs.users[kept], pairs.items[kept])


def _item_graph(parts: dict[str, Tensor], config: FREEDOMConfig) -> SparseMatrix:
    graphs = [
        normalised(unweighted(nearest_neighbours(part, config.neighbours)))
        for part in parts.values()
    ]
    return SparseMatrix(mixed(graphs, modality_weights(list(parts), config.image_weight)))


def modality_weights(names: list[str], image_weight: float) -> list[float]:
    """The image's weight as given, the rest shared by the others; a lone modality has it all."""
    if len(names) == 1:
        return [1.0]
    others = len([name for name in names if name != "image"])
    rest = (1 - image_weight) / others if "image" in names else 1 / others
    return [image_weight if name == "image" else rest for name in names]


def _bpr(user: Tensor, items: Tensor, positives: Tensor, negatives: Tensor) -> Tensor:
    """[B, D], [R, D] and the places [B] of the positives and negatives in it -> scalar."""
    return bpr_loss(row_scores(user, items[positives]), row_scores(user, items[negatives]))
