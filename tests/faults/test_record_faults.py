"""The table of faults in records: each is a counted skip or one sentence, whoever sent it."""

from __future__ import annotations

import gzip
import json
import tracemalloc
from pathlib import Path
from typing import Any

import pyarrow as pa
import pytest

from lmm4rec.catalogue.raw.interactions import read_interactions
from lmm4rec.catalogue.raw.items import read_items
from lmm4rec.catalogue.readers.reading import Reading
from lmm4rec.catalogue.readers.unpacked import LONGEST_LINE_BYTES
from lmm4rec.errors import InputError
from tests.faults.readers.recipes import WHEN, recipe
from tests.faults.readers.records import forgiving

GOOD = {"reviewerID": "u", "asin": "i", "overall": 5.0, "unixReviewTime": WHEN}
GOODS = [json.dumps(GOOD | {"reviewerID": f"u{number}"}).encode() for number in range(3)]
TEN_TO_400 = 10**400


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
