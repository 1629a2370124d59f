"""Which epoch is kept: Recall@k on the validation split, epoch after epoch."""

from __future__ import annotations

from dataclasses import dataclass, field

import numpy as np
from torch import Tensor

from lmm4rec.catalogue.corpus import TrainingView
from lmm4rec.errors import InputError
from lmm4rec.ranking.ragged import Ragged
from lmm4rec.training.validation import recall_at_k


@dataclass
class History:
    """What happened: one entry per epoch, and which epoch was kept."""

    losses: list[dict[str, float]] = field(default_factory=list)  # mean of each term per epoch
    validation: list[tuple[int, float]] = field(default_factory=list)  # (epoch, Recall@k)
    best_epoch: int = 0
    best_recall: float = -1.0

    def note(self, epoch: int, recall: float) -> bool:
        """Note a validation; whether it is better than all before."""
        self.validation.append((epoch, recall))
        if recall <= self.best_recall:
            return False
        self.best_epoch, self.best_recall = epoch, recall
        return True

    def validations_without_a_better_one(self, counted_from: int = 0) -> int:
        """Those after the best epoch, and after epoch `counted_from`."""
        last = max(self.best_epoch, counted_from)
        return sum(1 for epoch, _ in self.validation if epoch > last)


class Validator:
    """Recall@k of vectors on the validation split, the training items left out."""

    def __init__(self, view: TrainingView, cutoff: int) -> None:
        relevant = Ragged.from_pairs(view.validation.users, view.validation.items, view.n_users)
        self._users = np.flatnonzero(relevant.lengths)  # users with something to find
        self._relevant = relevant.of(self._users)
        seen = Ragged.from_pairs(view.train.users, view.train.items, view.n_users)
        self._seen = seen.of(self._users)
        self._cutoff = cutoff
        if not len(self._users):
            raise InputError(
                "the corpus has no validation interactions to choose the epoch with; check the "
                "dataset's preprocess.split in params.yaml"
            )

    def recall(self, users: Tensor, items: Tensor) -> float:
        """Mean over users of hits in the top k over the number of their validation items."""
        per_user = recall_at_k(
            users.cpu().numpy()[self._users],
            items.cpu().numpy(),
            self._cutoff,
            self._seen,
            self._relevant,
        )
        return float(per_user.mean())
