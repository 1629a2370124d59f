"""Blocks of image and text towers, from input to output, and two towers side by side."""

from __future__ import annotations

from typing import Any

from torch import nn

from lmm4rec.errors import InputError


def aligned_at_output(towers: list[list[nn.Module]]) -> list[nn.Module]:
    """The towers' blocks, element i of all holding the i-th last of each tower that is as deep."""
    depth = max(len(blocks) for blocks in towers)
    missing = [depth - len(blocks) for blocks in towers]
    return [
        nn.ModuleList(
            blocks[index - shift]
            for blocks, shift in zip(towers, missing, strict=True)
            if index >= shift
        )
        for index in range(depth)
    ]


def image_blocks(tower: Any) -> list[nn.Module]:
    """The blocks of a transformer, or the stages of a hierarchical or convolutional network.

    Knows how timm and open_clip call them; raises InputError for a network that calls them
    otherwise.
    """
    for name in ("blocks", "stages", "layers"):
        if hasattr(tower, name):
            return list(getattr(tower, name))
    stages = [getattr(tower, f"layer{number}", None) for number in (1, 2, 3, 4)]  # ResNets
    if None in stages:
        raise InputError(
            f"the image network {type(tower).__name__} has no blocks or stages that are known "
            "here, so it cannot be trained; choose a ResNet, a ConvNeXt, a ViT or another network "
            "with stages, or take the encoder out of run.tuned"
        )
    return [stage for stage in stages if stage is not None]
