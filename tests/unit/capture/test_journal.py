"""Records on disk: what survives, what arrives later, what is counted, and that nothing arrives twice."""

from __future__ import annotations

import errno
import os
import random
import threading
import time
from collections import Counter
from pathlib import Path
from typing import Any

import pytest

from driftwell.capture import losses
from driftwell.capture.recorder import Recorder
from driftwell.capture.records import Expansion, make_record
from driftwell.capture.spool import adoption, journal, pieces
from driftwell.capture.spool.files import Spool
from driftwell.errors import ConfigError, StoreError
from driftwell.stores.base import AppendResult, LabelCounts, Loss


def adds_up(stats: dict[str, Any]) -> bool:
    lost = sum(stats["dropped"].values()) + sum(stats["rejected"].values())
    return stats["offered"] == stats["stored"] + stats["waiting"] + lost


def until(condition: Any) -> bool:
    deadline = time.monotonic() + 10
    while not condition() and time.monotonic() < deadline:
        time.sleep(0.002)
    return condition()


def ids_of(store: Any) -> list[str]:
    return [row["prediction_id"] for row in store.rows()]


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    return tmp_path / "spool"


@pytest.fixture
def journaled(make: Any, folder: Path) -> Any:
    def build(most_bytes: int = 10**8, fsync: bool = False, **options: Any) -> Recorder:
        spool = Spool(folder, most_bytes=most_bytes, fsync=fsync)
        return make(**{"durability": "journal", "spool": spool, **options})

    return build


def leave_behind(make: Any, store: Any, folder: Path, offer: Any) -> None:
    """A process offers records that it never stores, and is gone."""
    store.broken = StoreError("away")
    recorder = make(durability="journal", spool=Spool(folder, most_bytes=10**8))
    offer(recorder)
    recorder.close(0)
    store.broken = None


# -- journal -----------------------------------------------------------------------------------------------------


def test_a_record_is_on_disk_when_the_call_returns(journaled, store, folder):
    recorder = journaled(flush_seconds=60)
    until(lambda: recorder._adoption.looks > 0)
    recorder.offer("m", "v", {"a": 1.0}, prediction_id="p", metadata={"note": "find me"})
    assert any(b"find me" in path.read_bytes() for path in folder.glob("*.log"))
    recorder.offer_table("m", "v", {"a": [1.0], "segment": ["find me, too"]}, {})
    recorder.offer_label("p", "the truth")
    text = b"".join(path.read_bytes() for path in folder.glob("*.log"))
    assert b"find me, too" in text
    assert b"the truth" in text
    assert recorder.flush(10)
    assert recorder.stats()["stored"] == 2
    recorder.close()
    assert list(folder.iterdir()) == []


def test_what_a_process_left_is_stored_by_the_next_in_any_durability(make, store, folder):
    leave_behind(make, store, folder, lambda r: [r.offer("m", "v", {"a": i}, prediction_id=f"p{i}") for i in range(50)])
    assert store.rows() == []
    recorder = make(durability="queued", spool=Spool(folder, most_bytes=10**8))
    assert recorder.flush(10)
    assert ids_of(store) == [f"p{i}" for i in range(50)]
    stats = recorder.stats()
    assert (stats["recovered"], stats["offered"], stats["stored"], stats["waiting"]) == (50, 50, 50, 0)
    assert list(folder.iterdir()) == []


def test_what_was_stored_before_counts_nowhere(make, store, folder):
    """The process ended after the store had the records and before the spool said so."""
    spool = Spool(folder, most_bytes=10**8)
    recorder = make(durability="journal", spool=spool)
    spool.mark = lambda settled, planned: None  # type: ignore[method-assign]
    for i in range(20):
        recorder.offer("m", "v", {"a": i}, true_label=i % 2)
    recorder.offer_label("later", 1)
    assert recorder.flush(10)
    recorder.close()
    assert len(store.rows()) == 20
    other = make(spool=Spool(folder, most_bytes=10**8))
    assert other.flush(10)
    stats = other.stats()
    assert (stats["offered"], stats["stored"], stats["recovered"], stats["rejected"]) == (0, 0, 0, {})
    assert (stats["labels"]["offered"], stats["labels"]["duplicate"]) == (0, 0)
    assert len(store.known) == 20
    assert len(store.labels) == 21


