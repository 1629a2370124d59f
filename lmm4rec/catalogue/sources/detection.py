"""Which column of which table holds what: by names (roles.yaml) and by values that join.

Two candidates that are equally good are refused: a person knows, and says it in one line.
"""

from __future__ import annotations

from collections.abc import Collection
from dataclasses import dataclass

import pyarrow as pa
import pyarrow.compute as pc

from lmm4rec.catalogue.readers.ids import clean_ids
from lmm4rec.catalogue.readers.numbers import read_ratings
from lmm4rec.catalogue.readers.times import read_times
from lmm4rec.catalogue.sources.folder import Folder
from lmm4rec.catalogue.sources.tables_found import Roles, Table, roles_by_name
from lmm4rec.catalogue.sources.unread import unread_files
from lmm4rec.errors import InputError

_INTERACTION_ROLES = ("user", "item", "timestamp", "rating", "kind", "split", "quantity")
_TEXT_ROLES = ("title", "brand", "categories", "description")
_ITEM_ROLES = ("item", *_TEXT_ROLES, "image", "group")
_JOINED_SHARE = 0.5  # of bought items that a table must know to be the items table by values
_CHANGED_SHARE = 0.1  # of items whose title or brand was changed while they were sold
_MOST_RATINGS = 12  # different values of a column of ratings that has no name


@dataclass(frozen=True)
class Found:
    table: Table
    roles: Roles
    notes: tuple[str, ...] = ()


