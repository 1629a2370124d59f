"""MMGCN: one graph network per modality, tied by an id table, averaged.

Wei et al., "MMGCN: multi-modal graph convolution network for personalized recommendation of
micro-video", ACM MM 2019, concatenation branch. For each modality m, with a table P_m of user
preferences and the items' features F_m:
- X_0 = rows of unit norm of [P_m ; F_m]; image features are projected first, V W + b.
- Layer l: H = LeakyReLU(MEAN(X_{l-1} W_l)), Z = LeakyReLU(X_{l-1} U_l + b_l) + E,
  X_l = LeakyReLU([H ; Z] G_l + c_l). MEAN over the neighbours, no self loop, slope 0.01.
Final vectors: the mean of X_L over the modalities. Loss: BPR + regularisation x (mean E_u^2 + mean
E_i^2 over the batch's pairs, positive and negative, + mean P_image^2 over the table).

Choices. E and the P_m are trained and scores come from the present weights, as the paper means it
(the published code keeps E and P_m out of its parameters and scores with the last training batch's
output); its two flags that do nothing are gone and `layers` is obeyed. Text and fused features
enter unprojected, as published. Without image features there is no preference term.

Every step runs all N = U + I nodes through every layer: what a batch needs of layer 1 is nearly
all nodes already. Cost: about N k^2 products a modality of width k = 256 or the text's, and
I x image dims x 256. Memory: the features, and some eight tables N x k a modality.
"""

from __future__ import annotations

from typing import ClassVar

import torch
from pydantic import Field
from torch import Tensor, nn
from torch.nn import functional as F

from lmm4rec.catalogue.corpus import TrainingView
from lmm4rec.features.features import Features
from lmm4rec.graphs.sparse import SparseMatrix
from lmm4rec.graphs.user_item import interaction_matrix, mean_adjacency
from lmm4rec.params import Dimensions
from lmm4rec.recommenders.shared.base import Losses, Recommender, TrainedConfig
from lmm4rec.recommenders.shared.batches import distinct_nodes
from lmm4rec.recommenders.shared.content import Content, ContentConfig
from lmm4rec.recommenders.shared.losses import bpr_loss, row_scores


class MMGCNConfig(ContentConfig, TrainedConfig):
    dimensions: Dimensions  # of the id table and of every layer's output
    image_dimensions: Dimensions  # that image features are projected to
    layers: int = Field(gt=0, le=100)  # of each modality's network
    regularisation: float = Field(ge=0)  # weight of the mean squares


class MMGCN(Recommender):
    Config: ClassVar[type[MMGCNConfig]] = MMGCNConfig
    config: MMGCNConfig

    def __init__(self, view: TrainingView, features: Features | None, config: MMGCNConfig) -> None:
        super().__init__(view, features, config)
        self.content = Content(features, config)
        self.n_users = view.n_users
        self.neighbours = mean_adjacency(interaction_matrix(view.train, view.n_users, view.n_items))
        table = torch.empty(view.n_users + view.n_items, config.dimensions)
        self.table = nn.Parameter(nn.init.xavier_normal_(table))  # E, [N, d]
        self.networks = nn.ModuleDict(
            {
                name: ModalityNetwork(
                    view.n_users,
                    table.shape[1],
                    config.image_dimensions if name == "image" else None,
                    config.dimensions,
                    config.layers,
                )
                for name, table in self.content.tables().items()
            }
        )

    def losses(self, users: Tensor, positives: Tensor, negatives: Tensor) -> Losses:
        nodes = distinct_nodes(users, positives, negatives, self.n_users)
        final = self._final().index_select(0, nodes.rows)  # [R, d]
        user = final[nodes.users]  # [B, d]
        positive, negative = final[nodes.positives], final[nodes.negatives]
        return {
            "bpr": bpr_loss(row_scores(user, positive), row_scores(user, negative)),
            "regularisation": self.config.regularisation
            * self._mean_squares(
                self.table.index_select(0, nodes.rows),
                nodes.users,
                nodes.positives,
                nodes.negatives,
            ),
        }

    def _mean_squares(
        self, rows: Tensor, users: Tensor, positives: Tensor, negatives: Tensor
    ) -> Tensor:
        squares = rows.square().mean(dim=1)  # [R]
        items = (squares[positives].mean() + squares[negatives].mean()) / 2
        penalty: Tensor = squares[users].mean() + items
        if "image" in self.networks:
            penalty = penalty + self.networks["image"].get_parameter("preferences").square().mean()
        return penalty

    def _final(self) -> Tensor:
        outputs = [
            network(self.content.table(name), self.neighbours, self.table)
            for name, network in self.networks.items()
        ]
        return torch.stack(outputs).mean(dim=0)

    @torch.no_grad()
    def vectors(self) -> tuple[Tensor, Tensor]:
        final = self._final()
        return final[: self.n_users], final[self.n_users :]


class ModalityNetwork(nn.Module):
    """X_0 and the layers of one modality."""

    def __init__(
        self, n_users: int, content_dims: int, projected: int | None, dims: int, n_layers: int
    ) -> None:
        super().__init__()
        width = projected or content_dims
        self.projection = nn.Linear(content_dims, width) if projected else None
        preferences = torch.empty(n_users, width)
        self.preferences = nn.Parameter(nn.init.xavier_normal_(preferences))  # P_m, [U, k]
        widths = [width] + [dims] * (n_layers - 1)
        self.layers = nn.ModuleList(MeanLayer(width, dims) for width in widths)

    def forward(self, features: Tensor, neighbours: SparseMatrix, table: Tensor) -> Tensor:
        """F_m [I, content dims], [N, N] and E [N, d] -> X_L [N, d]."""
        items = features if self.projection is None else self.projection(features)
        unit = [F.normalize(rows, dim=1) for rows in (self.preferences, items)]
        nodes = torch.cat(unit)  # [N, k]
        for layer in self.layers:
            nodes = layer(nodes, neighbours, table)
        return nodes


class MeanLayer(nn.Module):
    """One layer: what the neighbours say (H) beside what the node says (Z)."""

    def __init__(self, width: int, dims: int) -> None:
        super().__init__()
        self.message = nn.Linear(width, width, bias=False)  # W
        self.own = nn.Linear(width, dims)  # U, b
        self.join_message = nn.Linear(width, dims)  # the upper rows of G, c
        self.join_own = nn.Linear(dims, dims, bias=False)  # the lower rows of G
        for linear in (self.message, self.own):
            nn.init.xavier_normal_(linear.weight)
        joined = nn.init.xavier_normal_(torch.empty(dims, width + dims))
        self.join_message.weight.data.copy_(joined[:, :width])
        self.join_own.weight.data.copy_(joined[:, width:])

    def forward(self, nodes: Tensor, neighbours: SparseMatrix, table: Tensor) -> Tensor:
        """[N, k] -> [N, d]; E [N, d]. Two products instead of one of [H ; Z]: no copy of both."""
        message = F.leaky_relu(neighbours @ self.message(nodes), 0.01, inplace=True)  # H, [N, k]
        own = F.leaky_relu(self.own(nodes), 0.01, inplace=True) + table  # Z, [N, d]
        joined = self.join_message(message) + self.join_own(own)
        return F.leaky_relu(joined, 0.01, inplace=True)
