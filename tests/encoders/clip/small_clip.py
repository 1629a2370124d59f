"""A CLIP that is built in no time, and a file of its weights."""

from __future__ import annotations

from pathlib import Path

import torch
from safetensors.torch import save_file

from lmm4rec.encoders.clip.clip import Clip, ClipConfig, tiny
from lmm4rec.encoders.clip.network import ClipTokenizer, build_network
from lmm4rec.encoders.files.received_files import ReceivedFiles


def small_model(**changes: object) -> dict:  # type: ignore[type-arg]
    """An open_clip configuration that is built in no time."""
    model = {
        "embed_dim": 16,
        "quick_gelu": True,
        "vision_cfg": {"image_size": 32, "layers": 1, "width": 32, "head_width": 16,
                       "patch_size": 16},
        "text_cfg": {"context_length": 77, "vocab_size": 49408, "width": 16, "heads": 2,
                     "layers": 2},
    }  # fmt: skip
    return model | changes


def network_and_file(folder: Path, model: dict) -> tuple[torch.nn.Module, Path]:  # type: ignore[type-arg]
    torch.manual_seed(3)
    network = build_network(model, "test").eval()
    path = folder / "weights.safetensors"
    save_file({name: x.contiguous() for name, x in network.state_dict().items()}, path)
    return network, path


def small_clip(**changes: object) -> Clip:
    torch.manual_seed(4)
    model = small_model(**changes)
    config = ClipConfig(model=model, preprocess=tiny().preprocess | {"size": 32})
    return Clip(config, ClipTokenizer(model["text_cfg"], None)).eval()


def received(folder: Path) -> ReceivedFiles:
    return ReceivedFiles(folder, folder / "sums")
