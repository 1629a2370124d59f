"""Every kind of picture a catalogue holds becomes a plain small JPEG, or one named status."""

import io
import struct
import zlib

import numpy as np
import pytest
from PIL import Image

from lmm4rec.catalogue.pictures.images import NOT_AN_IMAGE, OK, TOO_LARGE
from lmm4rec.catalogue.pictures.reencoding import PictureParams, reencode

PARAMS = PictureParams(
    short_side_pixels=64,
    jpeg_quality=90,
    minimum_side_pixels=8,
    maximum_bytes=1_000_000,
    maximum_pixels=4_000_000,
)


def saved(picture: Image.Image, kind: str, **options: object) -> bytes:
    stream = io.BytesIO()
    picture.save(stream, kind, **options)
    return stream.getvalue()


def plain(width: int, height: int, tone: tuple[int, ...] = (200, 30, 40)) -> Image.Image:
    return Image.new("RGB", (width, height), tone)


def opened(content: bytes) -> Image.Image:
    status, jpeg = reencode(content, PARAMS)
    assert status == OK and jpeg is not None
    picture = Image.open(io.BytesIO(jpeg))
    assert (picture.format, picture.mode) == ("JPEG", "RGB")
    picture.load()
    return picture


def tone(picture: Image.Image) -> tuple[int, ...]:
    return tuple(np.asarray(picture).reshape(-1, 3).mean(axis=0).round().astype(int).tolist())


@pytest.mark.parametrize(
    ("size", "expected"),
    [
        ((640, 320), (128, 64)),
        ((320, 640), (64, 128)),
        ((64, 900), (64, 900)),
        ((20, 10), (20, 10)),
        ((1000, 65), (985, 64)),
    ],
)
def test_short_side_is_bounded_and_never_enlarged(
    size: tuple[int, int], expected: tuple[int, int]
) -> None:
    for kind in ("JPEG", "PNG"):
        assert opened(saved(plain(*size), kind)).size == expected


@pytest.mark.parametrize("kind", ["JPEG", "PNG", "GIF", "WEBP", "BMP", "TIFF"])
def test_formats(kind: str) -> None:
    assert tone(opened(saved(plain(80, 80), kind))) == pytest.approx((200, 30, 40), abs=4)


def test_cmyk_keeps_its_colour() -> None:
    found = opened(saved(plain(80, 80).convert("CMYK"), "JPEG", quality=95))
    assert tone(found) == pytest.approx((200, 30, 40), abs=6)


def test_palette_and_grey() -> None:
    assert tone(opened(saved(plain(80, 80).quantize(8), "PNG"))) == pytest.approx(
        (200, 30, 40), abs=4
    )
    grey = Image.new("L", (80, 80), 90)
    assert tone(opened(saved(grey, "PNG"))) == pytest.approx((90, 90, 90), abs=2)


def test_sixteen_bit_grey_is_scaled_not_clipped() -> None:
    values = np.full((80, 80), 0x4000, dtype=np.uint16)
    found = opened(saved(Image.fromarray(values), "PNG"))
    assert tone(found) == pytest.approx((64, 64, 64), abs=2)


@pytest.mark.parametrize("mode", ["RGBA", "LA", "P"])
def test_transparent_parts_become_white(mode: str) -> None:
    clear = Image.new("RGBA", (80, 80), (0, 0, 0, 0))
    options = {}
    if mode == "P":
        clear, options = Image.new("P", (80, 80), 0), {"transparency": 0}
    else:
        clear = clear.convert(mode)
    assert tone(opened(saved(clear, "PNG", **options))) == (255, 255, 255)


def test_exif_turns_the_picture_upright() -> None:
    picture = plain(100, 80)
    exif = picture.getexif()
    exif[0x0112] = 6  # turned by 90 degrees
    assert opened(saved(picture, "JPEG", exif=exif)).size == (64, 80)


def test_broken_exif_is_no_reason_to_lose_the_picture() -> None:
    content = saved(plain(80, 80), "JPEG", exif=b"Exif\0\0" + b"\xff" * 30)
    assert opened(content).size == (64, 64)


def test_animation_gives_its_first_frame() -> None:
    frames = [plain(80, 80, (10, 200, 10)), plain(80, 80, (200, 10, 10))]
    for kind in ("GIF", "WEBP"):
        content = saved(frames[0], kind, save_all=True, append_images=frames[1:])
        assert tone(opened(content)) == pytest.approx((10, 200, 10), abs=8)


@pytest.mark.parametrize(
    "content",
    [
        b"",
        b"<!DOCTYPE html><html><body>404</body></html>",
        b"GIF89a",
        saved(plain(200, 200), "JPEG")[:-200],
        saved(plain(200, 200), "PNG")[:300],
        saved(plain(1, 1), "GIF"),
        saved(plain(100, 7), "PNG"),
        b"%!PS-Adobe-3.0 EPSF-3.0\n%%BoundingBox: 0 0 100 100\n",
        bytes(1000),
    ],
    ids=["empty", "html", "header", "cut-jpeg", "cut-png", "1x1", "thin", "eps", "zeros"],
)
def test_what_is_no_picture(content: bytes) -> None:
    assert reencode(content, PARAMS) == (NOT_AN_IMAGE, None)


def bomb(width: int, height: int) -> bytes:
    """A PNG that says it is this large and would be grey all over."""

    def chunk(kind: bytes, body: bytes) -> bytes:
        sum_ = struct.pack(">I", zlib.crc32(kind + body))
        return struct.pack(">I", len(body)) + kind + body + sum_

    header = struct.pack(">IIBBBBB", width, height, 8, 0, 0, 0, 0)
    body = zlib.compress(bytes(1_000_000))
    return (
        b"\x89PNG\r\n\x1a\n" + chunk(b"IHDR", header) + chunk(b"IDAT", body) + chunk(b"IEND", b"")
    )


@pytest.mark.parametrize("side", [2_001, 12_000, 60_000])
def test_decompression_bombs_are_refused_before_decoding(
    side: int, monkeypatch: pytest.MonkeyPatch
) -> None:
    def decode(*_: object) -> None:
        raise AssertionError("decoded")

    monkeypatch.setattr(Image.Image, "draft", decode)
    monkeypatch.setattr("PIL.PngImagePlugin.PngImageFile.load", decode)
    assert reencode(bomb(side, side), PARAMS) == (TOO_LARGE, None)


def test_too_many_bytes() -> None:
    content = saved(plain(80, 80), "JPEG") + bytes(1_000_000)
    assert reencode(content, PARAMS) == (TOO_LARGE, None)


def test_same_picture_same_bytes() -> None:
    noise = np.random.default_rng(0).integers(0, 256, (300, 200, 3), dtype=np.uint8)
    content = saved(Image.fromarray(noise), "JPEG")
    assert reencode(content, PARAMS) == reencode(content, PARAMS)
