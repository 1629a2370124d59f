"""Processes that share a batch: what they exchange, and gradients equal to those of one process."""

from __future__ import annotations

import os
import time
from pathlib import Path

import numpy as np
import pytest
import torch
import torch.distributed as dist
from torch import Tensor

from lmm4rec import distributed
from lmm4rec.encoders import FAMILIES
from lmm4rec.encoders.base import Encoder
from lmm4rec.errors import InputError
from tests.encoders.encoder_contract import tiny, toy_batch
from tests.processes import together

CPU = torch.device("cpu")


def test_one_process_alone_changes_nothing() -> None:
    rows = torch.randn(4, 2, requires_grad=True)
    assert distributed.gather(rows) is rows and distributed.is_main()
    assert distributed.own_part(np.arange(5)).tolist() == [0, 1, 2, 3, 4]
    assert distributed.own_slice(4, CPU) == slice(0, 4)
    assert distributed.averaged(rows).equal(rows)
    part = distributed.share_of_mean(torch.tensor(6.0), torch.tensor(4))
    assert part == 1.5
    assert distributed.share_of_mean(torch.tensor(0.0), torch.tensor(0)) == 0
    distributed.wait_for_all()
    with distributed.joined(CPU) as device:
        assert device == CPU and distributed.ranks() == 1


# -------------------------------------------------------------------- gradients of a toy objective


def toy_objective(weight: Tensor, scale: Tensor, inputs: Tensor) -> Tensor:
    """Every row against every other, times a scale, and a mean over rows of unequal counts."""
    own = torch.tanh(inputs @ weight)
    rows = distributed.gather(own)
    logits = scale * rows @ rows.T
    whole = torch.nn.functional.cross_entropy(logits, torch.arange(len(rows)))
    kept = own[own[:, 0] > 0]
    part = distributed.share_of_mean(kept.pow(3).sum(), torch.tensor(kept.numel()))
    return whole + part


def toy_gradients(inputs: Tensor) -> list[Tensor]:
    generator = torch.Generator().manual_seed(3)
    weight = torch.randn(4, 5, generator=generator, dtype=torch.float64, requires_grad=True)
    scale = torch.tensor(2.0, dtype=torch.float64, requires_grad=True)
    unused = torch.zeros(3, requires_grad=True)
    loss = toy_objective(weight, scale, inputs)
    loss.backward()
    distributed.average_gradients([weight, unused, scale])
    assert unused.grad is None and weight.grad is not None and scale.grad is not None
    return [distributed.averaged(loss), weight.grad, scale.grad]


def check_toy(inputs: Tensor, counts: list[int], expected: list[Tensor]) -> None:
    own = inputs.split(counts)[distributed.rank()]
    for bucket in (1, 1 << 20):  # gradients exchanged one by one, and all at once
        distributed._NUMBERS_AT_ONCE = bucket
        for found, known in zip(toy_gradients(own), expected, strict=True):
            torch.testing.assert_close(found, known, rtol=1e-12, atol=1e-12)
    assert distributed.numbers_of_all(len(own), CPU) == counts
    start = sum(counts[: distributed.rank()])
    assert distributed.own_slice(len(own), CPU) == slice(start, start + len(own))
    assert torch.equal(distributed.gather(own), inputs)
    assert distributed.share_of_mean(torch.tensor(0.0), torch.tensor(0)) == 0
    part = distributed.own_part(np.arange(7))
    assert part.tolist() == [[0, 1, 2], [3, 4], [5, 6]][distributed.rank()]


def test_uneven_parts_give_the_gradient_of_the_whole(tmp_path: Path) -> None:
    generator = torch.Generator().manual_seed(0)
    inputs = torch.randn(9, 4, generator=generator, dtype=torch.float64)
    together(3, tmp_path, check_toy, inputs, [2, 6, 1], toy_gradients(inputs))


# ------------------------------------------------------------------------ gradients of the encoders


def encoder_gradients(encoder: Encoder, part: slice) -> tuple[dict[str, Tensor], Tensor]:
    """The losses and the gradient of pairs 0 to 14, of which this process has some."""
    pixels, tokens = toy_batch(encoder)
    encoder.double().train()
    torch.manual_seed(7)  # of masks and negatives
    own = {name: values[:15][part] for name, values in tokens.items()}
    terms = encoder.losses(pixels.double()[:15][part], own)
    torch.stack(list(terms.values())).sum().backward()
    distributed.average_gradients(encoder.parameters())
    flat = [(p.grad if p.grad is not None else p * 0).flatten() for p in encoder.parameters()]
    losses = {name: distributed.averaged(term) for name, term in terms.items()}
    return losses, torch.cat(flat).detach()


def check_encoders(folder: Path) -> None:
    part = (slice(0, 11), slice(11, 15))[distributed.rank()]
    for family in FAMILIES:
        losses, gradient = encoder_gradients(tiny(family), part)
        known = torch.load(folder / family, weights_only=True)
        torch.testing.assert_close(losses, known["losses"], rtol=1e-6, atol=1e-6)
        scale = known["gradient"].abs().max()
        assert (gradient - known["gradient"]).abs().max() < 1e-6 * scale, family


def test_the_loss_of_every_family_is_that_of_the_whole_batch(tmp_path: Path) -> None:
    """Hard negatives come from other processes, masks are those of one process."""
    for family in FAMILIES:
        losses, gradient = encoder_gradients(tiny(family), slice(None))
        torch.save({"losses": losses, "gradient": gradient}, tmp_path / family)
    together(2, tmp_path, check_encoders, tmp_path)


# --------------------------------------------------------------------------- when one process fails


def check_left_alone() -> None:
    if not distributed.is_main():
        os._exit(0)  # as one that was killed
    start = time.monotonic()
    with pytest.raises(InputError, match="another process of this run stopped"):
        distributed.gather(torch.zeros(2, 2))
    assert time.monotonic() - start < 60
    os._exit(0)


def test_a_process_left_alone_says_so(tmp_path: Path) -> None:
    together(2, tmp_path, check_left_alone)


def test_more_processes_than_cards(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("TORCHELASTIC_RUN_ID", "1")
    monkeypatch.setenv("WORLD_SIZE", "2")
    monkeypatch.setenv("LOCAL_RANK", "1")
    monkeypatch.setattr(torch.cuda, "device_count", lambda: 1)
    expected = r"process 1 of this machine has no CUDA device.*1 are visible.*--processes"
    with (
        pytest.raises(InputError, match=expected),
        distributed.joined(torch.device("cuda")),
    ):
        pass
    assert not dist.is_initialized()
