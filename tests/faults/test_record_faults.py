"""The table of faults in records: each is a counted skip or one sentence, whoever sent it."""

from __future__ import annotations

import gzip
import json
import tracemalloc
from pathlib import Path
from typing import Any

import pyarrow as pa
import pyarrow.parquet as pq
import pytest

from lmm4rec.catalogue.readers.layout import Layout
from lmm4rec.catalogue.readers.reading import Reading
from lmm4rec.catalogue.readers.unpacked import LONGEST_LINE_BYTES
from lmm4rec.catalogue.sources.interactions import read_interactions
from lmm4rec.catalogue.sources.items import read_items
from lmm4rec.catalogue.sources.recipe import InteractionsRecipe, ItemsRecipe, Recipe
from lmm4rec.errors import InputError
from tests.faults.records import forgiving

WHEN = 1_400_000_000
GOOD = {"reviewerID": "u", "asin": "i", "overall": 5.0, "unixReviewTime": WHEN}
GOODS = [json.dumps(GOOD | {"reviewerID": f"u{number}"}).encode() for number in range(3)]
TEN_TO_400 = 10**400


def recipe(file: str, family: Any = "json-lines", **columns: Any) -> Recipe:
    """As the 2014 release is read, from one file of reviews and `m.gz`."""
    roles: dict[str, Any] = dict(
        user=["reviewerID"], item=["asin"], rating=["overall"], timestamp=["unixReviewTime"]
    )
    layout = Layout(family=family, separator="," if family == "delimited" else None)
    parts = {"files": {"all": [file]}, **roles, **columns}
    interactions = InteractionsRecipe(layout=layout, **parts)
    names = {name: [name] for name in ("title", "categories", "description")}
    items = ItemsRecipe(
        files=["m.gz"], layout=Layout(family="literal-lines"), item=["asin"], **names
    )
    return Recipe(preset=None, interactions=interactions, items=items, pictures=None)


def reviews(path: Path, reading: Reading) -> pa.Table:
    return read_interactions(path.parent, recipe(path.name), reading)


OTHER = repr({"asin": "o", "title": "x", "categories": "x", "description": "x"}).encode()


def metadata(path: Path, wanted: list[str], reading: Reading) -> pa.Table:
    return read_items(path.parent, recipe("r.gz"), pa.array(wanted), reading)


# fault: what a review holds instead -> the count that names it beside unparsable_lines
REVIEW_FAULTS: dict[str, tuple[dict[str, Any], str | None]] = {
    "a fraction as user": ({"reviewerID": 7.5}, "ids_with_fractions"),
    "a list as item": ({"asin": ["i"]}, "ids_not_text"),
    "a truth value as user": ({"reviewerID": True}, "ids_not_text"),
    "a dict as user": ({"reviewerID": {"a": 1}}, "ids_not_text"),
    "half a surrogate pair in an id": ({"asin": "i\ud800"}, "ids_with_broken_characters"),
    "a time of 1e30": ({"unixReviewTime": 1e30}, None),
    "a time of 2**63": ({"unixReviewTime": 2**63}, None),
    "a time of 400 digits": ({"unixReviewTime": TEN_TO_400}, None),
    "an infinite time": ({"unixReviewTime": float("inf")}, None),
    "a time that is NaN": ({"unixReviewTime": float("nan")}, None),
    "a time of text": ({"unixReviewTime": "noon"}, None),
    "a list as time": ({"unixReviewTime": [1]}, None),
    "a truth value as time": ({"unixReviewTime": True}, None),
    "no time": ({"unixReviewTime": None}, None),
    "a rating of 10**400": ({"overall": TEN_TO_400}, None),
    "a rating that no float32 holds": ({"overall": 1e39}, None),
    "a rating that is NaN": ({"overall": float("nan")}, None),
    "an infinite rating as text": ({"overall": "-inf"}, None),
    "a truth value as rating": ({"overall": False}, None),
}
# lines that no parser reads, or that it reads as something else
LINES = {
    "100,000 minus signs": "-" * 100_000 + "1",
    "100,000 brackets": "[" * 100_000,
    "100,000 braces": '{"a":' * 100_000,
    "100,000 sums": "1+" * 100_000 + "1",
    "a number of 5,000 digits": "{'overall': " + "9" * 5_000 + "}",
    "a list": "[1]",
    "NUL": "\0",
    "code": "__import__('os').getpid()",
}


