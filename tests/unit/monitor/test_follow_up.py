"""What happens after a check: rules, notices, retraining."""

from __future__ import annotations

import asyncio
import threading
import time
from datetime import UTC, datetime, timedelta
from typing import Any

import numpy as np
import pyarrow as pa
import pytest

from driftwell import AlertRule
from driftwell.errors import BadInput, ConfigError, NotSupported, StoreError, UnknownName

START = datetime(2026, 1, 20, 18, 0, tzinfo=UTC)
HOUR = timedelta(hours=1)
RNG = np.random.default_rng(20_260_120)
LEARNT = {"age": RNG.normal(40, 10, 2_000), "fare": RNG.normal(10, 2, 2_000)}


def record(monitor, rows: dict[str, Any]) -> None:
    monitor.record_batch(pa.table({name: rows[name] for name in ("age", "fare", "timestamp", "prediction_id")}))
    assert monitor.flush(10)


@pytest.fixture
def watched(make, rows_of):
    """``watched(*moves, **options)``: a monitor with a reference and an hour of 300 rows for each move of ``age``."""

    def one(*moves: float, **options: Any):
        monitor = make(reference=LEARNT, **options)
        for hour, age in enumerate(moves):
            record(monitor, rows_of(300, age=age, start=START + hour * HOUR, seed=13 + 100 * hour))
        return monitor

    return one


def check(monitor, hour: int):
    return monitor.check("PT1H", at=START + (hour + 1) * HOUR)


def sent(monitor, heard: list[Any], n: int) -> list[Any]:
    """Wait until ``n`` notices were heard; the sender works on a thread of its own."""
    deadline = time.monotonic() + 20
    while len(heard) < n and time.monotonic() < deadline:
        time.sleep(0.01)
    return heard


def waited(monitor) -> None:
    assert monitor.wait_for_retraining(20)


# -- alerts --------------------------------------------------------------------------------------------------------


def test_an_alert_fires_once_and_resolves_once(watched):
    monitor = watched(0.0, 20.0, 20.0, 0.0, 0.0)
    heard: list[dict[str, Any]] = []
    monitor.on_alert(heard.append)
    for hour in range(5):
        check(monitor, hour)
    sent(monitor, heard, 2)
    monitor.close()
    told = [(event["name"], event["status"], event["severity"], event["model"], event["version"]) for event in heard]
    assert told == [
        ("ModelDataDriftCritical", "firing", "critical", "flights", "v1"),
        ("ModelDataDriftCritical", "resolved", "critical", "flights", "v1"),
    ]
    assert heard[0]["starts_at"] == "2026-01-20T20:00:00Z"
    assert heard[1]["ends_at"] == "2026-01-20T22:00:00Z"


def test_the_same_window_checked_again_tells_nothing_new(watched):
    monitor = watched(20.0)
    heard: list[Any] = []
    monitor.on_alert(heard.append)
    for _ in range(3):
        check(monitor, 0)
    monitor.close()
    assert len(heard) == 1


def test_async_callbacks_are_awaited(watched):
    monitor = watched(20.0)
    heard: list[str] = []

    async def callback(event: dict[str, Any]) -> None:
        await asyncio.sleep(0)
        heard.append(event["name"])

    monitor.on_alert(callback)
    check(monitor, 0)
    monitor.close()
    assert heard == ["ModelDataDriftCritical"]


def test_a_callback_that_raises_spares_the_others_and_is_not_called_again(watched, caplog):
    monitor = watched(20.0)
    heard: list[str] = []
    tried: list[int] = []

    def failing(event: dict[str, Any]) -> None:
        tried.append(1)
        raise RuntimeError("no such desk")

    monitor.on_alert(failing)
    monitor.on_alert(lambda event: heard.append(event["name"]))
    result = check(monitor, 0)
    monitor.close()
    assert (result.status, heard, tried) == ("critical", ["ModelDataDriftCritical"], [1])
    assert "no such desk" in caplog.text


def test_two_lambdas_are_two_callbacks(watched):
    monitor = watched(20.0)
    first: list[str] = []
    second: list[str] = []
    monitor.on_alert(lambda event: first.append(event["name"]))
    monitor.on_alert(lambda event: second.append(event["name"]))
    check(monitor, 0)
    monitor.close()
    assert first == second == ["ModelDataDriftCritical"]


def test_alerts_are_logged_without_any_callback(watched, caplog):
    monitor = watched(20.0)
    check(monitor, 0)
    monitor.close()
    assert "firing [critical] ModelDataDriftCritical: model flights v1" in caplog.text


# -- rules ---------------------------------------------------------------------------------------------------------


