"""A person's own catalogue: a folder, or a link to one, and whatever words are needed."""

from __future__ import annotations

import logging
import secrets
import shutil
from pathlib import Path
from typing import Any, Literal

import pyarrow as pa

from lmm4rec.catalogue.pictures.archive import ARCHIVE, pack_pictures, picture_names
from lmm4rec.catalogue.raw.catalogue import RawCatalogue, read_recipe
from lmm4rec.catalogue.raw.describing import found_lines
from lmm4rec.catalogue.raw.interactions import coalesced, hashed_ids
from lmm4rec.catalogue.raw.recipe import RECIPE_FILE, InteractionsRecipe, Recipe
from lmm4rec.catalogue.raw.tables import FILES
from lmm4rec.catalogue.readers.ids import clean_ids
from lmm4rec.catalogue.readers.layout import Layout
from lmm4rec.catalogue.readers.reading import Reading
from lmm4rec.catalogue.readers.rows import read_rows
from lmm4rec.catalogue.sources.base import Source, Taken
from lmm4rec.catalogue.sources.changed import refuse_changed, taken_for
from lmm4rec.catalogue.sources.folder import Folder
from lmm4rec.catalogue.sources.resolving import resolve
from lmm4rec.catalogue.sources.words import InteractionsWords, Words
from lmm4rec.doors import reading as reading_file
from lmm4rec.doors import writing
from lmm4rec.errors import InputError
from lmm4rec.folders import write_json
from lmm4rec.local_files import LocalFiles
from lmm4rec.params import Text
from lmm4rec.tables import write_table

CATALOGUES = "catalogues"  # where folders lie that are not named: catalogues/<dataset>
_HASHED = "interactions-with-hashed-users.parquet"
_MOST_UNREADABLE = 0.01  # of a table that is rewritten before `preprocess` counts its lines
_SALT_BYTES = 32

log = logging.getLogger(__name__)


class WordedSource(Source, Words):
    """A source whose files are read by words, a preset, or detection."""

    preset: Text | None = None  # absent: the first that fits; null: none

    def recipe(self, folder: Folder) -> Recipe:
        """How the folder is read. InputError: its files do not show it, or not what is said."""
        any_preset = "preset" not in self.model_fields_set
        return resolve(folder, self._words(), self.preset, any_preset=any_preset)

    def taken_for(self, folder: Path, before: Taken) -> Taken:
        now = taken_for(read_recipe(folder))
        refuse_changed(before, now, self._words())
        return now

    def _words(self) -> Words:
        return Words(**{name: getattr(self, name) for name in self._said()})

    def _said(self) -> set[str]:
        return self.model_fields_set & set(Words.model_fields)

    @property
    def brings_split(self) -> bool | None:
        said = self.interactions
        if isinstance(said, InteractionsWords) and "file" in said.model_fields_set:
            return isinstance(said.file, dict) or said.split is not None or None
        return None

    @property
    def brings_ratings(self) -> bool | None:
        said = self.interactions
        is_null = isinstance(said, InteractionsWords) and "rating" in said.model_fields_set
        return False if is_null and said.rating is None else None  # type: ignore[union-attr]


class FolderSource(WordedSource):
    """Files of this machine."""

    kind: Literal["folder"] = "folder"
    folder: Text = ""  # absent: catalogues/<the dataset's name>

    def local_files(self) -> LocalFiles:
        return {self.folder: ("**",)}

    def download(self, folder: Path, scratch: Path, salt: Path) -> None:
        theirs = Folder(Path(self.folder))
        recipe = self.recipe(theirs)
        names = picture_names(theirs.root, packed_files(recipe))
        for line in found_lines(RawCatalogue(theirs.root, recipe, names), theirs.root.name):
            log.info("%s", line)
        keep_files(theirs, recipe, folder, salt)


