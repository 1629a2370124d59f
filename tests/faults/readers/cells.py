"""Readers of documents and of single columns: dates, numbers, lists; and a whole folder of them."""

from __future__ import annotations

import ast
import datetime
import json
import math
import re
import shutil
from pathlib import Path
from typing import Any

import pyarrow as pa
from hypothesis import strategies as st

from lmm4rec.catalogue.raw.catalogue import open_raw
from lmm4rec.catalogue.readers.ids import clean_ids
from lmm4rec.catalogue.readers.layout import Layout
from lmm4rec.catalogue.readers.links import as_links
from lmm4rec.catalogue.readers.lists import as_lists
from lmm4rec.catalogue.readers.numbers import read_ratings
from lmm4rec.catalogue.readers.recognition import recognise
from lmm4rec.catalogue.readers.rows import column_names, read_rows
from lmm4rec.catalogue.readers.texts import clean_texts
from lmm4rec.catalogue.readers.times import read_times
from lmm4rec.catalogue.sources import FolderSource
from lmm4rec.errors import InputError
from tests.faults.readers.reader import Reader
from tests.faults.readers.records import (
    COLUMNS,
    ROWS,
    forgiving,
    is_id,
    shown,
    spelled_as_json,
    spelled_as_literal,
    written,
)
from tests.faults.readers.values import (
    ANYTHING,
    BROKEN,
    DEEP,
    NUMBER_TEXTS,
    WORDS,
    Damage,
    damages,
    mostly,
)

NUMBER = re.compile(r"[+-]?(\d+\.?\d*|\.\d+)([eE][+-]?\d+)?", re.ASCII)

# -------------------------------------------------------------------------------------- documents

BASKETS = Layout(family="json-baskets")
TAKEN = mostly(st.lists(WORDS.filter(bool) | st.integers()), st.lists(ANYTHING))
MAPPED = st.dictionaries(mostly(WORDS.filter(bool), BROKEN | WORDS), TAKEN)


def read_mapping(folder: Path, case: Any) -> None:
    """{user: [item, ...]}: pairs whose ids are none are counted, the others come in order."""
    path = folder / "train.json"
    text = case if isinstance(case, str) else spelled_as_json(case)
    path.write_bytes(text.encode("utf-8", "surrogatepass"))
    reading = forgiving()
    ids = ["user", "item"]
    rows = read_rows([path], BASKETS, ids, reading, ids=ids).to_pylist()
    content = json.loads(path.read_text(encoding="utf-8"))
    pairs = [(user, item) for user, taken in content.items() for item in taken]
    good = [pair for pair in pairs if is_id(pair[0]) and is_id(pair[1])]
    assert [(row["user"], row["item"]) for row in rows] == [(shown(u), shown(i)) for u, i in good]
    assert reading.counts["unparsable_lines"] == len(pairs) - len(good)


def read_document(folder: Path, case: tuple[Any, Damage]) -> None:
    """Any JSON there is: known for what it is, or refused."""
    content, damage = case
    text = content if isinstance(content, str) else spelled_as_json(content)
    path = folder / "some.json"
    path.write_bytes(damage(text.encode("utf-8", "surrogatepass")))
    layout = recognise(path)
    names = column_names(path, layout)
    if names:
        read_rows([path], layout, names, forgiving())


# --------------------------------------------------------------------------------- single columns

DAYS = st.datetimes(datetime.datetime(1950, 1, 1), datetime.datetime(2100, 1, 1))
FORMS = ("%Y-%m-%d %H:%M:%S", "%Y-%m-%dT%H:%M:%SZ", "%d.%m.%Y %H:%M", "%m/%d/%Y", "%Y%m%d",
         "%d-%b-%Y", "%b %d, %Y")  # fmt: skip


@st.composite
def dates(draw: st.DrawFn) -> tuple[str, list[str]]:
    form = draw(st.sampled_from(FORMS))
    days = st.builds(lambda day: day.strftime(form), DAYS)
    odd = st.sampled_from(["", "2023-02-30", "31.02.2023", "soon", "99.99.9999", "٣.٣.٢٠٢٣"])
    return form, draw(st.lists(mostly(days, odd | NUMBER_TEXTS), max_size=8))


def read_dates(folder: Path, case: tuple[str, list[str]]) -> None:
    """What strptime reads by the form that most have; where it reads fewer than half, anything."""
    form, texts = case
    times = read_times(pa.array(texts, pa.string()), folder / "t.csv")
    found = times.seconds.to_pylist()
    assert times.is_bad.to_pylist() == [one is None for one in found]
    expected = [_seconds(text, form) for text in texts]
    if 2 * sum(one is not None for one in expected) <= len(texts):
        return
    for text, seconds, wanted in zip(texts, found, expected, strict=True):
        if wanted is not None:
            assert seconds == wanted, (text, seconds, wanted)
        elif not re.match(r"\s*[\d.+-]", text):
            assert seconds is None, text


