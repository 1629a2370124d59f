"""The published BEiT-3 and VLMo models: official names, shapes and numbers of parameters."""

import json
from pathlib import Path

import pytest
import torch

from lmm4rec.encoders.unified import beit3, vlmo
from lmm4rec.encoders.unified.beit3_network import Beit3Network
from lmm4rec.encoders.unified.vlmo_network import VlmoNetwork

KEYS = json.loads((Path(__file__).parents[2] / "golden" / "state_dict_keys.json").read_text())


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
