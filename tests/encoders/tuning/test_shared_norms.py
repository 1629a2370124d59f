"""Batch norms shared by processes: the outputs, gradients and statistics of one process."""

from __future__ import annotations

from pathlib import Path

import pytest
import torch
from timm.layers import BatchNormAct2d
from torch import Tensor, nn

from lmm4rec import distributed
from lmm4rec.encoders.tuning.shared_norms import share_batch_norms
from tests.processes import together

COUNTS = [5, 2]  # rows of each process


def network() -> nn.Sequential:
    """A norm as torch has it and one of timm, which brings its activation."""
    torch.manual_seed(1)
    layers = [nn.Conv2d(3, 4, 3), nn.BatchNorm2d(4), nn.Conv2d(4, 5, 1), BatchNormAct2d(5)]
    for norm in (layers[1], layers[3]):
        nn.init.normal_(norm.weight)
        nn.init.normal_(norm.bias)
    return nn.Sequential(*layers).double()


def outcome(norms: nn.Sequential, pixels: Tensor) -> dict[str, Tensor]:
    """Two steps in training, then one in evaluation."""
    norms.train()
    for _ in range(2):
        norms.zero_grad()
        out = distributed.gather(norms(pixels))
        (out.pow(3) * torch.arange(1.0, len(out) + 1)[:, None, None, None]).mean().backward()
        distributed.average_gradients(norms.parameters())
    gradients = {f"gradient of {n}": p.grad for n, p in norms.named_parameters()}
    norms.eval()
    return {"trained": out.detach(), "evaluated": distributed.gather(norms(pixels)).detach(),
            **gradients, **norms.state_dict()}  # fmt: skip


def check(pixels: Tensor, expected: dict[str, Tensor]) -> None:
    norms = network()
    share_batch_norms(norms)
    found = outcome(norms, pixels.split(COUNTS)[distributed.rank()])
    assert found.keys() == expected.keys()
    for name, value in found.items():
        torch.testing.assert_close(value, expected[name], rtol=1e-9, atol=1e-9, msg=name)


def test_the_result_is_that_of_one_process(tmp_path: Path) -> None:
    pixels = torch.randn(sum(COUNTS), 3, 6, 6, dtype=torch.float64) + 3
    expected = {name: value.clone() for name, value in outcome(network(), pixels).items()}
    together(2, tmp_path, check, pixels, expected)


def test_alone_nothing_changes(monkeypatch: pytest.MonkeyPatch) -> None:
    pixels = torch.randn(7, 3, 6, 6, dtype=torch.float64)
    shared = network()
    share_batch_norms(shared)
    expected = outcome(network(), pixels)
    for name, value in outcome(shared, pixels).items():
        assert torch.equal(value, expected[name]), name


def check_half(pixels: Tensor) -> None:
    norm = nn.BatchNorm2d(3)
    share_batch_norms(nn.Sequential(norm))
    out = norm(pixels.bfloat16())
    pixels = pixels.bfloat16().float()
    assert out.dtype == torch.bfloat16 and norm.running_mean.dtype == torch.float32
    wanted = (pixels - pixels.mean((0, 2, 3), keepdim=True)) / pixels.std((0, 2, 3), keepdim=True)
    assert (out.float() - wanted).abs().max() < 0.02


def test_half_precision_is_summed_in_float32(tmp_path: Path) -> None:
    together(2, tmp_path, check_half, 100 + torch.randn(64, 3, 8, 8).mul(9))
