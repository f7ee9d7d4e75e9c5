"""The recorder never raises, never blocks, never grows, and its numbers add up at every moment."""

from __future__ import annotations

import logging
import os
import random
import signal
import sys
import threading
import time
from collections.abc import Callable
from typing import Any

import numpy as np
import pytest

from driftwell.capture import worker
from driftwell.capture.recorder import Recorder
from driftwell.capture.records import Expansion
from driftwell.capture.redaction import Redaction
from driftwell.errors import FormatError, StoreError
from driftwell.profiles.reference import Reference
from driftwell.stores.base import AppendResult, LabelCounts


def adds_up(stats: dict[str, Any]) -> bool:
    lost = sum(stats["dropped"].values()) + sum(stats["rejected"].values())
    return stats["offered"] == stats["stored"] + stats["waiting"] + lost


def until(condition: Callable[[], bool]) -> bool:
    deadline = time.monotonic() + 10
    while not condition() and time.monotonic() < deadline:
        time.sleep(0.002)
    return condition()


class Hostile:
    __hash__ = None

    def __getattr__(self, name):
        raise RuntimeError("no")

    def __str__(self):
        raise RuntimeError("no")

    __repr__ = __str__

    def __eq__(self, other):
        raise RuntimeError("no")

    def __array__(self, *args, **kwargs):
        raise RuntimeError("no")

    def __len__(self):
        raise RuntimeError("no")


def test_a_record_is_stored_with_the_id_that_was_returned(recorder, store):
    made = recorder.offer("m", "v", {"a": 1.0}, 1, score=0.5)
    given = recorder.offer("m", "v", {"a": 2.0}, prediction_id=17)
    assert recorder.flush(10)
    assert [row["prediction_id"] for row in store.rows()] == [made, given] == [made, "17"]
    stats = recorder.stats("m", "v")
    assert (stats["offered"], stats["stored"], stats["waiting"], stats["queue_length"]) == (2, 2, 0, 0)
    assert stats["last_success"].endswith("Z")


def test_nothing_offered_raises_whatever_it_is(recorder):
    hostile = Hostile()
    names = ("score", "probability", "timestamp", "segment", "entity_id", "latency_seconds", "metadata")
    for name in names:
        assert isinstance(recorder.offer("m", "v", {"a": 1}, **{name: hostile}), str)
    for features in (hostile, 3, "text", {1, 2}, object()):
        assert isinstance(recorder.offer("m", "v", features), str)
    assert isinstance(recorder.offer("m", "v", {"a": 1}, hostile), str)
    assert isinstance(recorder.offer("m", "v", {"a": 1}, prediction_id=hostile), str)
    assert recorder.offer("m", "v", {"a": hostile, "b": 1.0}, prediction_id="kept") == "kept"
    assert recorder.offer("m", "v", None, prediction_id="x" * 600) == "x" * 600
    assert isinstance(recorder.offer(hostile, hostile, None), str)
    assert recorder.flush(10)
    stats = recorder.stats("m")
    assert stats["rejected"] == dict.fromkeys(names, 1) | {"features": 5, "prediction": 1, "prediction_id": 2}
    assert stats["stored"] == 1
    assert adds_up(recorder.stats())
    assert recorder.stats()["offered"] == stats["offered"] + 1


def test_a_model_or_version_that_is_no_text_becomes_one(recorder, store):
    recorder.offer("m", 3, {"a": 1})
    recorder.offer("m", "\ud800", {"a": 1})
    assert recorder.flush(10)
    assert [batch.version for batch in store.batches] == ["3"]
    assert recorder.stats()["rejected"] == {"version": 1}


def test_a_full_queue_drops_the_newest(make, store):
    recorder = make(queue_records=3, flush_seconds=60)
    store.gate = threading.Event()
    ids = [recorder.offer("m", "v", {"a": i}) for i in range(5)]
    assert recorder.room() == 0
    assert recorder.stats()["dropped"] == {"queue_full": 2}
    assert adds_up(recorder.stats())
    store.gate.set()
    assert recorder.flush(10)
    assert [row["prediction_id"] for row in store.rows()] == ids[:3]
    assert recorder.room() == 3


