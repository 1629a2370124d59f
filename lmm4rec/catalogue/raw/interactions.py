"""A folder's interactions by its recipe: who took what, when, in which part of a ready split."""

from __future__ import annotations

import hashlib
from pathlib import Path

import pyarrow as pa
import pyarrow.compute as pc

from lmm4rec.catalogue.raw.doubtful import refuse_shortened
from lmm4rec.catalogue.raw.items import products_by_alias, translated
from lmm4rec.catalogue.raw.recipe import SPLITS, GivenSplit, InteractionsRecipe, Recipe
from lmm4rec.catalogue.raw.tables import RAW_INTERACTIONS
from lmm4rec.catalogue.readers.ids import clean_ids
from lmm4rec.catalogue.readers.numbers import read_ratings
from lmm4rec.catalogue.readers.reading import Reading
from lmm4rec.catalogue.readers.rows import read_rows
from lmm4rec.catalogue.readers.times import read_times
from lmm4rec.errors import InputError

_SHOWN_KINDS = 8
_MOST_UNDATED = 0.5


def read_interactions(folder: Path, recipe: Recipe, reading: Reading) -> pa.Table:
    """All of them, `RAW_INTERACTIONS`, in the files' order; what is left out is counted."""
    table = recipe.interactions
    paths = [folder / name for names in table.files.values() for name in names]
    rows = _rows(folder, paths, table, reading)
    reading.counts["interaction_rows"] = rows.num_rows
    rows = _without_cancelled(_carried_down(rows, table), table, reading)
    rows = _without_returns(rows, table, reading)
    rows, weights = _weighed(rows, recipe, reading, paths[0])
    users = _ids(rows, table.user, "users", reading, paths[0])
    items = _ids(rows, table.item, "items", reading, paths[0])
    if recipe.users_by_number is not None:
        users = translated(users, folder, recipe.users_by_number, reading)
    if recipe.items_by_number is not None:
        items = translated(items, folder, recipe.items_by_number, reading)
    items = products_by_alias(items, folder, recipe, reading)
    seconds, undated = _seconds(rows, table, paths, reading)
    rating = weights
    unrated = pa.array([False] * rows.num_rows, pa.bool_())
    if weights is None:
        rating, unrated = read_ratings(coalesced(rows, table.rating))
    split = _splits(rows, table, paths)
    found = pa.table(
        [users, items, _kind(rows, table), rating, pc.fill_null(seconds, 0), split],
        schema=RAW_INTERACTIONS,
    )
    bad = pc.or_(undated, unrated)
    count = pc.sum(bad, min_count=0).as_py()
    if count:
        reading.unparsable(paths[0], count, rows.num_rows, _first_bad(rows, table, undated, bad))
    return found.filter(pc.invert(bad))


def coalesced(rows: pa.Table, columns: list[str]) -> pa.ChunkedArray:
    """Each row's first cell that is not empty; null where there is none, or no column."""
    if not columns:
        return pa.chunked_array([pa.nulls(rows.num_rows, pa.string())])
    return pc.coalesce(*(rows[column] for column in columns))


def hashed_ids(ids: pa.ChunkedArray, salt: bytes) -> pa.Array:
    """Salted SHA-256 of each, cut to 32 hexadecimal digits; what is null stays null."""
    distinct = pc.unique(ids)
    sums = [
        None if one is None else hashlib.sha256(salt + one.encode()).hexdigest()[:32]
        for one in distinct.to_pylist()
    ]
    places = pc.index_in(ids, value_set=distinct)
    return pa.array(sums, pa.string()).take(places.combine_chunks())


def _rows(folder: Path, paths: list[Path], table: InteractionsRecipe, reading: Reading) -> pa.Table:
    columns = [
        *table.user, *table.item, *table.rating, *table.timestamp, *table.kind,
        *table.carried_down, *table.cancelled, *table.quantity,
    ]  # fmt: skip
    columns += [table.order] if table.order else []
    columns += [table.split.column] if table.split else []
    ids = [*table.user, *table.item]
    asked = list(dict.fromkeys(columns))
    return read_rows(paths, table.layout, asked, reading, root=folder, ids=ids)


def _carried_down(rows: pa.Table, table: InteractionsRecipe) -> pa.Table:
    """An order's further rows take what only its first one says."""
    if table.order is None or not table.carried_down:
        return rows
    orders = rows[table.order].combine_chunks()
    firsts = pc.index_in(orders, value_set=orders)  # each row's first row of its order
    is_further = pc.and_(pc.is_valid(orders), pc.is_valid(firsts))
    for column in table.carried_down:
        if column in rows.column_names:
            cells = rows[column].combine_chunks()
            carried = cells.take(pc.fill_null(firsts, 0))
            carried = pc.if_else(is_further, carried, None)
            filled = pc.coalesce(cells, carried)
            rows = rows.set_column(rows.schema.get_field_index(column), column, filled)
    return rows


def _without_cancelled(rows: pa.Table, table: InteractionsRecipe, reading: Reading) -> pa.Table:
    if not table.cancelled:
        return rows
    stands = pc.is_null(coalesced(rows, table.cancelled))
    kept = rows.filter(stands)
    reading.counts["cancelled"] = rows.num_rows - kept.num_rows
    return kept


def _without_returns(rows: pa.Table, table: InteractionsRecipe, reading: Reading) -> pa.Table:
    if not table.quantity:
        return rows
    amounts, _ = read_ratings(coalesced(rows, table.quantity))
    kept = rows.filter(pc.fill_null(pc.greater(amounts, 0), True))
    reading.counts["returns"] = rows.num_rows - kept.num_rows
    return kept


