"""Published open_clip weights: found by name on the hub, in a mirror folder or in local files.

What belongs together stays together: a tag brings the activation and the preprocessing that its
weights were trained with, and an architecture that computes something else is refused.
"""

from __future__ import annotations

import json
from dataclasses import asdict, dataclass
from pathlib import Path

import open_clip
from open_clip.constants import HF_SAFE_WEIGHTS_NAME, HF_WEIGHTS_NAME
from open_clip.convert import convert_state_dict
from open_clip.model import convert_to_custom_text_state_dict
from open_clip.pretrained import get_pretrained_cfg, list_pretrained_tags_by_model
from open_clip.transform import PreprocessCfg, merge_preprocess_dict

from lmm4rec.catalogue.downloads import fetch
from lmm4rec.encoders.clip.clip import Clip, ClipConfig
from lmm4rec.encoders.clip.network import ClipTokenizer, Settings
from lmm4rec.encoders.files.checkpoints import StateDict, load_exactly, read_checkpoint
from lmm4rec.encoders.files.hub import hub_file, hub_tokenizer
from lmm4rec.encoders.files.received_files import ReceivedFiles
from lmm4rec.encoders.files.torchscript import is_torchscript, torchscript_tensors
from lmm4rec.errors import InputError, did_you_mean
from lmm4rec.folders import read_json

HUB_PREFIX = "hf-hub:"
CONFIG_NAME = "open_clip_config.json"
_WEIGHTS_NAMES = (HF_SAFE_WEIGHTS_NAME, HF_WEIGHTS_NAME)
# What OpenAI's archives hold beside the weights: numbers, and masks that networks make themselves.
_ARCHIVE_EXTRAS = ("input_resolution", "context_length", "vocab_size", "attn_mask")


@dataclass(frozen=True)
class Published:
    """All that makes an encoder: its configuration and where its files lie."""

    config: ClipConfig
    weights: Path
    origin: str | None  # where others find the weights; None for a person's own
    tokenizer: Path | None  # a transformers tokenizer; None for CLIP's own
    source: str  # for messages


def published_clip(
    architecture: str | None,
    pretrained: str | None,
    path: Path | None,
    sha256: str | None,
    received: ReceivedFiles,
) -> Clip:
    """A published model as an encoder, in eval mode, float32, on CPU.

    Named by architecture and tag, whose weights come from the hub or from the file `path`; or by
    `hf-hub:owner/name` alone; or by a folder `path` with open_clip_config.json alone. `sha256` is
    checked against the weights file, or what its address gave before; `received` records it.
    """
    if architecture is None:
        found = _in_folder(path)
    elif architecture.startswith(HUB_PREFIX):
        found = _on_hub(architecture, pretrained, path)
    else:
        found = _by_tag(architecture, pretrained, path, received.scratch)
    received.note(found.weights, found.origin, sha256)
    tokenizer = ClipTokenizer(found.config.model["text_cfg"], found.tokenizer)
    encoder = Clip(found.config, tokenizer, found.source)
    state = _state(found.weights, encoder, found.source)
    load_exactly(encoder.model, state, str(found.weights))
    return encoder.eval()


def _by_tag(architecture: str, tag: str | None, path: Path | None, scratch: Path) -> Published:
    model = open_clip.get_model_config(architecture)
    if model is None:
        known = open_clip.list_models()
        raise InputError(
            f"open_clip has no architecture {architecture!r}; {did_you_mean(architecture, known)}"
        )
    facts = get_pretrained_cfg(architecture, tag) if tag else None
    if not facts:
        tags = list_pretrained_tags_by_model(architecture)
        raise InputError(
            f"open_clip has no weights {tag!r} of {architecture}; {did_you_mean(str(tag), tags)} "
            "(weights of your own: a folder with open_clip_config.json, without architecture)"
        )
    source = f"{architecture} / {tag}"
    _refuse_other_activation(model, bool(facts.get("quick_gelu")), source)
    config = _config(model, facts)
    if path is not None:
        weights, origin = path, None
    else:
        weights, origin = _download(facts, source, scratch)
    return Published(config, weights, origin, _tokenizer_folder(model, weights), source)


