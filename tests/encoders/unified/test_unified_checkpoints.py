"""Checkpoints of BEiT-3 and VLMo: containers, leftovers, and other picture sizes."""

import argparse

import numpy as np
import pytest
import torch
from safetensors.torch import save_file

from lmm4rec.encoders.files.checkpoints import read_checkpoint
from lmm4rec.encoders.unified.positions import resize_grid, resize_relative_table
from lmm4rec.errors import InputError
from tests.encoders.unified.small_checkpoints import (
    WIDTH,
    beit3_state,
    load_beit3,
    load_vlmo,
    vlmo_state,
)
from tests.encoders.unified_encoders import pictures, tiny_vlmo

pytestmark = pytest.mark.usefixtures("small_variants")


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
