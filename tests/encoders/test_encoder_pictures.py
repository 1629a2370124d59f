"""Pictures as the unified encoders take them, against torchvision's transforms."""

import numpy as np
import pytest
import torch
from PIL import Image
from torchvision import transforms

from lmm4rec.encoders.pictures import RandomSquare, SquashToSquare

BICUBIC = transforms.InterpolationMode.BICUBIC
TO_TENSOR = [transforms.ToTensor(), transforms.Normalize([0.5] * 3, [0.5] * 3)]
SIZES = [(48, 48), (61, 47), (30, 90), (400, 9), (9, 400), (1, 1), (1, 300)]  # the last fit no crop


def noise(width: int, height: int, seed: int) -> Image.Image:
    pixels = np.random.default_rng(seed).integers(0, 256, (height, width, 3), np.uint8)
    return Image.fromarray(pixels)


@pytest.mark.parametrize("size", SIZES)
def test_a_random_square_is_torchvisions(size: tuple[int, int]) -> None:
    """The same bits, and as much chance drawn, over twenty seeds."""
    cropped = transforms.RandomResizedCrop(24, scale=(0.5, 1.0), interpolation=BICUBIC)
    theirs = transforms.Compose([cropped, transforms.RandomHorizontalFlip(), *TO_TENSOR])
    ours = RandomSquare(24)
    for seed in range(20):
        picture = noise(*size, seed)
        torch.manual_seed(seed)
        expected, next_draw = theirs(picture), torch.rand(1)
        torch.manual_seed(seed)
        assert torch.equal(ours(picture), expected)
        assert torch.rand(1) == next_draw


@pytest.mark.parametrize("size", SIZES)
def test_a_squashed_square_is_torchvisions(size: tuple[int, int]) -> None:
    resized = transforms.Resize((24, 24), interpolation=BICUBIC)
    theirs = transforms.Compose([resized, *TO_TENSOR])
    assert torch.equal(SquashToSquare(24)(noise(*size, 0)), theirs(noise(*size, 0)))
