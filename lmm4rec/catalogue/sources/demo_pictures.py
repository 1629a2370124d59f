"""Drawing the demo world: an outlined silhouette per kind of product, in a colour and a pattern.

Web pictures stand before a scene of their theme, or before a plain ground, wherever the camera
caught them; catalogue pictures fill a studio's frame (a soft gradient, a shadow, more noise), so
that an encoder trained on the first has something to gain from being fine-tuned on the second. The
dark outline is what makes the kind plain to see before a ground of any tone: colours differ more
than shapes do, and a small transformer sees them first. All randomness comes from the generator
passed in.
"""

from __future__ import annotations

import functools
import io
import math

import numpy as np
from numpy.typing import NDArray
from PIL import Image, ImageDraw

from lmm4rec.catalogue.sources.demo_scenes import PIXELS, scene, studio

_FINE = 2 * PIXELS  # silhouettes are drawn at twice the size and halved, for smooth edges

_INK = (25, 25, 30)
_INK_PIXELS = 3  # of the outline's width, at the fine size

Points = NDArray[np.float64]  # [n, 2], x and y in -1 .. 1, y down


def _box(left: float, top: float, right: float, bottom: float) -> Points:
    return np.array([(left, top), (right, top), (right, bottom), (left, bottom)])


def _disc(x: float, y: float, rx: float, ry: float, start: float = 0, end: float = 360) -> Points:
    angles = np.radians(np.linspace(start, end, 24))
    return np.stack([x + rx * np.cos(angles), y + ry * np.sin(angles)], axis=1)


def _path(*points: tuple[float, float]) -> Points:
    return np.array(points)


# Each silhouette is a list of (shape, filled): later shapes paint over, unfilled ones cut holes.
SILHOUETTES: dict[str, list[tuple[Points, bool]]] = {
    "mug": [
        (_disc(0.55, 0.05, 0.4, 0.42), True),
        (_disc(0.55, 0.05, 0.22, 0.24), False),
        (_box(-0.7, -0.65, 0.5, 0.75), True),
    ],
    "lamp": [
        (_path((-0.35, -0.9), (0.35, -0.9), (0.75, 0.0), (-0.75, 0.0)), True),
        (_box(-0.08, 0.0, 0.08, 0.75), True),
        (_disc(0, 0.8, 0.45, 0.14), True),
    ],
    "tent": [
        (_path((0, -0.75), (1.0, 0.75), (-1.0, 0.75)), True),
        (_path((0, -0.05), (0.3, 0.75), (-0.3, 0.75)), False),
    ],
    "bottle": [
        (_box(-0.13, -1.0, 0.13, -0.45), True),
        (_disc(0, -0.3, 0.38, 0.3), True),
        (_box(-0.38, -0.3, 0.38, 0.95), True),
    ],
    "chair": [
        (_box(-0.6, -1.0, -0.35, 1.0), True),
        (_box(-0.6, 0.05, 0.6, 0.3), True),
        (_box(0.38, 0.3, 0.6, 1.0), True),
    ],
    "clock": [
        (_disc(0, 0, 0.9, 0.9), True),
        (_disc(0, 0, 0.7, 0.7), False),
        (_box(-0.07, -0.6, 0.07, 0.07), True),
        (_box(-0.07, -0.07, 0.45, 0.07), True),
    ],
    "umbrella": [
        (_disc(0, 0.05, 1.0, 0.85, 180, 360), True),
        (_box(-0.06, 0.0, 0.06, 0.8), True),
        (_box(-0.06, 0.72, 0.3, 0.85), True),
    ],
    "hat": [
        (_disc(0, 0.45, 1.0, 0.25), True),
        (_disc(0, 0.4, 0.55, 0.95, 180, 360), True),
    ],
    "kite": [
        (_path((0, -1.0), (0.6, -0.3), (0, 0.5), (-0.6, -0.3)), True),
        (_path((0, 0.45), (0.12, 0.6), (0, 0.75), (0.15, 1.0), (0.02, 1.0), (-0.12, 0.75)), True),
    ],
    "guitar": [
        (_disc(0, 0.6, 0.5, 0.4), True),
        (_disc(0, 0.15, 0.36, 0.32), True),
        (_box(-0.08, -1.0, 0.08, 0.1), True),
        (_disc(0, 0.35, 0.14, 0.14), False),
    ],
    "backpack": [
        (_disc(0, -0.7, 0.3, 0.3), True),
        (_disc(0, -0.7, 0.17, 0.17), False),
        (_disc(0, -0.15, 0.65, 0.6), True),
        (_box(-0.65, -0.15, 0.65, 0.95), True),
        (_box(-0.4, 0.25, 0.4, 0.33), False),
    ],
    "boot": [
        (_box(-0.55, -0.95, 0.1, 0.6), True),
        (_disc(0.3, 0.5, 0.55, 0.35), True),
        (_box(-0.55, 0.45, 0.8, 0.85), True),
        (_box(-0.1, 0.75, 0.05, 0.87), False),
    ],
}

COLOURS: dict[str, tuple[int, int, int]] = {
    "red": (205, 30, 40),
    "orange": (245, 130, 20),
    "yellow": (240, 215, 40),
    "green": (40, 150, 60),
    "blue": (35, 80, 205),
    "purple": (130, 45, 165),
    "brown": (115, 70, 35),
    "black": (30, 30, 34),
}


