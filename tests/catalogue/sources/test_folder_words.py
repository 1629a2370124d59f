"""Words of a person's folder: what they overrule, and those that lead nowhere."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pyarrow as pa
import pytest
from PIL import Image

from lmm4rec.catalogue.readers.reading import Reading
from lmm4rec.catalogue.sources import FolderSource
from lmm4rec.errors import InputError
from lmm4rec.folders import visible_files
from lmm4rec.params import check_section
from tests.catalogue.sources.catalogues import download
from tests.catalogue.sources.own_folder import ITEMS, LOG, WHEN, mine, opened

SPLIT = {"column": "label", "train": "0", "validation": "1", "test": "2"}

DESCRIBED = {**ITEMS, "categories": "kinds", "description": "about"}


def described(folder: Path) -> Path:
    theirs = mine(folder)
    (theirs / "log.csv").write_text("who,what\n1,a\n1,b\n1,c\n1,d\n")
    (theirs / "items.csv").write_text(
        'id,name,kinds,about,link\nb,B &amp; b,x|y,"two\nlines",\na,first,,,http://h/a\na,again,,,\n'
    )
    pictures = theirs / "pictures"
    pictures.mkdir()
    for name in ("a.jpg", "a.png", "c.gif", ".d.jpg"):
        Image.new("RGB", (8, 8)).save(pictures / name)
    return theirs


def test_items_texts_and_links(tmp_path: Path) -> None:
    described(tmp_path)
    words = {"interactions": LOG, "items": DESCRIBED, "pictures": {"columns": "link"}}
    raw, reading = opened(tmp_path, **words), Reading(0.0, False)
    wanted = pa.array(["a", "b", "c", "d"])
    items = {row["item_id"]: row for row in raw.items(wanted, reading).to_pylist()}
    assert items.keys() == {"a", "b"}
    assert (items["a"]["title"], items["b"]["title"]) == ("first", "B & b")
    assert (items["b"]["categories"], items["b"]["description"]) == ("x y", "two lines")
    assert reading.counts["repeated_item_rows"] == 1
    links = raw.pictures(wanted, reading).table.to_pylist()
    assert links == [{"item_id": "a", "position": 0, "picture": "http://h/a"}]


@pytest.mark.parametrize("items", [DESCRIBED, None], ids=["with items", "without"])
def test_pictures_named_after_items(items: Any, tmp_path: Path) -> None:
    described(tmp_path)
    raw = opened(tmp_path, interactions=LOG, items=items, pictures="pictures")
    kept = visible_files(raw.folder.parent)
    assert "images.zip" in {path.name for path in raw.folder.parent.iterdir()}
    assert {path.name for path in raw.folder.iterdir()} == {"log.csv"} | (
        {"items.csv"} if items else set()
    )
    assert kept
    found = raw.pictures(pa.array(["a", "b", "c", "d"]), Reading(0.0, False)).table.to_pylist()
    assert [(row["item_id"], row["picture"]) for row in found] == [
        ("a", "pictures/a.jpg"), ("a", "pictures/a.png"), ("c", "pictures/c.gif")
    ]  # fmt: skip


def test_null_is_no_such_thing(tmp_path: Path) -> None:
    """Where detection would find items, links, times and ratings."""
    theirs = mine(tmp_path)
    (theirs / "log.csv").write_text(f"user,item,rating,timestamp\nu,a,5,{WHEN}\nv,b,4,{WHEN}\n")
    (theirs / "items.csv").write_text("item,title,image\na,A,http://h/a\nb,B,http://h/b\n")
    found = opened(tmp_path, "found").recipe
    assert found.items is not None and found.pictures is not None
    assert found.interactions.timestamp == ["timestamp"]
    table = {"file": "log.csv", "rating": None, "timestamp": None}
    raw = opened(tmp_path, "nulled", interactions=table, items=None, pictures=None)
    assert raw.recipe.items is None and raw.recipe.pictures is None
    read = raw.interactions(Reading(0.0, False))
    assert read["rating"].null_count == 2 and read["timestamp"].to_pylist() == [0, 0]
    assert raw.items(pa.array(["a"]), Reading(0.0, False)).num_rows == 0
    untitled = opened(tmp_path, "untitled", items={"file": "items.csv", "title": None})
    assert untitled.items(pa.array(["a"]), Reading(0.0, False))["title"].to_pylist() == [None] * 2


def test_words_stand_instead_of_what_would_be_found(tmp_path: Path) -> None:
    theirs = mine(tmp_path)
    (theirs / "log.csv").write_text("user,client,item,rating,mark\nu,k,a,5,2\nv,l,b,4,1\n")
    found = opened(tmp_path, "found").interactions(Reading(0.0, False))
    assert found["user_id"].to_pylist() == ["u", "v"] and found["rating"].to_pylist() == [5, 4]
    table = {"file": "log.csv", "user": "client", "rating": "mark"}
    said = opened(tmp_path, "said", interactions=table).interactions(Reading(0.0, False))
    assert said["user_id"].to_pylist() == ["k", "l"] and said["rating"].to_pylist() == [2, 1]
    assert said["item_id"].to_pylist() == ["a", "b"]  # what is not said is found


def test_what_reviews_say_is_not_said_of_items(tmp_path: Path) -> None:
    """Events that carry an item's brand describe it; a text that each review writes does not."""
    rows = [f"u{user},i{item},b{item},Great {user}" for user in range(9) for item in range(3)]
    (mine(tmp_path) / "log.csv").write_text("\n".join(["user,item,brand,summary", *rows]))
    raw = opened(tmp_path)
    items = raw.items(pa.array(["i0", "i1", "i2"]), Reading(0.0, False)).to_pylist()
    assert [(row["brand"], row["description"]) for row in items] == [
        ("b0", ""), ("b1", ""), ("b2", "")
    ]  # fmt: skip
    assert any("described in log.csv itself" in note for note in raw.recipe.notes)
    (mine(tmp_path) / "log.csv").write_text(
        "\n".join(["user,item,summary", *(f"u{u},i{i},Great {u}" for u in range(9) for i in "abc")])
    )
    assert opened(tmp_path, "again").recipe.items is None


