"""Batch norms that see the whole batch where several processes share it.

torch's own SyncBatchNorm does so on CUDA alone. With one process nothing changes.

Shapes: B_r rows of this process, C channels; any places behind them.
"""

from __future__ import annotations

from typing import Any

import torch
from torch import Tensor, nn
from torch.nn.modules.batchnorm import _BatchNorm

from lmm4rec.distributed import gather, ranks


def share_batch_norms(network: nn.Module) -> None:
    """Make every batch norm of `network` normalise by the rows of all processes in training."""
    for module in network.modules():
        if isinstance(module, _BatchNorm):
            kind = type(module)
            module.__class__ = type(f"Shared{kind.__name__}", (_Shared, kind), {})


class _Shared(_BatchNorm):
    """Stands before the norm's own class, whose forward it replaces only where it must."""

    def forward(self, input: Tensor) -> Tensor:
        if not self.training or ranks() == 1:
            whole: Tensor = super().forward(input)
            return whole
        result = self._normalised(input)
        for name in ("drop", "act"):  # timm's norms bring what follows them
            following: Any = getattr(self, name, None)
            result = result if following is None else following(result)
        return result

    def _normalised(self, input: Tensor) -> Tensor:
        rows = input.float() if input.dtype in (torch.float16, torch.bfloat16) else input
        places = [axis for axis in range(rows.ndim) if axis != 1]
        shape = [1, -1] + [1] * (rows.ndim - 2)
        count = _summed(rows.new_full((1,), rows.numel() / rows.shape[1]))
        mean = _summed(rows.sum(places)) / count  # [C]
        centred = rows - mean.view(shape)
        variance = _summed(centred.square().sum(places)) / count  # [C]
        self._remember(mean.detach(), variance.detach() * count / (count - 1))
        result = centred * (variance + self.eps).rsqrt().view(shape)
        if self.affine:
            result = result * self.weight.view(shape) + self.bias.view(shape)
        return result.to(input.dtype)

    def _remember(self, mean: Tensor, variance: Tensor) -> None:
        """Move the running statistics as `nn.BatchNorm2d` does; `variance` is unbiased."""
        if self.running_mean is None or self.running_var is None:
            return
        assert self.num_batches_tracked is not None
        self.num_batches_tracked.add_(1)
        share = 1 / float(self.num_batches_tracked) if self.momentum is None else self.momentum
        self.running_mean.lerp_(mean.to(self.running_mean.dtype), share)
        self.running_var.lerp_(variance.to(self.running_var.dtype), share)


def _summed(values: Tensor) -> Tensor:
    """[C] of every process -> their sum [C], with gradient."""
    return gather(values[None]).sum(0)
