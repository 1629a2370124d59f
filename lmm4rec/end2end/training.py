"""The recommendation loss reaches the encoder: joint training of an encoder and a recommender.

- A step takes B triples. The distinct items of its positives and negatives are encoded with
  gradient (`live.py`); all other items come from a memory bank, without. Both together are the one
  table that the recommender reads (`recommenders/content.py`), so that models whose graphs span the
  catalogue see a consistent one.
- Loss: the recommender's own terms + alignment_weight x the encoder's alignment loss on the live
  items that have a picture and a text. Adam for the recommender, as in ordinary training; AdamW
  for the encoder, with a rate, decay, warm-up and gradient bound of its own.
- The bank is encoded anew after every epoch, and after every `refresh_steps` steps in it. What a
  recommender derives from its content (item graphs) is then made anew, too.
- In the first `freeze_epochs` epochs the recommender is trained alone, on an exact bank, which
  costs as little as ordinary training; those epochs do not count for patience.
- Validation as in ordinary training, on the fresh bank. The best epoch's encoder and vectors are
  what remains, both of the same moment.

Processes that torchrun started share the items of each step and of the bank (`distributed.py`);
each has a copy of the recommender and trains it on all triples, to the very same weights. The
result is that of one process, but for rounding.

Memory: the bank; one micro-batch's activations; encoder and recommender four times over; the
decoded pictures of a step. Time of a step: three forward passes of its items, four where they do
not fit into one micro-batch.
"""

from __future__ import annotations

import logging
from collections.abc import Callable, Iterator
from dataclasses import asdict, dataclass
from itertools import repeat
from pathlib import Path
from typing import Any

import numpy as np
import torch
from torch import Tensor
from tqdm import tqdm

from lmm4rec.adam import AdamW
from lmm4rec.catalogue.corpus import TrainingView
from lmm4rec.distributed import (
    average_gradients,
    averaged,
    is_main,
    numbers_of_all,
    wait_for_all,
)
from lmm4rec.doors import fitting
from lmm4rec.encoders.base import Encoder
from lmm4rec.encoders.item_batches import ItemBatches
from lmm4rec.encoders.tuning.trainable import Trainable
from lmm4rec.encoders.tuning.tuning import ADAM_BETAS, ADAM_EPS
from lmm4rec.encoders.tuning.tuning_curve import CurveRow, spelled
from lmm4rec.end2end.config import EncoderTrainingConfig, EndToEndConfig
from lmm4rec.end2end.live import LiveEncoder, MicroBatch
from lmm4rec.end2end.observation import Observation
from lmm4rec.end2end.step import ALIGNMENT, JointLoss
from lmm4rec.errors import InputError
from lmm4rec.features.features import Features
from lmm4rec.recommenders.shared.base import Recommender
from lmm4rec.resuming import BestWeights, Savepoint
from lmm4rec.training.model_selection import History, Validator
from lmm4rec.training.sampling import Triples, TripleSampler
from lmm4rec.training.training import (
    adam,
    begin_epoch,
    copied,
    finite,
    finite_means,
    log_best,
    on_device,
)
from lmm4rec.training.vectors import Vectors

ADVICE = "lower the encoder's end2end.learning_rate, or the recommender's, in params.yaml"

log = logging.getLogger(__name__)


@dataclass(frozen=True)
class Task:
    """What is trained on what. `build` makes the recommender from the bank of the first moment."""

    view: TrainingView
    items: ItemBatches
    build: Callable[[Features], Recommender]
    modalities: tuple[str, ...]  # what a step encodes
    config: EndToEndConfig
    encoder_config: EncoderTrainingConfig
    seed: int


def train_end_to_end(
    encoder: Encoder, task: Task, micro_batch: int, scratch: Path, device: torch.device
) -> tuple[Vectors, History, list[CurveRow]]:
    """Train `encoder` in place, in eval mode and on CPU in the end; vectors, history and curve.

    `scratch` belongs to these inputs alone: a killed run goes on from the last epoch saved there,
    to the very same result. Raises InputError when something ceases to be finite, or memory ends.
    """
    advice = "set LMM4REC_MICRO_BATCH to fewer, or LMM4REC_CHECKPOINTING=1"
    with fitting(f"{micro_batch} items encoded at once", advice):
        run = _Run(encoder.to(device).eval(), task, micro_batch, scratch, device)
        savepoint = Savepoint(scratch)
        run.resume(savepoint)
        while not run.is_over:
            run.epoch()
            if is_main() and savepoint.save_if_due(run.state):
                run.settle()
    log_best(run.history, task.config)
    return run.finish(), run.history, run.curve


