"""Deleting predictions and people, retention by hand, and export: what a store keeps on request."""

from __future__ import annotations

import logging
from datetime import timedelta

import pyarrow.parquet as pq
import pytest
from tests.unit.monitor.conftest import START

from driftwell.errors import BadInput, StoreError
from driftwell.monitor.deletion import delete_records


def record(monitor, n: int = 4) -> None:
    for i in range(n):
        monitor.record_prediction(
            {"x": float(i)},
            i % 2,
            prediction_id=f"p{i}",
            entity_id=f"user{i % 2}",
            timestamp=START + timedelta(hours=i),
        )


def left(monitor) -> set[str]:
    return {row["prediction_id"] for row in monitor.recent(100)}


def test_a_prediction_is_deleted_by_its_id_even_while_it_waits(make):
    monitor = make(flush_seconds=60)
    record(monitor)
    assert monitor.delete(prediction_ids=["p1", "nobody"]) == 1
    assert left(monitor) == {"p0", "p2", "p3"}


def test_all_of_a_subject_is_deleted_with_its_labels(make):
    monitor = make()
    record(monitor)
    monitor.record_feedback("p1", 1).wait(10)
    assert monitor.delete(entity_ids=["user1"]) == 2
    assert left(monitor) == {"p0", "p2"}
    assert monitor.read("P3650D").num_rows == 2
    assert monitor.record_feedback("p1", 1).wait(10).early == 1  # nothing is known of it any more


def test_another_model_keeps_its_predictions(make):
    mine, theirs = make("a"), make("b")
    for monitor in (mine, theirs):
        record(monitor, 1)
        monitor.flush(10)
    assert mine.delete(prediction_ids=["p0"]) == 1
    assert left(theirs) == {"p0"}
    assert delete_records(mine.runtime, prediction_ids=["p0"]).deleted == 1  # no model named: of all
    assert left(theirs) == set()


def test_the_audit_log_says_how_many_and_not_whose(make):
    monitor = make()
    record(monitor)
    monitor.delete(entity_ids=["user1"])
    (line,) = monitor.runtime.ledger.audit_lines()
    assert (line["who"], line["what"]) == ("python", "delete")
    assert line["details"] == {"model": "flights", "prediction_ids": 0, "entity_ids": 1, "deleted": 2}
    assert "user1" not in str(line)


def test_redacted_ids_are_found_by_what_they_were(make):
    monitor = make(redact={"entity_id": "hash"}, redact_key="a key of the user's own, 32 letters")
    record(monitor)
    assert {row["entity_id"] for row in monitor.recent(9)}.isdisjoint({"user0", "user1"})
    assert monitor.delete(entity_ids=["user0"]) == 2
    assert left(monitor) == {"p1", "p3"}


@pytest.mark.parametrize("given", [{}, {"prediction_ids": "p1"}, {"entity_ids": [1]}])
def test_what_names_nothing_is_refused(make, given):
    with pytest.raises(BadInput):
        make().delete(**given)


def test_records_that_cannot_be_stored_are_not_said_to_be_deleted(make, monkeypatch):
    monitor = make()
    monkeypatch.setattr(monitor.recorder, "flush", lambda timeout: False)
    with pytest.raises(StoreError, match="still wait"):
        monitor.delete(prediction_ids=["p1"])


def test_what_waits_in_other_processes_is_said(make, tmp_path, caplog):
    monitor = make(durability="journal")
    record(monitor, 1)
    (tmp_path / "driftwell.db-spool" / "another.0.log").write_bytes(b"x" * 100)
    found = delete_records(monitor.runtime, prediction_ids=["p0"], model="flights")
    assert (found.deleted, found.waiting_elsewhere) == (1, 100)
    monitor.delete(prediction_ids=["p0"])
    assert "other processes hold records" in caplog.text


def test_retention_by_hand(make):
    monitor = make(retention_hours=1)
    monitor.recorder._clock = lambda: START.timestamp()
    record(monitor)
    monitor.flush(10)
    assert monitor.prune() == {"rows": 4, "predictions": 4, "history": 0}


def test_export_writes_what_read_gives_for_any_kind_of_window(make, tmp_path, caplog):
    caplog.set_level(logging.WARNING)
    monitor = make()
    record(monitor)
    for i in (0, 3):
        monitor.record_feedback(f"p{i}", 1).wait(10)
    at = START + timedelta(days=1)
    for window in ("P2D", 3):
        for labelled in (True, False, None):
            path = monitor.export(tmp_path / "x.parquet", window, labelled=labelled, at=at)
            expected = monitor.read(window, labelled=labelled, at=at)
            found = pq.read_table(path)
            assert found.select(expected.column_names).to_pydict() == expected.to_pydict()
    assert caplog.messages == []
