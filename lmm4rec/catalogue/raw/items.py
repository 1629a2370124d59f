"""A folder's items by its recipe: texts, groups, and which variant is which product."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Any

import pyarrow as pa
import pyarrow.compute as pc

from lmm4rec.catalogue.raw.doubtful import refuse_shortened
from lmm4rec.catalogue.raw.recipe import IdMap, ItemsRecipe, Recipe
from lmm4rec.catalogue.raw.tables import RAW_ITEMS
from lmm4rec.catalogue.readers.ids import clean_ids
from lmm4rec.catalogue.readers.lists import as_lists
from lmm4rec.catalogue.readers.reading import Reading
from lmm4rec.catalogue.readers.rows import read_rows
from lmm4rec.catalogue.readers.texts import clean_texts, is_script

ITEM = "<item>"  # a column of ids beside those of a file, whatever these are called
# Lists that Amazon and shops keep a text in are parts of it; elsewhere a comma is a comma.
_LIST = r"^\s*\["


def read_items(folder: Path, recipe: Recipe, wanted: pa.Array | None, reading: Reading) -> pa.Table:
    """What the recipe's table says of the wanted items (null: of all), `RAW_ITEMS`, each once."""
    table = recipe.items
    if table is None:
        return RAW_ITEMS.empty_table()
    rows = item_rows(folder, recipe, _columns(table), reading, wanted)
    if wanted is not None:
        chosen = pc.is_in(rows[ITEM], value_set=wanted)
        reading.unwanted.update(pc.unique(rows[ITEM].filter(pc.invert(chosen))).to_pylist())
        rows = rows.filter(chosen)
    firsts, places = _firsts(rows[ITEM].combine_chunks())
    reading.counts["repeated_item_rows"] += 0 if table.continues else rows.num_rows - len(firsts)
    kept = rows.take(firsts)

    def cells(columns: Sequence[str]) -> list[pa.Array]:
        if not table.continues:
            return [kept[column].combine_chunks() for column in columns]
        return [
            _first_filled(rows[column].combine_chunks(), places, len(firsts)) for column in columns
        ]

    nothing = pa.nulls(len(firsts), pa.string())
    title = pc.coalesce(*cells(table.title)) if table.title else nothing
    brand = pc.coalesce(*cells(table.brand)) if table.brand else nothing
    if table.titles_may_be_script:
        title = _without_scripts(title, reading)
    return pa.table(
        {
            "item_id": kept[ITEM],
            "title": clean_texts(_text(title)),
            "brand": clean_texts(_text(brand)),
            "categories": _categories(
                cells(table.categories), cells(table.flags), table, len(firsts)
            ),
            "description": _joined([_text(one) for one in cells(table.description)], len(firsts)),
            "group": pc.coalesce(*cells(table.group)) if table.group else nothing,
            "is_draft": _are_drafts(cells, table, len(firsts)),
        },
        schema=RAW_ITEMS,
    )


def item_rows(
    folder: Path,
    recipe: Recipe,
    columns: list[str],
    reading: Reading,
    wanted: pa.Array | None = None,
) -> pa.Table:
    """Rows of the items table that describe an item, with its id as `ITEM` beside `columns`.

    Where items are products, rows of mere variants are left out.
    """
    table = recipe.items
    assert table is not None
    own = [*table.item, *table.alias, *table.parent, *table.number]
    asked = [*own, *columns]
    paths = [folder / name for name in table.files]
    early = None
    if wanted is not None and len(table.item) == 1 and not (table.is_numbered or table.alias):
        early = (table.item[0], set(wanted.to_pylist()))
    there = list(dict.fromkeys(asked))
    rows = read_rows(paths, table.layout, there, reading, wanted=early, root=folder, ids=own)
    ids, _ = clean_ids(pc.coalesce(*(rows[column] for column in table.item)))
    refuse_shortened(ids, paths[0], table.item)
    if table.is_numbered and recipe.items_by_number is not None:
        ids = translated(ids, folder, recipe.items_by_number, reading)
    if recipe.items_are == "variant" and table.alias:
        skus, _ = clean_ids(pc.coalesce(*(rows[column] for column in table.alias)))
        rows = _carried_texts(rows, ids, columns)
        ids = skus
    rows = rows.append_column(ITEM, ids)
    stays = pc.is_valid(rows[ITEM])
    if table.parent and recipe.items_are == "product":
        stays = pc.and_(stays, pc.is_null(rows[table.parent[0]]))
    return rows.filter(stays)


def products_by_alias(items: pa.Array, folder: Path, recipe: Recipe, reading: Reading) -> pa.Array:
    """What interactions name, a variant's SKU, as the product that it is one of."""
    table = recipe.items
    if table is None or recipe.items_are == "variant" or not (table.alias or table.parent):
        return items
    asked = list(dict.fromkeys([*table.item, *table.alias, *table.parent, *table.number]))
    paths = [folder / name for name in table.files]
    rows = read_rows(paths, table.layout, asked, Reading(1.0, True), root=folder, ids=asked)
    product = _products(rows.to_pylist(), table)
    known = pa.array(list(product), pa.string())
    places = pc.index_in(items, value_set=known)
    theirs = pa.array(list(product.values()), pa.string()).take(places)
    reading.counts["variants_of_products"] = sum(sku != item for sku, item in product.items())
    reading.counts["interactions_of_unknown_variants"] = places.null_count - items.null_count
    return pc.coalesce(theirs, items)


