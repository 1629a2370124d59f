"""Readers of records, each held against a slow and obvious one.

The references use Python's own csv, json, ast and datetime, one value after another.
"""

from __future__ import annotations

import ast
import csv
import gzip
import io
import json
import re
from pathlib import Path
from typing import Any

from hypothesis import strategies as st

from lmm4rec.catalogue.readers.layout import Layout
from lmm4rec.catalogue.readers.reading import Reading
from lmm4rec.catalogue.readers.recognition import recognise
from lmm4rec.catalogue.readers.rows import column_names, read_rows
from tests.faults.readers.reader import Reader
from tests.faults.readers.values import (
    ANYTHING,
    BROKEN,
    DEEP,
    NUMBER_TEXTS,
    NUMBERS,
    WORDS,
    Damage,
    damages,
    mostly,
    spelled_as_json,
    spelled_as_literal,
)

WANTED = {"i1", "i2", "007", "a\0b"}
JSON, LITERALS = Layout(family="json-lines"), Layout(family="literal-lines")


def forgiving() -> Reading:
    return Reading(maximum_unparsable_share=1.0, accept_truncated=True)


# ------------------------------------------------------------------------------ an object a line

IDS = mostly(st.sampled_from(sorted(WANTED)) | WORDS | st.integers(), ANYTHING)
REVIEW = ("reviewerID", "asin", "overall", "unixReviewTime")
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
ITEM = ("asin", "title", "categories", "imUrl")
ITEMS = st.fixed_dictionaries(
    {"asin": IDS},
    optional={
        "title": mostly(WORDS, ANYTHING | BROKEN),
        "categories": mostly(st.lists(st.lists(WORDS, max_size=3), max_size=2), ANYTHING),
        "imUrl": mostly(WORDS, ANYTHING | BROKEN),
    },
)


def lines(records: st.SearchStrategy[Any], spell: Any) -> st.SearchStrategy[list[bytes]]:
    spelled = records.map(lambda value: spell(value).encode("utf-8", "surrogatepass"))
    other = st.one_of(ANYTHING.map(lambda value: repr(value).encode("utf-8", "surrogatepass")),
                      DEEP.map(str.encode), st.binary(max_size=40))  # fmt: skip
    damaged = st.builds(lambda line, damage: damage(line), spelled, damages())
    return st.lists(mostly(spelled, other | damaged), max_size=6)


def parsed(line: bytes) -> dict[str, Any] | None:
    """A line's dict by json, or else by ast; None where neither reads one."""
    for parse in (json.loads, lambda text: ast.literal_eval(text.strip())):
        try:
            value = parse(line.decode("utf-8"))
        except (ValueError, SyntaxError, TypeError, RecursionError, MemoryError):
            continue
        return value if isinstance(value, dict) else None
    return None


def is_text(value: Any) -> bool:
    return isinstance(value, str) and not re.search("[\ud800-\udfff]", value)


def is_id(value: Any) -> bool:
    return value is None or is_text(value) or type(value) is int


def whole(text: str) -> str:
    """Halves of letters joined where they make a pair, else replaced."""
    return text.encode("utf-16", "surrogatepass").decode("utf-16", "replace")


def shown(value: Any) -> Any:
    """What a cell holds of a value, parsed again: lists and objects as such, numbers by value."""
    if value is None or value == "":
        return None
    if isinstance(value, bool):
        return str(value).lower()
    if isinstance(value, str):
        return whole(value)
    if isinstance(value, int):
        return str(value)
    if isinstance(value, float):
        return repr(value)
    return repr(json.loads(whole(json.dumps(value, ensure_ascii=False))))


def same(cell: str | None, value: Any) -> bool:
    """Whether a cell is what a value should be."""
    expected = shown(value)
    if cell == expected or cell is None or expected is None:
        return cell == expected
    if isinstance(value, float):
        return repr(float(cell)) == expected
    if isinstance(value, list | tuple | dict):
        return repr(json.loads(cell)) == expected
    return False


