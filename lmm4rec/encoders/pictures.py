"""RGB picture -> tensor for the unified encoders: squashed to a square, scaled to [-1, 1].

The published BEiT-3 and VLMo preprocessing is the same. Callables of both classes are picklable
and hold no weights.
"""

from __future__ import annotations

import math

import numpy as np
import torch
from PIL import Image
from torch import Tensor

CROPPED_SHARE = (0.5, 1.0)  # of the area
ASPECT = (3 / 4, 4 / 3)  # width over height of what is cropped
_TRIES = 10  # to find a crop that fits into the picture


class SquashToSquare:
    """Any picture -> [3, S, S]: bicubic resize that ignores the aspect ratio, no crop."""

    def __init__(self, side: int) -> None:
        self.side = side

    def __call__(self, picture: Image.Image) -> Tensor:
        square = picture.convert("RGB").resize((self.side, self.side), Image.Resampling.BICUBIC)
        return _to_tensor(square)


class RandomSquare:
    """Any picture -> [3, S, S]: half to all of it cropped, resized bicubic, mirrored half the time.

    Randomness comes from torch's global generator. The same bits as torchvision's RandomResizedCrop
    and RandomHorizontalFlip, whose import takes two seconds.
    """

    def __init__(self, side: int) -> None:
        self.side = side

    def __call__(self, picture: Image.Image) -> Tensor:
        part = picture.convert("RGB").crop(_random_box(*picture.size))
        square = part.resize((self.side, self.side), Image.Resampling.BICUBIC)
        if torch.rand(1) < 0.5:
            square = square.transpose(Image.Transpose.FLIP_LEFT_RIGHT)
        return _to_tensor(square)


def _random_box(width: int, height: int) -> tuple[int, int, int, int]:
    """Left, top, right, bottom of a part with a random share of the area, aspect and place.

    The largest part in the middle with an allowed aspect, where no random one fits.
    """
    logarithms = torch.log(torch.tensor(ASPECT))
    for _ in range(_TRIES):
        area = width * height * torch.empty(1).uniform_(*CROPPED_SHARE).item()
        aspect = torch.exp(torch.empty(1).uniform_(*logarithms.tolist())).item()
        columns, rows = round(math.sqrt(area * aspect)), round(math.sqrt(area / aspect))
        if 0 < columns <= width and 0 < rows <= height:
            top = int(torch.randint(height - rows + 1, (1,)))
            left = int(torch.randint(width - columns + 1, (1,)))
            return left, top, left + columns, top + rows
    low, high = ASPECT
    columns, rows = min(width, round(height * high)), min(height, round(width / low))
    left, top = (width - columns) // 2, (height - rows) // 2
    return left, top, left + columns, top + rows


def _to_tensor(picture: Image.Image) -> Tensor:
    """Bytes [S, S, 3] -> float32 [3, S, S] = (x / 255 - 0.5) / 0.5."""
    pixels = torch.from_numpy(np.array(picture)).permute(2, 0, 1)  # [3, S, S]
    return pixels.contiguous().float().div_(255).sub_(0.5).div_(0.5)
