"""The contract of `lmm4rec.encoders.base`, for every registered family that has a tiny variant."""

from __future__ import annotations

import json
import subprocess
import sys
from pathlib import Path

import pytest

from lmm4rec.encoders import FAMILIES, encoder_class, load_encoder
from lmm4rec.encoders.base import Encoder
from lmm4rec.errors import InputError
from tests.encoders import encoder_contract as contract

# Parameters that a family's own objective does not read, and why.
UNREACHED = {
    "clip": set(),
    # position rows and a mask token that only other tasks of the published model use
    "beit3": {"beit3.vision_embed.mask_token"},
    # the head of the joint pass's pooled vector feeds ITM; nothing is left over
    "vlmo": set(),
    "unimodal": set(),
}
WITH_TINY = sorted(name for name in FAMILIES if "tiny" in vars(encoder_class(name, "test")))


@pytest.fixture(params=WITH_TINY)
def encoder(request: pytest.FixtureRequest) -> Encoder:
    return contract.tiny(request.param)


def test_every_family_is_among_those_tested() -> None:
    assert {"clip", "beit3", "vlmo", "unimodal"} <= set(WITH_TINY)


def test_shapes_and_lengths(encoder: Encoder) -> None:
    contract.check_shapes_and_lengths(encoder)


def test_matching_vectors(encoder: Encoder) -> None:
    contract.check_matching_vectors(encoder)


def test_save_and_load(encoder: Encoder, tmp_path: Path) -> None:
    contract.check_save_and_load(encoder, tmp_path / "once")


def test_one_by_one_equals_batched(encoder: Encoder) -> None:
    contract.check_one_by_one_equals_batched(encoder)


def test_permuted_inputs_permute_outputs(encoder: Encoder) -> None:
    contract.check_permuted_inputs_permute_outputs(encoder)


def test_awkward_texts(encoder: Encoder) -> None:
    contract.check_awkward_texts(encoder)


def test_awkward_pictures(encoder: Encoder) -> None:
    contract.check_awkward_pictures(encoder)


def test_preprocessing_is_picklable_and_light(encoder: Encoder) -> None:
    contract.check_preprocessing_is_picklable_and_light(encoder)


def test_loss_falls(encoder: Encoder) -> None:
    contract.check_loss_falls(encoder)


def test_gradients_reach_every_parameter(encoder: Encoder) -> None:
    assert contract.untouched_by_gradients(encoder) <= UNREACHED[encoder.family]


def test_layers(encoder: Encoder) -> None:
    contract.check_layers(encoder)


def test_unknown_family() -> None:
    with pytest.raises(InputError, match=r"params: 'clp' is not a family.*did you mean 'clip'\?"):
        encoder_class("clp", "params")


@pytest.mark.parametrize(
    ("content", "message"),
    [
        ('{"family": "clip"', r"config\.json: not valid JSON"),
        ("[]", r"config\.json: names no family"),
        ("{}", r"config\.json: names no family"),
        ('{"family": 3}', r"config\.json: names no family"),
        ('{"family": "beit4"}', r"did you mean 'beit3'\?"),
        ('{"family": "clip"}', r"config\.model is missing"),
        ('{"family": "clip", "model": {}, "preprocess": {}}', r"run stage weights again"),
        ('{"family": "clip", "model": {"embed_dim": 8, "vision_cfg": {}, "text_cfg": {}},'
         ' "preprocess": {}}', r"config\.preprocess is not open_clip's preprocess_cfg"),
    ],
)  # fmt: skip
def test_broken_config(content: str, message: str, tmp_path: Path) -> None:
    (tmp_path / "config.json").write_text(content)
    with pytest.raises(InputError, match=message):
        load_encoder(tmp_path)


def test_missing_config(tmp_path: Path) -> None:
    with pytest.raises(InputError, match=r"config\.json: there is no such file"):
        load_encoder(tmp_path)


def test_weights_of_another_size(tmp_path: Path) -> None:
    contract.tiny("clip").save(tmp_path)
    config = json.loads((tmp_path / "config.json").read_text())
    config["model"]["vision_cfg"]["layers"] = 4
    (tmp_path / "config.json").write_text(json.dumps(config))
    with pytest.raises(InputError, match=r"model\.safetensors: does not fit.*missing"):
        load_encoder(tmp_path)


def test_truncated_weights(tmp_path: Path) -> None:
    contract.tiny("clip").save(tmp_path)
    weights = tmp_path / "model.safetensors"
    weights.write_bytes(weights.read_bytes()[:1000])
    with pytest.raises(InputError, match=r"model\.safetensors: not a whole checkpoint"):
        load_encoder(tmp_path)


def test_looking_up_families_imports_no_torch() -> None:
    code = "import sys, lmm4rec.encoders; assert 'torch' not in sys.modules"
    subprocess.run([sys.executable, "-c", code], check=True)
