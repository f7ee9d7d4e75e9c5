"""One check: its window, its rows, its verdicts. Distances are computed again here, from the rows."""

from __future__ import annotations

import asyncio
from dataclasses import replace
from datetime import UTC, datetime, timedelta
from typing import Any

import numpy as np
import pyarrow as pa
import pytest
from scipy.stats import ks_2samp

from driftwell import Reference
from driftwell.errors import BadInput, ColumnError, StoreError

START = datetime(2026, 1, 20, 18, 0, tzinfo=UTC)
END = START + timedelta(hours=1)
RNG = np.random.default_rng(20_260_120)
LEARNT = {
    "age": RNG.normal(40, 10, 2_000),
    "fare": RNG.normal(10, 2, 2_000),
    "city": RNG.choice(["Oslo", "Bergen", "Stavanger"], 2_000, p=[0.5, 0.3, 0.2]),
}
FEATURES = tuple(LEARNT)


def record(monitor, rows: dict[str, Any], **more: Any) -> None:
    table = {name: np.asarray(values) if name in FEATURES else values for name, values in rows.items()}
    monitor.record_batch(pa.table({**table, **more}))
    assert monitor.flush(10)


def by_feature(result) -> dict[str | None, Any]:
    return {verdict.feature: verdict for verdict in result.verdicts if verdict.signal == "drift"}


# -- the window ----------------------------------------------------------------------------------------------------


def test_the_window_is_half_open_and_ends_with_at(make, rows_of):
    monitor = make(reference=LEARNT)
    record(monitor, rows_of(3_600))
    result = monitor.check("PT10M", at=START + timedelta(minutes=20))
    assert result.n_predictions == result.drift["summary"]["n_current"] == 600
    assert result.window.to_dict() == {"start": "2026-01-20T18:10:00Z", "end": "2026-01-20T18:20:00Z"}
    inside = rows_of(3_600)["age"][600:1200]
    assert result.drift["columns"]["age"]["distribution"]["stats"]["current"] == pytest.approx(
        {"mean": inside.mean(), "std": inside.std(ddof=1), "min": inside.min(), "max": inside.max()}, rel=1e-9
    )