def test_settled_entries_are_not_read_again(make, store, folder):
    recorder = make(durability="journal", spool=Spool(folder, most_bytes=10**8))
    for i in range(10):
        recorder.offer("m", "v", {"a": i}, prediction_id=f"old{i}")
    assert recorder.flush(10)
    store.broken = StoreError("away")
    recorder.offer("m", "v", {"a": 1}, prediction_id="new")
    recorder.close(0)
    assert recorder.stats()["waiting"] == 1
    assert adds_up(recorder.stats())
    store.broken = None
    store.tried.clear()
    store.batches.clear()
    other = make(spool=Spool(folder, most_bytes=10**8))
    assert other.flush(10)
    assert ids_of(store) == ["new"]


def test_tables_labels_and_exchanges_come_back_whole(make, store, folder):
    class Exchange:
        model, version, rows, size = "m", "v", 0, 10

        def expand(self) -> Expansion:
            none = [None] * 9
            made = [make_record("m", v, f"x{v}", 5.0, {"a": 9.0}, none) for v in ("v", "w")]
            return Expansion(made, Counter({"unequal_lengths": 1}))

    def offer(recorder: Recorder) -> None:
        table = {"a": [1.0, None], "c": ["x", "ü"], "prediction_id": ["t0", "t1"], "score": [0.25, 0.5]}
        recorder.offer_table("m", "v", table, {})
        recorder.offer("m", "v", {"a": 2.0, "c": "y"}, 3, prediction_id="r", true_label=4)
        recorder.offer_exchange_now(Exchange())
        recorder.offer_label("t0", "yes", model="m")
        stats = recorder.stats()
        assert stats["rejected"] == {"unequal_lengths": 1}
        assert adds_up(stats)

    leave_behind(make, store, folder, offer)
    other = make(spool=Spool(folder, most_bytes=10**8))
    assert other.flush(10)
    rows = {row["prediction_id"]: row for row in store.rows()}
    assert rows["t1"]["features"] == {"a": None, "c": "ü"}
    assert (rows["t0"]["score"], rows["r"]["prediction"], rows["xw"]["features"]) == (0.25, "3", {"a": 9.0})
    assert {(x.prediction_id, x.true_label) for x in store.labels} == {("t0", '"yes"'), ("r", "4")}
    stats = other.stats()
    assert (stats["recovered"], stats["labels"]["matched"]) == (5, 2)


def test_memory_is_bounded_and_the_rest_waits_on_disk(journaled, store):
    recorder = journaled(queue_records=50)
    store.broken = StoreError("away")
    ids = [recorder.offer("m", "v", {"a": i}) for i in range(1_000)]
    ticket = recorder.offer_label(ids[0], 1)
    stats = recorder.stats()
    assert (stats["waiting"], stats["dropped"]) == (1_000, {})
    assert stats["queue_length"] <= 50
    assert stats["spool"]["waiting"] >= 950
    assert not recorder.flush(0.05)
    store.broken = None
    assert recorder.flush(20)
    assert ids_of(store) == ids
    assert ticket.wait(5).matched == 1
    stats = recorder.stats()
    assert (stats["stored"], stats["spool"]["waiting"], stats["queue_length"]) == (1_000, 0, 0)


def test_a_full_spool_drops_the_newest(journaled, store, folder):
    recorder = journaled(most_bytes=20_000)
    store.broken = StoreError("away")
    ids = [recorder.offer("m", "v", {"text": "x" * 500}) for _ in range(100)]
    stats = recorder.stats()
    assert stats["dropped"] == {"spool_full": 100 - stats["waiting"]}
    assert 30 <= stats["waiting"] <= 35
    assert adds_up(stats)
    assert sum(path.stat().st_size for path in folder.iterdir()) <= 20_000 + 100
    store.broken = None
    assert recorder.flush(10)
    assert ids_of(store) == ids[: stats["waiting"]]
    assert recorder.offer("m", "v", {"text": "again"})
    assert recorder.flush(10)
    assert recorder.stats()["stored"] == stats["waiting"] + 1


