"""BEiT-3 and VLMo give the official outputs, and nearly-right versions of them do not."""

import math
from collections.abc import Callable

import pytest
import torch
from torch import nn

from lmm4rec.encoders.unified import beit3_network, relative_positions, vlmo_network
from tests import parity
from tests.encoders.unified.official_outputs import FILES, GOLDEN, failures


@pytest.mark.parametrize("name", FILES)
def test_every_tensor_equals_the_official_one(name):
    golden = parity.read(GOLDEN / f"{name}.safetensors")
    assert failures(parity.build(golden), golden) == set()


Spoil = Callable[[nn.Module, pytest.MonkeyPatch], None]


def every(model, kind):
    return (module for module in model.modules() if isinstance(module, kind))


def tanh_gelu(model, monkeypatch):
    exact = torch.nn.functional.gelu
    monkeypatch.setattr(torch.nn.functional, "gelu", lambda x: exact(x, approximate="tanh"))


def other_norm_eps(model, monkeypatch):
    for norm in every(model, nn.LayerNorm):
        if norm.eps > 1e-9:
            norm.eps = {1e-5: 1e-6, 1e-6: 1e-5}[norm.eps]


def naive_padding(model, monkeypatch):
    """Padding is not looked at, neither in attention nor in the embedding."""
    run = model.beit3.encoder.forward
    model.beit3.encoder.forward = lambda streams, mask, *first_alone: run(
        streams, None, *first_alone
    )


def inverted_padding(model, monkeypatch):
    run = model.beit3.encoder.forward
    model.beit3.encoder.forward = lambda streams, mask, *first_alone: run(
        streams, None if mask is None else ~mask, *first_alone
    )


def padding_not_zeroed(model, monkeypatch):
    monkeypatch.setattr(torch.Tensor, "masked_fill", lambda tensor, mask, value: tensor)


def positions_from_row_0(model, monkeypatch):
    monkeypatch.setattr(beit3_network, "UNUSED_POSITIONS", 0)


def text_positions_continue(model, monkeypatch):
    def continued(streams):
        tables, image_tokens = model.beit3.encoder.embed_positions, 0
        found = {}
        for modality, part in streams.items():
            rows = torch.arange(part.shape[1]) + 2 + image_tokens
            found[modality] = part + tables[modality](rows)
            image_tokens = part.shape[1]
        return found

    model.beit3.encoder._with_positions = continued


def swapped_multiway(model, monkeypatch):
    for experts in every(model, beit3_network.Multiway):
        if not isinstance(experts["A"], nn.Embedding):
            experts["A"], experts["B"] = experts["B"], experts["A"]


def without_sub_norm(name):
    def spoil(model, monkeypatch):
        for module in list(model.modules()):
            if name in dict(module.named_children()):
                setattr(module, name, nn.Identity())

    return spoil


def swapped_heads(model, monkeypatch):
    model.vision_head, model.language_head = model.language_head, model.vision_head


def scaled_words(model, monkeypatch):
    model.beit3.text_embed.weight.data *= math.sqrt(64)


BEIT3_SPOILED: list[Spoil] = [
    tanh_gelu, other_norm_eps, naive_padding, inverted_padding, padding_not_zeroed,
    positions_from_row_0, text_positions_continue, swapped_multiway, swapped_heads, scaled_words,
    without_sub_norm("inner_attn_ln"), without_sub_norm("ffn_layernorm"),
]  # fmt: skip


@pytest.mark.parametrize("spoil", BEIT3_SPOILED)
def test_a_wrong_beit3_fails(spoil, monkeypatch):
    golden = parity.read(GOLDEN / "beit3_dev.safetensors")
    network = parity.build(golden)
    spoil(network, monkeypatch)
    assert failures(network, golden)


def test_positions_that_continue_are_wrong_in_joint_passes_only(monkeypatch):
    golden = parity.read(GOLDEN / "beit3_dev.safetensors")
    network = parity.build(golden)
    text_positions_continue(network, monkeypatch)
    failed = failures(network, golden)
    assert "out.fused_tokens" in failed
    assert not any("image" in name or "text" in name for name in failed)


