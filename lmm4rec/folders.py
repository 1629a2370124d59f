"""Folders and files that appear whole or not at all, scratch space that survives a kill, and JSON.

Stages write outputs through `whole_folder` and `whole_file` (a sibling, renamed at the end) and
keep resumable work in `scratch_folder` (named by a fingerprint of everything that shaped it).
"""

from __future__ import annotations

import errno
import hashlib
import json
import os
import shutil
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from pathlib import Path
from typing import Any

from lmm4rec.doors import OF_DISKS, reading, unwritable, writing
from lmm4rec.errors import InputError


@contextmanager
def whole_folder(path: Path) -> Iterator[Path]:
    """Yield an empty folder beside `path`; on success it takes the place of `path` in one rename.

    If the body raises, or the process dies, `path` is as it was; leftovers of a dead process are
    cleared by the next one. InputError: the disk does not take it.
    """
    unfinished, before = _beside(path, "unfinished"), _beside(path, "before")
    refuse_unwritable(path)
    with writing(path):
        path.parent.mkdir(parents=True, exist_ok=True)
        if path.exists() and not path.is_dir():
            raise FileExistsError(errno.EEXIST, "")
        _remove(unfinished)
        unfinished.mkdir()
    try:
        yield unfinished
    except OSError as error:
        _remove(unfinished)
        told = disk_sentence(error, path)
        if told is None:
            raise
        raise told from None
    except BaseException:
        _remove(unfinished)
        raise
    with writing(path):
        _remove(before)
        # moved, not removed: half of it would be neither what it was nor what it is to be
        if path.is_dir():
            path.rename(before)
        unfinished.rename(path)
    _remove(before)


@contextmanager
def whole_file(path: Path) -> Iterator[Path]:
    """Yield a name beside `path` to write to; on success that file takes the place of `path`.

    The folder is made where absent. InputError: the disk does not take it; `path` is as it was.
    """
    unfinished = _beside(path, "unfinished")
    with writing(path):
        path.parent.mkdir(parents=True, exist_ok=True)
        try:
            yield unfinished
            unfinished.replace(path)
        except BaseException:
            _remove(unfinished)
            raise


def scratch_folder(root: Path, stage: str, *shaped_by: Any) -> Path:
    """`root/<stage>-<fingerprint>`, made if absent: the same inputs find the same folder again.

    `shaped_by` is anything JSON can hold (parameters, file fingerprints). The caller removes the
    folder once its result stands. InputError: nothing can be written there.
    """
    text = json.dumps(shaped_by, sort_keys=True, default=str)
    folder = root / f"{stage}-{hashlib.sha256(text.encode()).hexdigest()[:16]}"
    with writing(folder):
        folder.mkdir(parents=True, exist_ok=True)
    refuse_unwritable(folder / "any")
    return folder


def refuse_unwritable(path: Path) -> None:
    """InputError where neither file nor folder can come to stand at `path`; makes nothing.

    Asked before a stage computes for hours what it could not keep.
    """
    above = next(folder for folder in path.absolute().parents if folder.exists())
    with writing(path):
        if not above.is_dir():
            raise NotADirectoryError(errno.ENOTDIR, "")
        if os.path.ismount(path):
            raise OSError(errno.EBUSY, "")
        if not os.access(above, os.W_OK | os.X_OK):
            is_read_only = os.statvfs(above).f_flag & os.ST_RDONLY
            raise OSError(errno.EROFS if is_read_only else errno.EACCES, "")


def disk_sentence(error: OSError, path: Path) -> InputError | None:
    """The sentence for a disk that is full or read-only, whatever was called; else None.

    `path` is what it is about where the error names no file.
    """
    if error.errno not in OF_DISKS:
        return None
    named = error.filename2 or error.filename
    return unwritable(error, Path(os.fsdecode(named)) if named else path)


def _beside(path: Path, state: str) -> Path:
    return path.with_name(f".{path.name}.{state}")


def _remove(path: Path) -> None:
    """A file, a link or a folder, if it is there; as far as it can be."""
    if path.is_dir() and not path.is_symlink():
        shutil.rmtree(path, ignore_errors=True)
    else:
        with suppress(OSError):
            path.unlink(missing_ok=True)


def fingerprint(path: Path, pattern: str = "*") -> str:
    """SHA-256 (hex) of a file, or of the names and contents of a folder's files like `pattern`."""
    digest = hashlib.sha256()
    inside = path.is_dir()
    files = sorted(file for file in path.rglob(pattern) if file.is_file()) if inside else [path]
    for file in files:
        digest.update(str(file.relative_to(path)).encode())
        with file.open("rb") as stream:
            digest.update(hashlib.file_digest(stream, "sha256").digest())
    return digest.hexdigest()


def visible_files(folder: Path) -> Iterator[os.DirEntry[str]]:
    """The files directly in it that are not hidden, by name; none where there is no such folder."""
    if folder.is_dir():
        with os.scandir(folder) as entries:
            chosen = [one for one in entries if one.is_file() and not one.name.startswith(".")]
        yield from sorted(chosen, key=lambda entry: entry.name)


def write_json(path: Path, content: Any) -> None:
    """Indented, sorted keys, newline at the end: the same content gives the same bytes."""
    write_text(path, json.dumps(content, indent=2, sort_keys=True) + "\n")


def write_text(path: Path, text: str) -> None:
    """UTF-8, whole or not at all; the folder is made where absent."""
    with whole_file(path) as unfinished:
        unfinished.write_text(text, encoding="utf-8")


def read_json(path: Path) -> Any:
    with reading(path, "valid JSON", "run the stage that writes it again, or `dvc pull` it"):
        return json.loads(path.read_text(encoding="utf-8"))
