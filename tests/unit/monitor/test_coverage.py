"""How much of what was offered a check's window holds."""

from __future__ import annotations

from datetime import timedelta

import pytest
from tests.unit.monitor.conftest import START

from driftwell.monitor.windowing import to_us
from driftwell.stores.base import HOUR_US, Loss

HOUR = timedelta(hours=1)


def lose(monitor, n: int, *, reason: str = "dropped.queue_full", hour: int = 0, source: str = "process") -> None:
    loss = Loss("flights", "v1", to_us(START) + hour * HOUR_US, reason, source, n)
    monitor.runtime.ledger.put_losses([loss])


@pytest.fixture
def filled(make):
    """90 predictions in the hour from START, none later."""
    monitor = make()
    for i in range(90):
        monitor.record_prediction({"x": float(i)}, timestamp=START + timedelta(seconds=30 * i))
    assert monitor.flush(10)
    return monitor


def test_all_that_was_offered_was_stored(filled):
    assert filled.check("PT1H", at=START + HOUR).coverage == 1.0


def test_what_was_lost_is_missing(filled):
    lose(filled, 6, source="a")
    lose(filled, 4, source="b", reason="rejected.unreadable")
    assert filled.check("PT1H", at=START + HOUR).coverage == 90 / 100


def test_a_loss_told_twice_counts_once_and_one_of_another_hour_not_at_all(filled):
    lose(filled, 10)
    lose(filled, 10)
    lose(filled, 1000, hour=1)
    lose(filled, 1000, hour=-1)
    assert filled.check("PT1H", at=START + HOUR).coverage == 90 / 100


def test_predictions_that_the_store_has_forgotten_were_stored_nevertheless(filled, monkeypatch):
    """As Redis forgets by age: else an old window would look as if all had been lost, or nothing had come."""
    lose(filled, 10)
    monkeypatch.setattr(filled.runtime.store, "count", lambda *window: 0, raising=False)
    found = filled.check("PT1H", at=START + HOUR)
    assert (found.coverage, found.n_predictions) == (90 / 100, 90)


def test_a_record_offered_again_is_no_loss(filled):
    lose(filled, 500, reason="rejected.duplicate")
    lose(filled, 500, reason="rejected.conflict")
    assert filled.check("PT1H", at=START + HOUR).coverage == 1.0


def test_a_window_that_cuts_hours_answers_for_all_of_them(filled):
    lose(filled, 10)
    assert filled.check("PT1H", at=START + HOUR / 2).coverage == 90 / 100


def test_where_all_was_lost_nothing_is_covered_and_where_nothing_came_nothing_is_known(make):
    monitor = make()
    assert monitor.check("PT1H", at=START + HOUR).coverage is None
    lose(monitor, 3)
    assert monitor.check("PT1H", at=START + HOUR).coverage == 0.0


def test_rows_given_with_the_check_have_no_losses(filled):
    lose(filled, 10)
    assert filled.check("PT1H", at=START + HOUR, data={"x": [1.0, 2.0]}).coverage is None


def test_what_the_recorder_dropped_reaches_the_check_the_alert_and_the_status(make):
    monitor = make(queue_records=50, flush_seconds=60)
    for i in range(200):
        monitor.record_prediction({"x": float(i)})
    monitor.flush(10)
    stats = monitor.stats()
    lost = sum(stats["dropped"].values())
    assert lost > 0
    assert stats["offered"] == stats["stored"] + lost == 200
    monitor.recorder.close()  # losses are told at the end at the latest
    found = monitor.check("PT2H")
    assert found.coverage == pytest.approx(stats["stored"] / 200)
    firing = {alert["rule"] for alert in monitor.runtime.ledger.get_alerts() if alert["state"] == "firing"}
    assert "ModelCaptureLoss" in firing
    assert monitor.status()["counts"]["capture"]["dropped"] == stats["dropped"]


def test_a_check_knows_what_its_own_process_lost_a_moment_ago(make):
    monitor = make(queue_records=50, flush_seconds=60)
    for i in range(80):  # thirty find the queue full
        monitor.record_prediction({"x": float(i)})
    found = monitor.check("PT1H")
    assert found.coverage == monitor.stats()["stored"] / 80
    assert found.coverage < 1
