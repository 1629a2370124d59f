"""A training that was killed and went on gives the bytes of one that was not."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch

from lmm4rec.recommenders import CONTENT, RECOMMENDERS, recommender_class
from lmm4rec.recommenders.shared.base import Recommender
from lmm4rec.resuming import BestWeights, Savepoint, load_state
from lmm4rec.training import training
from lmm4rec.training.model_selection import History
from lmm4rec.training.training import TrainingConfig, train
from lmm4rec.training.vectors import Vectors
from tests.recommenders.test_recommenders import section
from tests.toy import checkerboard, kind_features

CPU = torch.device("cpu")
PROTOCOL = TrainingConfig(
    batch_size=64, maximum_epochs=8, patience=3, validate_every=2, validation_cutoff=5
)
TRAINED = [
    name for name in RECOMMENDERS if issubclass(recommender_class(name), Recommender)
]  # fmt: skip


class Killed(Exception):
    pass


def fitted(name: str, savepoint: Savepoint | None = None) -> tuple[Vectors, History]:
    torch.manual_seed(1)
    features = kind_features() if name in CONTENT else None
    model = recommender_class(name)(checkerboard(), features, section(name))
    return train(model, checkerboard(), PROTOCOL, 1, CPU, savepoint)


def kill_before_epoch(number: int, monkeypatch: pytest.MonkeyPatch) -> None:
    whole = training._run_epoch

    def until(*arguments: Any) -> Any:
        if arguments[3] == number:
            raise Killed
        return whole(*arguments)

    monkeypatch.setattr(training, "_run_epoch", until)


@pytest.mark.parametrize("name", TRAINED)
def test_going_on_equals_an_unbroken_run(
    name: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    expected, history = fitted(name)
    for stop in (3, 6):  # killed twice, between validations and before one
        with monkeypatch.context() as context:
            kill_before_epoch(stop, context)
            with pytest.raises(Killed):
                fitted(name, Savepoint(tmp_path, seconds_between=0))
    torch.manual_seed(99)
    found, again = fitted(name, Savepoint(tmp_path, seconds_between=0))
    assert again == history
    np.testing.assert_array_equal(found.users, expected.users)
    np.testing.assert_array_equal(found.items, expected.items)


def test_it_does_go_on_and_not_begin_anew(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    with monkeypatch.context() as context:
        kill_before_epoch(5, context)
        with pytest.raises(Killed):
            fitted("bpr", Savepoint(tmp_path, seconds_between=0))
    epochs = []
    whole = training._run_epoch

    def noted(*arguments: Any) -> Any:
        epochs.append(arguments[3])
        return whole(*arguments)

    monkeypatch.setattr(training, "_run_epoch", noted)
    fitted("bpr", Savepoint(tmp_path))
    assert epochs[0] == 5


def test_short_trainings_save_nothing(tmp_path: Path) -> None:
    fitted("bpr", Savepoint(tmp_path))
    assert not list(tmp_path.iterdir())


def test_frozen_features_are_not_saved(tmp_path: Path) -> None:
    fitted("vbpr", Savepoint(tmp_path, seconds_between=0))
    assert not [
        name for name in load_state(tmp_path / "latest.pt", CPU)["model"] if "content" in name
    ]


def test_the_best_weights_that_a_saved_state_names_stay(tmp_path: Path) -> None:
    best = BestWeights(tmp_path)

    def standing() -> list[str]:
        return sorted(path.name for path in tmp_path.glob("best-*.pt"))

    for epoch in (1, 2):
        best.save(epoch, {"a": torch.full((1,), float(epoch))})
    assert standing() == ["best-2.pt"]
    best.settle(2)
    for epoch in (4, 7):
        best.save(epoch, {"a": torch.full((1,), float(epoch))})
    assert standing() == ["best-2.pt", "best-7.pt"]
    resumed = BestWeights(tmp_path)
    resumed.settle(2)
    assert standing() == ["best-2.pt"] and float(resumed.load(2, CPU)["a"]) == 2.0
