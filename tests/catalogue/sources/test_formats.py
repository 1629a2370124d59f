"""Formats that people bring: what comes in is counted as `expected.json` beside each says."""

from __future__ import annotations

import json
import shutil
from pathlib import Path
from typing import Any

import pyarrow as pa
import pyarrow.compute as pc
import pytest

from tests.catalogue.sources.catalogues import Made, make

FORMATS = Path(__file__).parents[1] / "formats"
FOLDERS = sorted(path.name for path in FORMATS.iterdir() if path.is_dir())

# The preset that each folder is known by; none: by names and values alone.
PRESETS = {
    "01_amazon2014": "amazon-2014",
    "02_amazon2018": "amazon-2018",
    "03_amazon2023": "amazon-2023",
    "04_amazon2023_benchmark": "amazon-2023",
    "05_mmrec": "mmrec",
    "06_recbole": "recbole",
    "08_ducho_elliot": "elliot",
    "09_cornac": "cornac",
    "11_microlens": "microlens",
    "13_yelp": "yelp",
    "14_steam": "steam",
    "15_movielens_1m": "movielens-1m",
    "16_movielens_100k": "movielens-100k",
    "17_movielens_25m": "movielens-csv",
    "18_pinterest_ncf": "ncf",
    "19_polyvore": "polyvore",
    "20_huggingface": None,
    "22_shopify": "shopify",
    "23_woocommerce": "woocommerce",
    "26_own_folder": None,
    "27_pixelrec": "pixelrec",
}
# Another file than the one that is taken by itself, and what expected.json says of it.
ALTERNATIVES = [
    ("01_amazon2014", ["reviews_Tiny_5.json.gz"], {}, 0),
    ("02_amazon2018", ["Tiny_5.json.gz"], {}, 0),
    ("04_amazon2023_benchmark", ["benchmark/5core/last_out_w_his", "made_by_the_scripts"], {}, 0),
    ("04_amazon2023_benchmark", ["benchmark"], {}, 1),
    ("08_ducho_elliot", [], {"interactions": {"file": "reviews.tsv"}}, 0),
    ("09_cornac", ["rating.txt"], {}, 0),
    ("11_microlens", ["MicroLens-tiny_titles.csv"], {}, 0),
    ("11_microlens", ["MicroLens-tiny_pairs.csv"], {}, 1),
    ("22_shopify", ["products_export_1.csv"], {}, 0),
]


def expected(name: str) -> dict[str, Any]:
    return json.loads((FORMATS / name / "expected.json").read_text(encoding="utf-8"))


def copied(name: str, folder: Path) -> Path:
    theirs = folder / "theirs"
    shutil.copytree(FORMATS / name, theirs)
    (theirs / "expected.json").unlink()
    return theirs


def test_every_folder_has_its_preset() -> None:
    assert sorted(PRESETS) == FOLDERS


@pytest.mark.parametrize("name", FOLDERS)
def test_a_folder_comes_in_as_it_is(name: str, tmp_path: Path) -> None:
    made = make(copied(name, tmp_path), tmp_path)
    assert made.raw.recipe.preset == PRESETS[name]
    _compare(made, expected(name))


@pytest.mark.parametrize(
    "name, removed, words, number", ALTERNATIVES, ids=[f"{a[0]}-{a[3]}" for a in ALTERNATIVES]
)
def test_another_file_of_a_folder(
    name: str, removed: list[str], words: dict[str, Any], number: int, tmp_path: Path
) -> None:
    theirs = copied(name, tmp_path)
    for one in removed:
        path = theirs / one
        shutil.rmtree(path) if path.is_dir() else path.unlink()
    there = expected(name)
    alternative = there["alternatives"][number]
    made = make(theirs, tmp_path, **words)
    kept = ("users", "items", "interactions", "items_described", "items_with_text")
    wanted = {**{key: there[key] for key in kept}, "rows": alternative.get("rows", there["rows"])}
    for key in ("first_timestamp", "items_described"):
        if key in alternative and "note" not in alternative:
            wanted[key] = alternative[key]
    _compare(made, wanted)


@pytest.mark.parametrize("name", ["22_shopify", "23_woocommerce"])
def test_variants_as_items(name: str, tmp_path: Path) -> None:
    made = make(copied(name, tmp_path), tmp_path, items_are="variant")
    wanted = expected(name)["variants"]["at sku level"]
    assert {key: made.about[key] for key in wanted} == wanted


def _compare(made: Made, wanted: dict[str, Any]) -> None:
    bought = made.items.filter(pc.greater(made.items["interactions"], 0))
    pictures = there(made, bought)
    times = made.interactions["timestamp"]
    titles = dict(zip(bought["item_id"].to_pylist(), bought["title"].to_pylist(), strict=True))
    first = min(titles, default=None)
    found = {
        "users": made.about["users"],
        "items": made.about["items"],
        "interactions": made.about["interactions"],
        "rows": made.about["cleaning"]["interaction_rows"],
        "splits": _splits(made, wanted),
        "first_timestamp": pc.min(times).as_py() or None,
        "last_timestamp": pc.max(times).as_py() or None,
        "items_described": made.about["items_described"],
        "items_only_described": made.about["items_only_described"],
        "items_with_picture": len(pc.unique(pictures["item_id"])),
        "pictures_total": pictures.num_rows,
        "items_with_text": pc.sum(pc.not_equal(bought["text"], "")).as_py(),
        "first_item": first,
        "first_item_title": titles[first] if first else None,
    }
    if "ratings" in wanted:
        ratings = made.interactions["rating"]
        found["ratings"] = [pc.min(ratings).as_py(), pc.max(ratings).as_py()]
    compared = [key for key in wanted if key in found]
    assert [(key, found[key]) for key in compared] == [(key, wanted[key]) for key in compared]


def there(made: Made, items: pa.Table) -> pa.Table:
    """Pictures of these items that are links, or in the archive."""
    pictures = made.pictures
    of_them = pc.is_in(pictures["item_id"], value_set=items["item_id"].combine_chunks())
    packed = pa.array(made.raw.picture_names, pa.string())
    is_link = pc.starts_with(pictures["picture"], "http")
    found = pc.or_(is_link, pc.is_in(pictures["picture"], value_set=packed))
    return pictures.filter(pc.and_(of_them, found))


def _splits(made: Made, wanted: dict[str, Any]) -> dict[str, int] | None:
    """As the files say, before a validation part is drawn where they bring none."""
    if not made.raw.recipe.brings_split:
        return None
    sizes = dict(made.about["interactions_by_split"])
    drawn = made.about["cleaning"].get("validation_drawn_from_train", 0)
    return {**sizes, "train": sizes["train"] + drawn, "validation": sizes["validation"] - drawn}
