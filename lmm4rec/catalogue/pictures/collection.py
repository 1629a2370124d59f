"""Collecting the pictures of a corpus in shards that survive a kill.

A shard holds the rows of `ROW_GROUP_ROWS` items and stands in the scratch folder once it is whole.
A later run takes standing shards as they are, except for items of which a picture could not be
reached, or may not be asked: those are asked for again.
"""

from __future__ import annotations

import hashlib
import logging
import os
from collections import Counter
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from threading import Semaphore
from typing import Annotated, Any, Literal

import numpy as np
import pyarrow as pa
import pyarrow.compute as pc
import pyarrow.parquet as pq
from pydantic import BeforeValidator, Field
from tqdm import tqdm

from lmm4rec.catalogue.downloads import TransientError
from lmm4rec.catalogue.pictures.choice import UNREACHABLE, Choice, Tried, choose
from lmm4rec.catalogue.pictures.images import (
    IMAGES,
    IMAGES_SCHEMA,
    MORE_IMAGES,
    MORE_IMAGES_SCHEMA,
    NOT_FOUND,
    OK,
    REFUSED,
    ROW_GROUP_ROWS,
    write_images,
    write_more_images,
)
from lmm4rec.catalogue.pictures.links import LinkParams, PictureSource
from lmm4rec.catalogue.pictures.reencoding import PictureParams, reencode
from lmm4rec.catalogue.public_addresses import RefusedAddressError
from lmm4rec.doors import reading
from lmm4rec.errors import InputError
from lmm4rec.folders import whole_file, write_json
from lmm4rec.tables import rows_of

_ONE = pa.struct([("position", pa.int32()), ("status", pa.string()), ("bytes", pa.binary())])
_SHARD_SCHEMA = pa.schema(
    [
        *IMAGES_SCHEMA,
        ("others", pa.list_(_ONE)),
        ("tried", pa.int32()),
        ("stands_in", pa.bool_()),  # the picture is not the item's first
        ("is_short", pa.bool_()),
        ("may_change", pa.bool_()),
    ]
)

log = logging.getLogger(__name__)


_MOST_AN_ITEM = 10_000


def _one_or_all(value: Any) -> Any:
    if value != "all" and (type(value) is not int or not 1 <= value <= _MOST_AN_ITEM):
        raise ValueError(
            f"should be a whole number from 1 to {_MOST_AN_ITEM}, or the word all, not {value!r}"
        )
    return value


class ImagesParams(PictureParams, LinkParams):
    """Section `datasets.<name>.images`."""

    pictures_per_item: Annotated[int | Literal["all"], BeforeValidator(_one_or_all)]
    maximum_unreachable_share: float = Field(ge=0, le=1)


def collect_images(
    item_ids: pa.Array,
    pictures: pa.Table,
    source: PictureSource,
    folder: Path,
    scratch: Path,
    params: ImagesParams,
    threads: int,
) -> dict[str, int]:
    """Write images.parquet, more_images.parquet and about.json; counts of items by status.

    `pictures` (`corpus.PICTURES_SCHEMA`) are those of `item_ids`, in that order. Of each item the
    first that open are kept, `pictures_per_item` of them. One that stays out of reach becomes
    not-found, unless the items it happens to are too many: then `InputError` asks for another run,
    which goes on where this one ended. Threads do, because they mostly wait for the network, and
    Pillow lets go of the interpreter while it decodes and scales.
    """
    attempts = _Attempts(source, params)
    bounds = _bounds(item_ids, pictures)

    def collect(row: int) -> dict[str, Any]:
        own = pictures.slice(bounds[row], bounds[row + 1] - bounds[row])
        named = zip(own["position"].to_pylist(), own["picture"].to_pylist(), strict=True)
        item_id = item_ids[row].as_py()
        return _shard_row(item_id, choose(named, attempts.of(item_id), params.pictures_per_item))

    with (
        ThreadPoolExecutor(threads) as pool,
        tqdm(total=len(item_ids), unit=" items", desc="pictures") as progress,
    ):
        shards = []
        for start in range(0, len(item_ids), ROW_GROUP_ROWS):
            rows = range(start, min(start + ROW_GROUP_ROWS, len(item_ids)))
            shards.append(_shard(scratch / f"{start:09d}.parquet", item_ids, rows, collect, pool))
            progress.update(len(rows))
    attempts.tell_refusals()
    _refuse_too_many_unreachable(shards, len(item_ids), params.maximum_unreachable_share)
    counts = write_images(folder / IMAGES, map(_main, shards))
    further = write_more_images(folder / MORE_IMAGES, map(_others, shards))
    write_json(folder / "about.json", _about(shards, pictures.num_rows, counts, further))
    return counts


class _Attempts:
    """Fetches and re-encodes single pictures; remembers which links lead where nothing is asked."""

    def __init__(self, source: PictureSource, params: PictureParams) -> None:
        self._source, self._params = source, params
        self._refusals: list[str] = []
        self._processors = Semaphore(os.cpu_count() or 1)  # pictures decoded at once, for memory

    def of(self, item_id: str) -> Callable[[str], tuple[str, bytes | None]]:
        """What becomes of one of the item's pictures: status, and bytes where that is ok."""

        def attempt(picture: str) -> tuple[str, bytes | None]:
            try:
                content = self._source(picture)
            except TransientError:
                return UNREACHABLE, None
            except RefusedAddressError as error:
                self._refusals.append(f"item {item_id}: {error}")
                return REFUSED, None
            if content is None:
                return NOT_FOUND, None
            with self._processors:
                return reencode(content, self._params)

        return attempt

    def tell_refusals(self) -> None:
        if self._refusals:
            count, first = len(self._refusals), self._refusals[0]
            log.warning("%d links lead where nothing is asked; first: %s", count, first)


