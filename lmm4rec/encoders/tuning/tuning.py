"""Training an encoder on pictures and their texts with its own objective.

One loop for pre-training tiny encoders and for fine-tuning on a catalogue: AdamW with warm-up and
cosine, held-out pairs, the epoch with the smallest held-out loss kept (epoch 0, before training,
included: tuning never hands back something worse). Each epoch starts from seeds of its own, so a
run that was killed goes on from its last whole epoch to the very same result.

The other rows of a batch serve as negatives. Items that look or read alike are then false
negatives; what share of a batch they are depends on the catalogue and on the batch size alone.
"""

from __future__ import annotations

import logging
import math
from pathlib import Path
from typing import Literal

import numpy as np
import torch
from pydantic import Field
from torch import Tensor
from tqdm import tqdm

from lmm4rec.adam import AdamW
from lmm4rec.distributed import (
    average_gradients,
    averaged,
    gather,
    is_main,
    numbers_of_all,
    ranks,
    wait_for_all,
)
from lmm4rec.encoders.base import Encoder
from lmm4rec.encoders.item_batches import Rows
from lmm4rec.encoders.picture_texts import PicturesWithTexts
from lmm4rec.encoders.tuning.pair_batches import PairBatches
from lmm4rec.encoders.tuning.retrieval import retrieval_recall
from lmm4rec.encoders.tuning.trainable import Trainable, Tune
from lmm4rec.encoders.tuning.tuning_curve import CurveRow, best_epoch, curve_row, spelled
from lmm4rec.errors import InputError
from lmm4rec.params import Epochs, Section, Seed
from lmm4rec.resuming import BestWeights, load_state, save_state

# Radford et al. 2021, table 18: a shorter memory of squares than Adam's own.
ADAM_BETAS = (0.9, 0.98)
ADAM_EPS = 1e-6

log = logging.getLogger(__name__)


class TuningConfig(Section):
    """How an encoder is trained: `encoders.<name>.finetune` in params.yaml."""

    seed: Seed  # of the order, the held-out pairs and the augmentation
    epochs: Epochs
    batch_size: int = Field(ge=2, le=1_000_000)  # pairs a step; the others are negatives
    learning_rate: float = Field(gt=0)  # AdamW's, at its peak
    weight_decay: float = Field(ge=0)  # AdamW's, on matrices alone
    warmup_share: float = Field(ge=0, lt=1)  # of all steps; then a cosine to 0
    layer_decay: float = Field(gt=0, le=1)  # learning rate of a block over that of the next
    gradient_norm: float = Field(gt=0)  # longer gradients are cut to it
    validation_share: float = Field(gt=0, lt=1)  # of the pairs, held out
    augment: bool  # vary the pictures in training
    precision: Literal["float32", "bfloat16"]  # of the matrix products
    tune: Tune


def tune_encoder(
    encoder: Encoder,
    source: PicturesWithTexts,
    config: TuningConfig,
    scratch: Path,
    device: torch.device,
    workers: int,
) -> list[CurveRow]:
    """Train `encoder` in place, in eval mode and on CPU in the end; one row per epoch, from 0.

    `scratch` holds the last whole epoch and belongs to these inputs alone. Processes of one run
    share each batch and all end with the same encoder. Raises InputError for too few pairs and when
    the loss ceases to be finite.
    """
    train_rows, held_out = split_rows(source.complete_rows(), config)
    _refuse_empty_parts(min(config.batch_size, len(train_rows), len(held_out)))
    encoder.to(device)
    run = _Run(encoder, config, len(train_rows), device, scratch)
    run.resume()
    if run.epochs_done < config.epochs:
        batches = PairBatches(encoder, source, workers, device)
        unvaried = [held_out] if config.augment else [train_rows, held_out]
        batches.keep_decoded(np.sort(np.concatenate(unvaried)))
        if not run.curve:
            run.keep(curve_row(0, None, None, run.validate(batches, held_out)))
        for epoch in range(run.epochs_done + 1, config.epochs + 1):
            losses = run.train_epoch(batches, train_rows, epoch)
            run.keep(curve_row(epoch, run.learning_rate, losses, run.validate(batches, held_out)))
    run.finish()
    return run.curve