def test_a_column_called_note_may_be_a_grade_or_a_text(tmp_path: Path) -> None:
    (mine(tmp_path) / "log.csv").write_text("user,item,note\nu,a,5\nv,b,4\n")
    assert opened(tmp_path, "grades").recipe.interactions.rating == ["note"]
    (mine(tmp_path) / "log.csv").write_text("user,item,note\nu,a,a gift\nv,b,in blue\n")
    recipe = opened(tmp_path, "texts").recipe
    assert recipe.interactions.rating == []
    assert "note of log.csv holds texts: there are no ratings" in recipe.notes


def test_users_that_are_personal_data_are_never_kept(tmp_path: Path) -> None:
    (mine(tmp_path) / "log.csv").write_text(
        "who,what\nanna@shop.invalid,a\nanna@shop.invalid,b\nbert@shop.invalid,a\n"
    )
    raw = opened(tmp_path, interactions={**LOG, "hashed": True})
    users = raw.interactions(Reading(0.0, False))["user_id"].to_pylist()
    assert users[0] == users[1] != users[2] and len(users[0]) == 32
    kept = b"".join(p.read_bytes() for p in raw.folder.parent.rglob("*") if p.is_file())
    assert b"anna" not in kept and b"bert" not in kept
    again = opened(tmp_path, "again", interactions={**LOG, "hashed": True})
    assert again.interactions(Reading(0.0, False))["user_id"].to_pylist()[0] != users[0]


# ------------------------------------------------------------------------------ what is not there


