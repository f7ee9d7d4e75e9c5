"""``feature_map`` and ``preprocess`` act on recorded rows. What the same rows say under the reference's own names, and
scipy's two-sample KS distance, are the measure."""

from __future__ import annotations

import logging
from datetime import timedelta

import numpy as np
import pyarrow as pa
import pytest
from scipy import stats

from driftwell.errors import BadInput
from driftwell.stores.transform import Transform

from .conftest import START

WHOLE = {"window": "PT1H", "at": START + timedelta(hours=1)}  # an hour of leaves
CUT = {"window": "PT50M", "at": START + timedelta(minutes=50)}  # read as rows


def renamed(rows: dict, new: str, old: str) -> dict:
    return {new if name == old else name: values for name, values in rows.items()}


@pytest.mark.parametrize("span", [WHOLE, CUT], ids=["leaves", "rows"])
def test_rows_recorded_under_new_names_are_judged_under_those_of_the_reference(make, reference, rows_of, span):
    monitor = make(reference=reference, feature_map={"years": "age"})
    rows = rows_of(600)
    monitor.record_batch(renamed(rows, "years", "age"))
    check = monitor.check(**span)
    assert check.status == "ok"
    reference_rows = np.random.default_rng(20_260_120).normal(40, 10, 2_000)  # the first draw of the fixture
    distance = stats.ks_2samp(reference_rows, rows["age"]).statistic
    assert check.drift["scores"]["age"] == pytest.approx(distance, abs=0.03)  # the bins bracket it
    assert monitor.recent(1)[0]["features"].keys() == {"years", "fare", "city"}  # as it was recorded
    assert monitor.stats()["ignored_features"] == {}


def test_rows_under_the_former_name_still_count(make, reference, rows_of):
    monitor = make(reference=reference, feature_map={"years": "age"})
    monitor.record_batch(rows_of(300))
    monitor.record_batch(renamed(rows_of(300, seed=14, start=START + timedelta(minutes=10)), "years", "age"))
    monitor.record_prediction({"age": 41.0, "fare": 10.0, "city": "Oslo"}, timestamp=START)
    monitor.record_prediction({"years": 42.0, "fare": 10.0, "city": "Oslo"}, timestamp=START)
    monitor.record_prediction([43.0, 10.0, "Oslo"], timestamp=START)
    check = monitor.check(**WHOLE)
    assert check.n_predictions == 603
    assert check.drift["columns"]["age"]["n_current"] == 603
    assert check.drift["columns"]["age"]["missing_shift"] == 0.0


def test_cells_that_cannot_be_read_are_counted_under_the_new_name(make, reference, rows_of):
    monitor = make(reference=reference, feature_map={"years": "age"})
    for i in range(5):
        monitor.record_prediction({"years": "old", "fare": 1.0, "city": "Oslo"}, timestamp=START + timedelta(seconds=i))
    monitor.flush()
    (leaf,) = monitor.runtime.ledger.leaves("flights", "v1", 0, 2**62)
    from driftwell.profiles.profile import Profile

    assert Profile.from_bytes(leaf.state).columns["age"].invalid == 5


def test_a_map_given_later_counts_the_kept_rows_again(make, reference, rows_of):
    first = make()
    first.record_batch(renamed(rows_of(600), "years", "age"))
    first.flush()
    first.set_reference(reference)
    assert first.check(**WHOLE).status != "ok"
    second = make(feature_map={"years": "age"})
    assert second.check(**WHOLE).status == "ok"
    assert second.check(**CUT).status == "ok"


def in_years(features):
    assert isinstance(features, pa.Table)
    assert "prediction" not in features.column_names
    days = features.column("age_in_days").to_numpy()
    return {"age": days / 365.25, "fare": features.column("fare"), "city": features.column("city")}


@pytest.mark.parametrize("span", [WHOLE, CUT], ids=["leaves", "rows"])
def test_preprocess_sees_recorded_features(make, reference, rows_of, span):
    monitor = make(reference=reference, preprocess=in_years)
    rows = rows_of(600)
    rows["age_in_days"] = rows.pop("age") * 365.25
    monitor.record_batch(rows)
    assert monitor.check(**span).status == "ok"
    assert monitor.recent(1)[0]["features"].keys() == {"age_in_days", "fare", "city"}


def test_a_failing_function_loses_no_row_and_is_named_by_the_check(make, reference, rows_of, caplog):
    def broken(features):
        raise ZeroDivisionError("no luck")

    monitor = make(reference=reference, preprocess=broken)
    with caplog.at_level(logging.WARNING, "driftwell"):
        monitor.record_batch(rows_of(600))
        monitor.flush()
    assert "recorded, but not counted yet: preprocess failed" in caplog.text
    assert monitor.stats()["stored"] == 600
    check = monitor.check(**WHOLE)
    assert "ZeroDivisionError: no luck" in check.reason
    repaired = make(preprocess=lambda features: features)
    assert repaired.check(**WHOLE).drift["columns"]["age"]["n_current"] == 600


def test_a_function_must_keep_every_row():
    with pytest.raises(BadInput, match="keep every row: it made 1 rows of 2"):
        Transform(preprocess=lambda t: t.slice(0, 1))(pa.table({"x": [1.0, 2.0]}))


def test_names_may_be_exchanged():
    made = Transform({"a": "b", "b": "a"})(pa.table({"a": [1.0, 2.0], "b": [3.0, 4.0]}))
    assert {name: made.column(name).to_pylist() for name in made.column_names} == {"b": [1.0, 2.0], "a": [3.0, 4.0]}


def test_of_two_names_the_new_one_counts_where_it_is_known():
    made = Transform({"new": "old"})(pa.table({"old": [1.0, 2.0], "new": [None, 5.0]}))
    assert made.column("old").to_pylist() == [1.0, 5.0]


def test_an_application_without_the_map_keeps_the_leaves_of_the_one_that_has_it(make, reference, rows_of):
    writer = make(reference=reference, feature_map={"years": "age"})
    writer.record_batch(renamed(rows_of(600), "years", "age"))
    writer.flush()
    assert make().check(**WHOLE).status == "ok"


def test_without_a_reference_nothing_is_transformed(make, rows_of):
    monitor = make(preprocess=lambda features: 1 / 0)
    monitor.record_batch(rows_of(200))
    assert monitor.check(**WHOLE).status == "no_data"
    assert set(monitor.collector_stats()["features"]) == {"age", "fare", "city"}


def test_leaves_of_different_maps_are_told_apart():
    assert not Transform({})
    assert Transform({"a": "b"}).id == Transform({"a": "b"}).id
    assert Transform({"a": "b"}).id != Transform({"a": "c"}).id
