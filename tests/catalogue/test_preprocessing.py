"""Raw tables become a corpus whose every loss is counted."""

import json
from collections import Counter
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import pyarrow as pa
import pyarrow.compute as pc
import pyarrow.parquet as pq
import pytest
from hypothesis import given
from hypothesis import strategies as st

from lmm4rec.catalogue.corpus import read_item_ids, read_split, read_training_view
from lmm4rec.catalogue.pictures.matching import picture_table
from lmm4rec.catalogue.preprocessing import (
    PreprocessParams,
    filtered,
    item_table,
    split_rows,
    write_corpus,
)
from lmm4rec.catalogue.raw.catalogue import RawCatalogue
from lmm4rec.catalogue.raw.pictures import FoundPictures
from lmm4rec.catalogue.raw.recipe import InteractionsRecipe, ItemsRecipe, Recipe
from lmm4rec.catalogue.raw.tables import RAW_INTERACTIONS, RAW_ITEMS
from lmm4rec.catalogue.readers.layout import Layout
from lmm4rec.catalogue.readers.reading import Reading
from lmm4rec.errors import InputError


def params(**changes: Any) -> PreprocessParams:
    values = {
        "maximum_unparsable_share": 0.0,
        "accept_truncated": False,
        "minimum_described_share": 0.0,
        "minimum_pictured_share": 0.0,
        "minimum_rating": None,
        "core": 0,
        "split": "random",
        "split_seed": 1,
        "text_fields": ["title", "brand"],
    }
    return PreprocessParams.model_validate(values | changes)


def raw(*rows: tuple[Any, ...]) -> pa.Table:
    """Rows of (user, item, rating, timestamp[, split[, kind]])."""
    names = ("user_id", "item_id", "rating", "timestamp", "split", "kind")
    padded = [dict(zip(names, (*row, None, None)[:6], strict=True)) for row in rows]
    return pa.Table.from_pylist(padded, schema=RAW_INTERACTIONS)


def item(item_id: str, **fields: Any) -> dict[str, Any]:
    return {"item_id": item_id, "title": "", "brand": "", "is_draft": False} | fields


def recipe(**changes: Any) -> Recipe:
    table = {"files": {"all": ["log.csv"]}, "layout": Layout(family="delimited")}
    interactions = InteractionsRecipe(**table, user=["u"], item=["i"], timestamp=["t"])
    items = ItemsRecipe(files=["items.csv"], layout=Layout(family="delimited"), item=["i"])
    return Recipe(preset=None, interactions=interactions, items=items, pictures=None).model_copy(
        update=changes
    )


@dataclass(frozen=True)
class Listed(RawCatalogue):
    """A raw catalogue that has its tables in hand."""

    log: pa.Table
    described: pa.Table
    pictured: dict[str, list[str]]

    def interactions(self, reading: Reading) -> pa.Table:
        return self.log

    def items(self, bought: pa.Array, reading: Reading) -> pa.Table:
        return self.described

    def pictures(self, items: pa.Array, reading: Reading) -> FoundPictures:
        return FoundPictures(picture_table(self.pictured))


def listed(
    log: pa.Table,
    items: list[dict[str, Any]] | None = None,
    pictures: dict[str, list[str]] | None = None,
    **changes: Any,
) -> Listed:
    table = pa.Table.from_pylist(items or [], schema=RAW_ITEMS)
    return Listed(Path("files"), recipe(**changes), [], log, table, pictures or {})


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
    kept = split_rows(rows, listed(rows), params(split="given"), counts)
    assert kept.select(["user_id", "item_id", "split"]).to_pylist() == [
        {"user_id": "u", "item_id": "i", "split": "train"},
        {"user_id": "u", "item_id": "j", "split": "test"},
    ]
    assert kept["rating"].to_pylist() == [1.0, 1.0]
    assert counts["without_training"] == 1
    with pytest.raises(InputError, match="the source brings no split"):
        split_rows(raw(("u", "i", None, 0)), listed(rows), params(split="given"), Counter())
    with pytest.raises(InputError, match="no user has a training interaction"):
        split_rows(rows.slice(1), listed(rows), params(split="given"), Counter())


def test_texts_are_joined_in_the_order_of_the_parameter_and_cover_every_item() -> None:
    found = [item("b", title="Tent", brand="Acme", group="g"), item("c", brand=" two  parts ")]
    items = pa.Table.from_pylist(found, schema=RAW_ITEMS)
    ids, taken = pa.array(["a", "b", "c"]), pa.chunked_array([["b", "a", "b"]])
    table = item_table(items, ids, taken, ["brand", "title"])
    assert table["item_id"].to_pylist() == ["a", "b", "c"]
    assert table["text"].to_pylist() == ["", "Acme Tent", "two parts"]
    assert table["title"].to_pylist() == ["", "Tent", ""]
    assert table["group"].to_pylist() == [None, "g", None]
    assert table["interactions"].to_pylist() == [1, 2, 0]
    assert item_table(items, ids, taken, [])["text"].to_pylist() == ["", "", ""]


def test_with_kinds_a_pair_keeps_its_strongest_at_its_first_time() -> None:
    rows = raw(
        ("u", "i", 1.0, 3, None, "view"),
        ("u", "i", 5.0, 9, None, "purchase"),
        ("u", "j", 1.0, 4, None, "view"),
    )
    kept = filtered(rows, params(), Counter(), with_kinds=True).sort_by("item_id").to_pylist()
    assert [(row["kind"], row["rating"], row["timestamp"]) for row in kept] == [
        ("purchase", 5.0, 3), ("view", 1.0, 4)
    ]  # fmt: skip