def compressed(path: Path, *lines: bytes) -> Path:
    path.write_bytes(gzip.compress(b"\n".join(lines), 1))
    return path


@pytest.mark.parametrize("fault", REVIEW_FAULTS)
@pytest.mark.parametrize("spell", [json.dumps, repr], ids=["JSON", "literal"])
def test_a_review_with_a_fault_is_skipped_and_counted(
    fault: str, spell: Any, tmp_path: Path
) -> None:
    change, count = REVIEW_FAULTS[fault]
    line = spell({**GOOD, **change}).replace("inf", "1e999")  # a literal has no other word for it
    counted = forgiving()
    path = compressed(tmp_path / "r.gz", *GOODS, line.encode())
    assert reviews(path, counted)["user_id"].to_pylist() == ["u0", "u1", "u2"]
    named = {} if count is None else {count: 1}
    found = {name: n for name, n in counted.counts.items() if n and name != "interaction_rows"}
    assert found == {"unparsable_lines": 1, **named}
    with pytest.raises(InputError, match=r"r\.gz: 1 of 4 lines cannot be read \(first: "):
        reviews(path, Reading(0.2, False))


def test_whole_numbers_are_ids_as_they_are_written(tmp_path: Path) -> None:
    line = '{"reviewerID": 7, "asin": 12345678901234567890123, "overall": 5, "unixReviewTime": %d}'
    path = compressed(tmp_path / "r.gz", *GOODS, (line % WHEN).encode())
    last = reviews(path, Reading(0.0, False)).to_pylist()[-1]
    assert (last["user_id"], last["item_id"]) == ("7", "12345678901234567890123")


def test_no_rating_is_none_and_no_fault(tmp_path: Path) -> None:
    path = compressed(tmp_path / "r.gz", *GOODS, json.dumps(GOOD | {"overall": None}).encode())
    assert reviews(path, Reading(0.0, False))["rating"].to_pylist() == [5.0] * 3 + [None]


@pytest.mark.parametrize("line", LINES)
def test_a_line_that_no_parser_reads_is_skipped_and_counted(line: str, tmp_path: Path) -> None:
    path = compressed(tmp_path / "r.gz", *GOODS, LINES[line].encode())
    counted = forgiving()
    assert reviews(path, counted).num_rows == 3
    assert counted.counts["unparsable_lines"] == 1
    described = compressed(tmp_path / "m.gz", OTHER, b"{'asin': 'i'}", LINES[line].encode())
    counted = forgiving()
    assert metadata(described, ["i"], counted).num_rows == 1
    assert counted.counts["unparsable_lines"] == 1


def test_a_line_without_an_end_is_never_held(tmp_path: Path) -> None:
    """One line of 64 MB between good ones; what is held of it is bounded."""
    path = tmp_path / "r.gz"
    with gzip.open(path, "wb", 1) as stream:
        stream.write(GOODS[0] + b"\n")
        for _ in range(64):
            stream.write(b"[" * (1 << 20))
        stream.write(b"\n" + GOODS[1])
    counted = forgiving()
    tracemalloc.start()
    assert reviews(path, counted).num_rows == 2
    assert tracemalloc.get_traced_memory()[1] < 32 * LONGEST_LINE_BYTES
    tracemalloc.stop()
    assert counted.counts["overlong_lines"] == counted.counts["unparsable_lines"] == 1


@pytest.mark.parametrize("extra", [0, 1])
def test_the_longest_line_is_read(extra: int, tmp_path: Path) -> None:
    line = json.dumps(GOOD).encode()
    padded = line + b" " * (LONGEST_LINE_BYTES - len(line) + extra)
    counted = forgiving()
    assert reviews(compressed(tmp_path / "r.gz", padded, line), counted).num_rows == 2 - extra
    assert counted.counts["overlong_lines"] == extra


