"""LGMRec: local interests from the user-item graph, global ones from hyperedges of content.

Guo, Li, Li, Wang, Shi and Ruan, "LGMRec: local and global graph learning for multimodal
recommendation", AAAI 2024.

- Local: C = LightGCN's readout. Per modality, items F^m W_m and users the mean over their items,
  n times through the normalised adjacency A, last layer only, rows normalised; summed over m.
  local = C + that sum.
- Hyperedges, K a modality: H_i^m = GumbelSoftmax(F^m Y_m), H_u^m = GumbelSoftmax(R F^m Y_m),
  temperature 0.2, then dropout. Global, per modality from I = C_items: lat = H_i^T I, I <- H_i lat,
  users H_u lat, so many times as there are hyper_layers; G = the sum over m.
  Final: local + global_weight x G / |G|.
- Loss: BPR + contrastive_weight x sum_b [ -log( exp(cos(u_b^v, u_b^t) / 0.2) / sum over all users u
  of exp(cos(u_b^v, u^t) / 0.2) ) + the same of items ] on the hyperedge vectors of two modalities
  + regularisation x (|U|_F + |I+|_F + |I-|_F) / B of the batch's final vectors.

Choices. Gumbel noise and dropout belong to training alone (in the published code noise is active
at evaluation, so scores are random). The contrast's anchors are of the modality listed first, its
denominators of the other; with three modalities it is summed over pairs, with one there is none.

Scale: every step projects the whole catalogue, as hyperedges span it. A hyperedge vector is
H lat, so cosines with all users cost K multiply-adds each instead of D, and never stand in memory
at once. Memory: the features and a few tables.
"""

from __future__ import annotations

from itertools import combinations
from typing import ClassVar, NamedTuple

import torch
from pydantic import Field
from scipy.sparse import csr_array, diags_array, eye_array, vstack
from torch import Tensor, nn
from torch.nn import functional as F

from lmm4rec.catalogue.corpus import TrainingView
from lmm4rec.features.features import Features
from lmm4rec.graphs.sparse import SparseMatrix
from lmm4rec.graphs.user_item import interaction_matrix, light_convolution, symmetric_adjacency
from lmm4rec.params import Dimensions, Layers
from lmm4rec.recommenders.shared.base import Losses, Recommender, TrainedConfig, id_table
from lmm4rec.recommenders.shared.content import Content, ContentConfig
from lmm4rec.recommenders.shared.losses import bpr_loss, embedding_norms, row_scores
from lmm4rec.recommenders.shared.partition import log_partition


class LGMRecConfig(ContentConfig, TrainedConfig):
    dimensions: Dimensions  # of user and item vectors
    layers: Layers  # of the collaborative graph convolution
    modality_layers: Layers  # n, of the propagation of content
    hyperedges: Dimensions  # K, per modality
    hyper_layers: int = Field(gt=0, le=100)  # of the hypergraph
    keep_rate: float = Field(gt=0, le=1)  # of hyperedge memberships, in training
    global_weight: float = Field(ge=0)  # of the global vectors in the final ones
    contrastive_weight: float = Field(ge=0)  # of the contrast between modalities, summed over rows
    temperature: float = Field(gt=0)  # of the Gumbel softmax and of the contrast
    regularisation: float = Field(ge=0)  # weight of the norms of final vectors


class Hyperedges(NamedTuple):
    """One modality's memberships of users [U, K] and items [I, K], and its hyperedges [K, D]."""

    users: Tensor
    items: Tensor
    latent: Tensor


