"""Collecting the pictures of a corpus in shards that survive a kill.

A shard holds the rows of `ROW_GROUP_ROWS` items and stands in the scratch folder once it is whole.
A later run takes standing shards as they are, except for rows whose picture could not be reached:
those are asked for again.
"""

from __future__ import annotations

import logging
import os
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from threading import Semaphore
from typing import Any

import pyarrow as pa
import pyarrow.compute as pc
import pyarrow.parquet as pq
from pydantic import Field
from tqdm import tqdm

from lmm4rec.catalogue.downloads import TransientError
from lmm4rec.catalogue.images import (
    IMAGES_SCHEMA,
    NO_LINK,
    NOT_FOUND,
    REFUSED,
    ROW_GROUP_ROWS,
    write_images,
)
from lmm4rec.catalogue.picture_links import LinkParams, PictureSource
from lmm4rec.catalogue.pictures import PictureParams, reencode
from lmm4rec.catalogue.public_addresses import RefusedAddressError
from lmm4rec.doors import reading
from lmm4rec.errors import InputError
from lmm4rec.folders import whole_file, write_json

# A status of shards alone: the network failed in a way that may pass.
UNREACHABLE = "unreachable"

log = logging.getLogger(__name__)


class ImagesParams(PictureParams, LinkParams):
    """Section `datasets.<name>.images`."""

    maximum_unreachable_share: float = Field(ge=0, le=1)


def collect_images(
    items: pa.Table,
    source: PictureSource,
    folder: Path,
    scratch: Path,
    params: ImagesParams,
    threads: int,
) -> dict[str, int]:
    """Write images.parquet and about.json for `items` (item_id, image); counts by status.

    Items whose picture stays out of reach become not-found, unless they are too many: then
    `InputError` asks for another run, which goes on where this one ended. Threads do, because they
    mostly wait for the network, and Pillow lets go of the interpreter while it decodes and scales.
    """
    refusals: list[str] = []
    processors = Semaphore(os.cpu_count() or 1)  # pictures decoded at once, for memory's sake

    def collect(row: dict[str, Any]) -> dict[str, Any]:
        if not row["image"]:
            return _row(row, NO_LINK)
        try:
            content = source(row["image"])
        except TransientError:
            return _row(row, UNREACHABLE)
        except RefusedAddressError as error:
            refusals.append(f"item {row['item_id']}: {error}")
            return _row(row, REFUSED)
        if content is None:
            return _row(row, NOT_FOUND)
        with processors:
            return _row(row, *reencode(content, params))

    starts = range(0, items.num_rows, ROW_GROUP_ROWS)
    with (
        ThreadPoolExecutor(threads) as pool,
        tqdm(total=items.num_rows, unit=" pictures", desc="pictures") as progress,
    ):
        shards = []
        for start in starts:
            part = items.slice(start, ROW_GROUP_ROWS).select(["item_id", "image"]).to_pylist()
            shards.append(_shard(scratch / f"{start:09d}.parquet", part, collect, pool))
            progress.update(len(part))
    if refusals:
        log.warning("%d links lead where nothing is asked; first: %s", len(refusals), refusals[0])
    _refuse_too_many_unreachable(shards, items, params.maximum_unreachable_share)
    counts = write_images(folder / "images.parquet", _settled(shards))
    write_json(folder / "about.json", {"items": items.num_rows, "pictures_by_status": counts})
    return counts


def _shard(path: Path, part: list[dict[str, Any]], collect: Any, pool: ThreadPoolExecutor) -> Path:
    """Make the shard, or complete a standing one."""
    known: dict[str, dict[str, Any]] = {}
    if path.exists():
        rows = _read_shard(path)
        asked_again = (UNREACHABLE, REFUSED)  # what is refused, another run may allow
        known = {r["item_id"]: r for r in rows.to_pylist() if r["status"] not in asked_again}
    missing = [row for row in part if row["item_id"] not in known]
    if missing:
        known |= {row["item_id"]: row for row in pool.map(collect, missing)}
        ordered = [known[row["item_id"]] for row in part]
        with whole_file(path) as unfinished:
            pq.write_table(pa.Table.from_pylist(ordered, schema=IMAGES_SCHEMA), unfinished)
    return path


def _read_shard(path: Path, columns: list[str] | None = None) -> pa.Table:
    with reading(path, "a Parquet file", "delete it and run stage images again"):
        rows = pq.read_table(path, schema=IMAGES_SCHEMA, columns=columns)
        rows.validate(full=True)
    return rows


def _refuse_too_many_unreachable(shards: list[Path], items: pa.Table, maximum: float) -> None:
    unreachable = [
        row["item_id"]
        for path in shards
        for row in _read_shard(path, ["item_id", "status"]).to_pylist()
        if row["status"] == UNREACHABLE
    ]
    if len(unreachable) > maximum * items.num_rows:
        raise InputError(
            f"{len(unreachable)} of {items.num_rows} pictures could not be reached (first: item "
            f"{unreachable[0]}), more than maximum_unreachable_share = {maximum} allows; run stage "
            "images again to ask for those alone, or raise that parameter"
        )
    if unreachable:
        log.info("%d pictures could not be reached and count as not-found", len(unreachable))


def _settled(shards: list[Path]) -> Iterator[pa.Table]:
    for path in shards:
        rows = _read_shard(path)
        reached = pc.not_equal(rows["status"], UNREACHABLE)
        yield rows.set_column(1, "status", pc.if_else(reached, rows["status"], NOT_FOUND))


def _row(row: dict[str, Any], status: str, content: bytes | None = None) -> dict[str, Any]:
    return {"item_id": row["item_id"], "status": status, "bytes": content}