# fault: categories of a product -> what is made of them
CATEGORIES: dict[str, tuple[Any, str]] = {
    "paths": ([["Toys", "Games"], ["Other"]], "Toys Games"),
    "one flat path": (["Toys", "Games"], "Toys Games"),
    "a text": ("Toys", "Toys"),
    "a number": ([5], "5"),
    "nothing in a list": ([None], ""),
    "a number among names": ([["Toys", 5, None]], "Toys 5"),
    "a dict": ({"a": 1}, ""),
    "a dict with a name": ({"name": "Toys"}, "Toys"),
    "empty": ([], ""),
    "an empty path": ([[]], ""),
}


@pytest.mark.parametrize("fault", CATEGORIES)
def test_categories(fault: str, tmp_path: Path) -> None:
    value, text = CATEGORIES[fault]
    line = json.dumps({"asin": "i", "title": "t", "categories": value}).encode()
    path = compressed(tmp_path / "m.gz", OTHER, line)
    [item] = metadata(path, ["i"], Reading(0.0, False)).to_pylist()
    assert (item["title"], item["categories"]) == ("t", text)


@pytest.mark.parametrize(
    ("title", "text", "broken"),
    [
        ("a\ud83d\ude00", "a\U0001f600", 1),
        ("a\ud800b", "a\ufffdb", 1),
        (["a", "b"], "a b", 0),
        ("[Import] Hits, Vol. 2", "[Import] Hits, Vol. 2", 0),
        ("&#" + "9" * 5_000 + ";", "&#" + "9" * 5_000 + ";", 0),
        ("&#xD800;", "\ufffd", 0),
    ],
    ids=["a pair", "a half", "a list", "a bracket", "a huge entity", "half an entity"],
)
def test_texts_that_are_none(title: Any, text: str, broken: int, tmp_path: Path) -> None:
    line = repr({"asin": "i", "title": title}).encode()
    counted = forgiving()
    [item] = metadata(compressed(tmp_path / "m.gz", OTHER, line), ["i"], counted).to_pylist()
    assert item["title"] == text
    assert counted.counts["texts_with_broken_characters"] == broken
    assert counted.counts["unparsable_lines"] == 0


@pytest.mark.parametrize("asin", [7.5, ["i"], True, "\udfff", None])
def test_an_item_whose_id_is_no_text_is_skipped(asin: Any, tmp_path: Path) -> None:
    path = compressed(tmp_path / "m.gz", OTHER, json.dumps({"asin": asin}).encode())
    counted = forgiving()
    assert metadata(path, ["i", "None"], counted).num_rows == 0
    assert counted.counts["unparsable_lines"] == (asin is not None)


# ------------------------------------------------------------------------------- a person's tables

CELLS = {
    "an infinite time": ("5", "Infinity"),
    "a time of 1e30": ("5", "1e30"),
    "a time that is NaN": ("5", "NaN"),
    "a time of 400 digits": ("5", "9" * 400),
    "no time": ("5", ""),
    "an infinite rating": ("inf", str(WHEN)),
    "a rating of 1e400": ("1e400", str(WHEN)),
    "a rating that no float32 holds": ("1e39", str(WHEN)),
    "digits of another script": ("\u0663", str(WHEN)),
}
TABLE: dict[str, Any] = dict(user=["who"], item=["what"], rating=["stars"], timestamp=["when"])


def table_of(folder: Path, file: str, reading: Reading) -> pa.Table:
    family = "parquet" if file.endswith("parquet") else "delimited"
    return read_interactions(folder, recipe(file, family, **TABLE), reading)


@pytest.mark.parametrize("fault", CELLS)
@pytest.mark.parametrize("kind", ["csv", "parquet"])
def test_a_row_with_a_number_that_is_none_is_counted(fault: str, kind: str, tmp_path: Path) -> None:
    stars, when = CELLS[fault]
    columns = {
        "who": ["u", "t", "v"], "what": ["i", "h", "j"], "stars": ["4", "3", stars],
        "when": [str(WHEN), str(WHEN), when],
    }  # fmt: skip
    if kind == "csv":
        rows = [",".join(cells) for cells in [tuple(columns), *zip(*columns.values(), strict=True)]]
        (tmp_path / "log.csv").write_text("\n".join(rows), encoding="utf-8")
    else:
        pq.write_table(pa.table(columns), tmp_path / "log.parquet")
    counted = forgiving()
    found = table_of(tmp_path, f"log.{kind}", counted).to_pylist()
    assert [(row["user_id"], row["rating"], row["timestamp"]) for row in found] == [
        ("u", 4.0, WHEN), ("t", 3.0, WHEN)
    ]  # fmt: skip
    assert counted.counts["unparsable_lines"] == 1


