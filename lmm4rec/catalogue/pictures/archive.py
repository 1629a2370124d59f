"""All pictures of a raw catalogue in one uncompressed zip: same pictures, same bytes.

One file instead of thousands, because DVC's push and pull pay per file; zip, because it is read by
member name without unpacking. A name says where the picture was: the path below the catalogue's
folder, `<file>#<member>` of a zip or tar, `<file>#<row>/<column>/<k>` of a Parquet file. It is a
name and nothing else: no file is ever written under it.
"""

from __future__ import annotations

import unicodedata
import zipfile
from collections import Counter
from collections.abc import Iterable, Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path

from lmm4rec.catalogue.pictures.containers import (
    Picture,
    Tally,
    below_folder,
    in_parquet,
    in_tar,
    in_zip,
    loose,
)
from lmm4rec.doors import reading, writing
from lmm4rec.errors import InputError

ARCHIVE = "images.zip"  # in the raw folder, where pictures came with the catalogue
_TARS = (".tar", ".tar.gz", ".tgz", ".tar.bz2", ".tbz2", ".tar.xz", ".txz")


@dataclass(frozen=True)
class Packed:
    """What went into an archive, and what did not."""

    counts: dict[str, int]  # pictures, bytes, hidden, without_bytes, not_pictures
    endings: dict[str, int]  # of the files that are no pictures
    first_left_out: str | None  # one of those


def pack_pictures(root: Path, paths: Sequence[Path], archive: Path) -> Packed:
    """Pack every picture of these files and folders, which are relative to `root`.

    A folder may be of any depth; of the files, zips, tars (WebDataset's shards) and Parquet files
    with image structs are looked into. Hidden files and those that are no pictures, by their ending
    and by their first bytes, are left out and counted. Names are in Unicode's composed form (NFC).

    Raises InputError for what is not there or cannot be read, for a name that is no UTF-8, and for
    two pictures that would be called the same.
    """
    tally = Tally(Counter(), Counter())
    names: dict[str, str] = {}  # in the archive -> where the picture was
    with writing(archive), zipfile.ZipFile(archive, "w", zipfile.ZIP_STORED) as packed:
        for path in paths:
            for picture in _pictures(root, path, tally):
                _write(packed, _own_name(picture.name, names), picture)
                tally.counts.update(pictures=1)
    tally.counts["bytes"] = sum(entry.file_size for entry in packed.infolist())
    counts = {name: tally.counts[name] for name in _COUNTED}
    return Packed(counts, dict(sorted(tally.endings.items())), tally.first_left_out)


_COUNTED = ("pictures", "bytes", "hidden", "without_bytes", "not_pictures")


def picture_names(root: Path, paths: Sequence[Path]) -> list[str]:
    """The names under which `pack_pictures` would pack these files, in ascending order."""
    tally, names = Tally(Counter(), Counter()), dict[str, str]()
    return sorted(
        _own_name(picture.name, names) for path in paths for picture in _pictures(root, path, tally)
    )


def write_archive(path: Path, pictures: Iterable[tuple[str, bytes]]) -> None:
    """(name, content) pairs, in the order given."""
    with writing(path), zipfile.ZipFile(path, "w", zipfile.ZIP_STORED) as archive:
        for name, content in pictures:
            _write(archive, name, Picture(name, len(content), iter([content])))


def open_archive(path: Path) -> zipfile.ZipFile:
    with reading(path, "a zip file", "run stage download again"):
        return zipfile.ZipFile(path)


def read_archive_names(path: Path) -> list[str]:
    """Names of the pictures, in ascending order."""
    with open_archive(path) as archive:
        return sorted(archive.namelist())


def _pictures(root: Path, path: Path, tally: Tally) -> Iterator[Picture]:
    """Of one file or folder, under the names that they have on this machine."""
    here, label = root / path, "" if path == Path() else path.as_posix()
    if here.is_dir():
        return below_folder(here, f"{label}/" if label else "", tally)
    if not here.exists():
        raise InputError(
            f"{here}: there is no such file or folder; correct in params.yaml where pictures are"
        )
    ending = path.name.lower()
    if ending.endswith(".zip"):
        return in_zip(here, label, tally)
    if ending.endswith(_TARS):
        return in_tar(here, label, tally)
    if ending.endswith(".parquet"):
        return in_parquet(here, label, tally)
    return loose(here, label, tally)


def _own_name(name: str, names: dict[str, str]) -> str:
    """Its name in the archive, which is nobody else's."""
    try:
        name.encode("utf-8")
    except UnicodeEncodeError:
        raise InputError(f"{name!a}: this picture's name is not UTF-8; rename the file") from None
    composed = unicodedata.normalize("NFC", name)
    if composed not in names:
        names[composed] = name
        return composed
    if names[composed] == name:
        raise InputError(f"{name}: two pictures have this name; rename or remove one of them")
    apart = max(name, names[composed], key=len)
    raise InputError(
        f"{composed}: two pictures have this name, one with its accents as characters of their own "
        f"({apart!a}); rename or remove one of them"
    )


def _write(archive: zipfile.ZipFile, name: str, picture: Picture) -> None:
    entry = zipfile.ZipInfo(name)  # its own date (1980) stands: files' dates would change the bytes
    entry.file_size = picture.size
    with archive.open(entry, "w") as stream:
        for chunk in picture.content:
            stream.write(chunk)