def draw_web_picture(
    kind: str, colour: str, pattern: str, theme: str | None, rng: np.random.Generator
) -> bytes:
    """A JPEG of the product before its theme's scene, or before one plain tone without theme."""
    tone = tuple(int(value) for value in rng.integers(150, 256, 3))
    ground = scene(theme, rng) if theme else Image.new("RGB", (PIXELS, PIXELS), tone)
    mask = _silhouette(kind, rng, scale=(0.6, 0.9), turn_degrees=15)
    _paint(ground, mask, _cloth(colour, pattern, rng))
    return _jpeg(ground, rng, noise=4)


def draw_catalogue_picture(kind: str, colour: str, pattern: str, rng: np.random.Generator) -> bytes:
    """A JPEG of the product in the studio: nothing but kind, colour and pattern can be seen."""
    ground = studio(rng)
    mask = _silhouette(kind, rng, scale=(0.75, 0.95), turn_degrees=12)
    ground.paste((70, 70, 75), (3, 3), mask.reduce(2).point([value // 2 for value in range(256)]))
    _paint(ground, mask, _cloth(colour, pattern, rng))
    return _jpeg(ground, rng, noise=10)


def _silhouette(
    kind: str, rng: np.random.Generator, scale: tuple[float, float], turn_degrees: float
) -> Image.Image:
    """The kind's mask, fine, at a drawn size, angle and place; mirrored half of the time."""
    size = _FINE / 2 * rng.uniform(*scale)
    angle = math.radians(rng.uniform(-turn_degrees, turn_degrees))
    mirror = 1 if rng.random() < 0.5 else -1
    cos, sin = size * math.cos(angle), size * math.sin(angle)
    turn = np.array([[mirror * cos, mirror * sin], [-sin, cos]])
    room = max(0.0, _FINE / 2 - size)
    centre = _FINE / 2 + rng.uniform(-room, room, 2) * 0.5
    mask = Image.new("L", (_FINE, _FINE))
    pen = ImageDraw.Draw(mask)
    for points, filled in SILHOUETTES[kind]:
        pen.polygon((points @ turn + centre).ravel().tolist(), fill=255 if filled else 0)
    return mask


def _paint(ground: Image.Image, mask: Image.Image, cloth: Image.Image) -> None:
    """The cloth, cut to the fine mask and outlined in ink, onto the ground."""
    ground.paste(_INK, (0, 0), _grown(mask, _INK_PIXELS).reduce(2))
    ground.paste(cloth, (0, 0), mask.reduce(2))


def _grown(mask: Image.Image, pixels: int) -> Image.Image:
    """The mask, larger by `pixels` to all sides.

    What Pillow's MaxFilter gives, in a twentieth of its time: that was most of a picture's.
    """
    grown = np.pad(np.asarray(mask), pixels)
    for _ in ("columns", "rows"):
        for _ in range(pixels):
            grown = np.maximum(np.maximum(grown[:-2], grown[1:-1]), grown[2:])
        grown = grown.T
    return Image.fromarray(grown)


def _cloth(colour: str, pattern: str, rng: np.random.Generator) -> Image.Image:
    """The whole picture's area in the colour, with the pattern in a pale tint of it."""
    base = np.clip(np.array(COLOURS[colour]) + rng.integers(-18, 19, 3), 0, 255)
    cloth = Image.new("RGB", (PIXELS, PIXELS), tuple(base.tolist()))
    if pattern != "plain":
        marks = _pattern_mask(pattern, int(rng.integers(3)))
        left, top = (int(value) for value in rng.integers(0, 24, 2))
        pale = (base + 3 * np.array((250, 248, 240))) // 4
        marks = marks.crop((left, top, left + PIXELS, top + PIXELS))
        cloth.paste(tuple(pale.tolist()), (0, 0), marks)
    return cloth


@functools.cache
def _pattern_mask(pattern: str, coarseness: int) -> Image.Image:
    """Marks of a pattern over a little more than a picture, in one of three sizes."""
    period = 8 + 2 * coarseness
    y, x = np.mgrid[0 : PIXELS + 24, 0 : PIXELS + 24]
    half = period // 2
    marks = {
        "striped": y % period < half,
        "dotted": (x % period - half) ** 2 + (y % period - half) ** 2 < (0.34 * period) ** 2,
        "checked": (x % period < half) ^ (y % period < half),
    }[pattern]
    return Image.fromarray((marks * 255).astype(np.uint8))


def _jpeg(picture: Image.Image, rng: np.random.Generator, noise: float) -> bytes:
    """The picture with pixel noise (standard deviation in grey levels), as a JPEG."""
    grain = _grain()[int(rng.integers(len(_grain())))]
    noisy = np.asarray(picture, dtype=np.float32) + noise * grain
    stream = io.BytesIO()
    clipped = np.clip(noisy, 0, 255).astype(np.uint8)
    Image.fromarray(clipped).save(stream, "JPEG", quality=88)
    return stream.getvalue()


@functools.cache
def _grain() -> NDArray[np.float32]:
    """Standard normal noise, drawn once: [32, PIXELS, PIXELS, 3]."""
    return np.random.default_rng(0).standard_normal((32, PIXELS, PIXELS, 3), dtype=np.float32)
