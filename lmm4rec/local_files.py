"""Files of a machine outside the project: what was read of them, and is it still so?

A stage that reads such files records their sizes and sums; before every run they are compared with
that record. Sizes and times are looked at first, and a sum is taken only where these differ from
those at which the file had the sum that is known. What is known of a machine's files stays in a
folder of this machine; the record itself holds nothing of it and may travel.

Of a folder, the files directly in it that are not hidden count; of `**`, those of all depths.
"""

from __future__ import annotations

import hashlib
import json
import logging
import os
import time
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any, NamedTuple

from pydantic import Field

from lmm4rec.doors import writing
from lmm4rec.errors import InputError
from lmm4rec.folders import read_json, visible_files, write_json
from lmm4rec.params import Section, check_section

# What a section reads: a file or folder as params.yaml calls it -> names in it, "." for itself.
LocalFiles = Mapping[str, tuple[str, ...]]
State = dict[str, int | str]  # of a file: bytes, sha256; of a folder the number of its files too
DEEP = "**"
UNSAID_REVISION = 1  # of a section that says none
_SETTLED_NANOSECONDS = 2_000_000_000  # within one tick of a clock a file may change unnoticed

log = logging.getLogger(__name__)


def paths_alone(*paths: str | None) -> dict[str, tuple[str, ...]]:
    """Those that are not None, each read as a whole."""
    return {path: (".",) for path in paths if path is not None}


class _Record(Section):
    """The file: bytes that are the same wherever the same was read."""

    revision: int
    read: dict[str, dict[str, State]]  # root -> name in it -> its state
    taken_for: dict[str, list[str]] = Field(default={})  # what its columns were, by role


class _Known(NamedTuple):
    """A file's sum, and the size and times (ns) at which it had it; -1: too young to be trusted."""

    size: int
    modified: int
    changed: int
    sha256: str


@dataclass(frozen=True)
class LocalRecord:
    """What was read under a section of params.yaml, where it is kept, and what helps to compare."""

    key: str  # the section, for messages: datasets.mine.source
    path: Path  # the record, JSON
    scratch: Path  # a folder of this machine, which may be lost

    @contextmanager
    def kept(self, revision: int, files: LocalFiles) -> Iterator[dict[str, list[str]]]:
        """Around the reading of `files`: records them afterwards, with what is put into the dict.

        It says which columns were taken for what, and holds at first what the record says of that.
        InputError: the files differ from the record of the same revision, or changed meanwhile.
        """
        self.refuse_changes(revision, files)
        before = {root: self._states(root, names) for root, names in files.items()}
        taken_for = dict(self._record().taken_for) if self.path.exists() else {}
        yield taken_for
        for root, states in before.items():
            now = self._states(root, files[root])
            for name, state in states.items():
                if now[name] != state:
                    path = Path(root, name)
                    raise InputError(f"{path}: changed while it was read; run this again")
        content = {"revision": revision, "read": before}
        write_json(self.path, content | ({"taken_for": taken_for} if taken_for else {}))

    def refuse_changes(self, revision: Any, files: LocalFiles | None = None) -> None:
        """InputError where a recorded file is another by now although the revision is the same.

        `files`: what is to be read now; what is not among it may be as it likes. None: all of it.
        A root that is not on this machine is passed over: what was read of it stands recorded.
        """
        if not self.path.exists():
            return
        record = self._record()
        if record.revision != revision:
            return
        for root, states in record.read.items():
            if files is not None and root not in files:
                continue
            if not Path(root).exists():
                log.info("%s: not on this machine, taken as it was read (%s)", root, self.key)
                continue
            for name, state in states.items():
                if files is None or name in files[root]:
                    self._refuse_change(Path(root, name), state, revision)

    def _record(self) -> _Record:
        return check_section(read_json(self.path), _Record, "record", self.path)

    def _refuse_change(self, path: Path, recorded: State, revision: Any) -> None:
        known = self._remembered(path)
        now = self._summed(path, known)
        if _state(path, now, is_folder="files" in recorded) == recorded:
            self._remember(path, now, known)
            return
        what = _difference(path, recorded, known, now)
        raise InputError(
            f"{what} since it was read under revision {revision}; raise {self.key}.revision in "
            "params.yaml to read it anew, or put back what was there"
        )

    def _states(self, root: str, names: tuple[str, ...]) -> dict[str, State]:
        found = {}
        for name in names:
            path = Path(root, name)
            known = self._remembered(path)
            now = self._summed(path, known)
            self._remember(path, now, known)
            found[name] = _state(path, now, is_folder=not path.is_file())
        return found

    def _summed(self, path: Path, known: Mapping[str, _Known]) -> dict[str, _Known]:
        """Every file under its name, with sums only taken where size or times are not as known."""
        now, found = time.time_ns(), {}
        for name, file in _files(path):
            status = file.stat()
            size, modified, changed = status.st_size, status.st_mtime_ns, status.st_ctime_ns
            before = known.get(name)
            if before is None or before[:3] != (size, modified, changed):
                if now - max(modified, changed) < _SETTLED_NANOSECONDS:
                    modified = changed = -1
                with Path(file).open("rb") as stream:
                    sha256 = hashlib.file_digest(stream, "sha256").hexdigest()
                before = _Known(size, modified, changed, sha256)
            found[name] = before
        return found

    def _memory_of(self, path: Path) -> Path:
        name = hashlib.sha256(os.fsencode(path.resolve())).hexdigest()[:16]
        return self.scratch / "local-files" / f"{name}.json"

    def _remembered(self, path: Path) -> dict[str, _Known]:
        try:
            content = json.loads(self._memory_of(path).read_text(encoding="utf-8"))
        except (FileNotFoundError, ValueError):
            return {}
        return {name: _Known(*entry) for name, entry in content.items()}

    def _remember(
        self, path: Path, found: Mapping[str, _Known], known: Mapping[str, _Known]
    ) -> None:
        if found == known:
            return
        memory = self._memory_of(path)
        unfinished = memory.with_suffix(f".{os.getpid()}")
        with writing(memory):
            memory.parent.mkdir(parents=True, exist_ok=True)
            unfinished.write_text(json.dumps(found), encoding="utf-8")
            unfinished.replace(memory)