def test_the_queue_is_bounded_in_bytes(make):
    recorder = make(queue_bytes=10_000, flush_seconds=60)
    for _ in range(10):
        recorder.offer("m", "v", {"text": "x" * 2_000})
    assert recorder.stats()["waiting"] == 4
    recorder.offer("m", "v", {"text": "y" * 20_000})
    assert recorder.stats()["dropped"] == {"queue_full": 7}


def test_what_is_being_stored_counts_against_the_bound(make, store):
    recorder = make(queue_records=10)
    store.gate = threading.Event()
    for i in range(10):
        recorder.offer("m", "v", {"a": i})
    assert until(lambda: len(store.tried) > 0)
    assert recorder.stats()["waiting"] == 10
    recorder.offer("m", "v", {"a": 11})
    assert recorder.stats()["dropped"] == {"queue_full": 1}


def test_a_failing_store_is_tried_again_with_the_same_batch(make, store):

    recorder = make()
    store.broken = StoreError("the disk is away")
    recorder.offer("m", "v", {"a": 1.0})
    assert not recorder.flush(0.5)
    assert until(lambda: len(store.tried) > 1)
    assert adds_up(recorder.stats())
    assert recorder.stats()["waiting"] == 1
    store.broken = None
    assert recorder.flush(10)
    assert len(set(store.tried)) == 1
    assert recorder.stats()["stored"] == 1


def test_a_success_whose_answer_was_lost_counts_as_stored(make, store):
    """The connection breaks after the commit: the second try finds its own rows."""
    recorder = make()
    real, answers = store.append, []

    def append(batch: Any, leaves: Any) -> Any:
        answers.append(real(batch, leaves))
        if len(answers) == 1:
            raise StoreError("the connection is gone")
        return answers[-1]

    store.append = append
    store.batch_index = lambda model, version: [(i, batch.batch_id) for i, batch in enumerate(store.batches)]
    recorder.offer("m", "v", {"a": 1.0})
    assert recorder.flush(10)
    assert [answer.stored for answer in answers] == [1, 0]
    assert (recorder.stats()["stored"], recorder.stats()["rejected"]) == (1, {})
    recorder.offer("m", "v", {"a": 1.0}, prediction_id=next(iter(store.known))[2])
    assert recorder.flush(10)
    assert recorder.stats()["rejected"] == {"duplicate": 1}


def test_a_store_that_cannot_be_read_at_first_is_asked_again(make, store):
    recorder = make()
    store.blind = StoreError("away")
    recorder.offer("m", "v", {"a": 1.0})
    assert not recorder.flush(0.3)
    store.blind = None
    assert recorder.flush(10)
    assert recorder.stats()["stored"] == 1


def test_a_dead_store_fills_no_memory_and_close_gives_up_in_time(make, store):
    recorder = make(queue_records=100)
    store.broken = StoreError("gone for good")
    for i in range(500):
        recorder.offer("m", "v", {"a": i})
    recorder.close(0.3)
    stats = recorder.stats()
    assert until(lambda: recorder.stats()["waiting"] == 0)
    stats = recorder.stats()
    assert stats["dropped"] == {"queue_full": 400, "store_failed": 100}
    assert (stats["queue_length"], adds_up(stats)) == (0, True)


def test_a_batch_the_store_refuses_for_good_blocks_nothing(recorder, store, caplog):
    store.broken = ValueError("a defect")
    recorder.offer("m", "v", {"a": 1.0})
    assert recorder.flush(10)
    store.broken = None
    recorder.offer("m", "v", {"a": 2.0})
    assert recorder.flush(10)
    assert recorder.stats()["rejected"] == {"unstorable": 1}
    assert recorder.stats()["stored"] == 1
    assert "a defect" in caplog.text


