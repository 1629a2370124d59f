"""Runs a function in several processes at once that exchange tensors as those of torchrun do."""

from __future__ import annotations

import os
from collections.abc import Callable
from pathlib import Path
from typing import Any

import torch
import torch.distributed as dist
import torch.multiprocessing


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
