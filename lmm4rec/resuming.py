"""What a training leaves behind for its next process: states that are whole or not there.

Reading opens no pickle beyond tensors, numbers, strings and their containers.
"""

from __future__ import annotations

import time
from collections.abc import Callable
from pathlib import Path
from typing import Any

import torch

SECONDS_BETWEEN = 30.0  # of training that a kill may cost; saving more often would cost more


class Savepoint:
    """The state of the last epoch that was saved, in a folder that belongs to these inputs alone.

    A training is deterministic from such a state on, so how often it is saved changes no result.
    """

    def __init__(self, folder: Path, seconds_between: float = SECONDS_BETWEEN) -> None:
        self._path, self._seconds_between = folder / "latest.pt", seconds_between
        self._saved_at = time.monotonic()

    def load(self, device: torch.device) -> dict[str, Any] | None:
        """The saved state with its tensors on `device`, or None where nothing was saved."""
        return load_state(self._path, device) if self._path.exists() else None

    def save_if_due(self, state: Callable[[], dict[str, Any]]) -> None:
        """Call after a whole epoch; `state` is asked for only if it is time to save."""
        if time.monotonic() - self._saved_at >= self._seconds_between:
            save_state(self._path, state())
            self._saved_at = time.monotonic()


def save_state(path: Path, state: dict[str, Any]) -> None:
    unfinished = path.with_suffix(".unfinished")
    torch.save(state, unfinished)
    unfinished.replace(path)


def load_state(path: Path, device: torch.device) -> dict[str, Any]:
    state: dict[str, Any] = torch.load(path, map_location=device, weights_only=True)
    return state


def random_state(device: torch.device) -> dict[str, torch.Tensor]:
    """Of torch's global generators."""
    state = {"cpu": torch.get_rng_state()}
    if device.type == "cuda":
        state["cuda"] = torch.cuda.get_rng_state(device)
    return state


def set_random_state(state: dict[str, torch.Tensor], device: torch.device) -> None:
    torch.set_rng_state(state["cpu"].cpu())
    if device.type == "cuda":
        torch.cuda.set_rng_state(state["cuda"].cpu(), device)
