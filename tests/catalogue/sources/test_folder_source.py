"""A person's own folder, read by the words they write."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import pyarrow as pa
import pyarrow.parquet as pq
import pytest
from PIL import Image

from lmm4rec.catalogue.readers.reading import Reading
from lmm4rec.catalogue.sources import FolderSource
from lmm4rec.catalogue.sources.raw import RawCatalogue, open_raw
from lmm4rec.errors import InputError
from lmm4rec.folders import visible_files
from lmm4rec.params import check_section
from tests.catalogue.sources.catalogues import download

LOG: dict[str, Any] = {"file": "log.csv", "user": "who", "item": "what"}
ITEMS: dict[str, Any] = {"file": "items.csv", "item": "id", "title": "name"}
WHEN = 1_500_000_000


def mine(folder: Path) -> Path:
    theirs = folder / "mine"
    theirs.mkdir(exist_ok=True)
    return theirs


def opened(folder: Path, made: str = "made", **words: Any) -> RawCatalogue:
    """What download makes of `mine` by these words, typed as params.yaml holds them."""
    section = {"folder": str(mine(folder)), **words}
    source = check_section(section, FolderSource, "datasets.mine.source", Path("params.yaml"))
    said = {name: getattr(source, name) for name in source.model_fields_set - {"folder"}}
    return open_raw(download(mine(folder), folder / made, **said))


def interactions(folder: Path, table: dict[str, Any], share: float = 0.0) -> pa.Table:
    made = f"made-{len(list(folder.iterdir()))}"
    return opened(folder, made, interactions=table).interactions(Reading(share, False))


# ----------------------------------------------------------------------------------- interactions


def test_ids_alone_are_enough_and_stay_text(tmp_path: Path) -> None:
    (mine(tmp_path) / "log.csv").write_text("\ufeffwhat,who\n007,1\n1e3,\nNA, x \n", "utf-8")
    rows = interactions(tmp_path, LOG).to_pylist()
    assert [(row["user_id"], row["item_id"]) for row in rows] == [
        ("1", "007"), (None, "1e3"), ("x", "NA")
    ]  # fmt: skip
    assert {(row["rating"], row["timestamp"], row["split"], row["kind"]) for row in rows} == {
        (None, 0, None, None)
    }


SPLIT = {"column": "label", "train": "0", "validation": "1", "test": "2"}
ALL = {**LOG, "rating": "stars", "timestamp": "t", "split": SPLIT}


def test_all_columns_from_csv_and_from_parquet(tmp_path: Path) -> None:
    (mine(tmp_path) / "log.tsv").write_text(
        "who\twhat\tstars\tt\tlabel\n"
        f"1\ta\t4.5\t{WHEN}\t0\n1\tb\t3\t{WHEN + 1}.9\t1\n2\tc\t1e0\t-5\t2\n"
    )
    from_csv = interactions(tmp_path, {**ALL, "file": "log.tsv"})
    assert from_csv["rating"].to_pylist() == [4.5, 3.0, 1.0]
    assert from_csv["timestamp"].to_pylist() == [WHEN, WHEN + 1, -5]
    assert from_csv["split"].to_pylist() == ["train", "validation", "test"]
    columns = {
        "who": [1, 1, 2],
        "what": ["a", "b", "c"],
        "stars": [4.5, 3.0, 1.0],
        "t": [float(WHEN), WHEN + 1.9, -5.0],
        "label": [0, 1, 2],
    }
    pq.write_table(pa.table(columns), mine(tmp_path) / "log.parquet")
    assert interactions(tmp_path, {**ALL, "file": "log.parquet"}).equals(from_csv)


@pytest.mark.parametrize("unit", ["s", "ms", "us", "ns"])
@pytest.mark.parametrize("zone", [None, "UTC", "Asia/Tokyo"])
def test_parquet_times(unit: str, zone: str | None, tmp_path: Path) -> None:
    many = {"s": 1, "ms": 1_000, "us": 1_000_000, "ns": 1_000_000_000}[unit]
    times = pa.array([WHEN * many + many * 9 // 10], pa.timestamp(unit, zone))
    table = pa.table({"who": ["u"], "what": ["i"], "t": times})
    pq.write_table(table, mine(tmp_path) / "log.parquet")
    read = interactions(tmp_path, {**LOG, "file": "log.parquet", "timestamp": "t"})
    assert read["timestamp"].to_pylist() == [WHEN]


@pytest.mark.parametrize("scale", [1, 1_000, 1_000_000, 1_000_000_000])
@pytest.mark.parametrize("kind", ["csv", "parquet"])
def test_numbers_are_times_of_the_unit_that_fits(scale: int, kind: str, tmp_path: Path) -> None:
    numbers = [(WHEN + second) * scale + scale // 2 for second in range(3)]
    table = pa.table({"who": ["u"] * 3, "what": ["a", "b", "c"], "t": numbers})
    if kind == "csv":
        rows = "".join(f"u,{what},{t}\n" for what, t in zip("abc", numbers, strict=True))
        (mine(tmp_path) / "log.csv").write_text("who,what,t\n" + rows)
    else:
        pq.write_table(table, mine(tmp_path) / "log.parquet")
    read = interactions(tmp_path, {**LOG, "file": f"log.{kind}", "timestamp": "t"})
    assert read["timestamp"].to_pylist() == [WHEN, WHEN + 1, WHEN + 2]


def test_small_numbers_are_an_order_that_somebody_must_want(tmp_path: Path) -> None:
    (mine(tmp_path) / "log.csv").write_text("who,what,t\nu,a,1\nu,b,2\n")
    with pytest.raises(
        InputError,
        match=r"log\.csv: t holds numbers too small for times.*timestamp: null.*order_is_time",
    ):
        interactions(tmp_path, {**LOG, "timestamp": "t"})
    none = interactions(tmp_path, {**LOG, "timestamp": None})
    assert none["timestamp"].to_pylist() == [0, 0]
    order = interactions(tmp_path, {**LOG, "timestamp": "t", "order_is_time": True})
    assert order["timestamp"].to_pylist() == [1, 2]


@pytest.mark.parametrize(("order", "day"), [("day-first", 3), ("month-first", 4)])
def test_dates_that_may_be_two_days_are_asked_for(order: str, day: int, tmp_path: Path) -> None:
    (mine(tmp_path) / "log.csv").write_text("who,what,t\nu,a,03/04/2024\nu,b,05/06/2024\n")
    table = {**LOG, "timestamp": "t"}
    with pytest.raises(InputError, match=r"log\.csv: dates such as '03/04/2024'.*date_order"):
        interactions(tmp_path, table)
    read = interactions(tmp_path, {**table, "date_order": order})["timestamp"]
    month = 7 - day
    expected = pa.scalar(f"2024-{month:02}-{day:02}").cast(pa.timestamp("s")).cast(pa.int64())
    assert read[0].as_py() == expected.as_py()


def test_line_breaks_inside_cells_of_a_large_file(tmp_path: Path) -> None:
    rows = "".join(f'u{number},"item\n{number}"\n' for number in range(150_000))
    (mine(tmp_path) / "log.csv").write_text("who,what\n" + rows)  # several of the reader's blocks
    table = interactions(tmp_path, LOG)
    assert table.num_rows == 150_000
    assert table["item_id"][149_999].as_py() == "item\n149999"


@pytest.mark.parametrize("kind", ["csv", "parquet"])
def test_missing_column_is_named_with_its_word(tmp_path: Path, kind: str) -> None:
    if kind == "csv":
        (mine(tmp_path) / "log.csv").write_text("who,waht\n1,2\n")
    else:
        table = pa.table({"who": ["1"], "waht": ["2"]})
        pq.write_table(table, mine(tmp_path) / "log.parquet")
    with pytest.raises(
        InputError,
        match=rf"log\.{kind}: has no column 'what' \(it has who, waht\); "
        r"correct source\.interactions\.item: did you mean 'waht'\?",
    ):
        interactions(tmp_path, {**LOG, "file": f"log.{kind}"})


@pytest.mark.parametrize("word", ["rating", "timestamp", "kind", "order", "cancelled"])
def test_any_word_that_names_no_column_says_so(word: str, tmp_path: Path) -> None:
    (mine(tmp_path) / "log.csv").write_text("who,what,stars\nu,i,5\n")
    with pytest.raises(InputError, match=rf"has no column 'strs' .*source\.interactions\.{word}"):
        interactions(tmp_path, {**LOG, word: "strs"})


def test_a_split_column_that_is_not_there(tmp_path: Path) -> None:
    (mine(tmp_path) / "log.csv").write_text("who,what,stars\nu,i,5\n")
    with pytest.raises(InputError, match=r"has no column 'label' .*source\.interactions\.split"):
        interactions(tmp_path, {**LOG, "split": SPLIT})


def test_bad_numbers_and_torn_rows_are_counted_up_to_a_share(tmp_path: Path) -> None:
    text = "who,what,stars\n" + "u,i,5\n" * 98
    (mine(tmp_path) / "log.csv").write_text(text + "u,i,five\nu,i\n")
    raw = opened(tmp_path, interactions={**LOG, "rating": "stars"})
    reading = Reading(0.02, False)
    assert raw.interactions(reading).num_rows == 98
    assert reading.counts["unparsable_lines"] == 2
    (raw.folder / "log.csv").write_text(text + "u,i,five\n")
    with pytest.raises(
        InputError, match=r"1 of 99 lines .*row 99, stars 'five' is no number.*raise maximum_unp"
    ):
        raw.interactions(Reading(0.0, False))


def test_unknown_split_name(tmp_path: Path) -> None:
    (mine(tmp_path) / "log.csv").write_text("who,what,s\n1,2,train\n1,3,dev\n")
    split = {"column": "s", "train": "train", "validation": "valid", "test": "test"}
    with pytest.raises(InputError, match=r"column 's' holds 'dev', which is none of \['train'"):
        interactions(tmp_path, {**LOG, "split": split})


@pytest.mark.parametrize(
    ("content", "message"),
    [
        (b"", "is empty"),
        (b"who,what\n\x81\x8d,1\n", r"0x81\) is neither UTF-8 nor Windows-1252"),
        (b"\x80\x04who,what\n", "is a pickle"),
        (b"PK\x03\x04who,what\n", "is a zip or a workbook"),
        (b"who\n1\n2\n", "no separator .* cuts its lines"),
    ],
    ids=["empty", "other bytes", "pickle", "workbook", "one column"],
)
def test_what_is_no_csv(tmp_path: Path, content: bytes, message: str) -> None:
    (mine(tmp_path) / "log.csv").write_bytes(content)
    with pytest.raises(InputError, match=rf"log\.csv: .*{message}"):
        interactions(tmp_path, LOG)


def test_letters_of_windows_are_read_as_such(tmp_path: Path) -> None:
    (mine(tmp_path) / "log.csv").write_bytes("who,what\nJosé,crème\n".encode("cp1252"))
    [row] = interactions(tmp_path, LOG).to_pylist()
    assert (row["user_id"], row["item_id"]) == ("José", "crème")


PARTS = {"train": "a.json", "validation": "b.json", "test": "c.json"}


def test_a_split_of_three_files(tmp_path: Path) -> None:
    for name, content in (("a", {"u": [1, 2]}), ("b", {"u": [3]}), ("c", {"v": ["x"]})):
        (mine(tmp_path) / f"{name}.json").write_text(json.dumps(content))
    rows = interactions(tmp_path, {"file": PARTS}).to_pylist()
    assert sorted((row["user_id"], row["item_id"], row["split"]) for row in rows) == [
        ("u", "1", "train"), ("u", "2", "train"), ("u", "3", "validation"), ("v", "x", "test"),
    ]  # fmt: skip
    (mine(tmp_path) / "b.json").write_text("[1]")
    with pytest.raises(InputError, match=r"b\.json: .*\{user: \[item, ...\]\}"):
        interactions(tmp_path, {"file": PARTS})
    (mine(tmp_path) / "b.npy").write_bytes(b"numbers")
    with pytest.raises(InputError, match=r"no table 'b\.npy' as source\.interactions\.file\.valid"):
        interactions(tmp_path, {"file": {**PARTS, "validation": "b.npy"}})
    (mine(tmp_path) / "b.json").unlink()
    with pytest.raises(
        InputError, match=r"no file 'b\.json' as source\.interactions\.file\.validation"
    ):
        interactions(tmp_path, {"file": PARTS})


def test_parts_of_other_shapes_are_no_one_table(tmp_path: Path) -> None:
    (mine(tmp_path) / "a.csv").write_text("who,what\nu,i\nv,j\n")
    (mine(tmp_path) / "b.csv").write_text("who,waht\nu,i\nv,j\n")
    (mine(tmp_path) / "c.csv").write_text("who,what\nu,i\nv,j\n")
    files = {"train": "a.csv", "validation": "b.csv", "test": "c.csv"}
    with pytest.raises(InputError, match=r"b\.csv: has the columns who, waht where a\.csv"):
        interactions(tmp_path, {**LOG, "file": files})


# -------------------------------------------------------------------------- items and pictures

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
        ({"pictures": {"table": {"file": "no.csv"}}}, r"no file 'no\.csv' as source\.pictures\.tab"),
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
