"""Where a catalogue's pictures and features are: said, or by which of them fits most items."""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import PurePosixPath
from typing import Any

import pyarrow as pa
import pyarrow.compute as pc

from lmm4rec.catalogue.pictures.containers import picture_columns
from lmm4rec.catalogue.pictures.listed import locate_listed
from lmm4rec.catalogue.pictures.matching import match_pictures
from lmm4rec.catalogue.raw.recipe import FeatureFiles, PicturesRecipe, PictureTable
from lmm4rec.catalogue.readers.links import as_links
from lmm4rec.catalogue.sources.detection import Detection, Found
from lmm4rec.catalogue.sources.folder import Folder
from lmm4rec.catalogue.sources.tables_found import (
    Table,
    all_tables,
    columns_there,
    files_named,
    open_table,
    roles_by_name,
)
from lmm4rec.catalogue.sources.words import FeatureWords, PicturesWords, PictureTableWords, Words
from lmm4rec.errors import InputError

_FEW = 1000  # items by which ways to find pictures are compared


def pictures_of(
    folder: Folder,
    words: Words | None,
    items: Found | None,
    ids: pa.Array,
    detection: Detection,
    *,
    strict: bool,
) -> tuple[PicturesRecipe | None, list[str]]:
    """The pictures' part of the recipe, and what is to be said aloud of it.

    `strict`: all that the words name must be there; of a preset's words some lead nowhere.
    """
    said = words.of("pictures") if words is not None else {}
    if said is None:
        return None, []
    if isinstance(said.get("file"), str):
        return _in_files(folder, said["file"]), []
    told = PicturesWords(**said)
    if told.table is not None:
        return _in_table(folder, told.table), []
    columns = _columns(folder, told, items, strict)
    if told.by_name or (told.files and not columns):
        files = _named(folder, told.files) if told.files else _tops(folder)
        if files and folder.pictures:
            return PicturesRecipe(files=files, by_name=True), []
        if strict:
            raise _no_pictures(folder, told)
    if columns:
        assert items is not None  # whose columns they are
        position = [c for c in _as_list(told.position) if c in items.table.columns]
        files = _named(folder, told.files) if told.files else _files_of(folder, items, columns)
        if strict and told.files and not files:
            raise _no_pictures(folder, told)
        return PicturesRecipe(
            files=files, columns=columns, position=position, all_columns=bool(told.all_columns)
        ), []
    return _detected(folder, items, ids, detection) if not said else (None, [])


def features_of(folder: Folder, words: Mapping[str, FeatureWords]) -> dict[str, FeatureFiles]:
    """Matrices that came with the catalogue, by name."""
    found: dict[str, FeatureFiles] = {}
    for name, said in words.items():
        files = folder.matching(said.file)
        if not files:
            continue
        if said.kind == "file-per-item":
            found |= _leaf_folders(files)
            continue
        beside = {
            key: folder.matching(getattr(said, key))
            for key in ("ids", "missing")
            if getattr(said, key)
        }
        found[name] = FeatureFiles(
            kind=said.kind,
            modality=said.modality or "image",
            files=files[:1],
            **{key: names[0] for key, names in beside.items() if names},
        )
    return found


def _leaf_folders(files: list[str]) -> dict[str, FeatureFiles]:
    """One set a folder that holds files: named after it, of the modality that its top names."""
    leaves: dict[str, list[str]] = {}
    for name in files:
        leaves.setdefault(PurePosixPath(name).parent.as_posix(), []).append(name)
    found = {}
    for leaf, names in leaves.items():
        parts = PurePosixPath(leaf).parts
        top = next(k for k, part in enumerate(parts) if "_embeddings" in part)
        modality: Any = "text" if parts[top].startswith("text") else "image"
        found["/".join(parts[top + 1 :])] = FeatureFiles(
            kind="file-per-item", modality=modality, files=names
        )
    return found


