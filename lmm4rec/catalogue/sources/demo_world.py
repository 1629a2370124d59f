"""The generated world: what its products are, how they look, and how people write of them.

A product has a kind (in picture and text), a colour and a pattern (only ever in the picture of a
catalogue product), a theme (only ever in its text) and hidden traits (in neither). Web pictures,
on which tiny encoders are pre-trained, show all of it, and captions name any part; so an encoder
learns to see what the catalogue never says. The catalogue is another domain: brand names, words
and sentences of its own, studio pictures. No caption or picture stands in both.
"""

from __future__ import annotations

import multiprocessing
from collections.abc import Iterator
from dataclasses import dataclass
from functools import partial

import numpy as np

from lmm4rec.catalogue.sources.demo_pictures import (
    COLOURS,
    draw_catalogue_picture,
    draw_web_picture,
)

_DRAWN_AT_ONCE = 100  # pictures of web pairs, by a process

# kind -> words of web captions | words that only the catalogue uses | category
KINDS: dict[str, tuple[tuple[str, ...], tuple[str, ...], str]] = {
    "mug": (("mug", "cup"), ("tumbler", "drinking vessel"), "Drinkware"),
    "bottle": (("bottle", "flask"), ("canteen", "carafe"), "Drinkware"),
    "lamp": (("lamp", "light"), ("luminaire", "standing lantern"), "Furniture & Lighting"),
    "chair": (("chair", "seat"), ("stool with back", "dining perch"), "Furniture & Lighting"),
    "clock": (("clock", "timepiece"), ("chronometer", "hour keeper"), "Furniture & Lighting"),
    "tent": (("tent", "shelter"), ("pop-up canopy", "bivouac"), "Gear"),
    "backpack": (("backpack", "rucksack"), ("daypack", "knapsack"), "Gear"),
    "umbrella": (("umbrella", "parasol"), ("brolly", "rain shade"), "Gear"),
    "hat": (("hat", "cap"), ("bowler", "headwear"), "Apparel"),
    "boot": (("boot", "shoe"), ("ankle footwear", "laced walker"), "Apparel"),
    "kite": (("kite", "flyer"), ("windglider", "line soarer"), "Toys & Music"),
    "guitar": (("guitar", "ukulele"), ("six-string", "strummer"), "Toys & Music"),
}

# theme -> words of web captions | words that only the catalogue uses
THEMES: dict[str, tuple[tuple[str, ...], tuple[str, ...]]] = {
    "camping": (("camping", "forest", "campfire"), ("wilderness", "trailhead")),
    "kitchen": (("kitchen", "cooking", "tiles"), ("culinary", "pantry")),
    "office": (("office", "desk", "work"), ("corporate", "cubicle")),
    "beach": (("beach", "seaside", "sand"), ("coastal", "lagoon")),
    "winter": (("winter", "snow", "frost"), ("alpine", "icy")),
    "party": (("party", "confetti", "birthday"), ("festive", "carnival")),
    "garden": (("garden", "meadow", "flowers"), ("botanical", "orchard")),
    "night": (("night", "stars", "midnight"), ("nocturnal", "starlit")),
}

COLOUR_WORDS: dict[str, tuple[str, ...]] = {
    "red": ("red", "crimson", "scarlet"),
    "orange": ("orange", "tangerine"),
    "yellow": ("yellow", "golden"),
    "green": ("green", "emerald"),
    "blue": ("blue", "navy"),
    "purple": ("purple", "violet"),
    "brown": ("brown", "chestnut"),
    "black": ("black", "charcoal"),
}

PATTERN_WORDS: dict[str, tuple[str, ...]] = {
    "plain": ("plain", "solid"),
    "striped": ("striped", "lined"),
    "dotted": ("dotted", "spotted"),
    "checked": ("checked", "chequered"),
}

assert COLOUR_WORDS.keys() == COLOURS.keys()

_BRANDS = (
    *("Averna", "Bolten", "Corvik", "Dunmore", "Eskild", "Farrow", "Galvano", "Hestia"),
    *("Ilmarin", "Jorvik", "Keldon", "Lumio", "Mistral", "Nordhav", "Orvell", "Pellano"),
)
_FEATURES = (
    *("dishwasher safe", "hand finished", "shipped in recycled card", "sold with a warranty"),
    *("assembled in an hour", "light to carry", "easy to clean", "a gift that lasts"),
)
_NOUNS = ("thing", "item", "product", "object")
_CAPTIONS = (
    "a photo of a {thing}{place}",
    "{thing}{place}",
    "a picture showing a {thing}{place}",
    "my new {thing}{place}",
    "one {thing}{place}, seen from the front",
    "look at this {thing}{place}",
)
_PLACES = (" with {theme}", " in a {theme} scene", ", {theme}", " for the {theme}", " and {theme}")
_DESCRIPTIONS = (
    "Made for {first} days. The {noun} is {feature}; {second} friends will ask where you got it.",
    "{brand} brings the {first} spirit home. {Feature}, and ready for any {second} plan.",
    "If you love all things {first}, this {noun} belongs to you &amp; yours. {Feature}.",
    "From our {first} collection: a {noun} with a {second} soul, {feature}.",
)


