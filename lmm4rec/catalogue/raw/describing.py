"""What a catalogue was taken for, and what became of it, in lines that a person reads."""

from __future__ import annotations

from collections.abc import Iterator, Sequence

import pyarrow as pa
import pyarrow.compute as pc

from lmm4rec.catalogue.raw.catalogue import RawCatalogue, new_arrivals
from lmm4rec.catalogue.raw.pictures import FoundPictures
from lmm4rec.catalogue.raw.recipe import ItemsRecipe, Recipe
from lmm4rec.catalogue.readers.layout import Layout
from lmm4rec.catalogue.readers.reading import Reading
from lmm4rec.catalogue.summary import labelled

_SEPARATORS = {",": "commas", ";": "semicolons", "\t": "tabs", "|": "bars", "::": "double colons"}


def found_lines(raw: RawCatalogue, name: str) -> list[str]:
    """How the catalogue `name` is read, with counts; the files are read for it."""
    reading = Reading(1.0, True)
    interactions = raw.interactions(reading)
    bought = pc.unique(interactions["item_id"]).drop_null()
    items = raw.items(bought, reading)
    every = pc.unique(pa.chunked_array([*bought_chunks(bought), *items["item_id"].chunks]))
    pictures = raw.pictures(every, reading)
    recipe = raw.recipe
    known_by = f"preset {recipe.preset}" if recipe.preset else "no preset; by names and values"
    lines = [f"{name}: {known_by} (overrule any word of it: datasets.{name}.source)"]
    lines += _interaction_lines(recipe, interactions, reading)
    lines += _item_lines(recipe, bought, items, reading)
    lines += _picture_lines(recipe, bought, pictures)
    if recipe.features:
        lines.append(
            labelled("features", ", ".join(f"{n} ({f.kind})" for n, f in recipe.features.items()))
        )
    lines += [labelled("note", note) for note in recipe.notes]
    return lines


def bought_chunks(ids: pa.Array | pa.ChunkedArray) -> list[pa.Array]:
    return ids.chunks if isinstance(ids, pa.ChunkedArray) else [ids]


def _interaction_lines(recipe: Recipe, read: pa.Table, reading: Reading) -> Iterator[str]:
    table = recipe.interactions
    n_users, n_items = len(pc.unique(read["user_id"])), len(pc.unique(read["item_id"]))
    pairs = read.group_by(["user_id", "item_id"]).aggregate([]).num_rows
    words = [
        _files([name for names in table.files.values() for name in names], table.layout),
        f"user {_named(table.user)} ({n_users:,})",
        f"item {_named(table.item)} ({n_items:,})",
    ]
    if table.timestamp:
        words.append(f"time {_named(table.timestamp)} ({reading.times})")
    words += [
        f"{role} {_named(getattr(table, role))}"
        for role in ("rating", "kind")
        if getattr(table, role)
    ]
    words.append(f"{reading.counts['interaction_rows']:,} rows, {pairs:,} pairs")
    yield labelled("interactions", "   ".join(words))
    if not table.timestamp:
        yield labelled("", "no times: split temporal is not possible")
    if recipe.brings_split:
        sizes = {one["values"]: one["counts"] for one in pc.value_counts(read["split"]).to_pylist()}
        parts = ", ".join(f"{part} {n:,}" for part, n in sizes.items())
        yield labelled("", f"brings a split (preprocess.split: given): {parts}")
    if table.hashed:
        yield labelled("", "users are personal data: only salted sums of them are kept")


def _item_lines(
    recipe: Recipe, bought: pa.Array, items: pa.Table, reading: Reading
) -> Iterator[str]:
    table = recipe.items
    if table is None:
        yield labelled("items", "none: there are no texts")
        return
    ids = items["item_id"].combine_chunks()
    known = pc.sum(pc.is_in(bought, value_set=ids), min_count=0).as_py()
    if recipe.new_arrivals == "include":
        n_new = len(new_arrivals(items, bought))
        drafts = items.num_rows - known - n_new
        more = f"{n_new:,} new" + (f", {drafts:,} left out as drafts" if drafts else "")
    else:
        more = f"{len(reading.unwanted):,} left out that nobody bought"
    words = [
        _files(table.files, table.layout),
        f"item {_named(table.item)}: {known:,} of {len(bought):,} bought, {more}",
        *_roles(table),
    ]
    repeated = reading.counts["repeated_item_rows"]
    yield labelled("items", "   ".join(words))
    if repeated:
        yield labelled("", f"rows that repeat an item (the first of each counts): {repeated:,}")


def _picture_lines(recipe: Recipe, bought: pa.Array, found: FoundPictures) -> Iterator[str]:
    if recipe.pictures is None:
        yield labelled("pictures", "none")
        return
    pictured = pc.unique(found.table["item_id"])
    shown = len(pictured)
    without = len(bought) - pc.sum(pc.is_in(bought, value_set=pictured), min_count=0).as_py()
    where = found.pattern or _named(recipe.pictures.columns) or "a table of pictures"
    counts = f"pictures: {found.table.num_rows:,}   items: {shown:,}   bought, without: {without:,}"
    yield labelled("pictures", f"{where}   {counts}")
    if found.strangers:
        yield labelled(
            "", f"files of no item: {len(found.strangers):,}, {found.strangers[0]} the first"
        )
    if found.not_there:
        first = found.not_there[0]
        yield labelled("", f"named and not there: {len(found.not_there):,}, {first} the first")
    if found.hint:
        yield labelled("", found.hint)


def _roles(table: ItemsRecipe) -> list[str]:
    roles = ("title", "brand", "categories", "flags", "description", "group", "alias", "parent")
    return [f"{role} {_named(getattr(table, role))}" for role in roles if getattr(table, role)]


def _files(names: Sequence[str], layout: Layout) -> str:
    shown = names[0] if len(names) == 1 else f"{names[0]} and {len(names) - 1} more"
    if layout.family != "delimited":
        return f"{shown} ({layout.family})"
    separator = _SEPARATORS.get(layout.separator or "", layout.separator)
    header = "header" if layout.header else "no header"
    return f"{shown} ({separator}, {layout.encoding}, {header})"


def _named(columns: Sequence[str]) -> str:
    return ", ".join(columns)
