"""Which of an encoder's parameters are trained, at what rate, and with how much decay.

Depth counts from the input: 0 for embeddings and what stands before the first block, i + 1 for
block i of `Encoder.layers()`, and one more than all of them for projections, last norms and heads.
"""

from __future__ import annotations

import re
from collections.abc import Iterator
from typing import Annotated, Any, Literal

from pydantic import Field
from torch import nn

from lmm4rec.encoders.base import Encoder
from lmm4rec.errors import InputError
from lmm4rec.params import Dimensions, Section

# How the parts before the first block are called in open_clip, timm, BEiT-3 and VLMo.
_INPUT_SIDE = re.compile(
    r"embed|cls_token|mask_token|reg_token|relative_position|patch|stem|ln_pre|norm_pre"
    r"|visual\.(conv|bn)[123]\b|image_tower\.(conv|bn)1\b"
)


class TuneAll(Section):
    """Every parameter is trained."""

    kind: Literal["all"]


class TuneLastBlocks(Section):
    """The last blocks of each tower, and the projections, norms and scales behind them."""

    kind: Literal["last-blocks"]
    blocks: int = Field(gt=0, le=1000)


class TuneLora(Section):
    """Low-rank changes of the blocks' maps (Hu et al. 2022), merged when training ends.

    Of linear maps and, in convolutional stages, of convolutions that are not grouped. Parameters
    that no pre-training has seen are trained too.
    """

    kind: Literal["lora"]
    rank: Dimensions
    alpha: int = Field(gt=0, le=65_536)  # the change is scaled by alpha / rank


Tune = Annotated[TuneAll | TuneLastBlocks | TuneLora, Field(discriminator="kind")]


class Trainable:
    """An encoder whose parameters are frozen, or adapted, as `tune` says. `finish` undoes it."""

    def __init__(self, encoder: Encoder, tune: Tune) -> None:
        self.encoder = encoder
        self._lora: Any = None
        if isinstance(tune, TuneLora):
            self._lora = _adapted(encoder, tune)
        elif isinstance(tune, TuneLastBlocks):
            depths, heads = parameter_depths(encoder), len(encoder.layers()) + 1
            if tune.blocks >= heads:
                raise InputError(
                    f"tune.blocks is {tune.blocks}, but this encoder has "
                    f"{heads - 1} blocks; set it lower, or tune all"
                )
            for name, parameter in encoder.named_parameters():
                parameter.requires_grad_(depths[name] >= heads - tune.blocks)

    def groups(
        self, learning_rate: float, weight_decay: float, layer_decay: float
    ) -> list[dict[str, Any]]:
        """AdamW's parameter groups, each with its full learning rate as `peak`.

        A parameter of depth d gets learning_rate * layer_decay ** (deepest - d). Vectors and
        scalars (biases, norms, logit scales) are not decayed.
        """
        deepest = len(self.encoder.layers()) + 1
        depths = parameter_depths(self.encoder)
        groups: dict[tuple[int, bool], dict[str, Any]] = {}
        for name, parameter in self.encoder.named_parameters():
            if not parameter.requires_grad:
                continue
            is_decayed = parameter.ndim > 1 and not name.endswith("bias")
            group = groups.setdefault(
                (depths[name], is_decayed),
                {
                    "params": [],
                    "weight_decay": weight_decay if is_decayed else 0.0,
                    "peak": learning_rate * layer_decay ** (deepest - depths[name]),
                },
            )
            group["params"].append(parameter)
        return list(groups.values())

    def finish(self) -> None:
        """The encoder as it was built, with the trained weights in place."""
        if self._lora is not None:
            self._lora.merge_and_unload()
        self.encoder.requires_grad_(True)


def parameter_depths(encoder: Encoder) -> dict[str, int]:
    """The depth of every parameter by name."""
    layers = encoder.layers()
    inside = {
        id(parameter): depth
        for depth, layer in enumerate(layers, start=1)
        for parameter in layer.parameters()
    }
    return {
        name: inside.get(id(parameter), 0 if _INPUT_SIDE.search(name) else len(layers) + 1)
        for name, parameter in encoder.named_parameters()
    }


def _adapted(encoder: Encoder, tune: TuneLora) -> Any:
    """The blocks alone are handed to peft, which takes an encoder's `config` for its own kind."""
    # Here, since it takes seconds to import and most tuning does without.
    from peft import LoraConfig
    from peft.tuners.lora import LoraModel

    encoder.requires_grad_(False)
    for parameter in encoder.new_parameters():
        parameter.requires_grad_(True)
    blocks = nn.ModuleList(encoder.layers())
    config = LoraConfig(
        r=tune.rank, lora_alpha=tune.alpha, target_modules=sorted(_adaptable_maps(blocks))
    )
    return LoraModel(blocks, {"default": config}, "default")


def _adaptable_maps(blocks: nn.ModuleList) -> Iterator[str]:
    """Names of the maps; attention that keeps its maps to itself counts whole."""
    whole: list[str] = []
    for name, module in blocks.named_modules():
        if isinstance(module, nn.MultiheadAttention):
            whole.append(f"{name}.")
            yield name
        elif _is_map(module) and not any(map(name.startswith, whole)):
            yield name


def _is_map(module: nn.Module) -> bool:
    """Grouped convolutions (one small map per channel or group) have no rank to spare."""
    return isinstance(module, nn.Linear) or (isinstance(module, nn.Conv2d) and module.groups == 1)
