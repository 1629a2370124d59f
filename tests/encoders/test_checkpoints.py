"""Checkpoint files: what is read, what is adapted, and what is refused with which sentence."""

import argparse
import io
import json
import pickle
import subprocess
import sys
from pathlib import Path

import numpy as np
import pytest
import torch
from safetensors.torch import save_file

from lmm4rec.encoders.files.checkpoints import read_checkpoint
from lmm4rec.encoders.unified import beit3, vlmo
from lmm4rec.encoders.unified.beit3 import Beit3
from lmm4rec.encoders.unified.beit3_network import Beit3Network
from lmm4rec.encoders.unified.positions import resize_grid, resize_relative_table
from lmm4rec.encoders.unified.vlmo import Vlmo
from lmm4rec.encoders.unified.vlmo_network import VlmoNetwork
from lmm4rec.errors import InputError
from tests.encoders.unified_encoders import pictures, spm, tiny_vlmo, wordpiece

KEYS = json.loads((Path(__file__).parents[1] / "golden" / "state_dict_keys.json").read_text())


# --- the published sizes --------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("published", "network", "config"),
    [
        ("beit3_base_itc_patch16_224", Beit3Network, beit3.base()),
        ("beit3_large_itc_patch16_224", Beit3Network, beit3.large()),
        ("vlmo_base_patch16_224", VlmoNetwork, vlmo.base()),
        ("vlmo_base_plus_patch16_224", VlmoNetwork, vlmo.base_plus()),
        ("vlmo_large_patch16_224", VlmoNetwork, vlmo.large()),
    ],
)
def test_full_size_models_have_the_official_names_and_shapes(published, network, config):
    with torch.device("meta"):
        state = network(config).state_dict()
    assert {name: list(tensor.shape) for name, tensor in state.items()} == KEYS[published]


@pytest.mark.parametrize(
    ("network", "config", "millions"),
    [
        (Beit3Network, beit3.base(), 222.167041),
        (Beit3Network, beit3.large(), 674.799617),
        (VlmoNetwork, vlmo.base(), 202.4),
        (VlmoNetwork, vlmo.base_plus(), 185.0),
        (VlmoNetwork, vlmo.large(), 599.1),
    ],
)
def test_full_size_models_have_the_published_number_of_parameters(network, config, millions):
    with torch.device("meta"):
        weights = sum(weight.numel() for weight in network(config).parameters())
    digits = 6 if isinstance(config, beit3.Beit3Config) else 1
    assert round(weights / 1e6, digits) == millions


def test_other_picture_sizes_have_more_positions():
    with torch.device("meta"):
        beit = Beit3Network(beit3.base(384)).state_dict()
        plus = VlmoNetwork(vlmo.base_plus(384)).state_dict()
        base = VlmoNetwork(vlmo.base(384)).state_dict()
    assert beit["beit3.encoder.embed_positions.A.weight"].shape == (579, 768)
    assert plus["transformer.pos_embed"].shape == (1, 577, 544)
    assert base["relative_position_bias_table"].shape == (47**2 + 397, 144)


# --- small files that look like the published ones ---

WIDTH = beit3.tiny(1).width  # of both tiny families


@pytest.fixture(autouse=True)
def small_variants(monkeypatch):
    """`small`: the tiny sizes under a published variant's way of loading, at any picture size."""
    beit = beit3.tiny(spm().size + 8, 16).model_copy(update={"unused_vocab_rows": 8})
    monkeypatch.setitem(
        beit3.PUBLISHED, "small", lambda side: beit.model_copy(update={"image_pixels": side})
    )
    plus = tiny_vlmo().config
    relative = tiny_vlmo(relative=True).config
    for name, config in (("small", plus), ("small_relative", relative)):
        monkeypatch.setitem(
            vlmo.PUBLISHED,
            name,
            lambda side, config=config: config.model_copy(update={"image_pixels": side}),
        )


def beit3_state():
    torch.manual_seed(1)
    return dict(Beit3Network(beit3.PUBLISHED["small"](48)).state_dict())


def vlmo_state(relative=False):
    return dict(tiny_vlmo(relative=relative).state_dict())


def load_beit3(tmp_path, content, image_pixels=48, save=torch.save):
    save(content, tmp_path / "weights.pth")
    spm().save(tmp_path)
    return Beit3.from_checkpoint(
        "small", tmp_path / "weights.pth", tmp_path / "tokenizer.spm", image_pixels
    )


