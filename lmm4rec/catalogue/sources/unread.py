"""What lies in a folder and is not read: told, so that nobody thinks that it was."""

from __future__ import annotations

import re
from collections.abc import Collection, Sequence
from pathlib import PurePosixPath

import pyarrow.compute as pc

from lmm4rec.catalogue.raw.recipe import Recipe
from lmm4rec.catalogue.sources.folder import Folder
from lmm4rec.catalogue.sources.tables_found import Roles, Table, roles_by_name
from lmm4rec.errors import InputError

_SHOWN = 6
# What people keep tables and pictures in that is not read, and what to bring instead.
_ADVICE = {
    ".xlsx": "save it as CSV", ".xls": "save it as CSV", ".ods": "save it as CSV",
    ".sqlite": "export its tables as CSV", ".sqlite3": "export its tables as CSV",
    ".db": "export its tables as CSV", ".rdata": "write it as CSV", ".rds": "write it as CSV",
    ".feather": "write it as Parquet", ".bz2": "unpack it", ".xz": "unpack it", ".zst": "unpack it",
    ".rar": "unpack it", ".7z": "unpack it", ".heic": "save it as JPEG", ".heif": "save it as JPEG",
    ".pkl": "write it as Parquet", ".pickle": "write it as Parquet", ".lmdb": "give its files",
}  # fmt: skip
_PICTURES = (".heic", ".heif")
# Words by which rows say that nothing was bought after all.
_UNDONE = r"(?i)cancel|refund|return|void|reject|storn|erstatt|annul|rembours|dislike|^false$"


def unread_files(folder: Folder, read: Collection[str]) -> str | None:
    """Files that may hold something and are none of those `read`, with what to do; null: none."""
    told = []
    # what lies among pictures is no table: readme.txt, Thumbs.db
    among = {PurePosixPath(name).parts[0] for name in folder.loose_pictures if "/" in name}
    for name in folder.names:
        if PurePosixPath(name).parts[0] in among and not name.lower().endswith(_PICTURES):
            continue
        suffix = PurePosixPath(name).suffix.lower()
        is_empty_zip = suffix == ".zip" and name not in folder.packs
        if name in read:
            continue
        if suffix in _ADVICE:
            told.append(f"{name} ({_ADVICE[suffix]})")
        elif is_empty_zip:
            told.append(f"{name} (unpack it: it holds no pictures)")
        elif name in folder.problems:
            reason = folder.problems[name].removeprefix(f"{folder.root / name}: ")
            told.append(f"{name} ({reason.split(';')[0]})")
    if not told:
        return None
    more = f" and {len(told) - _SHOWN} more" if len(told) > _SHOWN else ""
    return f"{', '.join(told[:_SHOWN])}{more}"


def unread_columns(table: Table, used: Collection[str]) -> str | None:
    """Columns that nothing is read of."""
    rest = [name for name in table.columns if name not in used]
    return None if not rest else f"{table.called}: {', '.join(rest)}"


def notes_of_unread(
    folder: Folder, tables: Sequence[tuple[Table, Roles]], more: Sequence[str], *, is_known: bool
) -> list[str]:
    """What of the folder is not read, in words; of formats that are known, files alone."""
    read = [name for table, _ in tables for name in table.all_files]
    unread = unread_files(folder, [*read, *more])
    notes = [f"files that are not read: {unread}"] if unread else []
    if is_known:
        return notes
    used = [name for _, roles in tables for columns in roles.values() for name in columns]
    columns = (unread_columns(table, used) for table, _ in tables)
    notes += [f"columns that are not read: {one}" for one in dict.fromkeys(columns) if one]
    undone = undone_rows(folder, tables[0][0], used)
    return notes + ([undone] if undone else [])


def refuse_effectless(folder: Folder, recipe: Recipe) -> None:
    """InputError for words that say the same of two things, or something of nothing."""
    table = recipe.interactions
    name = folder.root / next(iter(table.files.values()))[0]
    if table.user == table.item:
        raise InputError(
            f"{name}: {table.user[0]!r} is named for the users and for the items; write another "
            "column in source.interactions.user or source.interactions.item"
        )
    if recipe.kinds and not table.kind:
        raise InputError(
            f"{name}: source.kinds gives weights, and no column says of which kind a row is; name "
            "it in source.interactions.kind, or leave source.kinds out"
        )


def undone_rows(folder: Folder, table: Table, used: Collection[str]) -> str | None:
    """A column that nothing is read of and that tells rows to be no purchase, in words."""
    free = [column for column in table.columns if column not in used]
    for name in roles_by_name(free, ["status"]).get("status", []):
        cells = folder.read(table.all_files, table.layout, [name])[name]
        values = pc.value_counts(cells.drop_null()).to_pylist()
        undone = [one for one in values if re.search(_UNDONE, one["values"])]
        if undone:
            shown = ", ".join(f"{one['values']} {one['counts']:,}" for one in undone[:_SHOWN])
            weights = [f"{one['values']}: {int(one not in undone)}" for one in values[:_SHOWN]]
            return (
                f"column {name} of {table.called} says {shown}, and these rows are taken like all "
                f"others; leave them out by source.interactions: {{file: {table.all_files[0]}, "
                f"kind: {name}}} and source.kinds: {{{', '.join(weights)}}}"
            )
    return None