def _on_hub(architecture: str, tag: str | None, path: Path | None) -> Published:
    if tag is not None or path is not None:
        raise InputError(
            f"{architecture} names weights already; set `pretrained` and `path` beside it to null"
        )
    repository = architecture.removeprefix(HUB_PREFIX)
    config = hub_file(repository, (CONFIG_NAME,))
    weights = hub_file(repository, _WEIGHTS_NAMES)
    return _with_config(config, weights, f"{repository}/{weights.name}", architecture)


def _in_folder(path: Path | None) -> Published:
    if path is None or not path.is_dir():
        raise InputError(
            f"{path}: without architecture, `path` must be a folder with {CONFIG_NAME} and weights;"
            " give such a folder, or an architecture and a tag"
        )
    files = sorted(path.glob("*.safetensors")) or sorted(path.glob("*.bin"))
    if len(files) != 1:
        raise InputError(f"{path}: holds {len(files)} weights files; leave exactly one in it")
    return _with_config(path / CONFIG_NAME, files[0], None, str(path))


def _with_config(path: Path, weights: Path, origin: str | None, source: str) -> Published:
    content = read_json(path)
    if not isinstance(content, dict) or not isinstance(content.get("model_cfg"), dict):
        raise InputError(f"{path}: has no `model_cfg`; give the file that open_clip wrote")
    model = content["model_cfg"]
    config = _config(model, content.get("preprocess_cfg") or {})
    return Published(config, weights, origin, _tokenizer_folder(model, weights), source)


def _config(model: Settings, preprocess: Settings) -> ClipConfig:
    """Both dictionaries as JSON has them; the picture's size is the network's."""
    merged = merge_preprocess_dict(asdict(PreprocessCfg()), preprocess)
    merged["size"] = model["vision_cfg"].get("image_size", 224)
    return ClipConfig(model=model, preprocess=json.loads(json.dumps(merged)))


def _refuse_other_activation(model: Settings, is_quick: bool, source: str) -> None:
    """QuickGELU weights in a GELU network load without a murmur and give other features."""
    if bool(model.get("quick_gelu")) != is_quick:
        wanted, has = ("QuickGELU", "GELU") if is_quick else ("GELU", "QuickGELU")
        raise InputError(
            f"{source}: these weights were trained with {wanted} and the architecture computes "
            f"{has}; choose the architecture {'with' if is_quick else 'without'} -quickgelu in its "
            "name"
        )


def _state(path: Path, encoder: Clip, source: str) -> StateDict:
    """The weights under the names that the network has."""
    if is_torchscript(path):  # OpenAI's files
        _refuse_other_activation(encoder.config.model, True, source)
        state: StateDict = {
            name: tensor.float()
            for name, tensor in torchscript_tensors(path).items()
            if name.rpartition(".")[2] not in _ARCHIVE_EXTRAS
        }
    else:
        state = read_checkpoint(path)
    network = encoder.model
    state = convert_state_dict(network, state)
    if not hasattr(network, "positional_embedding"):  # the text tower is a module of its own
        state = convert_to_custom_text_state_dict(state)
    for name in ("logit_scale", "logit_bias"):
        if name in state and getattr(network, name, None) is not None:
            state[name] = state[name].reshape(getattr(network, name).shape)
    return state


def _download(facts: Settings, source: str, scratch: Path) -> tuple[Path, str]:
    """The weights file and its public address."""
    hub = facts.get("hf_hub")
    if hub:
        repository, _, name = hub.rpartition("/")
        names = (f"{Path(name).stem}.safetensors", name) if name else _WEIGHTS_NAMES
        weights = hub_file(repository, names)
        return weights, f"{repository}/{weights.name}"
    if not facts.get("url"):
        raise InputError(f"{source}: open_clip knows no address of these weights; set `path`")
    destination = scratch / Path(facts["url"]).name
    fetch(facts["url"], destination)
    return destination, facts["url"]


def _tokenizer_folder(model: Settings, weights: Path) -> Path | None:
    """The folder of the transformers tokenizer, where the model has one: the weights' own first."""
    repository = model["text_cfg"].get("hf_tokenizer_name")
    if not repository:
        return None
    if any(weights.parent.glob("tokenizer*")):
        return weights.parent
    return hub_tokenizer(repository)