def _files(path: Path) -> Iterator[tuple[str, Path | os.DirEntry[str]]]:
    if path.name == DEEP:
        yield from _deep_files(path.parent, path.parent, set())
    elif path.is_file():
        yield path.name, path
    else:
        yield from ((entry.name, entry) for entry in visible_files(path))


def _deep_files(root: Path, folder: Path, seen: set[str]) -> Iterator[tuple[str, os.DirEntry[str]]]:
    """Files of all depths by their paths below `root`; hidden files and folders are left out."""
    real = os.path.realpath(folder)
    if real in seen or not folder.is_dir():  # a link that leads back
        return
    seen.add(real)
    with os.scandir(folder) as entries:
        shown = sorted((e for e in entries if not e.name.startswith(".")), key=lambda e: e.name)
    for entry in shown:
        if entry.is_dir():
            yield from _deep_files(root, Path(entry), seen)
        elif entry.is_file():
            yield Path(entry).relative_to(root).as_posix(), entry


def _state(path: Path, found: Mapping[str, _Known], *, is_folder: bool) -> State:
    size = sum(one.size for one in found.values())
    if not is_folder:
        return {"bytes": size, "sha256": found[path.name].sha256} if path.name in found else {}
    digest = hashlib.sha256()
    for name, one in found.items():
        digest.update(f"{name}\0{one.size}\0{one.sha256}\n".encode("utf-8", "surrogateescape"))
    return {"files": len(found), "bytes": size, "sha256": digest.hexdigest()}


def _difference(
    path: Path, recorded: State, known: Mapping[str, _Known], now: Mapping[str, _Known]
) -> str:
    """What is other than recorded: the first file that is, where this machine remembers each."""
    path = path.parent if path.name == DEEP else path
    if "files" not in recorded:
        return f"{path}: {'was changed' if now else 'was removed'}"
    if _state(path, known, is_folder=True) != recorded:
        size = sum(one.size for one in now.values())
        return (
            f"{path}: was changed, from {recorded['files']} files of {recorded['bytes']} bytes in "
            f"all to {len(now)} files of {size} bytes,"
        )
    other = [
        name
        for name in sorted(known.keys() | now.keys())
        if name not in now or name not in known or now[name].sha256 != known[name].sha256
    ]
    first = other[0]
    done = "was removed" if first not in now else "was changed" if first in known else "was added"
    more = f" (as were {len(other) - 1} other files beside it)" if len(other) > 1 else ""
    return f"{path / first}: {done}{more}"
