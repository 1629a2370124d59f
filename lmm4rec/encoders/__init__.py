"""Encoders by family. The table is literal and the imports lazy: looking a name up costs nothing.

Adding one: a file with a subclass of `base.Encoder` in a room of its kind, and a line in the
table. The contract tests find it by themselves.
"""

from __future__ import annotations

from importlib import import_module
from pathlib import Path
from typing import TYPE_CHECKING

from lmm4rec.doors import fitting, made_by
from lmm4rec.errors import InputError, did_you_mean
from lmm4rec.folders import read_json

if TYPE_CHECKING:
    from lmm4rec.encoders.base import Encoder

FAMILIES = {
    "clip": "clip.clip:Clip",
    "beit3": "unified.beit3:Beit3",
    "vlmo": "unified.vlmo:Vlmo",
    "unimodal": "unimodal.unimodal:Unimodal",
}


def encoder_class(family: str, where: str) -> type[Encoder]:
    """The class of a family; its file is imported only now. `where` stood the name."""
    if family not in FAMILIES:
        raise InputError(
            f"{where}: {family!r} is not a family of encoders; {did_you_mean(family, FAMILIES)}"
        )
    module, class_name = FAMILIES[family].split(":")
    found: type[Encoder] = getattr(import_module(f"{__name__}.{module}"), class_name)
    return found


def load_encoder(folder: Path) -> Encoder:
    """The encoder that was saved into `folder`, in eval mode, float32, on CPU. Opens no socket."""
    config = folder / "config.json"
    content = read_json(config)
    if not isinstance(content, dict) or not isinstance(content.get("family"), str):
        raise InputError(f"{config}: names no family of encoders; run stage weights again")
    with fitting(str(config), made_by("weights")):
        return encoder_class(content["family"], str(config)).load(folder)
