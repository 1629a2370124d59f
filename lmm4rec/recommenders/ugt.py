"""UGT: signals of a unified encoder in one graph network, fused by attention.

After Yi and Ounis, "A unified graph transformer for overcoming isolations in multi-modal
recommendation", arXiv 2407.19886: features of a multi-way transformer (BEiT-3, VLMo; here a
features folder), a unified graph network that fuses modality and id signals by attention, and BPR
with an image-text contrastive loss. Only this outline is the paper's: its equations were not at
hand, and all of the following is ours.

- Signals: branches (see branches.py) of the id tables and of each modality's projection, on the
  one user-item graph with one user table: x_n^b = row n of LGC([E_u; X_b]).
- Fusion, for users and items alike: a_n^b = softmax over b of q . tanh(W x_n^b + c),
  z_n = sum_b a_n^b x_n^b. Score: z_u . z_i.
- Loss: BPR + contrast_weight x (NCE(v -> t; tau) + NCE(t -> v; tau)) / 2, with v, t the projected
  image and text of the batch's distinct positive items, of unit norm, before the graph: what the
  encoder's own ITC would be in the space in which the signals are fused. Without an image or a
  text matrix there is no such term; `fused` vectors are one more signal.

A step convolves the id tables alone and projects the batch's rows of features propagated once.
Memory: the features twice over, (U + I) x content dims the second time (branches.py has the
limit); a B x B matrix.
"""

from __future__ import annotations

from typing import ClassVar

import torch
from pydantic import Field
from torch import Tensor, nn
from torch.nn import functional as F

from lmm4rec.catalogue.corpus import TrainingView
from lmm4rec.features.features import Features
from lmm4rec.params import Dimensions, Layers
from lmm4rec.recommenders.shared.base import Losses, Recommender, TrainedConfig
from lmm4rec.recommenders.shared.batches import distinct_items
from lmm4rec.recommenders.shared.branches import SharedUserBranches, propagated_features_fit
from lmm4rec.recommenders.shared.content import Content, ContentConfig
from lmm4rec.recommenders.shared.losses import bpr_loss, info_nce, row_scores


class UGTConfig(ContentConfig, TrainedConfig):
    dimensions: Dimensions  # of every signal and of the final vectors
    layers: Layers  # of the graph convolution
    temperature: float = Field(gt=0)  # tau, of the image-text contrast
    contrast_weight: float = Field(ge=0)  # of the image-text contrast


class UGT(Recommender):
    Config: ClassVar[type[UGTConfig]] = UGTConfig
    config: UGTConfig

    def __init__(self, view: TrainingView, features: Features | None, config: UGTConfig) -> None:
        super().__init__(view, features, config)
        self.content = Content(features, config)
        self.branches = SharedUserBranches(
            view,
            self.content,
            config.dimensions,
            config.layers,
            propagate_features=propagated_features_fit(view, self.content),
        )
        self.fusion = AttentiveFusion(config.dimensions)

    def content_changed(self) -> None:
        self.branches.content_changed()

    def losses(self, users: Tensor, positives: Tensor, negatives: Tensor) -> Losses:
        user_rows, user_places = torch.unique(users, return_inverse=True)
        items = distinct_items(positives, negatives)
        user_signals, item_signals = self.branches.rows(user_rows, items.rows)
        user = self.fusion(user_signals)[user_places]  # [B, d]
        item = self.fusion(item_signals)  # [R, d]
        scores = (row_scores(user, item[places]) for places in (items.positives, items.negatives))
        terms = {"bpr": bpr_loss(*scores)}
        if {"image", "text"} <= set(self.branches.names):
            terms["contrast"] = self.config.contrast_weight * self._contrast(
                torch.unique(positives)
            )
        return terms

    def _contrast(self, items: Tensor) -> Tensor:
        image, text = (
            F.normalize(self.branches.projected(name, items), dim=1) for name in ("image", "text")
        )
        temperature = self.config.temperature
        both = info_nce(image, text, temperature) + info_nce(text, image, temperature)
        return both / 2

    @torch.no_grad()
    def vectors(self) -> tuple[Tensor, Tensor]:
        users, items = self.branches.all()
        return self.fusion(users), self.fusion(items)


class AttentiveFusion(nn.Module):
    """A node's signals, weighed by what they say."""

    def __init__(self, dims: int) -> None:
        super().__init__()
        self.hidden = nn.Linear(dims, dims)  # W, c
        self.query = nn.Linear(dims, 1, bias=False)  # q

    def forward(self, signals: Tensor) -> Tensor:
        """Signals side by side [R, b d] -> [R, d]."""
        stacked = signals.view(len(signals), -1, self.hidden.in_features)  # [R, b, d]
        weights = torch.softmax(self.query(torch.tanh(self.hidden(stacked))), dim=1)  # [R, b, 1]
        fused: Tensor = (weights * stacked).sum(dim=1)
        return fused