class LGMRec(Recommender):
    Config: ClassVar[type[LGMRecConfig]] = LGMRecConfig
    config: LGMRecConfig

    def __init__(self, view: TrainingView, features: Features | None, config: LGMRecConfig) -> None:
        super().__init__(view, features, config)
        self.content = Content(features, config)
        interactions = interaction_matrix(view.train, view.n_users, view.n_items)
        self.n_users = view.n_users
        self.interactions = SparseMatrix(interactions)  # R
        self.adjacency = symmetric_adjacency(interactions)
        self.from_items = _means_and_items(interactions)
        self.table = id_table(view, config.dimensions)  # [N, D] users, then items
        self.weights = nn.ParameterDict()  # W_m and Y_m side by side: [D_m, D + K]
        for name, table in self.content.tables().items():
            widths = (config.dimensions, config.hyperedges)
            blocks = [nn.init.xavier_uniform_(torch.empty(table.shape[1], w)) for w in widths]
            self.weights[name] = nn.Parameter(torch.cat(blocks, dim=1))

    def losses(self, users: Tensor, positives: Tensor, negatives: Tensor) -> Losses:
        final, hyperedges = self._final(noisy=True)
        items = final[self.n_users :]
        user, positive, negative = final[users], items[positives], items[negatives]  # [B, D]
        contrast = user.new_zeros(())
        for one, other in combinations(hyperedges, 2):
            for left, right, rows in (
                (one.users, other.users, users),
                (one.items, other.items, positives),
            ):
                contrast = contrast + self._contrast(
                    (left, one.latent), (right, other.latent), rows
                )
        penalty = embedding_norms(user, positive, negative)
        return {
            "bpr": bpr_loss(row_scores(user, positive), row_scores(user, negative)),
            "contrast": self.config.contrastive_weight * contrast,
            "regularisation": self.config.regularisation * penalty,
        }

    def _final(self, *, noisy: bool) -> tuple[Tensor, list[Hyperedges]]:
        """Final vectors of all nodes, [N, D], and each modality's hyperedges."""
        shared = light_convolution(self.adjacency, self.table, self.config.layers)
        final, total, hyperedges = shared, torch.zeros_like(shared), []
        for name in self.content.names:
            projected, logits = self._projected(name)  # [I, D], [I, K]
            final = final + self._local(projected)
            memberships = self._memberships(logits, noisy=noisy)
            edges, vectors = self._global(*memberships, shared[self.n_users :])
            total = total + vectors
            hyperedges.append(edges)
        return final + self.config.global_weight * F.normalize(total, dim=1), hyperedges

    def _projected(self, name: str) -> tuple[Tensor, Tensor]:
        """F W and F Y in one product."""
        both = self.content.table(name) @ self.weights[name]
        widths = [self.config.dimensions, self.config.hyperedges]
        projected, logits = both.split(widths, dim=1)
        return projected, logits

    def _local(self, projected: Tensor) -> Tensor:
        nodes = self.from_items @ projected  # [N, D]
        for _ in range(self.config.modality_layers):
            nodes = self.adjacency @ nodes
        return F.normalize(nodes, dim=1)

    def _memberships(self, logits: Tensor, *, noisy: bool) -> tuple[Tensor, Tensor]:
        """H_u [U, K] and H_i [I, K]."""
        both = [self.interactions @ logits, logits]
        if not noisy:
            users, items = (torch.softmax(part / self.config.temperature, dim=1) for part in both)
            return users, items
        dropout = 1 - self.config.keep_rate
        users, items = (
            F.dropout(F.gumbel_softmax(part, tau=self.config.temperature, dim=1), dropout)
            for part in both
        )
        return users, items

    def _global(self, users: Tensor, items: Tensor, table: Tensor) -> tuple[Hyperedges, Tensor]:
        """The hyperedges after the last layer, and [H_u lat; H_i lat], [N, D]."""
        for _ in range(self.config.hyper_layers):
            latent = items.T @ table  # [K, D]
            table = items @ latent  # [I, D]
        return Hyperedges(users, items, latent), torch.cat([users @ latent, table])

    def _contrast(
        self, left: tuple[Tensor, Tensor], right: tuple[Tensor, Tensor], rows: Tensor
    ) -> Tensor:
        """Sum over `rows` of -log softmax, at the row itself, of cosines between H lat and H' lat'.

        A distinct row is compared with the table once and counted as often as it occurs.
        """
        distinct, counts = torch.unique(rows, return_counts=True)
        (memberships, latent), (others, other_latent) = left, right
        anchors = F.normalize(memberships[distinct] @ latent, dim=1) / self.config.temperature
        # cos(h lat, h' lat') = (h lat / |.|) lat'^T (h' / |h' lat'|)^T: K dims are enough.
        anchors = anchors @ other_latent.T  # [R, K]
        norms = torch.linalg.vector_norm(others @ other_latent, dim=1, keepdim=True)
        others = others / norms.clamp_min(1e-12)  # [n, K]
        itself = row_scores(anchors, others[distinct])
        return (counts * (log_partition(anchors, others) - itself)).sum()

    @torch.no_grad()
    def vectors(self) -> tuple[Tensor, Tensor]:
        final, _ = self._final(noisy=False)
        return final[: self.n_users], final[self.n_users :]


def _means_and_items(interactions: csr_array) -> SparseMatrix:
    """[D_u^-1 R; 1]: users the mean of their items, items themselves, [N, I]."""
    degrees = interactions.sum(axis=1)
    means = diags_array((1 / degrees.clip(min=1)).astype("float32")) @ interactions
    itself = eye_array(interactions.shape[1], dtype="float32")
    return SparseMatrix(csr_array(vstack([means, itself])))
