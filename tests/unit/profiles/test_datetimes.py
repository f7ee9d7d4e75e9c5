"""Facets of points in time, against Python's own calendar."""

from __future__ import annotations

import datetime as dt
from typing import Any

import numpy as np
import pyarrow as pa
import pytest

from driftwell.drift import compare
from driftwell.errors import ColumnError
from driftwell.profiles import Reference, profile
from driftwell.profiles.states.categorical import CategoricalState
from driftwell.profiles.states.composite import CompositeState

HOURS = ("Mon", "Tue", "Wed", "Thu", "Fri", "Sat", "Sun")


def state(p: Any, name: str = "when") -> CompositeState:
    found = p.columns[name]
    assert isinstance(found, CompositeState)
    return found


def cells(made: CompositeState, facet: str) -> dict[str, int]:
    found = made.facets[facet]
    assert isinstance(found, CategoricalState)
    assert found.vocabulary is not None
    return {n: int(c) for n, c in zip(found.vocabulary.categories, found.counts, strict=False) if c}


@pytest.mark.parametrize(
    "moment",
    [
        dt.datetime(1969, 12, 31, 23, 59, 59),
        dt.datetime(1970, 1, 1),
        dt.datetime(2024, 2, 29, 13, 30),
        dt.datetime(1, 1, 1, 5),
        dt.datetime(9999, 12, 31, 23),
    ],
    ids=str,
)
def test_hour_of_week_is_the_calendars(moment: dt.datetime) -> None:
    made = state(profile({"when": pa.array([moment], pa.timestamp("us"))}))
    assert cells(made, "hour_of_week") == {f"{HOURS[moment.weekday()]} {moment.hour:02d}": 1}


def test_time_with_a_zone_is_counted_in_utc() -> None:
    zone = dt.timezone(dt.timedelta(hours=-5))
    moments = pa.array([dt.datetime(2026, 1, 4, 20, tzinfo=zone)], pa.timestamp("s", "America/New_York"))
    assert cells(state(profile({"when": moments})), "hour_of_week") == {"Mon 01": 1}


def test_dates_have_days_of_the_week() -> None:
    days = [dt.date(2026, 1, 5), dt.date(2026, 1, 6), dt.date(1969, 12, 28), None]
    ref = Reference.from_data({"when": days})
    made = state(ref.profile)
    assert "hour_of_week" not in made.facets
    assert cells(made, "day_of_week") == {"Mon": 1, "Tue": 1, "Sun": 1}
    assert (made.count, made.missing, made.n_rows) == (3, 1, 4)
    # a later batch of timestamps at midnight is counted the same
    later = profile({"when": pa.array(days).cast(pa.timestamp("us"))}, ref)
    assert cells(state(later), "day_of_week") == {"Mon": 1, "Tue": 1, "Sun": 1}


def test_nanoseconds_apart_stay_apart() -> None:
    """2026 in nanoseconds is beyond 2**53, where float64 holds every 256th integer."""
    base = 1_800_000_000_000_000_000
    times = pa.array([base, base + 1, base + 2], pa.timestamp("ns"))
    made = state(Reference.from_data({"when": times}).profile)
    assert made.facets["time"].distinct == 3
    # times are counted from the reference's median second
    assert (made.facets["time"].min, made.facets["time"].max) == (0.0, 2e-9)


def test_lag_is_event_time_minus_value() -> None:
    event = pa.array([10_000, 20_000, None, 30_000], pa.timestamp("s"))
    value = pa.array([9_940, 20_010, 5, None], pa.timestamp("s"))
    ref = Reference.from_data({"when": value, "timestamp": event})
    lag = state(ref.profile).facets["lag"]
    assert (lag.count, lag.missing, lag.min, lag.max, lag.mean) == (2, 2, -10.0, 60.0, 25.0)
    assert list(state(ref.profile).judged) == ["hour_of_week", "lag"]


