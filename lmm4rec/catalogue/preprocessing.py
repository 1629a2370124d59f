"""From a source's raw tables to a corpus: clean, filter, split, write texts, count everything."""

from __future__ import annotations

from collections import Counter
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
    ITEMS_SCHEMA,
    SPLITS,
    sorted_distinct,
    write_items,
)
from lmm4rec.catalogue.sources.base import Reading, Source
from lmm4rec.errors import InputError
from lmm4rec.folders import write_json
from lmm4rec.params import Distinct, Section, Seed
from lmm4rec.tables import rows_of, write_table

TextField = Literal["title", "brand", "categories", "description"]


class PreprocessParams(Section):
    """Section `datasets.<name>.preprocess`."""

    maximum_unparsable_share: float = Field(ge=0, le=1)
    accept_truncated: bool
    minimum_rating: float | None
    core: int = Field(ge=0, le=10_000)
    split: Literal["random", "lattice", "temporal", "given"]
    split_seed: Seed
    text_fields: Annotated[list[TextField], Distinct]


def write_corpus(
    source: Source, raw: Path, folder: Path, params: PreprocessParams
) -> dict[str, Any]:
    """Read the source's files in `raw`, write the corpus into `folder`; returns its about.json."""
    reading = Reading(params.maximum_unparsable_share, params.accept_truncated)
    interactions = filtered(source.read_interactions(raw, reading), params, reading.counts)
    interactions = split_rows(interactions, params, reading.counts)
    wanted = sorted_distinct(interactions["item_id"])
    described = source.read_items(raw, wanted, reading)
    reading.counts["items_not_described"] = len(wanted) - described.num_rows
    items = item_table(described, wanted, params.text_fields)
    write_table(interactions, folder / "interactions.parquet")
    write_items(items, folder)
    about = {
        "protocol": params.model_dump(),
        "source": source.kind,
        "cleaning": dict(reading.counts),
        **_counts(interactions, items),
    }
    write_json(folder / "about.json", about)
    return about


def filtered(raw: pa.Table, params: PreprocessParams, counts: Counter[str]) -> pa.Table:
    """Interactions that survive, in this order: ids present, one row per pair, rating, k-core.

    Of rows that repeat a (user, item) pair the first in time is kept, whatever its rating: it is
    when the user met the item.
    """
    counts["raw_interactions"] = raw.num_rows
    table = _with_ids(raw, counts)
    table = _without_duplicates(table, counts)
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


def split_rows(table: pa.Table, params: PreprocessParams, counts: Counter[str]) -> pa.Table:
    """Sorted interactions with their split, without users that have nothing to train on."""
    if params.split == "given":
        if table["split"].null_count:
            raise InputError(
                "preprocess.split is given, but the source brings no split; name its split column "
                "in source.interactions.split, or choose random, lattice or temporal"
            )
    else:
        users, items = _codes(table["user_id"]), _codes(table["item_id"])
        times = table["timestamp"].to_numpy()
        codes = splits.split(params.split, users, items, times, params.split_seed)
        names = pa.array(SPLITS).take(pa.array(codes))
        table = table.set_column(table.schema.get_field_index("split"), "split", names)
        counts["users_too_short_to_split"] = int(
            (np.bincount(users) < splits.FEWEST_TO_SPLIT).sum()
        )
    trained = pc.unique(table.filter(pc.equal(table["split"], "train"))["user_id"])
    kept = table.filter(pc.is_in(table["user_id"], value_set=trained))
    counts["without_training"] = table.num_rows - kept.num_rows
    if not kept.num_rows:
        raise InputError("no user has a training interaction; look at the split's names in params")
    kept = kept.set_column(
        kept.schema.get_field_index("rating"), "rating", pc.fill_null(kept["rating"], 1.0)
    )
    return kept.sort_by([("user_id", "ascending"), ("item_id", "ascending")]).cast(
        INTERACTIONS_SCHEMA
    )


def item_table(raw: pa.Table, wanted: pa.Array, text_fields: list[TextField]) -> pa.Table:
    """A row per wanted item, in order: title, chosen fields joined by spaces, picture link."""
    rows = rows_of(wanted, raw["item_id"].combine_chunks())
    found = raw.take(pa.array(rows, mask=rows < 0))
    fields = {name: pc.fill_null(found[name], "") for name in ("title", *text_fields)}
    text = pa.array([""] * len(wanted), pa.string())
    for name in text_fields:
        text = pc.binary_join_element_wise(text, fields[name], " ")
    text = pc.utf8_trim_whitespace(pc.replace_substring_regex(text, r"\s+", " "))
    return pa.table([wanted, fields["title"], text, found["image"]], schema=ITEMS_SCHEMA)


def _with_ids(table: pa.Table, counts: Counter[str]) -> pa.Table:
    whole = [pc.fill_null(pc.not_equal(table[name], ""), False) for name in ("user_id", "item_id")]
    kept = table.filter(pc.and_(*whole))
    counts["without_ids"] = table.num_rows - kept.num_rows
    return kept


def _without_duplicates(table: pa.Table, counts: Counter[str]) -> pa.Table:
    users, items = _codes(table["user_id"]), _codes(table["item_id"])
    split = pc.fill_null(pc.index_in(table["split"], value_set=pa.array(SPLITS)), 0).to_numpy()
    rating = pc.fill_null(table["rating"], 0.0).to_numpy()
    order = np.lexsort((-rating, split, table["timestamp"].to_numpy(), items, users))
    is_first = np.ones(len(order), dtype=bool)
    same_user = users[order][1:] == users[order][:-1]
    is_first[1:] = ~(same_user & (items[order][1:] == items[order][:-1]))
    counts["duplicate_interactions"] = int((~is_first).sum())
    return table.take(pa.array(order[is_first]))


def _rated_enough(table: pa.Table, params: PreprocessParams, counts: Counter[str]) -> pa.Table:
    if params.minimum_rating is None:
        counts["below_minimum_rating"] = 0
        return table
    if table["rating"].null_count:
        raise InputError(
            "preprocess.minimum_rating needs ratings and the source brings none; set it to null"
        )
    kept = table.filter(pc.greater_equal(table["rating"], params.minimum_rating))
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
        "items_without_picture_link": items["image"].null_count,
    }