def usable(line: bytes, columns: tuple[str, ...], ids: set[str]) -> dict[str, Any] | None:
    """A line's object where its ids are ids and its values can be written; else None."""
    value = parsed(line)
    if value is None or not all(is_id(value.get(name)) for name in ids):
        return None
    try:
        for name in columns:
            shown(value.get(name))
    except (ValueError, TypeError, RecursionError):
        return None
    return value


def read_objects(path: Path, case: list[bytes], layout: Layout, columns: tuple[str, ...]) -> None:
    content = b"\n".join(case)
    path.write_bytes(gzip.compress(content, 1))
    ids = {"asin", "reviewerID"} & set(columns)
    reading = forgiving()
    try:
        rows = read_rows([path], layout, columns, reading, ids=ids).to_pylist()
    except Exception as error:
        if "has no column" not in str(error):
            raise
        rows = []  # no line that can be used has it
    there = [line.rstrip(b"\r") for line in content.removeprefix(b"\xef\xbb\xbf").split(b"\n")]
    there = [line for line in there if line.strip()]
    good = [value for line in there if (value := usable(line, columns, ids)) is not None]
    assert len(rows) == (len(good) if rows else 0) and (rows or not any_cell(good, columns))
    for row, value in zip(rows, good, strict=False):
        assert all(same(row[name], value.get(name)) for name in columns), (row, value)
    assert reading.counts["unparsable_lines"] == len(there) - len(good)


def any_cell(values: list[dict[str, Any]], columns: tuple[str, ...]) -> bool:
    """Whether each column is filled somewhere: then there is nothing to refuse."""
    return all(any(shown(value.get(name)) for value in values) for name in columns)


def read_json_lines(folder: Path, case: list[bytes]) -> None:
    read_objects(folder / "reviews.gz", case, JSON, REVIEW)


def read_literals(folder: Path, case: list[bytes]) -> None:
    read_objects(folder / "meta.gz", case, LITERALS, ITEM)


def read_wanted(folder: Path, case: list[bytes]) -> None:
    """Of wanted ids every line, in order; what is passed over is known by its id."""
    (folder / "meta.gz").write_bytes(gzip.compress(b"\n".join(case), 1))
    reading = forgiving()
    rows = read_rows([folder / "meta.gz"], LITERALS, ["asin"], reading, ("asin", WANTED),
                     ids=["asin"])  # fmt: skip
    found = [row["asin"] for row in rows.to_pylist() if row["asin"] is not None]
    asins = [(parsed(line) or {}).get("asin") for line in case]
    expected = [str(asin) for asin in asins if asin is not None and is_id(asin)]
    expected = [asin for asin in expected if asin.strip() in WANTED]
    assert [one for one in found if one.strip() in WANTED] == expected
    assert not reading.unwanted & WANTED


def read_damaged_gzip(folder: Path, case: tuple[list[bytes], Damage]) -> None:
    content = gzip.compress(b"\n".join(case[0]), 1)
    path = folder / "damaged.gz"
    path.write_bytes(case[1](content))
    layout = recognise(path)
    names = column_names(path, layout)
    if names:
        read_rows([path], layout, names, forgiving())


# ------------------------------------------------------------------------------ cells and baskets

COLUMNS = ("who", "what", "stars", "when")
TABLE = Layout(family="delimited", separator=",")
CELLS = mostly(WORDS.filter(lambda word: len(word) < 100), st.sampled_from(['"', ",", "\n", "\r"]))
ROWS = st.tuples(CELLS, CELLS, mostly(st.sampled_from("12345"), NUMBER_TEXTS | CELLS),
                 mostly(st.integers(0, 2**31).map(str), NUMBER_TEXTS | CELLS))  # fmt: skip
TORN = st.lists(CELLS, min_size=2, max_size=6)


def written(rows: list[list[str]]) -> str:
    stream = io.StringIO()
    csv.writer(stream, lineterminator="\n").writerows([COLUMNS, *rows])
    return stream.getvalue()


