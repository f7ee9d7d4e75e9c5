"""What a window and a time mean; expected spans by hand."""

from __future__ import annotations

from datetime import UTC, date, datetime, timedelta, timezone

import numpy as np
import pandas as pd
import pytest

from driftwell.errors import BadInput
from driftwell.monitor.windowing import as_moment, from_us, resolve_window, to_us

NOON = datetime(2026, 1, 20, 12, tzinfo=UTC)


class Times:
    """A store that knows only event times, counted by hand."""

    def __init__(self, *minutes: int) -> None:
        self.times = sorted(to_us(NOON + timedelta(minutes=m)) for m in minutes)

    def count(self, model, version, start, end):
        return sum(start <= t < end for t in self.times)

    def newest(self, model, version, before, n):
        first = [t for t in self.times if t < before][-n:][:1]
        found = [t for t in self.times if first and first[0] <= t < before]
        return (found[0], found[-1] + 1, len(found)) if found else (before, before, 0)


def spans(*minutes: int, window: object, extend_to: object = None, least: int = 0) -> tuple[int, str | None]:
    """Minutes from the start of the window to noon, and the note."""
    found, note = resolve_window(Times(*minutes), "m", "v", window, NOON, extend_to=extend_to, min_samples=least)
    assert found.end == NOON
    return (NOON - found.start) // timedelta(minutes=1), note


@pytest.mark.parametrize(
    "given",
    [
        "2026-01-20T12:00:00Z",
        "2026-01-20T13:00:00+01:00",
        "2026-01-20T12:00:00",
        datetime(2026, 1, 20, 12),
        datetime(2026, 1, 20, 7, tzinfo=timezone(timedelta(hours=-5))),
        np.datetime64("2026-01-20T12:00"),
        np.datetime64("2026-01-20T12:00:00.000000000"),
        pd.Timestamp("2026-01-20T12:00Z"),
    ],
)
def test_every_spelling_of_a_time_is_the_same_moment(given):
    found = as_moment(given)
    assert found == NOON
    assert type(found) is datetime
    assert found.utcoffset() == timedelta(0)


@pytest.mark.parametrize(
    "given",
    ["noon", "", 12, None, date(2026, 1, 20), np.datetime64("NaT", "us"), pd.NaT, True, np.array(["2026-01-20"] * 2)],
)
def test_what_is_no_time_is_one_clear_error(given):
    with pytest.raises(BadInput, match="a time must"):
        as_moment(given)


def test_time_beyond_the_calendar_is_refused():
    with pytest.raises(BadInput, match="years 1 to 9999"):
        as_moment(datetime(9999, 12, 31, 23, tzinfo=timezone(timedelta(hours=-5))))


def test_microseconds_survive_both_ways():
    moment = datetime(1969, 12, 31, 23, 59, 59, 999_999, tzinfo=UTC)
    assert to_us(moment) == -1
    assert from_us(-1) == moment


def test_a_number_of_records_says_how_many_where_the_oldest_share_their_time():
    def most(*minutes: int, window: int) -> int | None:
        return resolve_window(Times(*minutes), "m", "v", window, NOON)[0].records

    assert most(-30, -20, -20, -20, -10, window=3) == 3
    assert most(-30, -20, -20, -20, -10, window=4) is None
    assert most(-30, -20, window=5) is None


@pytest.mark.parametrize("window", ["PT30M", timedelta(minutes=30)])
def test_duration_ends_with_at(window):
    assert spans(-10, -20, window=window) == (30, None)


@pytest.mark.parametrize("window", [2, np.int64(2)])
def test_number_of_records_reaches_to_the_nth_newest_before_at(window):
    assert spans(-40, -20, -10, 0, 5, window=window) == (20, None)


def test_more_records_than_there_are_reach_to_the_first():
    assert spans(-40, -20, window=10**30) == (40, None)


def test_records_of_none_are_an_empty_span():
    assert spans(window=5) == (0, None)


def test_extension_reaches_just_far_enough():
    minutes, note = spans(-5, -70, -90, -200, window="PT1H", extend_to="PT6H", least=3)
    assert minutes == 90
    assert note == "extended back from 2026-01-20 11:00 for more rows"


def test_extension_never_reaches_beyond_its_span():
    assert spans(-5, -500, window="PT1H", extend_to="PT2H", least=2)[0] == 120


def test_enough_rows_need_no_extension():
    assert spans(-5, -6, -70, window="PT1H", extend_to="PT6H", least=2) == (60, None)


def test_extension_shorter_than_the_window_does_nothing():
    assert spans(-5, window="PT1H", extend_to="PT1M", least=9) == (60, None)


def test_window_longer_than_the_calendar_begins_with_it():
    found, _ = resolve_window(Times(), "m", "v", "P9999999D", NOON)
    assert found.start == datetime(1, 1, 1, tzinfo=UTC)


@pytest.mark.parametrize("window", [0, -1, True, 1.5, None, "an hour", "-PT1H", timedelta(hours=-1), [1]])
def test_what_is_no_window_is_one_clear_error(window):
    with pytest.raises(BadInput):
        spans(window=window)
