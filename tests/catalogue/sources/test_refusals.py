"""What cannot be decided, or cannot be right, is one sentence; what it advises works."""

from __future__ import annotations

import shutil
from pathlib import Path
from typing import Any

import pytest
from PIL import Image

from lmm4rec.catalogue.sources.folder_source import FolderSource
from lmm4rec.catalogue.sources.words import InteractionsWords
from lmm4rec.errors import InputError
from tests.catalogue.sources.catalogues import Made, make

PAIRS = [(user, item) for user in range(6) for item in range(5)]
ORDERS = "user,item,time\n" + "".join(f"u{u},sku{i},{1_600_000_000 + u}\n" for u, i in PAIRS)
ITEMS = "item,title\n" + "".join(f"sku{i},Thing {i}\n" for i in range(5))

Files = dict[str, str]


def shop(folder: Path, files: Files) -> Path:
    theirs = folder / "theirs"
    for name, content in files.items():
        path = theirs / name
        path.parent.mkdir(parents=True, exist_ok=True)
        if name.endswith(".jpg"):
            Image.new("RGB", (16, 16)).save(path)
        else:
            path.write_text(content, encoding="utf-8")
    theirs.mkdir(exist_ok=True)
    return theirs


def read(
    folder: Path, files: Files, preprocess: dict[str, Any] | None = None, **words: Any
) -> Made:
    for used in ("theirs", "raw", "scratch", "corpus"):
        shutil.rmtree(folder / used, ignore_errors=True)
    return make(shop(folder, files), folder, preprocess, **words)


def refused(folder: Path, files: Files, **words: Any) -> str:
    with pytest.raises(InputError) as error:
        read(folder, files, **words)
    assert "\n" not in str(error.value)
    return str(error.value)


# What is refused -> the files, the sentence's words, and the words of `source` that it advises.
UNDECIDED: dict[str, tuple[Files, str, dict[str, Any]]] = {
    "two tables of interactions": (
        {"views.csv": ORDERS, "buys.csv": ORDERS, "items.csv": ITEMS},
        "buys.csv and views.csv each have users and items, under the same names; write "
        "source.interactions: {file: [buys.csv, views.csv]} where they are one table in parts, or "
        "source.interactions: buys.csv where that is meant alone",
        {"interactions": "buys.csv"},
    ),
    "two tables of items": (
        {"orders.csv": ORDERS, "a.csv": ITEMS, "b.csv": ITEMS},
        "a.csv and b.csv describe the items equally well; write which one is meant, as "
        "source.items: a.csv",
        {"items": "a.csv"},
    ),
    "two columns of users": (
        {"orders.csv": ORDERS.replace("user,item", "user_id,item").replace(
            "\nu", "\nu").replace("time", "userid"), "items.csv": ITEMS},
        "'user_id' and 'userid' may both be the user; write which one is, as "
        "source.interactions: {user: user_id}",
        {"interactions": {"file": "orders.csv", "user": "user_id"}},
    ),
    "names that say nothing": (
        {"orders.csv": ORDERS.replace("user,item,time", "a,b,c")},
        "no table has a column of users and one of items that are known by their names "
        "(orders.csv has a, b, c); write them, as source.interactions: {file: orders.csv, user: "
        "..., item: ...}",
        {"interactions": {"file": "orders.csv", "user": "a", "item": "b"}},
    ),
    "days or months": (
        {"orders.csv": ORDERS.replace("1600000000", "03/04/2024").replace("160000000", "04/05/202"),
         "items.csv": ITEMS},
        "date_order",
        {"interactions": {"file": "orders.csv", "date_order": "day-first"}},
    ),
    "numbers that are no times": (
        {"orders.csv": ORDERS.replace("160000000", ""), "items.csv": ITEMS},
        "time holds numbers too small for times",
        {"interactions": {"file": "orders.csv", "timestamp": None}},
    ),
    "kinds without weights": (
        {"orders.csv": ORDERS.replace("time", "event").replace("1600000000", "view").replace(
            "160000000", "buy"), "items.csv": ITEMS},
        "event says view 5, ",
        {"interactions": {"file": "orders.csv", "kind": None}},
    ),
}  # fmt: skip


