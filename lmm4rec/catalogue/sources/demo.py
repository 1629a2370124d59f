"""Source `demo`: a catalogue and its users, generated in the raw format of Amazon 2014.

Users like kinds (picture and text show them), colours and patterns (only the picture does), themes
(only the text does) and hidden traits (nothing does). The utility of item i for user u is

    both * z(kind) + picture * z(colour, pattern) + text * z(theme) + hidden * z(traits)
    + popularity * p_i

with z standard normal over user-item pairs; what u takes is drawn without replacement from the
softmax of it (Gumbel's trick). The files are parsed by the same code as the real ones.
"""

from __future__ import annotations

import gzip
import json
from pathlib import Path
from typing import Any, Literal

import numpy as np
from numpy.typing import NDArray
from pydantic import Field

from lmm4rec.catalogue.pictures.archive import ARCHIVE, write_archive
from lmm4rec.catalogue.raw.recipe import RECIPE_FILE, PicturesRecipe
from lmm4rec.catalogue.raw.tables import FILES
from lmm4rec.catalogue.sources.base import Source
from lmm4rec.catalogue.sources.demo_world import (
    COLOUR_WORDS,
    KINDS,
    PATTERN_WORDS,
    THEMES,
    Product,
    catalogue_picture,
    catalogue_text,
    draw_product,
)
from lmm4rec.catalogue.sources.folder import Folder
from lmm4rec.catalogue.sources.resolving import resolve
from lmm4rec.catalogue.sources.words import Words
from lmm4rec.catalogue.splits import k_core
from lmm4rec.doors import writing
from lmm4rec.folders import write_json
from lmm4rec.params import Revision, Seed

REVIEWS, METADATA = "reviews_Demo_5.json.gz", "meta_Demo.json.gz"
_CORE = 5
_HIDDEN_TRAITS = 4
_FIRST_SECOND, _SECONDS = 1_325_376_000, 86_400 * 900  # from 2012 on, about two and a half years
_REVIEW_WORDS = ("Works as described", "Would buy again", "Arrived quickly", "A gift", "Not bad")


class DemoSource(Source):
    """How large the generated catalogue is, and what its users go by."""

    kind: Literal["demo"]
    revision: Revision
    seed: Seed
    users: int = Field(ge=_CORE, le=1_000_000)
    items: int = Field(ge=_CORE, le=1_000_000)
    interactions_per_user: float = Field(gt=_CORE, le=10_000)
    both_weight: float = Field(ge=0)
    picture_weight: float = Field(ge=0)
    text_weight: float = Field(ge=0)
    hidden_weight: float = Field(ge=0)
    popularity_weight: float = Field(ge=0)
    missing_share: float = Field(ge=0, le=1)

    @property
    def brings_split(self) -> bool:
        return False

    @property
    def brings_ratings(self) -> bool:
        return True

    def download(self, folder: Path, scratch: Path, salt: Path) -> None:
        files = folder / FILES
        files.mkdir()
        rng = np.random.default_rng(self.seed)
        products = self.draw_products(rng)
        write_reviews(self, list(products.values()), list(products), files / REVIEWS, rng)
        lines, pictures = [], []
        for asin, product in products.items():
            line = _metadata(asin, product, self.missing_share, rng)
            lines.append(repr(line))
            if rng.random() >= self.missing_share:
                pictures.append((f"{asin}.jpg", catalogue_picture(product, rng)))
        _write_gzip(files / METADATA, lines)
        write_archive(folder / ARCHIVE, pictures)
        recipe = resolve(Folder(files), Words(), "amazon-2014", any_preset=False)
        packed = PicturesRecipe(columns=["imUrl"], links_are_packed=True)
        recipe = recipe.model_copy(update={"pictures": packed})
        write_json(folder / RECIPE_FILE, recipe.model_dump(mode="json"))

    def draw_products(self, rng: np.random.Generator) -> dict[str, Product]:
        """What is true of every item, by its id: the first that `rng` is asked for."""
        products = [draw_product(rng) for _ in range(self.items)]
        return dict(zip(_codes("B0", 8, self.items, rng), products, strict=True))


