"""The corpus: who took what, in which split, and the text of every item.

Folder format: `interactions.parquet` (user_id, item_id, kind, rating, timestamp, split),
`items.parquet` (item_id, title, text, image, group, interactions) and `about.json` (counts,
protocol). The pictures of the items are in `picture_sources.parquet` (item_id, position, picture: a
row a picture, none for an item without), their ids once more in `item_ids.parquet` (item_id): files
of their own, so that DVC, to which each file is an output, sees what a stage reads, and another
text trains no model of ids and decodes no picture again. Ids are strings; rows of all tables are
sorted, so user and item rows (positions in the sorted distinct ids) are the same in every stage.
Users without a training interaction never enter a corpus; items without one do (cold items).

New arrivals, described items that nobody ever bought, come in `items.parquet` after all others and
stand in `new_arrivals.parquet` (item_id): they have features, and are no candidates of evaluation.
"""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path

import numpy as np
import pyarrow as pa
import pyarrow.compute as pc
from numpy.typing import NDArray

from lmm4rec.errors import InputError
from lmm4rec.tables import read_table, rows_of, write_table

SPLITS = ("train", "validation", "test")
ITEM_IDS = "item_ids.parquet"
NEW_ARRIVALS = "new_arrivals.parquet"
PICTURE_SOURCES = "picture_sources.parquet"

INTERACTIONS_SCHEMA = pa.schema(
    [
        ("user_id", pa.string()),
        ("item_id", pa.string()),
        ("kind", pa.string()),  # view, purchase, ...; null where the source tells none apart
        ("rating", pa.float32()),
        ("timestamp", pa.int64()),  # seconds since 1970; 0 where the source has none
        ("split", pa.string()),
    ]
)
ITEMS_SCHEMA = pa.schema(
    [
        ("item_id", pa.string()),
        ("title", pa.string()),
        ("text", pa.string()),  # what text encoders read; may be empty
        ("image", pa.string()),  # the main one of its pictures; null where there is none
        ("group", pa.string()),  # the product that it is a variant of; null where none is known
        ("interactions", pa.int64()),  # of all splits; 0: a new arrival
    ]
)
PICTURES_SCHEMA = pa.schema(
    [
        ("item_id", pa.string()),
        ("position", pa.int32()),  # 0, 1, ... of an item's pictures: the main one first
        ("picture", pa.string()),  # an http(s) link, or a name in the archive of pictures
    ]
)


@dataclass(frozen=True)
class Pairs:
    """Interactions of one split as row numbers: users [n] and items [n], int32."""

    users: NDArray[np.int32]
    items: NDArray[np.int32]

    def __len__(self) -> int:
        return len(self.users)


@dataclass(frozen=True)
class TrainingView:
    """All that a recommender may see: training and validation, never the test split."""

    user_ids: pa.Array  # [U], sorted
    item_ids: pa.Array  # [I], sorted
    train: Pairs
    validation: Pairs

    @property
    def n_users(self) -> int:
        return len(self.user_ids)

    @property
    def n_items(self) -> int:
        return len(self.item_ids)


def read_training_view(folder: Path) -> TrainingView:
    """Open a corpus for training. Test interactions are dropped before anything else is read."""
    table = _interactions(folder)
    table = table.filter(pc.not_equal(table["split"], "test"))
    user_ids = sorted_distinct(table.filter(pc.equal(table["split"], "train"))["user_id"])
    item_ids = read_item_ids(folder)
    return TrainingView(
        user_ids,
        item_ids,
        train=_pairs(table, "train", user_ids, item_ids, folder),
        validation=_pairs(table, "validation", user_ids, item_ids, folder),
    )


def read_split(folder: Path, split: str, user_ids: pa.Array, item_ids: pa.Array) -> Pairs:
    """One split as rows into the given ids; evaluation opens the test split with it."""
    return _pairs(_interactions(folder), split, user_ids, item_ids, folder)


def read_item_ids(folder: Path) -> pa.Array:
    """All item ids of the corpus, sorted: cold items are candidates too."""
    ids = read_table(folder / ITEM_IDS, ["item_id"], "preprocess")["item_id"]
    return ids.combine_chunks()


def read_all_item_ids(folder: Path) -> pa.Array:
    """The ids of `items.parquet` in its order: those of the corpus, then the new arrivals."""
    new = read_table(folder / NEW_ARRIVALS, ["item_id"], "preprocess")["item_id"]
    return pa.concat_arrays([read_item_ids(folder), new.combine_chunks()])


def read_picture_sources(folder: Path) -> pa.Table:
    """Where the items' pictures are: `PICTURES_SCHEMA`, by item in row order, then by position."""
    return read_table(folder / PICTURE_SOURCES, PICTURES_SCHEMA.names, "preprocess")


def read_items(folder: Path) -> pa.Table:
    """The items table, in row order."""
    return read_table(folder / "items.parquet", ITEMS_SCHEMA.names, "preprocess")


def write_items(items: pa.Table, pictures: pa.Table, folder: Path) -> None:
    """The items (`ITEMS_SCHEMA` without `image`, new arrivals last), ids alone, and pictures.

    Of `pictures` (`PICTURES_SCHEMA`, in any order) those of other items are left out.
    """
    ids = items["item_id"].combine_chunks()
    image = main_pictures(pictures, ids)
    is_new = pc.equal(items["interactions"], 0)
    whole = items.append_column("image", image).select(ITEMS_SCHEMA.names).cast(ITEMS_SCHEMA)
    write_table(whole, folder / "items.parquet")
    write_table(items.select(["item_id"]).filter(pc.invert(is_new)), folder / ITEM_IDS)
    write_table(items.select(["item_id"]).filter(is_new), folder / NEW_ARRIVALS)
    own = pictures.filter(pc.is_in(pictures["item_id"], value_set=ids))
    rows = own.append_column("row", pc.index_in(own["item_id"], value_set=ids))
    kept = rows.sort_by([("row", "ascending"), ("position", "ascending")])
    kept = kept.select(PICTURES_SCHEMA.names).cast(PICTURES_SCHEMA)
    write_table(kept.combine_chunks(), folder / PICTURE_SOURCES)


def main_pictures(pictures: pa.Table, item_ids: pa.Array) -> pa.Array:
    """The picture at each item's first position, null without one: column `image` of the items."""
    ordered = pictures.sort_by([("item_id", "ascending"), ("position", "ascending")])
    rows = pc.index_in(item_ids, value_set=ordered["item_id"].combine_chunks())
    return ordered["picture"].combine_chunks().take(rows)


def sorted_distinct(ids: pa.ChunkedArray) -> pa.Array:
    """Distinct ids in ascending (byte) order."""
    distinct = pc.unique(ids)
    return distinct.take(pc.sort_indices(distinct))


def _interactions(folder: Path) -> pa.Table:
    columns = ["user_id", "item_id", "split"]
    return read_table(folder / "interactions.parquet", columns, "preprocess")


def _pairs(
    table: pa.Table, split: str, user_ids: pa.Array, item_ids: pa.Array, folder: Path
) -> Pairs:
    part = table.filter(pc.equal(table["split"], split))
    users, items = rows_of(part["user_id"], user_ids), rows_of(part["item_id"], item_ids)
    for name, rows in (("user_id", users), ("item_id", items)):
        if (rows < 0).any():
            stranger = part[name][int(np.argmax(rows < 0))].as_py()
            raise InputError(
                f"{folder}: {name} {stranger!r} of the {split} split is unknown to the rest of the "
                "corpus; run stage preprocess again"
            )
    return Pairs(users.astype(np.int32), items.astype(np.int32))
