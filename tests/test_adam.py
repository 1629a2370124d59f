"""The recommenders' Adam and encoders' AdamW: every bit of torch.optim's, without its import."""

from __future__ import annotations

import subprocess
import sys
from typing import Any

import pytest
import torch
from torch import nn

from lmm4rec.adam import Adam, AdamW

RATES = [1e-2, 1e-2, 3e-3, 3e-3, 1e-3]  # a step each


def weights() -> list[nn.Parameter]:
    draw = torch.Generator().manual_seed(3)
    return [nn.Parameter(torch.randn(shape, generator=draw)) for shape in [(40, 7), (5,), (3, 3)]]


def give_gradients(parameters: list[nn.Parameter], step: int) -> None:
    """The second parameter has none in the first two steps, the third never."""
    draw = torch.Generator().manual_seed(step)
    for row, parameter in enumerate(parameters):
        gradient = torch.randn(parameter.shape, generator=draw)
        parameter.grad = gradient if row == 0 or (row == 1 and step >= 2) else None


def take_a_step(number: int, *both: tuple[Any, list[nn.Parameter]]) -> None:
    """Each optimizer on its own parameters, which are the same afterwards."""
    for optimizer, parameters in both:
        optimizer.zero_grad()
        assert all(parameter.grad is None for parameter in parameters)
        give_gradients(parameters, number)
        optimizer.step()
    for one, other in zip(both[0][1], both[1][1], strict=True):
        assert torch.equal(one, other)


@pytest.mark.parametrize("weight_decay", [0.0, 0.3])
def test_every_bit_is_that_of_torch(weight_decay: float) -> None:
    ours, theirs = weights(), weights()
    adam = Adam(ours, RATES[0], weight_decay)
    expected = torch.optim.Adam(theirs, lr=RATES[0], weight_decay=weight_decay, fused=True)
    for step, rate in enumerate(RATES):
        adam.learning_rate = expected.param_groups[0]["lr"] = rate
        take_a_step(step, (adam, ours), (expected, theirs))
    assert not torch.equal(ours[1], weights()[1])
    assert torch.equal(ours[2], weights()[2])


def groups(parameters: list[nn.Parameter]) -> list[dict[str, Any]]:
    return [
        {"params": parameters[:1], "weight_decay": 0.3},
        {"params": parameters[1:], "weight_decay": 0.0},
    ]


def test_every_bit_of_groups_is_that_of_torch_also_after_a_stop() -> None:
    ours, theirs = weights(), weights()
    adamw = AdamW(groups(ours), betas=(0.9, 0.98), eps=1e-6)
    expected = torch.optim.AdamW(groups(theirs), betas=(0.9, 0.98), eps=1e-6, fused=True)
    for step, rate in enumerate(RATES):
        for optimizer in (adamw, expected):
            for place, group in enumerate(optimizer.param_groups):
                group["lr"] = rate / (1 + place)
        take_a_step(step, (adamw, ours), (expected, theirs))
        state = {name: {kind: [t.clone() for t in tensors] for kind, tensors in moments.items()}
                 for name, moments in adamw.state_dict().items()}  # fmt: skip
        adamw = AdamW(groups(ours), betas=(0.9, 0.98), eps=1e-6)
        adamw.load_state_dict(state)
    assert [id(p) for p in adamw.parameters] == [id(p) for p in ours]
    assert torch.equal(ours[2], weights()[2])


def test_a_step_without_gradients_changes_nothing() -> None:
    ours = weights()
    Adam(ours, 1.0, 1.0).step()
    for one, other in zip(ours, weights(), strict=True):
        assert torch.equal(one, other)


def test_it_goes_on_from_its_state() -> None:
    whole, broken_off = weights(), weights()
    adam, first = Adam(whole, RATES[0], 0.1), Adam(broken_off, RATES[0], 0.1)
    for step in range(3):
        for optimizer, parameters in ((adam, whole), (first, broken_off)):
            give_gradients(parameters, step)
            optimizer.step()
    second = Adam(broken_off, RATES[0], 0.1)
    second.load_state_dict(first.state_dict())
    for optimizer, parameters in ((adam, whole), (second, broken_off)):
        give_gradients(parameters, 3)
        optimizer.step()
    for one, other in zip(whole, broken_off, strict=True):
        assert torch.equal(one, other)


def test_the_compiler_stays_out() -> None:
    """It takes longer to import than the demo's data take to be trained on once."""
    code = (
        "import sys, torch; from lmm4rec.adam import Adam, AdamW;"
        "w = torch.nn.Parameter(torch.ones(2));"
        "a = Adam([w], 0.1, 0.0); w.sum().backward(); a.step(); a.zero_grad();"
        "b = AdamW([{'params': [w], 'lr': 0.1, 'weight_decay': 0.1}], (0.9, 0.9), 1e-6);"
        "w.sum().backward(); b.step();"
        "assert w[0] < 1; sys.exit('torch._dynamo' in sys.modules)"
    )
    assert subprocess.run([sys.executable, "-c", code], check=False).returncode == 0
