"""A small timm network and a small transformers network, laid out as on the hub."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import timm
import torch
from safetensors.torch import save_file
from transformers import AutoConfig, AutoModel

from lmm4rec.encoders.files.received_files import ReceivedFiles
from lmm4rec.encoders.unimodal.checkpoints import published_pair
from lmm4rec.encoders.unimodal.published_towers import PublishedImageTower, PublishedTextTower
from lmm4rec.encoders.unimodal.unimodal import Unimodal
from tests.encoders.unified_encoders import wordpiece

SMALL: dict[str, Any] = {
    "vocab_size": 120, "hidden_size": 16, "num_hidden_layers": 2, "num_attention_heads": 2,
    "intermediate_size": 32, "max_position_embeddings": 40, "pad_token_id": 0,
}  # fmt: skip


def image_folder(folder: Path, name: str = "test_resnet.r160_in1k") -> torch.nn.Module:
    """A timm network with its classifier, as on the hub; statistics as after training."""
    folder.mkdir(parents=True, exist_ok=True)
    torch.manual_seed(2)
    network = timm.create_model(name)
    network(torch.randn(4, 3, 64, 64))
    save_file(network.state_dict(), folder / "model.safetensors")
    return network.eval()


def text_folder(folder: Path, kind: str = "bert", **changes: Any) -> torch.nn.Module:
    """A transformers network with tokenizer and pooling, laid out as sentence-transformers does."""
    torch.manual_seed(3)
    network = AutoModel.from_config(AutoConfig.for_model(kind, **(SMALL | changes))).eval()
    network.save_pretrained(folder)
    wordpiece().pieces.save(str(folder / "tokenizer.json"))
    write_pooling(folder, pooling_mode_mean_tokens=True, pooling_mode_cls_token=False)
    return network


def write_pooling(folder: Path, **modes: bool) -> None:
    (folder / "1_Pooling").mkdir(exist_ok=True)
    content = {"word_embedding_dimension": 16, **modes}
    (folder / "1_Pooling/config.json").write_text(json.dumps(content))


def image_section(**changes: Any) -> PublishedImageTower:
    values = {"architecture": "test_resnet.r160_in1k", "repository": None, "sha256": None}
    return PublishedImageTower.model_validate(values | changes)


def text_section(**changes: Any) -> PublishedTextTower:
    values = {"repository": None, "sha256": None, "pooling": None, "max_text_tokens": 16}
    return PublishedTextTower.model_validate(values | changes)


def pair(folder: Path, image: dict[str, Any] | None = None, **text: Any) -> Unimodal:
    """The pair of `folder`/image and `folder`/text."""
    return published_pair(
        image_section(**({"path": str(folder / "image")} | (image or {}))),
        text_section(**({"path": str(folder / "text")} | text)),
        joint_dimensions=8,
        received=ReceivedFiles(folder, folder / "sums"),
    )
