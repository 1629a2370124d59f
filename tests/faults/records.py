"""Readers of records, each held against a slow and obvious one: Amazon's lines and a person's CSV.

The references use Python's own csv, json and ast, one value after another.
"""

from __future__ import annotations

import ast
import csv
import gzip
import io
import json
import math
import re
from pathlib import Path
from typing import Any

import pyarrow as pa
from hypothesis import strategies as st

from lmm4rec.catalogue.sources.amazon2014 import read_metadata, read_reviews
from lmm4rec.catalogue.sources.base import Reading
from lmm4rec.catalogue.sources.files import FilesSource
from lmm4rec.params import check_section
from tests.faults.values import (
    ANYTHING,
    BROKEN,
    DEEP,
    NUMBER_TEXTS,
    NUMBERS,
    WORDS,
    Damage,
    Reader,
    damages,
    mostly,
)

IDS_OF = ("user_id", "item_id")
WANTED = ("i1", "i2", "007", "a\0b")
NUMBER = re.compile(r"[+-]?(\d+\.?\d*|\.\d+)([eE][+-]?\d+)?", re.ASCII)


def forgiving() -> Reading:
    return Reading(maximum_unparsable_share=1.0, accept_truncated=True)


# ---------------------------------------------------------------------------------- Amazon's lines

IDS = mostly(st.sampled_from(WANTED) | WORDS, ANYTHING)
REVIEWS = st.fixed_dictionaries(
    {},
    optional={
        "reviewerID": IDS,
        "asin": IDS,
        "overall": mostly(st.integers(1, 5), NUMBERS | NUMBER_TEXTS | ANYTHING),
        "unixReviewTime": mostly(st.integers(0, 2**31), NUMBERS | NUMBER_TEXTS | ANYTHING),
        "reviewText": mostly(WORDS, ANYTHING),
    },
)
ITEMS = st.fixed_dictionaries(
    {"asin": IDS},
    optional={
        "title": mostly(WORDS, ANYTHING | BROKEN),
        "categories": mostly(st.lists(st.lists(WORDS, max_size=3), max_size=2), ANYTHING),
        "description": mostly(WORDS, ANYTHING | BROKEN),
        "imUrl": mostly(WORDS, ANYTHING | BROKEN),
    },
)


def lines(records: st.SearchStrategy[Any], spell: Any) -> st.SearchStrategy[list[bytes]]:
    spelled = records.map(lambda value: spell(value).encode("utf-8", "surrogatepass"))
    other = st.one_of(ANYTHING.map(lambda value: repr(value).encode("utf-8", "surrogatepass")),
                      DEEP.map(str.encode), st.binary(max_size=40))  # fmt: skip
    damaged = st.builds(lambda line, damage: damage(line), spelled, damages())
    return st.lists(mostly(spelled, other | damaged), max_size=6)


def spelled_as_json(value: Any) -> str:
    """Half of them with characters as they are."""
    try:
        return json.dumps(value, ensure_ascii=len(repr(value)) % 2 == 0)
    except ValueError:  # a number of more digits than Python spells
        return "{}"


def spelled_as_literal(value: Any) -> str:
    try:
        return repr(value)
    except ValueError:
        return "{}"


def parsed(line: bytes) -> dict[str, Any] | None:
    """A line's dict by json, or else by ast; None where neither reads one."""
    for parse in (json.loads, ast.literal_eval):
        try:
            value = parse(line.decode("utf-8"))
        except (ValueError, SyntaxError, TypeError, RecursionError, MemoryError):
            continue
        return value if isinstance(value, dict) else None
    return None


def is_text(value: Any) -> bool:
    return isinstance(value, str) and not re.search("[\ud800-\udfff]", value)


def number_of(value: Any) -> float:
    """NaN for what is no number."""
    if type(value) not in (int, float, str):
        return math.nan
    try:
        return float(value)
    except (ValueError, OverflowError):
        return math.nan


def reviews_of(content: bytes) -> list[tuple[Any, ...]]:
    """The reviews that can be used: (user, item, rating, time)."""
    found = []
    for line in content.split(b"\n"):
        review = parsed(line) or {}
        user, item = review.get("reviewerID"), review.get("asin")
        rating, when = review.get("overall"), review.get("unixReviewTime")
        if not all(name is None or is_text(name) for name in (user, item)):
            continue
        whole = when if type(when) is int else number_of(when)
        if abs(number_of(rating)) < 3.4e38 and -(2**63) <= whole < 2**63:
            found.append((user, item, number_of(rating), int(whole)))
    return found


def read_review_lines(folder: Path, case: list[bytes]) -> None:
    content = b"\n".join(case)
    (folder / "reviews.gz").write_bytes(gzip.compress(content, 1))
    reading = forgiving()
    rows = read_reviews(folder / "reviews.gz", reading).to_pylist()
    expected = reviews_of(content)
    names = ("user_id", "item_id", "rating", "timestamp")
    assert [tuple(row[name] for name in names) for row in rows] == expected
    there = sum(1 for line in content.split(b"\n") if line.strip())
    assert reading.counts["unparsable_lines"] == there - len(expected)


