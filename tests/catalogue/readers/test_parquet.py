"""Typed columns of Parquet files as text, and pictures inside them as locators."""

from __future__ import annotations

import datetime
import decimal
import json
from pathlib import Path
from typing import Any

import pyarrow as pa
import pyarrow.parquet as pq
import pytest

from lmm4rec.catalogue.readers.layout import Layout
from lmm4rec.catalogue.readers.locators import picture_locator
from lmm4rec.catalogue.readers.reading import Reading
from lmm4rec.catalogue.readers.rows import column_names, read_rows
from lmm4rec.errors import InputError
from tests.catalogue.given import FORMATS, INPUTS

PARQUET = Layout(family="parquet")
STRICT = Reading(maximum_unparsable_share=0.0, accept_truncated=False)


def text_of(folder: Path, column: pa.Array, ids: tuple[str, ...] = ()) -> list[Any]:
    path = folder / "t.parquet"
    pq.write_table(pa.table({"c": column}), path)
    return list(read_rows([path], PARQUET, ["c"], STRICT, ids=ids)["c"].to_pylist())


UTC = datetime.UTC
MOMENT = datetime.datetime(2023, 11, 15, 1, 2, 3, 250_000)
COLUMNS = {
    "text": (pa.array(["007", "", None, "NA"]), ["007", None, None, "NA"]),
    "large text": (pa.array(["a"], pa.large_string()), ["a"]),
    "text view": (pa.array(["a"], pa.string_view()), ["a"]),
    "dictionary": (pa.array(["a", None, "a"]).dictionary_encode(), ["a", None, "a"]),
    "whole numbers": (pa.array([2**63 - 1, -1]), ["9223372036854775807", "-1"]),
    "unsigned": (pa.array([2**64 - 1], pa.uint64()), ["18446744073709551615"]),
    "fractions": (pa.array([4.0, 0.1, float("nan"), None]), ["4", "0.1", None, None]),
    "decimals": (pa.array([decimal.Decimal("19.90")]), ["19.90"]),
    "flags": (pa.array([True, False]), ["true", "false"]),
    "days": (pa.array([datetime.date(2023, 11, 15)]), ["2023-11-15"]),
    "times without zone": (pa.array([MOMENT], pa.timestamp("ms")), ["2023-11-15T01:02:03.250"]),
    "whole seconds": (pa.array([0], pa.timestamp("us", "UTC")), ["1970-01-01T00:00:00Z"]),
    "times with zone": (
        pa.array([MOMENT.replace(tzinfo=UTC)], pa.timestamp("us", "Europe/Berlin")),
        ["2023-11-15T01:02:03.250000Z"],
    ),
    "nothing": (pa.nulls(2), [None, None]),
    "lists": (pa.array([["a", None], [], None]), ['["a",null]', "[]", None]),
    "paths": (pa.array([[["é", "b"]], None]), ['[["é","b"]]', None]),
    "structs": (pa.array([{"a": 1, "b": "x"}, None]), ['{"a":1,"b":"x"}', None]),
    "bytes that are text": (pa.array([b"abc"]), ["abc"]),
}


@pytest.mark.parametrize(("column", "texts"), COLUMNS.values(), ids=COLUMNS.keys())
def test_each_type_as_text(tmp_path: Path, column: pa.Array, texts: list[Any]) -> None:
    assert text_of(tmp_path, column) == texts


def test_bytes_that_are_no_text_are_refused(tmp_path: Path) -> None:
    with pytest.raises(InputError, match="column 'c' is not plain text"):
        text_of(tmp_path, pa.array([b"\xff\xfe"]))


def test_ids_kept_as_floats_by_pandas(tmp_path: Path) -> None:
    floats = pa.array([7.0, None, float("nan"), 12345678.0])
    assert text_of(tmp_path, floats, ("c",)) == ["7", None, None, "12345678"]


BAD_IDS = {
    "fractions": (pa.array([1.5]), "numbers with fractions"),
    "too large": (pa.array([2.0**60]), "numbers that floats do not hold exactly"),
    "times": (pa.array([0], pa.timestamp("s")), "timestamp"),
    "lists": (pa.array([["a"]]), "list"),
}


@pytest.mark.parametrize(("column", "why"), BAD_IDS.values(), ids=BAD_IDS.keys())
def test_what_nobody_takes_for_an_id_is_refused(tmp_path: Path, column: pa.Array, why: str) -> None:
    with pytest.raises(InputError, match=rf"column 'c' holds {why}.*; ids are texts or whole"):
        text_of(tmp_path, column, ("c",))


