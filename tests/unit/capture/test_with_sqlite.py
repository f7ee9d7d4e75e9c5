"""The recorder over a real SQLite file: many threads, forks, an end without close; nothing lost, nothing twice."""

from __future__ import annotations

import multiprocessing
import os
import signal
import subprocess
import sys
import threading
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

import pytest

from driftwell.capture.recorder import Recorder
from driftwell.profiles.reference import Reference
from driftwell.stores import open_store
from driftwell.stores.windows import leaf_builder

pytestmark = pytest.mark.filterwarnings("ignore:.*use of fork.*:DeprecationWarning")
FORK = pytest.mark.skipif(not hasattr(os, "fork"), reason="needs fork")
FAR_US = 10**17
NOON = datetime(2026, 1, 20, 12, tzinfo=UTC)


def recorder_on(path: Path, reference: Reference | None = None) -> tuple[Any, Recorder]:
    store = open_store(f"sqlite:///{path}")
    return store, Recorder(store, reference_for=lambda m, v: reference, leaf_builder=leaf_builder, flush_seconds=0.05)


def stored_ids(path: Path) -> list[str]:
    store = open_store(f"sqlite:///{path}")
    ids: list[str] = store.outcomes("m", None, 0, FAR_US).column("prediction_id").to_pylist()
    store.close()
    return ids


def test_eight_threads_lose_nothing_and_store_nothing_twice(tmp_path):
    store, recorder = recorder_on(tmp_path / "a.db", Reference.from_data({"a": [1.0, 2.0], "c": ["x", "y"]}))
    made: list[list[str]] = [[] for _ in range(8)]

    def work(k: int) -> None:
        for i in range(500):
            made[k].append(recorder.offer("m", str(k % 2), {"a": i, "c": "x" if i % 2 else "odd"}, i % 3, score=0.5))
            recorder.offer_label(made[k][-1], i % 3)

    threads = [threading.Thread(target=work, args=(k,)) for k in range(8)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert recorder.flush(60)
    stats = recorder.stats()
    recorder.close()
    store.close()
    assert (stats["stored"], stats["rejected"], stats["dropped"]) == (4_000, {}, {})
    assert stats["labels"]["matched"] == 4_000
    assert sorted(stored_ids(tmp_path / "a.db")) == sorted(i for ids in made for i in ids)


def test_rows_come_back_as_they_were_offered(tmp_path):
    store, recorder = recorder_on(tmp_path / "a.db")
    recorder.offer(
        "m",
        "v",
        {"a": 1, "b": True, "c": "x", "series": [1, None], "at": NOON, "odd": {"k": 1}},
        {"k": 3},
        probability={"n": 0.25, "y": 0.75},
        prediction_id="p",
        timestamp="2026-01-20T12:00:00Z",
        segment="s",
        entity_id=7,
        latency_seconds=0.1,
        metadata={"k": 1},
        true_label="y",
    )
    (waiting,) = recorder.waiting("m", "v")
    assert recorder.flush(30)
    (stored,) = store.recent("m", "v", 1)
    recorder.close()
    store.close()
    assert {name: stored[name] for name in waiting} == waiting
    assert (stored["prediction"], stored["score"]) == ({"k": 3}, 0.75)
    assert stored["features"] == {"a": 1.0, "b": True, "c": "x", "series": [1.0, None], "at": NOON}
    assert stored["invalid"] == {"odd": 'dict: {"k":1}'}


@FORK
def test_a_fork_in_the_middle_of_writing(tmp_path):
    store, recorder = recorder_on(tmp_path / "a.db")
    mine = [recorder.offer("m", "v", {"a": i}) for i in range(300)]
    children = []
    for _ in range(3):
        child = os.fork()
        if child == 0:
            signal.alarm(60)
            for i in range(200):
                recorder.offer("m", "v", {"a": i})
            recorder.close()
            stats = recorder.stats()
            os._exit(0 if (stats["offered"], stats["stored"]) == (200, 200) else 1)
        children.append(child)
        mine += [recorder.offer("m", "v", {"a": i}) for i in range(100)]
    codes = [os.waitstatus_to_exitcode(os.waitpid(child, 0)[1]) for child in children]
    assert codes == [0, 0, 0]
    assert recorder.flush(60)
    recorder.close()
    store.close()
    ids = stored_ids(tmp_path / "a.db")
    assert len(ids) == len(set(ids)) == 1_200
    assert set(mine) <= set(ids)


def offer_and_end(path: Path) -> None:
    """A child of multiprocessing ends without the handlers of ``atexit``."""
    _, recorder = recorder_on(path)
    recorder._worker.flush_seconds = 3600
    for i in range(10):
        recorder.offer("m", "v", {"a": i})


@FORK
def test_a_child_of_multiprocessing_stores_what_waits_at_its_end(tmp_path):
    child = multiprocessing.get_context("fork").Process(target=offer_and_end, args=(tmp_path / "a.db",))
    child.start()
    child.join(60)
    assert child.exitcode == 0
    assert len(stored_ids(tmp_path / "a.db")) == 10


def test_a_program_that_just_ends_stores_what_waits(tmp_path):
    code = f"""
from driftwell.capture.recorder import Recorder
from driftwell.stores import open_store
from driftwell.stores.windows import leaf_builder
store = open_store("sqlite:///{tmp_path}/a.db")
recorder = Recorder(store, reference_for=lambda m, v: None, leaf_builder=leaf_builder, flush_seconds=3600)
for i in range(10):
    recorder.offer("m", "v", {{"a": i}})
"""
    subprocess.run([sys.executable, "-W", "error", "-c", code], check=True, timeout=60)
    assert len(stored_ids(tmp_path / "a.db")) == 10


def test_the_same_record_of_two_processes_is_one(tmp_path):
    for _ in range(2):
        store, recorder = recorder_on(tmp_path / "a.db")
        recorder.offer("m", "v", {"a": 1, "b": None}, 1, prediction_id="p")
        recorder.offer("m", "v", {"a": 2.0}, 1, prediction_id="q")
        assert recorder.flush(30)
        rejected = recorder.stats()["rejected"]
        recorder.close()
        store.close()
    assert rejected == {"duplicate": 2}
