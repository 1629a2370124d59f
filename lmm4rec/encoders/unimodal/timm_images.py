"""Image towers that timm builds: any of its models by name, with the preprocessing it belongs to.

Shapes: B pictures, S picture side in pixels, D dims of the pooled vector.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import timm
from PIL import Image
from pydantic import Field
from timm.data import config as timm_config
from timm.data.transforms_factory import create_transform
from torch import Tensor, nn
from torchvision import transforms

from lmm4rec.errors import InputError, did_you_mean
from lmm4rec.params import Section


class Preprocessing(Section):
    """timm's data configuration of a model, whole."""

    input_size: list[int] = Field(min_length=3, max_length=3)  # channels, height, width
    interpolation: str
    mean: list[float] = Field(min_length=3, max_length=3)
    std: list[float] = Field(min_length=3, max_length=3)
    crop_pct: float = Field(gt=0)  # the crop's share of the resized picture's short side
    crop_mode: str

    def transform(self) -> Callable[[Image.Image], Tensor]:
        """RGB picture -> [3, S, S], as timm evaluates the model."""
        settings: dict[str, Any] = self.model_dump()
        settings["input_size"] = tuple(self.input_size)
        found: Callable[[Image.Image], Tensor] = create_transform(**settings, is_training=False)
        return found

    def augmenting_transform(self) -> Callable[[Image.Image], Tensor]:
        """The same with half to all of the picture cropped, and mirrored half the time.

        timm's own draws from Python's generator, which data-loading workers do not seed.
        """
        found: Callable[[Image.Image], Tensor] = transforms.Compose(
            [
                transforms.RandomResizedCrop(
                    self.input_size[1:],
                    scale=(0.5, 1.0),
                    interpolation=transforms.InterpolationMode(self.interpolation),
                ),
                transforms.RandomHorizontalFlip(),
                transforms.ToTensor(),
                transforms.Normalize(self.mean, self.std),
            ]
        )
        return found


class ImageTowerConfig(Section):
    """What rebuilds a timm model without its classifier, without asking anyone."""

    architecture: str  # timm's name without a tag
    options: dict[str, Any]  # of timm.create_model, beside the name
    preprocessing: Preprocessing


def preprocessing_of(network: nn.Module) -> Preprocessing:
    """The data configuration that belongs to a model's weights."""
    resolve: Any = timm_config.resolve_model_data_config
    facts = {
        name: list(value) if isinstance(value, tuple) else value
        for name, value in resolve(network).items()
    }
    return Preprocessing.model_validate(facts)


def build_image_tower(config: ImageTowerConfig, source: str) -> nn.Module:
    """The network with random weights: [B, 3, S, S] -> pooled vectors [B, D]."""
    refuse_unknown(config.architecture, source)
    try:
        tower: nn.Module = timm.create_model(
            config.architecture, pretrained=False, num_classes=0, **config.options
        )
    except (TypeError, ValueError, RuntimeError, AssertionError) as error:
        reason = " ".join(str(error).split())[:160]
        raise InputError(
            f"{source}: timm cannot build {config.architecture} with these options ({reason}); "
            "correct them, or write the folder again"
        ) from None
    return tower


def pooled_dim(tower: Any) -> int:
    """D of a tower's pooled vectors."""
    return int(tower.head_hidden_size)


def refuse_unknown(architecture: str, source: str) -> None:
    """InputError unless timm has a model of that name, tag included where there is one."""
    name, _, tag = architecture.partition(".")
    if not timm.is_model(name):
        known = timm.list_models()
        raise InputError(
            f"{source}: timm has no model {name!r}; {did_you_mean(name, known)}"
            if did_you_mean(name, known).startswith("did")
            else f"{source}: timm has no model {name!r}; `timm.list_models()` names all"
        )
    if tag:
        tagged = timm.list_models(f"{name}.*", pretrained=True)
        if architecture not in tagged:
            raise InputError(
                f"{source}: timm has no weights {tag!r} of {name}; "
                f"{did_you_mean(architecture, tagged)}"
            )
