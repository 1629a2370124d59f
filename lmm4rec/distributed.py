"""Several processes of one run, started by torchrun: who is who, and what they exchange.

Every process runs the same script on its own part of each batch. Started without torchrun there is
one process, and everything here is the identity.

One convention carries all training: the loss of a step is the mean, over processes, of what each
process calls its loss. `gather` adds up the gradients that all processes send back into a row, and
`average_gradients` then leaves every process with the gradient of that mean. So a loss computed
from gathered rows may be computed whole by everyone, or in parts made with `share_of_mean`.

Legend: R processes, B_r rows of process r, B the sum of all B_r.
"""

from __future__ import annotations

import logging
import os
import signal
from collections.abc import Iterable, Iterator
from contextlib import contextmanager
from typing import Any

import numpy as np
import torch
import torch.distributed as dist
from numpy.typing import NDArray
from torch import Tensor

from lmm4rec.errors import InputError

log = logging.getLogger(__name__)

_NUMBERS_AT_ONCE = 1 << 24  # of gradients averaged in one exchange: 64 MiB


def ranks() -> int:
    """R: how many processes share this run."""
    return dist.get_world_size() if dist.is_initialized() else 1


def rank() -> int:
    """The number of this process, from 0."""
    return dist.get_rank() if dist.is_initialized() else 0


def is_main() -> bool:
    """Whether this is the one process that writes results and shows progress."""
    return rank() == 0


@contextmanager
def joined(device: torch.device) -> Iterator[torch.device]:
    """Join the processes that torchrun started; yields the device of this one.

    On CUDA each process of a machine takes the card of its own number. Where one process fails, the
    others end as well: InputError from the next exchange, or SystemExit when torchrun says so.
    """
    if not dist.is_torchelastic_launched() or int(os.environ["WORLD_SIZE"]) == 1:
        yield device
        return
    own = _own_device(device)
    signal.signal(signal.SIGTERM, _end)  # what torchrun sends to the rest when one has failed
    dist.init_process_group("nccl" if own.type == "cuda" else "gloo")
    if not is_main():
        logging.getLogger().setLevel(logging.WARNING)  # the same news once is enough
    log.info("%d processes share the work", ranks())
    yield own
    dist.destroy_process_group()  # not after an error: it would wait for processes that are gone


def _own_device(device: torch.device) -> torch.device:
    if device.type != "cuda":
        return device
    number = int(os.environ["LOCAL_RANK"])
    if number >= torch.cuda.device_count():
        raise InputError(
            f"process {number} of this machine has no CUDA device of its own "
            f"({torch.cuda.device_count()} are visible); lower --processes (LMM4REC_PROCESSES)"
        )
    torch.cuda.set_device(number)
    return torch.device("cuda", number)


def own_part(rows: NDArray[Any]) -> NDArray[Any]:
    """The rows [B_r] of a batch that are this process's: consecutive, as even as can be."""
    return np.array_split(rows, ranks())[rank()]


def numbers_of_all(own: int, device: torch.device) -> list[int]:
    """What every process gives as its `own` number, in rank order."""
    if ranks() == 1:
        return [own]
    numbers = [torch.zeros(1, dtype=torch.int64, device=device) for _ in range(ranks())]
    with _all_together():
        dist.all_gather(numbers, torch.tensor([own], device=device))
    return [int(number) for number in torch.cat(numbers).tolist()]


def own_slice(own: int, device: torch.device) -> slice:
    """Where this process's `own` rows stand among those that `gather` returns."""
    counts = numbers_of_all(own, device)
    start = sum(counts[: rank()])
    return slice(start, start + own)


def gather(rows: Tensor) -> Tensor:
    """[B_r, ...] of every process -> [B, ...] in rank order, with gradient; B_r may differ."""
    return rows if ranks() == 1 else _Gather.apply(rows)


def share_of_mean(total: Tensor, count: Tensor) -> Tensor:
    """Sum and count [] over this process's rows -> its part of the mean over everyone's rows.

    The mean of all parts over processes is that mean; 0 where nobody has a row.
    """
    if ranks() == 1:
        return total / count.clamp(min=1)
    counts = count.detach().clone()
    with _all_together():
        dist.all_reduce(counts)
    return total * ranks() / counts.clamp(min=1)


def average_gradients(parameters: Iterable[Tensor]) -> None:
    """Give every parameter the mean of its gradients over processes; call it after `backward`.

    A gradient that only some processes have counts as zero in the others.
    """
    if ranks() == 1:
        return
    waiting: list[Tensor] = []
    numbers = 0
    for gradient in _gradients_of_any(list(parameters)):
        if waiting and numbers + gradient.numel() > _NUMBERS_AT_ONCE:
            _average_in_place(waiting)
            waiting, numbers = [], 0
        waiting.append(gradient)
        numbers += gradient.numel()
    if waiting:
        _average_in_place(waiting)


def _gradients_of_any(parameters: list[Tensor]) -> list[Tensor]:
    """The gradients of the parameters that have one in any process; zeros where it is missing."""
    if not parameters:
        return []
    have = torch.tensor([p.grad is not None for p in parameters], device=parameters[0].device)
    counts = have.to(torch.int32)
    with _all_together():
        dist.all_reduce(counts)
    found = []
    for parameter, count in zip(parameters, counts.tolist(), strict=True):
        if count and parameter.grad is None:
            parameter.grad = torch.zeros_like(parameter)
        if parameter.grad is not None:
            found.append(parameter.grad)
    return found


def averaged(values: Tensor) -> Tensor:
    """The mean of a tensor over processes, without gradient; the same bits in each of them."""
    mean = values.detach().clone()
    if ranks() > 1:
        _average_in_place([mean])
    return mean


def wait_for_all() -> None:
    """Go on once every process has come here."""
    if ranks() > 1:
        with _all_together():
            dist.barrier()


def _average_in_place(tensors: list[Tensor]) -> None:
    flat = torch.cat([tensor.reshape(-1) for tensor in tensors])
    with _all_together():
        dist.all_reduce(flat)
    flat /= ranks()
    for tensor, mean in zip(tensors, torch.split(flat, [x.numel() for x in tensors]), strict=True):
        tensor.copy_(mean.view_as(tensor))


class _Gather(torch.autograd.Function):
    @staticmethod
    def forward(ctx: Any, rows: Tensor) -> Tensor:
        counts = numbers_of_all(len(rows), rows.device)
        padded = rows.new_zeros((max(counts), *rows.shape[1:]))  # exchanges are of one shape
        padded[: len(rows)] = rows
        parts = [torch.empty_like(padded) for _ in counts]
        with _all_together():
            dist.all_gather(parts, padded)
        start = sum(counts[: rank()])
        ctx.own = slice(start, start + len(rows))
        return torch.cat([part[:count] for part, count in zip(parts, counts, strict=True)])

    @staticmethod
    def backward(ctx: Any, *gradients: Tensor) -> Tensor:
        total = gradients[0].clone(memory_format=torch.contiguous_format)
        with _all_together():
            dist.all_reduce(total)
        return total[ctx.own]


@contextmanager
def _all_together() -> Iterator[None]:
    """An exchange in which every process takes part: it fails in all where it fails in one."""
    try:
        yield
    except RuntimeError as error:
        raise InputError(
            f"another process of this run stopped or does not answer ({str(error).splitlines()[0]})"
            "; mend what its own message names and start the run again"
        ) from error


def _end(*_: Any) -> None:
    # No InputError: what reads broken pictures would take any Exception for one of them.
    raise SystemExit(
        "Error: torchrun ended this process: the run was stopped, or another process failed; mend "
        "what its own message names and start the run again"
    )
