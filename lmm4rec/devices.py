"""Where tensors live: a choice of speed, never of result, so it is an option and no parameter."""

from __future__ import annotations

import torch

from lmm4rec.errors import InputError


def choose_device(name: str) -> torch.device:
    """`auto` takes a CUDA device where there is one; `cpu` and `cuda[:n]` insist."""
    if name == "auto":
        return torch.device("cuda" if torch.cuda.is_available() else "cpu")
    if name != "cpu" and not name.startswith("cuda"):
        raise InputError(f"device {name!r} is not known; use auto, cpu, cuda or cuda:<number>")
    if name.startswith("cuda") and not torch.cuda.is_available():
        raise InputError(f"device {name!r}: this machine has no CUDA device; use cpu or auto")
    return torch.device(name)
