"""Lines of the 2014 release, dirt included, as the preset reads them."""

from __future__ import annotations

import gzip
import hashlib
import json
from pathlib import Path

import pyarrow as pa
import pytest

from lmm4rec.catalogue.raw.catalogue import open_raw
from lmm4rec.catalogue.readers.families import lines as line_families
from lmm4rec.catalogue.readers.reading import Reading
from lmm4rec.errors import InputError
from tests.catalogue.sources.amazon_lines import (
    METADATA,
    REVIEWS,
    WHEN,
    category,
    review,
    reviewed,
)
from tests.catalogue.sources.catalogues import download


def reading(share: float = 0.0, accept_truncated: bool = False) -> Reading:
    return Reading(share, accept_truncated)


def test_reviews_as_json_or_as_python_literals(tmp_path: Path) -> None:
    rows = [review("u1", "i1", 4.0, WHEN + 7), review("u'2", "i2")]
    as_json = category(tmp_path / "a", [json.dumps(row) for row in rows]).interactions(reading())
    as_literals = category(tmp_path / "b", [repr(row) for row in rows]).interactions(reading())
    assert as_json.equals(as_literals)
    assert as_json.select(["user_id", "item_id", "rating", "timestamp"]).to_pylist() == [
        {"user_id": "u1", "item_id": "i1", "rating": 4.0, "timestamp": WHEN + 7},
        {"user_id": "u'2", "item_id": "i2", "rating": 5.0, "timestamp": WHEN},
    ]


def test_lines_are_never_evaluated(tmp_path: Path) -> None:
    """Neither where a file is looked into, nor where it is read."""
    trap = "{'asin': 'i1', 'title': __import__('os').system('touch " + str(tmp_path / "x") + "')}"
    raw = category(tmp_path, reviewed("i1", "i2"), [repr({"asin": "i2", "title": "t"}), trap])
    counted = reading(share=1.0)
    assert raw.items(pa.array(["i1", "i2"]), counted)["item_id"].to_pylist() == ["i2"]
    assert counted.counts["unparsable_lines"] == 1
    assert not (tmp_path / "x").exists()


def test_unparsable_lines_are_counted_up_to_a_share(tmp_path: Path) -> None:
    lines = [json.dumps(review(f"u{number}", "i")) for number in range(97)]
    lines[30:30] = ["{broken", "[]", "(" * 500]
    raw = category(tmp_path, lines)
    counted = reading(share=0.03)
    assert raw.interactions(counted).num_rows == 97
    assert counted.counts["unparsable_lines"] == 3
    with pytest.raises(
        InputError, match=rf"{REVIEWS}: 3 of 100 lines cannot be read \(first: line 31\)"
    ):
        raw.interactions(reading(share=0.029))


def test_a_line_without_time_is_counted_with_them(tmp_path: Path) -> None:
    lines = [json.dumps(review(f"u{number}", "i")) for number in range(9)]
    counted = reading(share=0.1)
    assert category(tmp_path, [*lines, '{"asin": "i"}']).interactions(counted).num_rows == 9
    assert counted.counts["unparsable_lines"] == 1


def test_missing_ids_stay_for_the_next_step_to_count(tmp_path: Path) -> None:
    row = {"overall": 5.0, "unixReviewTime": WHEN, "asin": "i"}
    raw = category(tmp_path, [*reviewed("i"), json.dumps(row)])
    assert raw.interactions(reading())["user_id"].to_pylist() == ["u1", None]


