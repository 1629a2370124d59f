"""Weights of kind `open_clip`: activations that must match, files from hub, mirror and disk."""

from __future__ import annotations

import hashlib
import json
import os
import shutil
import subprocess
import sys
from pathlib import Path

import pytest
import torch
from safetensors.torch import load_file, save_file

from lmm4rec.encoders import load_encoder
from lmm4rec.encoders.clip.checkpoints import published_clip
from lmm4rec.errors import InputError
from tests.encoders.clip.small_clip import network_and_file, received, small_model
from tests.encoders.encoder_contract import toy_batch


def test_local_file_of_a_tag(registry: None, tmp_path: Path) -> None:
    network, path = network_and_file(tmp_path, small_model())
    digest = hashlib.sha256(path.read_bytes()).hexdigest()
    encoder = published_clip("Small-quickgelu", "openai", path, digest, received(tmp_path))
    pixels, _ = toy_batch(encoder)
    with torch.no_grad():
        assert torch.equal(encoder.model.encode_image(pixels), network.encode_image(pixels))
    folder = tmp_path / "saved"
    folder.mkdir()
    encoder.save(folder)
    assert torch.equal(load_encoder(folder).encode_images(pixels), encoder.encode_images(pixels))


def test_activation_mismatch_raises(registry: None, tmp_path: Path) -> None:
    _, path = network_and_file(tmp_path, small_model())
    with pytest.raises(InputError, match=r"Small / openai.*trained with QuickGELU.*computes GELU"):
        published_clip("Small", "openai", path, None, received(tmp_path))


def test_published_activation_mismatch_raises_before_any_download(tmp_path: Path) -> None:
    with pytest.raises(InputError, match=r"ViT-B-16 / openai.*QuickGELU.*with -quickgelu"):
        published_clip("ViT-B-16", "openai", None, None, received(tmp_path))


def openai_archive(folder: Path, network: torch.nn.Module) -> Path:
    """A TorchScript program whose state dict is laid out as in OpenAI's files: half precision,
    three numbers beside the weights."""

    class Program(torch.nn.Module):
        def forward(self, x: torch.Tensor) -> torch.Tensor:
            return x

    program = Program()
    for name, module in network.named_children():
        program.add_module(name, torch.nn.Module())
        _copy(module, getattr(program, name))
    for name, parameter in network.named_parameters(recurse=False):
        program.register_parameter(name, parameter)
    for name in ("input_resolution", "context_length", "vocab_size"):
        program.register_buffer(name, torch.tensor(1))
    path = folder / "openai.pt"
    torch.jit.script(program.half()).save(str(path))
    return path


def _copy(source: torch.nn.Module, target: torch.nn.Module) -> None:
    for name, parameter in source.named_parameters(recurse=False):
        target.register_parameter(name, parameter)
    for name, module in source.named_children():
        target.add_module(name, torch.nn.Module())
        _copy(module, getattr(target, name))


def test_openai_archive(registry: None, tmp_path: Path) -> None:
    network, _ = network_and_file(tmp_path, small_model())
    state = {name: x.clone() for name, x in network.state_dict().items()}
    path = openai_archive(tmp_path, network)
    encoder = published_clip("Small-quickgelu", "openai", path, None, received(tmp_path))
    for name, values in encoder.model.state_dict().items():
        assert values.dtype == torch.float32
        assert torch.equal(values, state[name].half().float()), name


def test_folder_with_a_config(tmp_path: Path) -> None:
    network, _ = network_and_file(tmp_path, small_model())
    preprocess = {"mean": [0.1, 0.2, 0.3], "resize_mode": "squash"}
    content = {"model_cfg": small_model(), "preprocess_cfg": preprocess}
    (tmp_path / "open_clip_config.json").write_text(json.dumps(content))
    encoder = published_clip(None, None, tmp_path, None, received(tmp_path))
    assert encoder.config.preprocess["mean"] == [0.1, 0.2, 0.3]
    assert encoder.config.preprocess["size"] == 32
    assert "CenterCrop" not in repr(encoder.image_transform)
    pixels, _ = toy_batch(encoder)
    with torch.no_grad():
        assert torch.equal(encoder.model.encode_image(pixels), network.encode_image(pixels))


