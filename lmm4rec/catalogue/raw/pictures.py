"""A folder's pictures by its recipe: which item each shows, in which order, and who has none."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, field
from pathlib import Path
from urllib.parse import urlsplit

import pyarrow as pa
import pyarrow.compute as pc

from lmm4rec.catalogue.corpus import PICTURES_SCHEMA
from lmm4rec.catalogue.pictures.images import is_link
from lmm4rec.catalogue.pictures.listed import locate_listed
from lmm4rec.catalogue.pictures.matching import match_pictures
from lmm4rec.catalogue.raw.items import ITEM, item_rows
from lmm4rec.catalogue.raw.recipe import PicturesRecipe, PictureTable, Recipe
from lmm4rec.catalogue.readers.ids import clean_ids
from lmm4rec.catalogue.readers.links import as_links
from lmm4rec.catalogue.readers.reading import Reading
from lmm4rec.catalogue.readers.rows import read_rows

_LAST = 1 << 30  # the place of a picture whose row names none


@dataclass(frozen=True)
class FoundPictures:
    """Pictures of the wanted items, and what else there is."""

    table: pa.Table  # `PICTURES_SCHEMA`: item_id, position, picture; sorted by item, then position
    pattern: str | None = None  # how files are named: photos/**/<item>_<k>.jpg
    strangers: tuple[str, ...] = ()  # files of no item of the catalogue
    not_there: tuple[str, ...] = ()  # named, and neither a link nor among the files
    hint: str | None = None  # why few were found, where that can be seen


@dataclass
class _Gathered:
    """Per item, what rows name as its pictures, with the place that they give them."""

    places: dict[str, list[tuple[int, int, list[str]]]] = field(default_factory=dict)

    def add(self, item: str, place: int, pictures: list[str]) -> None:
        rows = self.places.setdefault(item, [])
        rows.append((place, len(rows), pictures))

    def table(self) -> pa.Table:
        items = sorted(self.places)
        lists = [[one for *_, row in sorted(self.places[item]) for one in row] for item in items]
        kind = pa.list_(pa.string())
        return pa.table(
            {"item_id": pa.array(items, pa.string()), "pictures": pa.array(lists, kind)}
        )


def read_pictures(
    folder: Path, recipe: Recipe, names: Sequence[str], items: pa.Array, reading: Reading
) -> FoundPictures:
    """The pictures of `items` (distinct ids) among links and the archive's `names`."""
    pictures = recipe.pictures
    if pictures is None:
        return FoundPictures(PICTURES_SCHEMA.empty_table())
    if pictures.by_name:
        matched = match_pictures(names, items.to_pylist())
        return FoundPictures(matched.table, matched.pattern, matched.strangers, hint=matched.hint)
    if pictures.table is not None:
        listed = _of_table(folder, pictures.table, recipe, items, reading)
    else:
        listed = _of_items(folder, pictures, recipe, items)
    if pictures.links_are_packed:
        listed = _last_parts(listed)
    located = locate_listed(listed, names)
    return FoundPictures(located.table, None, located.strangers, located.not_there)


def _of_items(folder: Path, pictures: PicturesRecipe, recipe: Recipe, items: pa.Array) -> pa.Table:
    """What columns of the items table name."""
    columns = [*pictures.columns, *pictures.position]
    wanted = items if recipe.new_arrivals == "exclude" else None
    rows = item_rows(folder, recipe, columns, Reading(1.0, True), wanted)
    rows = rows.filter(pc.is_in(rows[ITEM], value_set=items))
    lists = [as_links(rows[column]).to_pylist() for column in pictures.columns]
    places = _places(rows, pictures.position)
    gathered = _Gathered()
    repeats = recipe.items is not None and recipe.items.continues
    for row, item in enumerate(rows[ITEM].to_pylist()):
        if item in gathered.places and not repeats:
            continue  # the first row of an id counts
        found = [one[row] or [] for one in lists]
        every = [picture for one in found for picture in one]
        chosen = every if pictures.all_columns else next(filter(None, found), [])
        gathered.add(item, places[row], chosen)
    return gathered.table()


def _of_table(
    folder: Path, table: PictureTable, recipe: Recipe, items: pa.Array, reading: Reading
) -> pa.Table:
    """What a table with a row a picture says."""
    paths = [folder / name for name in table.files]
    columns = [*table.item, *table.picture]
    rows = read_rows(paths, table.layout, columns, reading, root=folder)
    ids, _ = clean_ids(rows[table.item[0]])
    lists = as_links(rows[table.picture[0]]).to_pylist()
    known = set(items.to_pylist())
    gathered = _Gathered()
    for item, pictures in zip(ids.to_pylist(), lists, strict=True):
        if item in known:
            gathered.add(item, 0, pictures or [])
    return gathered.table()


def _places(rows: pa.Table, columns: list[str]) -> list[int]:
    """The place that each row gives its picture; those without one come last."""
    if not columns:
        return [0] * rows.num_rows
    cells = pc.coalesce(*(rows[column] for column in columns)).to_pylist()
    return [int(cell) if cell and cell.strip().isdecimal() else _LAST for cell in cells]


def _last_parts(listed: pa.Table) -> pa.Table:
    """Links as the names of files that they end in."""
    lists = [
        [urlsplit(one).path.rpartition("/")[2] if is_link(one) else one for one in row]
        for row in listed["pictures"].to_pylist()
    ]
    return pa.table(
        {"item_id": listed["item_id"], "pictures": pa.array(lists, pa.list_(pa.string()))}
    )
