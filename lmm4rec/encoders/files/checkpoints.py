"""Weights in and out: official checkpoint files, and the folders that encoders save themselves to.

A file from the internet is never unpickled freely: torch files are read with `weights_only`, with
argparse.Namespace (which the official files hold) as the only extra class allowed.
"""

from __future__ import annotations

import argparse
import os
from collections.abc import Callable, Collection, Iterator, Mapping, Sequence
from contextlib import contextmanager
from pathlib import Path
from typing import Any, TypeVar

import torch
from pydantic import BaseModel
from safetensors.torch import load_file, save_file
from torch import Tensor, nn
from torch.overrides import TorchFunctionMode

from lmm4rec.doors import TORCH_DAMAGE, damage, finished_name, reading, shortened
from lmm4rec.errors import InputError, did_you_mean
from lmm4rec.folders import read_json, whole_file, write_json
from lmm4rec.params import check_section
from lmm4rec.resuming import tensor_not_finite

WEIGHTS_FILE = "model.safetensors"
CONFIG_FILE = "config.json"
CHECKPOINT = "a whole checkpoint"
DOWNLOAD_AGAIN = "delete it and download it again"

StateDict = dict[str, Tensor]
AnyConfig = TypeVar("AnyConfig", bound=BaseModel)

# The shortest set of names that gives a kind of checkpoint away.
KINDS = {
    "a BEiT-3 checkpoint": ("beit3.encoder.",),
    "a VLMo checkpoint": ("transformer.blocks.0.mlp_imag.", "transformer.blocks.0.norm2_imag."),
    "a CLIP checkpoint": ("visual.", "vision_model."),
    "a ViLT-like checkpoint": ("transformer.blocks.",),
    "a BERT checkpoint": ("bert.", "encoder.layer."),
}


def read_checkpoint(
    path: Path, containers: Sequence[str] = ("model", "module", "state_dict")
) -> StateDict:
    """The named tensors of a safetensors or torch file, half precision cast to float32.

    Looks into the first of `containers` that the file has, else takes the file itself for the
    state dict; a `module.` in front of every name is dropped. Raises InputError for a file that is
    absent, damaged, no checkpoint, or that holds more than tensors and plain Python values.
    """
    try:
        with path.open("rb") as file:
            start = file.read(9)
            size = os.fstat(file.fileno()).st_size
    except OSError:
        raise InputError(f"{path}: cannot be read; run the stage that downloads it") from None
    if _begins_as_safetensors(start, size):
        content = _read_safetensors(path)
    elif start.lstrip()[:1] == b"<":
        raise InputError(f"{path}: a web page, not a checkpoint; download the file again")
    else:
        is_torch_file = start[:2] == b"PK" or start[:1] == b"\x80"
        content = _read_torch(path) if is_torch_file else _read_safetensors(path)
    tensors = _tensors_in(content, containers)
    if not tensors:
        raise InputError(f"{path}: holds no named tensors; give a file with a model's state dict")
    return tensors


def _begins_as_safetensors(start: bytes, size: int) -> bool:
    """The header's length in 8 bytes, which may look like another format's, then the header."""
    return start[8:9] == b"{" and int.from_bytes(start[:8], "little") <= size


def _read_safetensors(path: Path) -> Any:
    with reading(path, CHECKPOINT, DOWNLOAD_AGAIN):
        return load_file(path)


def _read_torch(path: Path) -> Any:
    expected: tuple[type[BaseException], ...] = (*damage(), *TORCH_DAMAGE, OSError, MemoryError)
    try:
        # the open file: by a path's name torch would choose safetensors for .safetensors
        with path.open("rb") as file, torch.serialization.safe_globals([argparse.Namespace]):
            return torch.load(file, map_location="cpu", weights_only=True)
    except expected as error:
        if "TorchScript" in str(error):
            raise InputError(
                f"{path}: a TorchScript archive (OpenAI's CLIP files are), not a state dict; "
                "give the checkpoint of the encoder that is configured here"
            ) from None
        if "Unsupported global" in str(error) or "Unsupported class" in str(error):
            raise InputError(
                f"{path}: holds Python objects that would run code when loaded; where you trust "
                "its origin, save its state dict alone as safetensors and give that file"
            ) from None
        raise InputError(
            f"{path}: not {CHECKPOINT} ({shortened(error)}); {DOWNLOAD_AGAIN}"
        ) from None


