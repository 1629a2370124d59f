"""Lines of JSON and of Python literals, baskets, and lines that are cut once."""

from __future__ import annotations

import ast
import gzip
import json
import tempfile
from pathlib import Path
from typing import Any

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from lmm4rec.catalogue.readers.layout import Layout
from lmm4rec.catalogue.readers.reading import Reading
from lmm4rec.catalogue.readers.recognition import recognise
from lmm4rec.catalogue.readers.rows import column_names, read_rows
from lmm4rec.catalogue.readers.unpacked import LONGEST_LINE_BYTES
from lmm4rec.errors import InputError
from tests.catalogue.given import FORMATS

JSON, LITERALS = Layout(family="json-lines"), Layout(family="literal-lines")


def reading(share: float = 0.0, *, truncated: bool = False) -> Reading:
    return Reading(maximum_unparsable_share=share, accept_truncated=truncated)


def written(folder: Path, lines: list[str | bytes], name: str = "t.json") -> Path:
    path = folder / name
    rows = [line if isinstance(line, bytes) else line.encode("utf-8") for line in lines]
    path.write_bytes(b"\n".join([*rows, b""]))
    return path


VALUES = st.recursive(
    st.none() | st.booleans() | st.integers(-(10**20), 10**20)
    | st.text(st.characters(codec="utf-8"), max_size=5),
    lambda inner: st.lists(inner, max_size=3)
    | st.dictionaries(st.text(st.characters(codec="utf-8"), max_size=3), inner, max_size=3),
    max_leaves=5,
)  # fmt: skip
KEYS = st.sampled_from(["asin", "a/b", "x.y", "t~t", 'q"q', "it's", "$", "*", "é"])


def as_column(value: Any) -> Any:
    """What a column of text stands for: scalars as their text, the rest parsed again."""
    if value is None or value == "":
        return None
    if isinstance(value, bool):
        return str(value).lower()
    return value if isinstance(value, str) else str(value) if isinstance(value, int) else value


@settings(max_examples=60, deadline=None)
@given(
    items=st.lists(st.dictionaries(KEYS, VALUES, max_size=4), min_size=1, max_size=6),
    family=st.sampled_from(["json-lines", "literal-lines"]),
)
def test_values_come_out_as_they_went_in(items: list[dict[str, Any]], family: Any) -> None:
    names = sorted({key for item in items for key in item})
    if not names:
        return
    write = json.dumps if family == "json-lines" else repr
    with tempfile.TemporaryDirectory() as folder:
        path = written(Path(folder), [write(item) for item in items])
        layout = Layout(family=family)
        assert sorted(column_names(path, layout)) == names
        read = read_rows([path], layout, names, reading())
    for k, item in enumerate(items):
        for name in names:
            found, given = read[name][k].as_py(), as_column(item.get(name))
            if isinstance(given, list | dict):
                assert json.loads(found) == given
            else:
                assert found == given


def test_numbers_of_ids_are_kept(tmp_path: Path) -> None:
    lines: list[str | bytes] = [
        '{"id": 12345678901234567890123, "p": "007"}',
        '{"id": 9007199254740993, "p": "1e5"}',
    ]
    read = read_rows([written(tmp_path, lines)], JSON, ["id", "p"], reading(), ids=["id"])
    assert read["id"].to_pylist() == ["12345678901234567890123", "9007199254740993"]
    assert read["p"].to_pylist() == ["007", "1e5"]


def test_ids_that_are_fractions_are_counted(tmp_path: Path) -> None:
    path = written(tmp_path, ['{"id": 1.5}', '{"id": 1e5}', '{"id": 7}', "{'id': 2.5}"])
    counted = reading(0.9)
    read = read_rows([path], JSON, ["id"], counted, ids=["id"])
    assert read["id"].to_pylist() == ["7"]
    assert counted.counts["ids_with_fractions"] == 3


