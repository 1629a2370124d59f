"""What texts of columns stand for: ids, ratings, texts, lists and links."""

from __future__ import annotations

import html
import json
import math
import re
import unicodedata
from typing import Any

import pyarrow as pa
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from lmm4rec.catalogue.readers.ids import clean_ids
from lmm4rec.catalogue.readers.links import as_links
from lmm4rec.catalogue.readers.lists import as_lists
from lmm4rec.catalogue.readers.numbers import read_ratings
from lmm4rec.catalogue.readers.texts import clean_text, clean_texts, is_script

WRITABLE = st.characters(codec="utf-8")
TEXTS = st.lists(st.none() | st.text(WRITABLE, max_size=8), max_size=6)


INVISIBLE = re.compile("[\x00\u200b-\u200d\u2060\ufeff]")


@settings(max_examples=100, deadline=None)
@given(ids=TEXTS)
def test_ids_are_trimmed_and_composed_and_nothing_else(ids: list[str | None]) -> None:
    found, changed = clean_ids(pa.array(ids, pa.string()))
    for one, theirs in zip(found.to_pylist(), ids, strict=True):
        if one is None:
            assert theirs is None or not INVISIBLE.sub("", theirs).strip()
        else:
            assert theirs is not None
            seen = INVISIBLE.sub("", theirs)
            assert one == unicodedata.normalize("NFC", seen.strip())
    assert 0 <= changed <= len(ids)


def test_what_nobody_sees_and_how_spreadsheets_keep_text() -> None:
    ids = pa.array(["\ufeffK2007", "SKU\u200b1", "a\x00b", '="00123"', '="', "'7"])
    found, changed = clean_ids(ids)
    assert found.to_pylist() == ["K2007", "SKU1", "ab", "00123", '="', "'7"]
    assert changed == 4


def test_trimmed_ids_are_counted() -> None:
    ids = pa.chunked_array([["crème-3 ", "cre\u0300me-3"], ["007", None, " "]])
    found, changed = clean_ids(ids)
    assert found.to_pylist() == ["crème-3", "crème-3", "007", None, None]
    assert changed == 2


@settings(max_examples=100, deadline=None)
@given(numbers=st.lists(st.floats(-1e30, 1e30) | st.none(), max_size=6))
def test_ratings_are_the_numbers_that_were_written(numbers: list[float | None]) -> None:
    texts = pa.array([None if one is None else repr(one) for one in numbers], pa.string())
    found, is_bad = read_ratings(texts)
    assert found.to_pylist() == numbers
    assert not any(is_bad.to_pylist())


RATINGS: dict[str, tuple[list[str | None], list[float | None], list[bool]]] = {
    "empty is not bad": (["4", "", None, " "], [4.0, None, None, None], [False] * 4),
    "what is no number": (["x", "nan", "inf", "1e39", "--1"], [None] * 5, [True] * 5),
    "decimal commas": (["19,90", "5", ",5"], [19.9, 5.0, 0.5], [False] * 3),
    "points and commas": (["4.5", "3,5"], [4.5, None], [False, True]),
    "thousands or decimals": (["1,024", "2"], [None, 2.0], [True, False]),
    "long ones": (["9" * 400, "0" * 400 + "1"], [None, 1.0], [True, False]),
}


@pytest.mark.parametrize(("texts", "numbers", "bad"), RATINGS.values(), ids=RATINGS.keys())
def test_ratings(texts: list[Any], numbers: list[Any], bad: list[bool]) -> None:
    found, is_bad = read_ratings(pa.array(texts, pa.string()))
    assert found.to_pylist() == numbers
    assert is_bad.to_pylist() == bad
    assert all(one is None or math.isfinite(one) for one in found.to_pylist())


@settings(max_examples=100, deadline=None)
@given(texts=st.lists(st.none() | st.text(WRITABLE, max_size=12), max_size=4))
def test_texts_without_markup_are_unescaped_on_one_line(texts: list[str | None]) -> None:
    texts = [text and text.replace("<", "").replace("\\", "") for text in texts]
    found = clean_texts(pa.array(texts, pa.string()))
    for one, theirs in zip(found.to_pylist(), texts, strict=True):
        if theirs is None:
            assert one is None
        else:
            plain = " ".join(html.unescape(theirs).split())
            assert one == unicodedata.normalize("NFC", plain)


CLEAN = {
    "5 < 10 km/h of wind": "5 < 10 km/h of wind",
    "I <3 it & you": "I <3 it & you",
    "a < b <": "a < b <",
    "price <50 & >20": "price <50 & >20",
    "<p>Made <b>well</b>.</p>\\n<p>Lasts</p>": "Made well. Lasts",
    "one<br/>two<br>three": "one two three",
    "<script>var a = '<b>';</script>Lamp<style>p { a: b }</style>": "Lamp",
    "Cast Iron Pan 12&quot; &amp;amp; lid": 'Cast Iron Pan 12" &amp; lid',
    "&lt;b&gt; is a tag": "<b> is a tag",
    "<!-- no -->yes": "yes",
    '<div title="a > b">t</div>': "t",
    "two\\nlines\\tand\xa0more\u2003blanks": "two lines and more blanks",
    "cre\u0300me": "crème",
    "<span class='x'>Garden</span> Gnome": "Garden Gnome",
    "": "",
    "<br>": "",
}