def _tensors_in(content: Any, containers: Sequence[str]) -> StateDict:
    if not isinstance(content, Mapping):
        return {}
    inner = (content[name] for name in containers if isinstance(content.get(name), Mapping))
    state = next(inner, content)
    tensors = {
        name: value
        for name, value in state.items()
        if isinstance(name, str) and isinstance(value, Tensor)
    }
    if all(name.startswith("module.") for name in tensors):
        tensors = {name.removeprefix("module."): value for name, value in tensors.items()}
    return {name: value.float() if value.is_floating_point() else value
            for name, value in tensors.items()}  # fmt: skip


def kind_of(state: Mapping[str, Tensor]) -> str:
    """What a state dict is, in words, judged by its names."""
    for kind, prefixes in KINDS.items():
        if any(name.startswith(prefixes) for name in state):
            return kind
    return f"an unknown checkpoint (its first name is {min(state)!r})"


@contextmanager
def without_weights() -> Iterator[None]:
    """A model made inside has shapes alone (the meta device); `load_exactly` gives it weights.

    Nothing is drawn for it either: on the meta device a draw is a decomposition in Python, the
    first of which imports torch's compiler. Loading a tiny encoder took 4.5 s with it, 0.4 without.
    """
    with torch.device("meta"), _NoDraws():
        yield


class _NoDraws(TorchFunctionMode):
    def __torch_function__(
        self,
        func: Callable[..., Any],
        types: Collection[type],
        args: tuple[Any, ...] = (),
        kwargs: Mapping[str, Any] | None = None,
    ) -> Any:
        kwargs = kwargs or {}
        if func.__name__ in ("normal_", "uniform_", "kaiming_uniform_", "trunc_normal_"):
            return args[0] if args else kwargs["tensor"]
        return func(*args, **kwargs)


def load_exactly(model: nn.Module, state: StateDict, source: str) -> None:
    """Put `state` into `model` (made `without_weights` or not); every name and shape must match.

    Raises InputError naming the first misfit of each sort, and weights that are not finite.
    """
    wanted = model.state_dict()
    missing = [name for name in wanted if name not in state]
    extra = [name for name in state if name not in wanted]
    misshapen = [
        f"{name} is {list(state[name].shape)}, not {list(wanted[name].shape)}"
        for name in wanted
        if name in state and state[name].shape != wanted[name].shape
    ]
    mistyped = [
        f"{name} is {state[name].dtype}, not {wanted[name].dtype}"
        for name in wanted
        if name in state and state[name].is_floating_point() != wanted[name].is_floating_point()
    ]
    faults = {
        "missing": missing,
        "not part of the model": extra,
        "of another shape": misshapen,
        "of another type": mistyped,
    }
    found = [f"{len(names)} {sort} ({names[0]})" for sort, names in faults.items() if names]
    if found:
        raise InputError(
            f"{source}: does not fit this variant: {'; '.join(found)}; "
            "give the checkpoint of the variant that is configured"
        )
    _refuse_not_finite({name: state[name] for name in wanted}, source, "give sound weights")
    model.load_state_dict({name: state[name] for name in wanted}, assign=True)


def _refuse_not_finite(state: StateDict, source: str, advice: str) -> None:
    bad = tensor_not_finite(state)
    if bad is not None:
        raise InputError(f"{source}: tensor {bad} holds NaN or infinity; {advice}")


def write_encoder(folder: Path, family: str, config: BaseModel, model: nn.Module) -> None:
    """`model.safetensors` and `config.json` of a model; the same model gives the same bytes.

    Raises InputError, before anything is written, where a weight is not finite.
    """
    state = {name: value.detach().cpu().contiguous() for name, value in model.state_dict().items()}
    _refuse_not_finite(
        state, str(finished_name(folder / WEIGHTS_FILE)), "lower the encoder's learning_rate"
    )
    with whole_file(folder / WEIGHTS_FILE) as unfinished:
        save_file(state, unfinished)
    write_json(folder / CONFIG_FILE, {"family": family, **config.model_dump()})


def read_config(folder: Path, family: str, config: type[AnyConfig]) -> AnyConfig:
    """The config in a folder of `write_encoder`; InputError where it is of another family."""
    path = folder / CONFIG_FILE
    content = read_json(path)
    found = content.pop("family", None) if isinstance(content, dict) else None
    if found != family:
        raise InputError(
            f"{path}: family is {found!r}, not {family!r}; give a folder that {family} was saved to"
        )
    return check_section(content, config, "config", path)


def variant_named(name: str, variants: Mapping[str, Any], family: str) -> Any:
    """The function that builds the config of a variant; InputError with the nearest known name."""
    if name not in variants:
        raise InputError(f"{family} has no variant {name!r}; {did_you_mean(name, variants)}")
    return variants[name]
