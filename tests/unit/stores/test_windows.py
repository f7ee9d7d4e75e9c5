"""Leaves from batches and windows from leaves and rows: expected profiles are those of exactly the rows meant."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import closing
from datetime import UTC, datetime
from typing import Any

import msgspec
import numpy as np
import pyarrow as pa
import pytest

from driftwell import Reference
from driftwell.profiles import Profile
from driftwell.stores import open_store
from driftwell.stores.base import HOUR_US, PredictionBatch
from driftwell.stores.checks import NOON, make_batch
from driftwell.stores.sqlite import SQLiteStore
from driftwell.stores.transform import Transform
from driftwell.stores.windows import (
    count_arrived,
    empty_profile,
    feature_table,
    leaf_builder,
    rows_profile,
    window_profile,
)

MINUTE = HOUR_US // 60


@pytest.fixture
def store(tmp_path) -> Iterator[SQLiteStore]:
    opened = open_store(f"sqlite:///{tmp_path}/s.db")
    yield opened
    opened.close()


@pytest.fixture(scope="module")
def reference() -> Reference:
    rng = np.random.default_rng(5)
    n = 1_000
    return Reference.from_data(
        {
            "x": rng.normal(size=n),
            "colour": rng.choice(["red", "blue"], n),
            "prediction": rng.choice(["late", "in time"], n),
            "score": rng.random(n),
        }
    )


def rows_at(*minutes: int) -> list[dict[str, Any]]:
    """One row for each minute from noon, its values following from the minute."""
    return [
        {
            "at": NOON + minute * MINUTE,
            "x": minute / 7,
            "colour": "red" if minute % 3 else "green",
            "prediction": "late" if minute % 2 else "in time",
            "score": (minute % 100) / 100,
        }
        for minute in minutes
    ]


def batch_of(name: str, rows: list[dict[str, Any]], **columns: Any) -> PredictionBatch:
    given = {
        "features": [{"x": row["x"], "colour": row["colour"]} for row in rows],
        "timestamp": [row["at"] for row in rows],
        "prediction": [msgspec.json.encode(row["prediction"]).decode() for row in rows],
        "score": [row["score"] for row in rows],
    }
    return make_batch(name, [f"{name}-{i}" for i in range(len(rows))], **(given | columns))


def expected(reference: Reference, rows: list[dict[str, Any]]) -> bytes:
    """The profile of the rows as a table, by the public way; without any row there are no outputs either."""
    types = {"x": pa.float64(), "colour": pa.string(), "prediction": pa.string(), "score": pa.float64()}
    names = list(types) if rows else ["x", "colour"]
    table = pa.table({name: pa.array([row[name] for row in rows], types[name]) for name in names})
    return reference.profile_of(table).to_bytes()


def window(store: SQLiteStore, reference: Reference, start: int, end: int, **options: Any) -> bytes:
    found = window_profile(store, store, "m", "v1", start, end, reference, **options)
    assert found.skipped == 0
    return found.profile.to_bytes()


# -- leaves ----------------------------------------------------------------------------------------------------


def test_there_is_a_leaf_for_each_segment_and_hour(reference):
    rows = rows_at(0, 1, 59, 60, 61, 180)
    batch = batch_of("b", rows, segment=["a", "b", "a", "a", None, None])
    found = {(leaf.segment, (leaf.hour_us - NOON) // HOUR_US): leaf.n for leaf in leaf_builder(reference)(batch)}
    assert found == {("a", 0): 2, ("b", 0): 1, ("a", 1): 1, (None, 1): 1, (None, 3): 1}


def test_a_leaf_is_the_profile_of_its_rows(reference):
    rows = rows_at(0, 61, 2, 62)
    leaves = leaf_builder(reference)(batch_of("b", rows))
    assert [leaf.edges_id for leaf in leaves] == [reference.edges_id] * 2
    states = {leaf.hour_us: Profile.from_bytes(leaf.state, reference).to_bytes() for leaf in leaves}
    assert states == {
        NOON: expected(reference, [rows[0], rows[2]]),
        NOON + HOUR_US: expected(reference, [rows[1], rows[3]]),
    }


def test_times_before_1970_fall_into_their_hour(reference):
    (leaf,) = leaf_builder(reference)(batch_of("b", rows_at(0), timestamp=[-1]))
    assert leaf.hour_us == -HOUR_US


def test_a_batch_without_rows_has_no_leaves(reference):
    assert leaf_builder(reference)(batch_of("b", rows_at(0)).take(np.array([], dtype=np.int64))) == []


def test_without_reference_a_leaf_counts_in_no_bins():
    (leaf,) = leaf_builder(None)(batch_of("b", rows_at(1, 2, 4)))
    found = Profile.from_bytes(leaf.state)
    assert leaf.edges_id == found.edges_id == "plain"
    assert found.columns["x"].mean == pytest.approx(1 / 3)
    assert found.columns["colour"].newcomers == {"red": 3}
    assert (found.outputs["score"].min, found.outputs["score"].max) == (0.01, 0.04)
    assert found.outputs["prediction"].newcomers == {"late": 1, "in time": 2}


def test_rows_without_features_have_no_values_whatever_lies_beneath():
    values = pa.StructArray.from_arrays([pa.array([1.0, 2.0])], names=["x"], mask=pa.array([False, True]))
    batch = make_batch("b", ["1", "2"], features=values)
    assert feature_table(batch.rows).column("x").to_pylist() == [1.0, None]


def test_features_named_like_outputs_stay_features():
    batch = make_batch("b", ["1", "2"], features=[{"prediction": 5.0, "score": 1.0}] * 2, score=[0.5, 0.25])
    (leaf,) = leaf_builder(None)(batch)
    found = Profile.from_bytes(leaf.state)
    assert (found.columns["prediction"].mean, found.columns["score"].mean) == (5.0, 1.0)
    assert list(found.outputs) == ["score"]
    assert found.outputs["score"].mean == 0.375


def test_unreadable_cells_are_counted_in_their_column(reference):
    rows = rows_at(1, 2, 3)
    batch = batch_of("b", [row | {"x": None} for row in rows], invalid=['{"x":"many"}', None, '{"x":"few"}'])
    (leaf,) = leaf_builder(reference)(batch)
    found = Profile.from_bytes(leaf.state, reference)
    assert (found.columns["x"].missing, found.columns["x"].invalid, found.columns["colour"].invalid) == (3, 2, 0)


def test_an_absent_feature_is_unread_and_spares_the_others(reference):
    batch = make_batch("b", ["1", "2"], features=[{"colour": "red"}] * 2)
    (leaf,) = leaf_builder(reference)(batch)
    found = Profile.from_bytes(leaf.state, reference)
    assert found.unread == {"x": "the column is absent"}
    assert found.columns["colour"].count == 2


def test_predictions_of_several_kinds_are_counted_each(reference):
    rows = [row | {"prediction": value} for row, value in zip(rows_at(1, 2, 3), ("late", 3, True), strict=True)]
    (leaf,) = leaf_builder(reference)(batch_of("b", rows))
    found = Profile.from_bytes(leaf.state, reference).outputs["prediction"]
    assert found.count == 3
    assert found.newcomers == {"3": 1, "true": 1}


# -- windows ---------------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("start", "end"),
    [(0, 60), (0, 240), (5, 55), (5, 65), (60, 180), (59, 181), (30, 90), (60, 61), (61, 61), (-500, 0), (239, 900)],
)
def test_a_window_is_the_profile_of_its_rows(store, reference, start, end):
    rows = rows_at(*range(0, 240, 4))
    for i in range(0, len(rows), 9):
        store.append(batch_of(f"b{i}", rows[i : i + 9]), leaf_builder(reference))
    low, high = NOON + start * MINUTE, NOON + end * MINUTE
    assert window(store, reference, low, high) == expected(reference, [r for r in rows if low <= r["at"] < high])


def test_an_empty_window_is_the_identity_of_merging(store, reference):
    store.append(batch_of("b", rows_at(1, 2)), leaf_builder(reference))
    whole = window_profile(store, store, "m", "v1", NOON, NOON + HOUR_US, reference).profile
    nothing = window_profile(store, store, "m", "v1", NOON + HOUR_US, NOON + 2 * HOUR_US, reference).profile
    assert nothing.to_bytes() == empty_profile(reference).to_bytes()
    assert whole.merge(nothing).to_bytes() == whole.to_bytes()


def test_sealing_changes_no_window(store, reference):
    rows = rows_at(*range(0, 180, 3))
    for i, row in enumerate(rows):
        store.append(batch_of(f"b{i}", [row]), leaf_builder(reference))
    before = window(store, reference, NOON, NOON + 3 * HOUR_US)
    assert store.seal(NOON + 2 * HOUR_US, more_than=5) == 2
    assert len(store.leaves("m", "v1", NOON, NOON + 2 * HOUR_US)) == 2
    assert window(store, reference, NOON, NOON + 3 * HOUR_US) == before == expected(reference, rows)


def test_rows_that_came_before_their_reference_are_counted_in_its_bins(store, reference):
    rows = rows_at(*range(0, 150, 7))
    for i in range(0, len(rows), 4):
        store.append(batch_of(f"b{i}", rows[i : i + 4]), leaf_builder(None))
    assert window(store, reference, NOON, NOON + 3 * HOUR_US) == expected(reference, rows)
    leaves = store.leaves("m", "v1", NOON, NOON + 3 * HOUR_US)
    assert {leaf.edges_id for leaf in leaves} == {reference.edges_id}


def test_a_window_after_a_mark_leaves_out_what_had_arrived(store, reference):
    old, new = rows_at(1, 30, 61, 100), rows_at(2, 31, 62, 119)
    store.append(batch_of("old", old), leaf_builder(reference))
    mark = store.set_mark("m")
    store.append(batch_of("new", new), leaf_builder(reference))
    low, high = NOON + 30 * MINUTE, NOON + 110 * MINUTE
    assert window(store, reference, low, high, after_arrival=mark) == expected(reference, new[1:3])
    assert window(store, reference, low, high) == expected(reference, [old[1], new[1], old[2], new[2], old[3]])


@pytest.mark.parametrize(("start", "end"), [(0, 240), (0, 241), (10, 70), (59, 121), (5, 50), (120, 120), (-90, 60)])
def test_rows_that_arrived_after_a_mark_are_counted_by_window(store, reference, start, end):
    store.append(batch_of("old", rows_at(*range(0, 240, 7))), leaf_builder(reference))
    mark = store.set_mark("m")
    minutes = range(0, 240, 5)
    store.append(batch_of("new", rows_at(*minutes)), leaf_builder(reference))
    window = (NOON + start * MINUTE, NOON + end * MINUTE)
    found = count_arrived(store, store, "m", "v1", *window, after_arrival=mark)
    assert found == sum(start <= minute < end for minute in minutes)


def test_over_all_versions_rows_in_other_bins_are_skipped_and_told(store, reference):
    other = Reference.from_data({"x": [1.0, 2.0, 3.0]})
    store.append(batch_of("b1", rows_at(1, 2, 3)), leaf_builder(reference))
    store.append(batch_of("b2", rows_at(4, 5), version="v2"), leaf_builder(other))
    found = window_profile(store, store, "m", None, NOON, NOON + HOUR_US, reference)
    assert found.skipped == 2
    assert found.profile.to_bytes() == expected(reference, rows_at(1, 2, 3))


@pytest.mark.parametrize("limit", [1, 2, 3, 5])
def test_a_limit_keeps_the_last_to_arrive_at_the_first_instant(store, reference, limit):
    """Three rows at minute 50, two hours of others: those with the largest x came last."""
    tied = [row | {"x": x} for row, x in zip(rows_at(50, 50, 50), (1.0, 2.0, 3.0), strict=True)]
    later = rows_at(55, 70, 130)
    store.append(batch_of("b1", [tied[0], *later]), leaf_builder(reference))
    store.append(batch_of("b2", tied[1:]), leaf_builder(reference))
    found = window(store, reference, NOON + 50 * MINUTE, NOON + 3 * HOUR_US, limit=3 + limit)
    assert found == expected(reference, [*tied[-limit:], *later])


def test_rows_that_are_gone_are_counted_from_their_grids(store, reference):
    """Few distinct values: the grid loses nothing, so that the profile is that of the rows."""
    store.append(batch_of("b1", rows_at(1, 2, 3)), leaf_builder(reference))
    store.append(batch_of("b2", rows_at(4, 5), version="v2"), leaf_builder(None))
    found = window_profile(store, store, "m", None, NOON, NOON + HOUR_US, reference)
    assert (found.skipped, found.approximate, found.notes) == (0, 2, ())
    counted, whole = found.profile, Profile.from_bytes(expected(reference, rows_at(1, 2, 3, 4, 5)))
    assert counted.outputs["confidence"].missing == 2  # which probability went with which class is in no grid
    del counted.outputs["confidence"], whole.outputs["confidence"]
    assert counted.to_bytes() == whole.to_bytes()


def test_many_rows_from_grids_come_with_their_error(store, reference):
    rng = np.random.default_rng(8)
    values = rng.normal(size=3_000)
    rows = [row | {"x": float(x)} for row, x in zip(rows_at(*[1] * 3_000), values, strict=True)]
    store.append(batch_of("b", rows), leaf_builder(None))
    found = window_profile(store, store, "m", None, NOON, NOON + HOUR_US, reference)
    assert (found.skipped, found.approximate, len(found.notes)) == (0, 3_000, 1)
    state, direct = found.profile.columns["x"], reference.profile_of({"x": values}, columns=["x"]).columns["x"]
    assert 0 < state.uncertain < 3_000
    off = np.abs(np.cumsum(state.counts) - np.cumsum(direct.counts)).max()
    assert off <= state.uncertainty.at_edge


def test_grids_that_would_lose_a_column_are_skipped_and_told(store, reference):
    rows = rows_at(*range(300 // 6))
    names = [row | {"colour": f"colour {i}"} for i, row in enumerate(rows * 6)]
    store.append(batch_of("b", names), leaf_builder(None))
    found = window_profile(store, store, "m", None, NOON, NOON + HOUR_US, reference)
    assert (found.skipped, found.approximate, found.profile.n_rows) == (300, 0, 0)


def test_grids_of_features_that_a_transform_changes_are_skipped(store, reference):
    store.append(batch_of("b", rows_at(1, 2)), leaf_builder(None))
    transform = Transform({"x": "x2"}, None)
    found = window_profile(store, store, "m", None, NOON, NOON + HOUR_US, reference, transform=transform)
    assert (found.skipped, found.approximate) == (2, 0)


@pytest.mark.parametrize(
    "names", [["feature.age"], ["score"], ["version", "feature.version"], ["true_label", "feature.x"]]
)
def test_every_feature_keeps_its_name_in_cut_hours(store, names):
    reference = Reference.from_data(
        {name: np.arange(50.0) for name in names}, feature_names=names, kinds=dict.fromkeys(names, "numeric")
    )
    times = [NOON + i * MINUTE for i in range(60)]
    features = [{name: float(i + k) for k, name in enumerate(names)} for i in range(60)]
    ids = [str(i) for i in range(60)]
    store.append(make_batch("b", ids, timestamp=times, features=features), leaf_builder(reference))
    found = window_profile(store, store, "m", "v1", NOON + 10 * MINUTE, NOON + 20 * MINUTE, reference).profile
    assert found.unread == {}
    assert {name: state.mean for name, state in found.columns.items()} == {n: 14.5 + k for k, n in enumerate(names)}


def test_rows_profile_counts_rows_even_without_any_column():
    rows = make_batch("b", ["1", "2", "3"], features=[{}, {}, {}]).rows
    assert rows_profile(feature_table(rows), rows, None).n_rows == 3


# -- windows whose rows are gone -------------------------------------------------------------------------------


def kept_and_gone(store: SQLiteStore, reference: Reference) -> list[dict[str, Any]]:
    """Rows of four hours, the features of the first two gone."""
    rows = rows_at(*range(0, 240, 4))
    for i, row in enumerate(rows):
        store.append(batch_of(f"b{i}", [row], start_us=row["at"]), leaf_builder(reference))
    store.prune(rows_before_us=NOON + 2 * HOUR_US)
    return rows


@pytest.mark.parametrize(
    ("start", "end", "hours"),
    [
        (30, 230, (0, 230)),  # the first hour is cut and gone, the last is cut and there
        (30, 180, (0, 180)),
        (10, 50, (0, 60)),  # within one hour
        (10, 100, (0, 120)),  # both ends
        (60, 110, (60, 120)),  # the end alone
        (10, 150, (0, 150)),
    ],
)
def test_a_cut_hour_whose_rows_are_gone_counts_whole_and_says_so(store, reference, start, end, hours):
    rows = kept_and_gone(store, reference)
    found = window_profile(store, store, "m", "v1", NOON + start * MINUTE, NOON + end * MINUTE, reference)
    low, high = (NOON + minutes * MINUTE for minutes in hours)
    assert found.profile.to_bytes() == expected(reference, [r for r in rows if low <= r["at"] < high])
    whole = f"2026-01-01 {12 + hours[0] // 60}:00 to 2026-01-01 {12 + hours[1] // 60}:00"
    assert found.notes == (
        f"feature rows at the ends of the window are gone: whole hours are counted there ({whole} UTC)",
    )


@pytest.mark.parametrize(("start", "end"), [(0, 240), (60, 120), (120, 200), (130, 140), (-30, 60), (-30, -10)])
def test_a_window_that_needs_no_lost_row_says_nothing(store, reference, start, end):
    rows = kept_and_gone(store, reference)
    low, high = NOON + start * MINUTE, NOON + end * MINUTE
    found = window_profile(store, store, "m", "v1", low, high, reference)
    assert found.notes == ()
    assert found.profile.to_bytes() == expected(reference, [r for r in rows if low <= r["at"] < high])


def test_an_hour_that_lost_some_rows_counts_whole(store, reference):
    rows = rows_at(10, 20, 30, 40)
    for i, row in enumerate(rows):
        store.append(batch_of(f"b{i}", [row], start_us=row["at"]), leaf_builder(reference))
    store.prune(rows_before_us=NOON + 25 * MINUTE)
    found = window_profile(store, store, "m", "v1", NOON + 15 * MINUTE, NOON + 45 * MINUTE, reference)
    assert (found.profile.to_bytes(), len(found.notes)) == (expected(reference, rows), 1)
    found = window_profile(store, store, "m", "v1", NOON + 25 * MINUTE, NOON + 45 * MINUTE, reference)
    assert (found.profile.to_bytes(), found.notes) == (expected(reference, rows[2:]), ())


def test_predictions_that_are_forgotten_still_count_in_their_hour(store, reference):
    rows = kept_and_gone(store, reference)
    store.prune(predictions_before_us=NOON + HOUR_US)
    found = window_profile(store, store, "m", "v1", NOON + 30 * MINUTE, NOON + 2 * HOUR_US, reference)
    assert (found.profile.to_bytes(), len(found.notes)) == (expected(reference, rows[:30]), 1)


def test_deleted_predictions_widen_no_window(store, reference):
    rows = rows_at(10, 20, 30)
    store.append(batch_of("b", rows), leaf_builder(reference))
    store.delete(prediction_ids=["b-1"])
    found = window_profile(store, store, "m", "v1", NOON + 5 * MINUTE, NOON + 35 * MINUTE, reference)
    assert (found.profile.to_bytes(), found.notes) == (expected(reference, [rows[0], rows[2]]), ())


@pytest.mark.parametrize("minute", [8, 60])
def test_a_number_of_rows_whose_oldest_are_gone_counts_their_hour_whole(store, reference, minute):
    rows = kept_and_gone(store, reference)
    wanted = [r for r in rows if r["at"] >= NOON + minute * MINUTE]
    found = window_profile(store, store, "m", "v1", wanted[0]["at"], NOON + 4 * HOUR_US, reference, limit=len(wanted))
    whole = [r for r in rows if r["at"] >= NOON + minute // 60 * HOUR_US]
    assert (found.profile.to_bytes(), len(found.notes)) == (expected(reference, whole), 1)


def test_gone_rows_after_a_mark_count_whole_without_those_before_it(store, reference):
    old, new = rows_at(5, 40), rows_at(6, 41)
    store.append(batch_of("old", old), leaf_builder(reference))
    mark = store.set_mark("m")
    store.append(batch_of("new", new), leaf_builder(reference))
    store.prune(rows_before_us=NOON + HOUR_US)
    low, high = NOON + 30 * MINUTE, NOON + HOUR_US
    found = window_profile(store, store, "m", "v1", low, high, reference, after_arrival=mark)
    assert (found.profile.to_bytes(), len(found.notes)) == (expected(reference, new), 1)
    assert count_arrived(store, store, "m", "v1", low, high, after_arrival=mark) == 2


def test_gone_rows_that_a_transform_changed_count_whole(store, reference):
    transform = Transform({"delay": "x"}, None)
    rows = rows_at(5, 40)
    features = [{"delay": row["x"], "colour": row["colour"]} for row in rows]
    store.append(batch_of("b", rows, features=features), leaf_builder(reference, transform))
    store.prune(rows_before_us=NOON + 2 * HOUR_US)
    found = window_profile(store, store, "m", "v1", NOON + 30 * MINUTE, NOON + HOUR_US, reference, transform=transform)
    assert (found.profile.to_bytes(), len(found.notes), found.skipped) == (expected(reference, rows), 1, 0)


def test_a_check_says_that_whole_hours_were_counted(reference):
    from driftwell import Monitor

    with closing(Monitor("m", "v1", reference=reference, store="memory://", channels=["log"])) as monitor:
        store = monitor.runtime.store
        rows = rows_at(*range(0, 120, 2))
        store.append(batch_of("b", rows), leaf_builder(reference))
        at = datetime.fromtimestamp((NOON + 2 * HOUR_US) // 1_000_000, UTC)
        assert "whole hours" not in (monitor.check("PT90M", at=at).reason or "")
        store.prune(rows_before_us=NOON + HOUR_US)
        found = monitor.check("PT90M", at=at)
        assert "feature rows at the ends of the window are gone: whole hours are counted there" in found.reason
        assert found.drift["summary"]["n_current"] == 60
