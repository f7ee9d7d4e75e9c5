"""``drift_status``, ``drift_scores`` and ``status``: which check they speak of, and in which words."""

from __future__ import annotations

from datetime import UTC, datetime, timedelta
from typing import Any

import numpy as np
import pyarrow as pa
import pytest
from scipy.stats import ks_2samp

START = datetime(2026, 1, 20, 18, 0, tzinfo=UTC)
END = START + timedelta(hours=1)
RNG = np.random.default_rng(20_260_120)
LEARNT = {"age": RNG.normal(40, 10, 2_000), "fare": RNG.normal(10, 2, 2_000)}
WORDS = {
    0.0: ("STABLE", "CONTINUE NORMAL OPERATION", "none"),
    4.2: ("MODERATE DRIFT", "INCREASE MONITORING", "medium"),
    12.0: ("CRITICAL DRIFT", "TRIGGER RETRAINING", "high"),
}


def record(monitor, rows: dict[str, Any]) -> None:
    monitor.record_batch(pa.table({name: rows[name] for name in ("age", "fare", "timestamp", "prediction_id")}))
    assert monitor.flush(10)


def psi(reference: np.ndarray, current: np.ndarray) -> float:
    """Ten groups of the reference's deciles, half a row added to each; missing rows would be one more group."""
    edges = np.quantile(reference, np.arange(0.1, 1, 0.1))
    shares = []
    for side in (reference, current):
        counts = np.append(np.bincount(np.searchsorted(edges, side), minlength=10), 0) + 0.5
        shares.append(counts / counts.sum())
    return float(np.sum((shares[1] - shares[0]) * np.log(shares[1] / shares[0])))


@pytest.mark.parametrize("moved", WORDS)
def test_words_and_numbers_of_the_newest_check(make, rows_of, moved):
    monitor = make(reference=LEARNT)
    rows = rows_of(3_000, age=moved)
    record(monitor, rows)
    result = monitor.check("PT1H", at=END)
    found = monitor.drift_status()
    word, advice, severity = WORDS[moved]
    assert found["status"] == "analyzed"
    assert word in found["interpretation"]
    assert (found["recommendation"], found["severity"]) == (advice, severity)
    assert found["drift_detected"] is (moved > 0)
    assert found["alarm"]["fired"] is (moved > 0)
    if moved:
        exact = ks_2samp(LEARNT["age"], rows["age"])
        assert (found["psi_feature"], found["ks_feature"]) == ("age", "age")
        assert found["psi"] == pytest.approx(psi(LEARNT["age"], rows["age"]), rel=0.1)
        assert exact.statistic - 0.01 <= found["ks_statistic"] <= exact.statistic
        assert found["ks_p_value"] < 0.05
        assert "age" in found["interpretation"]
    assert (found["mmd"], found["mmd_p_value"]) == (None, None)
    assert "multivariate = 'mmd'" in found["reason"]
    assert found["timestamp"] == result.to_dict()["timestamp"]
    assert set(found["features"]) == {"age", "fare"}
    assert {"value", "threshold", "p_adjusted", "score", "drifted", "severity"} <= found["features"]["age"].keys()


def test_a_feature_that_lost_its_values_is_no_measure_of_the_others(make, rows_of):
    monitor = make(reference=LEARNT)
    rows = rows_of(300)
    for i in range(300):
        monitor.record_prediction({"age": rows["age"][i], "fare": None}, timestamp=rows["timestamp"][i])
    found = monitor.drift_status()
    assert (found["status"], found["drift_detected"], found["psi_feature"]) == ("analyzed", False, "age")
    assert found["features"]["fare"]["status"] == "broken"
    exact = ks_2samp(LEARNT["age"], rows["age"]).statistic
    assert found["ks_feature"] == "age"
    assert exact - 0.01 <= found["ks_statistic"] <= exact + 1e-9


def test_a_feature_of_several_facets_is_as_far_off_as_the_farthest(make, rows_of):
    rng = np.random.default_rng(3)
    old, new = rng.normal(size=(1_000, 8)), rng.normal(1, 1, size=(400, 8))
    monitor = make(reference={"age": LEARNT["age"][:1_000], "signal": list(old)})
    rows = rows_of(400)
    monitor.record_batch(pa.table({"age": rows["age"], "signal": list(new), "timestamp": rows["timestamp"]}))
    assert monitor.flush(10)
    monitor.check("PT1H", at=END)
    found = monitor.drift_status()
    assert found["features"]["signal"]["kind"] == "series"
    assert (found["psi_feature"], found["ks_feature"]) == ("signal", "signal")
    means = ks_2samp(old.mean(axis=1), new.mean(axis=1)).statistic  # of one series; those of its elements move less
    assert found["ks_statistic"] == pytest.approx(means, abs=0.01)


def test_without_reference_every_field_is_there_and_null(monitor):
    found = monitor.drift_status()
    assert found["status"] == "no_reference"
    assert "driftwell baseline" in found["interpretation"]
    assert found["interpretation"].startswith("there is no reference")
    assert "label" not in found["interpretation"]  # that is about performance
    numbers = ("psi", "psi_feature", "ks_statistic", "ks_p_value", "ks_feature", "mmd", "mmd_p_value")
    judgements = ("drift_detected", "severity", "recommendation")
    assert {found[name] for name in numbers + judgements} == {None}
    assert found["alarm"].keys() >= {"fired", "active", "evidence", "bar"}
    assert found["features"] == {}


