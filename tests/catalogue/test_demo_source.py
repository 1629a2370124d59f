"""The generated catalogue: real raw format, known truth, the same bytes every time."""

import gzip
import json
import zipfile
from collections import Counter
from pathlib import Path

import numpy as np
import pyarrow as pa
import pytest

from lmm4rec.catalogue.raw.catalogue import open_raw
from lmm4rec.catalogue.raw.tables import FILES
from lmm4rec.catalogue.readers.reading import Reading
from lmm4rec.catalogue.sources.demo import METADATA, REVIEWS, DemoSource, utilities, write_reviews
from lmm4rec.catalogue.sources.demo_world import draw_product
from lmm4rec.folders import fingerprint

SMALL = DemoSource(
    kind="demo",
    revision=1,
    seed=3,
    users=120,
    items=60,
    interactions_per_user=9.0,
    both_weight=1.2,
    picture_weight=1.6,
    text_weight=1.6,
    hidden_weight=0.5,
    popularity_weight=0.5,
    missing_share=0.1,
)


@pytest.fixture(scope="module")
def raw(tmp_path_factory: pytest.TempPathFactory) -> Path:
    folder = tmp_path_factory.mktemp("raw")
    SMALL.download(folder, folder, folder / "salt")
    return folder


def test_files_are_those_of_the_2014_release(raw: Path) -> None:
    assert sorted(file.name for file in raw.iterdir()) == [FILES, "images.zip", "recipe.json"]
    assert sorted(file.name for file in (raw / FILES).iterdir()) == [METADATA, REVIEWS]
    assert open_raw(raw).recipe.preset == "amazon-2014"
    first = gzip.decompress((raw / FILES / METADATA).read_bytes()).decode().splitlines()[0]
    assert first.startswith("{'asin': 'B0") and "'categories': [['Demo Goods'" in first


def test_reviews_are_a_five_core_without_repetition(raw: Path) -> None:
    table = open_raw(raw).interactions(Reading(0.0, False))
    pairs = list(zip(table["user_id"].to_pylist(), table["item_id"].to_pylist(), strict=True))
    assert len(set(pairs)) == len(pairs) > 700
    for side in (0, 1):
        assert min(Counter(pair[side] for pair in pairs).values()) >= 5
    assert set(table["rating"].to_pylist()) == {1.0, 2.0, 3.0, 4.0, 5.0}
    assert len(set(table["timestamp"].to_pylist())) > 0.9 * len(pairs)


def test_some_things_are_missing_as_in_real_catalogues(raw: Path) -> None:
    items = gzip.decompress((raw / FILES / METADATA).read_bytes()).decode().splitlines()
    assert len(items) == 60
    for key in ("description", "imUrl", "brand", "price"):
        lacking = sum(f"'{key}'" not in line for line in items)
        assert 0 < lacking < 20
    wanted = pa.array([line.split("'")[3] for line in items])
    linked = set(open_raw(raw).pictures(wanted, Reading(0.0, False)).table["picture"].to_pylist())
    pictures = set(zipfile.ZipFile(raw / "images.zip").namelist())
    assert linked - pictures and linked & pictures  # dead links, and good ones


def test_same_seed_same_bytes(raw: Path, tmp_path: Path) -> None:
    SMALL.download(tmp_path, tmp_path, tmp_path / "salt")
    assert fingerprint(tmp_path) == fingerprint(raw)
    other = tmp_path / "other"
    other.mkdir()
    SMALL.model_copy(update={"seed": 4}).download(other, other, other / "salt")
    assert fingerprint(other) != fingerprint(raw)


@pytest.mark.parametrize(
    ("weight", "attributes"),
    [
        ("both_weight", ["kind"]),
        ("picture_weight", ["colour", "pattern"]),
        ("text_weight", ["theme"]),
    ],
)
def test_each_weight_moves_the_taste_for_its_own_attributes(
    weight: str, attributes: list[str]
) -> None:
    """With one weight alone, items alike in its attributes are worth the same, others are not."""
    names = ("both_weight", "picture_weight", "text_weight", "hidden_weight", "popularity_weight")
    alone = SMALL.model_copy(update={name: float(name == weight) for name in names})
    rng = np.random.default_rng(0)
    products = [draw_product(rng) for _ in range(200)]
    worth = utilities(alone, products, rng)
    groups: dict[tuple[str, ...], list[int]] = {}
    for number, product in enumerate(products):
        key = tuple(getattr(product, name) for name in attributes)
        groups.setdefault(key, []).append(number)
    for members in groups.values():
        assert np.ptp(worth[:, members], axis=1).max() < 1e-9
    firsts = worth[:, [members[0] for members in groups.values()]]
    assert np.abs(np.diff(np.sort(firsts, axis=1), axis=1)).min() > 0


def test_users_take_what_they_like(tmp_path: Path) -> None:
    """A user of a world where kinds alone count takes few kinds."""
    names = ("picture_weight", "text_weight", "hidden_weight", "popularity_weight")
    only_kinds = SMALL.model_copy(update={**dict.fromkeys(names, 0.0), "both_weight": 4.0})
    rng = np.random.default_rng(0)
    products = [draw_product(rng) for _ in range(SMALL.items)]
    kinds = {f"i{number}": product.kind for number, product in enumerate(products)}
    write_reviews(only_kinds, products, list(kinds), tmp_path / "r.gz", rng)
    taken: dict[str, list[str]] = {}
    for line in gzip.decompress((tmp_path / "r.gz").read_bytes()).splitlines():
        review = json.loads(line)
        taken.setdefault(review["reviewerID"], []).append(kinds[review["asin"]])
    favourites = [Counter(mine).most_common(2) for mine in taken.values()]
    share = np.mean(
        [
            sum(n for _, n in two) / len(mine)
            for two, mine in zip(favourites, taken.values(), strict=True)
        ]
    )
    assert share > 0.75  # by chance two of twelve kinds would have about 0.4 of so few
