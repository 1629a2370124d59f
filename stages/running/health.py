"""What may be wrong with a project's files although DVC says that all is well.

DVC marks what it caches read-only and from then on trusts size and time: an object that a disk or
a program damaged is restored without a word. Here every byte that dvc.lock names is read and summed
again; beside it, what a killed process leaves and what another version of a library may change.
"""

from __future__ import annotations

import hashlib
import json
import re
from collections.abc import Iterator
from dataclasses import dataclass, field
from importlib.metadata import PackageNotFoundError, version
from pathlib import Path
from typing import Any

import psutil
from tqdm import tqdm

from lmm4rec.errors import InputError

PINNED = re.compile(r"^([A-Za-z0-9_.-]+)==([^\s;]+)$")


@dataclass(frozen=True)
class Finding:
    """One thing that is wrong: a sentence, and the files that can go without loss."""

    sentence: str
    harmful: bool  # results cannot be trusted, or DVC cannot work, until it is mended
    useless: tuple[Path, ...] = field(default=())  # of no use to anybody: mending deletes them


@dataclass(frozen=True)
class _Recorded:
    """A file as dvc.lock records it."""

    stage: str
    place: Path  # in the working tree
    cached: Path | None  # None: this output is not cached
    md5: str


def examine(root: Path) -> Iterator[Finding]:
    """All findings, one after the other as they are found."""
    yield from locks(root / ".dvc" / "tmp")
    yield from half_files(root)
    yield from damaged_files(root)
    yield from other_versions(root / "constraints.txt")


def damaged_files(root: Path) -> Iterator[Finding]:
    """Files of the cache and the working tree whose bytes are not those that dvc.lock records."""
    sums = _Sums()
    for file in tqdm(_recorded(root), desc="reading", unit=" files", leave=False):
        here = sums.of(file.place)
        cached = sums.of(file.cached) if file.cached is not None else None
        if file.cached is not None and cached not in (file.md5, None):
            yield Finding(
                f"{_shown(file.cached, root)}: damaged in the cache, from which "
                f"{_shown(file.place, root)} of {file.stage} is restored; run `python -m "
                "stages.doctor --mend`, then `dvc repro --pull`, which fetches or makes it anew",
                harmful=True,
                useless=(file.cached, file.place) if here == cached else (file.cached,),
            )
        elif here not in (file.md5, None):
            yield Finding(
                f"{_shown(file.place, root)}: not as {file.stage} left it; run `dvc checkout "
                f"{file.stage}` to have that back, or `dvc repro` to make it anew",
                harmful=True,
            )


def half_files(root: Path) -> Iterator[Finding]:
    """What killed processes left half written; nobody reads it, but it takes room."""
    found = [*root.glob("*.unfinished"), *(root / "data").rglob("*.unfinished")]
    for path in sorted(one for one in found if "scratch" not in one.relative_to(root).parts):
        yield Finding(
            f"{_shown(path, root)}: left half written by a process that was killed; run `python -m "
            "stages.doctor --mend` while nothing runs",
            harmful=False,
            useless=(path,),
        )


def locks(folder: Path) -> Iterator[Finding]:
    """DVC's list of who reads and writes: unreadable, or naming processes that are gone."""
    path = folder / "rwlock"
    if not path.exists():
        return
    try:
        content = json.loads(path.read_text(encoding="utf-8"))
        holders = {int(one["pid"]) for one in _holders(content)}
    except (ValueError, KeyError, TypeError, AttributeError):
        yield Finding(
            f"{path}: DVC cannot read its list of running work, as a process was killed while it "
            "wrote; run `python -m stages.doctor --mend` while nothing runs",
            harmful=True,
            useless=(path,),
        )
        return
    if holders and not any(psutil.pid_exists(pid) for pid in holders):
        yield Finding(
            f"{path}: names processes that are gone ({', '.join(map(str, sorted(holders)))}); DVC "
            "takes them out itself when it next runs",
            harmful=False,
        )


def other_versions(constraints: Path) -> Iterator[Finding]:
    """Packages of other versions than those the project was tested with."""
    if not constraints.exists():
        return
    pinned = [PINNED.match(line) for line in constraints.read_text(encoding="utf-8").splitlines()]
    for name, wanted in (match.groups() for match in pinned if match):
        try:
            installed = version(name)
        except PackageNotFoundError:
            continue
        if installed.partition("+")[0] != wanted.partition("+")[0]:
            yield Finding(
                f"{name} {installed} is installed, {wanted} was tested ({constraints.name}); "
                "results may differ in their last digits; run `make install` for that one",
                harmful=False,
            )


def _holders(content: dict[str, Any]) -> Iterator[dict[str, Any]]:
    yield from content.get("write", {}).values()
    for readers in content.get("read", {}).values():
        yield from readers


def _recorded(root: Path) -> list[_Recorded]:
    """Every file that dvc.lock records as an output, those of folders one by one."""
    from dvc.exceptions import DvcException  # seconds; --help stays instant
    from dvc.repo import Repo

    try:
        with Repo(str(root)) as repo:
            return [file for out in repo.index.outs if out.hash_info for file in _files_of(out)]
    except DvcException as error:
        raise InputError(f"{root}: {error}; mend it, then run this again") from error


def _files_of(out: Any) -> Iterator[_Recorded]:
    from dvc_data.hashfile.tree import Tree

    stage, place = out.stage.addressing, Path(out.fs_path)
    cached = Path(out.cache.oid_to_path(out.hash_info.value)) if out.use_cache else None
    if not out.hash_info.isdir:
        yield _Recorded(stage, place, cached, out.hash_info.value)
        return
    if cached is None or not cached.exists():
        return  # nothing of it is here, or it is git's
    listing = out.hash_info.value.removesuffix(".dir")
    yield _Recorded(stage, cached, cached, listing)
    if _md5(cached) == listing:
        for key, _, info in Tree.load(out.cache, out.hash_info):
            file = Path(out.cache.oid_to_path(info.value))
            yield _Recorded(stage, place.joinpath(*key), file, info.value)


class _Sums:
    """MD5 of files, each read once; None of a file that is not here."""

    def __init__(self) -> None:
        self._known: dict[Path, str | None] = {}

    def of(self, path: Path) -> str | None:
        if path not in self._known:
            self._known[path] = _md5(path) if path.is_file() else None
        return self._known[path]


def _md5(path: Path) -> str:
    """What DVC names a file by."""
    with path.open("rb") as stream:
        return hashlib.file_digest(stream, "md5").hexdigest()


def _shown(path: Path, root: Path) -> str:
    return str(path.relative_to(root)) if path.is_relative_to(root) else str(path)
