"""CLIP: open_clip's own outputs, activations that must match, files from hub, mirror and disk."""

from __future__ import annotations

import hashlib
import json
import math
import os
import shutil
import subprocess
import sys
from pathlib import Path

import numpy as np
import open_clip
import pytest
import torch
import torch.nn.functional as F
from PIL import Image
from safetensors.torch import load_file, save_file

from lmm4rec.encoders import load_encoder
from lmm4rec.encoders.clip import checkpoints as clip_checkpoints
from lmm4rec.encoders.clip.checkpoints import published_clip
from lmm4rec.encoders.clip.clip import Clip, ClipConfig, sigmoid_loss, tiny
from lmm4rec.encoders.clip.network import ClipTokenizer, blocks_by_depth, build_network
from lmm4rec.encoders.files.received_files import ReceivedFiles
from lmm4rec.errors import InputError
from tests.encoders.encoder_contract import toy_batch, worst


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


@pytest.fixture
def registry(monkeypatch: pytest.MonkeyPatch) -> None:
    """Two small architectures in open_clip's tables, with one tag of QuickGELU weights."""
    from open_clip import factory, pretrained

    for name, quick in (("Small", False), ("Small-quickgelu", True)):
        monkeypatch.setitem(factory._MODEL_CONFIGS, name, small_model(quick_gelu=quick))
        tags = {"openai": {"hf_hub": "someone/small.openai/", "quick_gelu": True}}
        monkeypatch.setitem(pretrained._PRETRAINED, name, tags)


def network_and_file(folder: Path, model: dict) -> tuple[torch.nn.Module, Path]:  # type: ignore[type-arg]
    torch.manual_seed(3)
    network = build_network(model, "test").eval()
    path = folder / "weights.safetensors"
    save_file({name: x.contiguous() for name, x in network.state_dict().items()}, path)
    return network, path


# ------------------------------------------------------------------------------- what it computes


def test_embeddings_are_open_clips_own_normalised(tmp_path: Path) -> None:
    encoder = small_clip()
    pixels, tokens = toy_batch(encoder)
    ids = open_clip.SimpleTokenizer(context_length=77)(["a red lamp for the house"])
    with torch.no_grad():
        images = encoder.model.encode_image(pixels)
        assert worst(encoder.encode_images(pixels), F.normalize(images, dim=-1)) < 1e-6
        texts = encoder.model.encode_text(ids, normalize=True)
        assert torch.equal(tokens["tokens"][:1], ids)
        assert worst(encoder.encode_texts(tokens)[:1], texts) < 1e-6


def small_clip(**changes: object) -> Clip:
    torch.manual_seed(4)
    model = small_model(**changes)
    config = ClipConfig(model=model, preprocess=tiny().preprocess | {"size": 32})
    return Clip(config, ClipTokenizer(model["text_cfg"], None)).eval()


def test_cutting_padding_changes_no_text_embedding() -> None:
    """The tiny text tower is given short texts; open_clip computes all 32 columns."""
    torch.manual_seed(5)
    encoder = Clip.tiny([]).eval()
    tokens = encoder.tokenizer(["a lamp", "a small wooden chair", ""])
    with torch.no_grad():
        whole = encoder.model.encode_text(tokens["tokens"], normalize=True)
        assert worst(encoder.encode_texts(tokens), whole) < 1e-6
        seen = []
        encoder.model.text.token_embedding.register_forward_hook(
            lambda _, given, __: seen.append(given[0].shape[1])
        )
        encoder.encode_texts(tokens)
    assert seen == [6]  # start, 4 words, end


def test_preprocessing_is_the_published_one() -> None:
    """Spec, section 3: short side 224 bicubic, centre crop, OpenAI's mean and deviation."""
    model = open_clip.get_model_config("ViT-B-16-quickgelu")
    config = clip_checkpoints._config(model, {})
    transform = open_clip.transform.image_transform_v2(
        open_clip.transform.PreprocessCfg(**config.preprocess), is_train=False
    )
    picture = Image.fromarray(np.arange(300 * 400 * 3, dtype=np.uint32).reshape(300, 400, 3)
                              .astype(np.uint8))  # fmt: skip
    by_hand = picture.resize((298, 224), Image.Resampling.BICUBIC).crop((37, 0, 261, 224))
    pixels = torch.from_numpy(np.array(by_hand)).permute(2, 0, 1) / 255
    mean = torch.tensor([0.48145466, 0.4578275, 0.40821073])[:, None, None]
    deviation = torch.tensor([0.26862954, 0.26130258, 0.27577711])[:, None, None]
    assert worst(transform(picture), (pixels - mean) / deviation) < 1e-5


def test_contrastive_loss_and_its_clamped_scale() -> None:
    encoder = small_clip()
    pixels, tokens = toy_batch(encoder)
    with torch.no_grad():
        encoder.model.logit_scale.fill_(6.0)
    (loss,) = encoder.losses(pixels, tokens).values()
    assert math.isclose(encoder.model.logit_scale.item(), math.log(100), rel_tol=1e-6)
    official = open_clip.loss.ClipLoss()(
        encoder.encode_images(pixels), encoder.encode_texts(tokens), torch.tensor(100.0)
    )
    assert worst(loss, official) < 1e-4


def test_sigmoid_loss_where_the_network_has_a_bias() -> None:
    """SigLIP's scale lies beyond CLIP's limit and must stay there."""
    encoder = small_clip(custom_text=True, init_logit_bias=-10, init_logit_scale=math.log(110))
    pixels, tokens = toy_batch(encoder)
    (loss,) = encoder.losses(pixels, tokens).values()
    assert math.isclose(encoder.model.logit_scale.item(), math.log(110), rel_tol=1e-6)
    official = open_clip.loss.SigLipLoss()(
        encoder.encode_images(pixels),
        encoder.encode_texts(tokens),
        torch.tensor(110.0),
        torch.tensor(-10.0),
    )
    assert worst(loss, official) < 1e-3
    by_hand = -F.logsigmoid(torch.tensor([2.0, 1.0, -3.0, 4.0])).sum() / 2
    assert worst(sigmoid_loss(torch.tensor([[2.0, -1.0], [3.0, 4.0]])), by_hand) < 1e-6


@pytest.mark.parametrize(
    ("name", "blocks"),
    [("ViT-L-14", [1] * 12 + [2] * 12), ("ViT-B-16-SigLIP2", [2] * 12), ("EVA02-B-16", [2] * 12),
     ("RN50", [1] * 8 + [2] * 4), ("convnext_base", [1] * 8 + [2] * 4)],
)  # fmt: skip
def test_blocks_are_aligned_at_the_output(name: str, blocks: list[int]) -> None:
    with torch.device("meta"):
        network = build_network(open_clip.get_model_config(name), name)
    assert [len(list(layer.children())) for layer in blocks_by_depth(network)] == blocks


@pytest.mark.parametrize(
    ("changes", "message"),
    [({"multimodal_cfg": {}}, r"a captioning model \(CoCa\)"),
     ({"text_cfg": {"hf_model_name": "roberta-base"}}, "built by transformers"),
     ({"embed_dim": "wide"}, "open_clip cannot build this model")],
)  # fmt: skip
def test_models_of_other_kinds_are_refused(changes: dict, message: str) -> None:  # type: ignore[type-arg]
    with pytest.raises(InputError, match=message):
        build_network(small_model(**changes), "this one")


# -------------------------------------------------------------------------- where weights come from


def received(folder: Path) -> ReceivedFiles:
    return ReceivedFiles(folder, folder / "sums")


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
        "PYTHONPATH": str(Path(__file__).parents[2]),
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
