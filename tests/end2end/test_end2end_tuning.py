"""End-to-end training of a part of the encoder: what moves, and what a killed run goes on to."""

from __future__ import annotations

import copy
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch

from lmm4rec.encoders.tuning.trainable import TuneAll, TuneLastBlocks, TuneLora
from lmm4rec.end2end import training
from lmm4rec.end2end.training import train_end_to_end
from lmm4rec.resuming import Savepoint
from tests.encoders.encoder_contract import tiny
from tests.end2end.toy_end2end import (
    CPU,
    protocol,
    rates,
    task,
)

TUNES = [
    TuneAll(kind="all"),
    TuneLastBlocks(kind="last-blocks", blocks=1),
    TuneLora(kind="lora", rank=2, alpha=4),
]


class Killed(Exception):
    pass


@pytest.mark.parametrize("tune", TUNES, ids=["all", "last-blocks", "lora"])
def test_a_killed_run_goes_on_to_the_same_result(
    tune: Any, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    config = protocol(maximum_epochs=4, freeze_epochs=1, refresh_steps=4, batch_size=36)

    def run(folder: Path) -> Any:
        folder.mkdir(exist_ok=True)
        torch.manual_seed(int(np.random.default_rng().integers(1000)))  # nothing may hang on it
        encoder = tiny("clip")
        own = task(encoder, "bm3", config, rates(tune=tune, warmup_steps=6))
        return encoder, *train_end_to_end(encoder, own, 100, folder, CPU)

    encoder, vectors, history, curve = run(tmp_path / "whole")
    monkeypatch.setattr(training, "Savepoint", lambda folder: Savepoint(folder, 0))
    whole_epoch = training._Run._train
    for stop in (2, 4):
        with monkeypatch.context() as context:

            def until(self: Any, number: int, is_frozen: bool, stop: int = stop) -> Any:
                if number == stop:
                    raise Killed
                return whole_epoch(self, number, is_frozen)

            context.setattr(training._Run, "_train", until)
            with pytest.raises(Killed):
                run(tmp_path / "killed")
    again, found, same, same_curve = run(tmp_path / "killed")
    assert same == history and same_curve == curve
    assert np.array_equal(found.users, vectors.users)
    assert np.array_equal(found.items, vectors.items)
    assert encoder.state_dict().keys() == tiny("clip").state_dict().keys()
    for name, values in encoder.state_dict().items():
        assert torch.equal(values, again.state_dict()[name])


@pytest.mark.parametrize("tune", TUNES[1:], ids=["last-blocks", "lora"])
def test_what_is_not_tuned_stays(tune: Any, tmp_path: Path) -> None:
    encoder = tiny("clip")
    before = copy.deepcopy(encoder.state_dict())
    train_end_to_end(encoder, task(encoder, encoder_config=rates(tune=tune)), 100, tmp_path, CPU)
    moved = {n for n, values in encoder.state_dict().items() if not torch.equal(values, before[n])}
    assert moved and "model.text.token_embedding.weight" not in moved
    assert not [name for name in moved if ".resblocks.0.ln" in name]
    assert all(parameter.requires_grad for parameter in encoder.parameters())


def test_the_vectors_are_of_the_epoch_that_the_history_names(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Killed when a better epoch was written but not yet saved, and it does not come again."""
    recalls = {1: 0.1, 2: 0.2, 3: 0.3}
    monkeypatch.setattr(training, "Savepoint", lambda folder: Savepoint(folder, 0))

    def run(folder: Path, epochs: int) -> Any:
        folder.mkdir(exist_ok=True)
        encoder = tiny("clip")
        own = task(encoder, config=protocol(maximum_epochs=epochs))
        with monkeypatch.context() as context:
            epoch = iter(range(1 + len(list(folder.glob("latest.pt"))) * 2, 9))
            context.setattr(training.Validator, "recall", lambda *_: recalls[next(epoch)])
            return encoder, *train_end_to_end(encoder, own, 100, folder, CPU)

    encoder, vectors, history, _ = run(tmp_path / "whole", 2)
    row = training._Run._row
    with monkeypatch.context() as context:

        def until(self: Any, number: int, losses: Any) -> Any:
            if number == 3:
                raise Killed
            return row(self, number, losses)

        context.setattr(training._Run, "_row", until)
        with pytest.raises(Killed):
            run(tmp_path / "killed", 3)
    assert (tmp_path / "killed/best-3.pt").exists()
    again, found, same, _ = run(tmp_path / "killed", 2)
    assert same == history and same.best_epoch == 2
    assert np.array_equal(found.items, vectors.items)
    for name, values in encoder.state_dict().items():
        assert torch.equal(values, again.state_dict()[name])
