"""Runs a function or a stage in several processes that share the work; compares what comes out."""

from __future__ import annotations

import csv
import os
from collections.abc import Callable
from pathlib import Path
from typing import Any

import torch
import torch.distributed as dist
import torch.multiprocessing
from torch import Tensor


def together(
    ranks: int, folder: Path, function: Callable[..., None], *arguments: Any, start: str = "fork"
) -> None:
    """Call `function(*arguments)`, one of a module's own, in `ranks` processes of one group.

    Whatever one of them raises is raised here. `folder` is empty; the processes meet in it.
    Forked, nobody imports torch again; but numba's parallel functions need `start="spawn"`.
    """
    given = (ranks, str(folder / "meeting"), function, arguments)
    torch.multiprocessing.start_processes(_call, given, nprocs=ranks, start_method=start)


def _call(
    rank: int, ranks: int, meeting: str, function: Callable[..., None], arguments: tuple[Any, ...]
) -> None:
    os.environ["GLOO_SOCKET_IFNAME"] = "lo"
    torch.set_num_threads(1)
    dist.init_process_group("gloo", f"file://{meeting}", rank=rank, world_size=ranks)
    function(*arguments)
    dist.destroy_process_group()


def torchrun(command: list[str]) -> list[str]:
    """The command of a stage, begun by a Python, in two processes."""
    start, rest = command[0], command[1:]
    return [start, "-m", "torch.distributed.run", "--standalone", "--nproc-per-node", "2", *rest]


def distance(first: dict[str, Tensor], second: dict[str, Tensor]) -> float:
    """Between the weights of two encoders, each as one vector."""
    differences = [weight.double() - second[name].double() for name, weight in first.items()]
    return float(torch.cat([difference.flatten() for difference in differences]).norm())


def curve_numbers(path: Path) -> list[list[float]]:
    """A curve's rows; an empty cell is NaN."""
    with path.open() as stream:
        return [[float(cell or "nan") for cell in row.values()] for row in csv.DictReader(stream)]
