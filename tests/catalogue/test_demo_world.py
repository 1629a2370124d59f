"""The generated world shows and says what it promises, and nothing else."""

import io
import re

import numpy as np
from PIL import Image

from lmm4rec.catalogue.sources.demo_world import (
    COLOUR_WORDS,
    KINDS,
    PATTERN_WORDS,
    THEMES,
    captioned_pictures,
    catalogue_picture,
    catalogue_text,
    draw_product,
    other_captions,
)


def words(text: str) -> set[str]:
    return set(re.findall(r"[a-z]+", text.lower()))


def test_pre_training_pairs_are_reproducible_and_prefix_stable() -> None:
    first = list(captioned_pictures(30, seed=4))
    assert list(captioned_pictures(20, seed=4)) == first[:20]
    assert list(captioned_pictures(20, seed=5)) != first[:20]


def test_pre_training_pairs_are_the_same_from_several_processes() -> None:
    alone = list(captioned_pictures(230, seed=4))  # more than two processes draw at once
    assert list(captioned_pictures(230, seed=4, processes=2)) == alone


def test_pictures_are_small_jpegs_all_different() -> None:
    pictures = [picture for picture, _ in captioned_pictures(200, seed=1)]
    assert len(set(pictures)) == 200
    opened = Image.open(io.BytesIO(pictures[0]))
    assert (opened.format, opened.mode, opened.size) == ("JPEG", "RGB", (64, 64))


def test_other_captions_say_the_same_pictures_in_other_words() -> None:
    captions = [caption for _, caption in captioned_pictures(400, seed=3)]
    others = list(other_captions(400, seed=3))
    assert list(other_captions(300, seed=3)) == others[:300]
    assert sum(one != two for one, two in zip(captions, others, strict=True)) > 350
    tables = (COLOUR_WORDS, PATTERN_WORDS, {kind: names[0] for kind, names in KINDS.items()},
              {theme: names[0] for theme, names in THEMES.items()})  # fmt: skip
    for table in tables:
        named = [
            [{value for value, names in table.items() if words(text) & set(names)} for text in pair]
            for pair in zip(captions, others, strict=True)
        ]
        both = [pair for pair in named if all(pair)]
        assert len(both) > 20 and all(one == two for one, two in both)
        assert any(pair[1] and not pair[0] for pair in named)


def test_captions_name_every_attribute_value() -> None:
    said = set().union(*(words(caption) for _, caption in captioned_pictures(3000, seed=2)))
    for table in (COLOUR_WORDS, PATTERN_WORDS):
        assert all(said & set(synonyms) for synonyms in table.values())
    for table in (KINDS, THEMES):
        assert all(said & set(synonyms[0]) for synonyms in table.values())


def test_catalogue_text_never_names_colour_or_pattern_and_always_the_theme() -> None:
    secret = {word for table in (COLOUR_WORDS, PATTERN_WORDS) for s in table.values() for word in s}
    for number in range(500):
        rng = np.random.default_rng(number)
        product = draw_product(rng)
        title, description, categories = catalogue_text(product, rng)
        assert not words(" ".join([title, description, *categories])) & secret
        theme = {word for synonyms in THEMES[product.theme] for word in synonyms}
        assert words(title) & theme and words(description) & theme


def test_catalogue_picture_shows_the_colour_and_not_the_theme() -> None:
    rng = np.random.default_rng(0)
    product = draw_product(rng)
    other_theme = next(theme for theme in THEMES if theme != product.theme)
    twin = type(product)(product.kind, product.colour, product.pattern, other_theme, "Averna")
    dyed = next(colour for colour in COLOUR_WORDS if colour != product.colour)
    redyed = type(product)(product.kind, dyed, product.pattern, product.theme, product.brand)
    seen = catalogue_picture(product, np.random.default_rng(7))
    assert catalogue_picture(twin, np.random.default_rng(7)) == seen
    assert catalogue_picture(redyed, np.random.default_rng(7)) != seen


def test_outlines_tell_the_kind_whatever_the_colour() -> None:
    """The catalogue picture with the most similar dark places shows the same kind of product."""
    rng = np.random.default_rng(2)
    products = [draw_product(rng) for _ in range(400)]
    pictures = [Image.open(io.BytesIO(catalogue_picture(p, rng))).convert("L") for p in products]
    dark = np.array([np.asarray(picture).ravel() < 60 for picture in pictures], dtype=np.float64)
    dark -= dark.mean(axis=0)
    dark /= np.linalg.norm(dark, axis=1, keepdims=True)
    nearest = (dark[300:] @ dark[:300].T).argmax(axis=1)
    hits = [products[300 + row].kind == products[near].kind for row, near in enumerate(nearest)]
    assert np.mean(hits) > 0.75  # without outlines little more than by chance


def test_web_corpus_and_catalogue_share_no_sentence() -> None:
    captions = {caption for _, caption in captioned_pictures(500, seed=3)}
    rng = np.random.default_rng(3)
    texts = {text for _ in range(500) for text in catalogue_text(draw_product(rng), rng)[:2]}
    assert not captions & texts