def _in_files(folder: Folder, pattern: str) -> PicturesRecipe:
    files = _named(folder, [pattern])
    if not files:
        raise InputError(
            f"{folder.root}: holds no folder or file {pattern!r} as source.pictures names it; "
            f"pictures lie in {', '.join(_tops(folder)) or 'no folder'}"
        )
    return PicturesRecipe(files=files, by_name=True)


def _in_table(folder: Folder, said: PictureTableWords) -> PicturesRecipe:
    files = files_named(folder, said.file, "source.pictures.table", said.having)
    if files is None:
        raise InputError(
            f"{folder.root}: holds no file {said.file!r} as source.pictures.table names it"
        )
    table = open_table(folder, files, said.layout())
    roles = {
        role: columns_there(table, columns, f"source.pictures.table.{role}", folder, strict=True)
        for role, columns in said.columns().items()
    }
    return _table_recipe(folder, table, roles)


def _table_recipe(folder: Folder, table: Table, roles: Mapping[str, list[str]]) -> PicturesRecipe:
    recipe = PictureTable(files=table.all_files, layout=table.layout, **roles)
    return PicturesRecipe(files=_tops(folder), table=recipe)


def _columns(folder: Folder, told: PicturesWords, items: Found | None, strict: bool) -> list[str]:
    said = _as_list(told.columns)
    if not said:
        return []
    if items is None:
        if strict:
            raise InputError(
                f"{folder.root}: source.pictures.columns says {', '.join(said)}, and there is no "
                "table of items to have columns; write source.items too, or where pictures are, as "
                "source.pictures"
            )
        return []
    if strict:
        positions = _as_list(told.position)
        columns_there(items.table, positions, "source.pictures.position", folder, strict=True)
    return columns_there(items.table, said, "source.pictures.columns", folder, strict=strict)


def _no_pictures(folder: Folder, told: PicturesWords) -> InputError:
    named = ", ".join(map(repr, told.files or []))
    return InputError(
        f"{folder.root}: there are no pictures {f'in {named} ' if named else ''}as source.pictures "
        f"says; pictures lie in {', '.join(_tops(folder)) or 'no folder'}: correct it, or write "
        "null for none"
    )


def _detected(
    folder: Folder, items: Found | None, ids: pa.Array, detection: Detection
) -> tuple[PicturesRecipe | None, list[str]]:
    """By names, by a column of the items, or by a table of pictures: whatever fits most items."""
    some = ids.slice(0, _FEW)
    ways: list[tuple[float, PicturesRecipe]] = []
    if folder.pictures:
        matched = match_pictures(folder.pictures, some.to_pylist()).table
        share = _share(matched, some)
        _refuse_same_names(folder, matched)
        ways.append((share, PicturesRecipe(files=_tops(folder), by_name=True)))
        ways += [(share, recipe) for share, recipe in _tables_of(folder, items, some, detection)]
    columns = [] if items is None else _picture_columns(folder, items)
    if items is not None and columns:
        listed = _listed(folder, items, columns[0], some)
        located = locate_listed(listed, folder.pictures).table
        there = pc.or_(
            pc.match_substring_regex(located["picture"], r"^https?://|#"),
            pc.is_in(located["picture"], value_set=pa.array(folder.pictures, pa.string())),
        )
        share = _share(located.filter(there), some)
        files = _files_of(folder, items, columns)
        several = len(columns) > 1
        ways.append((share, PicturesRecipe(files=files, columns=columns, all_columns=several)))
    if not ways:
        return None, ["there are no pictures"]
    return max(ways, key=lambda way: way[0])[1], []


def _refuse_same_names(folder: Folder, matched: pa.Table) -> None:
    """InputError where most items have pictures of one name in several folders: which is it?"""
    names: dict[str, set[str]] = {}
    for row in matched.to_pylist():
        names.setdefault(row["item_id"], set()).add(PurePosixPath(row["picture"]).name)
    n_pictures = matched.num_rows
    if names and n_pictures - sum(map(len, names.values())) > len(names) // 2:
        tops = [top for top in _tops(folder) if top != "."]
        if len(tops) > 1:
            raise InputError(
                f"{folder.root}: {', '.join(tops)} hold pictures of the same items under the same "
                f"names; write which are meant, as source.pictures: {tops[0]}"
            )


