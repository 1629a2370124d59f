"""What every recommender is: built from a training view, features and a config; two methods.

Shapes: U users, I items, N = U + I, B batch, D dims of the final vectors.
"""

from __future__ import annotations

from abc import ABC, abstractmethod
from typing import Any, ClassVar

import numpy as np
import torch
from pydantic import Field
from scipy.sparse import csr_array
from torch import Tensor, nn

from lmm4rec.catalogue.corpus import TrainingView
from lmm4rec.features.features import Features
from lmm4rec.params import Section
from lmm4rec.recommenders.shared.content import Content

Losses = dict[str, Tensor]


class TrainedConfig(Section):
    """What the section of every trained recommender holds."""

    learning_rate: float = Field(gt=0)  # Adam's
    weight_decay: float = Field(ge=0)  # Adam's L2 term, on every parameter


class Recommender(nn.Module, ABC):
    """A model whose score of user u and item i is the inner product of their final vectors.

    A subclass is built as `Model(view, features, config)`, with `features` None when it reads ids
    only, and draws its initial weights from torch's global generator (the caller seeds it).
    """

    Config: ClassVar[type[TrainedConfig]]
    config: TrainedConfig
    content: Content  # of models that read features

    @abstractmethod
    def __init__(self, view: TrainingView, features: Features | None, config: Any) -> None:
        super().__init__()
        self.config = config

    def content_changed(self) -> None:
        """Make anew what the model derived from its content: called after `Content.refresh`."""

    def begin_epoch(self, generator: np.random.Generator) -> None:
        """Draw what is random per epoch (edge dropout, masks); called before its first batch."""

    def learning_rate_factor(self, epoch: int) -> float:
        """What the learning rate is multiplied with in an epoch, the first of which is 1."""
        return 1.0

    @abstractmethod
    def losses(self, users: Tensor, positives: Tensor, negatives: Tensor) -> Losses:
        """Named scalar terms, each times its weight, of B triples; their sum is the loss."""

    @abstractmethod
    def vectors(self) -> tuple[Tensor, Tensor]:
        """Final vectors [U, D] and [I, D] under the present weights, without gradient."""


class NeighbourhoodModel(ABC):
    """A model without weights whose scores come as one sparse matrix."""

    Config: ClassVar[type[Section]]

    @abstractmethod
    def __init__(self, view: TrainingView, features: Features | None, config: Any) -> None: ...

    @abstractmethod
    def scores(self) -> csr_array:
        """Score of every user and item, [U, I], zero where nothing is stored."""


def id_table(view: TrainingView, dims: int, device: torch.device | None = None) -> nn.Parameter:
    """One table for users and items [N, D], each part Xavier-uniform on its own shape."""
    table = torch.empty(view.n_users + view.n_items, dims, device=device)
    nn.init.xavier_uniform_(table[: view.n_users])
    nn.init.xavier_uniform_(table[view.n_users :])
    return nn.Parameter(table)
