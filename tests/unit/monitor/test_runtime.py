"""Several models on one runtime: found by name, checked in rounds, each with its own reference and settings."""

from __future__ import annotations

from collections.abc import Iterator
from datetime import UTC, datetime, timedelta
from typing import Any

import numpy as np
import pytest

from driftwell import Reference
from driftwell.config import MonitorSettings
from driftwell.errors import ConfigError, StoreError, UnknownName
from driftwell.monitor import runtime as module
from driftwell.monitor.runtime import Runtime
from driftwell.stores import open_store

START = datetime(2026, 1, 20, 18, 0, tzinfo=UTC)
TABLE = {"x": np.arange(300.0)}


@pytest.fixture
def runtime(url) -> Iterator[Runtime]:
    opened = Runtime.open(url)
    yield opened
    opened.close()


def record(runtime: Runtime, model: str, version: str, n: int = 3, *, at: datetime = START) -> None:
    monitor = runtime.monitor(model, version)
    for i in range(n):
        monitor.record_prediction({"x": float(i)}, 1, timestamp=at + timedelta(seconds=i))
    assert runtime.recorder.flush(10)


def test_a_wrong_option_leaves_no_file(tmp_path):
    with pytest.raises(ConfigError):
        Runtime.open(f"sqlite:///{tmp_path}/new.db", no_such_option=1)
    assert list(tmp_path.iterdir()) == []


def test_monitors_are_made_once(runtime):
    assert runtime.monitor("a", "v1") is runtime.monitor("a", "v1")
    assert runtime.monitor("a", "v1") is not runtime.monitor("a", "v2")
    assert runtime.monitor("new").version == "1"


def test_without_a_version_the_one_with_the_newest_prediction_is_meant(runtime):
    record(runtime, "a", "v9")
    record(runtime, "a", "v10", at=START + timedelta(days=1))
    record(runtime, "a", "v2", at=START - timedelta(days=1))
    assert runtime.latest_version("a") == "v10"
    assert runtime.find("a").version == "v10"
    assert runtime.latest_version("b") is None


def test_a_model_is_known_by_its_rows_or_its_reference(runtime):
    record(runtime, "rows", "v1")
    runtime.put_reference("learnt", "v3", Reference.from_data(TABLE))
    assert {(model, version) for model, version, *_ in runtime.models()} == {("rows", "v1"), ("learnt", "v3")}
    assert runtime.find("learnt").version == "v3"
    with pytest.raises(UnknownName, match="did you mean 'rows'"):
        runtime.find("row")
    with pytest.raises(UnknownName, match="v1"):
        runtime.find("rows", "v2")


def test_each_version_has_its_own_reference(runtime):
    one, other = Reference.from_data(TABLE), Reference.from_data({"x": np.arange(100.0)})
    runtime.put_reference("a", "v1", one)
    runtime.put_reference("a", "v2", other)
    assert runtime.reference_for("a", "v1").id == one.id
    assert runtime.reference_for("a", "v2").id == other.id
    assert runtime.reference_for("a", "v3") is None


def test_another_process_s_reference_is_seen_when_the_time_is_up(runtime, url, monkeypatch):
    now = [100.0]
    monkeypatch.setattr(module.time, "monotonic", lambda: now[0])
    assert runtime.reference_for("a", "v1") is None
    other = open_store(url)
    reference = Reference.from_data(TABLE)
    other.put_reference("a", "v1", reference.id, reference.to_json())
    other.close()
    now[0] += 0.9
    assert runtime.reference_for("a", "v1") is None
    now[0] += 0.2
    found = runtime.reference_for("a", "v1")
    assert found.id == reference.id
    now[0] += 5
    assert runtime.reference_for("a", "v1") is found  # the same document is not read again


