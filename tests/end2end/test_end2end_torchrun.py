"""End-to-end training shared by the processes of torchrun: the result of one process."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch

from lmm4rec.distributed import is_main, rank
from lmm4rec.end2end import training
from lmm4rec.end2end.training import train_end_to_end
from lmm4rec.errors import InputError
from lmm4rec.resuming import Savepoint
from lmm4rec.training.vectors import Vectors, read_vectors
from tests.catalogue import toy_catalogue as toy
from tests.encoders.encoder_contract import tiny
from tests.end2end.test_end2end_stage import COMMAND, OUTPUTS, project
from tests.end2end.test_torchrun import one_thread
from tests.end2end.toy_end2end import CPU, protocol, task
from tests.processes import curve_numbers, distance, together, torchrun
from tests.toy import N_ITEMS

__all__ = ["one_thread", "project"]  # fixtures

pytestmark = pytest.mark.slow

# Parts that do not divide, items without picture or text, steps of so few items that a process has
# none; one micro-batch and several; a model that draws, one with an item graph. An item has as many
# neighbours as there are of its kind: which of two nearly equal ones is the last would hang on the
# processor's rounding.
CASES: dict[str, tuple[dict[str, Any], str, dict[str, Any], int]] = {
    "whole": ({"batch_size": 50}, "vbpr", {}, 512),
    "cached": ({"batch_size": 50, "freeze_epochs": 1}, "freedom", {"neighbours": N_ITEMS // 2}, 3),
    "few": ({"batch_size": 2, "maximum_epochs": 1, "alignment_weight": 0.0}, "vbpr", {}, 512),
}


def trained(name: str, scratch: Path, **changes: Any) -> dict[str, Any]:
    scratch.mkdir(exist_ok=True)
    values, recommender, own_changes, micro_batch = CASES[name]
    encoder = tiny("clip")
    config = protocol(**{"maximum_epochs": 2, **values, **changes})
    own = task(encoder, recommender, config, **own_changes)
    vectors, history, curve = train_end_to_end(encoder, own, micro_batch, scratch, CPU)
    return {
        "weights": encoder.state_dict(),
        "users": torch.from_numpy(vectors.users),
        "items": torch.from_numpy(vectors.items),
        "losses": history.losses,
        "validation": history.validation,
        "curve": curve,
    }


def check(folder: Path, ranks: int) -> None:
    for name in CASES:
        torch.save(
            trained(name, folder / f"{name}-{ranks}"), folder / f"{name}-{ranks}-{rank()}.pt"
        )


def read(path: Path) -> dict[str, Any]:
    found: dict[str, Any] = torch.load(path, weights_only=True)
    return found


def test_the_result_is_that_of_one_process(tmp_path: Path, one_thread: None) -> None:
    ranks = 3
    meeting = tmp_path / "meeting"
    meeting.mkdir()
    together(ranks, meeting, check, tmp_path, ranks, start="spawn")
    start = tiny("clip").state_dict()
    for name in CASES:
        alone = trained(name, tmp_path / name)
        first, *others = (read(tmp_path / f"{name}-{ranks}-{number}.pt") for number in range(ranks))
        for part, values in first.items():
            for other in others:  # every process ends with the same bits
                torch.testing.assert_close(other[part], values, rtol=0, atol=0)
            if part not in ("weights", "curve"):
                torch.testing.assert_close(values, alone[part], rtol=2e-3, atol=2e-3)
        moved = distance(start, alone["weights"])
        assert moved > 0.01
        assert distance(first["weights"], alone["weights"]) < 0.02 * moved, name


def test_a_stage_gives_the_curve_of_one_process(project: Path, one_thread: None) -> None:
    done = toy.run(project, COMMAND)
    assert done.returncode == 0, done.stderr
    alone, curve = read_vectors(project / OUTPUTS[0]), curve_numbers(project / OUTPUTS[2])
    done = toy.run(project, torchrun(COMMAND))
    assert done.returncode == 0, done.stderr
    assert done.stderr.count("best of 4 epochs") == 1
    assert not list((project / "data/scratch").iterdir())
    shared = read_vectors(project / OUTPUTS[0])
    assert isinstance(alone, Vectors) and isinstance(shared, Vectors)
    np.testing.assert_allclose(shared.items, alone.items, atol=2e-3)
    np.testing.assert_allclose(curve_numbers(project / OUTPUTS[2]), curve, rtol=5e-3)


def check_going_on(folder: Path) -> None:
    hidden = folder / ("broken-off" if is_main() else "elsewhere")
    with pytest.raises(InputError, match="only some processes of this run find what was saved"):
        trained("whole", hidden)
    torch.save(trained("whole", folder / "broken-off"), folder / f"{rank()}.pt")


def test_a_run_goes_on_in_more_processes(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, one_thread: None
) -> None:
    """A run of one process, killed after its first epoch, goes on in two."""
    monkeypatch.setattr(training, "Savepoint", lambda folder: Savepoint(folder, 0))
    trained("whole", tmp_path / "broken-off", maximum_epochs=1)
    assert (tmp_path / "broken-off/latest.pt").exists()
    meeting = tmp_path / "meeting"
    meeting.mkdir()
    together(2, meeting, check_going_on, tmp_path, start="spawn")
    alone, first, second = (
        trained("whole", tmp_path / "alone"), read(tmp_path / "0.pt"), read(tmp_path / "1.pt")
    )  # fmt: skip
    torch.testing.assert_close(first["items"], second["items"], rtol=0, atol=0)
    torch.testing.assert_close(first["items"], alone["items"], rtol=2e-3, atol=2e-3)
