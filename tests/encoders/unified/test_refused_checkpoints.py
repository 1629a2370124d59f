"""Checkpoints that are no BEiT-3 or no VLMo are refused, each with its sentence."""

import pytest
import torch

from lmm4rec.encoders.unified.beit3 import Beit3
from lmm4rec.errors import InputError
from tests.encoders.unified.small_checkpoints import (
    WIDTH,
    beit3_state,
    load_beit3,
    load_vlmo,
    vlmo_state,
)
from tests.encoders.unified_encoders import spm

pytestmark = pytest.mark.usefixtures("small_variants")


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