def bert_norm_eps(model, monkeypatch):
    for norm in every(model, nn.LayerNorm):
        norm.eps = max(norm.eps, 1e-6)


def ignored_mask(model, monkeypatch):
    monkeypatch.setattr(vlmo_network.Context, "mask", lambda self, block: (
        None if self.biases is None else self.biases[block]
    ))  # fmt: skip


def without_vl_experts(model, monkeypatch):
    for block in model.transformer.blocks:
        block.mlp_vl = None


def swapped_experts(model, monkeypatch):
    for block in model.transformer.blocks:
        block.mlp_text, block.mlp_imag = block.mlp_imag, block.mlp_text


def expert_norms_swapped(model, monkeypatch):
    for block in model.transformer.blocks:
        block.norm2_text, block.norm2_imag = block.norm2_imag, block.norm2_text


def swapped_types(model, monkeypatch):
    table = model.token_type_embeddings.weight.data
    table.copy_(table.flip(0))


def bert_positions_flipped(model, monkeypatch):
    embeddings = model.text_embeddings
    embeddings.adds_positions = not embeddings.adds_positions


def biased_keys(model, monkeypatch):
    """The bias of queries and values on each other."""
    for block in model.transformer.blocks:
        block.attn.q_bias, block.attn.v_bias = block.attn.v_bias, block.attn.q_bias


def split_one_too_late(model, monkeypatch):
    run = model._through
    model._through = lambda tokens, expert, context, blocks, text_tokens=0, places=None: run(
        tokens, expert, context, blocks, text_tokens + 1, places
    )


def without_gammas(model, monkeypatch):
    for block in model.transformer.blocks:
        block.gamma_1 = block.gamma_2 = None


def image_offsets_mirrored(model, monkeypatch):
    model.image_index = model.image_index.T.clone()


def text_offsets_mirrored(model, monkeypatch):
    model.text_index = model.text_index.T.clone()


def cross_rows_swapped(model, monkeypatch):
    right = relative_positions.joint_index

    def swapped(text, image, grid):
        index = right(text, image, grid)
        index[: len(text), len(text) :] += 1
        index[len(text) :, : len(text)] -= 1
        return index

    monkeypatch.setattr(relative_positions, "joint_index", swapped)


def columns_by_head_first(model, monkeypatch):
    table = model.relative_position_bias_table
    blocks, heads = model.config.blocks, model.config.heads
    model.relative_position_bias_table = nn.Parameter(
        table.view(-1, blocks, heads).transpose(1, 2).flatten(1)
    )


VLMO_SPOILED: list[Spoil] = [
    tanh_gelu, other_norm_eps, bert_norm_eps, ignored_mask, without_vl_experts, swapped_experts,
    expert_norms_swapped, swapped_types, bert_positions_flipped, biased_keys, split_one_too_late,
]  # fmt: skip

RELPOS_SPOILED: list[Spoil] = [
    without_gammas, image_offsets_mirrored, text_offsets_mirrored, cross_rows_swapped,
    columns_by_head_first,
]  # fmt: skip


@pytest.mark.parametrize("spoil", VLMO_SPOILED)
@pytest.mark.parametrize("name", ["vlmo_dev", "vlmo_relpos_dev"])
def test_a_wrong_vlmo_fails(name, spoil, monkeypatch):
    golden = parity.read(GOLDEN / f"{name}.safetensors")
    encoder = parity.build(golden)
    spoil(encoder, monkeypatch)
    assert failures(encoder, golden)


@pytest.mark.parametrize("spoil", RELPOS_SPOILED)
def test_a_vlmo_with_wrong_relative_positions_fails(spoil, monkeypatch):
    golden = parity.read(GOLDEN / "vlmo_relpos_dev.safetensors")
    encoder = parity.build(golden)
    spoil(encoder, monkeypatch)
    assert failures(encoder, golden)
