"""Catalogues that were harmed on their way here: told, or refused, and never taken as they are."""

from __future__ import annotations

from pathlib import Path

import pytest

from lmm4rec.catalogue.summary import warnings
from tests.catalogue.sources.test_refusals import ITEMS, ORDERS, PAIRS, read, refused


def orders(cell: str, name: str = "time") -> str:
    """The base's orders, with a column of cells in which {u} and {i} are user and item."""
    rows = (f"u{u},sku{i},{cell.format(u=u, i=i)}\n" for u, i in PAIRS)
    return f"user,item,{name}\n" + "".join(rows)


def test_ids_whose_digits_a_spreadsheet_dropped(tmp_path: Path) -> None:
    rows = "".join(f"u{u},4.0012{i}E+12,1600000000\n" for u, i in PAIRS)
    sentence = refused(tmp_path, {"orders.csv": "user,item,time\n" + rows})
    assert "item holds '4.00120E+12' and 4 more such ids, whose last digits" in sentence
    assert "export that column as text" in sentence


@pytest.mark.parametrize("other", ["SKU{i}", "sku0{i}", "sku{i} "])
def test_one_id_in_two_spellings_is_told(other: str, tmp_path: Path) -> None:
    rows = "".join(
        f"u{u},{(other if u % 2 else 'sku{i}').format(i=i)},1600000000\n" for u, i in PAIRS
    )
    files = {"orders.csv": "user,item,time\n" + rows, "items.csv": ITEMS}
    made = read(tmp_path, files)
    look = " ".join(warnings(made.about))
    assert ("in two spellings" in look) == (other == "SKU{i}")
    assert made.about["items"] == (10 if other != "sku{i} " else 5)


def test_ratings_that_are_left_empty_are_no_worst_ones(tmp_path: Path) -> None:
    files = {
        "orders.csv": orders("", "rating").replace("u0,sku0,", "u0,sku0,4"),
        "items.csv": ITEMS,
    }
    made = read(tmp_path, files)
    assert made.interactions["rating"].drop_null().to_pylist() == [4.0]
    assert made.about["cleaning"]["unrated"] == 29


def test_returns_are_no_purchases(tmp_path: Path) -> None:
    text = orders("1", "Menge").replace("u0,sku0,1", "u0,sku0,-1").replace("u0,sku1,1", "u0,sku1,0")
    made = read(tmp_path, {"orders.csv": text, "items.csv": ITEMS})
    assert made.about["interactions"] == 28
    assert made.about["cleaning"]["returns"] == 2


def test_rows_that_say_that_nothing_was_bought_are_told(tmp_path: Path) -> None:
    text = orders("paid", "status").replace("u0,sku0,paid", "u0,sku0,refunded")
    files = {"orders.csv": text, "items.csv": ITEMS}
    [note] = [n for n in read(tmp_path, files).raw.recipe.notes if "status" in n and "says" in n]
    assert "column status of orders.csv says refunded 1" in note
    words = {"file": "orders.csv", "kind": "status"}
    made = read(tmp_path, files, interactions=words, kinds={"paid": 1.0, "refunded": 0.0})
    assert made.about["interactions"] == 29  # as it advises


@pytest.mark.parametrize("name", ["orders.xlsx", "orders.sqlite", "orders.csv.xz", "photos.heic"])
def test_files_that_are_not_read_are_named(name: str, tmp_path: Path) -> None:
    sentence = refused(tmp_path, {"items.csv": ITEMS, name: "x"})
    assert f"these files are not read: {name} (" in sentence
    files = {"orders.csv": ORDERS, "items.csv": ITEMS, name: "x"}
    notes = read(tmp_path, files).raw.recipe.notes
    assert any(f"files that are not read: {name} (" in note for note in notes)


def test_columns_that_are_not_read_are_named(tmp_path: Path) -> None:
    files = {"orders.csv": orders("x", "shop"), "items.csv": ITEMS.replace("title", "title,colour")}
    notes = read(tmp_path, {**files, "items.csv": "item,title,colour\nsku0,T,red\n"},
                 {"minimum_described_share": 0.0}).raw.recipe.notes  # fmt: skip
    assert "columns that are not read: orders.csv: shop" in notes
    assert "columns that are not read: items.csv: colour" in notes


def test_times_in_a_form_that_is_not_known(tmp_path: Path) -> None:
    files = {"orders.csv": orders("Di 23. Jan 24"), "items.csv": ITEMS}
    sentence = refused(tmp_path, files)
    assert "30 of 30 times cannot be read, such as 'Di 23. Jan 24' in time" in sentence
    words = {"file": "orders.csv", "timestamp": None}
    assert read(tmp_path, files, interactions=words).about["interactions"] == 30


def test_months_in_files_of_their_own(tmp_path: Path) -> None:
    files = {"orders_1.csv": ORDERS, "orders_2.csv": ORDERS.replace("u", "v"), "items.csv": ITEMS}
    files["orders_2.csv"] = files["orders_2.csv"].replace("vser", "user")
    files["orders_2.csv"] = files["orders_2.csv"].replace("skv", "sku")
    assert "{file: [orders_1.csv, orders_2.csv]}" in refused(tmp_path, files)
    made = read(tmp_path, files, interactions={"file": ["orders_1.csv", "orders_2.csv"]})
    assert made.about["users"] == 12


def test_words_without_effect(tmp_path: Path) -> None:
    files = {"orders.csv": ORDERS, "items.csv": ITEMS}
    words = {"file": "orders.csv", "user": "item", "item": "item"}
    sentence = refused(tmp_path, files, interactions=words)
    assert "'item' is named for the users and for the items" in sentence
    sentence = refused(tmp_path, files, kinds={"buy": 1.0})
    assert "source.kinds gives weights, and no column says of which kind a row is" in sentence


def test_pictures_that_are_not_there_are_no_pictures(tmp_path: Path) -> None:
    items = "item,title,image\n" + "".join(f"sku{i},T{i},lost/{i}.jpg\n" for i in range(5))
    sentence = refused(tmp_path, {"orders.csv": ORDERS, "items.csv": items})
    assert "there are pictures of 0 of 5 bought items" in sentence
    assert "lost/0.jpg" in sentence


def test_pictures_of_one_name_in_several_folders(tmp_path: Path) -> None:
    photos = {f"{top}/sku{i}.jpg": "" for top in ("old", "photos") for i in range(5)}
    files = {"orders.csv": ORDERS, "items.csv": ITEMS, **photos}
    sentence = refused(tmp_path, files)
    assert "old, photos hold pictures of the same items under the same names" in sentence
    made = read(tmp_path, files, pictures="photos")
    assert made.items["image"].to_pylist() == [f"photos/sku{i}.jpg" for i in range(5)]
