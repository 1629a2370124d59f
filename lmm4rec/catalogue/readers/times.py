"""Times in whole seconds UTC, out of numbers of any unit and dates of any usual form."""

from __future__ import annotations

import re
from collections import Counter
from dataclasses import dataclass
from pathlib import Path
from typing import Literal

import numpy as np
import pyarrow as pa
import pyarrow.compute as pc

from lmm4rec.catalogue.readers.families.engine import engine, quoted
from lmm4rec.catalogue.readers.layout import Texts, flat
from lmm4rec.errors import InputError

Order = Literal["day-first", "month-first"]


@dataclass(frozen=True)
class Times:
    """A column's times."""

    seconds: pa.Array  # int64 [n], null where empty or bad
    is_bad: pa.Array  # bool [n]: empty, or no time
    form: str  # how they are written, in words for the terminal
    is_order: bool  # small numbers that say what came first, and no time


# The least size of a column's median, how many a second, its name.
_UNITS = (
    (1e17, 1_000_000_000, "nanoseconds since 1970"),
    (1e14, 1_000_000, "microseconds since 1970"),
    (1e11, 1_000, "milliseconds since 1970"),
    (1e8, 1, "seconds since 1970"),
)
_FROM_SECONDS, _TO_SECONDS = -2_208_988_800, 7_258_118_400  # 1900 and 2200: beyond is no time
_NUMBER = r"^[+-]?(\d+\.?\d*|\.\d+)([eE][+-]?\d+)?$"
_WHOLE = r"^[+-]?\d{1,18}(\.\d*)?$"
_DAY = r"^(19|20|21)\d\d(0[1-9]|1[0-2])(0[1-9]|[12]\d|3[01])$"
_TWO_WAYS = r"^\d{1,2}[./-]\d{1,2}[./-]\d{4}(\D|$)"
_DECIDES = 0.01  # as many as that of the other order are slips
_SAMPLE = 1_000  # texts by which the form is told
# What follows the date: what it matches, and as the engine writes it.
_CLOCKS = (
    (r" \d{1,2}:\d{1,2}:\d{1,2}", " %H:%M:%S"),
    ("", ""),
    (r" \d{1,2}:\d{1,2}", " %H:%M"),
    (r" \d{1,2}:\d{1,2}:\d{1,2} [AaPp][Mm]", " %I:%M:%S %p"),
    (r" \d{1,2}:\d{1,2} [AaPp][Mm]", " %I:%M %p"),
    (r" \d{6}", " %H%M%S"),
)
# (words, what the date matches, the date as the engine writes it); of equals the first: May is both
_FORMS = (
    ("yyyy-mm-dd", r"\d{4}-\d{1,2}-\d{1,2}", "%Y-%m-%d"),
    ("yyyy/mm/dd", r"\d{4}/\d{1,2}/\d{1,2}", "%Y/%m/%d"),
    ("yyyy.mm.dd", r"\d{4}\.\d{1,2}\.\d{1,2}", "%Y.%m.%d"),
    ("yyyymmdd", r"\d{8}", "%Y%m%d"),
    ("mm dd, yyyy", r"\d{1,2} \d{1,2}, \d{4}", "%m %d, %Y"),
    ("dd-mon-yyyy", r"\d{1,2}-[A-Za-z]{3}-\d{4}", "%d-%b-%Y"),
    ("dd mon yyyy", r"\d{1,2} [A-Za-z]{3} \d{4}", "%d %b %Y"),
    ("mon dd, yyyy", r"[A-Za-z]{3} \d{1,2}, \d{4}", "%b %d, %Y"),
    ("dd month yyyy", r"\d{1,2} [A-Za-z]{3,9} \d{4}", "%d %B %Y"),
    ("month dd, yyyy", r"[A-Za-z]{3,9} \d{1,2}, \d{4}", "%B %d, %Y"),
)
_ZONE = r"(?i)(?P<bare>.*\d) ?(?P<zone>utc|gmt|z|[+-]\d\d(?::?\d\d)?)$"
_HAS_ZONE = r"(?i)(?:\d:\d\d(?:[.,]\d*)?|[T ]\d{6}) ?(?:utc|gmt|z|[+-]\d\d(?::?\d\d)?)$"


