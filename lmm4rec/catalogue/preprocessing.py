"""From a source's raw tables to a corpus: clean, filter, split, write texts, count everything."""

from __future__ import annotations

from collections import Counter
from dataclasses import replace
from pathlib import Path
from typing import Annotated, Any, Literal

import numpy as np
import pyarrow as pa
import pyarrow.compute as pc
from numpy.typing import NDArray
from pydantic import Field

from lmm4rec.catalogue import splits
from lmm4rec.catalogue.corpus import (
    INTERACTIONS_SCHEMA,
    SPLITS,
    sorted_distinct,
    write_items,
)
from lmm4rec.catalogue.coverage import Coverage, refuse_undescribed, refuse_unpictured
from lmm4rec.catalogue.raw.catalogue import RawCatalogue, new_arrivals
from lmm4rec.catalogue.raw.doubtful import alike, told
from lmm4rec.catalogue.raw.pictures import FoundPictures
from lmm4rec.catalogue.readers.reading import Reading
from lmm4rec.errors import InputError
from lmm4rec.folders import write_json
from lmm4rec.params import Distinct, Section, Seed
from lmm4rec.tables import rows_of, write_table

TextField = Literal["title", "brand", "categories", "description"]
Share = Annotated[float, Field(ge=0, le=1)]


class PreprocessParams(Section):
    """Section `datasets.<name>.preprocess`."""

    maximum_unparsable_share: Share
    accept_truncated: bool
    minimum_described_share: Share
    minimum_pictured_share: Share
    minimum_rating: float | None
    core: int = Field(ge=0, le=10_000)
    split: Literal["random", "lattice", "temporal", "given"]
    split_seed: Seed
    text_fields: Annotated[list[TextField], Distinct]


def write_corpus(raw: RawCatalogue, folder: Path, params: PreprocessParams) -> dict[str, Any]:
    """Read the raw catalogue, write the corpus into `folder`; returns its about.json."""
    reading = Reading(params.maximum_unparsable_share, params.accept_truncated)
    read = raw.interactions(reading)
    ever_bought = pc.unique(read["item_id"])
    interactions = filtered(read, params, reading.counts, with_kinds=bool(raw.recipe.kinds))
    interactions = split_rows(interactions, raw, params, reading.counts)
    bought = sorted_distinct(interactions["item_id"])
    described = raw.items(bought, reading)
    new = _new_items(raw, described, ever_bought, reading.counts)
    ids = pa.concat_arrays([bought, new])
    pictures = _pictures_of(
        raw, ids, pa.chunked_array([ever_bought, *described["item_id"].chunks]), reading
    )
    only = _only_described(described, reading, ever_bought)
    coverage = Coverage(bought, described["item_id"], pictures, only)
    if raw.recipe.items is not None:
        refuse_undescribed(coverage, raw, params.minimum_described_share)
    if raw.recipe.pictures is not None:
        refuse_unpictured(coverage, raw, params.minimum_pictured_share)
    items = item_table(described, ids, interactions["item_id"], params.text_fields)
    write_table(interactions, folder / "interactions.parquet")
    write_items(items, pictures.table, folder)
    about = {
        "protocol": params.model_dump(),
        "read_as": raw.recipe.model_dump(mode="json", exclude_defaults=True),
        "times": reading.times,
        "alike": {
            "users": told(alike(pc.unique(interactions["user_id"]))),
            "items": told(alike(bought)),
        },
        "cleaning": dict(reading.counts),
        **_counts(interactions, items.filter(pc.greater(items["interactions"], 0))),
        **coverage.counts(new),
    }
    write_json(folder / "about.json", about)
    return about


def filtered(
    raw: pa.Table, params: PreprocessParams, counts: Counter[str], *, with_kinds: bool = False
) -> pa.Table:
    """Interactions that survive, in this order: ids present, one row per pair, rating, k-core.

    Of rows that repeat a (user, item) pair the first in time is kept, whatever its rating: it is
    when the user met the item. With kinds the strongest is kept, at the pair's first time.
    """
    counts["raw_interactions"] = raw.num_rows
    table = _with_ids(raw, counts)
    table = _without_duplicates(table, counts, with_kinds)
    table = _rated_enough(table, params, counts)
    users, items = _codes(table["user_id"]), _codes(table["item_id"])
    before = table.num_rows
    table = table.filter(pa.array(splits.k_core(users, items, params.core)))
    counts["outside_core"] = before - table.num_rows
    if not table.num_rows:
        raise InputError(
            f"no interactions are left: of {counts['raw_interactions']} rows "
            f"{counts['without_ids']} lack an id, "
            f"{counts['duplicate_interactions']} repeat a pair, "
            f"{counts['below_minimum_rating']} are rated too low and "
            f"{counts['outside_core']} fall outside the {params.core}-core; "
            "lower preprocess.core or preprocess.minimum_rating"
        )
    return table