def test_closing_stores_what_waits_and_later_offers_are_dropped(make, store):
    recorder = make(flush_seconds=60)
    recorder.offer("m", "v", {"a": 1.0})
    recorder.close()
    assert len(store.rows()) == 1
    assert recorder.offer("m", "v", {"a": 2.0}, prediction_id="late") == "late"
    assert recorder.offer_label("late", 1).wait(1) == LabelCounts()
    recorder.close()
    stats = recorder.stats()
    assert (stats["dropped"], stats["labels"]["dropped"], stats["stored"]) == ({"closed": 1}, {"closed": 1}, 1)
    assert recorder.flush(1)
    assert adds_up(stats)


def test_a_thousand_records_wait_for_no_flush(make, store):
    recorder = make(flush_seconds=3600)
    recorder.offer("m", "v", {"a": 0})
    time.sleep(0.05)
    assert store.batches == []
    for i in range(999):
        recorder.offer("m", "v", {"a": i})
    assert until(lambda: recorder.stats()["stored"] == 1_000)


def test_duplicates_and_conflicts_are_rejected(recorder, store):
    for value in (1.0, 1.0, 2.0):
        recorder.offer("m", "v", {"a": value}, prediction_id="same")
    recorder.offer("m", "other version", {"a": 1.0}, prediction_id="same")
    assert recorder.flush(10)
    assert recorder.stats("m", "v")["rejected"] == {"duplicate": 1, "conflict": 1}
    assert recorder.stats("m")["stored"] == 2


def test_numbers_add_up_while_everything_happens(make, store):
    recorder = make(queue_records=400, flush_seconds=0.001)
    rng = random.Random(0)
    seen: list[bool] = []
    done = threading.Event()

    def work(seed: int) -> None:
        for i in range(1_500):
            kind = (seed + i) % 5
            recorder.offer(
                "m", str(seed % 2), Hostile() if kind == 0 else {"a": i}, prediction_id="same" if kind == 1 else None
            )

    def watch() -> None:
        while not done.is_set():
            seen.extend((adds_up(recorder.stats()), adds_up(recorder.stats("m", "0"))))

    def break_it() -> None:
        while not done.is_set():
            store.broken = StoreError("now and then") if rng.random() < 0.3 else None
            time.sleep(0.002)

    threads = [threading.Thread(target=work, args=(i,)) for i in range(8)]
    others = [threading.Thread(target=watch), threading.Thread(target=break_it)]
    for thread in threads + others:
        thread.start()
    for thread in threads:
        thread.join()
    done.set()
    for thread in others:
        thread.join()
    store.broken = None
    assert recorder.flush(20)
    stats = recorder.stats()
    assert len(seen) > 0
    assert all(seen)
    assert (stats["offered"], stats["waiting"], stats["queue_length"]) == (12_000, 0, 0)
    assert stats["stored"] == len(store.known)
    assert adds_up(stats)


def test_waiting_records_look_as_the_store_shows_them(make, store):
    recorder = make(flush_seconds=60)
    store.gate = threading.Event()
    recorder.offer("m", "v", {"a": 1, "b": "x"}, 3, probability={"n": 0.25, "y": 0.75}, prediction_id="p1",
                   timestamp="2026-01-20T12:00:00Z", metadata={"k": 1}, true_label="y")  # fmt: skip
    recorder.offer_table("m", "w", {"a": [5.0], "prediction_id": ["p2"]}, {})
    recorder.offer("other", "v", {"a": 1})
    (first,) = recorder.waiting("m", "v")
    assert first["features"] == {"a": 1.0, "b": "x"}
    assert (first["model"], first["version"], first["prediction_id"]) == ("m", "v", "p1")
    assert (first["prediction"], first["score"], first["probability"]) == (3, 0.75, {"n": 0.25, "y": 0.75})
    assert (first["metadata"], first["true_label"], first["invalid"]) == ({"k": 1}, "y", None)
    assert first["timestamp"].isoformat() == "2026-01-20T12:00:00+00:00"
    assert [row["prediction_id"] for row in recorder.waiting("m")] == ["p1", "p2"]
    recorder._queue.wake.set()
    assert until(lambda: len(store.tried) > 0)
    assert len(recorder.waiting("m")) == 2
    store.gate.set()
    assert recorder.flush(10)
    assert recorder.waiting("m") == []


