"""Published image and text networks, from the hub, a mirror folder or local files, as one pair.

timm and transformers build the networks and rename what old files call otherwise; neither of them
is ever asked to fetch anything, and every weight must find its place.
"""

from __future__ import annotations

import inspect
from dataclasses import dataclass
from typing import Any

import timm
import torch
from torch import nn
from transformers.models.auto.modeling_auto import MODEL_MAPPING

from lmm4rec.encoders.files.checkpoints import StateDict, load_exactly, read_checkpoint
from lmm4rec.encoders.files.hub import Repository
from lmm4rec.encoders.files.received_files import ReceivedFiles
from lmm4rec.encoders.unimodal.published_towers import (
    Pooling,
    PublishedImageTower,
    PublishedTextTower,
)
from lmm4rec.encoders.unimodal.timm_images import ImageTowerConfig, preprocessing_of, refuse_unknown
from lmm4rec.encoders.unimodal.transformers_texts import (
    TOKENIZER_FILE,
    TextTowerConfig,
    settings_of,
    without_pooler,
)
from lmm4rec.encoders.unimodal.unimodal import Unimodal, UnimodalConfig, read_tokenizer
from lmm4rec.errors import InputError
from lmm4rec.folders import read_json

CONFIG_NAME = "config.json"
POOLING_NAME = "1_Pooling/config.json"  # sentence-transformers
# Of a checkpoint's config: what says nothing of the architecture, or of this machine alone, or
# names code and kernels that transformers would fetch from a hub and run.
_LEFT_OUT = ("_name_or_path", "transformers_version", "dtype", "torch_dtype", "auto_map",
             "quantization_config")  # fmt: skip
_LEFT_OUT_ENDINGS = ("_implementation", "_implementation_internal")
# What timm.create_model takes itself before a model's own options: other weights, other files.
_NOT_OPTIONS = frozenset(inspect.signature(timm.create_model).parameters) - {"kwargs"}


def published_pair(
    image: PublishedImageTower,
    text: PublishedTextTower,
    joint_dimensions: int,
    received: ReceivedFiles,
) -> Unimodal:
    """The pair in eval mode, float32, on CPU; the maps into the joint space are random.

    Raises InputError for files that are absent, of another architecture or vocabulary, or damaged.
    """
    image_config, image_state, image_source = _image_tower(image, received)
    text_config, text_state, text_source = _text_tower(text, received)
    tokenizer = read_tokenizer(text.files().file((TOKENIZER_FILE,)), text_config)
    config = UnimodalConfig(image=image_config, text=text_config, joint_dimensions=joint_dimensions)
    encoder = Unimodal(config, tokenizer, f"{image.files().name} with {text.files().name}")
    load_exactly(encoder.image_tower, image_state, image_source)
    load_exactly(encoder.text_tower, text_state, text_source)
    encoder.eval()
    _check_longest_text(encoder, text_source)
    return encoder


@dataclass(frozen=True)
class _TimmModel:
    name: str
    facts: dict[str, Any] | None  # timm's pretrained_cfg; None: the one that belongs to the name
    options: dict[str, Any]


def _image_tower(
    section: PublishedImageTower, received: ReceivedFiles
) -> tuple[ImageTowerConfig, StateDict, str]:
    model = _timm_model(section)
    path = section.weights(received)
    network: Any = _loaded_by_timm(model, read_checkpoint(path), str(path))
    config = ImageTowerConfig(
        architecture=model.name.partition(".")[0],
        options=model.options,
        preprocessing=preprocessing_of(network),
    )
    network.reset_classifier(0)
    return config, network.state_dict(), str(path)


def _timm_model(section: PublishedImageTower) -> _TimmModel:
    if section.architecture is not None:
        refuse_unknown(section.architecture, "weights.image.architecture")
        return _TimmModel(section.architecture, None, {})
    path = section.files().file((CONFIG_NAME,))
    content = read_json(path)
    if not isinstance(content, dict) or not isinstance(content.get("pretrained_cfg"), dict):
        raise InputError(
            f"{path}: has no `pretrained_cfg`, so timm did not write it; name the architecture in "
            "params.yaml"
        )
    refuse_unknown(str(content.get("architecture")), str(path))
    options = content.get("model_args") or {}
    if strangers := sorted(_NOT_OPTIONS & options.keys()):
        raise InputError(
            f"{path}: model_args holds {strangers[0]!r}, which is no option of a model but says "
            "what is loaded; take it out"
        )
    return _TimmModel(content["architecture"], content["pretrained_cfg"], options)


