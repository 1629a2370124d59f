"""A person's own catalogue in its many shapes."""

import json
from pathlib import Path
from typing import Any

import pyarrow as pa
import pyarrow.parquet as pq
import pytest
from lmm4rec.catalogue.sources.files import FilesSource

from lmm4rec.catalogue.sources.base import Reading
from lmm4rec.errors import InputError
from lmm4rec.params import check_section

TABLE: dict[str, Any] = {
    "format": "table",
    "file": "log.csv",
    "separator": ",",
    "user": "who",
    "item": "what",
    "rating": None,
    "timestamp": None,
    "split": None,
}
ITEMS: dict[str, Any] = {
    "file": "items.csv",
    "separator": ",",
    "item": "id",
    "title": "name",
    "brand": None,
    "categories": None,
    "description": None,
    "image": None,
}


def source(
    folder: Path, interactions: dict[str, Any], items: Any = None, images: str | None = None
) -> FilesSource:
    section = {
        "kind": "files",
        "revision": 1,
        "folder": str(folder),
        "interactions": interactions,
        "items": items,
        "images": images,
    }
    return check_section(section, FilesSource, "datasets.mine.source", Path("params.yaml"))


def interactions(folder: Path, table: dict[str, Any], share: float = 0.0) -> pa.Table:
    return source(folder, table).read_interactions(folder, Reading(share, False))


def test_ids_alone_are_enough_and_stay_text(tmp_path: Path) -> None:
    (tmp_path / "log.csv").write_text("\ufeffwhat,who\n007,1\n1e3,\n", encoding="utf-8")
    rows = interactions(tmp_path, TABLE).to_pylist()
    assert [(row["user_id"], row["item_id"]) for row in rows] == [("1", "007"), (None, "1e3")]
    assert {(row["rating"], row["timestamp"], row["split"]) for row in rows} == {(None, 0, None)}


def test_all_columns_from_csv_and_from_parquet(tmp_path: Path) -> None:
    table = {**TABLE, "file": "log.tsv", "separator": "\t", "rating": "stars", "timestamp": "t"}
    table["split"] = {"column": "label", "train": "0", "validation": "1", "test": "2"}
    (tmp_path / "log.tsv").write_text(
        "who\twhat\tstars\tt\tlabel\n1\ta\t4.5\t10\t0\n1\tb\t3\t11.9\t1\n2\tc\t1e0\t-5\t2\n"
    )
    from_csv = interactions(tmp_path, table)
    assert from_csv["rating"].to_pylist() == [4.5, 3.0, 1.0]
    assert from_csv["timestamp"].to_pylist() == [10, 11, -5]
    assert from_csv["split"].to_pylist() == ["train", "validation", "test"]
    columns = {
        "who": [1, 1, 2],
        "what": ["a", "b", "c"],
        "stars": [4.5, 3.0, 1.0],
        "t": [10.0, 11.9, -5.0],
        "label": [0, 1, 2],
    }
    pq.write_table(pa.table(columns), tmp_path / "log.parquet")
    assert interactions(tmp_path, {**table, "file": "log.parquet"}).equals(from_csv)


def test_parquet_times(tmp_path: Path) -> None:
    times = pa.array([1_500_000_000_123], pa.timestamp("ms"))
    pq.write_table(pa.table({"who": ["u"], "what": ["i"], "t": times}), tmp_path / "log.parquet")
    table = interactions(tmp_path, {**TABLE, "file": "log.parquet", "timestamp": "t"})
    assert table["timestamp"].to_pylist() == [1_500_000_000]


def test_line_breaks_inside_cells_of_a_large_file(tmp_path: Path) -> None:
    rows = "".join(f'u{number},"item\n{number}"\n' for number in range(150_000))
    (tmp_path / "log.csv").write_text("who,what\n" + rows)  # several of the reader's blocks
    table = interactions(tmp_path, TABLE)
    assert table.num_rows == 150_000
    assert table["item_id"][149_999].as_py() == "item\n149999"


@pytest.mark.parametrize("kind", ["csv", "parquet"])
def test_missing_column_is_named_with_its_parameter(tmp_path: Path, kind: str) -> None:
    if kind == "csv":
        (tmp_path / "log.csv").write_text("who,waht\n1,2\n")
    else:
        pq.write_table(pa.table({"who": ["1"], "waht": ["2"]}), tmp_path / "log.parquet")
    with pytest.raises(
        InputError,
        match=rf"log\.{kind}: has no column 'what' \(it has who, waht\); "
        r"correct source\.interactions\.item: did you mean 'waht'\?",
    ):
        interactions(tmp_path, {**TABLE, "file": f"log.{kind}"})


def test_bad_numbers_and_torn_rows_are_counted_up_to_a_share(tmp_path: Path) -> None:
    table = {**TABLE, "rating": "stars"}
    text = "who,what,stars\n" + "u,i,5\n" * 98 + "u,i,five\nu,i\n"
    (tmp_path / "log.csv").write_text(text)
    reading = Reading(0.02, False)
    assert source(tmp_path, table).read_interactions(tmp_path, reading).num_rows == 98
    assert reading.counts["unparsable_lines"] == 2
    with pytest.raises(InputError, match=r"1 of 99 lines .* row 99, rating 'five' is no number"):
        (tmp_path / "log.csv").write_text("who,what,stars\n" + "u,i,5\n" * 98 + "u,i,five\n")
        interactions(tmp_path, table)