class _Run:
    """The state that moves from epoch to epoch, and the bank, which follows from it."""

    def __init__(
        self, encoder: Encoder, task: Task, micro_batch: int, scratch: Path, device: torch.device
    ) -> None:
        self._task, self._config, self._device = task, task.config, device
        torch.manual_seed(task.seed)  # low-rank changes start at random
        self._trainable = Trainable(encoder, task.encoder_config.tune)
        self._encoder = LiveEncoder(
            encoder, task.modalities, task.encoder_config.precision, micro_batch, device
        )
        self._observation = Observation(encoder, task.seed)
        task.items.keep_decoded()
        self._bank = self._encoder.all(task.items, task.view.item_ids)
        torch.manual_seed(task.seed)  # the recommender starts as in ordinary training
        self._model = task.build(self._bank).to(device)
        self._sampler = TripleSampler(task.view.train, task.view.n_users, task.seed)
        self._validator = Validator(task.view, self._config.validation_cutoff)
        self._loss = JointLoss(self._encoder, self._model, self._config.alignment_weight)
        self._model_optimizer = adam(self._model)
        rates = task.encoder_config
        self._encoder_optimizer = AdamW(
            self._trainable.groups(rates.learning_rate, rates.weight_decay, rates.layer_decay),
            ADAM_BETAS,
            ADAM_EPS,
        )
        self._encoder_steps = 0
        self._scratch, self._best = scratch, BestWeights(scratch)
        self.history, self.curve = History(), list[CurveRow]()
        self._fill_content()

    @property
    def is_over(self) -> bool:
        waited = self.history.validations_without_a_better_one(self._config.freeze_epochs)
        done = len(self.history.losses)
        return done >= self._config.maximum_epochs or waited >= self._config.patience

    def epoch(self) -> None:
        number = len(self.history.losses) + 1
        is_frozen = number <= self._config.freeze_epochs
        seed = np.random.SeedSequence([self._task.seed, number]).generate_state(1)[0]
        torch.manual_seed(int(seed))  # what models draw in their losses
        begin_epoch(self._model, self._model_optimizer, self._task.seed, number)
        losses = self._train(number, is_frozen)
        self.history.losses.append(losses)
        if not is_frozen:
            self._refresh()
        if number % self._config.validate_every == 0 or number == self._config.maximum_epochs:
            self._validate(number)
        self.curve.append(self._row(number, losses))
        log.info("epoch %d: %s", number, spelled(self.curve[-1]))

    def _train(self, number: int, is_frozen: bool) -> dict[str, float]:
        """One pass over all triples; the mean of each loss term over its steps."""
        steps = list(self._sampler.epoch(number, self._config.batch_size))
        self._model.train()
        totals: dict[str, Tensor] = {}
        served = repeat(None) if is_frozen else self._served(steps)
        shown = tqdm(
            zip(steps, served, strict=False), f"epoch {number}", len(steps), unit=" steps",
            mininterval=1.0, disable=is_frozen or not is_main(),
        )  # fmt: skip
        for done, (triples, parts) in enumerate(shown, start=1):
            terms = self._step(triples, parts)
            for name, term in terms.items():
                totals[name] = totals.get(name, torch.zeros((), device=self._device)) + term
            every = self._config.refresh_steps
            if every is not None and done % every == 0 and done < len(steps) and not is_frozen:
                self._refresh()
        return finite_means(totals, len(steps), number, ADVICE)

    def _served(self, steps: list[Triples]) -> Iterator[list[MicroBatch]]:
        items = [np.unique(np.concatenate([t.positives, t.negatives])) for t in steps]
        return self._encoder.served(self._task.items, [rows.astype(np.int64) for rows in items])

    def _step(self, triples: Triples, parts: list[MicroBatch] | None) -> dict[str, Tensor]:
        """One step of the recommender, and of the encoder unless it is frozen."""
        self._model_optimizer.zero_grad()
        self._encoder_optimizer.zero_grad()
        terms = self._loss.backward(on_device(triples, self._device), parts)
        average_gradients(self._model.parameters())  # alike but for rounding, now in every bit
        self._model_optimizer.step()
        if parts is not None:
            self._step_encoder()
        return terms

    def _step_encoder(self) -> None:
        self._encoder_steps += 1
        warmup = self._task.encoder_config.warmup_steps
        for group in self._encoder_optimizer.param_groups:
            group["lr"] = group["peak"] * min(1.0, self._encoder_steps / max(warmup, 1))
        trained = self._encoder_optimizer.parameters
        average_gradients(trained)
        torch.nn.utils.clip_grad_norm_(trained, self._task.encoder_config.gradient_norm)
        self._encoder_optimizer.step()

    def _refresh(self) -> None:
        """Encode every item anew."""
        self._bank = self._encoder.all(self._task.items, self._task.view.item_ids)
        if not all(np.isfinite(matrix).all() for matrix in self._bank.matrices.values()):
            raise InputError(
                f"training diverged in epoch {len(self.history.losses)}: the encoder's embeddings "
                f"are not finite; {ADVICE}"
            )
        self._fill_content()

    def _fill_content(self) -> None:
        self._model.content.refresh(self._bank)
        self._model.content_changed()

    def _validate(self, number: int) -> None:
        users, items = finite(self._model.vectors(), number)
        recall = torch.tensor(self._validator.recall(users, items), dtype=torch.float64)
        # The mean, so that all processes choose the same epoch and stop at the same one.
        is_best = self.history.note(number, float(averaged(recall.to(self._device))))
        if is_best and is_main():
            encoder = self._encoder.encoder.state_dict()
            self._best.save(number, {"encoder": encoder, "users": users, "items": items})

    def _row(self, number: int, losses: dict[str, float]) -> CurveRow:
        alignment = losses.get(ALIGNMENT)
        weight = self._config.alignment_weight
        last = self.history.validation[-1] if self.history.validation else (0, 0.0)
        return {
            "epoch": number,
            "recommendation_loss": sum(v for name, v in losses.items() if name != ALIGNMENT),
            "alignment_loss": None if alignment is None else alignment / weight,
            "validation_recall": last[1] if last[0] == number else None,
            "encoder_drift": self._observation.drift(),
            "bank_alignment_loss": self._observation.alignment_loss(self._bank),
        }

    def resume(self, savepoint: Savepoint) -> None:
        """Go on where an earlier process stopped, if one did."""
        state = savepoint.load(self._device)
        found = numbers_of_all(0 if state is None else len(state["curve"]), self._device)
        if len(set(found)) > 1:
            raise InputError(
                f"{self._scratch}: only some processes of this run find what was saved in it; "
                "let all machines share the project's folder"
            )
        if state is None:
            return
        self._encoder.encoder.load_state_dict(state["encoder"])
        self._model.load_state_dict(state["model"])
        self._encoder_optimizer.load_state_dict(state["encoder_optimizer"])
        self._model_optimizer.load_state_dict(state["model_optimizer"])
        self._encoder_steps = state["encoder_steps"]
        self.history, self.curve = History(**state["history"]), state["curve"]
        if is_main():
            self.settle()
        self._refresh()
        log.info("going on after epoch %d", len(self.history.losses))

    def state(self) -> dict[str, Any]:
        return {
            "encoder": self._encoder.encoder.state_dict(),
            "model": self._model.state_dict(),
            "encoder_optimizer": self._encoder_optimizer.state_dict(),
            "model_optimizer": self._model_optimizer.state_dict(),
            "encoder_steps": self._encoder_steps,
            "history": asdict(self.history),
            "curve": self.curve,
        }

    def settle(self) -> None:
        """The history as it is now has been saved."""
        if self.history.validation:
            self._best.settle(self.history.best_epoch)

    def finish(self) -> Vectors:
        """The encoder as it was built, with the weights of the best epoch; its vectors."""
        wait_for_all()  # the best epoch may only now have been written
        best = self._best.load(self.history.best_epoch, self._device)
        wait_for_all()  # nobody removes it before all have read it
        encoder = self._encoder.encoder
        encoder.load_state_dict(best["encoder"])
        self._trainable.finish()
        encoder.eval().to("cpu")
        return copied((best["users"], best["items"]), self._task.view)
