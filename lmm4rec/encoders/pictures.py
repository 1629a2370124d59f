"""RGB picture -> tensor for the unified encoders: squashed to a square, scaled to [-1, 1].

The published BEiT-3 and VLMo preprocessing is the same. Callables of both classes are picklable
and hold no weights.
"""

from __future__ import annotations

import numpy as np
import torch
from PIL import Image
from torch import Tensor
from torchvision import transforms


class SquashToSquare:
    """Any picture -> [3, S, S]: bicubic resize that ignores the aspect ratio, no crop."""

    def __init__(self, side: int) -> None:
        self.side = side

    def __call__(self, picture: Image.Image) -> Tensor:
        square = picture.convert("RGB").resize((self.side, self.side), Image.Resampling.BICUBIC)
        return _to_tensor(square)


class RandomSquare:
    """Any picture -> [3, S, S]: half to all of it cropped, resized bicubic, mirrored half the time.

    Randomness comes from torch's global generator.
    """

    def __init__(self, side: int) -> None:
        self._vary = transforms.Compose(
            [
                transforms.RandomResizedCrop(
                    side, scale=(0.5, 1.0), interpolation=transforms.InterpolationMode.BICUBIC
                ),
                transforms.RandomHorizontalFlip(),
            ]
        )

    def __call__(self, picture: Image.Image) -> Tensor:
        return _to_tensor(self._vary(picture.convert("RGB")))


def _to_tensor(picture: Image.Image) -> Tensor:
    """Bytes [S, S, 3] -> float32 [3, S, S] = (x / 255 - 0.5) / 0.5."""
    pixels = torch.from_numpy(np.array(picture)).permute(2, 0, 1)  # [3, S, S]
    return pixels.contiguous().float().div_(255).sub_(0.5).div_(0.5)
