"""All pictures of a raw catalogue in one uncompressed zip: same pictures, same bytes.

One file instead of thousands, because DVC's push and pull pay per file; zip, because it is read by
member name without unpacking.
"""

from __future__ import annotations

import zipfile
from collections.abc import Iterable
from pathlib import Path

from lmm4rec.doors import reading
from lmm4rec.folders import visible_files

ARCHIVE = "images.zip"  # in the raw folder, where pictures came with the catalogue


def write_archive(path: Path, pictures: Iterable[tuple[str, bytes]]) -> None:
    """(name, content) pairs, in the order given."""
    with zipfile.ZipFile(path, "w", zipfile.ZIP_STORED) as archive:
        for name, content in pictures:
            # ZipInfo's own date (1980) stands: files' dates would change the bytes
            archive.writestr(zipfile.ZipInfo(name), content)


def pack_pictures(folder: Path, path: Path) -> None:
    """Pack the files of a folder under their own names; hidden ones and folders are left out."""
    files = visible_files(folder)
    write_archive(path, ((file.name, Path(file).read_bytes()) for file in files))


def open_archive(path: Path) -> zipfile.ZipFile:
    with reading(path, "a zip file", "run stage download again"):
        return zipfile.ZipFile(path)


def read_archive_names(path: Path) -> list[str]:
    """Names of the pictures, in ascending order."""
    with open_archive(path) as archive:
        return sorted(archive.namelist())