def load_vlmo(tmp_path, content, variant="small", image_pixels=48):
    torch.save(content, tmp_path / "weights.pt")
    wordpiece().save(tmp_path)
    return Vlmo.from_checkpoint(
        variant, tmp_path / "weights.pt", tmp_path / "vocab.txt", image_pixels
    )


def test_every_container_holds_the_same_weights(tmp_path):
    state = beit3_state()
    wrapped = {f"module.{name}": tensor for name, tensor in state.items()}
    contents = [
        state,
        {"model": state, "args": argparse.Namespace(lr=0.1, name="x"), "optimizer": {"step": 3}},
        {"module": state, "epoch": 2},
        {"state_dict": wrapped},
    ]
    for content in contents:
        loaded = load_beit3(tmp_path, content)
        assert all(torch.equal(loaded.state_dict()[name], state[name]) for name in state)
        assert not loaded.training
    assert torch.equal(
        load_beit3(tmp_path, state, save=save_file).vision_head.weight, state["vision_head.weight"]
    )


@pytest.mark.parametrize("legacy", [True, False])
def test_half_precision_files_become_float32(tmp_path, legacy):
    state = {name: tensor.half() for name, tensor in beit3_state().items()}
    torch.save(state, tmp_path / "half.pth", _use_new_zipfile_serialization=not legacy)
    read = read_checkpoint(tmp_path / "half.pth")
    assert {tensor.dtype for tensor in read.values()} == {torch.float32}
    assert {weight.dtype for weight in load_beit3(tmp_path, state).parameters()} == {torch.float32}


def test_a_loaded_checkpoint_encodes_like_its_source(tmp_path):
    source = tiny_vlmo(relative=True).eval()
    loaded = load_vlmo(tmp_path, source.state_dict(), "small_relative")
    with torch.no_grad():
        assert torch.equal(loaded.encode_images(pictures(2)), source.encode_images(pictures(2)))


def test_beit3_pretraining_heads_beside_the_retrieval_heads_are_left_out(tmp_path):
    extra = {
        name: torch.zeros(3)
        for name in ("mlm_head.bias", "mim_head.bias", "beit3.encoder.output_projection.bias")
    }
    load_beit3(tmp_path, beit3_state() | extra)


def test_vlmo_leftovers_of_the_checkpoint_are_adjusted(tmp_path):
    """Index buffers are recomputed; text positions laid out for 196 tokens are cut."""
    state = vlmo_state(relative=True)
    rows = torch.randn(196, WIDTH)
    state["text_embeddings.position_embeddings.weight"] = rows
    state["text_embeddings.position_ids"] = torch.arange(196)[None]
    state |= {
        "relative_position_index": torch.zeros(37, 37).long(),
        "text_relative_position_index": torch.zeros(196, 196).long(),
        "text_imag_relative_position_index": torch.zeros(233, 233).long(),
    }
    loaded = load_vlmo(tmp_path, {"state_dict": state}, "small_relative")
    assert torch.equal(loaded.text_embeddings.position_embeddings.weight, rows[:16])
    assert loaded.text_embeddings.position_ids.tolist() == [list(range(16))]
    assert torch.equal(loaded.image_index, tiny_vlmo(relative=True).image_index)
    del state["text_embeddings.position_ids"]
    load_vlmo(tmp_path, state, "small_relative")


# --- other picture sizes ---


def test_a_checkpoint_serves_other_picture_sizes(tmp_path):
    for image_pixels in (24, 72):
        small = torch.nn.functional.interpolate(pictures(2), image_pixels)
        for encoder in (
            load_beit3(tmp_path, beit3_state(), image_pixels),
            load_vlmo(tmp_path, vlmo_state(), "small", image_pixels),
            load_vlmo(tmp_path, vlmo_state(relative=True), "small_relative", image_pixels),
        ):
            with torch.no_grad():
                assert encoder.encode_images(small).shape == (2, WIDTH)
            assert encoder.image_transform.side == image_pixels


def test_positions_that_are_no_grid_are_refused(tmp_path):
    with pytest.raises(InputError, match="has 20 rows for the picture's grid, which is not a squa"):
        resize_grid(torch.zeros(23, 4), 3, 5)
    state = vlmo_state(relative=True)
    state["relative_position_bias_table"] = state["relative_position_bias_table"][:-1]
    with pytest.raises(InputError, match="relative position table has 48 rows"):
        load_vlmo(tmp_path, state, "small_relative")