def test_lag_of_rows_without_event_times_is_absent_then_missing() -> None:
    value = pa.array([9_940, 20_010], pa.timestamp("s"))
    ref = Reference.from_data({"when": value, "t": value}, timestamp="t")
    without = profile({"when": value}, ref)
    assert "lag" not in state(without).facets
    assert list(state(without).judged) == ["hour_of_week"]
    both = state(without.merge(profile({"when": value, "t": value}, ref)))
    assert (both.facets["lag"].count, both.facets["lag"].missing) == (2, 2)


@pytest.mark.parametrize("unit", ["s", "ms", "us", "ns"])
def test_far_times_do_not_crash(unit: str) -> None:
    far = pa.array([-(2**63) + 1, 2**63 - 1, 0, None], pa.timestamp(unit))
    for p in (profile({"when": far}), Reference.from_data({"when": far, "timestamp": far}).profile):
        made = state(p)
        assert (made.count, made.missing) == (3, 1)
        assert made.facets["time"].count == 3
    near = Reference.from_data({"when": pa.array([0, 1, 2], pa.timestamp("s"))})
    assert state(profile({"when": far}, near)).facets["time"].count == 3


def test_text_where_times_were_is_that_columns_error() -> None:
    ref = Reference.from_data({"when": pa.array([0, 1], pa.timestamp("s")), "x": [1.0, 2.0]})
    p = profile({"when": ["yesterday", "2026-02-30"], "x": [1.0, 2.0]}, ref)
    assert p.unread["when"].startswith("text where datetime values were expected, no cell of it ISO 8601")
    assert p.unread["when"].endswith(": the type of the column changed")
    assert list(p.columns) == ["x"]


def test_times_where_categories_were_says_what_to_do() -> None:
    ref = Reference.from_data({"day": ["2026-01-01", "2026-01-02"]})
    p = profile({"day": [dt.date(2026, 1, 1)]}, ref)
    assert p.unread["day"].startswith("times where categorical values were expected: the type of the column changed")
    assert p.unread["day"].endswith(
        "build the reference with kinds={'day': 'datetime'}, which reads times and their text"
    )


@pytest.mark.parametrize("given", [{"when": "datetime"}, {"when": "numeric"}])
def test_at_construction_nothing_has_changed(given: dict[str, str]) -> None:
    with pytest.raises(ColumnError, match=r"text where (datetime|numeric) values were expected") as caught:
        Reference.from_data({"when": ["yesterday", "today"]}, kinds=given)
    assert "changed" not in str(caught.value)


def test_text_of_times_is_the_times() -> None:
    """The same reference and the same counts as from the moments themselves, and lags behind event times as text."""
    rng = np.random.default_rng(0)
    moments = np.datetime64("2026-01-05", "ms") + rng.integers(0, 10**9, 300).astype("timedelta64[ms]")
    events = moments + np.timedelta64(90, "s")
    rows = {"when": moments, "timestamp": events}
    texts = {name: [f"{value}Z" for value in values.astype(str)] for name, values in rows.items()}
    ref = Reference.from_data(rows)
    assert Reference.from_data(texts, kinds={"when": "datetime"}).id == ref.id
    assert profile(texts, ref).to_bytes() == profile(rows, ref).to_bytes()
    odd = state(profile({"when": [*texts["when"], "soon", None]}, ref))
    assert (odd.count, odd.missing, odd.invalid) == (300, 2, 1)


def test_later_rows_of_the_same_week_are_no_drift() -> None:
    rng = np.random.default_rng(3)
    start = np.datetime64("2026-01-05", "s")
    before, after = (
        {"when": start + (rng.integers(0, 604_800, n) + late).astype("timedelta64[s]")}
        for n, late in ((5_000, 0), (1_000, 4 * 604_800))
    )
    found = compare(Reference.from_data(before), after).columns["when"]
    assert found.status == "ok"
    assert list(found.facets) == ["hour_of_week"]


def test_all_missing_column_keeps_the_kind_of_the_reference() -> None:
    ref = Reference.from_data({"when": pa.array([0, 1], pa.timestamp("s"))})
    for empty in (
        [None, None],
        np.array(["NaT", "NaT"], "datetime64[s]"),
        pa.nulls(2),
        pa.array([None] * 2, pa.string()),
    ):
        made = state(profile({"when": empty}, ref))
        assert (made.count, made.missing) == (0, 2)