class Detection:
    """What a folder's tables are, beside what is known of it already."""

    def __init__(self, folder: Folder, tables: list[Table]) -> None:
        self._folder, self._tables = folder, tables
        self._ids: dict[tuple[str, str], pa.Array] = {}

    def interactions(self, items: Found | None) -> Found:
        """The one table with users and items."""
        others = [t for t in self._tables if items is None or t.all_files != items.table.all_files]
        named = [
            t
            for t in others
            if {"user", "item"} <= roles_by_name(t.columns, _INTERACTION_ROLES).keys()
        ]
        if len(named) > 1:
            raise self._several(named)
        if named:
            return self.in_interactions(named[0], {}, items)
        half = [
            t for t in others if "user" in roles_by_name(t.columns, ["user"]) or not t.layout.header
        ]
        for table in half:
            found = self._joining(table, items, half)
            if found is not None:
                return found
        raise self._no_interactions(half)

    def _several(self, named: list[Table]) -> InputError:
        first = named[0].all_files[0]
        if all(set(table.columns) == set(named[0].columns) for table in named):
            every = ", ".join(table.all_files[0] for table in named)
            return InputError(
                f"{self._folder.root}: {_listed(named)} each have users and items, under the same "
                f"names; write source.interactions: {{file: [{every}]}} where they are one table "
                f"in parts, or source.interactions: {first} where that is meant alone"
            )
        return InputError(
            f"{self._folder.root}: {_listed(named)} each have users and items; write which one "
            f"holds the interactions, as source.interactions: {first}"
        )

    def in_interactions(self, table: Table, known: Roles, items: Found | None) -> Found:
        """Roles of a table's columns, beside those that are known."""
        free = [c for c in table.columns if c not in {c for cs in known.values() for c in cs}]
        wanted = [role for role in _INTERACTION_ROLES if role not in known]
        found = roles_by_name(free, wanted)
        for role, columns in found.items():
            self._refuse_two(table, role, columns, "interactions")
        if found.get("split") and not self._is_split(table, found["split"][0]):
            del found["split"]
        notes: tuple[str, ...] = ()
        if found.get("rating") and not self._are_numbers(table, found["rating"][0]):
            notes = (
                f"{found.pop('rating')[0]} of {table.called} holds texts: there are no ratings",
            )
        return Found(table, {**found, **known}, notes)

    def items(self, interactions: Found, but: Collection[str] = ()) -> Found | None:
        """The table that describes what is bought; None where there is none."""
        bought = self.ids(interactions.table, interactions.roles["item"])
        candidates: list[tuple[bool, float, Table, str]] = []
        for table in self._tables:
            if table.all_files == interactions.table.all_files or set(table.all_files) & set(but):
                continue
            if "user" in roles_by_name(table.columns, ["user"]):
                continue
            column, share = self._best_joining(table, bought)
            has_text = bool(set(_TEXT_ROLES) & roles_by_name(table.columns, _ITEM_ROLES).keys())
            is_named = "item" in roles_by_name(table.columns, ["item"]) and has_text
            if share >= _JOINED_SHARE or is_named:
                candidates.append((has_text, round(share, 2), table, column))
        if not candidates:
            return self._items_within(interactions)
        candidates.sort(key=lambda one: one[:2], reverse=True)
        best = [one for one in candidates if one[:2] == candidates[0][:2]]
        if len(best) > 1:
            raise InputError(
                f"{self._folder.root}: {_listed([one[2] for one in best])} describe the items "
                "equally well; write which one is meant, as source.items: "
                f"{best[0][2].all_files[0]}"
            )
        _, _, table, column = best[0]
        return self.in_items(table, {"item": [column]})

    def in_items(self, table: Table, known: Roles) -> Found:
        free = [c for c in table.columns if c not in {c for cs in known.values() for c in cs}]
        found = roles_by_name(free, [role for role in _ITEM_ROLES if role not in known])
        for role, columns in found.items():
            self._refuse_two(table, role, columns, "items")
        return Found(table, {**found, **known})

    def item_column(self, table: Table, interactions: Found) -> list[str]:
        """The column of a table that joins what is bought, or is named so."""
        bought = self.ids(interactions.table, interactions.roles["item"])
        return [self._best_joining(table, bought)[0]]

    def ids(self, table: Table, columns: list[str]) -> pa.Array:
        """Distinct ids of the first column, cleaned."""
        key = (table.all_files[0], columns[0])
        if key not in self._ids:
            read = self._folder.read(table.all_files, table.layout, columns[:1])
            self._ids[key] = pc.unique(clean_ids(read[columns[0]])[0]).drop_null()
        return self._ids[key]

    def share_known(self, table: Table, column: str, ids: pa.Array) -> float:
        """The share of `ids` that stand in the column."""
        if not len(ids):
            return 0.0
        known = pc.is_in(ids, value_set=self.ids(table, [column]))
        return float(pc.mean(known).as_py())

    def _best_joining(self, table: Table, bought: pa.Array) -> tuple[str, float]:
        named = roles_by_name(table.columns, ["item"]).get("item", [])
        order = [*named, *(column for column in table.columns if column not in named)]
        shares = {column: self.share_known(table, column, bought) for column in order}
        best = max(shares, key=lambda column: shares[column])  # of equals the one that is named
        return best, shares[best]

    def _items_within(self, interactions: Found) -> Found | None:
        """Events that carry what they say of the item with them.

        What differs from event to event of one item is said of the event: a review's title.
        """
        table, item = interactions.table, interactions.roles["item"]
        claimed = {c for columns in interactions.roles.values() for c in columns}
        free = [column for column in table.columns if column not in claimed]
        named = roles_by_name(free, _TEXT_ROLES)
        if not named or not table.layout.header:
            return None
        asked = [item[0], *(column for columns in named.values() for column in columns)]
        rows = self._folder.read(table.all_files, table.layout, list(dict.fromkeys(asked)))
        kept = {
            role: [column for column in columns if _is_of_items(rows[item[0]], rows[column])]
            for role, columns in named.items()
        }
        texts = {role: columns for role, columns in kept.items() if columns}
        if not texts:
            return None
        note = f"items are described in {table.called} itself: the first row of an id counts"
        return Found(table, {**texts, "item": item}, (note,))

    def _joining(self, table: Table, items: Found | None, half: list[Table]) -> Found | None:
        """Roles of a table without a named item column, by the items it joins."""
        others = [items.table] if items else [t for t in self._tables if t not in half]
        best: tuple[float, str] = (0.0, "")
        for column in table.columns:
            own = self.ids(table, [column])
            for other in others:
                named = (
                    items.roles["item"]
                    if items
                    else roles_by_name(other.columns, ["item"]).get("item", [])
                )
                for theirs in named or other.columns[:1]:
                    best = max(best, (self.share_known(other, theirs, own), column))
        share, item = best
        if share < _JOINED_SHARE:
            return None
        if table.layout.header:
            return self.in_interactions(table, {"item": [item]}, items)
        return self._nameless(table, item)

    def _nameless(self, table: Table, item: str) -> Found:
        """Columns without names: one joins the items, times and ratings show, one is left."""
        roles: Roles = {"item": [item]}
        rest = []
        for column in table.columns:
            if column == item:
                continue
            values = self._folder.read(table.all_files, table.layout, [column])[column]
            if "timestamp" not in roles and self._are_times(values, table):
                roles["timestamp"] = [column]
            elif _are_ratings(values):
                roles.setdefault("rating", []).append(column)
            else:
                rest.append(column)
        if len(rest) != 1 or len(roles.get("rating", [])) > 1:
            raise InputError(
                f"{self._folder.root / table.all_files[0]}: has no header, and nothing tells which "
                f"column holds the users; name its columns, as source.interactions: {{file: "
                f"{table.all_files[0]}, names: [user, item, rating, timestamp]}}"
            )
        note = f"{table.called} has no header: {item} joins the items, {rest[0]} are the users"
        return Found(table, {**roles, "user": rest}, (note,))

    def _are_times(self, values: pa.ChunkedArray, table: Table) -> bool:
        try:
            times = read_times(values, self._folder.root / table.all_files[0])
        except InputError:
            return False
        return not times.is_order and not pc.any(times.is_bad).as_py()

    def _is_split(self, table: Table, column: str) -> bool:
        """Whether a column's values are the usual names of the three parts."""
        values = set(self.ids(table, [column]).to_pylist())
        return values == {"train", "validation", "test"}

    def _are_numbers(self, table: Table, column: str) -> bool:
        """Whether at least half of a column's cells are."""
        read = self._folder.read(table.all_files, table.layout, [column])[column]
        numbers, is_bad = read_ratings(read)
        return len(numbers) - numbers.null_count >= pc.sum(is_bad, min_count=0).as_py()

    def _refuse_two(self, table: Table, role: str, columns: list[str], section: str) -> None:
        if len(columns) > 1:
            raise InputError(
                f"{self._folder.root / table.all_files[0]}: {' and '.join(map(repr, columns))} may "
                f"both be the {role}; write which one is, as source.{section}: "
                f"{{{role}: {columns[0]}}}"
            )

    def _no_interactions(self, half: list[Table]) -> InputError:
        root = self._folder.root
        unread = unread_files(self._folder, self._folder.tables)
        if unread:
            return InputError(
                f"{root}: no table that can be read has users and items, and these files are not "
                f"read: {unread}; mend or convert them, or name the columns of another, as "
                "source.interactions: {file: ..., user: ..., item: ...}"
            )
        nameless = [table for table in half if not table.layout.header]
        if nameless:
            name = nameless[0].all_files[0]
            return InputError(
                f"{root / name}: has no header and there is no items table that tells users from "
                f"items; name its columns, as source.interactions: {{file: {name}, names: [user, "
                "item, rating, timestamp]}"
            )
        if not self._tables:
            problems = next(iter(self._folder.problems.values()), "")
            why = f" ({problems})" if problems else ""
            return InputError(f"{root}: holds no table{why}; put the interactions there, as a CSV")
        table = half[0] if half else self._tables[0]
        return InputError(
            f"{root}: no table has a column of users and one of items that are known by their "
            f"names ({table.all_files[0]} has {', '.join(table.columns[:12])}); write them, as "
            f"source.interactions: {{file: {table.all_files[0]}, user: ..., item: ...}}"
        )


def _is_of_items(items: pa.ChunkedArray, cells: pa.ChunkedArray) -> bool:
    """Whether nearly all items have one cell alone, whatever row they stand in."""
    rows = pa.table({"item": items, "cell": cells}).filter(pc.is_valid(cells))
    pairs = rows.group_by(["item", "cell"]).aggregate([]).num_rows
    return bool(pairs <= (1 + _CHANGED_SHARE) * len(pc.unique(rows["item"])))


def _are_ratings(values: pa.ChunkedArray) -> bool:
    distinct = pc.unique(values).drop_null()
    is_number = pc.all(pc.match_substring_regex(distinct, r"^\d{1,3}([.,]\d+)?$"), min_count=0)
    return len(distinct) <= _MOST_RATINGS and bool(is_number.as_py())


def _listed(tables: list[Table]) -> str:
    return " and ".join(table.called for table in tables)