def read_csv(folder: Path, case: list[list[str]]) -> None:
    """Cells of any content, rows of any length."""
    text = written(case)
    (folder / "log.csv").write_text(text, encoding="utf-8", newline="")
    reading = forgiving()
    table = read_rows([folder / "log.csv"], TABLE, COLUMNS, reading)
    plain = text.replace("\r\n", "\n").replace("\r", " ")  # a lone one ends no line here
    rows = [row for row in csv.reader(io.StringIO(plain, newline="")) if row][1:]
    good = [tuple(cell or None for cell in row) for row in rows if len(row) == len(COLUMNS)]
    assert list(zip(*(table[name].to_pylist() for name in COLUMNS), strict=True)) == good
    assert bool(reading.counts["unparsable_lines"]) == (len(rows) > len(good))


def read_damaged_csv(folder: Path, case: tuple[list[list[str]], Damage, bytes]) -> None:
    rows, damage, rest = case
    path = folder / "log.csv"
    path.write_bytes(damage(written(rows).encode()) + rest)
    layout = recognise(path)
    read_rows([path], layout, column_names(path, layout), forgiving())


BASKETS = Layout(family="baskets", separator="\t", second_separator=" ")
CUT = Layout(family="cut-lines", separator="::")
PIECES = mostly(WORDS.map(lambda word: re.sub(r"\s", "", word)), WORDS)


def read_baskets(folder: Path, case: list[list[str]]) -> None:
    """A user, a tab, items between blanks."""
    content = "\n".join(f"{row[0]}\t{' '.join(row[1:])}" if row else "" for row in case)
    (folder / "pairs.tsv").write_bytes(content.encode())
    reading = forgiving()
    rows = read_rows([folder / "pairs.tsv"], BASKETS, ["user", "item", "position"], reading)
    expected, bad = [], 0
    for line in content.split("\n"):
        line = line.rstrip("\r")
        if not line.encode().strip():
            continue
        if "\t" not in line:
            bad += 1
            continue
        user, _, rest = line.partition("\t")
        items = [item.strip() for item in rest.split(" ") if item.strip()]
        expected += [(user.strip() or None, item, str(k)) for k, item in enumerate(items)]
    found = [(row["user"], row["item"], row["position"]) for row in rows.to_pylist()]
    assert (found, reading.counts["unparsable_lines"]) == (expected, bad)


def read_cut_lines(folder: Path, case: list[str]) -> None:
    """An id, then a text in which :: may stand again."""
    content = "\n".join(case)
    (folder / "text.txt").write_bytes(content.encode())
    reading = forgiving()
    rows = read_rows([folder / "text.txt"], CUT, ["id", "text"], reading).to_pylist()
    there = [line for line in content.split("\n") if line.encode().strip()]
    cut = [line.rstrip("\r").partition("::") for line in there]
    expected = [(one.strip() or None, rest.strip() or None) for one, by, rest in cut if by]
    assert [(row["id"], row["text"]) for row in rows] == expected
    assert reading.counts["unparsable_lines"] == len(there) - len(expected)


READERS = {
    "JSON lines": Reader(lines(REVIEWS, spelled_as_json), read_json_lines),
    "literals": Reader(lines(ITEMS, spelled_as_literal), read_literals),
    "wanted lines": Reader(lines(ITEMS, spelled_as_literal), read_wanted),
    "gzip": Reader(st.tuples(lines(REVIEWS, spelled_as_json), damages()), read_damaged_gzip),
    "CSV": Reader(st.lists(mostly(ROWS.map(list), TORN), max_size=8), read_csv),
    "damaged CSV": Reader(
        st.tuples(st.lists(ROWS.map(list), max_size=4), damages(), st.binary(max_size=20)),
        read_damaged_csv,
    ),
    "baskets": Reader(st.lists(st.lists(PIECES, max_size=4), max_size=5), read_baskets),
    "cut lines": Reader(
        st.lists(st.lists(WORDS, max_size=3).map("::".join) | WORDS, max_size=5), read_cut_lines
    ),
}
