"""VBPR: matrix factorisation whose item vectors are half learned, half projected content.

He and McAuley, "VBPR: visual Bayesian personalized ranking from implicit feedback", AAAI 2016, in
the form the multi-modal field compares with (MMRec, LMM4Rec): item vector h_i = [q_i ; W^T f_i + b]
with f_i the chosen modalities concatenated (text before image), user vector p_u of the same width,
no bias terms. Loss: BPR + regularisation x the (unsquared) norms of the batch's p_u, h_i, h_j.

Each step projects the distinct items of the batch only. Memory: the features once (I x content
dims), and 2 x U x dimensions times four for Adam.
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
from lmm4rec.recommenders.shared.batches import distinct_items, take
from lmm4rec.recommenders.shared.content import JOINED, Content, ContentConfig
from lmm4rec.recommenders.shared.losses import bpr_loss, embedding_norms, row_scores


class VBPRConfig(ContentConfig, TrainedConfig):
    dimensions: Dimensions  # of the learned half and of the projected half
    regularisation: float = Field(ge=0)  # weight of the embedding norms


class VBPR(Recommender):
    Config: ClassVar[type[VBPRConfig]] = VBPRConfig
    config: VBPRConfig

    def __init__(self, view: TrainingView, features: Features | None, config: VBPRConfig) -> None:
        super().__init__(view, features, config)
        self.content = Content(features, config, joined_in=("text", "image", "fused"))
        self.users = nn.Parameter(torch.empty(view.n_users, 2 * config.dimensions))
        self.items = nn.Parameter(torch.empty(view.n_items, config.dimensions))
        self.projection = nn.Linear(self.content.width(JOINED), config.dimensions)
        nn.init.xavier_uniform_(self.users)
        nn.init.xavier_uniform_(self.items)
        nn.init.xavier_normal_(self.projection.weight)
        nn.init.zeros_(self.projection.bias)

    def losses(self, users: Tensor, positives: Tensor, negatives: Tensor) -> Losses:
        items = distinct_items(positives, negatives)
        projected = self.projection(self.content.rows(JOINED, items.rows))  # [R, D]
        vectors = torch.cat([take(self.items, items.rows), projected], dim=1)  # [R, 2D]
        user, positive, negative = (
            take(self.users, users),
            take(vectors, items.positives),
            take(vectors, items.negatives),
        )  # [B, 2D] each
        penalty = self.config.regularisation * embedding_norms(user, positive, negative)
        return {
            "bpr": bpr_loss(row_scores(user, positive), row_scores(user, negative)),
            "regularisation": penalty,
        }

    @torch.no_grad()
    def vectors(self) -> tuple[Tensor, Tensor]:
        items = torch.cat([self.items, self.projection(self.content.table(JOINED))], dim=1)
        return self.users.detach(), items