def _seconds(text: str, form: str) -> int | None:
    if not text.isascii():
        return None
    try:
        day = datetime.datetime.strptime(text, form)
    except ValueError:
        return None
    return int(day.replace(tzinfo=datetime.UTC).timestamp())


def read_numbers(folder: Path, case: list[str]) -> None:
    """Decimal points alone: a number is what the pattern says and a float32 holds."""
    numbers, is_bad = read_ratings(pa.array(case, pa.string()))
    pairs = zip(case, numbers.to_pylist(), is_bad.to_pylist(), strict=True)
    for text, number, bad in pairs:
        cell = text.strip()
        if "," in "".join(case):
            assert number is None or math.isfinite(number)
            continue
        good = bool(NUMBER.fullmatch(cell)) and abs(float(cell)) < 3.4e38
        assert (number, bad) == (float(cell) if good else None, bool(cell) and not good), cell


CELLS = st.one_of(
    WORDS,
    st.lists(WORDS, max_size=3).map("|".join),
    st.lists(WORDS, max_size=3).map(", ".join),
    st.lists(WORDS, max_size=3).map(spelled_as_json),
    st.lists(WORDS, max_size=3).map(spelled_as_literal),
    st.lists(ANYTHING, max_size=3).map(spelled_as_json),
    st.dictionaries(WORDS, ANYTHING, max_size=3).map(spelled_as_json),
    DEEP,
).filter(lambda cell: cell.isascii() or max(cell) < "\ud800")


def read_lists(folder: Path, case: list[str]) -> None:
    """Lists of texts that json or ast read are those texts; none is null or empty."""
    column = pa.array(case, pa.string())
    for cell, found in zip(case, as_lists(column).to_pylist(), strict=True):
        assert all(found)
        value = _list(cell)
        if value is not None and all(isinstance(one, str) for one in value):
            stripped = [one.strip() for one in value]
            assert found == [one for one in stripped if one], cell
    assert all(all(one) for one in as_links(column).to_pylist())
    texts = clean_texts(column).to_pylist()
    assert not any("\n" in text or "  " in text for text in texts)
    ids, _ = clean_ids(column)
    assert clean_ids(ids)[0].equals(ids)


def _list(cell: str) -> list[Any] | None:
    for parse in (json.loads, ast.literal_eval):
        try:
            value = parse(cell.strip())
        except (ValueError, SyntaxError, TypeError, RecursionError, MemoryError):
            continue
        return value if isinstance(value, list) else None
    return None


# ---------------------------------------------------------------------------------- a whole folder


def read_folder(folder: Path, case: tuple[list[list[str]], Damage, list[bytes]]) -> None:
    """Damaged tables without a word said of them: found out, or refused."""
    rows, damage, lines = case
    theirs, raw = folder / "theirs", folder / "raw"
    for one in (theirs, raw):
        shutil.rmtree(one, ignore_errors=True)
        one.mkdir()
    named = dict(zip(COLUMNS, ("user", "item", "rating", "time"), strict=True))
    text = written(rows)
    for column, name in named.items():
        text = text.replace(column, name, 1)
    (theirs / "log.csv").write_bytes(damage(text.encode()))
    (theirs / "items.json").write_bytes(b"\n".join(lines))
    FolderSource(folder=str(theirs)).download(raw, folder / "scratch", folder / "salt")
    opened = open_raw(raw)
    found = opened.interactions(forgiving())
    bought = found["item_id"].unique().drop_null()
    if not len(bought):
        raise InputError("nothing was bought")
    items = opened.items(bought, forgiving())
    assert items["item_id"].null_count == 0
    assert len(items["item_id"].unique()) == items.num_rows
    opened.pictures(bought, forgiving())


DESCRIBED = st.builds(
    lambda item, title: json.dumps({"item": item, "title": title}).encode(), WORDS, WORDS
)
CONTENTS = DEEP | ANYTHING.filter(lambda value: value is None or isinstance(value, list | dict))
READERS = {
    "split mappings": Reader(
        mostly(MAPPED, DEEP | ANYTHING.filter(lambda x: isinstance(x, list))), read_mapping
    ),
    "documents": Reader(st.tuples(mostly(MAPPED, CONTENTS), damages()), read_document),
    "dates": Reader(dates(), read_dates),
    "numbers": Reader(
        st.lists(mostly(st.integers(1, 5).map(str), NUMBER_TEXTS | WORDS), max_size=8), read_numbers
    ),
    "lists": Reader(st.lists(CELLS, max_size=6), read_lists),
    "folders": Reader(
        st.tuples(
            st.lists(ROWS.map(list), max_size=5),
            damages(),
            st.lists(mostly(DESCRIBED, st.binary(max_size=20)), max_size=4),
        ),
        read_folder,
    ),
}