def _bounds(item_ids: pa.Array, pictures: pa.Table) -> list[int]:
    """Where each item's pictures begin among `pictures`, and where the last one's end: [I + 1]."""
    rows = rows_of(pictures["item_id"], item_ids)
    if (rows < 0).any() or (np.diff(rows) < 0).any():
        raise InputError(
            "picture_sources.parquet: does not name pictures of the corpus's items in their order; "
            "run stage preprocess again"
        )
    found: list[int] = np.searchsorted(rows, np.arange(len(item_ids) + 1)).tolist()
    return found


def _shard_row(item_id: str, choice: Choice) -> dict[str, Any]:
    main = choice.main
    return {
        "item_id": item_id,
        "status": choice.status,
        "bytes": None if main is None else main.content,
        "others": [_as_dict(one) for one in choice.others],
        "tried": choice.tried,
        "stands_in": choice.status == OK and main is not None and main.position > 0,
        "is_short": choice.is_short,
        "may_change": choice.may_change,
    }


def _as_dict(one: Tried) -> dict[str, Any]:
    return {"position": one.position, "status": one.status, "bytes": one.content}


def _shard(
    path: Path,
    item_ids: pa.Array,
    rows: range,
    collect: Callable[[int], dict[str, Any]],
    pool: ThreadPoolExecutor,
) -> Path:
    """Make the shard, or complete a standing one."""
    known: dict[str, dict[str, Any]] = {}
    if path.exists():
        standing = _read_shard(path).to_pylist()
        known = {row["item_id"]: row for row in standing if not row["may_change"]}
    own = item_ids.slice(rows.start, len(rows)).to_pylist()
    missing = [row for row, item_id in zip(rows, own, strict=True) if item_id not in known]
    if missing:
        known |= {row["item_id"]: row for row in pool.map(collect, missing)}
        ordered = pa.Table.from_pylist([known[item_id] for item_id in own], schema=_SHARD_SCHEMA)
        with whole_file(path) as unfinished:
            pq.write_table(ordered, unfinished)
    return path


def _read_shard(path: Path, columns: list[str] | None = None) -> pa.Table:
    with reading(path, "a Parquet file", "delete it and run stage images again"):
        rows = pq.read_table(path, schema=_SHARD_SCHEMA, columns=columns)
        rows.validate(full=True)
    return rows


def _refuse_too_many_unreachable(shards: list[Path], items: int, maximum: float) -> None:
    short = [
        row["item_id"]
        for path in shards
        for row in _read_shard(path, ["item_id", "is_short"]).to_pylist()
        if row["is_short"]
    ]
    if len(short) > maximum * items:
        raise InputError(
            f"pictures of {len(short)} of {items} items could not be reached (first: item "
            f"{short[0]}), more than maximum_unreachable_share = {maximum} allows; run stage "
            "images again to ask for those alone, or raise that parameter"
        )
    if short:
        log.info("pictures of %d items could not be reached and count as not-found", len(short))


def _main(path: Path) -> pa.Table:
    return _settled(_read_shard(path, IMAGES_SCHEMA.names))


def _others(path: Path) -> pa.Table:
    rows = _read_shard(path, ["item_id", "others"])
    parents = pc.list_parent_indices(rows["others"])
    others = pc.list_flatten(rows["others"]).combine_chunks()
    columns = [rows["item_id"].take(parents), *others.flatten()]
    return _settled(pa.table(columns, schema=MORE_IMAGES_SCHEMA))


def _settled(rows: pa.Table) -> pa.Table:
    """What stayed out of reach is not there."""
    reached = pc.not_equal(rows["status"], UNREACHABLE)
    settled = pc.if_else(reached, rows["status"], NOT_FOUND)
    return rows.set_column(rows.schema.get_field_index("status"), "status", settled)


def _about(
    shards: list[Path], named: int, counts: dict[str, int], further: dict[str, int]
) -> dict[str, Any]:
    rows = pa.concat_tables([_read_shard(path, ["tried", "stands_in"]) for path in shards])
    return {
        "items": sum(counts.values()),
        "pictures_by_status": counts,
        "pictures_named": named,
        "pictures_tried": pc.sum(rows["tried"], min_count=0).as_py(),
        "pictures_kept": counts[OK] + further[OK],
        "items_with_another_than_their_first": pc.sum(rows["stands_in"], min_count=0).as_py(),
        "items_sharing_a_picture": _sharing(shards, counts[OK]),
    }


def _sharing(shards: list[Path], n_pictured: int) -> int:
    """How many items' main picture is another's too, byte by byte: a shop's placeholder, say."""
    seen = Counter(
        hashlib.sha256(content).digest()
        for path in shards
        for content in _main(path)["bytes"].drop_null().to_pylist()
    )
    sharing = sum(count for count in seen.values() if count > 1)
    if sharing > n_pictured // 2:
        log.warning("%d of %d pictures are another item's too: placeholders?", sharing, n_pictured)
    return sharing