def test_a_temporal_split_without_times_is_refused() -> None:
    rows = raw(*(("u", f"i{number}", None, 0) for number in range(5)))
    untimed = listed(rows, interactions=recipe().interactions.model_copy(update={"timestamp": []}))
    with pytest.raises(InputError, match="split is temporal, but the source brings no times"):
        split_rows(rows, untimed, params(split="temporal"), Counter())


def test_a_given_split_without_validation_draws_it_from_train() -> None:
    rows = [("u", f"i{n}", None, 0, "train") for n in range(4)] + [("u", "t", None, 0, "test")]
    rows += [("v", "i0", None, 0, "train"), ("v", "i1", None, 0, "train")]  # too few to draw from
    counts: Counter[str] = Counter()
    made = split_rows(raw(*rows), listed(raw(*rows)), params(split="given"), counts)
    assert Counter(made["split"].to_pylist()) == {"train": 5, "validation": 1, "test": 1}
    assert counts["validation_drawn_from_train"] == 1
    assert made.filter(pc.equal(made["split"], "validation"))["user_id"].to_pylist() == ["u"]


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
        kept = filtered(raw(*given_rows), params(), Counter())
        return split_rows(kept, listed(kept), params(), Counter())

    assert made(data.draw(st.permutations(rows))).equals(made(rows))


ROWS = [(f"u{user}", f"i{(user + step) % 7}", 4.0, step) for user in range(7) for step in range(5)]


def test_corpus_folder_and_its_counts(tmp_path: Path) -> None:
    items = [item("i0", title="Zero"), item("i1"), item("i3", brand="b")]
    catalogue = listed(raw(*ROWS, (None, "i", 1.0, 1)), items, {"i0": ["http://h/0", "b.jpg"]})
    for name in ("one", "two"):
        (tmp_path / name).mkdir()
        about = write_corpus(catalogue, tmp_path / name, params(core=5))
    assert about == json.loads((tmp_path / "one" / "about.json").read_text())
    assert about["cleaning"]["without_ids"] == 1
    assert (about["users"], about["items"], about["interactions"]) == (7, 7, 35)
    assert about["interactions_by_split"] == {"train": 21, "validation": 7, "test": 7}
    assert about["sparsity"] == pytest.approx(1 - 35 / 49)
    assert (about["items_described"], about["items_without_text"]) == (3, 5)
    assert about["items_sharing_a_text"] == 0
    assert (about["items_with_picture_named"], about["pictures_named"]) == (1, 2)
    view = read_training_view(tmp_path / "one")
    test = read_split(tmp_path / "one", "test", view.user_ids, view.item_ids)
    assert (len(view.train), len(view.validation), len(test)) == (21, 7, 7)
    for file in ("interactions.parquet", "items.parquet", "about.json"):
        assert (tmp_path / "one" / file).read_bytes() == (tmp_path / "two" / file).read_bytes()


def test_items_with_the_same_words_are_counted_and_not_merged(tmp_path: Path) -> None:
    items = [
        item(f"i{number}", title="Same" if number < 3 else f"t{number}") for number in range(7)
    ]
    about = write_corpus(listed(raw(*ROWS), items), tmp_path, params(core=5))
    assert (about["items"], about["items_sharing_a_text"]) == (7, 3)


def test_cold_items_are_counted(tmp_path: Path) -> None:
    rows = raw(("u", "i", None, 0, "train"), ("u", "cold", None, 0, "test"))
    about = write_corpus(listed(rows), tmp_path, params(split="given"))
    assert about["cold_items"] == 1
    assert pq.read_table(tmp_path / "items.parquet")["item_id"].to_pylist() == ["cold", "i"]


@pytest.mark.parametrize("new_arrivals", ["include", "exclude"])
def test_new_arrivals_have_rows_and_are_no_candidates(tmp_path: Path, new_arrivals: str) -> None:
    items = [item("a new one", title="New"), item("i0", title="Zero"), item("i9", title="Nine")]
    rows = [*ROWS, ("u0", "i9", 4.0, 9)]  # i9 was bought, and falls outside the core: it is not new
    catalogue = listed(raw(*rows), items, new_arrivals=new_arrivals)
    about = write_corpus(catalogue, tmp_path, params(core=5))
    table = pq.read_table(tmp_path / "items.parquet")
    known = [f"i{number}" for number in range(7)]
    new = ["a new one"] if new_arrivals == "include" else []
    assert table["item_id"].to_pylist() == known + new  # after all others, whatever it is called
    assert table["interactions"].to_pylist() == [5] * 7 + [0] * len(new)
    assert read_item_ids(tmp_path).to_pylist() == known
    assert (about["items"], about["new_arrivals"]) == (7, len(new))


def test_too_few_described_items_are_refused_with_what_would_join(tmp_path: Path) -> None:
    items = [item(f"0000i{number}", title="t") for number in range(7)]
    with pytest.raises(
        InputError,
        match=r"items\.csv: describes 0 of 7 bought items, fewer than minimum_described_share = "
        r"0\.5 asks for: 7 would be known filled up with zeros to 6 characters \(i0 is 0000i0 "
        r"there\), so that one of the two files has lost how ids are written",
    ):
        write_corpus(listed(raw(*ROWS), items), tmp_path, params(minimum_described_share=0.5))
    items = [item(f"x{number}") for number in range(7)]
    with pytest.raises(
        InputError, match=r"interactions name i0, i1, i2, the table x0, x1, x2; write"
    ):
        write_corpus(listed(raw(*ROWS), items), tmp_path, params(minimum_described_share=0.5))