def split_rows(
    table: pa.Table, raw: RawCatalogue, params: PreprocessParams, counts: Counter[str]
) -> pa.Table:
    """Sorted interactions with their split, without users that have nothing to train on."""
    if params.split == "given":
        table = _given_split(table, params, counts)
    else:
        _refuse_untimed(raw, params)
        users, items = _codes(table["user_id"]), _codes(table["item_id"])
        times = table["timestamp"].to_numpy()
        codes = splits.split(params.split, users, items, times, params.split_seed)
        table = _with_split(table, codes)
        counts["users_too_short_to_split"] = int(
            (np.bincount(users) < splits.FEWEST_TO_SPLIT).sum()
        )
    trained = pc.unique(table.filter(pc.equal(table["split"], "train"))["user_id"])
    kept = table.filter(pc.is_in(table["user_id"], value_set=trained))
    counts["without_training"] = table.num_rows - kept.num_rows
    if not kept.num_rows:
        raise InputError("no user has a training interaction; look at the split's names in params")
    if kept["rating"].null_count == kept.num_rows:  # there are none: what was taken counts alike
        ones = pc.fill_null(kept["rating"], 1.0)
        kept = kept.set_column(kept.schema.get_field_index("rating"), "rating", ones)
    else:
        counts["unrated"] = kept["rating"].null_count
    kept = kept.sort_by([("user_id", "ascending"), ("item_id", "ascending")])
    return kept.select(INTERACTIONS_SCHEMA.names).cast(INTERACTIONS_SCHEMA)


def item_table(
    raw: pa.Table, ids: pa.Array, taken: pa.ChunkedArray, text_fields: list[TextField]
) -> pa.Table:
    """A row per id, in order: title, chosen fields joined by spaces, how often it is `taken`."""
    rows = rows_of(ids, raw["item_id"].combine_chunks())
    found = raw.take(pa.array(rows, mask=rows < 0))
    fields = {name: pc.fill_null(found[name], "") for name in ("title", *text_fields)}
    text = pa.array([""] * len(ids), pa.string())
    for name in text_fields:
        text = pc.binary_join_element_wise(text, fields[name], " ")
    text = pc.utf8_trim_whitespace(pc.replace_substring_regex(text, r"\s+", " "))
    times = np.bincount(rows_of(taken, ids), minlength=len(ids))
    names = ["item_id", "title", "text", "group", "interactions"]
    return pa.table([ids, fields["title"], text, found["group"], times], names=names)


def _only_described(described: pa.Table, reading: Reading, ever_bought: pa.Array) -> int:
    """How many described items nobody ever bought, those included that were passed over."""
    known = set(described["item_id"].to_pylist()) | reading.unwanted
    return len(known - set(ever_bought.to_pylist()))


def _pictures_of(
    raw: RawCatalogue, ids: pa.Array, known: pa.ChunkedArray, reading: Reading
) -> FoundPictures:
    """Pictures of the corpus's items; those of other known items are no strangers."""
    found = raw.pictures(pc.unique(pa.concat_arrays([ids, *known.chunks])).drop_null(), reading)
    own = found.table.filter(pc.is_in(found.table["item_id"], value_set=ids))
    return replace(found, table=own)


def _new_items(
    raw: RawCatalogue, described: pa.Table, ever_bought: pa.Array, counts: Counter[str]
) -> pa.Array:
    """Sorted ids of items that are described and were never bought; none where those stay out."""
    if raw.recipe.new_arrivals == "exclude":
        return pa.array([], pa.string())
    new = new_arrivals(described, ever_bought)
    counts["drafts"] = pc.sum(described["is_draft"], min_count=0).as_py()
    return new.take(pc.sort_indices(new))