def translated(ids: pa.Array, folder: Path, known: IdMap, reading: Reading) -> pa.Array:
    """Ids in the place of the numbers that stand for them; a number of no id stays."""
    paths = [folder / name for name in known.files]
    rows = read_rows(paths, known.layout, [known.number, known.id], reading, root=folder)
    numbers, _ = clean_ids(rows[known.number])
    theirs, _ = clean_ids(rows[known.id])
    places = pc.index_in(ids, value_set=_whole(numbers))
    return pc.coalesce(_whole(theirs).take(_whole(places)), _whole(ids))


def _products(rows: list[dict[str, Any]], table: ItemsRecipe) -> dict[str, str]:
    """Product by SKU."""
    if table.alias:
        pairs = ((row[table.alias[0]], row[table.item[0]]) for row in rows)
        return {sku.strip(): item.strip() for sku, item in pairs if sku and item}
    by_number = {row[table.number[0]]: row[table.item[0]] for row in rows} if table.number else {}
    found = {}
    for row in rows:
        sku, parent = row[table.item[0]], row[table.parent[0]]
        if sku and parent:
            number = parent.removeprefix("id:").strip() if parent.startswith("id:") else None
            product = parent.strip() if number is None else by_number.get(number)
            if product:
                found[sku.strip()] = product
        elif sku:
            found[sku.strip()] = sku.strip()
    return found


def _columns(table: ItemsRecipe) -> list[str]:
    return [
        *table.title, *table.brand, *table.categories, *table.flags, *table.description,
        *table.group, *([table.drafts.column] if table.drafts else []),
    ]  # fmt: skip


def _are_drafts(
    cells: Callable[[Sequence[str]], list[pa.Array]], table: ItemsRecipe, n: int
) -> pa.Array:
    if table.drafts is None:
        return pa.array([False] * n, pa.bool_())
    values = pa.array(table.drafts.values, pa.string())
    return pc.fill_null(pc.is_in(cells([table.drafts.column])[0], value_set=values), False)


def _firsts(ids: pa.Array) -> tuple[pa.Array, pa.Array]:
    """The first row of each id, and for every row which of these it belongs to."""
    distinct = pc.unique(ids)
    return pc.index_in(distinct, value_set=ids), pc.index_in(ids, value_set=distinct)


def _first_filled(cells: pa.Array, places: pa.Array, n: int) -> pa.Array:
    """Of the cells of each place the first that is not null: [n]."""
    filled = pc.is_valid(cells)
    there, values = places.filter(filled), cells.filter(filled)
    return values.take(pc.index_in(pa.array(range(n), places.type), value_set=there))


def _carried_texts(rows: pa.Table, products: pa.Array, columns: list[str]) -> pa.Table:
    """Variants' rows with what the product's first row says, where they say nothing themselves."""
    products = _whole(products)
    firsts = pc.index_in(products, value_set=products)
    for column in columns:
        cells = rows[column].combine_chunks()
        whole = pc.coalesce(cells, cells.take(firsts))
        rows = rows.set_column(rows.schema.get_field_index(column), column, whole)
    return rows


def _without_scripts(titles: pa.Array, reading: Reading) -> pa.Array:
    is_code = [title is not None and is_script(title) for title in titles.to_pylist()]
    reading.counts["titles_of_script"] = sum(is_code)
    return pc.if_else(pa.array(is_code, pa.bool_()), None, titles)


def _categories(
    named: list[pa.Array], flags: list[pa.Array], table: ItemsRecipe, n: int
) -> pa.Array:
    """Names of all columns and raised flags, with spaces between them."""
    parts = [_spaced(as_lists(one)) for one in named]
    parts += [
        pc.if_else(pc.fill_null(pc.equal(one, "1"), False), pa.scalar(name), None)
        for name, one in zip(table.flags, flags, strict=True)
    ]
    return _joined(parts, n)


def _text(cells: pa.Array) -> pa.Array:
    """A text, of whose parts there may be a list."""
    is_list = pc.fill_null(pc.match_substring_regex(cells, _LIST), False)
    if not pc.any(is_list).as_py():
        return cells
    # what merely begins with a bracket stays whole: [Import] Greatest Hits, Vol. 2
    return pc.if_else(is_list, _spaced(as_lists(cells, split=False)), cells)


def _spaced(lists: pa.Array) -> pa.Array:
    return pc.binary_join(_whole(lists), " ")


def _joined(parts: list[pa.Array], n: int) -> pa.Array:
    """Texts of several columns in one, cleaned."""
    joined = pa.array([""] * n, pa.string())
    for part in parts:
        joined = pc.binary_join_element_wise(joined, pc.fill_null(part, ""), " ")
    return clean_texts(joined)


def _whole(values: pa.Array | pa.ChunkedArray) -> pa.Array:
    return values.combine_chunks() if isinstance(values, pa.ChunkedArray) else values