def keep_files(theirs: Folder, recipe: Recipe, folder: Path, salt: Path) -> None:
    """Copy what the recipe reads, pack the pictures, and write the recipe down."""
    files = folder / FILES
    files.mkdir()
    recipe = without_personal_data(theirs, recipe, files, salt)
    for name in _read_files(recipe):
        if not (files / name).exists():
            with writing(files / name):
                (files / name).parent.mkdir(parents=True, exist_ok=True)
                shutil.copyfile(theirs.root / name, files / name)
    finish(theirs, recipe, folder)


def finish(theirs: Folder, recipe: Recipe, folder: Path) -> None:
    """Pack the pictures, and write the recipe down."""
    if packed_files(recipe):
        pack_pictures(theirs.root, packed_files(recipe), folder / ARCHIVE)
    write_json(folder / RECIPE_FILE, recipe.model_dump(mode="json"))


def without_personal_data(theirs: Folder, recipe: Recipe, files: Path, salt: Path) -> Recipe:
    """A recipe that reads users' sums where users are personal data; these are put into `files`."""
    if not recipe.interactions.hashed:
        return recipe
    hashed = _with_hashed_users(theirs, recipe.interactions, files, salt)
    return recipe.model_copy(update={"interactions": hashed})


def packed_files(recipe: Recipe) -> list[Path]:
    """Files and folders whose pictures are packed."""
    return [] if recipe.pictures is None else [Path(name) for name in recipe.pictures.files]


def _read_files(recipe: Recipe) -> list[str]:
    """Every table that the recipe reads."""
    names = [name for part in recipe.interactions.files.values() for name in part]
    picture_table = None if recipe.pictures is None else recipe.pictures.table
    tables: list[Any] = [
        recipe.items, picture_table, recipe.users_by_number, recipe.items_by_number,
    ]  # fmt: skip
    names += [name for table in tables if table is not None for name in table.files]
    return [name for name in dict.fromkeys(names) if name != _HASHED]


def _with_hashed_users(
    theirs: Folder, table: InteractionsRecipe, files: Path, salt: Path
) -> InteractionsRecipe:
    """The interactions as a table of our own, in which nobody can be told: who reads it from now.

    All columns stay that are read, the users' own aside.
    """
    columns = [
        *table.item, *table.rating, *table.timestamp, *table.kind, *table.carried_down,
        *table.cancelled, *table.quantity, *table.user, *([table.order] if table.order else []),
    ]  # fmt: skip
    names = [name for part in table.files.values() for name in part]
    paths = [theirs.root / name for name in names]
    reading = Reading(_MOST_UNREADABLE, False)
    rows = read_rows(paths, table.layout, list(dict.fromkeys(columns)), reading, root=theirs.root)
    users, _ = clean_ids(coalesced(rows, table.user))
    hashed = hashed_ids(
        pa.chunked_array([users]) if isinstance(users, pa.Array) else users, _salt(salt)
    )
    kept = rows.drop_columns([*table.user, "file_number"]).append_column("user", hashed)
    write_table(kept, files / _HASHED)
    carried = [name for name in table.carried_down if name not in table.user]
    return table.model_copy(
        update={
            "files": {"all": [_HASHED]},
            "layout": Layout(family="parquet"),
            "user": ["user"],
            "carried_down": [*carried, "user"]
            if set(table.carried_down) & set(table.user)
            else carried,
            "hashed": False,
        }
    )


def _salt(path: Path) -> bytes:
    """The project's own, drawn once: without it nobody finds a person by trying addresses."""
    if not path.exists():
        with writing(path):
            path.parent.mkdir(parents=True, exist_ok=True)
            path.touch(mode=0o600)
            path.write_bytes(secrets.token_bytes(_SALT_BYTES))
    with reading_file(path, "a file", "make it readable"):
        salt = path.read_bytes()
    if len(salt) != _SALT_BYTES:
        raise InputError(
            f"{path}: holds {len(salt)} bytes where users' salt has {_SALT_BYTES}; delete it, and "
            "users get other ids from now on, or put back what was there"
        )
    return salt
