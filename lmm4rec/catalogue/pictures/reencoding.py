"""One picture as the world has it -> a small, plain JPEG, or the reason why not."""

from __future__ import annotations

import functools
import io
import warnings

import numpy as np
from PIL import Image, ImageOps
from pydantic import Field

from lmm4rec.catalogue.pictures.images import NOT_AN_IMAGE, OK, TOO_LARGE
from lmm4rec.params import Section

# What a shop serves; formats whose Pillow reader starts other programs (EPS) are never opened.
_FORMATS = ("JPEG", "PNG", "WEBP", "GIF", "BMP", "TIFF", "AVIF")


class PictureParams(Section):
    """What becomes of a picture's bytes: the middle of section `datasets.<name>.images`."""

    short_side_pixels: int = Field(gt=0, le=65_535)  # more no JPEG holds
    jpeg_quality: int = Field(ge=1, le=95)
    minimum_side_pixels: int = Field(gt=0, le=65_535)
    maximum_bytes: int = Field(gt=0, lt=2**31)
    maximum_pixels: int = Field(gt=0, lt=2**31)


def reencode(content: bytes, params: PictureParams) -> tuple[str, bytes | None]:
    """(status, JPEG): RGB, upright, first frame, short side bounded (never enlarged).

    Sizes are checked as the file declares them, before a pixel is decoded. Transparent parts
    become white.
    """
    if len(content) > params.maximum_bytes:
        return TOO_LARGE, None
    try:
        with warnings.catch_warnings():
            warnings.simplefilter(
                "ignore"
            )  # Pillow's doubts about metadata, and its own pixel limit
            with Image.open(io.BytesIO(content), formats=_formats()) as picture:
                if picture.width * picture.height > params.maximum_pixels:
                    return TOO_LARGE, None
                if min(picture.size) < params.minimum_side_pixels:
                    return NOT_AN_IMAGE, None
                return OK, _encode(_bounded(picture, params.short_side_pixels), params)
    except Image.DecompressionBombError:
        return TOO_LARGE, None
    except MemoryError:
        raise
    except (
        Exception
    ):  # readers of broken files raise nearly anything: it is no picture, whatever it is
        return NOT_AN_IMAGE, None


@functools.cache
def _formats() -> tuple[str, ...]:
    """Those of `_FORMATS` that this build of Pillow reads."""
    Image.init()
    return tuple(name for name in _FORMATS if name in Image.OPEN)


def _bounded(picture: Image.Image, short_side: int) -> Image.Image:
    # A JPEG is decoded at half, quarter or eighth size where that still is twice what is needed.
    picture.draft("RGB", (2 * short_side, 2 * short_side))
    picture.load()
    upright = _upright(picture)
    plain = _rgb(upright)
    scale = short_side / min(plain.size)
    if scale >= 1:
        return plain
    size = (max(1, round(plain.width * scale)), max(1, round(plain.height * scale)))
    return plain.resize(size, Image.Resampling.BICUBIC, reducing_gap=None)


def _upright(picture: Image.Image) -> Image.Image:
    try:
        return ImageOps.exif_transpose(picture)
    except Exception:  # EXIF data of any kind of brokenness: the pixels are still good
        return picture


def _rgb(picture: Image.Image) -> Image.Image:
    if picture.mode in ("I", "F") or picture.mode.startswith("I;16"):
        picture = _eight_bits(picture)  # convert would clip, not scale
    if picture.has_transparency_data:
        seen = picture.convert("RGBA")
        white = Image.new("RGBA", seen.size, "white")
        picture = Image.alpha_composite(white, seen)
    return picture.convert("RGB")


def _eight_bits(picture: Image.Image) -> Image.Image:
    """Grey of more than 8 bits as grey of 8. ValueError: nobody can tell which value is white.

    16-bit formats say that it is 65535. 32-bit ones say nothing: in practice their integers are of
    8 or of 16 bits, and their floats count to 1 or to 255.
    """
    values = np.asarray(picture)
    lowest, highest = float(values.min()), float(values.max())
    is_float = values.dtype.kind == "f"
    if not 0 <= lowest <= highest <= (255 if is_float else 65535):  # NaN lies nowhere
        raise ValueError("grey values of no known scale")
    if is_float:
        values = np.rint(values * 255 if highest <= 1 else values)
    elif picture.mode != "I" or highest > 255:
        values = values >> 8
    return Image.fromarray(values.astype(np.uint8))


def _encode(picture: Image.Image, params: PictureParams) -> bytes:
    stream = io.BytesIO()
    picture.save(stream, "JPEG", quality=params.jpeg_quality)
    return stream.getvalue()
