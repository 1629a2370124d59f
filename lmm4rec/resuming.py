"""What a training leaves behind for its next process: states that are whole or not there.

Reading opens no pickle beyond tensors, numbers, strings and their containers.
"""

from __future__ import annotations

import time
from collections.abc import Callable, Mapping
from pathlib import Path
from typing import Any

import torch

from lmm4rec.doors import TORCH_DAMAGE, reading
from lmm4rec.errors import InputError
from lmm4rec.folders import whole_file

_ADVICE = "delete its folder and run the stage again; if that ends so too, lower the learning_rate"
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

    def save_if_due(self, state: Callable[[], dict[str, Any]]) -> bool:
        """Call after a whole epoch; `state` is asked for only if it is time to save. Was it?"""
        is_due = time.monotonic() - self._saved_at >= self._seconds_between
        if is_due:
            save_state(self._path, state())
            self._saved_at = time.monotonic()
        return is_due


class BestWeights:
    """The weights of the best epoch, in a file that names the epoch.

    A history that was saved earlier, and goes on in another process, must find the weights of the
    epoch that it names, not those of a later one that the dead process had come to: where rounding
    differs from run to run, the later one may not come again. So the file that the saved state
    names stays until the next state is saved.
    """

    def __init__(self, folder: Path) -> None:
        self._folder = folder
        self._settled: int | None = None

    def save(self, epoch: int, weights: dict[str, Any]) -> None:
        """The weights of a better epoch than any before."""
        save_state(self._path(epoch), weights)
        self._remove_all_but(epoch)

    def settle(self, epoch: int) -> None:
        """A state that names `epoch` the best has been saved, or was found."""
        self._settled = epoch
        self._remove_all_but(epoch)

    def load(self, epoch: int, device: torch.device) -> dict[str, Any]:
        return load_state(self._path(epoch), device)

    def _path(self, epoch: int) -> Path:
        return self._folder / f"best-{epoch}.pt"

    def _remove_all_but(self, epoch: int) -> None:
        kept = {self._path(one) for one in (epoch, self._settled) if one is not None}
        for path in set(self._folder.glob("best-*.pt")) - kept:
            path.unlink()


def save_state(path: Path, state: dict[str, Any]) -> None:
    """Whole or not at all. InputError: the disk does not take it."""
    with whole_file(path) as unfinished:
        torch.save(state, unfinished)


def load_state(path: Path, device: torch.device) -> dict[str, Any]:
    """InputError for a file that is damaged, or whose tensors are not finite."""
    with reading(path, "a whole saved state", _ADVICE, TORCH_DAMAGE):
        state: dict[str, Any] = torch.load(path, map_location=device, weights_only=True)
    bad = tensor_not_finite(state)
    if bad is not None:
        raise InputError(f"{path}: tensor {bad} holds NaN or infinity; {_ADVICE}")
    return state


def tensor_not_finite(state: Any, name: str = "") -> str | None:
    """The dotted name of the first tensor in nested containers that holds NaN or infinity.

    Numbers that stand beside tensors are not looked at.
    """
    if isinstance(state, torch.Tensor):
        is_sound = not state.is_floating_point() or bool(torch.isfinite(state).all())
        return None if is_sound else name
    if isinstance(state, Mapping):
        parts = list(state.items())
    else:
        parts = list(enumerate(state)) if isinstance(state, list | tuple) else []
    found = (tensor_not_finite(value, f"{name}.{key}".lstrip(".")) for key, value in parts)
    return next((one for one in found if one is not None), None)


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
