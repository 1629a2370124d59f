"""Times of every form against the standard library."""

from __future__ import annotations

import datetime
from pathlib import Path

import pyarrow as pa
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from lmm4rec.catalogue.readers.times import Times, read_times
from lmm4rec.errors import InputError

PATH = Path("orders.csv")
UTC = datetime.UTC
BEGIN = datetime.datetime(1970, 1, 1, tzinfo=UTC)
MOMENTS = st.datetimes(datetime.datetime(1950, 1, 1), datetime.datetime(2100, 1, 1))


def seconds(moment: datetime.datetime) -> int:
    since = moment.replace(microsecond=0) - BEGIN
    return since.days * 86_400 + since.seconds


def read(*texts: str | None) -> Times:
    return read_times(pa.array(texts, pa.string()), PATH)


FORMS = {
    "%Y-%m-%d %H:%M:%S": 1,
    "%Y-%m-%dT%H:%M:%S": 1,
    "%Y-%m-%dT%H:%M:%S.%f": 1,
    "%Y-%m-%d %H:%M:%S UTC": 1,
    "%Y-%m-%dT%H:%M:%SZ": 1,
    "%Y-%m-%d %H:%M": 60,
    "%Y-%m-%d": 86_400,
    "%Y/%m/%d %H:%M:%S": 1,
    "%Y%m%d": 86_400,
    "%Y%m%dT%H%M%SZ": 1,
    "%m %d, %Y": 86_400,
    "%d-%b-%Y": 86_400,
    "%B %d, %Y": 86_400,
}


