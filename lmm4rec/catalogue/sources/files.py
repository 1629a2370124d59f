"""A person's own catalogue: interactions, and if they have them an items table and pictures.

`folder` is where they lie; every other file name is relative to it. The download stage copies what
is named into the raw folder, so that all later stages are cached. What was read is recorded; a file
that is another by now is read anew once `revision` is raised.
"""

from __future__ import annotations

import json
import reprlib
import shutil
from pathlib import Path
from typing import Annotated, Any, Literal

import pyarrow as pa
import pyarrow.compute as pc
from pydantic import Field, model_validator

from lmm4rec.catalogue.pictures.archive import ARCHIVE, pack_pictures, read_archive_names
from lmm4rec.catalogue.sources.base import (
    RAW_INTERACTIONS,
    RAW_ITEMS,
    TEXT_FIELDS,
    Reading,
    Source,
)
from lmm4rec.catalogue.sources.tabular import MEND, as_numbers, as_plain_text, read_columns
from lmm4rec.catalogue.sources.values import LARGEST_RATING, SECONDS_BEFORE, Fault, as_id
from lmm4rec.doors import reading as reading_file
from lmm4rec.errors import InputError
from lmm4rec.local_files import LocalFiles
from lmm4rec.params import Section, Text

SPLITS = ("train", "validation", "test")


Separator = Annotated[str, Field(min_length=1, max_length=1)]


def _refuse_one_for_two(*splits: str) -> None:
    twice = next((name for name in splits if splits.count(name) > 1), None)
    if twice is not None:
        raise ValueError(f"gives two splits the one name {twice!r}; each needs its own")


class GivenSplit(Section):
    """The column that says which split a row belongs to, and what it calls the three."""

    column: Text
    train: Text
    validation: Text
    test: Text

    @model_validator(mode="after")
    def _tells_splits_apart(self) -> GivenSplit:
        _refuse_one_for_two(self.train, self.validation, self.test)
        return self


class InteractionsTable(Section):
    """A CSV or Parquet file with a row per interaction; values are the names of its columns."""

    format: Literal["table"]
    file: Text
    separator: Separator  # of a CSV's columns; a Parquet file has none
    user: Text
    item: Text
    rating: Text | None
    timestamp: Text | None  # seconds since 1970
    split: GivenSplit | None


class SplitMappings(Section):
    """Three JSON files, each {user: [item, ...]}: a ready split, as many papers publish theirs."""

    format: Literal["split-mappings"]
    train: Text
    validation: Text
    test: Text

    @model_validator(mode="after")
    def _tells_splits_apart(self) -> SplitMappings:
        _refuse_one_for_two(self.train, self.validation, self.test)
        return self


class ItemsTable(Section):
    """A CSV or Parquet file with a row per item; values are the names of its columns."""

    file: Text
    separator: Separator
    item: Text
    title: Text | None
    brand: Text | None
    categories: Text | None
    description: Text | None
    image: Text | None  # http(s) links, used where `images` is null


class FilesSource(Source):
    """What the person has, and where. Null stands for what they have not."""

    kind: Literal["files"]
    folder: Text
    interactions: Annotated[InteractionsTable | SplitMappings, Field(discriminator="format")]
    items: ItemsTable | None
    images: Text | None  # a folder of <item_id>.<extension>

    @property
    def brings_split(self) -> bool:
        return isinstance(self.interactions, SplitMappings) or self.interactions.split is not None

    @property
    def brings_ratings(self) -> bool:
        return isinstance(self.interactions, InteractionsTable) and bool(self.interactions.rating)

    def local_files(self) -> LocalFiles:
        pictures = () if self.images is None else (self.images,)
        return {self.folder: (*self._files().values(), *pictures)}

    def download(self, folder: Path, scratch: Path) -> None:
        theirs = Path(self.folder)
        if not theirs.is_dir():
            raise InputError(f"{theirs}: there is no such folder; correct source.folder")
        for key, name in self._files().items():
            if Path(name).is_absolute() or ".." in Path(name).parts:
                raise InputError(f"{name}: lies outside source.folder; correct source.{key}")
            if not (theirs / name).is_file():
                raise InputError(f"{theirs / name}: there is no such file; correct source.{key}")
            (folder / name).parent.mkdir(parents=True, exist_ok=True)
            shutil.copyfile(theirs / name, folder / name)
        if self.images is not None:
            if not (theirs / self.images).is_dir():
                raise InputError(
                    f"{theirs / self.images}: there is no such folder; correct source.images"
                )
            pack_pictures(theirs / self.images, [Path()], folder / ARCHIVE)

    def read_interactions(self, folder: Path, reading: Reading) -> pa.Table:
        if isinstance(self.interactions, SplitMappings):
            return read_mappings(folder, self.interactions)
        return read_interactions_table(folder, self.interactions, reading)

    def read_items(self, folder: Path, wanted: pa.Array, reading: Reading) -> pa.Table:
        if self.items is None:
            items = RAW_ITEMS.empty_table()
        else:
            items = read_items_table(folder, self.items, wanted, reading)
        return items if self.images is None else _with_pictures(items, wanted, folder / ARCHIVE)

    def _files(self) -> dict[str, str]:
        """File name by parameter."""
        if isinstance(self.interactions, SplitMappings):
            files = {f"interactions.{name}": getattr(self.interactions, name) for name in SPLITS}
        else:
            files = {"interactions.file": self.interactions.file}
        return files if self.items is None else {**files, "items.file": self.items.file}


