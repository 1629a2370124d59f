"""From words to files: which a table is in, how they are laid out, which columns they have."""

from __future__ import annotations

import re
import unicodedata
from collections.abc import Collection, Mapping
from dataclasses import dataclass
from functools import lru_cache
from pathlib import Path, PurePosixPath
from typing import Any

from lmm4rec.catalogue.readers.layout import Layout
from lmm4rec.catalogue.sources.folder import Folder
from lmm4rec.catalogue.sources.presets import has_columns
from lmm4rec.errors import InputError, did_you_mean
from lmm4rec.params import read_params

# How the parts of a ready split are called in files' names.
_PARTS = {
    "train": "train", "training": "train",
    "valid": "validation", "validation": "validation", "val": "validation", "dev": "validation",
    "test": "test", "testing": "test",
}  # fmt: skip
_PART = re.compile(
    rf"(?<![^\W_])({'|'.join(sorted(_PARTS, key=len, reverse=True))})(?![^\W_])", re.I
)
Roles = dict[str, list[str]]  # columns by what they hold
_ROLES_FILE = Path(__file__).with_name("roles.yaml")
_SHARD = re.compile(r"-\d{5}-of-\d{5}(?=\.)")


@dataclass(frozen=True)
class Table:
    """One table: its files by part (`all`, or the parts of a ready split), layout and columns."""

    files: dict[str, list[str]]
    layout: Layout
    columns: list[str]

    @property
    def all_files(self) -> list[str]:
        return [name for names in self.files.values() for name in names]

    @property
    def called(self) -> str:
        """How a person may name it under `file`."""
        first = self.all_files[0]
        more = len(self.all_files) - 1
        return f"{first} and {more} more" if more else first


def open_table(folder: Folder, files: dict[str, list[str]], told: Mapping[str, Any]) -> Table:
    """The table in these files. InputError: a file is none, or has other columns than the first."""
    names = [name for part in files.values() for name in part]
    layout = folder.layout(names[0], told)
    if layout is None:
        raise InputError(folder.problems[names[0]])
    columns = folder.columns(names[0], layout)
    for name in names[1:]:
        other = folder.layout(name, told)
        if other is None:
            raise InputError(folder.problems[name])
        if set(columns) - set(folder.columns(name, layout)) and layout.family != "json-lines":
            raise InputError(
                f"{folder.root / name}: has the columns "
                f"{', '.join(folder.columns(name, other))} where {names[0]}, which is to be one "
                f"table with it, has {', '.join(columns)}; name the files of one table alone"
            )
    return Table(files, layout, columns)


def files_named(
    folder: Folder, file: Any, section: str, having: list[str] | None = None, shards: bool = True
) -> dict[str, list[str]] | None:
    """Files by part, as `file` names them; None where there are none of that name.

    Without `shards` several files of one name are refused: nobody said that they are one table.
    """
    if isinstance(file, dict):
        found = {part: folder.matching(name, folder.tables) for part, name in file.items()}
        if not all(found.values()):
            return None
        for part, names in found.items():
            _refuse_several(folder, names, f"{section}.{part}", shards)
        every = [name for names in found.values() for name in names]
        for name in every:
            if every.count(name) > 1:
                raise InputError(
                    f"{folder.root / name}: is two parts of a split at once; name each part's own "
                    f"files in {section}.file"
                )
        return found
    names = folder.matching(file or "*", None if file else folder.tables)
    if having:
        names = [name for name in names if has_columns(folder, name, having)]
    if not names:
        return None
    _refuse_several(folder, names, section, shards)
    return {"all": names}


def _refuse_several(folder: Folder, names: list[str], section: str, shards: bool) -> None:
    if len(names) > 1 and not shards and not _are_shards(names):
        raise InputError(
            f"{folder.root}: {' and '.join(names[:3])} look alike; name the one that is meant in "
            f"{section}, or write {section}: {_widened(names)} where all are one table"
        )


def _are_shards(names: list[str]) -> bool:
    return len({_SHARD.sub("", name) for name in names}) == 1 and bool(_SHARD.search(names[0]))


def _widened(names: list[str]) -> str:
    suffixes = {PurePosixPath(name).suffix for name in names}
    return f'"*{suffixes.pop()}"' if len(suffixes) == 1 else "[" + ", ".join(names[:3]) + "]"


def all_tables(folder: Folder) -> list[Table]:
    """Every table of the folder: shards joined, and the parts of a ready split."""
    groups: dict[tuple[str, tuple[str, ...]], dict[str, list[str]]] = {}
    layouts: dict[tuple[str, tuple[str, ...]], Layout] = {}
    for name in folder.tables:
        layout = folder.layout(name)
        assert layout is not None  # folder.tables says so
        path = PurePosixPath(name)
        part = _PART.search(path.name)
        stem = _SHARD.sub("", _PART.sub("*", path.name, count=1) if part else path.name)
        columns = tuple(folder.columns(name, layout))
        key = ((path.parent / stem).as_posix(), columns)
        said = _PARTS[part[1].lower()] if part else "all"
        groups.setdefault(key, {}).setdefault(said, []).append(name)
        layouts.setdefault(key, layout)
    found = []
    for key, parts in groups.items():
        is_split = {"train", "test"} <= parts.keys()
        joined = {"all": [name for names in parts.values() for name in names]}
        found.append(Table(parts if is_split else joined, layouts[key], list(key[1])))
    return found


def columns_there(
    table: Table, said: list[str], where: str, folder: Folder, strict: bool
) -> list[str]:
    """Those of the columns that the table has; `strict`: it must have them all."""
    if strict:
        for name in said:
            if name not in table.columns:
                raise InputError(
                    f"{folder.root / table.all_files[0]}: has no column {name!r} (it has "
                    f"{', '.join(table.columns)}); correct {where}: "
                    f"{did_you_mean(name, table.columns)}"
                )
    return [name for name in said if name in table.columns]


@lru_cache(maxsize=1)
def _known_names() -> dict[str, dict[str, int]]:
    """By role: the names of its columns, and how well each fits (0: best)."""
    content = read_params(_ROLES_FILE)
    return {role: {name: k for k, name in enumerate(names)} for role, names in content.items()}


def roles_by_name(columns: Collection[str], roles: Collection[str]) -> Roles:
    """Every role's best columns, of which there are several where they fit equally well."""
    found: Roles = {}
    for role in roles:
        known = _known_names()[role]
        ranks = {column: known[plain] for column in columns if (plain := _plain(column)) in known}
        if ranks:
            best = min(ranks.values())
            found[role] = [column for column, rank in ranks.items() if rank == best]
    return found


def _plain(name: str) -> str:
    """A name without case, accents, and what is no letter or digit."""
    bare = re.sub(r"\s*\([^)]*\)\s*$", "", name) or name  # Date (UTC)
    letters = unicodedata.normalize("NFKD", bare.casefold())
    return "".join(c for c in letters if c.isalnum())