def test_a_rule_may_use_a_metric_of_the_user(watched):
    monitor = watched(0.0, 0.0, rules=[AlertRule("Expensive", "cost > 100", severity="warning")])
    heard: list[Any] = []
    monitor.on_alert(lambda event: heard.append((event["name"], event["status"], event["value"])))
    monitor.record_metric("cost", 250, timestamp=START, region="eu")
    check(monitor, 0)
    monitor.record_metric("cost", 50.0, timestamp=START + HOUR)
    check(monitor, 1)
    sent(monitor, heard, 2)
    monitor.close()
    assert heard == [("Expensive", "firing", 250.0), ("Expensive", "resolved", 50.0)]


@pytest.mark.parametrize("when", [START - timedelta(days=31), START + HOUR])
def test_metrics_of_another_time_are_not_seen(watched, when):
    monitor = watched(0.0, rules=[AlertRule("Expensive", "cost > 100")])
    monitor.record_metric("cost", 250, timestamp=when)
    check(monitor, 0)
    (alert,) = monitor.runtime.ledger.get_alerts("flights")
    assert (alert["state"], alert["outcome"]) == ("inactive", "no_data")


def test_a_metric_without_a_time_is_of_now(watched):
    monitor = watched(rules=[AlertRule("Expensive", "cost > 100")])
    monitor.record_metric("cost", np.float64(250))
    monitor.check()
    assert monitor.runtime.ledger.get_alerts("flights")[0]["state"] == "firing"


@pytest.mark.parametrize("value", ["high", None, [1]])
def test_a_metric_that_is_no_number_is_refused(monitor, value):
    with pytest.raises(BadInput, match="'cost' must be a number"):
        monitor.record_metric("cost", value)


def test_rules_added_join_the_built_in_ones(watched):
    monitor = watched(20.0)
    monitor.add_rule(AlertRule("Busy", lambda metrics: metrics.get("sample_count", 0) > 200))
    check(monitor, 0)
    firing = {a["rule"] for a in monitor.runtime.ledger.get_alerts("flights") if a["state"] == "firing"}
    assert firing == {"ModelDataDrift", "ModelDataDriftCritical", "Busy"}


def test_a_second_rule_of_one_name_is_refused_and_changes_nothing(watched):
    monitor = watched(0.0)
    monitor.add_rule(AlertRule("Busy", "sample_count > 200"))
    for name in ("Busy", "ModelDataDrift"):
        with pytest.raises(ConfigError, match=f"two rules are called '{name}'"):
            monitor.add_rule(AlertRule(name, "sample_count > 1"))
    check(monitor, 0)
    assert len([a for a in monitor.runtime.ledger.get_alerts("flights") if a["rule"] == "Busy"]) == 1


def test_a_rule_that_raises_is_an_error_of_its_own(watched):
    def broken(metrics: Any) -> bool:
        raise RuntimeError("no idea")

    monitor = watched(20.0, rules=[AlertRule("Broken", broken), AlertRule("Moved", "drift_detected")])
    check(monitor, 0)
    states = {a["rule"]: (a["state"], a["outcome"]) for a in monitor.runtime.ledger.get_alerts("flights")}
    assert states == {"Broken": ("inactive", "error"), "Moved": ("firing", "firing")}


def test_rows_that_could_not_be_counted_are_not_taken_for_none(watched, monkeypatch):
    monitor = watched(rules=[AlertRule("Silent", "sample_count == 0")])
    assert check(monitor, 0).n_predictions == 0
    assert monitor.runtime.ledger.get_alerts()[0]["state"] == "firing"
    other = watched(name="others", rules=[AlertRule("Silent", "sample_count == 0")])
    real = other.runtime.store.count

    def count(*window: Any) -> int:
        raise StoreError("the disk went away")

    monkeypatch.setattr(other.runtime.store, "count", count)
    check(other, 0)
    monkeypatch.setattr(other.runtime.store, "count", real)
    (alert,) = other.runtime.ledger.get_alerts("others")
    assert (alert["state"], alert["outcome"]) == ("inactive", "no_data")


@pytest.mark.parametrize(
    ("options", "error", "says"),
    [
        ({"channels": ["log", "pigeon:coop"]}, UnknownName, "pigeon"),
        ({"channels": ["slack:#desk"]}, NotSupported, "slack"),
        ({"rules": [{"name": "X"}]}, ConfigError, "condition"),
        ({"rules": [{"name": "X", "condition": "__import__('os')"}]}, ConfigError, "X|import|expression"),
        ({"retraining": ["airflow://dag"]}, NotSupported, "airflow"),
    ],
)
def test_settings_that_cannot_work_are_an_error_at_the_start(make, options, error, says):
    with pytest.raises(error, match=says):
        make(**options)


# -- retraining ----------------------------------------------------------------------------------------------------


class Trainer:
    """A callback that remembers what it was told."""

    def __init__(self, answer: Any = None) -> None:
        self.calls: list[tuple[str, dict[str, Any]]] = []
        self.answer = answer

    def __call__(self, reason: str, details: dict[str, Any]) -> Any:
        self.calls.append((reason, details))
        if isinstance(self.answer, Exception):
            raise self.answer
        return self.answer


