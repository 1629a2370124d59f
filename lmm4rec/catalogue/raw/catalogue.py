"""A raw catalogue: files with their recipe, and the three tables that they hold."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path

import pyarrow as pa
import pyarrow.compute as pc

from lmm4rec.catalogue.pictures.archive import ARCHIVE, read_archive_names
from lmm4rec.catalogue.raw.interactions import read_interactions
from lmm4rec.catalogue.raw.items import read_items
from lmm4rec.catalogue.raw.pictures import FoundPictures, read_pictures
from lmm4rec.catalogue.raw.recipe import RECIPE_FILE, Recipe
from lmm4rec.catalogue.raw.tables import FILES
from lmm4rec.catalogue.readers.reading import Reading
from lmm4rec.folders import read_json
from lmm4rec.params import check_section


@dataclass(frozen=True)
class RawCatalogue:
    """Where the files are, how they are read, and the names of the pictures beside them."""

    folder: Path
    recipe: Recipe
    picture_names: list[str]

    def interactions(self, reading: Reading) -> pa.Table:
        """All interactions, `RAW_INTERACTIONS`, in any order, dirt included."""
        return read_interactions(self.folder, self.recipe, reading)

    def items(self, bought: pa.Array, reading: Reading) -> pa.Table:
        """What is said of the items, `RAW_ITEMS`, each once: bought ones, and new arrivals.

        Bought ones that nothing is said of are not among them.
        """
        wanted = None if self.recipe.new_arrivals == "include" else bought
        return read_items(self.folder, self.recipe, wanted, reading)

    def pictures(self, items: pa.Array, reading: Reading) -> FoundPictures:
        """The pictures of these items."""
        return read_pictures(self.folder, self.recipe, self.picture_names, items, reading)


def open_raw(raw: Path) -> RawCatalogue:
    """What the download stage left in `raw`."""
    recipe = read_recipe(raw)
    archive = raw / ARCHIVE
    names = read_archive_names(archive) if archive.exists() else []
    return RawCatalogue(raw / FILES, recipe, names)


def read_recipe(raw: Path) -> Recipe:
    path = raw / RECIPE_FILE
    return check_section(read_json(path), Recipe, "recipe", path)


def new_arrivals(items: pa.Table, bought: pa.Array) -> pa.Array:
    """Ids of described items that are offered and that nobody bought."""
    ids = items.filter(pc.invert(items["is_draft"]))["item_id"].combine_chunks()
    return ids.filter(pc.invert(pc.is_in(ids, value_set=bought)))
