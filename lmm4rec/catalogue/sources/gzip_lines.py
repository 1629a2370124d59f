"""Lines of a gzipped file, and what becomes of a file that breaks off."""

from __future__ import annotations

import gzip
from collections.abc import Iterator
from pathlib import Path

from tqdm import tqdm

from lmm4rec import doors
from lmm4rec.catalogue.sources.base import Reading
from lmm4rec.errors import InputError

# The longest lines of the 2014 files have some 100 kB. Parsed, a hostile one takes 300 times its
# size in memory.
LONGEST_LINE_BYTES = 1 << 20
OVERLONG = b""


def gzip_lines(path: Path, reading: Reading) -> Iterator[bytes]:
    """Whole lines, without their ends; blank ones are left out.

    In the place of a line of more than `LONGEST_LINE_BYTES` stands `OVERLONG`, which no reader can
    parse, and `overlong_lines` counts it: it is never held whole. A file that breaks off raises
    `InputError`, unless `reading.accept_truncated`: then its whole lines are given, the torn last
    one is not, and `truncated_files` counts it.
    """
    door = doors.reading(path, "a sound gzip file", "fetch it again with stage download")
    with door:
        stream = gzip.open(path, "rb")  # noqa: SIM115 - closed below
    if path.stat().st_size == 0:  # to Python's reader it holds no lines
        _accept_truncated(path, reading)
    with stream, tqdm(unit=" lines", desc=path.name, leave=False) as progress:
        while True:
            with door:
                try:
                    line = stream.readline(LONGEST_LINE_BYTES + 1)
                    rest = line
                    while len(rest) > LONGEST_LINE_BYTES and not rest.endswith(b"\n"):
                        rest = stream.readline(LONGEST_LINE_BYTES + 1)
                except EOFError:
                    _accept_truncated(path, reading)
                    return
            if not line:
                return
            progress.update()
            if rest is not line:
                reading.counts["overlong_lines"] += 1
                yield OVERLONG
            elif line.strip():
                yield line.rstrip(b"\r\n")


def _accept_truncated(path: Path, reading: Reading) -> None:
    if not reading.accept_truncated:
        raise InputError(
            f"{path}: breaks off before its end; fetch it again with stage download, or set "
            "accept_truncated: true to use the lines that are whole"
        )
    reading.counts["truncated_files"] += 1
