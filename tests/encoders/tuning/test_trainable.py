"""What is trained, at which rate: depths, last blocks, LoRA."""

from __future__ import annotations

from pathlib import Path

import pytest
import torch

from lmm4rec.encoders.tuning.trainable import (
    Trainable,
    TuneAll,
    TuneLastBlocks,
    TuneLora,
    parameter_depths,
)
from lmm4rec.errors import InputError
from tests.encoders.encoder_contract import tiny, toy_batch, worst
from tests.encoders.tuning.toy_tuning import same_weights, tuned


def test_learning_rates_fall_towards_the_input_and_vectors_do_not_decay() -> None:
    encoder = tiny("clip")
    groups = Trainable(encoder, TuneAll(kind="all")).groups(1.0, 0.3, 0.5)
    of = {id(p): group for group in groups for p in group["params"]}
    found = {name: of[id(p)] for name, p in encoder.named_parameters()}
    blocks = "model.visual.transformer.resblocks"
    assert found["model.visual.proj"]["peak"] == found["model.text.text_projection"]["peak"] == 1.0
    assert found[f"{blocks}.2.mlp.c_fc.weight"]["peak"] == 0.5
    assert found[f"{blocks}.0.mlp.c_fc.weight"]["peak"] == 0.125
    assert found["model.text.transformer.resblocks.1.mlp.c_fc.weight"]["peak"] == 0.5
    assert found["model.visual.conv1.weight"]["peak"] == 0.0625
    assert found["model.text.token_embedding.weight"]["peak"] == 0.0625
    for name, parameter in encoder.named_parameters():
        assert found[name]["weight_decay"] == (0.0 if parameter.ndim < 2 else 0.3), name


@pytest.mark.parametrize("family", ["clip", "beit3", "vlmo", "unimodal"])
def test_every_parameter_has_a_depth(family: str) -> None:
    encoder = tiny(family)
    depths = parameter_depths(encoder)
    heads = len(encoder.layers()) + 1
    assert set(depths.values()) == set(range(heads + 1))
    inputs = {name for name, depth in depths.items() if depth == 0}
    assert any("embed" in name for name in inputs)
    assert not any(
        "proj" in name and "patch" not in name and "embed" not in name for name in inputs
    )
    assert all(depths[name] == heads for name in depths if "logit_scale" in name)


@pytest.mark.parametrize("family", ["clip", "beit3", "vlmo", "unimodal"])
def test_last_blocks_alone_move(family: str, tmp_path: Path) -> None:
    before = tiny(family)
    encoder, _ = tuned(
        tmp_path / "a", family=family, epochs=1, tune={"kind": "last-blocks", "blocks": 1},
        learning_rate=5e-4,
    )  # fmt: skip
    depths, last = parameter_depths(before), len(before.layers())
    moved = {
        name
        for (name, old), new in zip(before.named_parameters(), encoder.parameters(), strict=True)
        if not torch.equal(old, new)
    }
    assert moved and all(depths[name] >= last for name in moved)
    assert any(depths[name] == last for name in moved)


def test_more_blocks_than_there_are() -> None:
    with pytest.raises(InputError, match=r"tune\.blocks is 9, but this encoder has 3 blocks"):
        Trainable(tiny("clip"), TuneLastBlocks(kind="last-blocks", blocks=9))


@pytest.mark.parametrize("family", ["clip", "beit3", "vlmo", "unimodal"])
def test_lora_starts_at_nothing_trains_little_and_is_merged(family: str, tmp_path: Path) -> None:
    encoder, reference = tiny(family), tiny(family)
    pixels, tokens = toy_batch(encoder)
    trainable = Trainable(encoder, TuneLora(kind="lora", rank=2, alpha=4))
    groups = trainable.groups(1e-2, 0.0, 1.0)
    trained = sum(p.numel() for group in groups for p in group["params"])
    assert 0 < trained < 0.1 * sum(p.numel() for p in reference.parameters())
    with torch.no_grad():
        assert worst(encoder.encode_images(pixels), reference.encode_images(pixels)) < 1e-6
    optimizer = torch.optim.AdamW([group | {"lr": group["peak"]} for group in groups])
    for _ in range(3):
        optimizer.zero_grad()
        torch.stack(list(encoder.losses(pixels, tokens).values())).sum().backward()
        optimizer.step()
    with torch.no_grad():
        images, texts = encoder.encode_images(pixels), encoder.encode_texts(tokens)
        assert worst(images, reference.encode_images(pixels)) > 1e-3
        trainable.finish()
        assert worst(encoder.encode_images(pixels), images) < 1e-5
        assert worst(encoder.encode_texts(tokens), texts) < 1e-5
    assert encoder.state_dict().keys() == reference.state_dict().keys()
    folder = tmp_path / "saved"
    folder.mkdir()
    encoder.save(folder)


def test_lora_through_the_loop(tmp_path: Path) -> None:
    tune = {"kind": "lora", "rank": 4, "alpha": 8}
    one, curve = tuned(tmp_path / "a", tune=tune, learning_rate=1e-2)
    two, _ = tuned(tmp_path / "b", tune=tune, learning_rate=1e-2)
    assert same_weights(one, two)
    assert curve[-1]["validation_loss"] < curve[0]["validation_loss"]
