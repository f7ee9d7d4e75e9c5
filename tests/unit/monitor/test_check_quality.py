"""Quality in a check: judged first, broken columns held back, no retraining on them. Counts are made from the rows."""

from __future__ import annotations

from datetime import UTC, datetime, timedelta
from typing import Any

import numpy as np
import pyarrow as pa
import pytest

from driftwell import Reference
from driftwell.alerts import metrics_of
from driftwell.errors import BadInput, ConfigError, UnknownName

START = datetime(2026, 1, 20, 18, 0, tzinfo=UTC)
END = START + timedelta(hours=1)
RNG = np.random.default_rng(20_260_120)
LEARNT = {
    "age": RNG.normal(40, 10, 2_000),
    "fare": RNG.normal(10, 2, 2_000),
    "city": RNG.choice(["Oslo", "Bergen", "Stavanger"], 2_000, p=[0.5, 0.3, 0.2]),
}


def record(monitor: Any, rows: dict[str, Any]) -> None:
    monitor.record_batch(pa.table({name: rows[name] for name in (*LEARNT, "timestamp", "prediction_id")}))
    assert monitor.flush(10)


def quality_of(result: Any) -> list[tuple[str | None, str, str]]:
    return [(v.feature, v.metric, v.status) for v in result.verdicts if v.signal == "quality"]


def test_a_sound_window_has_one_verdict_that_all_rules_hold(make, rows_of):
    monitor = make(reference=LEARNT)
    record(monitor, rows_of(500))
    result = monitor.check("PT1H", at=END)
    assert result.verdicts[0].signal == "quality"
    assert quality_of(result) == [(None, "quality", "ok")]
    found = monitor.status()["quality"]
    assert found == result.quality
    assert (found["status"], found["n_failed"], found["broken"], found["verdicts"]) == ("ok", 0, [], [])


def test_a_broken_column_comes_first_and_is_not_said_to_drift(make, rows_of):
    monitor = make(reference=LEARNT)
    rows = rows_of(500, age=12)
    rows["fare"][:300] *= 1_000
    record(monitor, rows)
    result = monitor.check("PT1H", at=END)
    assert quality_of(result) == [("fare", "range", "critical")]
    assert result.verdicts[0].signal == "quality"
    (drift,) = [v for v in result.verdicts if v.signal == "drift" and v.feature == "fare"]
    assert (drift.status, str(drift.severity)) == ("error", "none")
    assert drift.reason.startswith("broken: ")
    assert list(result.drifted_features) == ["age"]
    assert result.max_drift_score == result.drifted_features["age"]
    assert result.drift["columns"]["fare"]["status"] == "broken"
    assert (result.drift["summary"]["n_drifted"], result.drift["headline"]["psi_feature"]) == (1, "age")
    assert result.quality["broken"] == ["fare"]
    (verdict,) = result.quality["verdicts"]
    outside = rows["fare"] > LEARNT["fare"].max()
    assert verdict["count"] == outside.sum()
    assert set(verdict["examples"]) <= {float(f"{x:.6g}") for x in rows["fare"][outside]}
    assert len(verdict["examples"]) == 5


def test_when_every_column_is_broken_no_drift_is_judged(make, rows_of):
    monitor = make(reference={"age": LEARNT["age"]})
    monitor.record_batch(pa.table({"age": np.full(300, 1e6), "timestamp": rows_of(300)["timestamp"]}))
    assert monitor.flush(10)
    result = monitor.check("PT1H", at=END)
    assert (result.status, result.drift_detected, result.drift["status"]) == ("critical", False, "broken")
    assert "broken" in monitor.drift_status()["interpretation"]


def test_nobody_retrains_on_broken_data(make, rows_of):
    told: list[Any] = []
    monitor = make(reference=LEARNT, retraining_callback=lambda reason, details: told.append(details))
    spoilt = rows_of(300, age=20)
    spoilt["fare"] *= 1_000
    record(monitor, spoilt)
    result = monitor.check("PT1H", at=END)
    assert (list(result.drifted_features), str(result.severity)) == (["age"], "high")
    assert monitor.wait_for_retraining(20)
    assert (told, monitor.status()["retraining"]["last"]) == ([], None)
    record(monitor, rows_of(300, age=20, start=END, seed=113))
    monitor.check("PT1H", at=END + timedelta(hours=1))
    assert monitor.wait_for_retraining(20)
    assert [details["feature"] for details in told] == ["age"]


