"""Raw tables become a corpus whose every loss is counted."""

import json
from collections import Counter
from pathlib import Path
from typing import Any, Literal

import pyarrow as pa
import pyarrow.parquet as pq
import pytest
from hypothesis import given
from hypothesis import strategies as st

from lmm4rec.catalogue.corpus import read_split, read_training_view
from lmm4rec.catalogue.preprocessing import (
    PreprocessParams,
    filtered,
    item_table,
    split_rows,
    write_corpus,
)
from lmm4rec.catalogue.sources.base import RAW_INTERACTIONS, RAW_ITEMS, Reading, Source
from lmm4rec.errors import InputError


def params(**changes: Any) -> PreprocessParams:
    values = {
        "maximum_unparsable_share": 0.0,
        "accept_truncated": False,
        "minimum_rating": None,
        "core": 0,
        "split": "random",
        "split_seed": 1,
        "text_fields": ["title", "brand"],
    }
    return PreprocessParams.model_validate(values | changes)


def raw(*rows: tuple[Any, ...]) -> pa.Table:
    """Rows of (user, item, rating, timestamp[, split])."""
    names = RAW_INTERACTIONS.names
    padded = [dict(zip(names, (*row, None)[:5], strict=True)) for row in rows]
    return pa.Table.from_pylist(padded, schema=RAW_INTERACTIONS)


def item(item_id: str, **fields: Any) -> dict[str, Any]:
    return {"item_id": item_id, "title": "", "brand": "", "image": None} | fields


class Listed(Source):
    """A source that has its tables in hand."""

    kind: Literal["listed"] = "listed"
    revision: int = 1

    def download(self, folder: Path, scratch: Path) -> None:
        raise AssertionError

    def read_interactions(self, folder: Path, reading: Reading) -> pa.Table:
        return pq.read_table(folder / "interactions.parquet")

    def read_items(self, folder: Path, wanted: pa.Array, reading: Reading) -> pa.Table:
        return pq.read_table(folder / "items.parquet")


def test_rows_without_ids_are_dropped_and_counted() -> None:
    counts: Counter[str] = Counter()
    rows = raw((None, "i", 5.0, 1), ("u", None, 5.0, 1), ("", "i", 5.0, 1), ("u", "i", 5.0, 1))
    assert filtered(rows, params(), counts).num_rows == 1
    assert counts["without_ids"] == 3 and counts["raw_interactions"] == 4


def test_first_of_a_repeated_pair_in_time_is_kept() -> None:
    counts: Counter[str] = Counter()
    rows = raw(("u", "i", 1.0, 9), ("u", "i", 2.0, 3), ("u", "j", 3.0, 5), ("v", "i", 4.0, 1))
    kept = filtered(rows, params(), counts).sort_by("rating").to_pylist()
    assert [(row["rating"], row["timestamp"]) for row in kept] == [(2.0, 3), (3.0, 5), (4.0, 1)]
    assert counts["duplicate_interactions"] == 1


def test_repeated_pair_in_two_splits_stays_in_train() -> None:
    rows = raw(("u", "i", None, 0, "test"), ("u", "i", None, 0, "train"))
    assert filtered(rows, params(), Counter())["split"].to_pylist() == ["train"]


def test_rating_threshold_comes_before_the_core() -> None:
    rows = [(f"u{user}", f"i{item}", 5.0, 1) for user in range(3) for item in range(3)]
    rows[0] = ("u0", "i0", 2.0, 1)
    assert filtered(raw(*rows), params(minimum_rating=2.0, core=3), Counter()).num_rows == 9
    with pytest.raises(InputError):  # one low rating unravels the whole 3-core
        filtered(raw(*rows), params(minimum_rating=3.0, core=3), Counter())


def test_nothing_left_says_where_it_went() -> None:
    rows = raw(("u", "i", 1.0, 1), ("u", "j", 5.0, 1), ("u", "j", 5.0, 2), (None, "j", 5.0, 1))
    with pytest.raises(
        InputError,
        match=r"no interactions are left: of 4 rows 1 lack an id, 1 repeat a pair, 1 are rated too "
        "low and 1 fall outside the 2-core; lower preprocess.core or preprocess.minimum_rating",
    ):
        filtered(rows, params(minimum_rating=3.0, core=2), Counter())


def test_rating_threshold_without_ratings() -> None:
    with pytest.raises(InputError, match="minimum_rating needs ratings"):
        filtered(raw(("u", "i", None, 0)), params(minimum_rating=3.0), Counter())


