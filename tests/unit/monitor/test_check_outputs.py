"""Drift of what the model answers: verdicts of a signal of their own, apart from the features."""

from __future__ import annotations

from datetime import UTC, datetime, timedelta
from typing import Any

import numpy as np
import pyarrow as pa
import pytest
from scipy.stats import ks_2samp

from driftwell import Reference

START = datetime(2026, 1, 20, 18, 0, tzinfo=UTC)
END = START + timedelta(hours=1)


def answers(n: int, late: float, seed: int) -> dict[str, Any]:
    """Predictions of which a share ``late`` is late, with scores around that share; the feature never moves."""
    rng = np.random.default_rng(seed)
    return {
        "x": rng.normal(size=n),
        "prediction": np.where(np.arange(n) < late * n, "late", "in time"),
        "score": np.clip(rng.normal(late, 0.1, n), 0, 1),
    }


OLD = answers(2_000, 0.2, 1)
REFERENCE = Reference.from_data(OLD, prediction="prediction", score="score")


def record(monitor, columns: dict[str, Any]) -> None:
    times = [START + timedelta(seconds=i) for i in range(len(columns["x"]))]
    monitor.record_batch(pa.table({**columns, "timestamp": times}))
    assert monitor.flush(10)


def outputs(check) -> dict[str, Any]:
    return {verdict.feature: verdict for verdict in check.verdicts if verdict.signal == "output"}


def test_outputs_that_moved_are_severe_and_no_feature(make):
    monitor = make(reference=REFERENCE)
    new = answers(600, 0.6, 2)
    record(monitor, new)
    check = monitor.check("PT1H", at=END)
    found = outputs(check)
    assert found["prediction"].metric == "total_variation"
    assert found["prediction"].value == pytest.approx(0.4, abs=1e-9)  # 60 % late instead of 20 %
    assert (found["score"].status, found["score"].threshold) == ("critical", 0.1)
    scores = check.drift["outputs"]["score"]["score"]
    assert scores == pytest.approx(ks_2samp(OLD["score"], new["score"]).statistic, abs=0.01)
    assert (check.status, str(check.severity)) == ("critical", "high")
    assert (check.drift_detected, check.drifted_features, check.culprits) == (False, {}, ())
    assert check.alarm.fired


def test_they_are_seen_in_the_status_and_by_rules(make):
    monitor = make(reference=REFERENCE)
    record(monitor, answers(600, 0.6, 2))
    check = monitor.check("PT1H", at=END)
    for told in (monitor.status()["drift"]["outputs"], monitor.drift_status()["outputs"]):
        assert told["prediction"]["drifted"] is True
        assert told["prediction"]["value"] == outputs(check)["prediction"].value
    firing = {alert["rule"]: alert for alert in monitor.runtime.ledger.get_alerts("flights")}
    assert firing["ModelOutputDrift"]["state"] == "firing"
    assert "prediction: total_variation 0.4" in firing["ModelOutputDrift"]["message"]
    assert firing["ModelDataDrift"]["state"] != "firing"


def test_outputs_that_stayed_are_ok(make):
    monitor = make(reference=REFERENCE)
    record(monitor, answers(600, 0.2, 7))
    check = monitor.check("PT1H", at=END)
    assert {verdict.status for verdict in outputs(check).values()} == {"ok"}
    assert check.status == "ok"


def test_too_few_answers_are_not_judged(make):
    monitor = make(reference=REFERENCE)
    record(monitor, answers(50, 0.6, 2))
    check = monitor.check("PT1H", at=END)
    assert (outputs(check), check.status) == ({}, "no_data")


def test_without_recorded_answers_there_is_no_verdict(make):
    monitor = make(reference=REFERENCE)
    record(monitor, {"x": answers(600, 0.6, 2)["x"]})
    check = monitor.check("PT1H", at=END)
    assert (outputs(check), check.status) == ({}, "ok")
    assert monitor.status()["drift"]["outputs"] == {}
