"""The command that compares a model with a file of official outputs."""

import json

import pytest
import torch
from safetensors.torch import load_file, save_file

from tests import parity
from tests.encoders.unified.official_outputs import FILES, GOLDEN


@pytest.mark.parametrize("name", FILES)
def test_the_command_accepts_the_files(name, capsys):
    assert parity.main([str(GOLDEN / f"{name}.safetensors")]) == 0
    printed = capsys.readouterr().out
    assert "out.fused_tokens" in printed and "FAILED" not in printed


@pytest.mark.parametrize(
    ("tensor", "shift"), [("out.text_embed", 2e-5), ("out.image_tokens", 2e-4), ("out.nothing", 0)]
)
def test_the_command_exits_1_past_tolerance(tmp_path, capsys, tensor, shift):
    tensors = load_file(GOLDEN / "beit3_dev.safetensors")
    tensors[tensor] = tensors.get(tensor, torch.zeros(1)).clone()
    tensors[tensor].view(-1)[0] += shift
    write_like("beit3_dev", tensors, tmp_path / "other.safetensors")
    assert parity.main([str(tmp_path / "other.safetensors")]) == 1
    failed = [line for line in capsys.readouterr().out.splitlines() if "FAILED" in line]
    assert len(failed) == 1 and tensor in failed[0]


@pytest.mark.parametrize("name", FILES)
def test_holes_in_the_mask_and_ids_under_padding(tmp_path, name):
    """Changed inputs change the outputs, unless only ids under padding changed."""
    tensors = load_file(GOLDEN / f"{name}.safetensors")
    golden = parity.read(GOLDEN / f"{name}.safetensors")
    model = parity.build(golden)
    padded = golden.given("padding_mask").bool()
    under = golden.given("tokens").clone()
    under[padded] = 42
    golden.tensors["in.tokens"] = under
    found = parity.answers(model, golden)
    real = ~padded[..., None]
    torch.testing.assert_close(
        found["out.text_tokens"] * real, tensors["out.text_tokens"] * real, atol=1e-5, rtol=0
    )
    holed = golden.given("padding_mask").clone()
    holed[:, 2] = 1
    golden.tensors["in.padding_mask"] = holed
    golden.tensors["in.attention_mask"] = 1 - holed
    without = parity.answers(model, golden)["out.text_embed"]
    golden.given("tokens")[:, 2] = 7  # nobody sees it
    torch.testing.assert_close(
        parity.answers(model, golden)["out.text_embed"], without, atol=1e-6, rtol=0
    )
    assert not torch.allclose(without, found["out.text_embed"], atol=1e-4)


def write_like(name, tensors, path):
    from safetensors import safe_open

    with safe_open(GOLDEN / f"{name}.safetensors", "pt") as file:
        save_file(tensors, path, metadata=file.metadata())


def test_a_file_of_other_sizes_is_built_from_its_metadata(tmp_path):
    """One layer, 3 x 3 patches: the file's own answers come back."""
    golden = parity.read(GOLDEN / "beit3_dev.safetensors")
    sizes = golden.config | {"img_size": 24, "num_layers": 1, "interp_img_size": 40}
    tensors = {
        name: tensor
        for name, tensor in golden.tensors.items()
        if name.startswith("in.") or (name.startswith("state.") and ".layers." not in name)
        or ".layers.0." in name
    }  # fmt: skip
    table = "state.beit3.encoder.embed_positions.A.weight"
    tensors[table] = tensors[table][: 3 + 9].clone()
    tensors["in.images"] = tensors["in.images"][..., :24, :24].contiguous()
    small = parity.Golden("beit3", sizes, tensors)
    found = parity.answers(parity.build(small), small)
    assert found["dbg.fused_layer_0"].shape == (4, 10 + 12, 64)
    assert found["aux.interp_embed_positions_A"].shape == (3 + 25, 64)
    metadata = {"encoder": "beit3", "config": json.dumps(sizes)}
    written = tensors | {name: tensor.contiguous() for name, tensor in found.items()}
    save_file(written, tmp_path / "small.safetensors", metadata=metadata)
    assert parity.main([str(tmp_path / "small.safetensors")]) == 0