def test_of_a_table_that_is_larger_than_the_spool_as_much_is_taken_as_fits(journaled, store):
    store.broken = StoreError("away")
    recorder = journaled(most_bytes=64 * 1024)
    ids = recorder.offer_table("m", "v", {"a": [float(i) for i in range(5_000)], "prediction": [1] * 5_000}, {})
    stats = recorder.stats()
    assert stats["offered"] == len(ids) == 5_000
    assert 400 <= stats["waiting"] < 1_500  # a row takes about 60 bytes, and what waits is within the bound
    assert stats["dropped"] == {"spool_full": 5_000 - stats["waiting"]}
    assert recorder.stats()["spool"]["bytes"] <= 64 * 1024
    store.broken = None
    assert recorder.flush(10)
    assert ids_of(store) == ids[: stats["waiting"]]


def test_a_spool_that_cannot_be_written_keeps_the_record_in_memory(journaled, store, monkeypatch, caplog):
    recorder = journaled()
    recorder.offer("m", "v", {"a": 0.0})

    def full(fd: int, data: bytes, at: int) -> int:
        raise OSError(errno.ENOSPC, "No space left on device")

    monkeypatch.setattr(os, "pwrite", full)
    for i in range(5):
        recorder.offer("m", "v", {"a": i})
    recorder.offer_table("m", "v", {"a": [1.0, 2.0]}, {})
    assert recorder.flush(10)
    monkeypatch.undo()
    recorder.offer("m", "v", {"a": 9.0})
    assert recorder.flush(10)
    stats = recorder.stats()
    assert (stats["unjournaled"], stats["stored"], stats["dropped"]) == (7, 9, {})
    assert caplog.text.count("kept in memory only") == 1


def test_a_lock_that_does_not_come_free_costs_the_journal_only(journaled, store, monkeypatch):
    """As when a signal handler records while its thread holds the lock that another thread waits for."""
    monkeypatch.setattr(journal, "LOCK_SECONDS", 0.05)
    recorder = journaled(flush_seconds=0.05)
    assert recorder.flush(10)
    held, free = threading.Event(), threading.Event()

    def hold() -> None:
        with recorder._journal.lock:
            held.set()
            free.wait(10)

    thread = threading.Thread(target=hold)
    thread.start()
    held.wait(10)
    recorder.offer("m", "v", {"a": 1.0})
    free.set()
    thread.join()
    assert recorder.flush(10)
    assert (recorder.stats()["unjournaled"], recorder.stats()["stored"]) == (1, 1)


def test_an_id_that_is_no_text_is_refused_as_ever(journaled):
    recorder = journaled()
    recorder.offer("m", "v", None, prediction_id="\ud800")
    assert recorder.flush(10)
    assert recorder.stats()["rejected"] == {"prediction_id": 1}


def test_fsync_happens_before_the_call_returns(journaled, monkeypatch):
    recorder = journaled(fsync=True, flush_seconds=60)
    recorder.offer("m", "v", {"a": 0})
    synced: list[int] = []
    real = os.fsync
    monkeypatch.setattr(os, "fsync", lambda fd: (synced.append(fd), real(fd)))
    recorder.offer("m", "v", {"a": 1})
    assert len(synced) == 1
    assert recorder.flush(10)


def test_journal_without_a_folder_is_an_error_at_the_start(make):
    with pytest.raises(ConfigError, match="spool_dir"):
        make(durability="journal")
    with pytest.raises(ConfigError, match="'queued' or 'journal'"):
        make(durability="eternal")


# -- queued: a store that is down --------------------------------------------------------------------------------


def test_a_store_that_is_down_fills_the_disk_instead_of_memory(make, store, folder):
    recorder = make(spool=Spool(folder, most_bytes=10**8), queue_records=200)
    store.broken = StoreError("away")
    ids = []
    for _ in range(20):
        ids += [recorder.offer("m", "v", {"a": 1.0}, true_label=1) for _ in range(100)]
        assert until(lambda: recorder.room() >= 100)
    tickets = [recorder.offer_label(ids[7], 1), recorder.offer_label("early", 0)]
    stats = recorder.stats()
    assert (stats["waiting"], stats["dropped"]) == (2_000, {})
    assert stats["spool"]["waiting"] > 1_500
    store.broken = None
    assert recorder.flush(20)
    assert ids_of(store) == ids
    assert len(store.labels) == 2_001
    assert tickets[0].wait(5).duplicate == tickets[1].wait(5).early == 1
    assert recorder.stats()["stored"] == 2_000
    recorder.close()
    assert list(folder.iterdir()) == []


