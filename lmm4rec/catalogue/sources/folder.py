"""A folder of somebody's files, looked into: names, tables, columns. Nothing is decided here."""

from __future__ import annotations

import os
import unicodedata
from collections.abc import Iterable, Iterator, Mapping
from fnmatch import fnmatchcase
from functools import cached_property
from pathlib import Path, PurePosixPath
from typing import Any

import pyarrow as pa

from lmm4rec.catalogue.pictures.archive import picture_names
from lmm4rec.catalogue.pictures.containers import PICTURE_ENDINGS
from lmm4rec.catalogue.readers.layout import Layout
from lmm4rec.catalogue.readers.reading import Reading
from lmm4rec.catalogue.readers.recognition import recognise
from lmm4rec.catalogue.readers.rows import column_names, read_rows
from lmm4rec.errors import InputError

_PACKS = (".zip", ".tar", ".tar.gz", ".tgz", ".tar.bz2", ".tar.xz")
# What holds no table, by its name: nobody needs to look into it.
_NO_TABLES = PICTURE_ENDINGS | {
    ".npy", ".npz", ".b", ".zip", ".lmdb", ".mdb", ".p", ".pkl", ".pickle", ".pt", ".md", ".pdf",
    ".html", ".py", ".ipynb", ".yaml", ".yml", ".docx", ".db", ".ini", ".sh", ".mp4", ".mp3",
}  # fmt: skip


class Folder:
    """`root` may be a link. Hidden files and folders are passed over."""

    def __init__(self, root: Path) -> None:
        self.root = root
        self.problems: dict[str, str] = {}  # why a file is no table, by name
        self._layouts: dict[str, Layout | None] = {}
        self._columns: dict[tuple[str, str], list[str]] = {}

    @cached_property
    def names(self) -> list[str]:
        """Every file's name relative to the folder, in order."""
        return sorted(_walk(self.root))

    @cached_property
    def pictures(self) -> list[str]:
        """Pictures of the folder, those in its zips and tars among them (<file>#<member>)."""
        return self.loose_pictures + picture_names(self.root, [Path(name) for name in self.packs])

    @cached_property
    def loose_pictures(self) -> list[str]:
        return [name for name in self.names if _suffix(name) in PICTURE_ENDINGS]

    @cached_property
    def packs(self) -> list[str]:
        """Zips and tars with pictures; tars of samples, which are tables, apart."""
        packs = (n for n in self.names if n.lower().endswith(_PACKS) and not self._is_table(n))
        return [name for name in packs if picture_names(self.root, [Path(name)])]

    def _is_table(self, name: str) -> bool:
        """Whether a tar holds more than pictures."""
        if name.lower().endswith(".zip"):
            return False
        layout = self.layout(name)
        if layout is None or layout.family != "tar-samples":
            return False
        if set(self.columns(name, layout)) - {"key", "txt", "pictures"}:
            return True
        texts = self.read([name], layout, ["txt"])["txt"]
        return bool(texts.null_count < len(texts))

    @cached_property
    def tables(self) -> list[str]:
        """Those files that read as tables."""
        packs = set(self.packs)
        maybe = (n for n in self.names if _suffix(n) not in _NO_TABLES and n not in packs)
        return [name for name in maybe if self.layout(name) is not None]

    def matching(
        self, patterns: str | Iterable[str], among: Iterable[str] | None = None
    ) -> list[str]:
        """Files of one of these names, in which * stands for anything; at any depth."""
        patterns = [patterns] if isinstance(patterns, str) else list(patterns)
        among = self.names if among is None else among
        return [name for name in among if any(_fits(name, pattern) for pattern in patterns)]

    def layout(self, name: str, told: Mapping[str, Any] | None = None) -> Layout | None:
        """How a file is laid out, as it shows and as it is told; None where it is no table."""
        if told and "family" in told:
            return Layout(**_complete(told))
        if name not in self._layouts:
            try:
                layout = recognise(self.root / name)
                self._layouts[name] = layout if self.columns(name, layout) else None
                if self._layouts[name] is None:
                    self.problems[name] = f"{self.root / name}: has no columns; bring it with keys"
            except InputError as error:
                self.problems[name], self._layouts[name] = str(error), None
        found = self._layouts[name]
        if not told:
            return found
        shown = {"family": "delimited"} if found is None else found.model_dump()
        return Layout(**_complete({**shown, **told}))

    def columns(self, name: str, layout: Layout) -> list[str]:
        key = (name, layout.model_dump_json())
        if key not in self._columns:
            self._columns[key] = column_names(self.root / name, layout)
        return self._columns[key]

    def read(self, names: list[str], layout: Layout, columns: list[str]) -> pa.Table:
        """These columns of all rows, whatever cannot be read left out."""
        paths = [self.root / name for name in names]
        return read_rows(paths, layout, columns, Reading(1.0, True), root=self.root)


def _complete(told: Mapping[str, Any]) -> dict[str, Any]:
    """Names given for a file say that its first line holds none, unless that is told as well."""
    told = dict(told)
    if told.get("names"):
        told.setdefault("header", False)
    return told


def _suffix(name: str) -> str:
    suffix = PurePosixPath(name).suffix.lower()
    return PurePosixPath(PurePosixPath(name).stem).suffix.lower() if suffix == ".gz" else suffix


def _fits(name: str, pattern: str) -> bool:
    name, pattern = unicodedata.normalize("NFC", name), unicodedata.normalize("NFC", pattern)
    return fnmatchcase(name, pattern) or fnmatchcase(name, f"*/{pattern}")


def _walk(root: Path) -> Iterator[str]:
    if not root.is_dir():
        raise InputError(
            f"{root}: there is no such folder; put the catalogue's files there, link them there "
            f"(ln -s /where/they/are {root}), or correct source.folder"
        )
    seen: set[str] = set()
    for here, folders, files in os.walk(root, followlinks=True):
        real = os.path.realpath(here)
        if real in seen:  # a link that leads back
            folders.clear()
            continue
        seen.add(real)
        folders[:] = sorted(name for name in folders if not name.startswith("."))
        relative = Path(here).relative_to(root)
        for name in files:
            if not name.startswith("."):
                yield (relative / name).as_posix()