@pytest.mark.parametrize("case", UNDECIDED)
def test_what_nothing_decides(case: str, tmp_path: Path) -> None:
    files, sentence, advised = UNDECIDED[case]
    assert sentence in refused(tmp_path, files)
    made = read(tmp_path, files, **advised)
    assert (made.about["users"], made.about["items"], made.about["interactions"]) == (6, 5, 30)


def test_kinds_are_told_with_their_counts_and_a_proposal(tmp_path: Path) -> None:
    rows = [f"u{u},sku{i},{'buy' if i == 0 else 'view'}\n" for u, i in PAIRS]
    files = {"orders.csv": "user,item,event\n" + "".join(rows), "items.csv": ITEMS}
    sentence = refused(tmp_path, files)
    assert "event says view 24, buy 6" in sentence
    assert "as source.kinds: {view: 1, buy: 2}" in sentence
    made = read(tmp_path, files, kinds={"view": 1.0, "buy": 2.0})
    assert sorted(set(made.interactions["rating"].to_pylist())) == [1.0, 2.0]
    only = read(tmp_path, files, kinds={"view": 0.0, "buy": 2.0})
    assert only.about["interactions"] == 6
    assert only.about["cleaning"]["kinds_without_weight"] == 24


NUMBERS = [f"0{108775000 + k}" for k in range(5)]
LOST = "article_id,title\n" + "".join(f"{n[1:]},Thing\n" for n in NUMBERS)
LOST_ORDERS = "user,article_id\n" + "".join(f"u{u},{NUMBERS[i][1:]}\n" for u, i in PAIRS)
WHOLE_ORDERS = "user,article_id\n" + "".join(f"u{u},{NUMBERS[i]}\n" for u, i in PAIRS)


def test_ids_that_lost_their_zeros_and_pictures_that_did_not(tmp_path: Path) -> None:
    photos = {f"photos/{n[:3]}/{n}.jpg": "" for n in NUMBERS}
    files = {"orders.csv": LOST_ORDERS, "items.csv": LOST, **photos}
    sentence = refused(tmp_path, files)
    assert "there are pictures of 0 of 5 bought items" in sentence
    assert "108775000" in sentence and "0108775000" in sentence and "zero" in sentence
    assert read(tmp_path, files, pictures=None).about["pictures_named"] == 0


def test_orders_that_lost_their_zeros_and_items_that_did_not(tmp_path: Path) -> None:
    whole = "article_id,title\n" + "".join(f"{n},Thing\n" for n in NUMBERS)
    sentence = refused(tmp_path, {"orders.csv": LOST_ORDERS, "items.csv": whole})
    assert "items.csv: describes 0 of 5 bought items" in sentence
    assert "5 would be known filled up with zeros to 10 characters" in sentence


def test_few_described_items_are_taken_where_that_is_said(tmp_path: Path) -> None:
    files = {"orders.csv": ORDERS, "items.csv": "item,title\nsku0,Thing 0\nx,X\ny,Y\n"}
    assert "describes 1 of 5 bought items" in refused(tmp_path, files)
    made = read(tmp_path, files, {"minimum_described_share": 0.2})
    assert made.about["items_described"] == 1


def test_a_preset_is_not_forced(tmp_path: Path) -> None:
    sentence = refused(tmp_path, {"orders.csv": ORDERS}, preset="shopify")
    assert "lacks a table with the columns Lineitem sku, Created at" in sentence
    assert "leave source.preset out" in sentence
    with pytest.raises(InputError, match=r"source\.preset is 'shopfy'; did you mean 'shopify'"):
        read(tmp_path, {"orders.csv": ORDERS}, preset="shopfy")


def test_null_preset_looks_at_the_tables_alone(tmp_path: Path) -> None:
    files = {
        "ratings.csv": ORDERS.replace("user,item,time", "userId,movieId,rating"),
        "movies.csv": ITEMS.replace("item,title", "movieId,title"),
    }
    assert read(tmp_path, files).raw.recipe.preset == "movielens-csv"
    assert read(tmp_path, files, preset=None).raw.recipe.preset is None