def test_when_the_spool_is_full_the_queue_fills_and_then_drops(make, store, folder):
    recorder = make(spool=Spool(folder, most_bytes=20_000), queue_records=100)
    store.broken = StoreError("away")
    ids: list[str] = []
    deadline = time.monotonic() + 10
    while "queue_full" not in recorder.stats()["dropped"] and time.monotonic() < deadline:
        ids.append(recorder.offer("m", "v", {"text": "x" * 300}))
        time.sleep(0.001)
    stats = recorder.stats()
    assert stats["dropped"] == {"queue_full": 1}
    assert 100 < stats["waiting"] < 200
    assert adds_up(stats)
    store.broken = None
    assert recorder.flush(10)
    assert ids_of(store) == ids[:-1]


def test_what_is_left_at_the_end_waits_for_another_process(make, store, folder):
    recorder = make(spool=Spool(folder, most_bytes=10**8))
    store.broken = StoreError("gone")
    ids = [recorder.offer("m", str(i % 2), {"a": i}) for i in range(300)]
    recorder.offer_label(ids[0], 1)
    recorder.close(0.2)
    stats = recorder.stats()
    assert (stats["waiting"], stats["dropped"], adds_up(stats)) == (300, {}, True)
    store.broken = None
    other = make(spool=Spool(folder, most_bytes=10**8))
    assert other.flush(10)
    assert sorted(ids_of(store)) == sorted(ids)
    assert (other.stats()["recovered"], other.stats()["labels"]["matched"]) == (300, 1)


@pytest.mark.parametrize("durability", ["queued", "journal"])
@pytest.mark.parametrize("first", ["records", "table"])
def test_a_store_that_knows_only_batches_takes_none_twice(make, store, folder, first, durability):
    """The process ends after its batches were stored, before it heard of it, with more records behind them."""
    taken: dict[str, list[str]] = {}
    lost = [True]

    def append(batch: Any, leaves: Any) -> AppendResult:
        known = batch.batch_id in taken
        taken.setdefault(batch.batch_id, batch.rows.column("prediction_id").to_pylist())
        if lost[0]:
            raise StoreError("the answer is lost")
        return AppendResult(0, duplicate=len(batch)) if known else AppendResult(len(batch))

    store.append = append
    recorder = make(spool=Spool(folder, most_bytes=10**8), durability=durability, flush_seconds=0.2)
    ids = recorder.offer_table("m", "0", {"a": [1.0, 2.0]}, {}) if first == "table" else []
    ids += [recorder.offer("m", "0", {"a": i}) for i in range(10)]
    ids += recorder.offer_table("m", "0", {"a": [3.0, 4.0]}, {})
    assert until(lambda: len(taken) > 0)
    ids += [recorder.offer("m", str(i % 2), {"a": i}) for i in range(10)]
    recorder.close(0)
    lost[0] = False
    other = make(spool=Spool(folder, most_bytes=10**8))
    assert other.flush(10)
    assert sorted(one for batch in taken.values() for one in batch) == sorted(ids)
    assert list(folder.iterdir()) == []


def test_nothing_behind_what_is_left_is_taken_for_settled(make, store, folder):
    """At the end a chunk is left on disk, and one behind it holds only what is refused."""
    recorder = make(spool=Spool(folder, most_bytes=10**8), durability="journal", flush_seconds=60, queue_records=4)
    until(lambda: recorder._adoption.looks > 0)
    store.broken = StoreError("away")
    recorder.offer("m", "v", {"a": 1}, prediction_id="p")
    recorder.offer("m", "v", {"a": 1}, prediction_id="q")
    recorder.offer("m", "\n", {"a": 1})
    recorder.offer("m", "\n", {"a": 1})
    recorder.close(0)
    assert recorder.stats()["rejected"] == {"version": 2}
    store.broken = None
    other = make(spool=Spool(folder, most_bytes=10**8))
    assert other.flush(10)
    assert ids_of(store) == ["p", "q"]


# -- adoption ----------------------------------------------------------------------------------------------------


def test_two_that_adopt_at_once_store_each_record_once(make, store, folder):
    for k in range(4):
        leave_behind(make, store, folder, lambda r, k=k: [r.offer("m", "v", {"a": i}) for i in range(100)])
    others = [make(spool=Spool(folder, most_bytes=10**8)) for _ in range(3)]
    threads = [threading.Thread(target=one.flush, args=(10,)) for one in others]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert until(lambda: sum(one.stats()["recovered"] for one in others) == 400)
    assert len(ids_of(store)) == len(set(ids_of(store))) == 400
    assert all(adds_up(one.stats()) for one in others)


