"""The grounds of the demo world's pictures: a studio, and one scene per theme."""

from __future__ import annotations

import functools

import numpy as np
from PIL import Image, ImageDraw

PIXELS = 64  # side of every drawn picture

Colour = tuple[int, int, int]

# Per theme the tone of what is far, and of what is near or drawn on it.
SCENE_TONES: dict[str, tuple[Colour, Colour]] = {
    "camping": ((170, 210, 235), (20, 95, 50)),
    "kitchen": ((240, 240, 235), (120, 150, 160)),
    "office": ((205, 205, 200), (150, 150, 150)),
    "beach": ((120, 190, 235), (235, 210, 150)),
    "winter": ((150, 175, 205), (255, 255, 255)),
    "party": ((250, 235, 245), (0, 0, 0)),
    "garden": ((185, 220, 245), (110, 185, 70)),
    "night": ((18, 20, 60), (255, 250, 200)),
}

# What is strewn over a scene, in these tones by turns.
_SPECKLES: dict[str, list[Colour]] = {
    "winter": [(255, 255, 255)],
    "night": [(255, 250, 200)],
    "garden": [(235, 60, 120), (250, 240, 120)],
    "party": [(230, 40, 60), (50, 110, 230), (60, 180, 80), (240, 200, 40)],
}


def scene(theme: str, rng: np.random.Generator) -> Image.Image:
    """Where the theme's things are used. Positions vary, what makes the scene does not."""
    far, near = SCENE_TONES[theme]
    picture = Image.new("RGB", (PIXELS, PIXELS), far)
    pen = ImageDraw.Draw(picture)
    shift = int(rng.integers(0, 16))
    if theme == "kitchen":  # tiles
        for at in range(shift % 12, PIXELS, 12):
            pen.line((0, at, PIXELS, at), fill=near, width=2)
            pen.line((at, 0, at, PIXELS), fill=near, width=2)
    elif theme == "office":  # blinds
        for at in range(shift % 6, PIXELS, 6):
            pen.line((0, at, PIXELS, at), fill=near, width=3)
    elif theme == "camping":  # firs
        for left in range(-shift, PIXELS, 22):
            pen.polygon((left, 64, left + 11, 14, left + 22, 64), fill=near)
    elif theme in ("beach", "garden"):  # a horizon, and the sun
        pen.rectangle((0, 30 + shift, PIXELS, PIXELS), fill=near)
        if theme == "beach":
            pen.ellipse((shift * 2, 3, shift * 2 + 16, 19), fill=(255, 225, 60))
    _strew(pen, _SPECKLES.get(theme, []), rng, radius=1 if theme == "night" else 2)
    return picture


def _strew(
    pen: ImageDraw.ImageDraw, tones: list[Colour], rng: np.random.Generator, radius: int
) -> None:
    places = rng.integers(0, PIXELS, (24, 2)).tolist() if tones else []
    for number, (x, y) in enumerate(places):
        box = (x - radius, y - radius, x + radius, y + radius)
        pen.ellipse(box, fill=tones[number % len(tones)])


def studio(rng: np.random.Generator) -> Image.Image:
    """A pale gradient, brighter to one side."""
    tint, slope = rng.integers(190, 240, 3), int(rng.integers(10, 50))
    fall = _ramp().rotate(90 * int(rng.integers(4)))
    bands = [fall.point([int(top) - slope * value // 255 for value in range(256)]) for top in tint]
    return Image.merge("RGB", bands)


@functools.cache
def _ramp() -> Image.Image:
    return Image.linear_gradient("L").resize((PIXELS, PIXELS))