def test_sampling_keeps_a_share_and_loses_no_id(recorder, store):
    ids = [recorder.offer("m", "v", {"a": i}, keep=0.25) for i in range(4_000)]
    assert recorder.flush(10)
    stats = recorder.stats()
    assert len(set(ids)) == 4_000
    assert stats["offered"] + stats["sampled_out"] == 4_000
    assert abs(stats["stored"] / 4_000 - 0.25) < 0.04  # 5.8 standard deviations of a binomial


def test_kinds_are_kept_from_the_first_values_and_over_restarts(make, store):
    recorder = make()
    recorder.offer("m", "v", {"a": 1.0})
    assert recorder.flush(10)
    recorder.offer("m", "v", {"a": "text"})
    assert recorder.flush(10)
    store.earlier = [{"features": {"a": 1.0, "b": None}}, {"features": None}]
    again = make()
    again.offer("m", "v", {"a": "text", "b": "x"})
    assert again.flush(10)
    rows = store.rows()
    assert [row["invalid"] for row in rows] == [None, '{"a":"text"}', '{"a":"text"}']
    assert rows[2]["features"] == {"b": "x", "a": None}


def test_given_kinds_win_over_values(make, store):
    recorder = make(kinds={"zip": "categorical"})
    recorder.offer("m", "v", {"zip": 1234})
    assert recorder.flush(10)
    assert store.rows()[0]["features"] == {"zip": "1234"}


def test_an_unreadable_reference_costs_no_row(make, store, caplog):
    def reference_for(model: str, version: str) -> Reference:
        raise FormatError("the reference is corrupt")

    recorder = make(reference_for=reference_for)
    recorder.offer("m", "v", {"a": 1.0})
    assert recorder.flush(10)
    assert recorder.stats()["stored"] == 1
    assert "recorded without its reference" in caplog.text


def test_the_reference_builds_the_leaves(make):
    reference = Reference.from_data({"a": [1.0, 2.0]})
    asked = []
    recorder = make(reference_for=lambda m, v: reference, leaf_builder=lambda r: asked.append(r) or (lambda b: []))
    recorder.offer("m", "v", {"a": 1.0, "new": 2})
    assert recorder.flush(10)
    assert asked == [reference]
    assert recorder.stats()["ignored_features"] == {"new": 1}


def test_latencies_make_a_cumulative_histogram(recorder):
    assert recorder.stats()["latency"] is None
    for latency in (0.001, 0.004, 0.3, 99.0):
        recorder.offer("m", "v", None, latency_seconds=latency)
    assert recorder.flush(10)
    latency = recorder.stats("m", "v")["latency"]
    counts = dict(latency["buckets"][:-1])
    assert (counts[0.001], counts[0.005], counts[0.5], counts[10.0]) == (1, 2, 3, 3)
    assert latency["buckets"][-1] == [None, 4]
    assert latency["sum"] == pytest.approx(99.305)


def test_clock_skew_is_counted_and_the_far_future_rejected(make):
    recorder = make(clock=lambda: 1_768_910_400.0)  # 2026-01-20T12:00:00Z
    for moment in ("2026-01-20T13:00:00Z", "2026-01-21T12:00:01Z", "2026-01-20T12:00:00Z"):
        recorder.offer("m", "v", None, timestamp=moment)
    assert recorder.flush(10)
    stats = recorder.stats()
    assert (stats["skewed"], stats["rejected"], stats["stored"]) == (1, {"future_timestamp": 1}, 2)


# -- labels ------------------------------------------------------------------------------------------------------