HOSTILE = [
    b'{"asin": "torn',
    b"[1, 2]",
    b"5",
    b"x",
    b"{" + b'"a": {' * 50_000,
    b"{'a': " + b"-" * 100_000 + b"1}",
    b"{'a': " + b"[" * 100_000 + b"}",
    b"{'a': __import__('os').system('true')}",
    b'{"asin": "\xff"}',
    b"{'a': {1, 2}}",
    b"{'a': b'x'}",
    b"{'a': " + b"9" * 5_000 + b"}",
]


@pytest.mark.parametrize("layout", [JSON, LITERALS], ids=["json", "literals"])
@pytest.mark.parametrize("k", range(len(HOSTILE)))
def test_hostile_lines_are_counted_and_their_neighbours_kept(
    tmp_path: Path, layout: Layout, k: int
) -> None:
    path = written(tmp_path, ['{"asin": "B1", "a": "x"}', HOSTILE[k], "{'asin': 'B2'}"])
    counted = reading(0.5)
    read = read_rows([path], layout, ["asin", "a"], counted)
    rows = read["asin"].to_pylist()
    if counted.counts["unparsable_lines"]:
        assert rows == ["B1", "B2"]
        with pytest.raises(InputError, match=r"1 of 3 lines cannot be read \(first: line 2\)"):
            read_rows([path], layout, ["asin", "a"], reading(0.1))
    else:  # read as what it is
        assert len(rows) == 3 and read["a"][1].as_py() is not None


def test_halves_of_letters(tmp_path: Path) -> None:
    path = written(
        tmp_path,
        [
            '{"id": "a", "t": "\\ud83c\\udf92 \\ud800x"}',
            "{'id': '\\ud800', 't': 'y'}",
            '{"id": "b"}',
        ],
    )
    counted = reading(0.5)
    read = read_rows([path], JSON, ["id", "t"], counted, ids=["id"])
    assert read["id"].to_pylist() == ["a", "b"]
    assert read["t"].to_pylist() == ["🎒 �x", None]
    assert counted.counts["texts_with_broken_characters"] == 1
    assert counted.counts["ids_with_broken_characters"] == 1


@pytest.mark.parametrize("is_last", [True, False])
@pytest.mark.parametrize("size", [LONGEST_LINE_BYTES + 10, 9 << 20])
def test_overlong_lines_are_counted_and_never_parsed(
    tmp_path: Path, size: int, is_last: bool
) -> None:
    long = b'{"a": "' + b"y" * size + b'"}'
    path = written(tmp_path, ['{"a": "1"}', long, *([] if is_last else ['{"a": "2"}'])])
    counted = reading(0.5)
    read = read_rows([path], JSON, ["a"], counted)
    assert read["a"].to_pylist() == ["1"] if is_last else ["1", "2"]
    assert counted.counts["overlong_lines"] == 1
    assert counted.counts["unparsable_lines"] == 1


