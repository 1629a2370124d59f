"""Published networks that are no pair: each is refused with its sentence."""

from __future__ import annotations

import json
import shutil
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
import torch
from safetensors.torch import load_file, save_file

from lmm4rec.encoders.files.weights import read_weights
from lmm4rec.errors import InputError
from tests.encoders.unified_encoders import TEXTS, wordpiece
from tests.encoders.unimodal.small_pair import image_folder, pair, text_folder, write_pooling

ROOT = Path(__file__).parents[3]


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
    with pytest.raises(InputError, match="not a whole checkpoint"):
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