@dataclass(frozen=True)
class Product:
    """One product of the catalogue and all that is true of it."""

    kind: str
    colour: str
    pattern: str
    theme: str
    brand: str


def captioned_pictures(count: int, seed: int, processes: int = 1) -> Iterator[tuple[bytes, str]]:
    """`count` pairs of (JPEG, caption) as the web might hold them, for pre-training encoders.

    Each pair has a generator of its own: the first n pairs are the same for every count >= n, and
    for any number of processes that draw them.
    """
    draw = partial(_captioned_picture, seed)
    if processes == 1:
        yield from map(draw, range(count))
    else:
        with multiprocessing.Pool(processes) as pool:
            yield from pool.imap(draw, range(count), chunksize=_DRAWN_AT_ONCE)


def _captioned_picture(seed: int, number: int) -> tuple[bytes, str]:
    rng = np.random.default_rng([seed, number])
    product, theme = _photographed(rng)
    picture = draw_web_picture(product.kind, product.colour, product.pattern, theme, rng)
    return picture, _caption(product, theme, rng)


def other_captions(count: int, seed: int) -> Iterator[str]:
    """A second caption for each picture of `captioned_pictures(count, seed)`, by another person."""
    for number in range(count):
        product, theme = _photographed(np.random.default_rng([seed, number]))
        yield _caption(product, theme, np.random.default_rng([seed, number, 1]))


def draw_product(rng: np.random.Generator) -> Product:
    """A product with every attribute drawn evenly and on its own."""
    return Product(
        kind=_pick(tuple(KINDS), rng),
        colour=_pick(tuple(COLOUR_WORDS), rng),
        pattern=_pick(tuple(PATTERN_WORDS), rng),
        theme=_pick(tuple(THEMES), rng),
        brand=_pick(_BRANDS, rng),
    )


def catalogue_picture(product: Product, rng: np.random.Generator) -> bytes:
    """The shop's JPEG of the product: its theme cannot be seen."""
    return draw_catalogue_picture(product.kind, product.colour, product.pattern, rng)


def catalogue_text(product: Product, rng: np.random.Generator) -> tuple[str, str, list[str]]:
    """(title, description, category path) of the product: its colour and pattern go unsaid."""
    web_words, shop_words, category = KINDS[product.kind]
    noun = _pick(web_words if rng.random() < 0.6 else shop_words, rng)
    themes = [word for words in THEMES[product.theme] for word in words]
    first, second, third = (themes[at] for at in rng.permutation(len(themes))[:3])
    model = f"{_pick(('X', 'Q', 'No. ', 'Mk '), rng)}{rng.integers(10, 100)}"
    title = f"{product.brand} {first.title()} {noun.title()} {model}"
    feature = _pick(_FEATURES, rng)
    description = _pick(_DESCRIPTIONS, rng).format(
        brand=product.brand,
        noun=noun,
        first=second,
        second=third,
        feature=feature,
        Feature=feature.capitalize(),
    )
    return title, description, ["Demo Goods", category]


def _photographed(rng: np.random.Generator) -> tuple[Product, str | None]:
    """A product and the theme that its picture shows, if any."""
    product = draw_product(rng)
    return product, product.theme if rng.random() < 0.5 else None


def _caption(product: Product, theme: str | None, rng: np.random.Generator) -> str:
    """Names a random part of what the picture shows; never a theme that is not drawn.

    The kind is nearly always named, colour and pattern seldom both: of all that tells two pictures
    apart the shape is hardest to see, and what captions rarely need to tell is not learned.
    """
    words = []
    if rng.random() < 0.3:
        words.append(_pick(PATTERN_WORDS[product.pattern], rng))
    if rng.random() < 0.4:
        words.append(_pick(COLOUR_WORDS[product.colour], rng))
    words.append(_pick(KINDS[product.kind][0] if rng.random() < 0.95 else _NOUNS, rng))
    place = ""
    if theme and rng.random() < 0.8:
        place = _pick(_PLACES, rng).format(theme=_pick(THEMES[theme][0], rng))
    return _pick(_CAPTIONS, rng).format(thing=" ".join(words), place=place)


def _pick(choices: tuple[str, ...], rng: np.random.Generator) -> str:
    return choices[int(rng.integers(len(choices)))]
