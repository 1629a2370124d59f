"""The table of faults in a person's tables and documents: counted, or one sentence."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pyarrow as pa
import pyarrow.parquet as pq
import pytest

from lmm4rec.catalogue.raw.interactions import read_interactions
from lmm4rec.catalogue.readers.reading import Reading
from lmm4rec.errors import InputError
from tests.faults.readers.recipes import WHEN, recipe
from tests.faults.readers.records import forgiving

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