ABSENT: dict[str, tuple[Files, dict[str, Any], str]] = {
    "an empty folder": ({}, {}, "holds no table; put the interactions there"),
    "no interactions": ({"orders.csv": ORDERS}, {"interactions": None},
        "source.interactions is null"),
    "a file that is not there": (
        {"orders.csv": ORDERS}, {"interactions": "order.csv"},
        "holds no file 'order.csv' as source.interactions names it; it has orders.csv",
    ),
    "a column that is not there": (
        {"orders.csv": ORDERS}, {"interactions": {"file": "orders.csv", "user": "usr"}},
        "has no column 'usr' (it has user, item, time); correct source.interactions.user: did you "
        "mean 'user'?",
    ),
    "words without a file": (
        {"orders.csv": ORDERS}, {"interactions": {"user": "user"}},
        "source.interactions says user and no file; write the file too",
    ),
    "pictures that are not there": (
        {"orders.csv": ORDERS, "items.csv": ITEMS, "photos/sku0.jpg": ""}, {"pictures": "photo"},
        "holds no folder or file 'photo' as source.pictures names it; pictures lie in photos",
    ),
    "a split that is not there": (
        {"orders.csv": ORDERS}, {"preprocess": {"split": "given"}}, "the source brings no split",
    ),
}  # fmt: skip


@pytest.mark.parametrize("case", ABSENT)
def test_what_is_said_and_is_not_there(case: str, tmp_path: Path) -> None:
    files, words, sentence = ABSENT[case]
    assert sentence in refused(tmp_path, files, **words)


def test_a_folder_that_is_not_there(tmp_path: Path) -> None:
    with pytest.raises(InputError, match=r"nowhere: there is no such folder; put .*ln -s"):
        make(tmp_path / "nowhere", tmp_path)


def test_columns_that_changed_since_they_were_read(tmp_path: Path) -> None:
    """A renamed column would be read as another one; what the sentence advises is taken."""
    files = {"orders.csv": ORDERS, "items.csv": ITEMS}
    before = FolderSource(folder="x").taken_for(read(tmp_path, files).raw.folder.parent, {})
    assert before["interactions.user"] == ["user"] and before["items.title"] == ["title"]
    renamed = {**files, "orders.csv": ORDERS.replace("user,item", "customer,item")}
    raw = read(tmp_path, renamed).raw.folder.parent
    with pytest.raises(
        InputError,
        match=r"interactions: user was read from user and would now be read from customer; write "
        r"source\.interactions\.user: customer \(beside source\.interactions\.file\)",
    ):
        FolderSource(folder="x").taken_for(raw, before)
    said = FolderSource(
        folder="x", interactions=InteractionsWords(file="orders.csv", user="customer")
    )
    assert said.taken_for(raw, before)["interactions.user"] == ["customer"]
    gone = {"orders.csv": ORDERS.replace(",time", ",x"), "items.csv": ITEMS}
    raw = read(tmp_path, gone).raw.folder.parent
    with pytest.raises(
        InputError, match=r"timestamp was read from time and would now be .* nothing"
    ):
        FolderSource(folder="x").taken_for(raw, before)


def test_pictures_of_items_outside_the_core_are_no_strangers(tmp_path: Path) -> None:
    photos = {f"p/{name}.jpg": "" for name in ("sku0", "sku1", "rare", "nobody")}
    files = {"orders.csv": ORDERS + "u0,rare,1600000000\n", "items.csv": ITEMS, **photos}
    made = read(tmp_path, files, {"core": 5, "minimum_pictured_share": 0.4})
    assert made.about["pictures_of_no_item"] == 1
    assert made.about["first_picture_of_no_item"] == "p/nobody.jpg"
    assert made.pictures["item_id"].to_pylist() == ["sku0", "sku1"]


@pytest.mark.parametrize("kind", ["zip", "tar", "gztar"])
def test_pictures_in_an_archive_beside_the_tables(kind: str, tmp_path: Path) -> None:
    photos = shop(tmp_path / "x", {f"p/a/sku{k}_0.jpg": "" for k in range(5)})
    theirs = shop(tmp_path, {"orders.csv": ORDERS, "items.csv": ITEMS})
    pack = Path(shutil.make_archive(str(theirs / "photos"), kind, photos)).name
    made = make(theirs, tmp_path)
    assert made.items["image"].to_pylist() == [f"{pack}#p/a/sku{k}_0.jpg" for k in range(5)]
    assert made.raw.picture_names == made.items["image"].to_pylist()


def test_files_may_be_called_as_ours_are(tmp_path: Path) -> None:
    made = read(tmp_path, {"source.json.csv": ORDERS, "images.zip.csv": ITEMS})
    assert made.about["items_described"] == 5
