"""Where tensors live: a choice of speed, never of result, so it is an option and no parameter."""

from __future__ import annotations

import re

import numba
import torch

from lmm4rec.errors import InputError

SMALL_STEP = 1 << 20  # numbers


def choose_device(name: str) -> torch.device:
    """`auto` takes a CUDA device where there is one; `cpu` and `cuda[:n]` insist."""
    if name == "auto":
        return torch.device("cuda" if torch.cuda.is_available() else "cpu")
    if not re.fullmatch(r"cpu|cuda(:\d+)?", name):
        raise InputError(f"device {name!r} is not known; use auto, cpu, cuda or cuda:<number>")
    if name.startswith("cuda") and not torch.cuda.is_available():
        raise InputError(f"device {name!r}: this machine has no CUDA device; use cpu or auto")
    index = torch.device(name).index or 0
    if name != "cpu" and index >= torch.cuda.device_count():
        raise InputError(
            f"device {name!r}: this machine has {torch.cuda.device_count()} CUDA devices, counted "
            "from 0; use one of those, or auto"
        )
    return torch.device(name)


def use_one_thread_if_small(numbers_per_step: int) -> None:
    """Keep torch and numba to one thread where a step touches fewer numbers than waking costs.

    On a machine busy with something else, waiting for a second thread at every small operation made
    BPR on the demo take 110 s instead of 18 s.
    """
    if numbers_per_step < SMALL_STEP:
        torch.set_num_threads(1)
        numba.set_num_threads(1)
