"""No door through which weights and tokenizers come in runs what they hold, or writes for them."""

from __future__ import annotations

import json
import pickle
from collections.abc import Callable
from pathlib import Path
from typing import Any

import open_clip
import pytest
import torch

from lmm4rec.encoders.clip.checkpoints import published_clip
from lmm4rec.encoders.clip.network import ClipTokenizer, build_network
from lmm4rec.encoders.files.received_files import FileSource, ReceivedFiles
from lmm4rec.encoders.files.weights import CheckpointWeights, Workshop
from lmm4rec.encoders.unimodal.timm_images import ImageTowerConfig
from lmm4rec.errors import InputError
from tests.encoders.clip.small_clip import small_model
from tests.encoders.files.armed_archive import WRITTEN, armed_archive
from tests.encoders.unified_encoders import spm, wordpiece
from tests.encoders.unimodal.small_pair import image_folder, pair, text_folder

Door = Callable[[Path, bytes], object]


class Touching:
    def __reduce__(self) -> tuple[object, tuple[object]]:
        return (Path.touch, (Path(WRITTEN),))


def pickled(folder: Path) -> bytes:
    return pickle.dumps({"state_dict": Touching()}, protocol=2)


def pickled_by_torch(folder: Path) -> bytes:
    torch.save({"state_dict": Touching()}, folder / "w")
    return (folder / "w").read_bytes()


def armed(folder: Path) -> bytes:
    return armed_archive(folder / "w", folder / WRITTEN).read_bytes()


def received(folder: Path) -> ReceivedFiles:
    return ReceivedFiles(folder, folder / "sums")


# ------------------------------------------------------------------------------------------- doors


def clip_file(folder: Path, content: bytes) -> None:
    (folder / "weights.pt").write_bytes(content)
    published_clip(
        "ViT-B-32-quickgelu", "openai", folder / "weights.pt", None, received(folder)
    )  # fmt: skip


def clip_folder(folder: Path, content: bytes, name: str = "weights.bin") -> None:
    write_clip(folder / "clip", content, name)
    published_clip(None, None, folder / "clip", None, received(folder))


def clip_folder_safetensors(folder: Path, content: bytes) -> None:
    clip_folder(folder, content, "weights.safetensors")


def clip_repository(folder: Path, content: bytes) -> None:
    write_clip(folder / "mirror" / "clip", content, "open_clip_pytorch_model.bin")
    published_clip("hf-hub:someone/clip", None, None, None, received(folder))


def write_clip(folder: Path, content: bytes, name: str) -> None:
    folder.mkdir(parents=True)
    (folder / "open_clip_config.json").write_text(json.dumps({"model_cfg": small_model()}))
    (folder / name).write_bytes(content)


def checkpoint(family: str, folder: Path, weights: bytes | None, tokenizer: bytes | None) -> None:
    tokens = spm() if family == "beit3" else wordpiece()
    tokens.save(folder)
    file = folder / ("tokenizer.spm" if family == "beit3" else "vocab.txt")
    if tokenizer is not None:
        file.write_bytes(tokenizer)
    (folder / "weights.pt").write_bytes(weights or b"")
    source = {"url": None, "sha256": None}
    section = CheckpointWeights(
        kind="checkpoint", revision=1, family=family, variant="base", image_pixels=224,  # type: ignore[arg-type]
        weights=FileSource(path=str(folder / "weights.pt"), **source),
        tokenizer=FileSource(path=str(file), **source),
    )  # fmt: skip
    section.make(Workshop(folder, torch.device("cpu"), 0, None, None, received(folder)))  # type: ignore[arg-type]


def image_file(folder: Path, content: bytes) -> None:
    image_folder(folder / "image")
    text_folder(folder / "text")
    (folder / "weights.pt").write_bytes(content)
    pair(folder, {"path": str(folder / "weights.pt")})


def bin_in_the_place_of_safetensors(tower: str) -> Door:
    def enter(folder: Path, content: bytes) -> None:
        image_folder(folder / "image")
        text_folder(folder / "text")
        (folder / tower / "model.safetensors").unlink()
        (folder / tower / "pytorch_model.bin").write_bytes(content)
        pair(folder)

    return enter


def text_tokenizer(folder: Path, content: bytes) -> None:
    image_folder(folder / "image")
    text_folder(folder / "text")
    (folder / "text" / "tokenizer.json").write_bytes(content)
    pair(folder)