def test_shards_of_hugging_face() -> None:
    folder = FORMATS / "20_huggingface"
    shards = sorted((folder / "items").glob("*.parquet"))
    names = column_names(shards[0], PARQUET)
    read = read_rows(shards, PARQUET, names, STRICT, root=folder)
    assert read.num_rows == 12
    assert read["file_number"].to_pylist() == [0] * 7 + [1] * 5
    first = json.loads(read["image"][0].as_py())
    assert first == ["items/train-00000-of-00002.parquet#0/image/0"]
    rows = [row for shard in shards for row in pq.read_table(shard).to_pylist()]
    starts = [0, 7]
    for k, row in enumerate(rows):
        number = read["file_number"][k].as_py()
        file, within = f"items/{shards[number].name}", k - starts[number]
        image = row["image"] or {"bytes": None, "path": None}
        inside = picture_locator(file, within, "image", 0) if image["bytes"] else image["path"]
        assert json.loads(read["image"][k].as_py() or "[]") == ([inside] if inside else [])
        more = [
            picture_locator(file, within, "more_images", j)
            for j, one in enumerate(row["more_images"] or [])
        ]
        assert json.loads(read["more_images"][k].as_py() or "[]") == more
        assert json.loads(read["categories"][k].as_py() or "null") == row["categories"]


def test_interactions_of_hugging_face() -> None:
    shards = sorted((FORMATS / "20_huggingface/interactions").glob("*.parquet"))
    read = read_rows(shards, PARQUET, ["user_id", "sku", "timestamp"], STRICT, ids=["user_id"])
    assert read.num_rows == 60
    assert all(one.isdigit() for one in read["user_id"].to_pylist())
    assert min(read["timestamp"].to_pylist()) == "2023-11-15T00:00:00Z"


PICTURE = pa.struct([("bytes", pa.binary()), ("path", pa.string())])


def test_pictures_by_bytes_else_by_path(tmp_path: Path) -> None:
    cells = [
        {"bytes": b"x", "path": "a.png"},
        {"bytes": None, "path": "b.png"},
        {"bytes": b"", "path": None},
        None,
    ]
    assert text_of(tmp_path, pa.array(cells, PICTURE)) == [
        '["t.parquet#0/c/0"]',
        '["b.png"]',
        None,
        None,
    ]
    lists = pa.array([[cells[1], cells[0]], [], None, [None]], pa.list_(PICTURE))
    assert text_of(tmp_path, lists) == ['["b.png", "t.parquet#0/c/1"]', None, None, None]


def test_pictures_as_a_struct_of_lists(tmp_path: Path) -> None:
    kind = pa.struct([("bytes", pa.list_(pa.binary())), ("path", pa.list_(pa.string()))])
    column = pa.array([{"bytes": [b"x", None], "path": ["a", "b"]}, None], kind)
    assert text_of(tmp_path, column) == ['["t.parquet#0/c/0", "b"]', None]


def test_rows_of_pictures_are_numbered_through_a_file(tmp_path: Path) -> None:
    column = pa.array([{"bytes": b"x", "path": None}] * 700, PICTURE)
    found = text_of(tmp_path, column)
    assert found == [f'["t.parquet#{k}/c/0"]' for k in range(700)]


def test_nested_lists_of_an_input_that_failed() -> None:
    path = INPUTS / "10_nested_list_parquet/cat/items.parquet"
    read = read_rows([path], PARQUET, ["categories", "description"], STRICT)
    table = pq.read_table(path)
    for name in ("categories", "description"):
        found = [json.loads(one) if one else None for one in read[name].to_pylist()]
        assert found == table[name].to_pylist()


def test_a_damaged_file_is_a_sentence(tmp_path: Path) -> None:
    path = tmp_path / "t.parquet"
    pq.write_table(pa.table({"c": [f"text {k}" for k in range(10_000)]}), path)
    content = bytearray(path.read_bytes())
    content[200:600] = b"\xff" * 400
    path.write_bytes(bytes(content))
    with pytest.raises(InputError, match="not readable as Parquet"):
        read_rows([path], PARQUET, ["c"], STRICT)
    path.write_bytes(b"PAR1" + b"x" * 20)
    with pytest.raises(InputError, match="not readable as Parquet"):
        column_names(path, PARQUET)