def test_each_ticket_tells_the_fate_of_its_label(recorder):
    recorder.offer("m", "v", None, prediction_id="p")
    tickets = [recorder.offer_label(*args) for args in (("p", 1), ("p", 1), ("p", 0), ("later", 1))]
    fates = [ticket.wait(10) for ticket in tickets]
    assert [(f.matched, f.duplicate, f.conflicting, f.early) for f in fates] == [
        (1, 0, 0, 0), (0, 1, 0, 0), (0, 0, 1, 0), (0, 0, 0, 1),
    ]  # fmt: skip
    labels = recorder.stats()["labels"]
    assert (labels["offered"], labels["waiting"], labels["expired"]) == (4, 0, 0)
    assert [labels[n] for n in ("matched", "duplicate", "conflicting", "early")] == [1, 1, 1, 1]


def test_a_label_of_several_models_is_ambiguous(recorder):
    for model in ("a", "b"):
        recorder.offer(model, "v", None, prediction_id="p")
    tickets = [recorder.offer_label("p", 1), recorder.offer_label("q", 1)]
    assert tickets[0].wait(10).ambiguous == {"p": ["a", "b"]}
    assert recorder.offer_label("p", 1, model="a").wait(10).matched == 1
    assert recorder.stats("a")["labels"]["matched"] == 1
    assert recorder.stats()["labels"]["ambiguous"] == 1


def test_malformed_labels_are_rejected_and_spoil_no_other(recorder):
    bad = [("p", None), ("p", float("nan")), ("", 1), ("x" * 600, 1), ("p", Hostile()), (Hostile(), 1)]
    tickets = [recorder.offer_label(*one) for one in bad] + [recorder.offer_label("p", 1, timestamp="never")]
    good = recorder.offer_label("p", 1)
    assert all(ticket.wait(10) == LabelCounts() for ticket in tickets)
    assert good.wait(10).early == 1
    labels = recorder.stats()["labels"]
    assert sum(labels["rejected"].values()) == 7
    assert labels["offered"] == 8


def test_waiting_for_a_label_waits_for_no_flush(make):
    recorder = make(flush_seconds=3600)
    recorder.offer("m", "v", None, prediction_id="p")
    assert recorder.offer_label("p", 1).wait(10).matched == 1


def test_a_label_pending_too_long_is_none(make, store):
    recorder = make()
    store.broken = StoreError("away")
    ticket = recorder.offer_label("p", 1)
    assert ticket.wait(0.05) is None
    store.broken = None
    assert ticket.wait(10).early == 1


def test_labels_of_records_are_counted(recorder, store):
    recorder.offer("m", "v", None, prediction_id="a", true_label=np.int64(3))
    recorder.offer("m", "v", None, prediction_id="b", true_label=Hostile())
    assert recorder.flush(10)
    assert [(x.prediction_id, x.true_label) for x in store.labels] == [("a", "3")]
    labels = recorder.stats("m")["labels"]
    assert (labels["matched"], labels["rejected"], recorder.stats()["stored"]) == (1, {"true_label": 1}, 2)


# -- deferred work -------------------------------------------------------------------------------------------------


class Odd:
    """An exchange whose reading goes wrong."""

    model, version, rows, size = "m", "v", 0, 10

    def __init__(self, error: BaseException | None = None, recorder: Recorder | None = None) -> None:
        self.error = error
        self.recorder = recorder
        self.answer: Any = None

    def expand(self) -> Expansion:
        if self.error is not None:
            raise self.error
        self.answer = self.recorder.flush()
        return Expansion(skipped="for a reason")


def test_an_exchange_that_breaks_is_counted(recorder, caplog):
    for _ in range(3):
        recorder.offer_exchange(Odd(RuntimeError("their extractor")))
    assert recorder.flush(10)
    assert recorder.stats()["rejected"] == {"unreadable": 3}
    assert caplog.text.count("their extractor") == 1


def test_a_function_of_the_user_cannot_lock_the_recorder_up(recorder):
    one = Odd(recorder=recorder)
    recorder.offer_exchange(one)
    assert recorder.flush(10)
    assert one.answer is False
    assert recorder.stats()["skipped"] == {"for a reason": 1}