def test_broken_data_is_an_alert_and_a_metric(make, rows_of):
    monitor = make(reference=LEARNT, rules=None)
    rows = rows_of(300)
    rows["fare"] *= 1_000
    record(monitor, rows)
    metrics = metrics_of(monitor.check("PT1H", at=END).to_dict())
    assert (metrics["quality_failed"], metrics["quality_severity"], metrics["broken_columns"]) == (1, 3, 1)
    firing = {a["rule"]: a["severity"] for a in monitor.runtime.ledger.get_alerts("flights") if a["state"] == "firing"}
    assert firing == {"ModelDataBroken": "critical"}
    text = monitor.metrics_text()
    assert 'driftwell_quality_failed{model="flights",version="v1"} 1.0' in text
    assert 'driftwell_broken_columns{model="flights",version="v1"} 1.0' in text


def test_limits_are_options(make, rows_of):
    rows = rows_of(300)
    limits = {"age": {"range": [0, 50]}, "*": {"volume": [400, 900], "freshness": "PT10M"}}
    monitor = make(reference=LEARNT, quality=limits)
    record(monitor, rows)
    result = monitor.check("PT1H", at=END)
    # 300 rows a second apart: the newest is 55 minutes old at the end of the hour.
    assert set(quality_of(result)) == {
        ("age", "range", "critical"),
        (None, "volume", "warning"),
        (None, "freshness", "critical"),
    }
    assert result.quality["broken"] == ["age"]


def test_freshness_is_judged_where_no_row_came(make, rows_of):
    monitor = make(reference=LEARNT, quality={"*": {"freshness": "PT2H"}})
    record(monitor, rows_of(300))
    result = monitor.check("PT1H", at=START + timedelta(hours=3))
    assert (result.n_predictions, quality_of(result)) == (0, [(None, "freshness", "warning")])


def test_volume_is_learned_from_earlier_windows(make, rows_of):
    monitor = make(reference=LEARNT, quality={"*": {"volume": "earlier"}})
    for hour, n in enumerate([200, 220, 180, 210, 190, 30]):
        record(monitor, rows_of(n, start=START + timedelta(hours=hour), seed=hour + 1))
        result = monitor.check("PT1H", at=START + timedelta(hours=hour + 1))
    (verdict,) = [v for v in result.verdicts if v.metric == "volume"]
    assert (verdict.status, verdict.value, verdict.threshold) == ("critical", 30, 90)  # half of the fewest, 180


def test_rows_given_are_judged_with_their_own_times(make, rows_of):
    monitor = make(reference=LEARNT, quality={"*": {"freshness": "PT10M", "duplicates": 0.1}})
    rows = {name: values for name, values in rows_of(400).items() if name != "prediction_id"}
    for name in LEARNT:
        rows[name][200:] = rows[name][:200]
    result = monitor.check("PT1H", at=END, data=rows)
    assert set(quality_of(result)) == {(None, "duplicates", "critical"), (None, "freshness", "critical")}


def test_quality_can_be_switched_off(make, rows_of):
    monitor = make(reference=LEARNT, quality=False)
    rows = rows_of(300)
    rows["fare"] *= 1_000
    record(monitor, rows)
    result = monitor.check("PT1H", at=END)
    assert (result.quality, quality_of(result), list(result.drifted_features)) == (None, [], ["fare"])


@pytest.mark.parametrize(
    ("quality", "error", "says"),
    [
        ({"age": {"misssing": 0.1}}, UnknownName, "did you mean 'missing'"),
        ({"age": {"missing": 2}}, BadInput, "a share from 0 to 1"),
        ("yes please", ConfigError, "quality must be"),
    ],
)
def test_rules_that_cannot_be_read_are_an_error_at_the_start(make, quality, error, says):
    with pytest.raises(error, match=says):
        make(reference=Reference.from_data(LEARNT), quality=quality)


def test_a_column_that_is_not_there_is_a_verdict_of_its_own(make, rows_of):
    monitor = make(reference=LEARNT, quality={"agee": {"missing": 0.1}})
    record(monitor, rows_of(300, age=12))
    result = monitor.check("PT1H", at=END)
    assert quality_of(result) == [(None, "quality", "error")]
    assert "did you mean 'age'" in result.verdicts[0].reason
    assert list(result.drifted_features) == ["age"]