def test_given_split_is_taken_as_it_is_and_needs_training() -> None:
    rows = raw(
        ("u", "i", None, 0, "train"), ("u", "j", None, 0, "test"), ("v", "i", None, 0, "test")
    )
    counts: Counter[str] = Counter()
    kept = split_rows(rows, params(split="given"), counts)
    assert kept.select(["user_id", "item_id", "split"]).to_pylist() == [
        {"user_id": "u", "item_id": "i", "split": "train"},
        {"user_id": "u", "item_id": "j", "split": "test"},
    ]
    assert kept["rating"].to_pylist() == [1.0, 1.0]
    assert counts["without_training"] == 1
    with pytest.raises(InputError, match="the source brings no split"):
        split_rows(raw(("u", "i", None, 0)), params(split="given"), Counter())
    with pytest.raises(InputError, match="no user has a training interaction"):
        split_rows(rows.slice(1), params(split="given"), Counter())


def test_texts_are_joined_in_the_order_of_the_parameter_and_cover_every_item() -> None:
    found = [item("b", title="Tent", brand="Acme", image="l"), item("c", brand=" two  parts ")]
    items = pa.Table.from_pylist(found, schema=RAW_ITEMS)
    wanted = pa.array(["a", "b", "c"])
    table = item_table(items, wanted, ["brand", "title"])
    assert table["item_id"].to_pylist() == ["a", "b", "c"]
    assert table["text"].to_pylist() == ["", "Acme Tent", "two parts"]
    assert table["title"].to_pylist() == ["", "Tent", ""]
    assert table["image"].to_pylist() == [None, "l", None]
    assert item_table(items, wanted, [])["text"].to_pylist() == ["", "", ""]


rows_strategy = st.lists(
    st.tuples(
        st.sampled_from("abcdef"),
        st.sampled_from("rstuvwxyz"),
        st.sampled_from([1.0, 5.0]),
        st.integers(0, 5),
    ),
    min_size=1,
    max_size=80,
)


@given(rows_strategy, st.data())
def test_order_of_rows_does_not_matter(rows: list[tuple[Any, ...]], data: st.DataObject) -> None:
    def made(given_rows: list[tuple[Any, ...]]) -> pa.Table:
        return split_rows(filtered(raw(*given_rows), params(), Counter()), params(), Counter())

    assert made(data.draw(st.permutations(rows))).equals(made(rows))


def test_corpus_folder_and_its_counts(tmp_path: Path) -> None:
    rows = [
        (f"u{user}", f"i{(user + step) % 7}", 4.0, step) for user in range(7) for step in range(5)
    ]
    pq.write_table(raw(*rows, (None, "i", 1.0, 1)), tmp_path / "interactions.parquet")
    items = [item("i0", title="Zero", image="http://h/0"), item("i1"), item("i3", brand="b")]
    pq.write_table(pa.Table.from_pylist(items, schema=RAW_ITEMS), tmp_path / "items.parquet")
    for name in ("one", "two"):
        (tmp_path / name).mkdir()
        about = write_corpus(Listed(), tmp_path, tmp_path / name, params(core=5))
    assert about == json.loads((tmp_path / "one" / "about.json").read_text())
    assert about["cleaning"]["without_ids"] == 1
    assert about["cleaning"]["items_not_described"] == 4
    assert (about["users"], about["items"], about["interactions"]) == (7, 7, 35)
    assert about["interactions_by_split"] == {"train": 21, "validation": 7, "test": 7}
    assert about["sparsity"] == pytest.approx(1 - 35 / 49)
    assert (about["items_without_text"], about["items_without_picture_link"]) == (5, 6)
    view = read_training_view(tmp_path / "one")
    test = read_split(tmp_path / "one", "test", view.user_ids, view.item_ids)
    assert (len(view.train), len(view.validation), len(test)) == (21, 7, 7)
    for file in ("interactions.parquet", "items.parquet", "about.json"):
        assert (tmp_path / "one" / file).read_bytes() == (tmp_path / "two" / file).read_bytes()


def test_cold_items_are_counted(tmp_path: Path) -> None:
    rows = raw(("u", "i", None, 0, "train"), ("u", "cold", None, 0, "test"))
    pq.write_table(rows, tmp_path / "interactions.parquet")
    pq.write_table(RAW_ITEMS.empty_table(), tmp_path / "items.parquet")
    (tmp_path / "out").mkdir()
    about = write_corpus(Listed(), tmp_path, tmp_path / "out", params(split="given"))
    assert about["cold_items"] == 1
    assert pq.read_table(tmp_path / "out" / "items.parquet")["item_id"].to_pylist() == ["cold", "i"]
