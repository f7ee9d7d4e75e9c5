"""ISO 8601 text as points in time, against Python's own parser and calendar."""

from __future__ import annotations

import datetime as dt
from typing import Any

import numpy as np
import pyarrow as pa
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from driftwell.frame import DatetimeColumn, Frame, UnreadColumn, read_table

EPOCH = dt.datetime(1970, 1, 1, tzinfo=dt.UTC)
ZONES = st.none() | st.integers(-23 * 60, 23 * 60).map(lambda minutes: dt.timezone(dt.timedelta(minutes=minutes)))


def read(texts: list[Any]) -> DatetimeColumn:
    found = Frame.of(read_table({"t": texts}), kinds={"t": "datetime"}).columns["t"]
    assert isinstance(found, DatetimeColumn)
    return found


def seconds_and_nanos(moment: dt.datetime) -> tuple[int, int]:
    """By Python: a time without a zone is UTC."""
    since = (moment if moment.tzinfo else moment.replace(tzinfo=dt.UTC)) - EPOCH
    return since.days * 86_400 + since.seconds, since.microseconds * 1_000


@settings(deadline=None)
@given(moments=st.lists(st.datetimes(timezones=ZONES), min_size=1), mark=st.sampled_from("T "))
def test_every_moment_python_writes_is_read(moments: list[dt.datetime], mark: str) -> None:
    found = read([moment.isoformat(sep=mark) for moment in moments])
    pairs = zip(found.moments.seconds.tolist(), found.moments.nanos.tolist(), strict=True)
    assert list(pairs) == [seconds_and_nanos(moment) for moment in moments]
    assert (found.invalid, found.dates) == (0, False)


@pytest.mark.parametrize(
    ("text", "seconds", "nanos"),
    [
        ("1970-01-01", 0, 0),
        ("1970-01-02 00:00", 86_400, 0),
        ("1970-01-01t00:00:01.5z", 1, 500_000_000),
        (" 1970-01-01T01:00:00+01:00 ", 0, 0),
        ("1970-01-01T01:00:00+0100", 0, 0),
        ("1970-01-01T00:00:00-01", 3_600, 0),
        ("1970-01-01T00:00:00.1234567891Z", 0, 123_456_789),
        ("1969-12-31T23:59:59.25", -1, 250_000_000),
    ],
)
def test_forms_by_hand(text: str, seconds: int, nanos: int) -> None:
    found = read([text])
    assert (found.moments.seconds.tolist(), found.moments.nanos.tolist()) == ([seconds], [nanos])


@pytest.mark.parametrize("year", [1900, 2000, 2023, 2024, 2100, 4, 100, 400])
def test_every_day_of_a_year_and_no_other(year: int) -> None:
    days = [f"{year:04d}-{month:02d}-{day:02d}" for month in range(14) for day in range(33)]

    def is_day(text: str) -> bool:
        try:
            dt.date.fromisoformat(text)
        except ValueError:
            return False
        return True

    found = read(days)
    assert found.dates
    assert (~found.missing).tolist() == [is_day(day) for day in days]
    assert found.invalid == int(np.count_nonzero(found.missing))


@pytest.mark.parametrize(
    "text",
    ["", "soon", "2026", "2026-01", "20260105", "2026-01-05T", "2026-01-05T24:00", "2026-01-05T12:60", "12:30",
     "2026-01-05T12:30:61", "2026-01-05T12:30:00+25:00", "2026-01-05Z", "5.1.2026", "x2026-01-05", "2026-01-05\n."],
)  # fmt: skip
def test_what_is_no_time_is_invalid_and_missing(text: str) -> None:
    found = read([text, "2026-01-05", None])
    assert (found.missing.tolist(), found.invalid) == ([True, False, True], 1)


def test_nulls_do_not_say_that_there_is_no_time_of_day() -> None:
    found = Frame.of(pa.table({"t": pa.nulls(2, pa.string())}), kinds={"t": "datetime"}).columns["t"]
    assert isinstance(found, DatetimeColumn)
    assert (found.missing.tolist(), found.dates, found.invalid) == ([True, True], False, 0)


def test_a_column_without_any_time_is_unread() -> None:
    found = Frame.of(read_table({"t": ["soon", None]}), kinds={"t": "datetime"}).columns["t"]
    assert isinstance(found, UnreadColumn)
    assert "no cell of it ISO 8601" in found.reason