def test_while_the_store_does_not_answer_the_reference_known_last_serves(runtime, monkeypatch):
    now = [100.0]
    monkeypatch.setattr(module.time, "monotonic", lambda: now[0])
    reference = Reference.from_data(TABLE | {"outcome": [1, 0] * 150}, prediction="outcome")
    runtime.put_reference("a", "v1", reference)
    monitor = runtime.monitor("a", "v1")

    def get_reference(model: str, version: str) -> None:
        raise StoreError("the disk went away")

    monkeypatch.setattr(runtime.ledger, "get_reference", get_reference)
    now[0] += 60
    assert runtime.reference_for("a", "v1").id == reference.id
    assert runtime.roles_for("a", "v1") == {"prediction": "outcome"}
    assert runtime.roles_for("a", "v2") == {}
    with pytest.raises(StoreError):
        runtime.reference_for("a", "v2")
    assert len(monitor.record_batch({"x": [1.0, 2.0], "outcome": [1, 0]})) == 2
    runtime.recorder.flush(10)
    assert [row["prediction"] for row in runtime.store.recent("a", "v1", 9)] == [0, 1]


def test_a_round_checks_the_newest_version_of_every_model(runtime):
    now = datetime.now(UTC) - timedelta(minutes=1)
    record(runtime, "a", "v1", at=now - timedelta(minutes=5))
    record(runtime, "a", "v2", at=now)
    record(runtime, "b", "v1", at=now)
    runtime.check_all(timedelta(hours=1))
    found = {(name, version): len(runtime.ledger.checks(name, version)) for name, version, *_ in runtime.models()}
    assert found == {("a", "v1"): 0, ("a", "v2"): 1, ("b", "v1"): 1}


def test_a_model_whose_check_fails_keeps_no_other_from_its_own(runtime, monkeypatch, caplog):
    now = datetime.now(UTC) - timedelta(minutes=1)
    for model in ("a", "b"):
        record(runtime, model, "v1", at=now)

    def check(window: Any) -> None:
        raise StoreError("the disk went away")

    monkeypatch.setattr(runtime.monitor("a", "v1"), "check", check)
    runtime.check_all(timedelta(hours=1))
    assert len(runtime.ledger.checks("b", "v1")) == 1
    assert "scheduled check of a v1 failed: the disk went away" in caplog.text


def test_settings_may_differ_by_model(url):
    store = open_store(url)
    runtime = Runtime(store, store, settings_for=lambda model: MonitorSettings(drift_min_samples=len(model)))
    assert [runtime.monitor(name, "v1").settings.drift_min_samples for name in ("a", "abc")] == [1, 3]
    runtime.close()


def test_closing_a_shared_monitor_leaves_the_others_working(runtime):
    one, other = runtime.monitor("a", "v1"), runtime.monitor("b", "v1")
    one.start()
    one.close()
    other.record_prediction({"x": 1.0}, 1)
    assert other.collector_stats()["total_predictions"] == 1


def test_the_schedule_says_when_it_runs_next(runtime):
    assert runtime.next_check is None
    assert runtime.monitor("a", "v1").status()["monitoring"] is False
    runtime.start()
    assert runtime.next_check > datetime.now(UTC)
    assert runtime.monitor("a", "v1").status()["monitoring"] is True


def test_variables_set_what_code_does_not(make, monkeypatch):
    monkeypatch.setenv("DRIFT_MIN_SAMPLES", "50")
    monkeypatch.setenv("DRIFT_THRESHOLD", "0.4")
    monkeypatch.setenv("DRIFTWELL_DRIFT_THRESHOLD", "0.2")
    monkeypatch.setenv("DRIFT_CHECK_INTERVAL_HOURS", "3")
    found = make("a").settings
    assert (found.drift_min_samples, found.drift_threshold) == (50, 0.2)
    assert found.drift_interval == timedelta(hours=3)


def test_code_wins_over_variables(make, monkeypatch):
    monkeypatch.setenv("DRIFT_MIN_SAMPLES", "50")
    monkeypatch.setenv("DRIFT_CHECK_INTERVAL_HOURS", "3")
    assert make("a", min_samples=20).settings.drift_min_samples == 20
    assert make("a", drift_min_samples=None).settings.drift_min_samples == 50
    assert make("a", drift_check_minutes=10).settings.drift_interval == timedelta(minutes=10)
    assert make("a", check_every="PT1H", drift_check_minutes=10).settings.drift_interval == timedelta(hours=1)


def test_a_variable_out_of_range_is_named(make, monkeypatch):
    monkeypatch.setenv("DRIFT_THRESHOLD", "3")
    with pytest.raises(ConfigError, match="DRIFT_THRESHOLD must be number from 0 to 1"):
        make("a")