def test_a_running_recorder_looks_again_from_time_to_time(make, store, folder, monkeypatch):
    monkeypatch.setattr(adoption, "LOOK_SECONDS", 0.05)
    recorder = make(spool=Spool(folder, most_bytes=10**8))
    assert until(lambda: recorder._adoption.looks > 1)
    leave_behind(make, store, folder, lambda r: r.offer("m", "v", {"a": 1}, prediction_id="left"))
    assert until(lambda: ids_of(store) == ["left"])


def test_adopted_records_come_in_pieces(make, store, folder, monkeypatch):
    monkeypatch.setattr(pieces, "PIECE_BYTES", 2_000)
    leave_behind(make, store, folder, lambda r: [r.offer("m", "v", {"text": "x" * 100}) for _ in range(200)])
    other = make(spool=Spool(folder, most_bytes=10**8))
    assert other.flush(10)
    assert len(ids_of(store)) == 200
    assert other.stats()["recovered"] == 200


def test_a_poison_record_is_counted_and_spoils_no_other(make, store, folder):
    def offer(recorder: Recorder) -> None:
        for i in range(10):
            recorder.offer("m", "v", {"a": i}, prediction_id=f"p{i}", score="no number" if i == 5 else 0.5)

    leave_behind(make, store, folder, offer)
    (path,) = folder.glob("*.log")
    data = bytearray(path.read_bytes())
    data[data.index(b"p3")] ^= 1
    spool = Spool(folder, most_bytes=10**8)
    spool.append(b"\xc1 an entry that nobody can read")
    spool.close()
    path.write_bytes(data[:-5])
    other = make(spool=Spool(folder, most_bytes=10**8))
    assert other.flush(10)
    assert ids_of(store) == [f"p{i}" for i in range(9) if i not in (3, 5)]
    stats = other.stats()
    assert stats["spool"]["unreadable"] == 3  # in the middle, at the end, and the one nobody can read
    assert (stats["recovered"], stats["rejected"], adds_up(stats)) == (7, {"score": 1}, True)


def test_files_that_vanish_under_a_recorder_are_counted_as_lost(journaled, store, folder):
    recorder = journaled(queue_records=10)
    store.broken = StoreError("away")
    for i in range(100):
        recorder.offer("m", "v", {"a": i})
    for path in folder.glob("*.log"):
        path.unlink()
    store.broken = None
    assert recorder.flush(10)
    stats = recorder.stats()
    assert stats["dropped"] == {"spool_damaged": 90}
    assert (stats["stored"], stats["waiting"], adds_up(stats)) == (10, 0, True)


# -- delivery ----------------------------------------------------------------------------------------------------


def test_a_batch_delivered_twice_and_out_of_order_counts_once(make, store, folder):
    """Two processes were given the same records; one of them is gone and its file is read last."""
    leave_behind(make, store, folder, lambda r: [r.offer("m", "v", {"a": i}, prediction_id=f"p{i}") for i in range(9)])
    recorder = make(flush_seconds=60)
    for i in reversed(range(6)):
        recorder.offer("m", "v", {"a": i}, prediction_id=f"p{i}")
    assert recorder.flush(10)
    other = make(spool=Spool(folder, most_bytes=10**8))
    assert other.flush(10)
    assert sorted(i for _, _, i in store.known) == [f"p{i}" for i in range(9)]
    assert recorder.stats()["stored"] + other.stats()["stored"] == 9
    assert other.stats()["recovered"] == 3


def test_a_clock_that_jumps_back_an_hour_loses_nothing(make, store, folder):
    moment = [1_768_910_400.0]

    def offer(recorder: Recorder) -> None:
        for i in range(20):
            recorder.offer("m", "v", {"a": i})
            moment[0] += -3_600.0 if i == 10 else 1.0

    recorder = make(durability="journal", spool=Spool(folder, most_bytes=10**8), clock=lambda: moment[0])
    store.broken = StoreError("away")
    offer(recorder)
    recorder.close(0)
    store.broken = None
    moment[0] -= 3_600.0
    other = make(spool=Spool(folder, most_bytes=10**8), clock=lambda: moment[0])
    assert other.flush(10)
    assert len(set(ids_of(store))) == other.stats()["recovered"] == 20


