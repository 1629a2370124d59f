"""Grey pictures of more than 8 bits: scaled where white is known, else no pictures."""

from __future__ import annotations

import io
from typing import Any

import numpy as np
import pytest
from PIL import Image

from lmm4rec.catalogue.pictures.images import NOT_AN_IMAGE, OK
from lmm4rec.catalogue.pictures.reencoding import reencode
from tests.catalogue.pictures.test_reencoding import PARAMS, saved

HALF_DARK = np.tile(np.repeat([0, 1], 40), (80, 1))  # the left half 0, the right half 1

# what a picture holds: its values, and the tone of its right half, None where it is no picture
PICTURES: dict[str, tuple[Any, int | None]] = {
    "16 bits": ((HALF_DARK * 0x8000).astype(np.uint16), 128),
    "16 bits, white": ((HALF_DARK * 0xFFFF).astype(np.uint16), 255),
    "16 bits, dark": ((HALF_DARK * 255).astype(np.uint16), 0),
    "32 bits of 8": ((HALF_DARK * 200).astype(np.int32), 200),
    "32 bits of 16": ((HALF_DARK * 0xC000).astype(np.int32), 192),
    "32 bits": ((HALF_DARK * 2**30).astype(np.int32), None),
    "negative": ((HALF_DARK * -5).astype(np.int32), None),
    "floats to 1": ((HALF_DARK * 0.5).astype(np.float32), 128),
    "floats to 255": ((HALF_DARK * 100.0).astype(np.float32), 100),
    "floats beyond": ((HALF_DARK * 300.0).astype(np.float32), None),
    "negative floats": ((HALF_DARK * -0.5).astype(np.float32), None),
    "NaN": (np.where(HALF_DARK == 1, np.nan, 0).astype(np.float32), None),
    "infinity": (np.where(HALF_DARK == 1, np.inf, 0).astype(np.float32), None),
    "black floats": (np.zeros((80, 80), np.float32), 0),
}


@pytest.mark.parametrize("fault", PICTURES)
@pytest.mark.parametrize("compression", ["raw", "tiff_deflate"])
def test_grey_of_many_bits(fault: str, compression: str) -> None:
    values, tone = PICTURES[fault]
    content = saved(Image.fromarray(values), "TIFF", compression=compression)
    status, jpeg = reencode(content, PARAMS)
    if tone is None:
        assert (status, jpeg) == (NOT_AN_IMAGE, None)
        return
    assert status == OK and jpeg is not None
    seen = np.asarray(Image.open(io.BytesIO(jpeg)))
    assert seen[:, :20].mean() == pytest.approx(0, abs=2)
    assert seen[:, -20:].mean() == pytest.approx(tone, abs=2)
