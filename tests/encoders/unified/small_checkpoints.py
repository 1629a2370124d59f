"""Small files that look like the published ones of BEiT-3 and VLMo (fixture `small_variants`)."""

import torch

from lmm4rec.encoders.unified import beit3
from lmm4rec.encoders.unified.beit3 import Beit3
from lmm4rec.encoders.unified.beit3_network import Beit3Network
from lmm4rec.encoders.unified.vlmo import Vlmo
from tests.encoders.unified_encoders import spm, tiny_vlmo, wordpiece

WIDTH = beit3.tiny(1).width  # of both tiny families


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
