"""JSON files that are one document: read whole, so a few times their size in memory."""

from __future__ import annotations

import json
from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import Any, Literal

import pyarrow as pa

from lmm4rec import doors
from lmm4rec.catalogue.readers.families.values import Fault, as_text, cells_of
from lmm4rec.catalogue.readers.layout import Layout
from lmm4rec.catalogue.readers.reading import Reading
from lmm4rec.catalogue.readers.unpacked import BrokenOff, blocks
from lmm4rec.errors import InputError

Shape = Literal["json-records", "json-by-id", "json-mapping", "json-baskets", "json-sets"]
MEND = "bring it whole and as valid JSON"
LARGEST_BYTES = 1 << 29  # parsed, some ten times as much
_PAIRS = ["user", "item"]
_IDS = 50  # keys of an object: few have so many columns, and of one kind


def shape(path: Path, layout: Layout) -> Shape | None:
    """What a document holds; None where it is no JSON, `InputError` over an unknown shape."""
    try:
        content = _content(path, layout)
    except InputError:
        if _begins_as_document(path, layout):
            raise
        return None
    if isinstance(content, dict) and content:
        values = list(content.values())
        if all(isinstance(one, dict) for one in values):
            return "json-by-id"
        if all(_is_basket(one) for one in values):
            return "json-baskets"
        if is_mapping(content):
            return "json-mapping"
        if not any(isinstance(one, dict | list) for one in values):
            return "json-records"
        return _no_shape(path)
    if isinstance(content, list) and content and all(isinstance(one, dict) for one in content):
        is_sets = all(_members(one) is not None for one in content)
        return "json-sets" if is_sets else "json-records"
    return _no_shape(path)


def names(path: Path, layout: Layout) -> list[str]:
    """Of the columns, in the order in which the objects first name them."""
    if layout.family in ("json-baskets", "json-sets"):
        return list(_PAIRS)
    if layout.family == "json-mapping":
        return ["id", "value"]
    found = dict.fromkeys(["id"] if layout.family == "json-by-id" else [])
    for item in _objects(path, layout):
        found |= dict.fromkeys(item)
    return list(found)


def read(
    path: Path, layout: Layout, columns: Sequence[str], ids: frozenset[str], reading: Reading
) -> pa.Table:
    """The named columns as text; objects that cannot be used are counted and left out."""
    rows, total, bad, first = [], 0, 0, ""
    for total, item in enumerate(_objects(path, layout), 1):
        try:
            rows.append(cells_of(item, columns, ids, reading.counts))
        except (ValueError, TypeError, RecursionError) as error:
            reading.counts.update(error.args if isinstance(error, Fault) else ())
            bad, first = bad + 1, first or f"object {total}"
    reading.unparsable(path, bad, total, first)
    cells = zip(*rows, strict=True) if rows else [()] * len(columns)
    return pa.table([pa.array(one, pa.string()) for one in cells], names=list(columns))


def _objects(path: Path, layout: Layout) -> Iterator[dict[str, Any]]:
    """A row's values by column."""
    content = _content(path, layout)
    if layout.family == "json-records":
        yield from _listed(content if isinstance(content, list) else [content], path)
    elif layout.family == "json-by-id":
        for key, item in _keyed(content, dict, path):
            yield {**item, "id": key}
    elif layout.family == "json-mapping":
        for key, value in _keyed(content, object, path):
            yield {"id": key, "value": value}
    elif layout.family == "json-baskets":
        for user, items in _keyed(content, list, path):
            yield from ({"user": user, "item": item} for item in items)
    else:
        for one in _listed(content, path):
            yield from _pairs(one, path)


def _pairs(one: dict[str, Any], path: Path) -> Iterator[dict[str, Any]]:
    members = _members(one)
    if members is None or one.get("set_id") is None:
        raise InputError(f"{path}: a set has no set_id, or its items have no item_id; mend it")
    for item in members:
        yield {"user": as_text(one["set_id"], Reading(1.0, True).counts), "item": item}


def _members(one: dict[str, Any]) -> list[Any] | None:
    """The item ids of a set; None where it is no set."""
    items = one.get("items")
    if not isinstance(items, list) or "set_id" not in one:
        return None
    if not all(isinstance(item, dict) and "item_id" in item for item in items):
        return None
    return [item["item_id"] for item in items]


def is_mapping(content: dict[str, Any]) -> bool:
    """Whether so many keys have values of one plain kind that they are ids, and no columns."""
    kinds = {type(one) for one in content.values()}
    return len(content) >= _IDS and kinds in ({int}, {str}, {float})


def _is_basket(value: Any) -> bool:
    return isinstance(value, list) and not any(isinstance(one, dict | list) for one in value)


def _listed(content: Any, path: Path) -> list[dict[str, Any]]:
    if not isinstance(content, list) or not all(isinstance(one, dict) for one in content):
        raise InputError(f"{path}: expected a list of objects, [{{...}}, ...]; {MEND}")
    return content


def _keyed(content: Any, kind: type, path: Path) -> list[tuple[str, Any]]:
    if not isinstance(content, dict) or not all(isinstance(v, kind) for v in content.values()):
        what = {dict: "{id: {...}}", list: "{user: [item, ...]}", object: "{id: value}"}[kind]
        raise InputError(f"{path}: expected {what}; {MEND}")
    return list(content.items())


def _content(path: Path, layout: Layout) -> Any:
    parts, size = [], 0
    try:
        for block in blocks(path, layout):
            parts.append(block)
            size += len(block)
            if size > LARGEST_BYTES:
                raise InputError(
                    f"{path}: is one JSON document of more than {LARGEST_BYTES >> 20} MiB; "
                    "bring an object a line"
                )
    except BrokenOff:
        raise InputError(f"{path}: breaks off in the middle; {MEND}") from None
    with doors.reading(path, "valid JSON", MEND):
        return json.loads(b"".join(parts).decode("utf-8"))


def _begins_as_document(path: Path, layout: Layout) -> bool:
    """Whether it is JSON as far as its first letters go: not, say, a table whose cells begin so."""
    beginning = next(blocks(path, layout), b"").lstrip()[:200].decode("utf-8", "replace")
    compact = "".join(beginning.split())
    return compact.startswith(('{"', '[{"', "[{}", "{}")) or compact in ("{", "[", "[{")


def _no_shape(path: Path) -> Shape:
    raise InputError(
        f"{path}: is JSON of no known shape; bring an object a line, [{{...}}, ...], "
        "{id: {...}}, {user: [item, ...]} or [{set_id, items: [{item_id}, ...]}, ...]"
    )