def test_critical_drift_asks_for_retraining_once_in_the_cool_down(watched):
    trainer = Trainer()
    monitor = watched(0.0, 20.0, 20.0, retraining_callback=trainer)
    for hour in range(3):
        result = check(monitor, hour)
        waited(monitor)
    ((reason, details),) = trainer.calls
    assert reason.startswith("critical drift: psi of age is ")
    assert set(details) == {
        *("model", "version", "signal", "metric", "feature", "value", "threshold", "severity"),
        *("window_start", "window_end", "n", "check_id", "triggered_by"),
    }
    assert (details["feature"], details["severity"], details["n"]) == ("age", "high", 300)
    assert (details["window_start"], details["window_end"]) == ("2026-01-20T19:00:00Z", "2026-01-20T20:00:00Z")
    assert all(value is None or isinstance(value, (str, int, float, bool)) for value in details.values())
    status = monitor.status()["retraining"]
    assert (status["last"]["state"], status["running"]) == ("completed", None)
    assert status["cooldown_until"] == "2026-01-21T20:00:00Z"
    assert result.status == "critical"


def test_moderate_drift_asks_for_nothing(watched):
    trainer = Trainer()
    monitor = watched(4.2, retraining_callback=trainer)
    assert check(monitor, 0).status == "warning"
    waited(monitor)
    assert trainer.calls == []


def test_a_performance_drop_beyond_chance_asks_for_retraining(make):
    trainer = Trainer()
    monitor = make()
    monitor.on_retraining(trainer)
    monitor.set_baseline({"accuracy": 0.9})
    for i in range(200):
        monitor.record_prediction({"x": 1.0}, i % 2, timestamp=START, prediction_id=f"p{i}", true_label=(i // 2) % 2)
    check(monitor, 0)
    waited(monitor)
    ((reason, details),) = trainer.calls
    assert reason.startswith("performance drop: accuracy is 0.5")
    assert (details["signal"], details["metric"], details["value"]) == ("performance", "accuracy", 0.5)


@pytest.mark.parametrize("how", ["returns", "raises"])
def test_a_failed_run_is_recorded_with_its_reason(watched, how):
    answer = {"status": "failed", "error": "no machine"} if how == "returns" else RuntimeError("no machine")
    monitor = watched(20.0, retraining=[Trainer(answer)])
    check(monitor, 0)
    waited(monitor)
    last = monitor.status()["retraining"]["last"]
    assert last["state"] == "failed"
    assert "no machine" in last["error"]


def test_an_async_callback_is_run_to_its_end(watched):
    done: list[str] = []

    async def train(reason: str, details: dict[str, Any]) -> dict[str, str]:
        await asyncio.sleep(0.01)
        done.append(details["feature"])
        return {"status": "completed"}

    monitor = watched(20.0)
    monitor.on_retraining(train)
    check(monitor, 0)
    waited(monitor)
    assert done == ["age"]
    assert monitor.status()["retraining"]["last"]["state"] == "completed"


def test_a_person_may_ask_within_the_cool_down_but_not_while_one_runs(watched):
    go = threading.Event()
    told: list[dict[str, Any]] = []

    def train(reason: str, details: dict[str, Any]) -> None:
        told.append(details)
        assert go.wait(20)

    monitor = watched(20.0, retraining_callback=train)
    result = check(monitor, 0)
    refused = monitor.trigger_retraining("new data", {"rows": 10})
    assert refused["status"] == "running"
    go.set()
    waited(monitor)
    answer = monitor.trigger_retraining("new data", {"rows": 10, "by": ["ann", "bo"]})
    waited(monitor)
    assert (answer["status"], answer["reason"]) == ("retraining_triggered", "new data")
    details = told[1]
    assert (details["rows"], details["by"], details["triggered_by"]) == (10, '["ann", "bo"]', "manual")
    assert (details["check_id"], details["n"]) == (result.check_id, 300)
    assert monitor.status()["retraining"]["last"]["id"] == answer["id"]


def test_a_request_that_nobody_takes_is_recorded(monitor):
    answer = monitor.trigger_retraining()
    assert answer["status"] == "retraining_triggered"
    assert "no retraining callback is set" in answer["reason"]
    status = monitor.status()["retraining"]
    assert (status["last"]["id"], status["last"]["reason"], status["running"]) == (answer["id"], "manual", None)
    assert monitor.trigger_retraining()["status"] == "retraining_triggered"


def test_close_lets_a_run_end_so_that_its_end_is_recorded(watched, make):
    begun, go = threading.Event(), threading.Event()

    def train(reason: str, details: dict[str, Any]) -> None:
        begun.set()
        assert go.wait(20)

    monitor = watched(20.0, retraining_callback=train)
    check(monitor, 0)
    assert begun.wait(20)
    closing = threading.Thread(target=monitor.close)
    closing.start()
    closing.join(0.5)
    assert closing.is_alive()
    go.set()
    closing.join(20)
    assert make().status()["retraining"]["last"]["state"] == "completed"