def read_item_lines(folder: Path, case: list[bytes]) -> None:
    content = b"\n".join(case)
    (folder / "meta.gz").write_bytes(gzip.compress(content, 1))
    reading = forgiving()
    found = read_metadata(folder / "meta.gz", pa.array(WANTED), reading)["item_id"].to_pylist()
    items = [parsed(line) for line in content.split(b"\n")]
    asins = [item.get("asin") for item in items if item is not None]
    assert found == list(dict.fromkeys(a for a in asins if is_text(a) and a in WANTED))


def read_damaged_gzip(folder: Path, case: tuple[list[bytes], Damage]) -> None:
    content = gzip.compress(b"\n".join(case[0]), 1)
    (folder / "damaged.gz").write_bytes(case[1](content))
    read_reviews(folder / "damaged.gz", forgiving())


# ----------------------------------------------------------------------------------- a person's CSV

COLUMNS = ("who", "what", "stars", "when")
SOURCE = {
    "kind": "files", "revision": 1, "folder": "x", "items": None, "images": None,
    "interactions": {
        "format": "table", "file": "log.csv", "separator": ",", "user": "who", "item": "what",
        "rating": "stars", "timestamp": "when", "split": None,
    },
}  # fmt: skip
CELLS = mostly(WORDS.filter(lambda word: len(word) < 100), st.sampled_from(['"', ",", "\n", "\r"]))
ROWS = st.tuples(CELLS, CELLS, mostly(st.sampled_from("12345"), NUMBER_TEXTS | CELLS),
                 mostly(st.integers(0, 2**31).map(str), NUMBER_TEXTS | CELLS))  # fmt: skip
TORN = st.lists(CELLS, min_size=2, max_size=6)


def files_source(**interactions: Any) -> FilesSource:
    section = {**SOURCE, "interactions": {**SOURCE["interactions"], **interactions}}  # type: ignore[dict-item]
    return check_section(section, FilesSource, "source", Path("params.yaml"))


def written(rows: list[list[str]]) -> str:
    stream = io.StringIO()
    csv.writer(stream, lineterminator="\n").writerows([COLUMNS, *rows])
    return stream.getvalue()


def is_number_below(cell: str, limit: float) -> bool:
    text = cell.strip()
    return bool(NUMBER.fullmatch(text)) and abs(float(text)) < limit


def read_csv(folder: Path, case: list[list[str]]) -> None:
    """Cells of any content, rows of any length."""
    text = written(case)
    (folder / "log.csv").write_text(text, encoding="utf-8", newline="")
    reading = forgiving()
    table = files_source().read_interactions(folder, reading)
    rows = [row for row in csv.reader(io.StringIO(text, newline="")) if row][1:]
    good = [
        row
        for row in rows
        if len(row) == 4 and is_number_below(row[2], 3.4e38) and is_number_below(row[3], 2.0**63)
    ]
    ids = [(row[0] or None, row[1] or None) for row in good]
    assert list(zip(*(table[name].to_pylist() for name in IDS_OF), strict=True)) == ids
    assert reading.counts["unparsable_lines"] == len(rows) - len(good)


def read_damaged_csv(folder: Path, case: tuple[list[list[str]], Damage, bytes]) -> None:
    rows, damage, rest = case
    (folder / "log.csv").write_bytes(damage(written(rows).encode()) + rest)
    files_source().read_interactions(folder, forgiving())


def read_mapping(folder: Path, case: list[Any]) -> None:
    names = ("train", "validation", "test")
    for name, content in zip(names, case, strict=True):
        text = content if isinstance(content, str) else spelled_as_json(content)
        (folder / f"{name}.json").write_bytes(text.encode("utf-8", "surrogatepass"))
    files = {"format": "split-mappings", **{name: f"{name}.json" for name in names}}
    source = check_section({**SOURCE, "interactions": files}, FilesSource, "s", Path("p"))
    found = source.read_interactions(folder, forgiving())
    read = [json.loads((folder / f"{name}.json").read_text(encoding="utf-8")) for name in names]
    expected = [(user, str(item)) for one in read for user, taken in one.items() for item in taken]
    assert list(zip(*(found[name].to_pylist() for name in IDS_OF), strict=True)) == expected
    assert all(is_text(name) and name for pair in expected for name in pair)


TAKEN = mostly(st.lists(WORDS.filter(bool) | st.integers()), st.lists(ANYTHING))
MAPPED = st.dictionaries(mostly(WORDS.filter(bool), BROKEN | WORDS), TAKEN)
READERS = {
    "JSON lines": Reader(lines(REVIEWS, spelled_as_json), read_review_lines),
    "literals": Reader(lines(ITEMS, spelled_as_literal), read_item_lines),
    "gzip": Reader(st.tuples(lines(REVIEWS, spelled_as_json), damages()), read_damaged_gzip),
    "CSV": Reader(st.lists(mostly(ROWS.map(list), TORN), max_size=8), read_csv),
    "damaged CSV": Reader(
        st.tuples(st.lists(ROWS.map(list), max_size=4), damages(), st.binary(max_size=20)),
        read_damaged_csv,
    ),
    "split mappings": Reader(
        st.lists(mostly(MAPPED, DEEP | ANYTHING.filter(lambda x: isinstance(x, list))),
                 min_size=3, max_size=3),
        read_mapping,
    ),
}  # fmt: skip
