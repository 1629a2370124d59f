"""MMGCL: three-branch light convolution, two contrasted views, negatives that differ in a modality.

Yi, Wang, Ounis and Macdonald, "Multi-modal graph contrastive learning for micro-video
recommendation", SIGIR 2022. Branches (see branches.py): id and one per modality, with a shared
user table; u = read_user [U^id; U^v; U^t], i = read_item [I^id; I^v; I^t], linear. Score: u . i.

- View 1, edge dropout: all branches on a graph without a share rho of its edges.
- View 2, modality masking: one modality is drawn; its branch runs on a graph in which a share rho
  of the users and of the items have lost all edges, the other branches on the whole graph.
- Challenging negatives of positive i with sampled negative j: in view 1 the drawn modality's
  signal is j's and all else i's, in view 2 every modality's signal is j's.
- Loss: BPR + alpha (NCE(u_1 -> u_2; tau) + NCE(i_1 -> i_2; tau)), on vectors of unit norm, the
  two challenging negatives of item b in the denominator of row b alone.

Choices. The paper's exact equations were not at hand: the two views follow its published
description, the place of the challenging negatives in the loss is ours. The published code differs
from the description (it contrasts users with their positive items on view 1, twice the same term,
and drops view 2 and the challenging negatives): here the description is followed. BPR is exact
instead of log(1e-5 + sigmoid). Graphs are renormalised and drawn anew for every batch, as
published. A user or item that a batch repeats counts among its own negatives. Scores come from the
present weights and the whole graph. Features of unit norm: `scaling: unit`.

A changing graph leaves nothing to propagate beforehand, and rows projected for three graphs cost
what the whole catalogue costs once: a step projects all items once, and convolves all branches on
the whole and the thinned graph and one branch on the third. Memory: the features once, some
(U + I) x 3 d tables, two B x B matrices.
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import Annotated, ClassVar, cast

import numpy as np
import torch
from pydantic import Field
from torch import Tensor, nn
from torch.nn import functional as F

from lmm4rec.catalogue.corpus import TrainingView
from lmm4rec.errors import InputError
from lmm4rec.features.features import Features
from lmm4rec.graphs.bipartite import edge_dropout, node_dropout
from lmm4rec.graphs.sparse import SparseMatrix
from lmm4rec.graphs.user_item import normalised_interactions
from lmm4rec.params import LARGEST, Dimensions, Layers
from lmm4rec.recommenders.shared.base import Losses, Recommender, TrainedConfig
from lmm4rec.recommenders.shared.batches import DistinctItems, distinct_items
from lmm4rec.recommenders.shared.branches import SharedUserBranches
from lmm4rec.recommenders.shared.content import Content, ContentConfig, Modality
from lmm4rec.recommenders.shared.losses import bpr_loss, info_nce, row_scores


class MMGCLConfig(ContentConfig, TrainedConfig):
    dimensions: Dimensions  # of every branch and of the final vectors
    layers: Layers  # of the graph convolution
    dropout: float = Field(ge=0, lt=1)  # rho: share of edges, and of nodes, that a view lacks
    mask_weights: dict[
        Modality, Annotated[float, Field(ge=0, le=LARGEST)]
    ]  # chance of each modality to be drawn, up to a factor
    temperature: float = Field(gt=0)  # tau, of the contrast
    contrast_weight: float = Field(ge=0)  # alpha, of the contrast


class MMGCL(Recommender):
    Config: ClassVar[type[MMGCLConfig]] = MMGCLConfig
    config: MMGCLConfig

    def __init__(self, view: TrainingView, features: Features | None, config: MMGCLConfig) -> None:
        super().__init__(view, features, config)
        self.content = Content(features, config)
        self.chances = _mask_chances(list(self.content.names), config.mask_weights)
        self.branches = SharedUserBranches(
            view, self.content, config.dimensions, config.layers, propagate_features=False
        )
        self.read_user = nn.Linear(self.branches.width, config.dimensions)
        self.read_item = nn.Linear(self.branches.width, config.dimensions)
        self.generator = np.random.default_rng(0)

    def begin_epoch(self, generator: np.random.Generator) -> None:
        self.generator = generator  # of the views of every batch

    def losses(self, users: Tensor, positives: Tensor, negatives: Tensor) -> Losses:
        user_rows, user = torch.unique(users, return_inverse=True)
        items = distinct_items(positives, negatives)
        inputs = self.branches.inputs()  # [I, 3d]
        rows = user_rows, items.rows
        modality = int(self.generator.choice(len(self.chances), p=self.chances))
        whole = self.branches.rows_on(self.branches.graph, inputs, *rows)
        thinned = self.branches.rows_on(self._thinned(), inputs, *rows)
        masked = self._masked(whole, modality, inputs, *rows)
        weight = self.config.contrast_weight
        return {
            "bpr": self._bpr(*whole, user, items),
            "contrast_users": weight * self._contrast_users(thinned[0], masked[0], user),
            "contrast_items": weight * self._contrast_items(thinned[1], masked[1], modality, items),
        }

    @torch.no_grad()
    def vectors(self) -> tuple[Tensor, Tensor]:
        users, items = self.branches.all()
        return self.read_user(users), self.read_item(items)

    def _bpr(self, users: Tensor, items: Tensor, user: Tensor, places: DistinctItems) -> Tensor:
        user_vectors, item_vectors = self.read_user(users)[user], self.read_item(items)
        return bpr_loss(
            row_scores(user_vectors, item_vectors[places.positives]),
            row_scores(user_vectors, item_vectors[places.negatives]),
        )

    def _thinned(self) -> SparseMatrix:
        kept = edge_dropout(self.branches.interactions, self.config.dropout, self.generator)
        return SparseMatrix(normalised_interactions(kept))

    def _masked(
        self, whole: tuple[Tensor, Tensor], modality: int, inputs: Tensor, *rows: Tensor
    ) -> tuple[Tensor, Tensor]:
        """The whole graph's rows with one modality's branch from a graph without some nodes."""
        kept = node_dropout(self.branches.interactions, self.config.dropout, self.generator)
        columns = self._columns(modality)
        replacement = self.branches.rows_on(
            SparseMatrix(normalised_interactions(kept)), inputs[:, columns], *rows
        )
        users, items = (
            _with_columns(side, columns, new) for side, new in zip(whole, replacement, strict=True)
        )
        return users, items

    def _columns(self, modality: int) -> slice:
        """Where a modality's branch stands, after the id branch."""
        dims = self.config.dimensions
        return slice((1 + modality) * dims, (2 + modality) * dims)

    def _contrast_users(self, thinned: Tensor, masked: Tensor, user: Tensor) -> Tensor:
        first, second = (_unit(self.read_user(view))[user] for view in (thinned, masked))
        return info_nce(first, second, self.config.temperature)

    def _contrast_items(
        self, thinned: Tensor, masked: Tensor, modality: int, places: DistinctItems
    ) -> Tensor:
        positive, negative = places.positives, places.negatives
        first, second = (_unit(self.read_item(view))[positive] for view in (thinned, masked))
        of_all = slice(self.config.dimensions, None)
        swaps = (thinned, self._columns(modality)), (masked, of_all)
        challenging = [
            _unit(
                self.read_item(_with_columns(view[positive], columns, view[negative][:, columns]))
            )
            for view, columns in swaps
        ]
        return info_nce(first, second, self.config.temperature, challenging)


def _with_columns(rows: Tensor, columns: slice, new: Tensor) -> Tensor:
    """A copy of `rows` with `new` in the named columns."""
    changed = rows.clone()
    changed[:, columns] = new
    return changed


def _unit(rows: Tensor) -> Tensor:
    return F.normalize(rows, dim=1)


def _mask_chances(names: list[str], weights: Mapping[Modality, float]) -> list[float]:
    """Chances of the modalities in their order, summing to 1."""
    found = [weights.get(cast(Modality, name), 0.0) for name in names]
    if min(found) < 0 or sum(found) <= 0:
        raise InputError(
            f"recommenders.mmgcl.mask_weights in params.yaml: {dict(weights)} gives none of the "
            f"modalities {names} a chance to be drawn; give them weights, none below zero"
        )
    return [weight / sum(found) for weight in found]
