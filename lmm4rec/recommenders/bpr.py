"""BPR-MF: matrix factorisation on pairwise preferences, the id-only baseline.

Rendle, Freudenthaler, Gantner and Schmidt-Thieme, "BPR: Bayesian personalized ranking from
implicit feedback", UAI 2009. Score: p_u . q_i, no biases. Loss: BPR + regularisation x the
(unsquared) norms of the batch's rows. Memory: (U + I) x dimensions, times four for Adam.
"""

from __future__ import annotations

from typing import ClassVar

import torch
from pydantic import Field
from torch import Tensor, nn

from lmm4rec.catalogue.corpus import TrainingView
from lmm4rec.features.features import Features
from lmm4rec.params import Dimensions
from lmm4rec.recommenders.shared.base import Losses, Recommender, TrainedConfig
from lmm4rec.recommenders.shared.batches import distinct_nodes, take
from lmm4rec.recommenders.shared.losses import bpr_loss, embedding_norms, row_scores


class BPRConfig(TrainedConfig):
    dimensions: Dimensions  # of user and item vectors
    regularisation: float = Field(ge=0)  # weight of the embedding norms


class BPR(Recommender):
    Config: ClassVar[type[BPRConfig]] = BPRConfig
    config: BPRConfig

    def __init__(self, view: TrainingView, features: Features | None, config: BPRConfig) -> None:
        super().__init__(view, features, config)
        self.n_users = view.n_users
        table = torch.empty(view.n_users + view.n_items, config.dimensions)
        nn.init.xavier_normal_(table[: view.n_users])
        nn.init.xavier_normal_(table[view.n_users :])
        self.table = nn.Parameter(table)  # [N, D] users, then items

    def losses(self, users: Tensor, positives: Tensor, negatives: Tensor) -> Losses:
        nodes = distinct_nodes(users, positives, negatives, self.n_users)
        rows = take(self.table, nodes.rows)
        user, positive, negative = (
            take(rows, nodes.users),
            take(rows, nodes.positives),
            take(rows, nodes.negatives),
        )  # [B, D] each
        penalty = self.config.regularisation * embedding_norms(user, positive, negative)
        return {
            "bpr": bpr_loss(row_scores(user, positive), row_scores(user, negative)),
            "regularisation": penalty,
        }

    @torch.no_grad()
    def vectors(self) -> tuple[Tensor, Tensor]:
        return self.table[: self.n_users].detach(), self.table[self.n_users :].detach()
