"""What several tests of BEiT-3's and VLMo's checkpoints stand on."""

import pytest

from lmm4rec.encoders.unified import beit3, vlmo
from tests.encoders.unified_encoders import spm, tiny_vlmo


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
