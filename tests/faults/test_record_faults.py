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
from lmm4rec.catalogue.sources.amazon2014 import read_metadata, read_reviews
from lmm4rec.catalogue.sources.files import SplitMappings
from lmm4rec.catalogue.sources.gzip_lines import LONGEST_LINE_BYTES

from lmm4rec.catalogue.sources.base import Reading
from lmm4rec.errors import InputError
from tests.faults.records import files_source, forgiving

GOOD = {"reviewerID": "u", "asin": "i", "overall": 5.0, "unixReviewTime": 1}
TEN_TO_400 = 10**400

# fault: what a review holds instead -> the count that names it
REVIEW_FAULTS: dict[str, tuple[dict[str, Any], str]] = {
    "a whole number as user": ({"reviewerID": 7}, "ids_not_text"),
    "a whole number as item": ({"asin": 7}, "ids_not_text"),
    "a list as item": ({"asin": ["i"]}, "ids_not_text"),
    "a truth value as user": ({"reviewerID": True}, "ids_not_text"),
    "a dict as user": ({"reviewerID": {"a": 1}}, "ids_not_text"),
    "half a surrogate pair in an id": ({"asin": "i\ud800"}, "ids_with_broken_characters"),
    "a time of 1e30": ({"unixReviewTime": 1e30}, "times_out_of_range"),
    "a time of 2**63": ({"unixReviewTime": 2**63}, "times_out_of_range"),
    "a time of 400 digits": ({"unixReviewTime": TEN_TO_400}, "times_out_of_range"),
    "an infinite time": ({"unixReviewTime": float("inf")}, "times_not_numbers"),
    "a time that is NaN": ({"unixReviewTime": float("nan")}, "times_not_numbers"),
    "a time of text": ({"unixReviewTime": "noon"}, "times_not_numbers"),
    "a list as time": ({"unixReviewTime": [1]}, "times_not_numbers"),
    "a truth value as time": ({"unixReviewTime": True}, "times_not_numbers"),
    "a rating of 10**400": ({"overall": TEN_TO_400}, "ratings_not_numbers"),
    "a rating that no float32 holds": ({"overall": 1e39}, "ratings_not_numbers"),
    "a rating that is NaN": ({"overall": float("nan")}, "ratings_not_numbers"),
    "an infinite rating as text": ({"overall": "-inf"}, "ratings_not_numbers"),
    "no rating": ({"overall": None}, "ratings_not_numbers"),
    "a truth value as rating": ({"overall": False}, "ratings_not_numbers"),
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
    path = compressed(tmp_path / "r.gz", json.dumps(GOOD).encode(), line.encode())
    assert read_reviews(path, counted).num_rows == 1
    named = {} if ": nan" in line else {count: 1}  # nor any word for NaN
    assert counted.counts == {"unparsable_lines": 1, **named}
    with pytest.raises(InputError, match=r"r\.gz: 1 of 2 lines cannot be read \(first: line 2\)"):
        read_reviews(path, Reading(0.4, False))


@pytest.mark.parametrize("line", LINES)
def test_a_line_that_no_parser_reads_is_skipped_and_counted(line: str, tmp_path: Path) -> None:
    path = compressed(tmp_path / "r.gz", json.dumps(GOOD).encode(), LINES[line].encode())
    for read in (read_reviews, lambda *given: read_metadata(given[0], pa.array(["i"]), given[1])):
        counted = forgiving()
        assert read(path, counted).num_rows == 1
        assert counted.counts == {"unparsable_lines": 1}


def test_a_line_without_an_end_is_never_held(tmp_path: Path) -> None:
    """One line of 64 MB between two good ones; what is held of it is bounded."""
    path = tmp_path / "r.gz"
    with gzip.open(path, "wb", 1) as stream:
        stream.write(json.dumps(GOOD).encode() + b"\n")
        for _ in range(64):
            stream.write(b"[" * (1 << 20))
        stream.write(b"\n" + json.dumps(GOOD).encode())
    counted = forgiving()
    tracemalloc.start()
    assert read_reviews(path, counted).num_rows == 2
    assert tracemalloc.get_traced_memory()[1] < 8 * LONGEST_LINE_BYTES
    tracemalloc.stop()
    assert counted.counts == {"overlong_lines": 1, "unparsable_lines": 1}


@pytest.mark.parametrize("extra", [0, 1])
def test_the_longest_line_is_read(extra: int, tmp_path: Path) -> None:
    line = json.dumps(GOOD).encode()
    padded = line + b" " * (LONGEST_LINE_BYTES - len(line) + extra)
    counted = forgiving()
    assert read_reviews(compressed(tmp_path / "r.gz", padded, line), counted).num_rows == 2 - extra
    assert counted.counts["overlong_lines"] == extra


# fault: categories of a product -> what is made of them, and how many values were no text
CATEGORIES: dict[str, tuple[Any, str, int]] = {
    "paths": ([["Toys", "Games"], ["Other"]], "Toys Games", 0),
    "one flat path": (["Toys", "Games"], "Toys Games", 0),
    "a text": ("Toys", "Toys", 0),
    "a number": ([5], "", 1),
    "nothing in a list": ([None], "", 0),
    "a number among names": ([["Toys", 5, None]], "Toys", 1),
    "a dict": ({"a": 1}, "", 1),
    "empty": ([], "", 0),
    "an empty path": ([[]], "", 0),
}


@pytest.mark.parametrize("fault", CATEGORIES)
def test_categories(fault: str, tmp_path: Path) -> None:
    value, text, count = CATEGORIES[fault]
    line = json.dumps({"asin": "i", "title": "t", "categories": value}).encode()
    counted = forgiving()
    [item] = read_metadata(
        compressed(tmp_path / "m.gz", line), pa.array(["i"]), counted
    ).to_pylist()
    assert (item["title"], item["categories"]) == ("t", text)
    assert counted.counts["fields_not_text"] == count


@pytest.mark.parametrize(
    ("title", "text", "counts"),
    [
        ("a\ud83d\ude00", "a\U0001f600", {"texts_with_broken_characters": 1}),
        ("a\ud800b", "a\ufffdb", {"texts_with_broken_characters": 1}),
        (["a"], "", {"fields_not_text": 1}),
        ("&#" + "9" * 5_000 + ";", "&#" + "9" * 5_000 + ";", {}),
        ("&#xD800;", "\ufffd", {}),
    ],
)
def test_texts_that_are_none(title: Any, text: str, counts: dict[str, int], tmp_path: Path) -> None:
    path = compressed(tmp_path / "m.gz", repr({"asin": "i", "title": title}).encode())
    counted = forgiving()
    [item] = read_metadata(path, pa.array(["i"]), counted).to_pylist()
    assert item["title"] == text
    assert {name: n for name, n in counted.counts.items() if n} == counts


@pytest.mark.parametrize("asin", [7, ["i"], True, "\udfff", None])
def test_an_item_whose_id_is_no_text_is_skipped(asin: Any, tmp_path: Path) -> None:
    path = compressed(tmp_path / "m.gz", json.dumps({"asin": asin}).encode())
    counted = forgiving()
    assert read_metadata(path, pa.array(["i", "7", "None"]), counted).num_rows == 0
    assert counted.counts["unparsable_lines"] == (asin is not None)


# ------------------------------------------------------------------------------- a person's tables

CELLS = {
    "an infinite time": ("5", "Infinity"),
    "a time of 1e30": ("5", "1e30"),
    "a time that is NaN": ("5", "NaN"),
    "a time of 400 digits": ("5", "9" * 400),
    "an infinite rating": ("inf", "1"),
    "a rating of 1e400": ("1e400", "1"),
    "a rating that no float32 holds": ("1e39", "1"),
    "an empty rating": ("", "1"),
    "digits of another script": ("٣", "1"),
}


@pytest.mark.parametrize("fault", CELLS)
@pytest.mark.parametrize("kind", ["csv", "parquet"])
def test_a_row_with_a_number_that_is_none_is_counted(fault: str, kind: str, tmp_path: Path) -> None:
    stars, when = CELLS[fault]
    columns = {"who": ["u", "v"], "what": ["i", "j"], "stars": ["4", stars], "when": ["7", when]}
    if kind == "csv":
        rows = [",".join(cells) for cells in [tuple(columns), *zip(*columns.values(), strict=True)]]
        (tmp_path / "log.csv").write_text("\n".join(rows), encoding="utf-8")
    else:
        pq.write_table(pa.table(columns), tmp_path / "log.parquet")
    counted = forgiving()
    found = files_source(file=f"log.{kind}").read_interactions(tmp_path, counted).to_pylist()
    assert [(row["user_id"], row["rating"], row["timestamp"]) for row in found] == [("u", 4.0, 7)]
    assert counted.counts["unparsable_lines"] == 1


ID_COLUMNS: dict[str, tuple[Any, str | list[str | None]]] = {
    "truth values": (pa.array([True, False]), "holds bool values"),
    "lists": (pa.array([["a"], ["b"]]), "holds list<"),
    "bytes": (pa.array([b"a", b"\xff"]), "holds binary values|is not plain text"),
    "times": (pa.array([1, 2], pa.timestamp("s")), "holds timestamp"),
    "structs": (pa.array([{"a": 1}] * 2), "is not plain text"),
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
        pa.table({"who": values, "what": ["i", "j"], "stars": ["1", "2"], "when": ["1", "2"]}),
        tmp_path / "log.parquet",
    )
    source = files_source(file="log.parquet")
    if isinstance(expected, list):
        found = source.read_interactions(tmp_path, forgiving())
        assert found["user_id"].to_pylist() == expected
    else:
        with pytest.raises(InputError, match=rf"log\.parquet: column 'who' ({expected})"):
            source.read_interactions(tmp_path, forgiving())


MAPPINGS: dict[str, tuple[bytes, str]] = {
    "a list as item": (b'{"u": [["i"]]}', r"\['i'\] is no id"),
    "a truth value": (b'{"u": [true]}', "True is no id"),
    "nothing": (b'{"u": [null]}', "None is no id"),
    "a fraction": (b'{"u": [1.5]}', "1.5 is no id"),
    "an empty id": (b'{"u": [""]}', "'' is no id"),
    "half a pair": (rb'{"u": ["\ud800"]}', r"'.ud800' is no id"),
    "half a pair as user": (rb'{"\ud800": ["i"]}', r"'.ud800' is no id"),
    "5,000 digits": (b'{"u": [' + b"9" * 5_000 + b"]}", "not valid JSON"),
    "100,000 brackets": (b"[" * 100_000, "not valid JSON"),
    "other bytes": (b"\xff\xfe", "not valid JSON"),
    "no file": (b"", "there is no such file"),
}


@pytest.mark.parametrize("fault", MAPPINGS)
def test_a_split_of_mappings_with_a_fault_is_refused(fault: str, tmp_path: Path) -> None:
    content, sentence = MAPPINGS[fault]
    for name in ("train", "validation", "test"):
        (tmp_path / name).write_bytes(b"{}")
    (tmp_path / "test").write_bytes(content)
    if fault == "no file":
        (tmp_path / "test").unlink()
    files = {name: name for name in ("train", "validation", "test")}
    source = files_source().model_copy(
        update={"interactions": SplitMappings(format="split-mappings", **files)}
    )
    with pytest.raises(InputError, match=rf"test: {sentence}"):
        source.read_interactions(tmp_path, forgiving())