@pytest.mark.parametrize("data_quality", [None, False])
def test_a_number_of_records_parts_rows_of_one_time_by_their_arrival(make, data_quality):
    """Four rows at each second, their fare saying when they came: the newest 250 begin in the middle of a second."""
    monitor = make(reference=LEARNT, quality=data_quality)
    n = 1_000
    table = {
        "age": RNG.normal(40, 10, n),
        "fare": np.arange(n) / n,
        "city": ["Oslo"] * n,
        "timestamp": [START + timedelta(seconds=i // 4) for i in range(n)],
        "prediction": ["late" if i >= n - 250 else "early" for i in range(n)],
        "true_label": ["late"] * n,
        "prediction_id": [str(i) for i in range(n)],
    }
    monitor.record_batch(table)
    result = monitor.check(250)
    assert result.n_predictions == result.drift["summary"]["n_current"] == 250
    assert result.window.start == START + timedelta(seconds=187)
    assert result.drift["columns"]["fare"]["distribution"]["stats"]["current"]["min"] == 0.75
    assert result.performance["labels"] == {"matched": 250, "coverage": 1.0}
    assert result.performance["realized"]["accuracy"]["value"] == 1.0
    assert result.to_dict()["window"].keys() == {"start", "end"}
    assert monitor.read(250)["prediction_id"].to_pylist() == [str(i) for i in range(750, 1_000)]


def test_one_time_for_all_rows_still_gives_the_number_asked_for(make, rows_of):
    monitor = make(reference=LEARNT)
    record(monitor, rows_of(300) | {"timestamp": [START] * 300})
    assert monitor.check(120, at=END).n_predictions == 120
    assert monitor.check(500, at=END).n_predictions == 300
    assert monitor.check("PT1H", at=END).n_predictions == 300


def test_a_number_of_records_is_the_newest_that_many_before_at(make, rows_of):
    monitor = make(reference=LEARNT)
    record(monitor, rows_of(900))
    result = monitor.check(250, at=START + timedelta(seconds=700))
    assert result.n_predictions == 250
    assert result.window.start == START + timedelta(seconds=450)


def test_without_at_the_window_ends_now(make, rows_of):
    monitor = make(reference=LEARNT)
    before = datetime.now(UTC)
    record(monitor, rows_of(120, start=before - timedelta(minutes=30)))
    result = monitor.check()
    assert result.n_predictions == 120
    assert before <= result.window.end <= datetime.now(UTC)
    assert result.window.end - result.window.start == timedelta(hours=1)
    assert result.timestamp == result.window.end


def test_a_naive_time_is_utc_and_said_once(make, rows_of, caplog):
    monitor = make(reference=LEARNT)
    record(monitor, rows_of(120))
    for _ in range(3):
        assert monitor.check("PT1H", at="2026-01-20T19:00:00").window.end == END
    said = [r.getMessage() for r in caplog.records if "UTC" in r.getMessage()]
    assert said == ["flights: the time 2026-01-20T19:00:00 has no zone and is taken as UTC"]


def test_extension_reaches_back_for_rows_and_says_so(make, rows_of):
    monitor = make(reference=LEARNT)
    record(monitor, rows_of(300))
    end = START + timedelta(seconds=310)
    short = monitor.check("PT30S", at=end)
    assert (short.status, short.n_predictions) == ("no_data", 20)
    longer = monitor.check("PT30S", at=end, extend_to="PT1H")
    assert (longer.status, longer.n_predictions) == ("ok", 100)
    assert longer.reason.startswith("extended back from 2026-01-20 18:04 for more rows")


@pytest.mark.parametrize("window", [0, -3, "an hour", None, True])
def test_a_window_that_cannot_be_read_is_one_clear_error_and_records_nothing(monitor, window):
    with pytest.raises(BadInput):
        monitor.check(window)
    assert monitor.drift_scores()["last_check"] is None


# -- verdicts ------------------------------------------------------------------------------------------------------


def test_nothing_moved_is_ok(make, rows_of):
    monitor = make(reference=LEARNT)
    record(monitor, rows_of(1_000))
    result = monitor.check("PT1H", at=END)
    assert (result.status, str(result.severity), result.drift_detected) == ("ok", "none", False)
    assert {v.status for v in by_feature(result).values()} == {"ok"}
    assert (result.drifted_features, result.culprits, result.alarm.fired) == ({}, (), False)


def test_what_moved_is_named_with_its_distance(make, rows_of):
    monitor = make(reference=LEARNT)
    rows = rows_of(1_000, age=12)
    record(monitor, rows)
    result = monitor.check("PT1H", at=END)
    assert (result.status, str(result.severity), result.drift_detected) == ("critical", "high", True)
    assert (result.alarm.fired, result.alarm.active) == (True, True)
    assert list(result.drifted_features) == ["age"] == list(result.culprits)
    exact = ks_2samp(LEARNT["age"], rows["age"]).statistic
    assert exact - 0.01 <= result.drifted_features["age"] <= exact + 1e-9  # binned: a certified lower bound
    assert result.max_drift_score == result.drifted_features["age"]
    verdict = by_feature(result)["age"]
    assert (verdict.status, verdict.metric, verdict.threshold, verdict.n) == ("critical", "psi", 0.1, 1_000)
    assert verdict.value > 0.25
    assert by_feature(result)["fare"].status == "ok"


def test_a_moderate_move_is_a_warning(make, rows_of):
    monitor = make(reference=LEARNT)
    record(monitor, rows_of(3_000, age=4.2))
    result = monitor.check("PT1H", at=END)
    assert 0.1 <= by_feature(result)["age"].value <= 0.25
    assert (result.status, str(result.severity)) == ("warning", "medium")


def test_the_score_of_categories_is_half_the_sum_of_differences(make, rows_of):
    monitor = make(reference=LEARNT)
    rows = rows_of(1_000)
    rows["city"] = np.where(np.arange(1_000) < 600, "Bergen", rows["city"])
    record(monitor, rows)
    shares = [{name: np.mean(side == name) for name in set(LEARNT["city"])} for side in (LEARNT["city"], rows["city"])]
    exact = sum(abs(shares[0][name] - shares[1][name]) for name in shares[0]) / 2
    assert monitor.check("PT1H", at=END).drifted_features == {"city": pytest.approx(exact)}


def test_culprits_are_ranked_by_score_times_importance(make, rows_of):
    reference = Reference.from_data(LEARNT)
    rows = rows_of(1_000, age=6, fare=4)
    plain = make("plain", reference=reference)
    weighted = make("weighted", reference=replace(reference, importance={"age": 0.9, "fare": 0.1}))
    for monitor in (plain, weighted):
        record(monitor, rows)
    assert plain.check("PT1H", at=END).culprits == ("fare", "age")
    assert weighted.check("PT1H", at=END).culprits == ("age", "fare")


def test_a_drift_score_above_its_threshold_is_drift_too(make, rows_of):
    rows = rows_of(1_000, age=3)
    lenient, strict = (
        make("lenient", reference=LEARNT, threshold=0.5),
        make("strict", reference=LEARNT, threshold=0.5, drift_threshold=0.08),
    )
    for monitor in (lenient, strict):
        record(monitor, rows)
    assert lenient.check("PT1H", at=END).drift_detected is False
    result = strict.check("PT1H", at=END)
    assert list(result.drifted_features) == ["age"]
    assert by_feature(result)["age"].reason.startswith("drift score 0.1")
    assert next(iter(result.drift["columns"])) == "age"
    assert result.drift["summary"]["n_drifted"] == 1


def test_a_drift_score_that_chance_explains_is_none(make, rows_of):
    monitor = make(reference=LEARNT, drift_threshold=0.001)
    record(monitor, rows_of(1_000))
    result = monitor.check("PT1H", at=END)
    assert result.max_drift_score > 0.001
    assert result.drift_detected is False


def test_method_and_threshold_are_those_of_the_options(make, rows_of):
    monitor = make(reference=LEARNT, method="wasserstein", threshold={"age": 100.0})
    record(monitor, rows_of(500, age=12))
    verdict = by_feature(monitor.check("PT1H", at=END))["age"]
    assert (verdict.metric, verdict.threshold, verdict.status) == ("wasserstein", 100.0, "ok")
    assert verdict.value == pytest.approx(12, abs=1.5)


# -- what cannot be judged -----------------------------------------------------------------------------------------


def test_without_reference_there_is_no_drift_verdict(monitor, rows_of):
    record(monitor, rows_of(500))
    result = monitor.check("PT1H", at=END)
    assert (result.status, result.n_predictions, result.drift) == ("no_data", 500, None)
    assert "driftwell baseline" in result.reason


@pytest.mark.parametrize(("n", "status"), [(0, "no_data"), (1, "no_data"), (99, "no_data"), (100, "ok")])
def test_below_the_minimum_nothing_is_judged(make, rows_of, n, status):
    monitor = make(reference=LEARNT)
    if n:
        record(monitor, rows_of(n))
    result = monitor.check("PT1H", at=END)
    assert (result.status, result.n_predictions, result.drift_detected) == (status, n, False)


def test_the_minimum_is_an_option(make, rows_of):
    monitor = make(reference=LEARNT, min_samples=20)
    record(monitor, rows_of(20, age=40))
    assert monitor.check("PT1H", at=END).drift_detected is True


def test_an_absent_column_is_its_own_error(make, rows_of):
    monitor = make(reference=LEARNT)
    rows = rows_of(500, age=12)
    del rows["fare"]
    record(monitor, rows)
    result = monitor.check("PT1H", at=END)
    found = by_feature(result)
    assert {name: verdict.status for name, verdict in found.items()} == {
        "age": "critical",
        "fare": found["fare"].status,
        "city": "ok",
    }
    assert found["fare"].status != "ok"
    assert result.status == "critical"


@pytest.mark.parametrize("value", ["free", None])
def test_a_number_without_readable_values_leaves_the_others(make, rows_of, value):
    monitor = make(reference=LEARNT)
    rows = rows_of(300, age=12)
    for i in range(300):
        features = {"age": rows["age"][i], "fare": value, "city": rows["city"][i]}
        monitor.record_prediction(features, timestamp=rows["timestamp"][i])
    columns = monitor.check("PT1H", at=END).drift["columns"]
    assert {name: column["status"] for name, column in columns.items()} == {
        "age": "drift",
        "fare": "broken",
        "city": "ok",
    }
    assert columns["fare"]["missing_current"] == 1.0


def test_a_category_that_is_all_missing_leaves_the_others(make, rows_of):
    monitor = make(reference=LEARNT)
    rows = rows_of(300)
    for i in range(300):
        features = {"age": rows["age"][i], "fare": rows["fare"][i], "city": None}
        monitor.record_prediction(features, timestamp=rows["timestamp"][i])
    columns = monitor.check("PT1H", at=END).drift["columns"]
    assert {name: column["status"] for name, column in columns.items()} == {
        "city": "broken",
        "age": "ok",
        "fare": "ok",
    }
    assert columns["city"]["missing_current"] == 1.0


def test_a_column_that_could_not_be_judged_is_not_ok(make, rows_of):
    monitor = make(reference=LEARNT, method="mean_shift")
    rows = rows_of(300)
    rows["fare"] = np.full(300, np.nan)
    record(monitor, rows)
    found = by_feature(monitor.check("PT1H", at=END))
    assert (found["fare"].status, found["age"].status) == ("error", "ok")


class Broken:
    """A store in which some calls fail, as with a disk that went away."""

    def __init__(self, store: Any, *names: str) -> None:
        self._store, self._names = store, names

    def __getattr__(self, name: str) -> Any:
        if name in self._names:
            return self._fail
        return getattr(self._store, name)

    def _fail(self, *args: Any, **more: Any) -> Any:
        raise StoreError("the disk went away")


@pytest.mark.parametrize(
    ("part", "calls", "errors"),
    [
        ("store", ("outcomes",), {"performance"}),
        ("store", ("count",), {"traffic", "performance"}),
        ("ledger", ("leaves",), {"quality", "drift"}),
    ],
)
def test_a_part_that_fails_is_a_recorded_error_and_spares_the_others(make, rows_of, part, calls, errors):
    monitor = make(reference=LEARNT)
    record(monitor, rows_of(500))
    kept = getattr(monitor.runtime, part)
    setattr(monitor.runtime, part, Broken(kept, *calls))
    result = monitor.check("PT2H", at=START + timedelta(hours=2))
    setattr(monitor.runtime, part, kept)
    failed = {v.signal: v.reason for v in result.verdicts if v.status == "error"}
    assert failed == dict.fromkeys(errors, "StoreError: the disk went away")
    assert result.status == "error"
    assert "the disk went away" in result.reason
    if "drift" not in errors:
        assert by_feature(result)["age"].status == "ok"
    assert monitor.drift_status()["timestamp"] == result.to_dict()["timestamp"]


def test_parts_can_be_switched_off(make, rows_of):
    monitor = make(reference=LEARNT, enable_drift_detection=False, enable_performance_tracking=False, quality=False)
    record(monitor, rows_of(500, age=30))
    result = monitor.check("PT1H", at=END)
    assert (result.status, result.verdicts, result.n_predictions) == ("no_data", (), 500)
    assert result.reason == "drift detection is switched off; performance tracking is switched off"


# -- rows that are not in the store --------------------------------------------------------------------------------


def given_rows(rows_of, **more: Any) -> dict[str, Any]:
    return {name: values for name, values in rows_of(400, **more).items() if name in FEATURES}


@pytest.mark.parametrize("as_function", [False, True])
def test_rows_given_are_checked_and_never_stored(make, rows_of, as_function):
    monitor = make(reference=LEARNT)
    table = given_rows(rows_of, age=12)
    asked: list[Any] = []

    def rows(start: datetime, end: datetime) -> dict[str, Any]:
        asked.append((start, end))
        return table

    result = monitor.check("PT1H", at=END, data=rows if as_function else table)
    assert asked == ([(START, END)] if as_function else [])
    assert (result.source, result.n_predictions, result.status) == ("given", 400, "critical")
    assert result.culprits == ("age",)
    assert monitor.collector_stats()["total_predictions"] == 0
    assert monitor.check("PT1H", at=END).n_predictions == 0
    recorded = {check["source"]: check["sample_count"] for check in monitor.runtime.ledger.checks("flights")}
    assert recorded == {"given": 400, "store": 0}


def test_an_array_takes_the_names_of_the_reference(make):
    monitor = make(reference=Reference.from_data({"a": np.arange(300.0), "b": np.arange(300.0)}))
    result = monitor.check("PT1H", at=END, data=np.column_stack([np.arange(300.0), np.arange(300.0) + 500]))
    assert {name: verdict.status for name, verdict in by_feature(result).items()} == {"a": "ok", "b": "critical"}


def test_preprocessing_and_new_names_apply_to_rows_given(make, rows_of):
    monitor = make(
        reference=LEARNT,
        preprocess=lambda rows: {**rows, "years": np.asarray(rows["years"]) / 365.25},
        feature_map={"years": "age"},
    )
    rows = given_rows(rows_of)
    rows["years"] = rows.pop("age") * 365.25
    result = monitor.check("PT1H", at=END, data=rows)
    assert {verdict.status for verdict in by_feature(result).values()} == {"ok"}


def test_a_column_absent_from_rows_given_is_its_own_error(make, rows_of):
    monitor = make(reference=LEARNT)
    rows = given_rows(rows_of, age=12)
    del rows["fare"]
    found = by_feature(monitor.check("PT1H", at=END, data=rows))
    assert {name: v.status for name, v in found.items()} == {"age": "critical", "fare": "error", "city": "ok"}
    assert found["fare"].reason == "the column is absent"


def test_rows_given_without_any_feature_say_which_name_is_near(make):
    monitor = make(reference=LEARNT)
    result = monitor.check("PT1H", at=END, data={"ages": [1.0] * 200})
    (verdict,) = [v for v in result.verdicts if v.signal == "drift"]
    assert (verdict.status, result.status) == ("error", "error")
    assert "is it 'ages'?" in verdict.reason


def test_what_is_no_table_is_refused(make):
    monitor = make(reference=LEARNT)
    with pytest.raises(BadInput, match="cannot read a table"):
        monitor.check("PT1H", at=END, data=7)
    with pytest.raises(ColumnError):
        monitor.check("PT1H", at=END, data=np.zeros((5, 2)))


# -- recorded ------------------------------------------------------------------------------------------------------


def test_a_check_is_recorded_as_it_was_returned(make, rows_of):
    monitor = make(reference=LEARNT)
    record(monitor, rows_of(500, age=12))
    result = monitor.check("PT1H", at=END)
    (recorded,) = monitor.runtime.ledger.checks("flights", "v1", full=True)
    assert recorded == result.to_dict()
    promised = {
        *("status", "drift_detected", "drifted_features", "max_drift_score", "sample_count", "timestamp", "window"),
        *("reference_id", "severity", "alarm", "verdicts"),
    }
    assert promised <= recorded.keys()
    assert recorded["sample_count"] == 500
    assert recorded["reference_id"] == monitor.reference.id


def test_acheck_is_check(make, rows_of):
    monitor = make(reference=LEARNT)
    record(monitor, rows_of(500))
    assert asyncio.run(monitor.acheck("PT1H", at=END)).n_predictions == 500


def test_a_check_merges_the_leaves_of_hours_that_are_over(make, rows_of):
    monitor = make(reference=LEARNT)
    for i in range(70):
        record(monitor, rows_of(2, start=START + timedelta(seconds=2 * i), seed=i))
    ledger = monitor.runtime.ledger
    assert len(ledger.leaves("flights", "v1", 0, 2**60)) == 70
    result = monitor.check("PT1H", at=END)
    assert len(ledger.leaves("flights", "v1", 0, 2**60)) == 1
    assert result.n_predictions == result.drift["summary"]["n_current"] == 140


def test_leaves_that_cannot_be_merged_keep_no_check_from_running(make, rows_of, caplog):
    monitor = make(reference=LEARNT)
    record(monitor, rows_of(500))
    kept = monitor.runtime.ledger
    monitor.runtime.ledger = Broken(kept, "seal")
    assert monitor.check("PT1H", at=END).status == "ok"
    monitor.runtime.ledger = kept
    assert "could not be merged: the disk went away" in caplog.text
