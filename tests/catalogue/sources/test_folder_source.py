"""The interactions of a person's own folder, read by the words they write."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import pyarrow as pa
import pyarrow.parquet as pq
import pytest

from lmm4rec.catalogue.readers.reading import Reading
from lmm4rec.errors import InputError
from tests.catalogue.sources.own_folder import LOG, WHEN, mine, opened


def interactions(folder: Path, table: dict[str, Any], share: float = 0.0) -> pa.Table:
    made = f"made-{len(list(folder.iterdir()))}"
    return opened(folder, made, interactions=table).interactions(Reading(share, False))


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
        f"1\ta\t4.5\t{WHEN}\t0\n1\tb\t3\t{WHEN + 1}.9\t1\n2\tc\t1e0\t{WHEN - 5}\t2\n"
    )
    from_csv = interactions(tmp_path, {**ALL, "file": "log.tsv"})
    assert from_csv["rating"].to_pylist() == [4.5, 3.0, 1.0]
    assert from_csv["timestamp"].to_pylist() == [WHEN, WHEN + 1, WHEN - 5]
    assert from_csv["split"].to_pylist() == ["train", "validation", "test"]
    columns = {
        "who": [1, 1, 2],
        "what": ["a", "b", "c"],
        "stars": [4.5, 3.0, 1.0],
        "t": [float(WHEN), WHEN + 1.9, WHEN - 5.0],
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
    with pytest.raises(InputError, match=r"no file 'b\.json' as source\.inter.*file\.validation"):
        interactions(tmp_path, {"file": PARTS})


def test_parts_of_other_shapes_are_no_one_table(tmp_path: Path) -> None:
    (mine(tmp_path) / "a.csv").write_text("who,what\nu,i\nv,j\n")
    (mine(tmp_path) / "b.csv").write_text("who,waht\nu,i\nv,j\n")
    (mine(tmp_path) / "c.csv").write_text("who,what\nu,i\nv,j\n")
    files = {"train": "a.csv", "validation": "b.csv", "test": "c.csv"}
    with pytest.raises(InputError, match=r"b\.csv: has the columns who, waht where a\.csv"):
        interactions(tmp_path, {**LOG, "file": files})


def test_a_file_of_two_parts_would_test_on_what_was_trained(tmp_path: Path) -> None:
    for name in ("a", "b", "c"):
        (mine(tmp_path) / f"{name}.json").write_text('{"u": [1], "v": [2]}')
    with pytest.raises(InputError, match=r"b\.json: is two parts of a split at once"):
        interactions(tmp_path, {"file": {**PARTS, "test": "[bc]?json"}})