def _weighed(
    rows: pa.Table, recipe: Recipe, reading: Reading, path: Path
) -> tuple[pa.Table, pa.Array | None]:
    """Rows whose kind has a weight above 0, and the weights. InputError: a kind has none."""
    if not recipe.interactions.kind:
        return rows, None
    kinds = pc.utf8_trim_whitespace(coalesced(rows, recipe.interactions.kind))
    counts = {one["values"]: one["counts"] for one in pc.value_counts(kinds).to_pylist()}
    unknown = [kind for kind in counts if kind is not None and kind not in recipe.kinds]
    if unknown:
        seen = sorted(((n, kind) for kind, n in counts.items() if kind is not None), reverse=True)
        shown = ", ".join(f"{kind} {n}" for n, kind in seen[:_SHOWN_KINDS])
        asked = ", ".join(
            f"{kind}: {rank}" for rank, (_, kind) in enumerate(seen[:_SHOWN_KINDS], 1)
        )
        raise InputError(
            f"{path}: {recipe.interactions.kind[0]} says {shown}, and source.kinds gives "
            f"{unknown[0]!r} no weight; write what each is worth, as source.kinds: {{{asked}}} "
            "(0: no interaction), or source.interactions.kind: null to take all alike"
        )
    names = list(recipe.kinds)
    places = pc.index_in(kinds, value_set=pa.array(names, pa.string()))
    weights = pa.array([float(recipe.kinds[name]) for name in names]).take(places.combine_chunks())
    counted = pc.fill_null(pc.greater(weights, 0), False)
    reading.counts["kinds_without_weight"] = rows.num_rows - pc.sum(counted, min_count=0).as_py()
    return rows.filter(counted), weights.filter(counted)


def _kind(rows: pa.Table, table: InteractionsRecipe) -> pa.ChunkedArray:
    return pc.utf8_trim_whitespace(coalesced(rows, table.kind))


def _ids(rows: pa.Table, columns: list[str], what: str, reading: Reading, path: Path) -> pa.Array:
    ids, trimmed = clean_ids(coalesced(rows, columns))
    refuse_shortened(ids, path, columns)
    if trimmed:
        reading.counts[f"{what}_with_blanks_around"] += trimmed
    return ids.combine_chunks() if isinstance(ids, pa.ChunkedArray) else ids


def _seconds(
    rows: pa.Table, table: InteractionsRecipe, paths: list[Path], reading: Reading
) -> tuple[pa.Array, pa.Array]:
    """(seconds, is bad), null and false where there are no times."""
    n = rows.num_rows
    if not table.timestamp:
        return pa.nulls(n, pa.int64()), pa.array([False] * n, pa.bool_())
    times = read_times(coalesced(rows, table.timestamp), paths[0], table.date_order)
    reading.times = times.form
    _refuse_unknown_form(times.is_bad, rows, table, paths[0])
    if times.is_order and not table.order_is_time:
        raise InputError(
            f"{paths[0]}: {table.timestamp[0]} holds numbers too small for times, {times.form}; "
            "write source.interactions.timestamp: null, or where it is an order that may stand for "
            "times, source.interactions.order_is_time: true"
        )
    return times.seconds, times.is_bad


def _refuse_unknown_form(
    is_bad: pa.Array, rows: pa.Table, table: InteractionsRecipe, path: Path
) -> None:
    """InputError where hardly a time can be read: they are in a form that is not known."""
    count = pc.sum(is_bad, min_count=0).as_py()
    if count > _MOST_UNDATED * rows.num_rows:
        example = rows[table.timestamp[0]][pc.index(is_bad, True).as_py()].as_py()
        raise InputError(
            f"{path}: {count} of {rows.num_rows} times cannot be read, such as {example!r} in "
            f"{table.timestamp[0]}; write them as 2024-01-31 13:30:00 or as seconds since 1970, or "
            "do without, as source.interactions.timestamp: null"
        )


def _splits(rows: pa.Table, table: InteractionsRecipe, paths: list[Path]) -> pa.Array:
    """Each row's part: by its column, or by its file."""
    if table.split is not None:
        return _splits_by_column(rows, table.split, paths[0])
    if "all" in table.files or not table.parts_are_splits:
        return pa.nulls(rows.num_rows, pa.string())
    parts = pa.array([part for part, names in table.files.items() for _ in names], pa.string())
    return parts.take(rows["file_number"].combine_chunks())


def _splits_by_column(rows: pa.Table, split: GivenSplit, path: Path) -> pa.Array:
    theirs = pa.array([split.train, split.validation, split.test])
    codes = pc.index_in(rows[split.column], value_set=theirs)
    if codes.null_count:
        stranger = rows[split.column].filter(pc.is_null(codes))[0].as_py()
        raise InputError(
            f"{path}: column {split.column!r} holds {stranger!r}, which is none of "
            f"{theirs.to_pylist()}; name the three splits in source.interactions.split"
        )
    return pa.array(SPLITS).take(codes.combine_chunks())


def _first_bad(rows: pa.Table, table: InteractionsRecipe, undated: pa.Array, bad: pa.Array) -> str:
    row = pc.index(bad, True).as_py()
    is_time = undated[row].as_py()
    column = (table.timestamp if is_time else table.rating)[0]
    value = rows[column][row].as_py()
    what = "no time that can be read" if is_time else "no number"
    return f"row {row + 1}, {column} {value!r} is {what}"
