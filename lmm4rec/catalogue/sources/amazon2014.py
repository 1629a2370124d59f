"""Amazon's 2014 release (McAuley et al.): gzipped 5-core reviews and metadata, one dict a line.

Reviews are JSON lines, in some files Python literals; metadata is Python literals throughout. The
original scripts call eval on them, here `ast.literal_eval` reads what JSON cannot.
"""

from __future__ import annotations

import ast
import json
import logging
import re
from collections import Counter
from pathlib import Path
from typing import Any, Literal

import pyarrow as pa

from lmm4rec.catalogue.downloads import RemoteFile, fetch, file_name
from lmm4rec.catalogue.sources.base import (
    RAW_INTERACTIONS,
    RAW_ITEMS,
    SOURCE_FILE,
    Reading,
    Source,
)
from lmm4rec.catalogue.sources.gzip_lines import gzip_lines
from lmm4rec.catalogue.sources.values import (
    Fault,
    as_id,
    as_link,
    as_rating,
    as_seconds,
    as_text,
)
from lmm4rec.folders import write_json

CHECKSUMS_FILE = "checksums.json"
# The first key of nearly every metadata line; a line where it is not is parsed whole.
_ASIN = re.compile(rb"""\{'asin': '([^'\\]+)'""")
# What reading a line's value may raise.
UNPARSABLE = (ValueError, TypeError, KeyError, SyntaxError, AttributeError, RecursionError)

log = logging.getLogger(__name__)


class Amazon2014Source(Source):
    """One category: reviews_<X>_5.json.gz and, unless null, meta_<X>.json.gz."""

    kind: Literal["amazon2014"]
    reviews: RemoteFile
    metadata: RemoteFile | None

    def download(self, folder: Path, scratch: Path) -> None:
        checksums, kept = {}, self._names()
        for role, file in self._files().items():
            path = scratch / role / kept[role]
            checksums[path.name] = fetch(file.url, path, file.sha256)
            log.info("%s: SHA-256 %s", path.name, checksums[path.name])
        for role, name in kept.items():
            (scratch / role / name).rename(folder / name)
        write_json(folder / CHECKSUMS_FILE, checksums)

    def read_interactions(self, folder: Path, reading: Reading) -> pa.Table:
        return read_reviews(folder / self._names()["reviews"], reading)

    def read_items(self, folder: Path, wanted: pa.Array, reading: Reading) -> pa.Table:
        if self.metadata is None:
            return RAW_ITEMS.empty_table()
        return read_metadata(folder / self._names()["metadata"], wanted, reading)

    def _files(self) -> dict[str, RemoteFile]:
        """By role."""
        reviews = {"reviews": self.reviews}
        return reviews if self.metadata is None else reviews | {"metadata": self.metadata}

    def _names(self) -> dict[str, str]:
        """File names by role: as addresses end, with the role before it where that is taken."""
        own = {role: file_name(file.url) for role, file in self._files().items()}
        if len({*own.values(), SOURCE_FILE, CHECKSUMS_FILE}) == len(own) + 2:
            return own
        return {role: f"{role}-{name}" for role, name in own.items()}


def read_reviews(path: Path, reading: Reading) -> pa.Table:
    """Who reviewed what, when and with how many stars; ids missing in a line are null.

    A line whose values cannot be used is counted by its fault, and as one that cannot be read.
    """
    columns: dict[str, list[Any]] = {name: [] for name in RAW_INTERACTIONS.names[:-1]}
    total, bad, first_bad = 0, 0, ""
    for number, line in enumerate(gzip_lines(path, reading), 1):
        total += 1
        try:
            review = _parse(line)
            row = (
                as_id(review.get("reviewerID")),
                as_id(review.get("asin")),
                as_rating(review["overall"]),
                as_seconds(review["unixReviewTime"]),
            )
        except UNPARSABLE as error:
            reading.counts.update(error.args if isinstance(error, Fault) else ())
            bad, first_bad = bad + 1, first_bad or f"line {number}"
            continue
        for column, value in zip(columns.values(), row, strict=True):
            column.append(value)
    reading.unparsable(path, bad, total, first_bad)
    splits = pa.nulls(total - bad, pa.string())
    return pa.table({**columns, "split": splits}, schema=RAW_INTERACTIONS)


def read_metadata(path: Path, wanted: pa.Array, reading: Reading) -> pa.Table:
    """Texts and picture link of the wanted items; of an asin that stands twice the first is kept.

    Half a million lines stand in the largest file and a literal takes some 0.1 ms, so a line whose
    asin can be read off its beginning and is not wanted is not parsed.
    """
    wanted_ids = set(wanted.to_pylist())
    found: dict[str, dict[str, str | None]] = {}
    total, bad, first_bad = 0, 0, ""
    for number, line in enumerate(gzip_lines(path, reading), 1):
        total += 1
        beginning = _ASIN.match(line)
        if beginning and beginning[1].decode("utf-8", "replace") not in wanted_ids:
            continue
        try:
            item = _parse(line)
            asin = as_id(item["asin"]) or ""  # which nobody wants
        except UNPARSABLE as error:
            reading.counts.update(error.args if isinstance(error, Fault) else ())
            bad, first_bad = bad + 1, first_bad or f"line {number}"
            continue
        if asin in found:
            reading.counts["duplicate_items"] += 1
        elif asin in wanted_ids:
            found[asin] = _texts(asin, item, reading.counts)
    reading.unparsable(path, bad, total, first_bad)
    return pa.Table.from_pylist(list(found.values()), schema=RAW_ITEMS)


def _parse(line: bytes) -> dict[str, Any]:
    text = line.decode("utf-8")
    try:
        value = json.loads(text)
    except ValueError:
        try:
            value = ast.literal_eval(text)
        except MemoryError:  # how Python's parser says that a text is nested too deeply
            raise ValueError("nested too deeply") from None
    if not isinstance(value, dict):
        raise ValueError("not a dict")
    return value


def _texts(asin: str, item: dict[str, Any], counts: Counter[str]) -> dict[str, str | None]:
    names = [as_text(name, counts) for name in _first_path(item.get("categories"))]
    return {
        "item_id": asin,
        "title": as_text(item.get("title"), counts),
        "brand": as_text(item.get("brand"), counts),
        "categories": " ".join(name for name in names if name),
        "description": as_text(item.get("description"), counts),
        "image": as_link(item.get("imUrl"), counts),
    }


def _first_path(categories: Any) -> list[Any]:
    """The first of several paths of names, or the only one."""
    if not isinstance(categories, list):
        return [categories]
    if categories and isinstance(categories[0], list):
        return categories[0]
    return categories