def read_times(column: Texts, path: Path, order: Order | None = None) -> Times:
    """The column's times; `path` is for the sentence.

    Numbers by the size of their median: below 1e8 no time but an order, then seconds, milli-,
    micro- and nanoseconds; eight digits that are days are yyyymmdd. Fractions are cut. Texts
    without a zone are UTC. Raises `InputError` for dates whose day and month could stand either
    way, unless `order` says which comes first.
    """
    texts = pc.utf8_trim_whitespace(flat(column))
    texts = pc.if_else(pc.equal(texts, ""), None, texts)
    there = len(texts) - texts.null_count
    if not there:
        return _times(pa.nulls(len(texts), pa.int64()), "empty")
    whole = _as_whole(texts)
    if whole is not None:
        return _from_numbers(whole, texts)
    is_number = pc.match_substring_regex(texts, _NUMBER)
    if 2 * pc.sum(is_number, min_count=0).as_py() >= there:
        numbers = pc.if_else(is_number, texts, None)
        return _from_numbers(_floored(numbers), numbers)
    return _from_texts(texts, path, order)


def _times(seconds: pa.Array, form: str, is_order: bool = False) -> Times:
    if not is_order:  # an order may be of any size
        is_sane = pc.and_(pc.greater(seconds, _FROM_SECONDS), pc.less(seconds, _TO_SECONDS))
        seconds = pc.if_else(is_sane, seconds, None)
    return Times(seconds, pc.is_null(seconds), form, is_order)


def _as_whole(texts: pa.Array) -> pa.Array | None:
    """int64 [n] if all texts are whole numbers in plain digits."""
    if pc.any(pc.match_substring(texts, "x", ignore_case=True), min_count=0).as_py():
        return None  # a cast would read 0x1F
    try:
        return pc.cast(texts, pa.int64())
    except pa.ArrowInvalid:
        return None


def _from_numbers(whole: pa.Array, texts: pa.Array) -> Times:
    """Of whole numbers; `texts` are those that are numbers at all."""
    is_day = pc.match_substring_regex(texts.drop_null().slice(0, _SAMPLE), _DAY)
    if pc.mean(is_day).as_py() >= 0.99:
        return _times(_parsed(texts, r"\d{8}", "%Y%m%d"), "yyyymmdd, UTC assumed")
    sizes = np.abs(whole.drop_null().to_numpy(zero_copy_only=False).astype(np.float64))
    median = float(np.median(sizes)) if sizes.size else 0.0
    for least, a_second, name in _UNITS:
        if median >= least:
            # floored, so that times before 1970 are cut to the same side
            numbers = pc.fill_null(whole, 0).to_numpy(zero_copy_only=False)
            seconds = pa.array(np.floor_divide(numbers, a_second), pa.int64())
            # what is of the size of another unit is not of this one: files of two years, say
            larger = next((one for one, *_ in reversed(_UNITS) if one > least), np.inf)
            is_such = pa.array((np.abs(numbers) >= least) & (np.abs(numbers) < larger))
            return _times(pc.if_else(pc.and_(pc.is_valid(whole), is_such), seconds, None), name)
    return _times(whole, "an order and no time", is_order=True)


def _floored(texts: pa.Array) -> pa.Array:
    """int64 [n] of texts of numbers with fractions or exponents; null beyond that range."""
    is_plain = pc.match_substring_regex(texts, _WHOLE)
    digits = pc.replace_substring_regex(pc.if_else(is_plain, texts, None), r"\..*$", "")
    exact = pc.cast(pc.replace_substring_regex(digits, r"^\+", ""), pa.int64())
    # what lies before 1970 and has a fraction is cut downwards, as all others
    is_below = pc.match_substring_regex(texts, r"^-.*\.\d*[1-9]")
    exact = pc.if_else(is_below, pc.subtract(exact, 1), exact)
    rest = pc.cast(pc.if_else(is_plain, None, texts), pa.float64())
    rest = pc.if_else(pc.less(pc.abs(rest), 2.0**63), rest, None)
    return pc.coalesce(exact, pc.cast(pc.floor(rest), pa.int64(), safe=False))


def _from_texts(texts: pa.Array, path: Path, order: Order | None) -> Times:
    """By the form that most of the first texts have."""
    beginning = texts.drop_null().slice(0, _SAMPLE)
    forms = [(form, _share(beginning, f"^{form[1]}(\\D|$)")) for form in _FORMS]
    (name, shape, date), share = max(forms, key=lambda one: one[1])
    if _share(beginning, _TWO_WAYS) > share:
        name, shape, date = _two_ways(texts, path, order)
    elif share == 0:
        return _times(pa.nulls(len(texts), pa.int64()), "no time")
    has_zone = _share(beginning, _HAS_ZONE) > 0.5
    seconds = _parsed(texts, shape, date)
    return _times(seconds, name if has_zone else f"{name}, UTC assumed")


def _share(texts: pa.Array, pattern: str) -> float:
    return float(pc.mean(pc.match_substring_regex(texts, pattern)).as_py() or 0.0)