def test_numbers_add_up_under_threads_failures_adoption_and_a_full_spool(make, store, folder):
    for _ in range(3):
        leave_behind(make, store, folder, lambda r: [r.offer("m", "0", {"a": i}) for i in range(200)])
    options = {"queue_records": 300, "flush_seconds": 0.001}
    recorders = [
        make(spool=Spool(folder, most_bytes=120_000), durability="journal", **options),
        make(spool=Spool(folder, most_bytes=120_000), durability="queued", **options),
    ]
    rng, done, seen = random.Random(0), threading.Event(), []
    made: list[list[str]] = [[] for _ in range(8)]

    def work(seed: int) -> None:
        for i in range(600):
            given = "same" if (seed + i) % 50 == 1 else None
            made[seed].append(recorders[seed % 2].offer("m", str(i % 2), {"a": i}, prediction_id=given))
            if i % 20 == 0 and seed % 2 == 0:
                recorders[seed % 2].offer_table("m", "0", {"a": [1.0, 2.0, 3.0]}, {})

    def watch() -> None:
        while not done.is_set():
            seen.extend(adds_up(one.stats(*place)) for one in recorders for place in ((), ("m", "0")))

    def break_it() -> None:
        while not done.is_set():
            store.broken = StoreError("now and then") if rng.random() < 0.5 else None
            time.sleep(0.003)

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
    assert all(one.flush(20) for one in recorders)
    assert all(one.flush(20) for one in recorders)
    stats = [one.stats() for one in recorders]
    assert len(seen) > 0
    assert all(seen)
    assert [one["waiting"] for one in stats] == [0, 0]
    assert sum(one["stored"] for one in stats) == len(store.known)
    assert sum(one["recovered"] for one in stats) == 600
    assert sum(one["offered"] for one in stats) == 8 * 600 + 4 * 30 * 3 + 600
    assert all(adds_up(one) for one in stats)


# -- switch, redaction, losses -----------------------------------------------------------------------------------


def test_the_switch_stops_everything_and_counts(make, store, folder, monkeypatch):
    monkeypatch.setenv("DRIFTWELL_DISABLED", "1")
    recorder = make(durability="journal", spool=Spool(folder, most_bytes=10**8))
    assert recorder.offer("m", "v", {"a": 1}, prediction_id="p") == "p"
    assert isinstance(recorder.offer("m", "v", {"a": 1}), str)
    assert recorder.offer_table("m", "v", {"a": [1]}, {}) == []
    assert recorder.offer_label("p", 1).wait(1) == LabelCounts()
    stats = recorder.stats("m")
    assert (stats["offered"], stats["skipped"]) == (0, {"disabled": 3})
    assert recorder.stats()["labels"]["skipped"] == {"disabled": 1}
    assert recorder._worker.thread is None
    assert not folder.exists()
    recorder.enabled = True
    recorder.offer("m", "v", {"a": 1}, prediction_id="q")
    assert recorder.flush(10)
    assert ids_of(store) == ["q"]


class Hides:
    """Takes the place of ``capture.redaction``."""

    def apply(self, features: Any, fields: Any, names: Any = None) -> Any:
        return {**features, "secret": "hidden"}, {**fields, "entity_id": "hidden"}

    def apply_table(self, table: Any, roles: Any = None) -> Any:
        return table.drop_columns(["secret"])

    def id(self, prediction_id: str) -> str:
        return f"hashed {prediction_id[::-1]}"

    def label(self, true_label: Any) -> Any:
        return "hidden"


def test_what_is_redacted_never_reaches_the_disk(journaled, store, folder):
    recorder = journaled(redact_for=lambda model: Hides() if model == "m" else None, flush_seconds=60)
    until(lambda: recorder._adoption.looks > 0)
    assert recorder.offer("m", "v", {"secret": "geheim"}, entity_id="geheim", prediction_id="mihegp") == "mihegp"
    table = {"secret": ["geheim"], "prediction_id": ["mihegt"], "a": [1.0]}
    assert recorder.offer_table("m", "v", table, {}) == ["mihegt"]
    recorder.offer_label("mihegp", "geheim", model="m")
    text = b"".join(path.read_bytes() for path in folder.glob("*.log"))
    assert b"hashed pgehim" in text
    assert b"hidden" in text
    assert b"geheim" not in text
    assert b"miheg" not in text
    assert recorder.flush(10)
    assert ids_of(store) == ["hashed pgehim", "hashed tgehim"]
    assert [row["entity_id"] for row in store.rows()] == ["hidden", None]
    assert [x.true_label for x in store.labels] == ['"hidden"']


