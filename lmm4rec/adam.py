"""Adam (Kingma and Ba 2015) for recommenders, without torch's compiler.

Creating any `torch.optim.Optimizer` imports `torch._dynamo`, which takes more than half as long as
importing torch itself; without it a VBPR training on the demo took 7.5 s instead of 10.8. The
function beneath does not import it, and is called here: every bit is that of
`torch.optim.Adam(..., fused=True)`.
"""

from __future__ import annotations

from collections.abc import Iterable

import torch
from torch import Tensor, nn
from torch.optim.adam import adam

BETAS = (0.9, 0.999)
EPS = 1e-8


class Adam:
    """Adam with an L2 term on `parameters`; those without gradient stay as they are.

    `learning_rate` may be set between steps. The parameters are where they will be trained.
    """

    def __init__(
        self, parameters: Iterable[nn.Parameter], learning_rate: float, weight_decay: float
    ) -> None:
        self.learning_rate, self._weight_decay = learning_rate, weight_decay
        self._parameters = list(parameters)
        self._means = [torch.zeros_like(p) for p in self._parameters]  # of gradients
        self._squares = [torch.zeros_like(p) for p in self._parameters]  # of their squares
        self._steps = [torch.zeros((), device=p.device) for p in self._parameters]

    def zero_grad(self) -> None:
        for parameter in self._parameters:
            parameter.grad = None

    @torch.no_grad()
    def step(self) -> None:
        given = [row for row, p in enumerate(self._parameters) if p.grad is not None]
        if not given:
            return
        parameters, means, squares, steps = (
            [tensors[row] for row in given]
            for tensors in (self._parameters, self._means, self._squares, self._steps)
        )
        gradients = [p.grad for p in parameters if p.grad is not None]
        adam(
            parameters, gradients, means, squares, [], steps,
            fused=True, amsgrad=False, maximize=False,
            lr=self.learning_rate, weight_decay=self._weight_decay,
            beta1=BETAS[0], beta2=BETAS[1], eps=EPS,
        )  # fmt: skip

    def state_dict(self) -> dict[str, list[Tensor]]:
        return {"means": self._means, "squares": self._squares, "steps": self._steps}

    def load_state_dict(self, state: dict[str, list[Tensor]]) -> None:
        for name, own in self.state_dict().items():
            for tensor, saved in zip(own, state[name], strict=True):
                tensor.copy_(saved)