def test_requests_passed_over_and_failed_are_counted(recorder):
    recorder.note_skipped("m", "v", "not_json")
    recorder.note_error("m", "v")
    stats = recorder.stats("m", "v")
    assert (stats["skipped"], stats["errors"], stats["offered"]) == ({"not_json": 1}, 1, 0)


@pytest.mark.filterwarnings("ignore::pytest.PytestUnhandledThreadExceptionWarning")
def test_a_thread_that_ends_is_replaced(recorder, store):
    class Ends(Odd):
        def expand(self) -> Expansion:
            raise SystemExit

    recorder.offer_exchange(Ends())
    assert until(lambda: recorder._worker.thread is None)
    recorder.offer("m", "v", {"a": 1.0})
    assert until(lambda: len(store.rows()) == 1)


# -- the log -------------------------------------------------------------------------------------------------------


def test_losses_are_said_once_a_minute(recorder, caplog):
    caplog.set_level(logging.WARNING, "driftwell.capture")
    for _ in range(5):
        recorder.offer("m", "v", 3)
        recorder.offer("m", "v", {"a": 1})
        assert recorder.flush(10)
    assert until(lambda: "records rejected (features)" in caplog.text)
    assert caplog.text.count("not stored:") == 1


def test_a_failing_store_is_said_once_and_so_is_its_return(make, store, caplog):
    recorder = make()
    store.broken = StoreError("the disk is away")
    recorder.offer("m", "v", {"a": 1})
    assert until(lambda: len(store.tried) > 2)
    store.broken = None
    assert recorder.flush(10)
    assert until(lambda: "the store works again" in caplog.text)
    assert caplog.text.count("the disk is away") == 1


# -- processes -----------------------------------------------------------------------------------------------------


@pytest.mark.skipif(not hasattr(os, "fork"), reason="needs fork")
@pytest.mark.filterwarnings("ignore:.*use of fork.*:DeprecationWarning")
def test_a_forked_child_starts_afresh(make, store):
    recorder = make(flush_seconds=60)
    recorder.offer("m", "v", {"a": 1.0}, prediction_id="parent")
    reading, writing = os.pipe()
    child = os.fork()
    if child == 0:
        signal.alarm(20)
        before = recorder.stats()["offered"]
        recorder.offer("m", "v", {"a": 2.0}, prediction_id="child")
        flushed = recorder.flush(10)
        ids = [row["prediction_id"] for row in store.rows()]
        os.write(writing, f"{before} {flushed} {ids}".encode())
        os._exit(0)
    os.waitpid(child, 0)
    assert os.read(reading, 1000).decode() == "0 True ['child']"
    assert recorder.stats()["waiting"] == 1
    assert recorder.flush(10)
    assert [row["prediction_id"] for row in store.rows()] == ["parent"]


@pytest.mark.skipif(not hasattr(os, "fork"), reason="needs fork")
@pytest.mark.filterwarnings("ignore:.*use of fork.*:DeprecationWarning")
def test_ids_of_parent_and_child_differ(recorder):
    reading, writing = os.pipe()
    child = os.fork()
    if child == 0:
        signal.alarm(20)
        os.write(writing, recorder._ids.make(0.0).encode())
        os._exit(0)
    os.waitpid(child, 0)
    assert os.read(reading, 1000).decode() != recorder._ids.make(0.0)


def test_no_library_of_the_service_loads_for_a_record():
    import subprocess

    code = (
        "import sys; from driftwell.capture.recorder import Recorder\n"
        "from driftwell.capture.middleware.asgi import CaptureMiddleware\n"
        "heavy = 'scipy', 'sklearn', 'fastapi', 'starlette', 'jinja2', 'httpx2', 'pyarrow'\n"
        "print([name for name in heavy if name in sys.modules])"
    )
    found = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    assert found.stdout.strip() == "[]"


def test_refused_labels_are_counted_by_model_while_names_are_few(recorder):
    recorder.note_refused_labels("m", {"http_415": 2})
    for i in range(2_000):
        recorder.note_refused_labels(f"made up {i}", {"http_422": 1})
    assert recorder.stats("m")["labels"]["rejected"] == {"http_415": 2}
    assert recorder.stats("made up 0")["labels"]["rejected"] == {"http_422": 1}
    assert recorder.stats("made up 1999")["labels"]["rejected"] == {}
    everything = recorder.stats()["labels"]
    assert (everything["offered"], everything["rejected"]) == (2_002, {"http_415": 2, "http_422": 2_000})


