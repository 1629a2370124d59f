"""The weights that tiny encoders start from when they are trained from scratch."""

from __future__ import annotations

from collections.abc import Iterable

from torch import nn

TABLE_DEVIATION = 0.02
PLACE_DEVIATION = 0.5


def initialise(module: nn.Module) -> None:
    """For `nn.Module.apply`: linear maps keep their input's variance, tables start small, biases 0.

    Ours, for tiny models: the official deviation of 0.02 cut at +-0.02 suits a width of 768 and
    hardly lets a signal through a width of 96, and official BEiT-3 positions of deviation 1 drown
    its words.
    """
    if isinstance(module, nn.Linear):
        nn.init.trunc_normal_(module.weight, std=module.in_features**-0.5)
        if module.bias is not None:
            nn.init.zeros_(module.bias)
    elif isinstance(module, nn.Embedding):
        nn.init.normal_(module.weight, std=TABLE_DEVIATION)
    else:
        cls_token = getattr(module, "cls_token", None)
        if isinstance(cls_token, nn.Parameter):
            nn.init.normal_(cls_token, std=TABLE_DEVIATION)


def initialise_places(tables: Iterable[nn.Parameter]) -> None:
    """Positions of a picture's patches start as strong as what the patches show.

    From the usual small start a model learns where things are, and so their shape, only in a
    training far longer than a tiny one's.
    """
    for table in tables:
        nn.init.normal_(table, std=PLACE_DEVIATION)