def test_losses_are_told_by_hour_of_arrival_and_reason(make, store, monkeypatch):
    monkeypatch.setattr(losses, "TELL_SECONDS", 0.01)
    moment = [1_768_910_400.0]  # 2026-01-20T12:00:00Z
    told: list[Loss] = []
    failing = [True]

    def ledger(found: list[Loss]) -> None:
        if failing[0]:
            raise StoreError("the ledger is away")
        told.extend(found)

    recorder = make(losses_to=ledger, clock=lambda: moment[0])
    recorder.offer("m", "v", {"a": 1}, score="no number")
    assert recorder.flush(10)
    moment[0] += 3_600
    for _ in range(2):
        recorder.offer("m", "v", {"a": 1}, score="no number")
    assert recorder.flush(10)
    failing[0] = False
    assert until(lambda: len(told) == 2)
    recorder.offer("m", "v", {"a": 1}, timestamp="9999-01-01T00:00:00Z")
    recorder.close()
    recorder.offer("m", "v", {"a": 1})
    noon = 1_768_910_400_000_000
    last = {(x.hour_us, x.reason): x.n for x in told}
    assert last == {
        (noon, "rejected.score"): 1,
        (noon + 3_600_000_000, "rejected.score"): 2,
        (noon + 3_600_000_000, "rejected.future_timestamp"): 1,
    }
    assert len({x.source for x in told}) == 1
    assert {(x.model, x.version) for x in told} == {("m", "v")}


# -- records that come together, looking at the disk ---------------------------------------------------------------


def together(count: int, size: int = 1) -> list[dict[str, Any]]:
    return [{"model": "m", "version": "v", "features": {"a": "x" * size}} for _ in range(count)]


def test_rows_that_come_together_are_written_at_once(journaled, make, store, folder, monkeypatch):
    written: list[int] = []
    real = os.pwrite
    monkeypatch.setattr(os, "pwrite", lambda fd, data, at: (written.append(len(data)), real(fd, data, at))[1])
    store.broken = StoreError("away")
    recorder = journaled(flush_seconds=60)
    recorder.offer("m", "v", {"a": "first"})
    written.clear()
    ids = recorder.offer_rows(together(50))
    assert len([size for size in written if size > 1_000]) == 1
    recorder.close(0)
    store.broken = None
    successor = make(durability="journal", spool=Spool(folder, most_bytes=10**8))
    assert until(lambda: successor.stats()["recovered"] == 51)
    assert ids_of(store)[1:] == ids


def test_a_spool_without_room_takes_none_of_them(journaled, store):
    recorder = journaled(most_bytes=20_000, flush_seconds=60, queue_records=10)
    store.broken = StoreError("away")
    assert (recorder.room(5_000) > 100, recorder.room(30_000)) == (True, 0)
    assert len(recorder.offer_rows(together(20))) == 20  # more than memory takes
    assert recorder.offer_rows(together(2, 15_000)) is None
    assert (recorder.stats()["offered"], recorder.stats()["dropped"]) == (20, {})


def test_what_waits_on_disk_can_be_looked_at(journaled, store):
    recorder = journaled(queue_records=4, flush_seconds=60)
    store.gate = threading.Event()
    ids = [recorder.offer("m", "v", {"a": float(i)}) for i in range(130)]
    shown = [row["prediction_id"] for row in recorder.waiting("m")]
    assert shown == [*ids[:4], *ids[-100:]]
    store.gate.set()
    assert recorder.flush(20)
    assert recorder.waiting("m") == []


def test_flush_waits_for_the_disk_when_the_spool_cannot_be_written_any_more(journaled, store, monkeypatch):
    """Newer records, which are only in memory, are stored first; they do not stand for older ones on disk."""
    recorder = journaled(queue_records=4, flush_seconds=60)
    store.gate = threading.Event()
    older = [recorder.offer("m", "v", {"a": float(i)}) for i in range(8)]
    assert recorder.stats()["spool"]["waiting"] == 4
    settled = recorder._journal.watch()
    recorder._queue.settle(100)  # as many newer ones as anybody likes
    assert not recorder.flush(0.05)
    assert not settled()
    store.gate.set()
    assert recorder.flush(20)
    assert settled()
    assert sorted(ids_of(store)) == sorted(older)