@pytest.mark.parametrize(("text", "clean"), CLEAN.items(), ids=[repr(one) for one in CLEAN])
def test_markup_is_dropped_and_signs_are_kept(text: str, clean: str) -> None:
    assert clean_texts(pa.array([text, None])).to_pylist() == [clean, None]
    assert clean_text(text) == clean


@pytest.mark.parametrize(
    "text",
    ["<" * 100_000, "&#" + "9" * 5_000 + ";<b>", "<a " * 3_000, "<![" * 1_000, "&" * 100_000],
)
def test_hostile_texts_come_out(text: str) -> None:
    assert isinstance(clean_text(text), str)


def test_titles_that_are_programs() -> None:
    for text in (
        "var aPageStart = (new Date()).getTime();\nvar ue_t0=ue_t0||+new Date();",
        "<script>ue_sid='1'</script>",
        "(function(f) {var _np=(window.P._namespace('x'));",
        ".dp-title { color: #fff; font-size: 12px; }",
    ):
        assert is_script(text)
    for text in (
        '<span id="productTitle" class="a-size-large">Garden Gnome Ole</span>',
        "Function Keyboard (Var. 2)",
        "Windows 7 Documents {2 Pack}",
    ):
        assert not is_script(text)


@settings(max_examples=100, deadline=None)
@given(parts=st.lists(st.text(WRITABLE, min_size=1, max_size=5), max_size=4))
def test_lists_as_json_and_as_python_writes_them(parts: list[str]) -> None:
    expected = [part.strip() for part in parts if part.strip()]
    column = pa.array([json.dumps(parts), json.dumps(parts, ensure_ascii=False), repr(parts)])
    assert as_lists(column).to_pylist() == [expected] * 3


LISTS = {
    "['Home', 'Lighting', None]": ["Home", "Lighting"],
    "[['Kitchen', 'Pans'], ['Sale']]": ["Kitchen", "Pans"],
    "[u'Fun', u\"it's\"]": ["Fun", "it's"],
    "['a' 'b'\n 'c']": ["a", "b", "c"],
    "Home|Lighting|Lamps": ["Home", "Lighting", "Lamps"],
    "Home > Lighting > Lamps": ["Home", "Lighting", "Lamps"],
    "Clothing > Jackets, Sale": ["Clothing", "Jackets", "Sale"],
    "Kitchen, Pans": ["Kitchen", "Pans"],
    "Oak Desk Lamp": ["Oak Desk Lamp"],
    "(no genres listed)": [],
    "[]": [],
    "[[]]": [],
    "[a, b]": ["a", "b"],
    "[1, 2.5, true]": ["1", "2.5"],
    '[{"id": 1, "name": "Action"}]': ["Action"],
}


@pytest.mark.parametrize(("text", "parts"), LISTS.items(), ids=list(LISTS))
def test_lists(text: str, parts: list[str]) -> None:
    assert as_lists(pa.array([text, None, text])).to_pylist() == [parts, [], parts]


def test_prose_is_not_cut() -> None:
    column = pa.array(["Soft, warm > all | else", "['One.', '', 'Two.']"])
    assert as_lists(column, split=False).to_pylist() == [
        ["Soft, warm > all | else"],
        ["One.", "Two."],
    ]


def test_hostile_cells_are_parts_like_any_other() -> None:
    cells = ["[" * 100_000, "[" + "-" * 100_000 + "1]", '["\\ud800"]', "[1", "{" * 5_000]
    assert len(as_lists(pa.array(cells))) == len(as_links(pa.array(cells))) == len(cells)


OBJECTS = [
    {"thumb": "t1", "large": "L1", "variant": "PT01", "hi_res": "H1"},
    {"thumb": "t0", "large": "L0", "variant": "MAIN", "hi_res": None},
]
LINKS = {
    "http://a.invalid/1.jpg": ["http://a.invalid/1.jpg"],
    "http://a.invalid/1.jpg, http://a.invalid/2.jpg": [
        "http://a.invalid/1.jpg",
        "http://a.invalid/2.jpg",
    ],
    "http://a.invalid/1%2C2.jpg,http://b.invalid/2.jpg": [
        "http://a.invalid/1%2C2.jpg",
        "http://b.invalid/2.jpg",
    ],
    "https://a.invalid/w,1/x.jpg": ["https://a.invalid/w,1/x.jpg"],
    "http://a.invalid/1.jpg|http://a.invalid/2.jpg": [
        "http://a.invalid/1.jpg",
        "http://a.invalid/2.jpg",
    ],
    "a.jpg|b.jpg": ["a.jpg", "b.jpg"],
    "a.jpg, b.png": ["a.jpg", "b.png"],
    "Rain, Blue.jpg": ["Rain, Blue.jpg"],
    "['http://a.invalid/1.jpg', 'http://a.invalid/1.jpg', '']": ["http://a.invalid/1.jpg"],
    json.dumps(OBJECTS): ["L0", "H1"],
    repr(OBJECTS): ["L0", "H1"],
    '{"hi_res":["H1",null],"large":["L1","L0"],"variant":["PT01","MAIN"]}': ["L0", "H1"],
    '{"url": "http://a.invalid/1.jpg"}': ["http://a.invalid/1.jpg"],
    '["items/t.parquet#1/image/0", "b.png"]': ["items/t.parquet#1/image/0", "b.png"],
    "[]": [],
    " ": [],
}


@pytest.mark.parametrize(("text", "links"), LINKS.items(), ids=[one[:40] for one in LINKS])
def test_links_with_the_main_one_first(text: str, links: list[str]) -> None:
    assert as_links(pa.array([text, None])).to_pylist() == [links, []]
