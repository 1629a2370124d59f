"""Inputs that failed for people, as they told in public: each enters right or in one sentence."""

from __future__ import annotations

import shutil
from collections import Counter
from pathlib import Path
from typing import Any

import pyarrow.compute as pc
import pytest

from lmm4rec.errors import InputError
from tests.catalogue.sources.catalogues import Made, make

INPUTS = Path(__file__).parents[1] / "inputs"


def theirs(name: str, folder: Path) -> Path:
    copied = folder / "cat"
    inside = next(path for path in sorted((INPUTS / name).iterdir()) if path.is_dir())
    shutil.copytree(inside, copied)
    return copied


def made(name: str, folder: Path, preprocess: dict[str, Any] | None = None, **words: Any) -> Made:
    return make(theirs(name, folder), folder, preprocess, **words)


def texts(one: Made) -> list[str]:
    return one.items["text"].to_pylist()


def pictures_each(one: Made) -> set[int]:
    return set(Counter(one.pictures["item_id"].to_pylist()).values())


def test_pictures_in_folders_named_after_the_ids_beginnings(tmp_path: Path) -> None:
    one = made("01_nested_picture_folders", tmp_path)
    assert one.items["image"].to_pylist() == [
        f"photos/010/010877500{k}.jpg" for k in range(8)
    ] == one.raw.picture_names  # fmt: skip


def test_days_are_times(tmp_path: Path) -> None:
    one = made("02_iso_dates", tmp_path, {"split": "temporal"})
    assert one.about["interactions"] == 60
    assert pc.min(one.interactions["timestamp"]).as_py() == 1_578_787_200  # 2020-01-12, midnight
    latest = (
        one.interactions.to_pandas().groupby(["user_id", "split"])["timestamp"].agg(["min", "max"])
    )
    for user in latest.index.get_level_values(0).unique():
        assert latest.loc[(user, "train"), "max"] <= latest.loc[(user, "test"), "min"]


def test_a_temporal_split_needs_times(tmp_path: Path) -> None:
    with pytest.raises(InputError, match="split is temporal, but the source brings no times"):
        made("03_temporal_without_time", tmp_path, {"split": "temporal"})


@pytest.mark.parametrize("name", ["06_double_colon_no_header", "07_no_header"])
def test_without_header_and_items_nobody_knows(name: str, tmp_path: Path) -> None:
    file = "ratings.dat" if name.startswith("06") else "ratings.csv"
    with pytest.raises(InputError) as refused:
        made(name, tmp_path)
    sentence = str(refused.value)
    assert f"{file}: has no header and there is no items table that tells users from" in sentence
    advised = f"{{file: {file}, names: [user, item, rating, timestamp]}}"
    assert f"source.interactions: {advised}" in sentence  # and what it advises works
    shutil.rmtree(tmp_path / "cat")
    shutil.rmtree(tmp_path / "raw")
    shutil.rmtree(tmp_path / "scratch")
    words = {"file": file, "names": ["user", "item", "rating", "timestamp"]}
    one = made(name, tmp_path, interactions=words)
    assert (one.about["users"], one.about["items"], one.about["interactions"]) == (12, 8, 60)
    assert pc.min(one.interactions["timestamp"]).as_py() == 1_600_000_000


def test_a_title_that_begins_with_a_quote_swallows_nothing(tmp_path: Path) -> None:
    one = made("08_leading_quote_tsv", tmp_path)
    orders = (tmp_path / "cat" / "orders.csv").read_text(encoding="utf-8").splitlines()[1:]
    bought = {line.split(",")[1] for line in orders}
    assert one.about["items_described"] == one.about["items"] == len(bought)
    assert one.about["cleaning"]["unparsable_lines"] == 0
    titles = dict(
        zip(one.items["item_id"].to_pylist(), one.items["title"].to_pylist(), strict=True)
    )
    assert titles["B00020"] == '"12 inch doll'


def test_a_list_of_links_is_several_pictures(tmp_path: Path) -> None:
    one = made("09_list_of_links", tmp_path)
    assert pictures_each(one) == {2}
    assert one.items["image"][0].as_py() == "http://127.0.0.1:9/0108775000._SL1.jpg"


def test_lists_within_lists(tmp_path: Path) -> None:
    assert texts(made("10_nested_list_parquet", tmp_path))[:2] == [
        "thing 0108775000 Toys Dolls one two", "thing 0108775001 Toys Dolls"
    ]  # fmt: skip


def test_amazon_2018(tmp_path: Path) -> None:
    one = made("16_amazon2018", tmp_path)
    assert one.raw.recipe.preset == "amazon-2018"
    assert (one.about["users"], one.about["items"], one.about["interactions"]) == (12, 8, 60)
    assert texts(one)[0] == "Doll 0 Acme Toys & Games Dolls Washable Soft cotton doll. Second part."
    assert one.items["image"][0].as_py() == "https://example.invalid/I/0.jpg"


def test_amazon_2023(tmp_path: Path) -> None:
    one = made("17_amazon2023", tmp_path)
    assert one.raw.recipe.preset == "amazon-2023"
    assert (one.about["users"], one.about["items"], one.about["interactions"]) == (12, 8, 60)
    assert one.about["items_with_picture_named"] == 8
    assert 1.5e9 < pc.min(one.interactions["timestamp"]).as_py() < 1.8e9


def test_several_pictures_an_item(tmp_path: Path) -> None:
    one = made("19_several_pictures", tmp_path)
    assert pictures_each(one) == {3}
    assert one.items["image"].to_pylist() == [f"photos/sku{k}_0.jpg" for k in range(8)]


def test_a_column_that_stands_there_twice(tmp_path: Path) -> None:
    with pytest.raises(InputError, match=r"items\.csv: .*'title'.* twice|'title' stands there 2"):
        made("25_same_column_twice", tmp_path)


def test_a_column_of_file_names(tmp_path: Path) -> None:
    one = made("28_image_column_of_file_names", tmp_path)
    assert one.items["image"].to_pylist() == [f"photos/IMG_000{k}.jpg" for k in range(8)]


def test_ratings_that_are_left_empty(tmp_path: Path) -> None:
    one = made("29_some_ratings_empty", tmp_path)
    assert one.about["interactions"] == 60
    assert one.about["cleaning"]["unparsable_lines"] == 0


def test_quotes_escaped_by_a_backslash(tmp_path: Path) -> None:
    one = made("41_backslash_escape", tmp_path)
    assert one.items["title"].to_pylist() == ['a 12" doll, red'] * 8
    assert texts(one)[0] == 'a 12" doll, red plain 0'
