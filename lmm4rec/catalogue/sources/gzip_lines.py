"""Lines of a gzipped file, and what becomes of a file that breaks off."""

from __future__ import annotations

import gzip
import zlib
from collections.abc import Iterator
from pathlib import Path

from tqdm import tqdm

from lmm4rec.catalogue.sources.base import Reading
from lmm4rec.errors import InputError


def gzip_lines(path: Path, reading: Reading) -> Iterator[bytes]:
    """Whole lines, without their ends; blank ones are left out.

    A file that breaks off raises `InputError`, unless `reading.accept_truncated`: then its whole
    lines are given, the torn last one is not, and `truncated_files` counts it.
    """
    try:
        with gzip.open(path, "rb") as stream:
            yield from _whole_lines(stream, path, reading)
    except FileNotFoundError:
        raise InputError(f"{path}: there is no such file; run stage download again") from None
    except (gzip.BadGzipFile, zlib.error) as error:
        raise InputError(
            f"{path}: not a sound gzip file ({error}); fetch it again with stage download"
        ) from None


def _whole_lines(stream: gzip.GzipFile, path: Path, reading: Reading) -> Iterator[bytes]:
    lines = tqdm(stream, unit=" lines", desc=path.name, leave=False)
    try:
        for line in lines:
            if line.strip():
                yield line.rstrip(b"\r\n")
    except EOFError:
        if not reading.accept_truncated:
            raise InputError(
                f"{path}: breaks off in the middle; fetch it again with stage download, or set "
                "accept_truncated: true to use the lines that are whole"
            ) from None
        reading.counts["truncated_files"] += 1