DOORS: dict[str, Door] = {
    "a CLIP file": clip_file,
    "a CLIP folder": clip_folder,
    "a CLIP folder's safetensors": clip_folder_safetensors,
    "a CLIP repository": clip_repository,
    "BEiT-3 weights": lambda folder, content: checkpoint("beit3", folder, content, None),
    "VLMo weights": lambda folder, content: checkpoint("vlmo", folder, content, None),
    "BEiT-3 tokenizer": lambda folder, content: checkpoint("beit3", folder, None, content),
    "VLMo tokenizer": lambda folder, content: checkpoint("vlmo", folder, None, content),
    "a timm file": image_file,
    "a timm folder": bin_in_the_place_of_safetensors("image"),
    "a transformers folder": bin_in_the_place_of_safetensors("text"),
    "a transformers tokenizer": text_tokenizer,
}


@pytest.mark.parametrize("hostile", [armed, pickled, pickled_by_torch])
@pytest.mark.parametrize("door", DOORS)
def test_no_door_runs_what_comes_in(
    door: str,
    hostile: Callable[[Path], bytes],
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.chdir(tmp_path)
    monkeypatch.setenv("LMM4REC_MIRROR", str(tmp_path / "mirror"))
    with pytest.raises(InputError):
        DOORS[door](tmp_path, hostile(tmp_path))
    assert not (tmp_path / WRITTEN).exists()


# ------------------------------------------------------------------- configurations that name code


def tokenizer_with_code(folder: Path) -> Path:
    folder.mkdir()
    names = {"AutoTokenizer": ["tokenization_evil.Evil", None]}
    config = {"auto_map": names, "tokenizer_class": "Evil"}
    (folder / "tokenizer_config.json").write_text(json.dumps(config))
    (folder / "config.json").write_text(json.dumps({"model_type": "bert"}))
    (folder / "tokenization_evil.py").write_text(
        f"from pathlib import Path\nPath({str(folder.parent / WRITTEN)!r}).touch()\n"
        "class Evil:\n    @classmethod\n    def from_pretrained(cls, *a, **k): return cls()\n"
    )
    return folder


@pytest.mark.parametrize("options", [{}, {"trust_remote_code": True}, {"cache_dir": "."}])
def test_a_tokenizers_own_code_is_not_run(options: dict[str, Any], tmp_path: Path) -> None:
    folder = tokenizer_with_code(tmp_path / "tokenizer")
    text = {"hf_tokenizer_name": "someone/evil", "tokenizer_kwargs": options}
    with pytest.raises(InputError, match=r"tokenizer"):
        ClipTokenizer(text, folder)
    assert not (tmp_path / WRITTEN).exists()


def test_clips_own_tokenizer_reads_no_other_file(tmp_path: Path) -> None:
    options = {"tokenizer_kwargs": {"bpe_path": str(tmp_path)}}
    with pytest.raises(InputError, match="'bpe_path', which may load code or files"):
        ClipTokenizer(options, None)


def test_options_of_open_clips_own_models_are_accepted() -> None:
    from lmm4rec.encoders.clip.network import _TOKENIZER_OPTIONS

    models = [open_clip.get_model_config(name) for name in open_clip.list_models()]
    asked = {key for model in models for key in model["text_cfg"].get("tokenizer_kwargs", {})}
    assert asked and asked <= _TOKENIZER_OPTIONS


def test_a_picture_tower_on_a_hub_is_not_asked_for() -> None:
    tower = {"timm_model_name": "hf-hub:someone/tower", "image_size": 32}
    with pytest.raises(InputError, match="described on a hub"):
        build_network(small_model(vision_cfg=tower), "this one")


@pytest.mark.parametrize("name", ["checkpoint_path", "pretrained_cfg_overlay", "cache_dir"])
def test_timm_options_load_nothing(name: str, tmp_path: Path) -> None:
    image_folder(tmp_path / "image")
    text_folder(tmp_path / "text")
    content = {"architecture": "test_resnet", "pretrained_cfg": {}, "model_args": {name: "x"}}
    (tmp_path / "image/config.json").write_text(json.dumps(content))
    with pytest.raises(InputError, match=f"model_args holds '{name}'"):
        pair(tmp_path, {"architecture": None})


@pytest.mark.parametrize(
    "key", ["attn_implementation", "_attn_implementation", "experts_implementation", "auto_map",
            "quantization_config"]
)  # fmt: skip
def test_kernels_and_code_that_a_configuration_names_are_left_out(key: str, tmp_path: Path) -> None:
    image_folder(tmp_path / "image")
    text_folder(tmp_path / "text")
    path = tmp_path / "text/config.json"
    path.write_text(json.dumps(json.loads(path.read_text()) | {key: "someone/kernel"}))
    encoder = pair(tmp_path)
    assert isinstance(encoder.config.image, ImageTowerConfig)
    assert key not in encoder.config.text.model