@pytest.mark.parametrize(
    ("words", "message"),
    [
        ({"pictures": "gone"}, r"no folder or file 'gone' as source\.pictures names it"),
        ({"items": {**ITEMS, "file": "no.csv"}}, r"no file 'no\.csv' as source\.items names it"),
        ({"items": {**ITEMS, "file": "../x.csv"}}, r"no file '\.\./x\.csv' as source\.items"),
        ({"interactions": "no.csv"}, r"no file 'no\.csv' as source\.interactions names it; it has"),
        ({"interactions": None}, "source.interactions is null"),
        ({"interactions": {"user": "who"}}, r"source\.interactions says user and no file; write"),
        ({"items": {"title": "name"}}, r"source\.items says title and no file; write the file too"),
        ({"pictures": {"columns": "link"}, "items": ITEMS}, r"no column 'link' .*pictures"),
        ({"pictures": {"columns": "link"}, "items": None}, "no table of items to have columns"),
        ({"pictures": {"files": ["gone"]}}, "no pictures in 'gone' as source.pictures says"),
        ({"pictures": {"by_name": True}}, "no pictures as source.pictures says"),
        ({"pictures": {"table": {"file": "no.csv"}}}, r"no file 'no\.csv' as source\.pictures\."),
        ({"group": "family", "items": ITEMS}, r"no column 'family' .*source\.group"),
        ({"preset": "yelp"}, "lacks .* so that it is no yelp as preset goes"),
        ({"preset": "yepl"}, r"source\.preset is 'yepl'; did you mean 'yelp'\?"),
    ],
)  # fmt: skip
def test_what_is_named_and_not_there(tmp_path: Path, words: dict[str, Any], message: str) -> None:
    (mine(tmp_path) / "log.csv").write_text("who,what\n1,a\n2,b\n")
    (mine(tmp_path) / "items.csv").write_text("id,name\na,A\nb,B\n")
    (tmp_path / "x.csv").write_text("id,name\na,A\nb,B\n")
    with pytest.raises(InputError, match=message):
        opened(tmp_path, **{"interactions": LOG, **words})


def test_a_folder_that_is_not_there_is_named_with_what_to_do(tmp_path: Path) -> None:
    with pytest.raises(InputError, match=r"nowhere: there is no such folder; .*source\.folder"):
        download(tmp_path / "nowhere", tmp_path / "made")


@pytest.mark.parametrize(
    ("section", "message"),
    [
        ({"interactions": {**LOG, "usr": "x"}}, r"interactions\.usr is not a parameter; .*'user'"),
        ({"interactions": {**LOG, "user": 3}}, r"interactions\.user"),
        ({"interactions": {**LOG, "family": "xml"}}, r"interactions\.family.*'xml'"),
        ({"interactions": {**LOG, "date_order": "year"}}, r"interactions\.date_order.*'year'"),
        ({"interactions": {**LOG, "split": {**SPLIT, "test": "0"}}}, "two splits the one name '0'"),
        ({"items": {**ITEMS, "titel": "x"}}, r"items\.titel is not a parameter; .*'title'"),
        ({"pictures": {"column": "x"}}, r"pictures\.column is not a parameter; .*'columns'"),
        ({"kind": "folder", "kidns": {}}, r"source\.kidns is not a parameter; .*'kinds'"),
        ({"items_are": "products"}, r"items_are.*'products'"),
        ({"new_arrivals": True}, r"new_arrivals"),
    ],
)
def test_mistyped_words_are_named_as_they_stand_in_the_file(
    section: dict[str, Any], message: str
) -> None:
    section = {"folder": "x", "interactions": LOG, **section}
    with pytest.raises(InputError, match=rf"datasets\.mine\.(source\.)?.*{message}"):
        check_section(section, FolderSource, "datasets.mine.source", Path("params.yaml"))


def test_objects_without_keys_are_no_table(tmp_path: Path) -> None:
    theirs = mine(tmp_path)
    (theirs / "log.csv").write_text("user,item\nu,a\nv,b\n")
    (theirs / "odd.json").write_text("{}\n{}\n")
    assert opened(tmp_path).recipe.items is None
    with pytest.raises(InputError, match=r"odd\.json: has no columns"):
        opened(tmp_path, "named", items="odd.json")
