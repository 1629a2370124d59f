"""Folders that appear whole or not at all, scratch space that survives a kill, and JSON.

Stages write outputs through `whole_folder` (a temporary sibling, renamed at the end) and keep
resumable work in `scratch_folder` (named by a fingerprint of everything that shaped it).
"""

from __future__ import annotations

import hashlib
import json
import os
import shutil
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

from lmm4rec.doors import reading


@contextmanager
def whole_folder(path: Path) -> Iterator[Path]:
    """Yield an empty folder beside `path`; on success it takes the place of `path` in one rename.

    If the body raises, or the process dies, `path` is as it was; leftovers of a dead process are
    cleared by the next one.
    """
    path.parent.mkdir(parents=True, exist_ok=True)
    unfinished = path.with_name(f".{path.name}.unfinished")
    shutil.rmtree(unfinished, ignore_errors=True)
    unfinished.mkdir()
    try:
        yield unfinished
    except BaseException:
        shutil.rmtree(unfinished, ignore_errors=True)
        raise
    shutil.rmtree(path, ignore_errors=True)
    unfinished.rename(path)


def scratch_folder(root: Path, stage: str, *shaped_by: Any) -> Path:
    """`root/<stage>-<fingerprint>`, made if absent: the same inputs find the same folder again.

    `shaped_by` is anything JSON can hold (parameters, file fingerprints). The caller removes the
    folder once its result stands.
    """
    text = json.dumps(shaped_by, sort_keys=True, default=str)
    folder = root / f"{stage}-{hashlib.sha256(text.encode()).hexdigest()[:16]}"
    folder.mkdir(parents=True, exist_ok=True)
    return folder


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
    path.write_text(json.dumps(content, indent=2, sort_keys=True) + "\n", encoding="utf-8")


def read_json(path: Path) -> Any:
    with reading(path, "valid JSON", "run the stage that writes it again, or `dvc pull` it"):
        return json.loads(path.read_text(encoding="utf-8"))