@pytest.mark.parametrize(("grid", "side"), [(14, 24), (14, 12), (6, 9)])
def test_relative_offsets_are_stretched_smoothly(grid, side):
    """A function linear in both offsets stays that function, the right way round."""
    half = grid - 1
    ratio = geometric_ratio(half, side - 1)
    positive = np.cumsum(ratio ** np.arange(half))
    at = torch.from_numpy(np.concatenate([-positive[::-1], [0.0], positive]))
    planes = torch.stack([5 * at[:, None] + at[None, :], (at**3)[:, None] + 0 * at])
    kept = torch.randn(7, 2).double()
    table = torch.cat([planes.flatten(1).T, kept])
    resized = resize_relative_table(table, 7, side)
    wanted = torch.arange(2 * side - 1).double() - (side - 1)
    wanted = wanted.clamp(at[0], at[-1])
    expected = torch.stack([5 * wanted[:, None] + wanted, (wanted**3)[:, None] + 0 * wanted])
    torch.testing.assert_close(resized[:-7], expected.flatten(1).T, atol=1e-6, rtol=1e-6)
    assert torch.equal(resized[-7:], kept)


def geometric_ratio(half, reach):
    """Between 1.01 and 1.5 where 1 + q + ... + q^(half - 1) = reach, by bisection."""
    low, high = 1.01, 1.5
    while high - low > 1e-6:
        middle = (low + high) / 2
        low, high = (low, middle) if sum(middle**i for i in range(half)) > reach else (middle, high)
    return middle


def test_the_same_size_keeps_the_table():
    table = torch.randn(11**2 + 5, 3)
    assert resize_relative_table(table, 5, 6) is table


# --- refused ---


class Payload:
    def __reduce__(self):
        return (Path.touch, (Path("touched"),))