def rows_of(count: int, size: int = 1, **fields: Any) -> list[dict[str, Any]]:
    return [{"model": "m", "version": "v", "features": {"a": "x" * size}, **fields} for _ in range(count)]


def test_rows_that_come_together_are_taken_or_none(make, store):
    recorder = make(queue_records=5, queue_bytes=100_000, flush_seconds=60)
    store.gate = threading.Event()
    first = recorder.offer_rows(rows_of(3, prediction=1, score=0.5))
    assert recorder.offer_rows(rows_of(3)) is None
    assert recorder.offer_rows(rows_of(2, 60_000)) is None
    assert (recorder.room(60_000), recorder.room(120_000)) == (2, 0)
    stats = recorder.stats()
    assert (stats["offered"], stats["waiting"], stats["dropped"]) == (3, 3, {})
    store.gate.set()
    assert recorder.flush(10)
    assert [row["prediction_id"] for row in store.rows()] == first
    assert {(row["prediction"], row["score"]) for row in store.rows()} == {("1", 0.5)}


def test_of_rows_that_come_together_a_bad_one_is_refused_alone(recorder, store):
    good, bad = rows_of(2)
    ids = recorder.offer_rows([good, bad | {"features": 3, "prediction_id": "bad"}, good | {"version": ""}])
    assert (len(set(ids)), ids[1]) == (3, "bad")
    recorder.enabled = False
    assert len(recorder.offer_rows(rows_of(1))) == 1
    assert recorder.flush(10)
    stats = recorder.stats()
    assert (stats["stored"], stats["rejected"], stats["skipped"]) == (1, {"features": 1, "version": 1}, {"disabled": 1})
    assert adds_up(stats)


def test_what_a_defect_kept_from_being_counted_does_not_wait_for_ever(make, store, caplog):
    recorder = make(flush_seconds=60)
    store.add_labels = lambda labels: "no counts"
    ids = [recorder.offer("m", "v", {"a": 1.0}) for _ in range(2)]
    ticket = recorder.offer_label(ids[0], 1, model="m")
    assert recorder.flush(10)
    assert (ticket.wait(10), "a defect of the recorder" in caplog.text) == (LabelCounts(), True)
    assert until(lambda: not recorder.stats()["labels"]["waiting"])
    stats = recorder.stats()
    assert (stats["stored"], stats["labels"]["rejected"], stats["labels"]["offered"]) == (2, {"defect": 1}, 1)

    store.append = lambda batch, leaves: AppendResult("two")  # type: ignore[arg-type]
    recorder.offer("m", "v", {"a": 1.0})
    assert recorder.flush(10)
    assert until(lambda: not recorder.stats()["waiting"])
    stats = recorder.stats()
    assert (stats["rejected"], adds_up(stats)) == ({"defect": 1}, True)


def test_what_redaction_could_not_change_is_told(make, recorder):
    rules = Redaction.of({"a": {"bucket": "year"}}, None)
    watched = make(redact_for=lambda model: rules)
    for model in ("m", "n"):
        watched.offer(model, "v", {"a": "no date", "b": 1.0})
    assert watched.stats()["redaction_lost"] == {"a": 2}
    assert recorder.stats()["redaction_lost"] == {}


def test_close_takes_no_longer_than_it_may(make, store, monkeypatch):
    """Also where the store hangs in the middle of a try."""
    monkeypatch.setattr(worker, "END_SECONDS", 0.1)
    store.gate = threading.Event()
    recorder = make()
    recorder.offer("m", "v", {"a": 1.0})
    assert until(lambda: len(store.tried) == 1)
    start = time.monotonic()
    recorder.close(0.5)
    assert 0.4 < time.monotonic() - start < 2.0