# -- an end while the store blocks --------------------------------------------------------------------------------


def block(store: Any) -> threading.Event:
    """From now on the store answers nobody until the event is set."""
    store.gate = threading.Event()
    return store.gate


def offer_while_blocked(recorder: Recorder, store: Any) -> list[str]:
    ids = [recorder.offer("m", "v", {"a": 0.0})]
    assert until(lambda: store.tried)
    ids += [recorder.offer("m", "v", {"a": float(i)}, true_label=i) for i in range(1, 6)]
    ids += recorder.offer_table("m", "w", {"a": [1.0, 2.0]}, {})
    recorder.offer_exchange(Two())
    recorder.offer_label(ids[0], 1)
    return ids


class Two:
    """An exchange of two records."""

    model, version, rows, size = "m", "v", 0, 10

    def expand(self) -> Expansion:
        return Expansion([make_record("m", "v", f"two{i}", 1.0, {"a": 1.0}, [None] * 9) for i in range(2)])


@pytest.mark.parametrize("durability", ["queued", "journal"])
def test_what_waits_for_a_store_that_blocks_at_the_end_is_left_on_disk(make, store, folder, durability):
    gate = block(store)
    recorder = make(durability=durability, spool=Spool(folder, most_bytes=10**8))
    ids = [*offer_while_blocked(recorder, store), "two0", "two1"]
    start = time.monotonic()
    recorder.close(0.1)
    assert time.monotonic() - start < 4
    stats = recorder.stats()
    assert (stats["offered"], stats["waiting"], stats["dropped"], stats["rejected"]) == (10, 10, {}, {})
    gate.set()
    recorder._worker.thread.join(10)
    stored = recorder.stats()["stored"]
    assert stored == len(store.known)
    assert adds_up(recorder.stats())
    store.gate = None
    heir = make(spool=Spool(folder, most_bytes=10**8))
    assert heir.flush(20)
    assert sorted(key[2] for key in store.known) == sorted(ids)
    assert heir.stats()["recovered"] == 10 - stored
    assert len(store.labels) == 6


@pytest.mark.parametrize("most_bytes", [None, 700])
def test_what_a_store_that_blocks_at_the_end_costs_is_counted(make, store, folder, most_bytes):
    gate = block(store)
    recorder = make(spool=None if most_bytes is None else Spool(folder, most_bytes=most_bytes))
    offer_while_blocked(recorder, store)
    recorder.close(0.1)
    stats = recorder.stats()
    assert stats["offered"] == 10
    assert adds_up(stats)
    if most_bytes is None:
        assert (stats["dropped"], stats["waiting"], stats["labels"]["waiting"]) == ({"store_failed": 10}, 0, 0)
        assert stats["labels"]["dropped"] == {"store_failed": 1}
    else:
        assert 0 < stats["dropped"]["store_failed"] < 10
    gate.set()
    recorder._worker.thread.join(10)
    assert adds_up(recorder.stats())
    assert recorder.stats()["dropped"] == stats["dropped"]


@pytest.mark.parametrize("has_room_again", [True, False])
def test_records_that_could_not_be_journaled_are_written_at_the_end_or_counted(
    journaled, make, store, folder, monkeypatch, has_room_again
):
    store.broken = StoreError("away")
    recorder = journaled()
    ids = [recorder.offer("m", "v", {"a": float(i)}, prediction_id=f"early{i}") for i in range(5)]

    def full(fd: int, data: bytes, at: int) -> int:
        raise OSError(errno.ENOSPC, "No space left on device")

    with monkeypatch.context() as context:
        context.setattr(Spool, "append", lambda self, content: full(0, content, 0))
        ids += [recorder.offer("m", "v", {"a": float(i)}, prediction_id=f"late{i}") for i in range(5)]
        if not has_room_again:
            recorder.close(0)
    recorder.close(0)
    stats = recorder.stats()
    lost = {} if has_room_again else {"store_failed": 5}
    assert (stats["unjournaled"], stats["dropped"], stats["waiting"]) == (5, lost, 10 - sum(lost.values()))
    store.broken = None
    heir = make(spool=Spool(folder, most_bytes=10**8))
    assert heir.flush(20)
    assert sorted(ids_of(store)) == sorted(ids if has_room_again else ids[:5])