@settings(max_examples=60, deadline=None)
@given(moments=st.lists(MOMENTS, min_size=1, max_size=5), form=st.sampled_from(list(FORMS)))
def test_forms_without_a_zone_are_utc(moments: list[datetime.datetime], form: str) -> None:
    step = FORMS[form]
    found = read(*(moment.strftime(form) for moment in moments))
    expected = [seconds(moment.replace(tzinfo=UTC)) // step * step for moment in moments]
    assert found.seconds.to_pylist() == expected
    assert not any(found.is_bad.to_pylist()) and not found.is_order


@settings(max_examples=60, deadline=None)
@given(
    moments=st.lists(MOMENTS, min_size=1, max_size=5),
    hours=st.integers(-12, 14),
    minutes=st.sampled_from([0, 30]),
    style=st.sampled_from([" %H:%M:%S %z", "T%H:%M:%S%z", "T%H:%M:%S.%f%z"]),
    has_colon=st.booleans(),
)
def test_zones_are_taken_off(
    moments: list[datetime.datetime], hours: int, minutes: int, style: str, has_colon: bool
) -> None:
    zone = datetime.timezone(datetime.timedelta(hours=hours, minutes=minutes))
    here = [moment.replace(tzinfo=zone) for moment in moments]
    texts = [moment.strftime("%Y-%m-%d" + style) for moment in here]
    if has_colon:
        texts = [text[:-2] + ":" + text[-2:] for text in texts]
    found = read(*texts)
    assert found.seconds.to_pylist() == [seconds(moment) for moment in here]
    assert "assumed" not in found.form


@settings(max_examples=60, deadline=None)
@given(
    days=st.lists(st.dates(datetime.date(1990, 1, 1), datetime.date(2090, 1, 1)), max_size=6),
    by=st.sampled_from("./-"),
    is_day_first=st.booleans(),
)
def test_a_number_above_twelve_decides_the_order(
    days: list[datetime.date], by: str, is_day_first: bool
) -> None:
    days = [*days, datetime.date(2023, 11, 15)]
    form = f"%d{by}%m{by}%Y" if is_day_first else f"%m{by}%d{by}%Y"
    found = read(*(day.strftime(form) for day in days))
    midnight = [datetime.datetime(d.year, d.month, d.day, tzinfo=UTC) for d in days]
    assert found.seconds.to_pylist() == [seconds(moment) for moment in midnight]


def test_an_order_that_nothing_decides_is_asked_for() -> None:
    column = pa.array(["01/02/2023", "03/04/2023 10:30"])
    with pytest.raises(
        InputError, match=r"'01/02/2023' .* source\.interactions\.date_order: day-first or"
    ):
        read_times(column, PATH)
    assert read_times(column, PATH, "day-first").seconds.to_pylist() == [1675209600, 1680517800]
    assert read_times(column, PATH, "month-first").seconds[0].as_py() == 1672617600


def test_orders_that_contradict_each_other_are_asked_for() -> None:
    column = pa.array(["13/02/2023", "02/13/2023"])
    with pytest.raises(InputError, match="in some rows the first number is above 12, in others"):
        read_times(column, PATH)
    assert read_times(column, PATH, "day-first").is_bad.to_pylist() == [False, True]


def test_a_single_slip_is_bad_and_decides_nothing() -> None:
    days = [f"{k % 28 + 1}.{k % 12 + 1}.2023" for k in range(600)]
    found = read(*days, "3.14.2023")
    assert found.is_bad.to_pylist() == [False] * 600 + [True]
    assert found.form == "dd.mm.yyyy, UTC assumed"


@pytest.mark.parametrize(
    ("factor", "form"),
    [(1, "seconds"), (10**3, "milliseconds"), (10**6, "microseconds"), (10**9, "nanoseconds")],
)
def test_units_by_the_size_of_the_median(factor: int, form: str) -> None:
    moments = [1_700_006_400, 1_705_107_599, 1_600_000_000]
    found = read(*(str(moment * factor + factor - 1) for moment in moments))
    assert found.seconds.to_pylist() == moments
    assert found.form == f"{form} since 1970"


def test_a_number_of_another_units_size_is_no_time_of_this_one() -> None:
    """Files of two years, one in seconds, one in milliseconds: read alike, one of them is 1970."""
    found = read("1700006400", "1705107599", "1706052360000", "0", "-5")
    assert found.seconds.to_pylist() == [1700006400, 1705107599, None, None, None]
    assert found.is_bad.to_pylist() == [False, False, True, True, True]


def test_no_time_lies_beyond_the_century() -> None:
    found = read("2023-11-15", "9999-12-31", "2924-01-01", "1066-10-14")
    assert found.seconds.to_pylist() == [1700006400, None, None, None]


def test_small_numbers_are_an_order_and_no_time() -> None:
    found = read("0", "1", "2", None)
    assert found.is_order
    assert found.seconds.to_pylist() == [0, 1, 2, None]


def test_what_is_no_time_is_bad() -> None:
    found = read("2023-11-15", "", None, "2023-02-30", "soon", "2023-13-01", "epoch", "infinity")
    assert found.is_bad.to_pylist() == [False] + [True] * 7
    found = read("1700006400", "x", "0x65", "9" * 400, "nan", "1700006400.9", "-1.5", "1.7e9")
    assert found.seconds.to_pylist() == [
        1700006400, None, None, None, None, 1700006400, None, 1700000000,
    ]  # fmt: skip
    assert all(read(None, "").is_bad.to_pylist())
    assert read("soon", "later").seconds.to_pylist() == [None, None]


def test_the_zone_of_one_row_is_not_that_of_the_next() -> None:
    """With %z in the engine's own list of forms it is (DuckDB 2.0.1), and 30 February is a day."""
    found = read("2023-11-15T01:00:00+01:00", "2023-11-15", "2023-11-15T00:00:00Z", "2023-02-30")
    assert found.seconds.to_pylist() == [1700006400, 1700006400, 1700006400, None]


def test_half_days() -> None:
    found = read("11/15/2023 12:00 AM", "11/15/2023 5:06 PM")
    assert found.seconds.to_pylist() == [1700006400, 1700006400 + 17 * 3600 + 360]


def test_the_machine_s_own_zone_plays_no_part(monkeypatch: pytest.MonkeyPatch) -> None:
    import time

    monkeypatch.setenv("TZ", "America/New_York")
    time.tzset()
    try:
        assert read("2023-11-15 00:00:00").seconds.to_pylist() == [1700006400]
    finally:
        monkeypatch.undo()
        time.tzset()


def test_columns_in_pieces_and_of_no_rows() -> None:
    pieces = pa.chunked_array([["1700006400"], [], ["1700006401"]], pa.string())
    assert read_times(pieces, PATH).seconds.to_pylist() == [1700006400, 1700006401]
    assert read().seconds.to_pylist() == []