def test_too_few_rows_are_insufficient_data(make, rows_of):
    monitor = make(reference=LEARNT)
    record(monitor, rows_of(50, age=30))
    found = monitor.drift_status()
    assert (found["status"], found["drift_detected"], found["severity"]) == ("insufficient_data", None, None)
    assert found["sample_count"] == 50
    assert "100" in found["interpretation"]


def test_without_a_check_the_day_before_the_newest_prediction_is_judged(make, rows_of):
    monitor = make(reference=LEARNT)
    record(monitor, rows_of(300, age=30, start=START - timedelta(hours=30), seed=1))
    record(monitor, rows_of(300))
    found = monitor.drift_status()
    assert (found["status"], found["sample_count"], found["drift_detected"]) == ("analyzed", 300, False)
    assert found["window"]["end"] == "2026-01-20T18:04:59.000001Z"
    assert monitor.drift_scores()["last_check"] is None  # computed, not recorded


def test_a_window_or_a_time_is_computed_for_what_was_asked(make, rows_of):
    monitor = make(reference=LEARNT)
    record(monitor, rows_of(300))
    record(monitor, rows_of(300, age=30, start=END, seed=1))
    monitor.check("PT1H", at=END)
    assert monitor.drift_status()["drift_detected"] is False
    later = monitor.drift_status(window="PT1H", at=END + timedelta(hours=1))
    assert (later["drift_detected"], later["sample_count"]) == (True, 300)
    newest = monitor.drift_status(window=100)
    assert (newest["drift_detected"], newest["sample_count"]) == (True, 100)
    assert monitor.drift_status(at=END)["window"] == {"start": "2026-01-19T19:00:00Z", "end": "2026-01-20T19:00:00Z"}


def test_after_clear_the_status_starts_afresh(make, rows_of):
    monitor = make(reference=LEARNT)
    record(monitor, rows_of(300, age=30))
    monitor.check("PT1H", at=END)
    assert monitor.drift_status()["drift_detected"] is True
    monitor.clear()
    cleared = monitor.drift_status()
    assert (cleared["status"], cleared["sample_count"]) == ("insufficient_data", 0)
    assert monitor.drift_status(since="all")["drift_detected"] is True
    record(monitor, rows_of(200, start=START + timedelta(minutes=10), seed=3))
    again = monitor.drift_status()
    assert (again["status"], again["sample_count"], again["drift_detected"]) == ("analyzed", 200, False)


def test_after_clear_a_new_check_speaks_even_of_an_older_window(make, rows_of):
    monitor = make(reference=LEARNT)
    record(monitor, rows_of(300, age=30, start=END))
    monitor.check("PT1H", at=END + timedelta(hours=1))
    monitor.clear()
    record(monitor, rows_of(300, seed=3))
    result = monitor.check("PT1H", at=END)
    assert monitor.drift_status()["timestamp"] == result.to_dict()["timestamp"]


def test_scores_are_those_of_the_newest_check(make, rows_of):
    monitor = make(reference=LEARNT)
    assert monitor.drift_scores() == {
        "feature_scores": {},
        "last_check": None,
        "drift_detected": None,
        "reason": "no check has run yet",
    }
    rows = rows_of(1_000, age=12)
    record(monitor, rows)
    monitor.check("PT1H", at=END)
    found = monitor.drift_scores()
    assert (found["last_check"], found["drift_detected"]) == ("2026-01-20T19:00:00Z", True)
    for name, score in found["feature_scores"].items():
        exact = ks_2samp(LEARNT[name], rows[name]).statistic
        assert exact - 0.01 <= score <= exact + 1e-9, name


def test_status_before_anything_has_every_field(monitor):
    found = monitor.status()
    contract = ("status", "model", "version", "monitoring", "reference_id", "last_check", "next_check")
    assert found.keys() >= {*contract, "drift", "performance", "quality", "counts", "retraining"}
    assert [found[name] for name in contract] == ["no_data", "flights", "v1", False, None, None, None]
    assert found["retraining"] == {"last": None, "running": None, "cooldown_until": None}
    assert (found["counts"]["predictions"], found["counts"]["labels"]) == (0, 0)
    assert found["quality"] is None
    assert "quality" in found["reason"]


def test_status_tells_of_the_newest_check_and_of_what_is_stored(make, rows_of):
    monitor = make(reference=LEARNT)
    record(monitor, rows_of(300, age=30))
    monitor.record_feedback("13-0", 1)
    monitor.check("PT1H", at=END)
    monitor.record_prediction({"age": 1.0, "fare": 1.0}, 1)
    found = monitor.status()
    assert (found["status"], found["last_check"]) == ("critical", "2026-01-20T19:00:00Z")
    assert found["reference_id"] == monitor.reference.id
    assert found["drift"]["drift_detected"] is True
    assert list(found["drift"]["drifted_features"]) == ["age"]
    assert (found["counts"]["predictions"], found["counts"]["labels"]) == (301, 1)
    assert found["counts"]["capture"]["stored"] == 301
