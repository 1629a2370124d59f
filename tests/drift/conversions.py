"""Published files made small, of each kind that stage `weights` converts, and what they become."""

from __future__ import annotations

import json
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from functools import partial
from pathlib import Path
from typing import Any
from unittest import mock

import numpy as np
import timm
import torch
from safetensors.torch import save_file
from transformers import AutoConfig, AutoModel

from lmm4rec.encoders import load_encoder
from lmm4rec.encoders.unified import beit3, vlmo
from tests.drift.numbers import Numbers, change, projected
from tests.drift.world import draw, drawn, picture, run_stage, write_params
from tests.encoders.unified_encoders import spm, tiny_beit3, tiny_vlmo, wordpiece

LARGER_SIDE = 72  # pixels: 6 x 6 patches, where the file holds positions of 4 x 4


def open_clip_folder(project: Path) -> dict[str, Any]:
    """A folder as open_clip writes it, with the names of its older files."""
    encoder: Any = drawn("clip")
    folder = project / "published"
    folder.mkdir()
    state = encoder.model.state_dict()
    save_file(
        {n.removeprefix("text."): x for n, x in state.items()}, folder / "weights.safetensors"
    )
    config = {"model_cfg": encoder.config.model, "preprocess_cfg": encoder.config.preprocess}
    (folder / "open_clip_config.json").write_text(json.dumps(config))
    names = {"architecture": None, "pretrained": None}
    return {"kind": "open_clip", **names, "path": str(folder), "sha256": None}


def checkpoint(family: str, relative: bool, project: Path) -> dict[str, Any]:
    """An official file of BEiT-3 or VLMo, its positions of another size than is asked for."""
    encoder = tiny_beit3() if family == "beit3" else tiny_vlmo(relative=relative)
    draw(encoder)
    torch.save({"model": encoder.state_dict()}, project / "published.pt")
    pieces = spm() if family == "beit3" else wordpiece()
    pieces.save(project)
    tokenizer = {"beit3": "tokenizer.spm", "vlmo": "vocab.txt"}[family]
    files = {
        key: {"url": None, "path": str(project / name), "sha256": None}
        for key, name in (("weights", "published.pt"), ("tokenizer", tokenizer))
    }
    sizes = {"variant": "relative" if relative else "small", "image_pixels": LARGER_SIDE}
    return {"kind": "checkpoint", "family": family, **sizes, **files}


def unimodal_pair(project: Path) -> dict[str, Any]:
    """A timm network with its classifier; a BERT with tokenizer and pooling, as on the hub."""
    image = timm.create_model("test_resnet.r160_in1k")
    draw(image)
    save_file(image.state_dict(), project / "image.safetensors")
    sizes = {
        "vocab_size": 120, "hidden_size": 16, "num_hidden_layers": 2, "num_attention_heads": 2,
        "intermediate_size": 32, "max_position_embeddings": 40, "pad_token_id": 0,
    }  # fmt: skip
    text = AutoModel.from_config(AutoConfig.for_model("bert", **sizes)).eval()
    draw(text)
    folder = project / "text"
    text.save_pretrained(folder)
    wordpiece().pieces.save(str(folder / "tokenizer.json"))
    (folder / "1_Pooling").mkdir()
    modes = {"pooling_mode_mean_tokens": True, "pooling_mode_cls_token": False}
    (folder / "1_Pooling/config.json").write_text(
        json.dumps({"word_embedding_dimension": 16, **modes})
    )
    here = {"repository": None, "sha256": None}
    image_path = str(project / "image.safetensors")
    return {
        "kind": "unimodal", "joint_dimensions": 8, "seed": 1,
        "image": {**here, "architecture": "test_resnet.r160_in1k", "path": image_path},
        "text": {**here, "path": str(folder), "pooling": None, "max_text_tokens": 16},
    }  # fmt: skip


def converted(publish: Callable[[Path], dict[str, Any]], project: Path) -> Numbers:
    """Every tensor of the encoder that stage `weights` made, and what it says of two items."""
    section = {"revision": 1, **publish(project)}
    write_params(project, {"encoders": {"small": {"revision": 1, "weights": section}}})
    with _small_variants():
        options = ("--encoder", "small", "--output", "out", "--device", "cpu", "--workers", "0")
        run_stage(project, "weights", *options, "--record", "record.json")
    encoder = load_encoder(project / "out")
    rng = np.random.default_rng(3)
    pixels = torch.stack([encoder.image_transform(picture(rng, kind)) for kind in (0, 1)])
    tokens = encoder.tokenizer(["a red lamp", "a green chair"])
    with torch.no_grad():
        vectors = {"image": encoder.encode_images(pixels), "text": encoder.encode_texts(tokens)}
    return {
        "pixels": projected(pixels.flatten(1).numpy() / 100),
        "tokens": {name: values.tolist() for name, values in tokens.items()},
        "vectors": {name: projected(values.numpy()) for name, values in vectors.items()},
        "weights": change(None, encoder.state_dict()),
    }


@contextmanager
def _small_variants() -> Iterator[None]:
    """The tiny sizes among the published variants, at any picture side."""
    switches = {
        "absolute_positions": False, "relative_position_bias": True, "layer_scale": True,
    }  # fmt: skip
    unified, plain = beit3.tiny(spm().size, 16), vlmo.tiny(wordpiece().size, 16)

    def of_side(config: Any, side: int) -> Any:
        return config.model_copy(update={"image_pixels": side})

    variants = {
        "small": partial(of_side, plain),
        "relative": partial(of_side, plain.model_copy(update=switches)),
    }
    with (
        mock.patch.dict(beit3.PUBLISHED, small=partial(of_side, unified)),
        mock.patch.dict(vlmo.PUBLISHED, variants),
    ):
        yield


CONVERSIONS = {
    "open_clip": partial(converted, open_clip_folder),
    "beit3": partial(converted, partial(checkpoint, "beit3", False)),
    "vlmo": partial(converted, partial(checkpoint, "vlmo", False)),
    "vlmo-relative": partial(converted, partial(checkpoint, "vlmo", True)),
    "unimodal": partial(converted, unimodal_pair),
}
