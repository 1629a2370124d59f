"""SLMRec: three-branch light convolution, contrastive main loss, modality alignment by FAC.

Tao et al., "Self-supervised learning for multimedia recommendation", IEEE Transactions on
Multimedia 2022; the FAC (feature alternation contrast) task in the form the field compares with
(MMRec, LMM4Rec).

- Branches (see branches.py): id, and one per modality, sharing the user table.
  u = G_u [U^id; U^v; U^t], i = G_i [I^id; I^v; I^t], linear read-outs. Score: u . i.
- L_main = NCE(u / |u|, i / |i|; tau_0) over the batch's pairs: no sampled negatives.
- FAC on the batch's positive items, not normalised: a = g1(I^id), L_v = NCE(a, g2(I^v); tau);
  c = g5(g3(a)), L_t = NCE(c, g6(I^t); tau). Loss: L_main + alpha (L_v + L_t).

Choices. Scores come from the present weights (the published code: from the last training batch's).
Main loss on cosines, score on inner products, as published. FAC follows `modalities` in the order
given: the first is met in d dims, each further one in half as many as the one before, so that
[image, text] is the published pair and one modality alone has one term. A user or item that a
batch repeats counts among its own negatives, as published. Features of unit norm: `scaling: unit`.
The published grid's `reg` is read by nothing and is left out.

A step convolves the id tables alone and projects the batch's rows of features propagated once.
Memory: the features twice over, (U + I) x content dims the second time (branches.py has the
limit); three B x B matrices.
"""

from __future__ import annotations

from itertools import pairwise
from typing import ClassVar

import torch
from pydantic import Field
from torch import Tensor, nn
from torch.nn import functional as F

from lmm4rec.catalogue.corpus import TrainingView
from lmm4rec.features.features import Features
from lmm4rec.params import Dimensions, Layers
from lmm4rec.recommenders.shared.base import Losses, Recommender, TrainedConfig
from lmm4rec.recommenders.shared.branches import SharedUserBranches, propagated_features_fit
from lmm4rec.recommenders.shared.content import Content, ContentConfig
from lmm4rec.recommenders.shared.losses import info_nce


class SLMRecConfig(ContentConfig, TrainedConfig):
    dimensions: Dimensions  # of every branch and of the final vectors
    layers: Layers  # of the graph convolution
    temperature: float = Field(gt=0)  # tau_0, of the main loss
    alignment_temperature: float = Field(gt=0)  # tau, of the modality alignment
    alignment_weight: float = Field(ge=0)  # alpha, of the modality alignment


class SLMRec(Recommender):
    Config: ClassVar[type[SLMRecConfig]] = SLMRecConfig
    config: SLMRecConfig

    def __init__(self, view: TrainingView, features: Features | None, config: SLMRecConfig) -> None:
        super().__init__(view, features, config)
        self.content = Content(features, config)
        self.branches = SharedUserBranches(
            view,
            self.content,
            config.dimensions,
            config.layers,
            propagate_features=propagated_features_fit(view, self.content),
        )
        self.read_user = nn.Linear(self.branches.width, config.dimensions)  # G_u
        self.read_item = nn.Linear(self.branches.width, config.dimensions)  # G_i
        self.alignment = ModalityAlignment(config.dimensions, len(self.content.names))

    def content_changed(self) -> None:
        self.branches.content_changed()

    def losses(self, users: Tensor, positives: Tensor, negatives: Tensor) -> Losses:
        user_rows, user_places = torch.unique(users, return_inverse=True)
        item_rows, item_places = torch.unique(positives, return_inverse=True)
        user_branches, item_branches = self.branches.rows(user_rows, item_rows)
        user = F.normalize(self.read_user(user_branches), dim=1)[user_places]  # [B, d]
        item = F.normalize(self.read_item(item_branches), dim=1)[item_places]
        signals = torch.split(item_branches[item_places], self.config.dimensions, dim=1)
        terms = {"contrast": info_nce(user, item, self.config.temperature)}
        aligned = self.alignment(signals)
        for name, (left, right) in zip(self.branches.names, aligned, strict=True):
            loss = info_nce(left, right, self.config.alignment_temperature)
            terms[f"alignment_{name}"] = self.config.alignment_weight * loss
        return terms

    @torch.no_grad()
    def vectors(self) -> tuple[Tensor, Tensor]:
        users, items = self.branches.all()
        return self.read_user(users), self.read_item(items)


class ModalityAlignment(nn.Module):
    """FAC's heads: the id signal meets each modality, in ever fewer dims."""

    def __init__(self, dims: int, n_modalities: int) -> None:
        super().__init__()
        widths = [max(1, dims >> step) for step in range(n_modalities)]
        self.first = nn.Linear(dims, dims)  # g1
        self.heads = nn.ModuleList(nn.Linear(dims, width) for width in widths)  # g2, g6
        self.narrowings = nn.ModuleList(  # g5 after g3
            nn.Sequential(nn.Linear(wide, wide), nn.Linear(wide, narrow))
            for wide, narrow in pairwise(widths)
        )

    def forward(self, signals: tuple[Tensor, ...]) -> list[tuple[Tensor, Tensor]]:
        """Id and modality signals [B, d] -> pairs to contrast, of modality k [B, d / 2^k] each."""
        shared = self.first(signals[0])
        pairs = []
        for step, (head, signal) in enumerate(zip(self.heads, signals[1:], strict=True)):
            if step > 0:
                shared = self.narrowings[step - 1](shared)
            pairs.append((shared, head(signal)))
        return pairs
