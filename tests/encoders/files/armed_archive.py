"""A TorchScript archive that writes a file when TorchScript loads it, and ones that are damaged."""

from __future__ import annotations

import warnings
from pathlib import Path

import torch
from torch import Tensor

WRITTEN = "written-by-the-archive"


class Armed(torch.nn.Module):
    def __init__(self, target: str) -> None:
        super().__init__()
        self.weight = torch.nn.Parameter(torch.zeros(2))
        self.target = target

    @torch.jit.export
    def __getstate__(self) -> tuple[Tensor, str, bool]:
        return (self.weight, self.target, self.training)

    @torch.jit.export
    def __setstate__(self, state: tuple[Tensor, str, bool]) -> None:
        self.weight = torch.from_file(state[1], True, 64, dtype=torch.uint8).fill_(65).float()
        self.target = state[1]
        self.training = state[2]

    def forward(self, x: Tensor) -> Tensor:
        return x + self.weight


def armed_archive(path: Path, target: Path) -> Path:
    """An archive at `path` that would write `target`."""
    scripted(Armed(str(target)), path)
    return path


def scripted(module: torch.nn.Module, path: Path) -> None:
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")  # torch would rather compile
        torch.jit.script(module).save(str(path))