ID_COLUMNS: dict[str, tuple[Any, str | list[str | None]]] = {
    "truth values": (pa.array([True, False]), "holds bool values"),
    "lists": (pa.array([["a"], ["b"]]), "holds list<"),
    "bytes": (pa.array([b"a", b"\xff"]), "holds binary values|is not plain text"),
    "times": (pa.array([1, 2], pa.timestamp("s")), "holds timestamp"),
    "structs": (pa.array([{"a": 1}] * 2), "holds struct<"),
    "fractions": (pa.array([1.5, 2.0]), "holds numbers with fractions"),
    "huge floats": (pa.array([1e300, 2.0]), "holds numbers that floats do not hold exactly"),
    "whole numbers": (pa.array([7, 8]), ["7", "8"]),
    "whole numbers with gaps": (pa.array([7.0, float("nan")]), ["7", None]),
    "short floats": (pa.array([7.0, None], pa.float16()), ["7", None]),
    "infinity": (pa.array([7.0, float("inf")]), ["7", None]),
    "categories of texts": (pa.array(["a", "b"]).dictionary_encode(), ["a", "b"]),
}


@pytest.mark.parametrize("kind", ID_COLUMNS)
def test_ids_are_texts_or_whole_numbers(kind: str, tmp_path: Path) -> None:
    values, expected = ID_COLUMNS[kind]
    pq.write_table(
        pa.table({"who": values, "what": ["i", "j"], "stars": ["1", "2"], "when": [WHEN, WHEN]}),
        tmp_path / "log.parquet",
    )
    if isinstance(expected, list):
        found = table_of(tmp_path, "log.parquet", forgiving())
        assert found["user_id"].to_pylist() == expected
    else:
        with pytest.raises(InputError, match=rf"log\.parquet: column 'who' ({expected})"):
            table_of(tmp_path, "log.parquet", forgiving())


MAPPINGS: dict[str, tuple[bytes, str]] = {
    "a list as item": (b'{"u": [["i"]]}', "ids_not_text"),
    "a truth value": (b'{"u": [true]}', "ids_not_text"),
    "a fraction": (b'{"u": [1.5]}', "ids_with_fractions"),
    "half a pair": (rb'{"u": ["\ud800"]}', "ids_with_broken_characters"),
    "half a pair as user": (rb'{"\ud800": ["i"]}', "ids_with_broken_characters"),
    "5,000 digits": (b'{"u": [' + b"9" * 5_000 + b"]}", "not valid JSON"),
    "100,000 brackets": (b"[" * 100_000, "not valid JSON"),
    "other bytes": (b"\xff\xfe", "not valid JSON"),
    "no file": (b"", "there is no such file"),
}


@pytest.mark.parametrize("fault", MAPPINGS)
def test_a_split_of_mappings_with_a_fault_is_refused(fault: str, tmp_path: Path) -> None:
    """An id that is none is counted, and one in a hundred such may be; what is no JSON is not."""
    content, said = MAPPINGS[fault]
    files = {name: [name] for name in ("train", "validation", "test")}
    for name in files:
        (tmp_path / name).write_bytes(b'{"u": [1]}')
    (tmp_path / "test").write_bytes(content)
    if fault == "no file":
        (tmp_path / "test").unlink()
    split = recipe("", "json-baskets", files=files, user=["user"], item=["item"], rating=[],
                   timestamp=[])  # fmt: skip
    counted = forgiving()
    if " " in said:
        with pytest.raises(InputError, match=rf"test: {said}"):
            read_interactions(tmp_path, split, counted)
        return
    assert read_interactions(tmp_path, split, counted).num_rows == 2
    assert (counted.counts[said], counted.counts["unparsable_lines"]) == (1, 1)
    with pytest.raises(InputError, match="test: 1 of 1 lines cannot be read"):
        read_interactions(tmp_path, split, Reading(0.5, False))