def utilities(
    source: DemoSource, products: list[Product], rng: np.random.Generator
) -> NDArray[np.float64]:
    """What each item is worth to each user before chance comes in: [U, I]."""
    both = _tastes(source.users, _one_hot([p.kind for p in products], KINDS), rng)
    colour = _tastes(source.users, _one_hot([p.colour for p in products], COLOUR_WORDS), rng)
    pattern = _tastes(source.users, _one_hot([p.pattern for p in products], PATTERN_WORDS), rng)
    text = _tastes(source.users, _one_hot([p.theme for p in products], THEMES), rng)
    traits = rng.standard_normal((len(products), _HIDDEN_TRAITS))
    hidden = _tastes(source.users, traits, rng)
    popularity = rng.standard_normal(len(products))
    return (
        source.both_weight * both
        + source.picture_weight * _standard(colour + pattern)
        + source.text_weight * text
        + source.hidden_weight * hidden
        + source.popularity_weight * popularity
    )


def write_reviews(
    source: DemoSource,
    products: list[Product],
    asins: list[str],
    path: Path,
    rng: np.random.Generator,
) -> None:
    """What every user took, when, and the stars they gave: a 5-core, as the file's name says."""
    worth = utilities(source, products, rng)  # [U, I]
    n_users, n_items = worth.shape
    appeal = worth + rng.gumbel(size=worth.shape)
    extra = source.interactions_per_user - _CORE
    sizes = np.minimum(_CORE + rng.geometric(1 / (extra + 1), n_users) - 1, n_items)
    ranks = np.argsort(np.argsort(-appeal, axis=1), axis=1)
    users, items = np.nonzero(ranks < sizes[:, None])
    kept = k_core(users, items, _CORE)
    users, items = users[kept], items[kept]
    excess = worth[users, items] - worth.mean() + rng.normal(0, 1, len(users))
    stars = np.digitize(excess, np.quantile(excess, [0.05, 0.12, 0.25, 0.5])) + 1
    times = _FIRST_SECOND + rng.integers(0, _SECONDS, len(users))
    reviewers = _codes("A", 13, n_users, rng)
    words = rng.integers(len(_REVIEW_WORDS), size=len(users))
    lines = []
    for row in np.lexsort((times, items)):
        word = _REVIEW_WORDS[words[row]]
        review = {
            "reviewerID": reviewers[users[row]],
            "asin": asins[items[row]],
            "helpful": [0, 0],
            "reviewText": f"{word}.",
            "overall": float(stars[row]),
            "summary": word,
            "unixReviewTime": int(times[row]),
        }
        lines.append(json.dumps(review))
    _write_gzip(path, lines)


def _metadata(
    asin: str, product: Product, missing_share: float, rng: np.random.Generator
) -> dict[str, Any]:
    """A metadata line as of 2014: a dict of what is known; some things are not."""
    title, description, categories = catalogue_text(product, rng)
    line: dict[str, Any] = {"asin": asin, "title": title, "categories": [categories]}
    optional = {
        "description": description,
        "imUrl": f"http://pictures.invalid/{asin}.jpg",
        "brand": product.brand,
        "price": round(float(rng.uniform(3, 200)), 2),
    }
    return line | {key: value for key, value in optional.items() if rng.random() >= missing_share}


def _one_hot(values: list[str], names: dict[str, Any]) -> NDArray[np.float64]:
    """[I, len(names)]"""
    rows = [[value == name for name in names] for value in values]
    return np.array(rows, dtype=np.float64)


def _tastes(
    n_users: int, attributes: NDArray[np.float64], rng: np.random.Generator
) -> NDArray[np.float64]:
    """Users with normal preferences for the attributes [I, A], as standardised utilities [U, I]."""
    return _standard(rng.standard_normal((n_users, attributes.shape[1])) @ attributes.T)


def _standard(values: NDArray[np.float64]) -> NDArray[np.float64]:
    result: NDArray[np.float64] = (values - values.mean()) / values.std()
    return result


def _codes(prefix: str, length: int, count: int, rng: np.random.Generator) -> list[str]:
    """Distinct ids that say nothing about their number."""
    letters = np.array(list("0123456789ABCDEFGHIJKLMNOPQRSTUVWXYZ"))
    ids: dict[str, None] = {}
    while len(ids) < count:
        ids[prefix + "".join(letters[rng.integers(36, size=length)])] = None
    return list(ids)


def _write_gzip(path: Path, lines: list[str]) -> None:
    with (
        writing(path),
        path.open("wb") as file,
        gzip.GzipFile("", "wb", fileobj=file, mtime=0) as stream,
    ):
        stream.write("".join(f"{line}\n" for line in lines).encode())