def _loaded_by_timm(model: _TimmModel, state: StateDict, source: str) -> nn.Module:
    """The whole network, classifier included, with every weight in its place."""
    given = {"state_dict": state, "source": "timm", "custom_load": False}
    try:
        network: nn.Module = timm.create_model(
            model.name,
            pretrained=True,
            pretrained_cfg=model.facts,
            pretrained_cfg_overlay=given,
            **model.options,
        )
    except (RuntimeError, KeyError, TypeError, ValueError, AttributeError) as error:
        reason = " ".join(str(error).split())[:200]
        raise InputError(
            f"{source}: does not fit timm's {model.name} ({reason}); give the weights of that "
            "architecture, or name theirs"
        ) from None
    return network


def _text_tower(
    section: PublishedTextTower, received: ReceivedFiles
) -> tuple[TextTowerConfig, StateDict, str]:
    files = section.files()
    path = files.file((CONFIG_NAME,))
    content = read_json(path)
    if not isinstance(content, dict) or "model_type" not in content:
        raise InputError(f"{path}: names no `model_type`; give a text encoder of transformers")
    config = TextTowerConfig(
        model={
            name: value
            for name, value in content.items()
            if name not in _LEFT_OUT and not name.endswith(_LEFT_OUT_ENDINGS)
        },
        pooling=section.pooling or _pooling_of(files),
        max_text_tokens=section.max_text_tokens,
    )
    settings = settings_of(config, str(path))
    weights = section.weights(received)
    network = _loaded_by_transformers(settings, read_checkpoint(weights), str(weights))
    return config, network.state_dict(), str(weights)


def _pooling_of(files: Repository) -> Pooling:
    path = files.file_if_any(POOLING_NAME)
    content = {} if path is None else read_json(path)
    modes = [name for name, is_so in content.items() if is_so is True and "pooling" in name]
    known: dict[str, Pooling] = {
        "pooling_mode_mean_tokens": "mean",
        "pooling_mode_cls_token": "cls",
    }
    if len(modes) != 1 or modes[0] not in known:
        raise InputError(
            f"{files.name}: {POOLING_NAME} does not say whether texts are read out by the mean of "
            "their tokens or by the first one; set weights.text.pooling to mean or cls"
        )
    return known[modes[0]]


def _loaded_by_transformers(settings: Any, state: StateDict, source: str) -> nn.Module:
    """The network with every weight in its place; the heads of a pretraining may be left over."""
    model: Any = MODEL_MAPPING[type(settings)]
    try:
        network, report = model.from_pretrained(
            None, config=settings, state_dict=dict(state), output_loading_info=True
        )
    except (RuntimeError, ValueError, KeyError, TypeError) as error:
        reason = " ".join(str(error).split())[:200]
        raise _unfitting(source, settings, reason) from None
    prefix = f"{network.base_model_prefix}."
    own = tuple(f"{name}." for name, _ in network.named_children() if name != "pooler")
    missing = [name for name in report["missing_keys"] if not name.startswith("pooler.")]
    # position_ids are constants of old files, which transformers passes over from release 5 on.
    surplus = [
        name
        for name in report["unexpected_keys"]
        if name.removeprefix(prefix).startswith(own) and not name.endswith("position_ids")
    ]
    misshapen = [str(fault[0]) for fault in report["mismatched_keys"]]
    faults = {"missing": missing, "not part of it": surplus, "of another shape": misshapen}
    found = [f"{len(names)} {sort} ({min(names)})" for sort, names in faults.items() if names]
    if found:
        raise _unfitting(source, settings, "; ".join(found))
    return without_pooler(network.float())


def _unfitting(source: str, settings: Any, reason: str) -> InputError:
    return InputError(
        f"{source}: does not fit the {settings.model_type} that config.json describes ({reason}); "
        "give the weights that belong to it"
    )


@torch.no_grad()
def _check_longest_text(encoder: Unimodal, source: str) -> None:
    """Position tables may begin late, so that only trying says how long texts may be."""
    most = encoder.config.text.max_text_tokens
    try:
        encoder.encode_texts(encoder.tokenizer(["a " * most]))
    except (IndexError, RuntimeError):
        raise InputError(
            f"{source}: has too few text positions for max_text_tokens = {most}; lower it"
        ) from None