def _picture_columns(folder: Folder, items: Found) -> list[str]:
    """The column of links or file names, by its name; in Parquet all that hold pictures."""
    table = items.table
    named = roles_by_name(table.columns, ["image"]).get("image", [])[:1]
    if table.layout.family != "parquet":
        return named
    holding = [name for path in table.all_files for name in picture_columns(folder.root / path)]
    return list(dict.fromkeys([*(name for name in named if name in holding), *holding])) or named


def _tables_of(
    folder: Folder, items: Found | None, ids: pa.Array, detection: Detection
) -> list[tuple[float, PicturesRecipe]]:
    """Tables that say which picture shows which item."""
    found = []
    for table in all_tables(folder):
        if items is not None and table.all_files == items.table.all_files:
            continue
        roles = roles_by_name(table.columns, ["item", "image"])
        if not roles.keys() >= {"item", "image"}:
            continue
        item, picture = roles["item"][0], roles["image"][0]
        read = folder.read(table.all_files, table.layout, [item, picture])
        listed = pa.table({"item_id": read[item], "pictures": as_links(read[picture])})
        located = locate_listed(listed, folder.pictures).table
        there = pc.is_in(located["picture"], value_set=pa.array(folder.pictures, pa.string()))
        share = _share(located.filter(there), ids)
        found.append((share, _table_recipe(folder, table, {"item": [item], "picture": [picture]})))
    return found


def _listed(folder: Folder, items: Found, column: str, ids: pa.Array) -> pa.Table:
    read = folder.read(items.table.all_files, items.table.layout, [items.roles["item"][0], column])
    read = read.filter(pc.is_in(read[items.roles["item"][0]], value_set=ids))
    return pa.table({"item_id": read[items.roles["item"][0]], "pictures": as_links(read[column])})


def _share(pictures: pa.Table, ids: pa.Array) -> float:
    if not len(ids):
        return 0.0
    return float(pc.mean(pc.is_in(ids, value_set=pictures["item_id"].combine_chunks())).as_py())


def _named(folder: Folder, patterns: list[str]) -> list[str]:
    """Folders, archives or files of these names that hold pictures."""
    loose = folder.loose_pictures
    tops = {parent.as_posix() for name in loose for parent in PurePosixPath(name).parents}
    among = sorted((tops - {"."}) | {*folder.packs, *loose})
    return folder.matching([pattern.rstrip("/") for pattern in patterns], among)


def _tops(folder: Folder) -> list[str]:
    """The topmost folders with pictures; . where some lie beside the tables."""
    loose = folder.loose_pictures
    tops = {PurePosixPath(name).parts[0] if "/" in name else "." for name in loose}
    return (["."] if "." in tops else sorted(tops)) + folder.packs


def _files_of(folder: Folder, items: Found, columns: list[str]) -> list[str]:
    """What is packed of pictures that the items' columns name: nothing where all are links."""
    if items.table.layout.family in ("parquet", "tar-samples") and not folder.pictures:
        return items.table.all_files
    read = folder.read(items.table.all_files, items.table.layout, columns)
    for column in columns:
        named = pc.list_flatten(as_links(read[column]))
        if not pc.all(pc.match_substring_regex(named, "^https?://"), min_count=0).as_py():
            return _tops(folder) + _packed_in(folder, items)
    return []


def _packed_in(folder: Folder, items: Found | None) -> list[str]:
    """The items' own files, where they hold pictures as well."""
    if items is None or items.table.layout.family not in ("parquet", "tar-samples"):
        return []
    return items.table.all_files


def _as_list(said: str | list[str] | None) -> list[str]:
    return [] if said is None else [said] if isinstance(said, str) else list(said)