def read_interactions_table(folder: Path, table: InteractionsTable, reading: Reading) -> pa.Table:
    """The person's interactions; rows whose numbers do not parse are counted and left out."""
    columns = {"user": table.user, "item": table.item}
    optional = {"rating": table.rating, "timestamp": table.timestamp}
    columns |= {key: name for key, name in optional.items() if name is not None}
    if table.split is not None:
        columns["split.column"] = table.split.column
    path = folder / table.file
    read = read_columns(path, table.separator, columns, "source.interactions", reading)
    n = read.num_rows
    rating, bad_rating = as_numbers(read, "rating", LARGEST_RATING)
    timestamp, bad_timestamp = as_numbers(read, "timestamp", SECONDS_BEFORE)
    timestamp = pc.cast(pc.floor(pc.fill_null(timestamp, 0.0)), pa.int64())
    split = pa.nulls(n, pa.string()) if table.split is None else _splits(read, table.split, path)
    whole = pa.table([read["user"], read["item"], rating, timestamp, split], RAW_INTERACTIONS)
    bad = pc.or_(bad_rating, bad_timestamp)
    first = _first_bad(read, {"rating": bad_rating, "timestamp": bad_timestamp})
    reading.unparsable(path, pc.sum(bad, min_count=0).as_py(), n, first)
    return whole.filter(pc.invert(bad))


def read_mappings(folder: Path, files: SplitMappings) -> pa.Table:
    """{user: [item, ...]} of the three splits as one table; JSON numbers become decimal ids."""
    users: list[str] = []
    items: list[str] = []
    splits: list[str] = []
    for split in SPLITS:
        path = folder / getattr(files, split)
        for user, taken in _read_mapping(path).items():
            users.extend([_mapped_id(user, path)] * len(taken))
            items.extend(_mapped_id(item, path) for item in taken)
            splits.extend([split] * len(taken))
    ratings, zeros = pa.nulls(len(users), pa.float64()), pa.array([0] * len(users), pa.int64())
    return pa.table([users, items, ratings, zeros, splits], schema=RAW_INTERACTIONS)


def read_items_table(
    folder: Path, table: ItemsTable, wanted: pa.Array, reading: Reading
) -> pa.Table:
    """The wanted items' texts; of an id that stands twice the first row is kept."""
    fields = {name: getattr(table, name) for name in (*TEXT_FIELDS, "image")}
    columns = {"item": table.item, **{key: name for key, name in fields.items() if name}}
    read = read_columns(folder / table.file, table.separator, columns, "source.items", reading)
    read = read.filter(pc.is_in(read["item"], value_set=wanted))
    first = pc.index_in(wanted, value_set=read["item"].combine_chunks()).drop_null()
    reading.counts["duplicate_items"] += read.num_rows - len(first)
    kept = read.take(first)
    texts = [as_plain_text(kept, name) for name in TEXT_FIELDS]
    image = kept["image"] if table.image else pa.nulls(kept.num_rows, pa.string())
    return pa.table([kept["item"], *texts, image], schema=RAW_ITEMS)


def _first_bad(read: pa.Table, bad: dict[str, pa.Array]) -> str:
    for key, is_bad in bad.items():
        row = pc.index(is_bad, True).as_py()
        if row >= 0:
            return f"row {row + 1}, {key} {read[key][row].as_py()!r} is no number"
    return ""


def _splits(read: pa.Table, split: GivenSplit, path: Path) -> pa.ChunkedArray:
    theirs = pa.array([split.train, split.validation, split.test])
    codes = pc.index_in(read["split.column"], value_set=theirs)
    if codes.null_count:
        stranger = read["split.column"].filter(pc.is_null(codes))[0].as_py()
        raise InputError(
            f"{path}: column {split.column!r} holds {stranger!r}, which is none of "
            f"{theirs.to_pylist()}; name the three splits in source.interactions.split"
        )
    return pa.chunked_array([pa.array(SPLITS).take(codes.combine_chunks())])


def _read_mapping(path: Path) -> dict[str, list[Any]]:
    with reading_file(path, "valid JSON", MEND):
        content = json.loads(path.read_text(encoding="utf-8"))
    if not isinstance(content, dict) or not all(isinstance(v, list) for v in content.values()):
        raise InputError(f"{path}: expected {{user: [item, ...]}}; {MEND}")
    return content


def _mapped_id(value: Any, path: Path) -> str:
    """A text, or the decimals of a whole number."""
    try:
        found = as_id(str(value) if type(value) is int else value)
    except Fault:
        found = None
    if not found:
        raise InputError(
            f"{path}: {reprlib.repr(value)} is no id; ids are texts or whole numbers: {MEND}"
        )
    return found


def _with_pictures(items: pa.Table, wanted: pa.Array, archive: Path) -> pa.Table:
    """Items joined with the archive's pictures: one row for each item that has either."""
    by_item: dict[str, str] = {}
    for name in read_archive_names(archive):
        by_item.setdefault(name.rpartition(".")[0], name)
    described = set(items["item_id"].to_pylist())
    bare = [item for item in wanted.to_pylist() if item in by_item and item not in described]
    rows = pa.table({"item_id": pa.array(bare, pa.string())})
    items = pa.concat_tables([items, rows], promote_options="default")
    links = pa.array([by_item.get(item) for item in items["item_id"].to_pylist()], pa.string())
    return items.set_column(items.schema.get_field_index("image"), "image", links)
