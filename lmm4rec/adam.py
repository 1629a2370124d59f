"""Adam (Kingma and Ba 2015) for recommenders and AdamW (Loshchilov and Hutter 2019) for encoders,
without torch's compiler.

Creating any `torch.optim.Optimizer` imports `torch._dynamo`, which takes more than half as long as
importing torch itself; without it a VBPR training on the demo took 7.5 s instead of 10.8. The
functions beneath do not import it, and are called here: every bit is that of `torch.optim.Adam` and
`AdamW` with `fused=True`.
"""

from __future__ import annotations

from collections.abc import Iterable
from typing import Any

import torch
from torch import Tensor, nn
from torch.optim.adam import adam
from torch.optim.adamw import adamw

_Tensors = list[Tensor]
_Moved = tuple[_Tensors, _Tensors, _Tensors, _Tensors, _Tensors, _Tensors]

BETAS = (0.9, 0.999)
EPS = 1e-8


class _Moments:
    """What both remember of parameters' gradients; parameters are where they will be trained."""

    def __init__(self, parameters: Iterable[nn.Parameter]) -> None:
        self.parameters = list(parameters)
        self.means = [torch.zeros_like(p) for p in self.parameters]  # of gradients
        self.squares = [torch.zeros_like(p) for p in self.parameters]  # of their squares
        self.steps = [torch.zeros((), device=p.device) for p in self.parameters]

    def zero_grad(self) -> None:
        for parameter in self.parameters:
            parameter.grad = None

    def of_those_with_gradient(self) -> _Moved | None:
        """Parameters, gradients, means, squares, no maxima, steps; None: no parameter has one."""
        given = [row for row, p in enumerate(self.parameters) if p.grad is not None]
        if not given:
            return None
        parameters: _Tensors = [self.parameters[row] for row in given]
        means, squares, steps = (
            [tensors[row] for row in given] for tensors in (self.means, self.squares, self.steps)
        )
        gradients = [p.grad for p in parameters if p.grad is not None]
        return parameters, gradients, means, squares, [], steps

    def state_dict(self) -> dict[str, list[Tensor]]:
        return {"means": self.means, "squares": self.squares, "steps": self.steps}

    def load_state_dict(self, state: dict[str, list[Tensor]]) -> None:
        for name, own in self.state_dict().items():
            for tensor, saved in zip(own, state[name], strict=True):
                tensor.copy_(saved)


class Adam(_Moments):
    """Adam with an L2 term; parameters without gradient stay as they are.

    `learning_rate` may be set between steps.
    """

    def __init__(
        self, parameters: Iterable[nn.Parameter], learning_rate: float, weight_decay: float
    ) -> None:
        super().__init__(parameters)
        self.learning_rate, self._weight_decay = learning_rate, weight_decay

    @torch.no_grad()
    def step(self) -> None:
        moved = self.of_those_with_gradient()
        if moved is None:
            return
        adam(
            *moved, fused=True, amsgrad=False, maximize=False,
            lr=self.learning_rate, weight_decay=self._weight_decay,
            beta1=BETAS[0], beta2=BETAS[1], eps=EPS,
        )  # fmt: skip


class AdamW:
    """Adam with decoupled decay on groups of parameters, each with its `weight_decay` and `lr`.

    `param_groups` are the groups as they were given (`params`, `weight_decay`); `lr` is to be set
    before a step. Parameters without gradient stay as they are.
    """

    def __init__(
        self, groups: list[dict[str, Any]], betas: tuple[float, float], eps: float
    ) -> None:
        self.param_groups = groups
        self._betas, self._eps = betas, eps
        self._moments = [_Moments(group["params"]) for group in groups]

    @property
    def parameters(self) -> list[nn.Parameter]:
        return [parameter for moments in self._moments for parameter in moments.parameters]

    def zero_grad(self) -> None:
        for moments in self._moments:
            moments.zero_grad()

    @torch.no_grad()
    def step(self) -> None:
        for group, moments in zip(self.param_groups, self._moments, strict=True):
            moved = moments.of_those_with_gradient()
            if moved is None:
                continue
            adamw(
                *moved, fused=True, amsgrad=False, maximize=False,
                lr=group["lr"], weight_decay=group["weight_decay"],
                beta1=self._betas[0], beta2=self._betas[1], eps=self._eps,
            )  # fmt: skip

    def state_dict(self) -> dict[str, dict[str, list[Tensor]]]:
        return {str(place): moments.state_dict() for place, moments in enumerate(self._moments)}

    def load_state_dict(self, state: dict[str, dict[str, list[Tensor]]]) -> None:
        for place, moments in enumerate(self._moments):
            moments.load_state_dict(state[str(place)])
