"""Training a recommender: epochs of triples, early stopping on validation, the best epoch kept.

The protocol is one for all recommenders: one negative per training pair and epoch, Adam, and
after every epoch Recall@k on the validation split over all items with the training items left
out. Training stops when `patience` validations in a row brought nothing better; the vectors of
the best epoch are what remains. The test split is nowhere in sight.
"""

from __future__ import annotations

import logging
import math
from dataclasses import dataclass, field

import numpy as np
import torch
from pydantic import Field
from torch import Tensor
from tqdm import tqdm

from lmm4rec.corpus import TrainingView
from lmm4rec.devices import use_one_thread_if_small
from lmm4rec.errors import InputError
from lmm4rec.params import Section
from lmm4rec.ragged import Ragged
from lmm4rec.recommenders.base import NeighbourhoodModel, Recommender, TrainedConfig
from lmm4rec.sampling import TripleSampler
from lmm4rec.validation import recall_at_k
from lmm4rec.vectors import SparseScores, Vectors

log = logging.getLogger(__name__)


class TrainingConfig(Section):
    """The protocol: params.yaml's `training` section."""

    batch_size: int = Field(gt=0)  # triples a step
    maximum_epochs: int = Field(gt=0)
    patience: int = Field(gt=0)  # validations in a row without a better one, then stop
    validate_every: int = Field(gt=0)  # epochs
    validation_cutoff: int = Field(gt=0)  # k of the Recall@k that chooses the epoch


@dataclass
class History:
    """What happened: one entry per epoch, and which epoch was kept."""

    losses: list[dict[str, float]] = field(default_factory=list)  # mean of each term per epoch
    validation: list[tuple[int, float]] = field(default_factory=list)  # (epoch, Recall@k)
    best_epoch: int = 0
    best_recall: float = -1.0


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


def train(
    model: Recommender, view: TrainingView, config: TrainingConfig, seed: int, device: torch.device
) -> tuple[Vectors, History]:
    """Train until validation stops improving; the best epoch's vectors and the history.

    Raises `InputError` when the loss or the vectors cease to be finite.
    """
    model.to(device)
    use_one_thread_if_small(sum(parameter.numel() for parameter in model.parameters()))
    sampler = TripleSampler(view.train, view.n_users, seed)
    validator = Validator(view, config.validation_cutoff)
    optimizer = _adam(model)
    history, best = History(), _copied(model.vectors(), view)
    progress = tqdm(range(1, config.maximum_epochs + 1), unit="epoch", disable=None)
    for epoch in progress:
        model.begin_epoch(np.random.default_rng([seed, epoch]))
        for group in optimizer.param_groups:
            group["lr"] = model.config.learning_rate * model.learning_rate_factor(epoch)
        history.losses.append(_run_epoch(model, optimizer, sampler, epoch, config, device))
        if epoch % config.validate_every and epoch != config.maximum_epochs:
            continue
        vectors = _finite(model.vectors(), epoch)
        recall = validator.recall(*vectors)
        history.validation.append((epoch, recall))
        progress.set_postfix(recall=f"{recall:.4f}", best=f"{history.best_recall:.4f}")
        if recall > history.best_recall:
            history.best_epoch, history.best_recall = epoch, recall
            best = _copied(vectors, view)
        elif _validations_since(history) >= config.patience:
            break
    progress.close()
    log.info(
        "best of %d epochs: %d, validation recall@%d %.4f",
        len(history.losses), history.best_epoch, config.validation_cutoff, history.best_recall,
    )  # fmt: skip
    return best, history


def score(model: NeighbourhoodModel, view: TrainingView) -> SparseScores:
    """The scores of a model without weights."""
    return SparseScores(view.user_ids, view.item_ids, model.scores())


def _run_epoch(
    model: Recommender,
    optimizer: torch.optim.Optimizer,
    sampler: TripleSampler,
    epoch: int,
    config: TrainingConfig,
    device: torch.device,
) -> dict[str, float]:
    """One pass over all triples; the mean of each loss term over its batches."""
    model.train()
    totals: dict[str, Tensor] = {}
    n_batches = 0
    for triples in sampler.epoch(epoch, config.batch_size):
        users, positives, negatives = (
            torch.from_numpy(rows).to(device, torch.int64)
            for rows in (triples.users, triples.positives, triples.negatives)
        )
        terms = model.losses(users, positives, negatives)
        optimizer.zero_grad(set_to_none=True)
        torch.stack(list(terms.values())).sum().backward()  # type: ignore[no-untyped-call]
        optimizer.step()
        n_batches += 1
        for name, term in terms.items():
            totals[name] = totals.get(name, torch.zeros((), device=device)) + term.detach()
    means = {name: float(total) / n_batches for name, total in totals.items()}
    if not all(math.isfinite(mean) for mean in means.values()):
        raise InputError(
            f"training diverged in epoch {epoch} (loss terms: {means}); lower the recommender's "
            "learning_rate or set its scaling in params.yaml"
        )
    return means


def _adam(model: Recommender) -> torch.optim.Adam:
    config: TrainedConfig = model.config
    return torch.optim.Adam(
        model.parameters(), lr=config.learning_rate, weight_decay=config.weight_decay, fused=True
    )


def _copied(vectors: tuple[Tensor, Tensor], view: TrainingView) -> Vectors:
    """A copy that later steps do not touch."""
    users, items = (part.detach().cpu().numpy().copy() for part in vectors)
    return Vectors(view.user_ids, view.item_ids, users, items)


def _finite(vectors: tuple[Tensor, Tensor], epoch: int) -> tuple[Tensor, Tensor]:
    if not all(bool(torch.isfinite(part).all()) for part in vectors):
        raise InputError(
            f"training diverged: the vectors of epoch {epoch} are not finite; lower the "
            "recommender's learning_rate or set its scaling in params.yaml"
        )
    return vectors


def _validations_since(history: History) -> int:
    return sum(1 for epoch, _ in history.validation if epoch > history.best_epoch)