@pytest.mark.parametrize("named", ["Small-quickgelu", "hf-hub:someone/small.openai"])
def test_mirror_folder_replaces_the_hub(
    named: str, registry: None, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    repository = tmp_path / "mirror" / "small.openai"
    repository.mkdir(parents=True)
    monkeypatch.setenv("LMM4REC_MIRROR", str(tmp_path / "mirror"))
    tag = None if named.startswith("hf-hub:") else "openai"
    with pytest.raises(InputError, match=r"small\.openai: holds none of .*LMM4REC_MIRROR"):
        published_clip(named, tag, None, None, received(tmp_path))
    _, path = network_and_file(tmp_path, small_model())
    shutil.copy(path, repository / "open_clip_model.safetensors")
    (repository / "open_clip_config.json").write_text(json.dumps({"model_cfg": small_model()}))
    files = received(tmp_path)
    assert published_clip(named, tag, None, None, files).image_dim == 16
    [entry] = files.files
    assert entry["source"] == "someone/small.openai/open_clip_model.safetensors"
    assert entry["bytes"] == path.stat().st_size
    files.remember()
    published_clip(named, tag, None, None, received(tmp_path))
    state = load_file(path)
    save_file({name: x + 1 for name, x in state.items()}, repository / path.name)
    shutil.move(repository / path.name, repository / "open_clip_model.safetensors")
    with pytest.raises(InputError, match=r"small\.openai/open_clip_model.*first fetched"):
        published_clip(named, tag, None, None, received(tmp_path))


@pytest.mark.slow
def test_silent_hub_is_one_sentence(tmp_path: Path) -> None:
    """The hub's address leads to a closed local port."""
    code = (
        "from pathlib import Path\n"
        "from lmm4rec.encoders.clip.checkpoints import published_clip\n"
        "from lmm4rec.errors import InputError\n"
        "from lmm4rec.encoders.files.received_files import ReceivedFiles\n"
        "files = ReceivedFiles(Path('.'), Path('sums'))\n"
        "try: published_clip('ViT-B-16-quickgelu', 'openai', None, None, files)\n"
        "except InputError as error: print(error)\n"
    )
    environment = os.environ | {
        "HF_ENDPOINT": "http://127.0.0.1:9",
        "HF_HOME": str(tmp_path),
        "PYTHONPATH": str(Path(__file__).parents[3]),
    }
    environment.pop("LMM4REC_MIRROR", None)
    done = subprocess.run(
        [sys.executable, "-c", code], cwd=tmp_path, env=environment, capture_output=True, text=True,
        timeout=120,
    )  # fmt: skip
    assert done.returncode == 0, done.stderr
    assert done.stdout.count("\n") == 1
    assert "could not be fetched from the hub" in done.stdout
    assert "LMM4REC_MIRROR" in done.stdout and "`path`" in done.stdout


def test_wrong_names_and_files(registry: None, tmp_path: Path) -> None:
    _, path = network_and_file(tmp_path, small_model())
    cases = [
        (("Smal-quickgelu", "openai", path, None), "did you mean 'Small-quickgelu'"),
        (("Small-quickgelu", "opnai", path, None), "did you mean 'openai'"),
        (("Small-quickgelu", None, path, None), r"a folder with open_clip_config\.json"),
        (("Small-quickgelu", "openai", tmp_path / "absent", None), "there is no such file"),
        (("Small-quickgelu", "openai", path, "0" * 64), r"SHA-256 is [0-9a-f]{64}, not the 0000"),
        (("hf-hub:a/b", "openai", None, None), "set `pretrained` and `path` beside it to null"),
        ((None, None, None, None), "must be a folder"),
        ((None, None, tmp_path, None), r"open_clip_config\.json: there is no such file"),
    ]
    for arguments, message in cases:
        with pytest.raises(InputError, match=message):
            published_clip(*arguments, received(tmp_path))


def test_weights_of_another_architecture(registry: None, tmp_path: Path) -> None:
    other = small_model(vision_cfg=small_model()["vision_cfg"] | {"image_size": 48})
    _, path = network_and_file(tmp_path, other)
    with pytest.raises(
        InputError, match=r"does not fit.*visual\.positional_embedding is \[10, 32\]"
    ):
        published_clip("Small-quickgelu", "openai", path, None, received(tmp_path))


def test_pickled_code_is_not_run(registry: None, tmp_path: Path) -> None:
    class Evil:
        def __reduce__(self) -> tuple[object, tuple[str]]:
            return (Path.touch, (tmp_path / "touched",))  # type: ignore[return-value]

    path = tmp_path / "evil.pt"
    torch.save({"state_dict": Evil()}, path)
    with pytest.raises(InputError, match=r"evil\.pt"):
        published_clip("Small-quickgelu", "openai", path, None, received(tmp_path))
    assert not (tmp_path / "touched").exists()