def test_unknown_split_name(tmp_path: Path) -> None:
    (tmp_path / "log.csv").write_text("who,what,s\n1,2,train\n1,3,dev\n")
    split = {"column": "s", "train": "train", "validation": "valid", "test": "test"}
    with pytest.raises(InputError, match=r"column 's' holds 'dev', which is none of \['train'"):
        interactions(tmp_path, {**TABLE, "split": split})


@pytest.mark.parametrize(
    ("content", "message"),
    [(b"", "not readable as CSV"), (b"who,what\n\xff\xfe,1\n", "not readable as CSV")],
)
def test_what_is_no_csv(tmp_path: Path, content: bytes, message: str) -> None:
    (tmp_path / "log.csv").write_bytes(content)
    with pytest.raises(InputError, match=message):
        interactions(tmp_path, TABLE)


def test_split_mappings(tmp_path: Path) -> None:
    files = {
        "format": "split-mappings",
        "train": "a.json",
        "validation": "b.json",
        "test": "c.json",
    }
    for name, content in (("a", {"u": [1, 2]}), ("b", {"u": [3]}), ("c", {"v": ["x"]})):
        (tmp_path / f"{name}.json").write_text(json.dumps(content))
    rows = interactions(tmp_path, files).to_pylist()
    assert [(row["user_id"], row["item_id"], row["split"]) for row in rows] == [
        ("u", "1", "train"), ("u", "2", "train"), ("u", "3", "validation"), ("v", "x", "test"),
    ]  # fmt: skip
    (tmp_path / "b.json").write_text("[1]")
    with pytest.raises(InputError, match=r"b\.json: expected \{user: \[item, ...\]\}"):
        interactions(tmp_path, files)


def test_items_texts_links_and_pictures(tmp_path: Path) -> None:
    (tmp_path / "log.csv").write_text("who,what\n1,a\n")
    (tmp_path / "items.csv").write_text(
        'id,name,kinds,about,link\nb,B &amp; b,x|y,"two\nlines",\na,first,,,http://h/a\na,again,,,\n'
    )
    pictures = tmp_path / "pictures"
    pictures.mkdir()
    for name in ("a.jpg", "a.png", "c.gif", ".d.jpg"):
        (pictures / name).write_bytes(name.encode())
    items = {**ITEMS, "categories": "kinds", "description": "about", "image": "link"}
    wanted, reading = pa.array(["a", "b", "c", "d"]), Reading(0.0, False)
    linked = source(tmp_path, TABLE, items).read_items(tmp_path, wanted, reading).to_pylist()
    assert [row["item_id"] for row in linked] == ["a", "b"]
    assert [row["image"] for row in linked] == ["http://h/a", None]
    assert linked[1]["title"] == "B & b"
    assert (linked[1]["categories"], linked[1]["description"]) == ("x y", "two lines")
    assert reading.counts["duplicate_items"] == 1

    own = source(tmp_path, TABLE, items, "pictures")
    raw = tmp_path / "raw"
    raw.mkdir()
    own.download(raw, tmp_path / "scratch")
    assert sorted(file.name for file in raw.iterdir()) == ["images.zip", "items.csv", "log.csv"]
    pictured = {row["item_id"]: row for row in own.read_items(raw, wanted, reading).to_pylist()}
    assert {item: row["image"] for item, row in pictured.items()} == {
        "a": "a.jpg", "b": None, "c": "c.gif"
    }  # fmt: skip
    no_table = source(tmp_path, TABLE, None, "pictures").read_items(raw, wanted, reading)
    assert no_table["item_id"].to_pylist() == ["a", "c"]


@pytest.mark.parametrize(
    ("change", "message"),
    [
        ({"folder": "nowhere"}, "nowhere: there is no such folder; correct source.folder"),
        ({"images": "gone"}, "gone: there is no such folder; correct source.images"),
        ({"items": {**ITEMS, "file": "no.csv"}}, "no.csv: .* correct source.items.file"),
        ({"items": {**ITEMS, "file": "../x.csv"}}, "outside source.folder; .*items.file"),
    ],
)
def test_download_names_what_is_not_there(
    tmp_path: Path, change: dict[str, Any], message: str
) -> None:
    (tmp_path / "log.csv").write_text("who,what\n1,2\n")
    raw = tmp_path / "raw"
    raw.mkdir()
    with pytest.raises(InputError, match=message):
        section = source(tmp_path, TABLE).model_dump() | change
        FilesSource.model_validate(section).download(raw, tmp_path)


@pytest.mark.parametrize(
    ("change", "message"),
    [
        ({"usr": "x"}, r"datasets\.mine\.source\.interactions\.usr is not a parameter; .*'user'"),
        ({"user": 3}, r"datasets\.mine\.source\.interactions\.user should be a valid string"),
        ({"format": "xml"}, r"interactions.*'xml'"),
    ],
)
def test_mistyped_parameters_are_named_as_they_stand_in_the_file(
    tmp_path: Path, change: dict[str, Any], message: str
) -> None:
    with pytest.raises(InputError, match=message):
        source(tmp_path, {**TABLE, **change})
