"""Training a recommender: epochs of triples, early stopping on validation, the best epoch kept.

The protocol is one for all recommenders: one negative per training pair and epoch, Adam, and
after every epoch Recall@k on the validation split over all items with the training items left
out. Training stops when `patience` validations in a row brought nothing better; the vectors of
the best epoch are what remains. The test split is nowhere in sight.

A run that was killed goes on from the last epoch that was saved, to the very same result.
"""

from __future__ import annotations

import logging
import math
from dataclasses import asdict
from typing import Any

import numpy as np
import torch
from torch import Tensor
from tqdm import tqdm

from lmm4rec.adam import Adam
from lmm4rec.catalogue.corpus import TrainingView
from lmm4rec.devices import use_one_thread_if_small
from lmm4rec.errors import InputError
from lmm4rec.params import BatchSize, Cutoff, Epochs, Section
from lmm4rec.recommenders.shared.base import NeighbourhoodModel, Recommender, TrainedConfig
from lmm4rec.resuming import Savepoint, random_state, set_random_state
from lmm4rec.training.model_selection import History, Validator
from lmm4rec.training.sampling import Triples, TripleSampler
from lmm4rec.training.vectors import SparseScores, Vectors

ADVICE = "lower the recommender's learning_rate or set its scaling in params.yaml"

log = logging.getLogger(__name__)


class TrainingConfig(Section):
    """The protocol: params.yaml's `training` section."""

    batch_size: BatchSize  # triples a step
    maximum_epochs: Epochs
    patience: Epochs  # validations in a row without a better one, then stop
    validate_every: Epochs  # epochs
    validation_cutoff: Cutoff  # k of the Recall@k that chooses the epoch


def train(
    model: Recommender,
    view: TrainingView,
    config: TrainingConfig,
    seed: int,
    device: torch.device,
    savepoint: Savepoint | None = None,
) -> tuple[Vectors, History]:
    """Train until validation stops improving; the best epoch's vectors and the history.

    Goes on from `savepoint` if it holds a state. Raises `InputError` when the loss or the vectors
    cease to be finite.
    """
    model.to(device)
    use_one_thread_if_small(sum(parameter.numel() for parameter in model.parameters()))
    run = _Run(model, view, config, seed, device)
    if savepoint is not None:
        run.resume(savepoint)
    progress = tqdm(
        range(len(run.history.losses) + 1, config.maximum_epochs + 1),
        total=config.maximum_epochs, initial=len(run.history.losses), unit="epoch", disable=None,
    )  # fmt: skip
    for epoch in progress:
        run.train_epoch(epoch)
        if epoch % config.validate_every == 0 or epoch == config.maximum_epochs:
            run.validate(epoch)
            best = run.history.best_recall
            progress.set_postfix(recall=f"{run.history.validation[-1][1]:.4f}", best=f"{best:.4f}")
            if run.history.validations_without_a_better_one() >= config.patience:
                break
        if savepoint is not None:
            savepoint.save_if_due(run.state)
    progress.close()
    log_best(run.history, config)
    return run.best, run.history


class _Run:
    """The state that moves from epoch to epoch: weights, optimizer, history, the best vectors."""

    def __init__(
        self,
        model: Recommender,
        view: TrainingView,
        config: TrainingConfig,
        seed: int,
        device: torch.device,
    ) -> None:
        self._model, self._view, self._config = model, view, config
        self._seed, self._device = seed, device
        self._sampler = TripleSampler(view.train, view.n_users, seed)
        self._validator = Validator(view, config.validation_cutoff)
        self._optimizer = adam(model)
        self.history, self.best = History(), copied(model.vectors(), view)

    def train_epoch(self, epoch: int) -> None:
        begin_epoch(self._model, self._optimizer, self._seed, epoch)
        losses = _run_epoch(
            self._model, self._optimizer, self._sampler, epoch, self._config, self._device
        )
        self.history.losses.append(losses)

    def validate(self, epoch: int) -> None:
        vectors = finite(self._model.vectors(), epoch)
        if self.history.note(epoch, self._validator.recall(*vectors)):
            self.best = copied(vectors, self._view)

    def resume(self, savepoint: Savepoint) -> None:
        """Go on where an earlier process stopped, if one did."""
        state = savepoint.load(self._device)
        if state is None:
            return
        self._model.load_state_dict(state["model"])
        self._optimizer.load_state_dict(state["optimizer"])
        self.history = History(**state["history"])
        self.best = copied((state["users"], state["items"]), self._view)
        set_random_state(state["random"], self._device)
        log.info("going on after epoch %d", len(self.history.losses))

    def state(self) -> dict[str, Any]:
        return {
            "model": self._model.state_dict(),
            "optimizer": self._optimizer.state_dict(),
            "history": asdict(self.history),
            "users": torch.from_numpy(self.best.users),
            "items": torch.from_numpy(self.best.items),
            "random": random_state(self._device),
        }


def score(model: NeighbourhoodModel, view: TrainingView) -> SparseScores:
    """The scores of a model without weights."""
    return SparseScores(view.user_ids, view.item_ids, model.scores())


def begin_epoch(model: Recommender, optimizer: Adam, seed: int, epoch: int) -> None:
    """What changes from epoch to epoch: the model's draws and its learning rate."""
    model.begin_epoch(np.random.default_rng([seed, epoch]))
    optimizer.learning_rate = model.config.learning_rate * model.learning_rate_factor(epoch)


def _run_epoch(
    model: Recommender,
    optimizer: Adam,
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
        terms = model.losses(*on_device(triples, device))
        optimizer.zero_grad()
        torch.stack(list(terms.values())).sum().backward()  # type: ignore[no-untyped-call]
        optimizer.step()
        n_batches += 1
        for name, term in terms.items():
            totals[name] = totals.get(name, torch.zeros((), device=device)) + term.detach()
    return finite_means(totals, n_batches, epoch)


def on_device(triples: Triples, device: torch.device) -> tuple[Tensor, Tensor, Tensor]:
    """Users, positives and negatives, int64 [B] each."""
    users, positives, negatives = (
        torch.from_numpy(rows).to(device, torch.int64)
        for rows in (triples.users, triples.positives, triples.negatives)
    )
    return users, positives, negatives


def finite_means(
    totals: dict[str, Tensor], n_batches: int, epoch: int, advice: str = ADVICE
) -> dict[str, float]:
    """The mean of each loss term over the batches of an epoch; InputError: one is not finite."""
    means = {name: float(total) / n_batches for name, total in totals.items()}
    if not all(math.isfinite(mean) for mean in means.values()):
        raise InputError(f"training diverged in epoch {epoch} (loss terms: {means}); {advice}")
    return means


def adam(model: Recommender) -> Adam:
    config: TrainedConfig = model.config
    return Adam(model.parameters(), config.learning_rate, config.weight_decay)


def copied(vectors: tuple[Tensor, Tensor], view: TrainingView) -> Vectors:
    """A copy that later steps do not touch."""
    users, items = (part.detach().cpu().numpy().copy() for part in vectors)
    return Vectors(view.user_ids, view.item_ids, users, items)


def finite(vectors: tuple[Tensor, Tensor], epoch: int) -> tuple[Tensor, Tensor]:
    if not all(bool(torch.isfinite(part).all()) for part in vectors):
        raise InputError(
            f"training diverged: the vectors of epoch {epoch} are not finite; {ADVICE}"
        )
    return vectors


def log_best(history: History, config: TrainingConfig) -> None:
    log.info(
        "best of %d epochs: %d, validation recall@%d %.4f",
        len(history.losses), history.best_epoch, config.validation_cutoff, history.best_recall,
    )  # fmt: skip