class _Run:
    """The state that moves from epoch to epoch: weights, optimizer, curve, and the best weights."""

    def __init__(
        self,
        encoder: Encoder,
        config: TuningConfig,
        n_train: int,
        device: torch.device,
        scratch: Path,
    ) -> None:
        self.encoder, self.config, self.device = encoder, config, device
        torch.manual_seed(config.seed)  # low-rank changes start at random
        self._trainable = Trainable(encoder, config.tune)
        groups = self._trainable.groups(
            config.learning_rate, config.weight_decay, config.layer_decay
        )
        self._optimizer = AdamW(groups, ADAM_BETAS, ADAM_EPS)
        self._batch_size = min(config.batch_size, n_train)
        self._steps_an_epoch = n_train // self._batch_size
        self._latest, self._best = scratch / "latest.pt", BestWeights(scratch)
        self.curve: list[CurveRow] = []
        self.learning_rate = 0.0

    @property
    def epochs_done(self) -> int:
        return max(len(self.curve) - 1, 0)

    def train_epoch(self, batches: PairBatches, rows: Rows, epoch: int) -> dict[str, float]:
        """One pass over the training pairs but for an incomplete last batch; mean loss terms."""
        seeds = np.random.SeedSequence([self.config.seed, epoch]).spawn(3)
        order, augmenting, chance = (np.random.default_rng(seed) for seed in seeds)
        torch.manual_seed(int(chance.integers(2**62)))
        shuffled = order.permutation(rows)
        cuts = range(0, self._steps_an_epoch * self._batch_size, self._batch_size)
        plan = [shuffled[start : start + self._batch_size] for start in cuts]
        augmenting_seed = int(augmenting.integers(2**31)) if self.config.augment else None
        totals: dict[str, Tensor] = {}
        self.encoder.train()
        served = batches.batches(plan, augmenting_seed)
        shown = tqdm(
            served, f"epoch {epoch}", len(plan), unit=" steps", mininterval=1.0,
            disable=not is_main(),
        )  # fmt: skip
        for step, (pixels, tokens) in enumerate(shown):
            self._set_learning_rate((epoch - 1) * self._steps_an_epoch + step)
            for name, term in self._step(pixels, tokens).items():
                totals[name] = totals.get(name, torch.zeros((), device=self.device)) + term
        means = {name: float(averaged(total)) / len(plan) for name, total in totals.items()}
        _refuse_not_finite(means, epoch)
        return means

    def _step(self, pixels: Tensor, tokens: dict[str, Tensor]) -> dict[str, Tensor]:
        with self._autocast():
            terms = self.encoder.losses(pixels, tokens)
        loss = torch.stack(list(terms.values())).sum()
        self._optimizer.zero_grad()
        loss.backward()  # type: ignore[no-untyped-call]
        trained = self._optimizer.parameters
        average_gradients(trained)
        torch.nn.utils.clip_grad_norm_(trained, self.config.gradient_norm)
        self._optimizer.step()
        return {name: term.detach() for name, term in terms.items()}

    @torch.no_grad()
    def validate(self, batches: PairBatches, rows: Rows) -> dict[str, float]:
        """Loss on the held-out pairs, in batches as in training, and their retrieval recall."""
        self.encoder.eval()
        torch.manual_seed(self.config.seed)  # objectives that draw chance draw the same each time
        parts = max(1, len(rows) // self._batch_size)
        images: list[Tensor] = []
        texts: list[Tensor] = []
        losses: list[float] = []
        for pixels, tokens in batches.batches(np.array_split(rows, parts)):
            with self._autocast():
                terms = self.encoder.losses(pixels, tokens)
                images.append(gather(self.encoder.matching_images(pixels).float()).cpu())
                texts.append(gather(self.encoder.matching_texts(tokens).float()).cpu())
            total = averaged(torch.stack(list(terms.values())).sum())
            losses.append(float(total) * len(images[-1]))
        if not images:
            raise InputError(
                "none of the held-out pictures can be read, so nothing says which epoch is best; "
                "run stage images again"
            )
        pairs = sum(map(len, images))
        loss = sum(losses) / pairs
        _refuse_not_finite({"validation_loss": loss}, len(self.curve))
        recalls = retrieval_recall(torch.cat(images), torch.cat(texts))
        return {"held_out_pairs": pairs, "validation_loss": loss, **recalls}

    def keep(self, row: CurveRow) -> None:
        """Note an epoch; put its state, and its weights if they are the best, into the scratch."""
        self.curve.append(row)
        log.info("epoch %d: %s", row["epoch"], spelled(row))
        if not is_main():
            return
        best = best_epoch(self.curve)
        if best == row["epoch"]:
            self._best.save(best, self.encoder.state_dict())
        if row["epoch"] == 0:
            return  # nothing that the next run could not have as fast
        state = {
            "curve": self.curve,
            "encoder": self.encoder.state_dict(),
            "optimizer": self._optimizer.state_dict(),
        }
        save_state(self._latest, state)
        self._best.settle(best)

    def resume(self) -> None:
        """Go on where an earlier process stopped, if one did."""
        if self._latest.exists():
            state = load_state(self._latest, self.device)
            self.curve = state["curve"]
            self.encoder.load_state_dict(state["encoder"])
            self._optimizer.load_state_dict(state["optimizer"])
            if is_main():
                self._best.settle(best_epoch(self.curve))
            log.info("going on after epoch %d", self.epochs_done)
        if len(set(numbers_of_all(self.epochs_done, self.device))) > 1:
            raise InputError(
                f"{self._latest}: only some processes of this run find it; let all machines share "
                "the project's folder"
            )

    def finish(self) -> None:
        """The encoder with its best weights, as it was built; the scratch is needed no longer."""
        wait_for_all()  # the best epoch may only now have been written
        best = self._best.load(best_epoch(self.curve), self.device)
        self.encoder.load_state_dict(best)
        self._trainable.finish()
        self.encoder.eval().to("cpu")
        wait_for_all()
        log.info("kept epoch %d of %d", best_epoch(self.curve), self.epochs_done)

    def _set_learning_rate(self, step: int) -> None:
        steps = self.config.epochs * self._steps_an_epoch
        share = scheduled_share(step, steps, round(self.config.warmup_share * steps))
        for group in self._optimizer.param_groups:
            group["lr"] = group["peak"] * share
        self.learning_rate = self.config.learning_rate * share

    def _autocast(self) -> torch.autocast:
        return torch.autocast(
            self.device.type, torch.bfloat16, enabled=self.config.precision == "bfloat16"
        )


def split_rows(rows: Rows, config: TuningConfig) -> tuple[Rows, Rows]:
    """(training rows, held-out rows), both ascending; the seed chooses."""
    n_held_out = max(2, round(config.validation_share * len(rows)))
    if len(rows) - n_held_out < 2:
        raise InputError(
            f"only {len(rows)} items have both a picture and a text, too few to train an encoder "
            "on; take the encoder out of run.tuned, or give the catalogue pictures and texts"
        )
    shuffled = np.random.default_rng([config.seed, 0]).permutation(rows)
    return np.sort(shuffled[n_held_out:]), np.sort(shuffled[:n_held_out])


def scheduled_share(step: int, steps: int, warmup: int) -> float:
    """Of the peak learning rate at `step` (from 0): a line up to 1, then half a cosine to 0."""
    if step < warmup:
        return (step + 1) / warmup
    return (1 + math.cos(math.pi * (step - warmup) / max(steps - warmup, 1))) / 2


def _refuse_empty_parts(smallest_batch: int) -> None:
    if smallest_batch < ranks():
        raise InputError(
            f"{ranks()} processes cannot share a batch of {smallest_batch} pairs; start fewer, or "
            "raise the encoder's batch_size or validation_share in params.yaml"
        )


def _refuse_not_finite(losses: dict[str, float], epoch: int) -> None:
    if not all(math.isfinite(loss) for loss in losses.values()):
        raise InputError(
            f"training diverged in epoch {epoch} ({losses}); lower the encoder's learning_rate in "
            "params.yaml"
        )
