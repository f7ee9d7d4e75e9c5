"""Retention in the background: what is old enough goes, once an hour, by one worker; uncounted batches are counted."""

from __future__ import annotations

import logging
import threading
import time
from datetime import UTC, datetime, timedelta

import pytest

from driftwell.config import settings_from
from driftwell.errors import StoreError
from driftwell.monitor.housekeeping import Housekeeping, Limits, claim, limits
from driftwell.monitor.runtime import Runtime
from driftwell.stores.base import HOUR_US
from driftwell.stores.memory import MemoryStore

DAY_US = 24 * HOUR_US
NOW_US = 1_800_000_000_000_000


@pytest.fixture
def ledger():
    store = MemoryStore()
    yield store
    store.close()


@pytest.mark.parametrize(
    ("options", "url", "expected"),
    [
        ({}, "sqlite:///x.db", Limits()),
        ({}, "postgresql://h/d", Limits()),
        ({}, "redis://h", Limits(NOW_US - DAY_US, NOW_US - 30 * DAY_US)),
        ({}, "influxdb://h/d", Limits(NOW_US - DAY_US, NOW_US - 30 * DAY_US)),
        ({"retention_hours": 1}, "sqlite:///x.db", Limits(NOW_US - HOUR_US, NOW_US - 30 * DAY_US)),
        ({"retention_hours": 0.5}, "redis://h", Limits(NOW_US - HOUR_US // 2, NOW_US - 30 * DAY_US)),
        (
            {"retention_hours": 48, "label_maturity": "P1D"},
            "sqlite:///x.db",
            Limits(NOW_US - 2 * DAY_US, NOW_US - 2 * DAY_US),
        ),
        ({"history_retention": "P7D"}, "sqlite:///x.db", Limits(history_before_us=NOW_US - 7 * DAY_US)),
    ],
)
def test_what_is_old_enough(options, url, expected):
    assert limits(settings_from(options), url, NOW_US) == expected


def test_of_several_workers_one_does_the_work_of_an_hour(ledger):
    assert [claim(ledger, worker, NOW_US) for worker in ("a", "b", "a")] == [True, False, False]
    assert not claim(ledger, "b", NOW_US + HOUR_US // 2)
    assert claim(ledger, "b", NOW_US + HOUR_US)
    assert not claim(ledger, "a", NOW_US + HOUR_US + 1)


def test_workers_at_the_same_moment_do_it_once(ledger):
    barrier, won = threading.Barrier(4), []

    def ask(worker: str) -> None:
        barrier.wait()
        won.append(claim(ledger, worker, NOW_US))

    threads = [threading.Thread(target=ask, args=(str(i),)) for i in range(4)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join(10)
    assert len(won) == 4
    assert sum(won) <= 1


def test_a_clock_that_jumps_back_does_not_stop_it_for_long(ledger):
    assert claim(ledger, "a", NOW_US)
    assert claim(ledger, "a", NOW_US - 2 * HOUR_US)


def record(runtime: Runtime, n: int, *, hours_ago: float = 0.0) -> None:
    """Records that arrived, and happened, that long ago."""
    at = time.time() - hours_ago * 3600
    runtime.recorder._clock = lambda: at
    for i in range(n):
        runtime.monitor("m", "1").record_prediction(
            {"x": float(i)}, 1, prediction_id=f"{hours_ago}-{i}", timestamp=datetime.fromtimestamp(at, UTC)
        )
    assert runtime.recorder.flush(10)


def test_feature_rows_go_after_the_retention_and_predictions_after_the_label_maturity(url):
    runtime = Runtime.open(url, retention_hours=2, label_maturity="PT24H")
    record(runtime, 3, hours_ago=30)
    record(runtime, 5, hours_ago=10)
    record(runtime, 7)
    assert runtime.housekeeping.prune() == {"rows": 8, "predictions": 3, "history": 0}
    everything = (-(2**62), 2**62)
    assert runtime.store.outcomes("m", "1", *everything).num_rows == 12
    assert runtime.store.read("m", "1", *everything).num_rows == 7
    assert runtime.housekeeping.prune() == {"rows": 0, "predictions": 0, "history": 0}
    (line,) = runtime.ledger.audit_lines()
    assert (line["who"], line["what"], line["details"]["rows"]) == ("retention", "prune", 8)
    runtime.close()


def test_a_label_later_than_the_rows_still_counts(url):
    runtime = Runtime.open(url, retention_hours=2)
    record(runtime, 1, hours_ago=10)
    runtime.housekeeping.prune()
    ticket = runtime.monitor("m", "1").record_feedback("10-0", 1)
    assert ticket.wait(10).matched == 1
    runtime.close()


def test_the_background_does_it_at_once_and_says_so(url, caplog):
    caplog.set_level(logging.INFO, "driftwell.monitor")
    runtime = Runtime.open(url, retention_hours=2)
    record(runtime, 4, hours_ago=5)
    runtime.start_housekeeping()
    deadline = time.monotonic() + 10
    while "4 feature rows" not in caplog.text and time.monotonic() < deadline:
        time.sleep(0.01)
    runtime.close()
    assert "retention: 4 feature rows" in caplog.text


def test_nothing_runs_where_nothing_is_to_be_done(url):
    runtime = Runtime.open(url)
    before = threading.active_count()
    runtime.start_housekeeping()
    assert threading.active_count() == before
    runtime.close()


def test_batches_that_a_crash_left_uncounted_are_counted(tmp_path):
    runtime = Runtime.open(f"sqlite:///{tmp_path}/rows.db", ledger=f"sqlite:///{tmp_path}/ledger.db")
    rows, ledger = runtime.stores.opened
    keep, ledger.put_leaves = ledger.put_leaves, lambda *_: (_ for _ in ()).throw(StoreError("a crash"))
    runtime.monitor("m", "1").record_prediction({"x": 1.0}, timestamp=datetime.now(UTC) - timedelta(hours=1))
    deadline = time.monotonic() + 10
    while not rows.models() and time.monotonic() < deadline:
        time.sleep(0.01)
    runtime.recorder.close(0.1)  # the process ends between rows and leaf
    ledger.put_leaves = keep
    assert ledger.leaves("m", "1", -(2**62), 2**62) == []
    again = Housekeeping(runtime.store, runtime.ledger, runtime.settings, runtime._stored_leaves)
    again.run()
    assert sum(leaf.n for leaf in ledger.leaves("m", "1", -(2**62), 2**62)) == 1
    again.run()
    assert sum(leaf.n for leaf in ledger.leaves("m", "1", -(2**62), 2**62)) == 1
    runtime.close()


def test_a_store_that_fails_is_one_line_and_the_next_hour_tries_again(url, caplog, monkeypatch):
    runtime = Runtime.open(url, retention_hours=2)

    def fail(*_: object, **__: object) -> None:
        raise StoreError("away")

    monkeypatch.setattr(runtime.ledger, "metrics", fail)
    runtime.housekeeping.run()
    assert caplog.messages == ["the store could not be tidied up: away"]
    runtime.close()


def test_a_window_whose_rows_are_gone_is_answered_from_whole_hours_and_says_so(url, reference):
    runtime = Runtime.open(url, retention_hours=2)
    monitor = runtime.monitor("m", "1")
    monitor.set_reference(reference)
    at = datetime.now(UTC).replace(minute=0, second=0, microsecond=0) - timedelta(hours=5)
    runtime.recorder._clock = at.timestamp
    for i in range(240):
        row = {"age": 30.0 + i % 20, "fare": 10.0 + i % 3, "city": "Oslo"}
        monitor.record_prediction(row, timestamp=at + timedelta(seconds=10 * i))
    assert runtime.recorder.flush(10)
    runtime.housekeeping.prune()
    found = monitor.check("PT20M", at=at + timedelta(minutes=30))
    assert "feature rows at the ends of the window are gone: whole hours are counted" in found.reason
    assert any("whole hours" in note for note in found.drift["notes"])
    assert found.drift_detected
    runtime.close()