def _two_ways(texts: pa.Array, path: Path, order: Order | None) -> tuple[str, str, str]:
    """A form of texts whose day or month comes first: a number above 12 is a day."""
    dates = pc.value_counts(pc.utf8_slice_codeunits(texts, 0, 6).drop_null())
    days_first, days_second, found = 0, 0, Counter[str]()
    for one in dates.to_pylist():
        parts = re.match(r"(\d{1,2})([./-])(\d{1,2})[./-]", one["values"])
        if parts is not None:
            days_first += one["counts"] * (int(parts[1]) > 12)
            days_second += one["counts"] * (int(parts[3]) > 12)
            found[parts[2]] += one["counts"]
    by = found.most_common(1)[0][0]
    if order is None:
        if days_first and days_second <= _DECIDES * days_first:
            order = "day-first"
        elif days_second and days_first <= _DECIDES * days_second:
            order = "month-first"
        else:
            raise _no_order(texts, path, bool(days_first))
    shape = rf"\d{{1,2}}{re.escape(by)}\d{{1,2}}{re.escape(by)}\d{{4}}"
    if order == "day-first":
        return f"dd{by}mm{by}yyyy", shape, f"%d{by}%m{by}%Y"
    return f"mm{by}dd{by}yyyy", shape, f"%m{by}%d{by}%Y"


def _no_order(texts: pa.Array, path: Path, is_either: bool) -> InputError:
    example = texts.drop_null()[0].as_py()
    why = (
        "in some rows the first number is above 12, in others the second"
        if is_either
        else ("no number above 12 tells the day from the month")
    )
    return InputError(
        f"{path}: dates such as {example!r} can be read in two ways ({why}); write which comes "
        "first, as source.interactions.date_order: day-first or month-first"
    )


def _parsed(texts: pa.Array, shape: str, date: str) -> pa.Array:
    """Seconds int64 [n]; null where a text is not of that date and a clock, or no such day.

    The engine's own %z and lists of forms are not used: with them it took 30 February, and a zone
    of one row for the next (DuckDB 2.0.1).
    """
    bare, offsets = _without_zone(texts)
    bare = _replaced(bare, r"(\d)[Tt](\d)", r"\1 \2")
    bare = _replaced(bare, r"(:\d\d)[.,]\d+", r"\1")
    found = pa.nulls(len(texts), pa.int64())
    for clock, written in _CLOCKS:
        is_such = pc.fill_null(pc.match_substring_regex(bare, f"^{shape}{clock}$"), False)
        if pc.any(is_such, min_count=0).as_py():
            seconds = _strptime(bare.filter(is_such), date + written)
            found = pc.replace_with_mask(found, is_such, seconds)
            bare = pc.if_else(is_such, None, bare)
        if bare.null_count == len(bare):
            break
    return found if offsets is None else pc.subtract(found, offsets)


def _strptime(texts: pa.Array, written: str) -> pa.Array:
    with engine() as connection:
        connection.register("given", pa.table({"t": texts}))
        query = f"select epoch(try_strptime(t, {quoted(written)}))::bigint as s from given"
        return connection.sql(query).to_arrow_table()["s"].combine_chunks()


def _replaced(texts: pa.Array, pattern: str, new: str) -> pa.Array:
    if not pc.any(pc.match_substring_regex(texts, pattern), min_count=0).as_py():
        return texts  # to look is far cheaper than to write
    return pc.replace_substring_regex(texts, pattern, new)


def _without_zone(texts: pa.Array) -> tuple[pa.Array, pa.Array | None]:
    """(texts without zones, seconds that each is ahead of UTC: None where none has one)."""
    has_zone = pc.fill_null(pc.match_substring_regex(texts, _HAS_ZONE), False)
    if not pc.any(has_zone, min_count=0).as_py():
        return texts, None
    parts = pc.extract_regex(texts.filter(has_zone), _ZONE)
    bare = pc.replace_with_mask(texts, has_zone, pc.struct_field(parts, "bare"))
    zones = pc.struct_field(parts, "zone").dictionary_encode()
    ahead = pa.array([_ahead(zone) for zone in zones.dictionary.to_pylist()], pa.int64())
    none = pa.array(np.zeros(len(texts), np.int64))
    return bare, pc.replace_with_mask(none, has_zone, ahead.take(zones.indices))


def _ahead(zone: str) -> int:
    """Seconds: '+0530' gives 19800."""
    if not zone.startswith(("+", "-")):
        return 0
    digits = zone[1:].replace(":", "").ljust(4, "0")
    seconds = int(digits[:2]) * 3600 + int(digits[2:]) * 60
    return -seconds if zone.startswith("-") else seconds