def test_no_code_in_a_checkpoint_runs(tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    torch.save({"model": beit3_state(), "extra": Payload()}, tmp_path / "w.pth")
    (tmp_path / "raw.pth").write_bytes(pickle.dumps(Payload(), protocol=2))
    for name in ("w.pth", "raw.pth"):
        with pytest.raises(InputError, match=r"pth: (holds Python objects|truncated, damaged)"):
            read_checkpoint(tmp_path / name)
    assert not (tmp_path / "touched").exists()


def torch_bytes(content):
    buffer = io.BytesIO()
    torch.save(content, buffer)
    return buffer.getvalue()


def safetensors_bytes(tmp_path):
    save_file({"a": torch.zeros(100)}, tmp_path / "whole")
    return (tmp_path / "whole").read_bytes()


@pytest.mark.parametrize(
    ("content", "sentence"),
    [
        (lambda _: b"", "truncated, damaged or no checkpoint"),
        (lambda _: b"\n<!DOCTYPE html><html>not found</html>", "a web page, not a checkpoint"),
        (lambda _: b"these are no weights at all", "truncated, damaged or no checkpoint"),
        (lambda _: torch_bytes({"a": torch.zeros(9999)})[:-500], "truncated, damaged"),
        (lambda _: torch_bytes({"a": torch.zeros(9999)})[:300], "truncated, damaged"),
        (lambda folder: safetensors_bytes(folder)[:-8], "truncated, damaged"),
        (lambda folder: safetensors_bytes(folder)[:5], "truncated, damaged"),
        (lambda _: torch_bytes({"epoch": 3}), "holds no named tensors"),
        (lambda _: torch_bytes(torch.zeros(3)), "holds no named tensors"),
        (lambda _: torch_bytes({"model": {}}), "holds no named tensors"),
    ],
)
def test_damaged_files_are_refused(tmp_path, content, sentence):
    path = tmp_path / "weights.pth"
    path.write_bytes(content(tmp_path))
    with pytest.raises(InputError, match=rf"weights\.pth: {sentence}"):
        read_checkpoint(path)


def test_absent_files_are_refused(tmp_path):
    with pytest.raises(InputError, match="absent: cannot be read; run the stage"):
        read_checkpoint(tmp_path / "absent")


def test_torchscript_archives_are_refused(tmp_path):
    class Scale(torch.nn.Module):
        def forward(self, x):
            return x * 2

    torch.jit.trace(Scale(), torch.zeros(1)).save(tmp_path / "clip.pt")
    with pytest.raises(InputError, match=r"clip\.pt: a TorchScript archive"):
        read_checkpoint(tmp_path / "clip.pt")


CLIP = {"visual.proj": torch.zeros(2), "transformer.resblocks.0.ln_1.weight": torch.zeros(2)}


def without(state, *parts):
    return {name: x for name, x in state.items() if not any(part in name for part in parts)}


@pytest.mark.parametrize(
    ("state", "sentence"),
    [
        (lambda: CLIP, "a CLIP checkpoint, not a BEiT-3 checkpoint; give beit3"),
        (vlmo_state, "a VLMo checkpoint, not a BEiT-3 checkpoint"),
        (lambda: {"foo": torch.zeros(1)}, "an unknown checkpoint .its first name is 'foo'."),
        (lambda: without(beit3_state(), "_head", "logit"), "without retrieval heads .vision_head"),
        (lambda: without(beit3_state(), "layers.2."), r"fit this variant: 40 missing \(beit3\."),
        (lambda: beit3_state() | {"head.bias": torch.zeros(1)}, r"1 not part of .* \(head\.bias"),
        (
            lambda: beit3_state() | {"vision_head.weight": torch.zeros(9, WIDTH)},
            r"1 of another shape \(vision_head\.weight is "
            rf"\[9, {WIDTH}\], not \[{WIDTH}, {WIDTH}\]\)",
        ),
    ],
)
def test_a_checkpoint_that_is_no_retrieval_beit3_is_refused(tmp_path, state, sentence):
    with pytest.raises(InputError, match=rf"weights\.pth: .*{sentence}"):
        load_beit3(tmp_path, {"model": state()})


@pytest.mark.parametrize(
    ("state", "sentence"),
    [
        (lambda: CLIP, "a CLIP checkpoint, not a VLMo checkpoint; give vlmo_"),
        (beit3_state, "a BEiT-3 checkpoint, not a VLMo checkpoint"),
        (lambda: without(vlmo_state(), "_vl", "itc_", "itm_", "logit"), "a VLMo stage-2"),
        (
            lambda: without(vlmo_state(), "itc_vl", "logit_vl", "itm_score", "mlm_score"),
            "fine-tuned for retrieval or another task, without itc_vl_image_proj",
        ),
        (lambda: vlmo_state(relative=True), r"missing \(transformer\.pos_embed\)"),
        (lambda: without(vlmo_state(), "pooler"), r"2 missing \(pooler\.dense\.weight\)"),
    ],
)
def test_a_checkpoint_that_is_no_pretrained_vlmo_is_refused(tmp_path, state, sentence):
    with pytest.raises(InputError, match=rf"weights\.pt: .*{sentence}"):
        load_vlmo(tmp_path, state())


def test_unknown_variants_and_other_vocabularies_are_refused(tmp_path):
    spm().save(tmp_path)
    with pytest.raises(InputError, match="beit3 has no variant 'bsae'; did you mean 'base'"):
        Beit3.from_checkpoint("bsae", tmp_path / "w", tmp_path / "tokenizer.spm")
    torch.save(beit3_state(), tmp_path / "w")
    with pytest.raises(InputError, match=r"has \d+ entries but these weights were .* 64002"):
        Beit3.from_checkpoint("base", tmp_path / "w", tmp_path / "tokenizer.spm")


def test_a_model_without_weights_draws_none_and_keeps_the_compiler_out() -> None:
    code = (
        "import sys; from torch import nn;"
        "from lmm4rec.encoders.files.checkpoints import without_weights\n"
        "with without_weights():\n"
        "    model = nn.Sequential(nn.Linear(3, 2), nn.Embedding(4, 2), nn.LayerNorm(2))\n"
        "    nn.init.trunc_normal_(model[0].weight); nn.init.normal_(model[1].weight)\n"
        "assert all(p.is_meta and p.requires_grad for p in model.parameters())\n"
        "assert [tuple(p.shape) for p in model[0].parameters()] == [(2, 3), (2,)]\n"
        "sys.exit('torch._dynamo' in sys.modules)"
    )
    assert subprocess.run([sys.executable, "-c", code], check=False).returncode == 0