def _given_split(table: pa.Table, params: PreprocessParams, counts: Counter[str]) -> pa.Table:
    if table["split"].null_count:
        raise InputError(
            "preprocess.split is given, but the source brings no split; name its split column in "
            "source.interactions.split or its files as source.interactions.file: {train: ..., "
            "validation: ..., test: ...}, or choose random, lattice or temporal"
        )
    if pc.any(pc.equal(table["split"], "validation")).as_py():
        return table
    codes = pc.index_in(table["split"], value_set=pa.array(SPLITS)).to_numpy().astype(np.int64)
    users, items = _codes(table["user_id"]), _codes(table["item_id"])
    drawn = splits.draw_validation(users, items, codes == splits.TRAIN, params.split_seed)
    codes[drawn] = splits.VALIDATION
    counts["validation_drawn_from_train"] = int(drawn.sum())
    return _with_split(table, codes)


def _refuse_untimed(raw: RawCatalogue, params: PreprocessParams) -> None:
    if params.split == "temporal" and not raw.recipe.interactions.timestamp:
        raise InputError(
            "preprocess.split is temporal, but the source brings no times, so that the last of a "
            "user is anybody's guess; name their column in source.interactions.timestamp, or "
            "choose random or lattice"
        )


def _with_split(table: pa.Table, codes: NDArray[np.int64]) -> pa.Table:
    names = pa.array(SPLITS).take(pa.array(codes))
    return table.set_column(table.schema.get_field_index("split"), "split", names)


def _with_ids(table: pa.Table, counts: Counter[str]) -> pa.Table:
    whole = [pc.fill_null(pc.not_equal(table[name], ""), False) for name in ("user_id", "item_id")]
    kept = table.filter(pc.and_(*whole))
    counts["without_ids"] = table.num_rows - kept.num_rows
    return kept


def _without_duplicates(table: pa.Table, counts: Counter[str], with_kinds: bool) -> pa.Table:
    users, items = _codes(table["user_id"]), _codes(table["item_id"])
    split = pc.fill_null(pc.index_in(table["split"], value_set=pa.array(SPLITS)), 0).to_numpy()
    rating = pc.fill_null(table["rating"], 0.0).to_numpy()
    times = table["timestamp"].to_numpy()
    keys = (split, times, -rating) if with_kinds else (-rating, split, times)
    order = np.lexsort((*keys, items, users))
    is_first = np.ones(len(order), dtype=bool)
    same_user = users[order][1:] == users[order][:-1]
    is_first[1:] = ~(same_user & (items[order][1:] == items[order][:-1]))
    counts["duplicate_interactions"] = int((~is_first).sum())
    kept = table.take(pa.array(order[is_first]))
    if with_kinds and len(order):
        earliest = np.minimum.reduceat(times[order], np.flatnonzero(is_first))
        at = kept.schema.get_field_index("timestamp")
        kept = kept.set_column(at, "timestamp", pa.array(earliest))
    return kept


def _rated_enough(table: pa.Table, params: PreprocessParams, counts: Counter[str]) -> pa.Table:
    if params.minimum_rating is None:
        counts["below_minimum_rating"] = 0
        return table
    if table["rating"].null_count == table.num_rows:
        raise InputError(
            "preprocess.minimum_rating needs ratings and the source brings none; set it to null"
        )
    rated = pc.fill_null(pc.greater_equal(table["rating"], params.minimum_rating), False)
    kept = table.filter(rated)
    counts["below_minimum_rating"] = table.num_rows - kept.num_rows
    return kept


def _codes(ids: pa.ChunkedArray) -> NDArray[np.int64]:
    """Each id's position among the sorted distinct ids: [n]."""
    return rows_of(ids, sorted_distinct(ids))


def _counts(interactions: pa.Table, items: pa.Table) -> dict[str, Any]:
    trained = interactions.filter(pc.equal(interactions["split"], "train"))
    n_users, n_items = len(pc.unique(interactions["user_id"])), items.num_rows
    sizes = Counter(interactions["split"].to_pylist())
    return {
        "users": n_users,
        "items": n_items,
        "interactions": interactions.num_rows,
        "interactions_by_split": {name: sizes[name] for name in SPLITS},
        "sparsity": round(1 - interactions.num_rows / (n_users * n_items), 8),
        "cold_items": n_items - len(pc.unique(trained["item_id"])),
        "items_without_text": int(pc.sum(pc.equal(items["text"], "")).as_py()),
        "items_sharing_a_text": _sharing_a_text(items["text"].to_pylist()),
    }


def _sharing_a_text(texts: list[str]) -> int:
    """How many items' text is another's too, word by word; they are counted and never merged."""
    seen = Counter(text for text in texts if text)
    return sum(count for count in seen.values() if count > 1)