def test_truncated_file(tmp_path: Path) -> None:
    lines = [json.dumps(review(hashlib.sha256(b"%d" % n).hexdigest(), "i")) for n in range(2000)]
    raw = category(tmp_path, lines)
    whole = raw.interactions(reading())
    path = raw.folder / REVIEWS
    path.write_bytes(path.read_bytes()[: path.stat().st_size // 2])
    with pytest.raises(InputError, match=rf"{REVIEWS}: breaks off .*accept_truncated: true"):
        raw.interactions(reading())
    counted = reading(accept_truncated=True)
    part = raw.interactions(counted)
    assert 0 < part.num_rows < 2000 and part.equals(whole.slice(0, part.num_rows))
    assert counted.counts["truncated_files"] == 1
    assert counted.counts["unparsable_lines"] == 0  # the torn line is no line


def test_a_truncated_file_is_known_by_what_is_whole(tmp_path: Path) -> None:
    """Download looks into it too; whether it may be used, preprocess decides."""
    lines = [json.dumps(review(hashlib.sha256(b"%d" % n).hexdigest(), "i")) for n in range(2000)]
    content = gzip.compress("\n".join(lines).encode())
    theirs = tmp_path / "theirs"
    theirs.mkdir()
    (theirs / REVIEWS).write_bytes(content[: len(content) // 2])
    raw = open_raw(download(theirs, tmp_path / "made"))
    assert raw.recipe.preset == "amazon-2014"
    with pytest.raises(InputError, match="breaks off before its end"):
        raw.interactions(reading())


def test_a_file_that_is_damaged_inside(tmp_path: Path) -> None:
    raw = category(tmp_path, reviewed("i1"))
    damaged = bytearray((raw.folder / REVIEWS).read_bytes())
    damaged[-6] ^= 1  # in the checksum
    (raw.folder / REVIEWS).write_bytes(damaged)
    with pytest.raises(InputError, match=rf"{REVIEWS}: not a sound gzip file"):
        raw.interactions(reading())


def test_metadata_fields(tmp_path: Path) -> None:
    full = {
        "asin": "i1",
        "title": "Bread &amp; Butter\n  Dish",
        "brand": "It's",
        "categories": [["Home", "Kitchen"], ["Other"]],
        "description": "line\nline",
        "imUrl": " http://shop/a.jpg ",
        "related": {"also_bought": ["i2"]},
    }
    lines = [repr(full), repr({"asin": "i2"}), repr({"asin": "unwanted"})]
    raw = category(tmp_path, reviewed("i1", "i2", "i3"), lines)
    wanted = pa.array(["i1", "i2", "i3"])
    assert raw.items(wanted, reading()).drop_columns(["group", "is_draft"]).to_pylist() == [
        {
            "item_id": "i1",
            "title": "Bread & Butter Dish",
            "brand": "It's",
            "categories": "Home Kitchen",
            "description": "line line",
        },
        {"item_id": "i2", "title": None, "brand": None, "categories": "", "description": ""},
    ]
    assert raw.pictures(wanted, reading()).table.to_pylist() == [
        {"item_id": "i1", "position": 0, "picture": "http://shop/a.jpg"}
    ]


def test_first_of_a_repeated_asin_is_kept_wherever_its_key_stands(tmp_path: Path) -> None:
    lines = [
        "{'title': 'one', 'asin': 'i1'}",
        "{'asin': 'i1', 'title': 'two'}",
        '{"asin": "i2", "title": "json"}',
        "{'asin': \"i'3\", 'title': 'quoted'}",
    ]
    counted = reading()
    wanted = pa.array(["i1", "i2", "i'3"])
    items = category(tmp_path, reviewed("i1", "i2", "i'3"), lines).items(wanted, counted)
    assert items["title"].to_pylist() == ["one", "json", "quoted"]
    assert counted.counts["repeated_item_rows"] == 1


def test_unwanted_lines_are_not_parsed(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    lines = [repr({"asin": f"i{number}", "title": "t"}) for number in range(50)]
    raw = category(tmp_path, reviewed("i7"), lines)
    parsed = []
    monkeypatch.setattr(
        line_families, "parsed", lambda line: parsed.append(line) or {"asin": "i7", "title": "t"}
    )
    counted = reading()
    assert raw.items(pa.array(["i7"]), counted).num_rows == 1
    assert len(parsed) == 1
    assert len(counted.unwanted) == 49  # known of, all the same


def test_without_metadata_no_item_is_described(tmp_path: Path) -> None:
    rows = [review(f"u{n}", "i1") | {"summary": f"Nice {n}"} for n in range(3)]
    raw = category(tmp_path, [json.dumps(row) for row in rows])
    assert not (raw.folder / METADATA).exists() and raw.recipe.items is None
    assert raw.items(pa.array(["i1"]), reading()).num_rows == 0