def test_a_packed_file_that_breaks_off(tmp_path: Path) -> None:
    rows = "\n".join(json.dumps({"id": k, "x": k * 7919 % 1000003}) for k in range(20_000))
    packed = gzip.compress(rows.encode())
    path = tmp_path / "t.json.gz"
    path.write_bytes(packed[: len(packed) * 2 // 3])
    layout = recognise(path)
    with pytest.raises(InputError, match="breaks off before its end"):
        read_rows([path], layout, ["id"], reading())
    counted = reading(truncated=True)
    ids = read_rows([path], layout, ["id"], counted)["id"].to_pylist()
    assert ids == [str(k) for k in range(len(ids))] and 10_000 < len(ids) < 20_000
    assert counted.counts["truncated_files"] == 1


def test_a_packed_file_that_is_damaged(tmp_path: Path) -> None:
    packed = bytearray(gzip.compress(b'{"a": "%d"}\n' % 7 * 50_000))
    packed[len(packed) // 2] ^= 0xFF
    (tmp_path / "t.gz").write_bytes(bytes(packed))
    with pytest.raises(InputError, match="not a sound gzip file"):
        read_rows([tmp_path / "t.gz"], JSON, ["a"], reading(1.0))


@pytest.mark.parametrize("layout", [JSON, LITERALS], ids=["json", "literals"])
def test_lines_that_are_not_wanted_are_passed_over(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, layout: Layout
) -> None:
    write = json.dumps if layout is JSON else repr
    items = [{"asin": f"B{k}", "title": "t"} for k in range(1_000)]
    path = written(tmp_path, [write(item) for item in items] + ["{u'title': u't', u'asin': u'B3'}"])
    parsed: list[str] = []
    plain = ast.literal_eval
    monkeypatch.setattr(ast, "literal_eval", lambda text: parsed.append(text) or plain(text))
    read = read_rows([path], layout, ["title", "asin"], reading(), ("asin", {"B3", "B700"}))
    assert read["asin"].to_pylist() == ["B3", "B700", "B3"]
    assert len(parsed) <= 3


def test_a_wanted_id_is_compared_without_blanks_and_in_nfc(tmp_path: Path) -> None:
    path = written(
        tmp_path, ["{'asin': ' cre\u0300me '}", "{'asin': 'x'}", '{"t": 1, "asin": "x"}']
    )
    for layout in (JSON, LITERALS):
        read = read_rows([path], layout, ["asin"], reading(), ("asin", {"crème"}))
        assert read["asin"].to_pylist() == [" cre\u0300me "]


def test_a_column_that_no_object_has(tmp_path: Path) -> None:
    path = written(tmp_path, ['{"asin": "a", "title": null}', '{"asin": "b"}'])
    assert read_rows([path], JSON, ["title"], reading())["title"].null_count == 2
    with pytest.raises(InputError, match=r"no column 'titel' \(it has asin, title\)"):
        read_rows([path], JSON, ["titel"], reading())


def test_one_of_several_files_may_lack_a_column(tmp_path: Path) -> None:
    first = written(tmp_path, ['{"a": 1}'], "1.json")
    second = written(tmp_path, ['{"a": 2, "b": 3}'], "2.json")
    read = read_rows([first, second], JSON, ["a", "b"], reading())
    assert read["b"].to_pylist() == [None, "3"]


def test_baskets_keep_their_order(tmp_path: Path) -> None:
    microlens = FORMATS / "11_microlens/MicroLens-tiny_pairs.tsv"
    layout = Layout(family="baskets", separator="\t", second_separator=" ")
    read = read_rows([microlens], layout, ["user", "item", "position"], reading())
    assert read.num_rows == 60
    assert read.slice(0, 2).to_pylist() == [
        {"user": "1", "item": "3", "position": "0", "file_number": 0},
        {"user": "1", "item": "5", "position": "1", "file_number": 0},
    ]
    cornac = FORMATS / "09_cornac/context.txt"
    read = read_rows([cornac], recognise(cornac), ["user", "item"], reading())
    assert list(zip(read["user"].to_pylist(), read["item"].to_pylist(), strict=True))[:3] == [
        ("00", "09"),
        ("01", "02"),
        ("01", "03"),
    ]


def test_lines_that_are_cut_once() -> None:
    path = FORMATS / "09_cornac/text.txt"
    layout = Layout(family="cut-lines", separator="::")
    read = read_rows([path], layout, ["id", "text"], reading())
    assert read.num_rows == 9
    assert read["text"][1].as_py().startswith('Cast Iron Pan 12". Heavy pan')
    titles = FORMATS / "11_microlens/MicroLens-tiny_title_en.csv"
    read = read_rows([titles], recognise(titles), ["id", "text"], reading())
    assert read["id"][0].as_py() == "1"  # the byte order mark is no part of it
    assert "Rain Jacket, Blue # summer # 🎒" in read["text"].to_pylist()


def test_lines_of_numbers() -> None:
    path = FORMATS / "09_cornac/item_ids.txt"
    read = read_rows([path], Layout(family="text-lines"), ["row", "text"], reading())
    assert read["row"].to_pylist()[:2] == ["0", "1"]
    assert read["text"].to_pylist()[:2] == ["09", "07"]
