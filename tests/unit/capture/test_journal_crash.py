"""`kill -9` at any moment: whatever a call returned for is in the store once, and counted once in the leaves."""

from __future__ import annotations

import os
import signal
import subprocess
import sys
import time
from collections import Counter
from pathlib import Path
from typing import Any

import pytest

from driftwell.capture.recorder import Recorder
from driftwell.capture.spool.files import Spool
from driftwell.profiles.reference import Reference
from driftwell.stores import open_store
from driftwell.stores.windows import leaf_builder

pytestmark = [
    pytest.mark.skipif(not hasattr(os, "fork"), reason="needs fork"),
    pytest.mark.filterwarnings("ignore:.*use of fork.*:DeprecationWarning"),
]

FAR_US = 10**17

# Forks a child that records in two threads and notes each id once its call has returned, kills it after a random
# while, and does so again: each child also adopts what those before it left, until it is killed in turn.
KILLER = """
import os, random, signal, sys, threading, time
import numpy, pyarrow, pyarrow.compute
from driftwell.capture.recorder import Recorder
from driftwell.capture.spool.files import Spool
from driftwell.profiles.reference import Reference
from driftwell.stores import open_store
from driftwell.stores.windows import leaf_builder

folder, rounds, batches = sys.argv[1], int(sys.argv[2]), sys.argv[3] == "batches"
reference = Reference.from_data({"a": [1.0, 2.0, 3.0]})
rng = random.Random(7)
noted = os.open(folder + "/noted", os.O_WRONLY | os.O_CREAT | os.O_APPEND)

def work(recorder, k):
    i = 0
    while True:
        i += 1
        if batches:
            ids = recorder.offer_table("m", "v", {"a": [float(i), 2.0, 3.0]}, {})
        else:
            ids = [recorder.offer("m", "v", {"a": float(i)}, i % 2, true_label=i % 3)]
        os.write(noted, "".join(one + "\\n" for one in ids).encode())

for number in range(rounds):
    child = os.fork()
    if child == 0:
        store = open_store(f"sqlite:///{folder}/a.db")
        spool = Spool(folder + "/a.db-spool", most_bytes=10**9)
        recorder = Recorder(store, reference_for=lambda m, v: reference, leaf_builder=leaf_builder,
                            flush_seconds=0.01, queue_records=200, spool=spool, durability="journal")
        threading.Thread(target=work, args=(recorder, 1), daemon=True).start()
        work(recorder, 2)
    enough, deadline = os.fstat(noted).st_size + rng.randrange(1, 7_000 if batches else 20_000), time.monotonic() + 5
    while os.fstat(noted).st_size < enough and time.monotonic() < deadline:
        time.sleep(0.001)
    time.sleep(rng.random() * 0.01)
    os.kill(child, signal.SIGKILL)
    os.waitpid(child, 0)
"""


def recover(folder: Path) -> dict[str, Any]:
    """Open the store as any other process does, and let it take over."""
    store = open_store(f"sqlite:///{folder}/a.db")
    reference = Reference.from_data({"a": [1.0, 2.0, 3.0]})
    spool = Spool(folder / "a.db-spool", most_bytes=10**9)
    recorder = Recorder(store, reference_for=lambda m, v: reference, leaf_builder=leaf_builder, spool=spool)
    assert recorder.flush(60)
    stats = recorder.stats()
    recorder.close()
    ids = store.outcomes("m", None, 0, FAR_US).column("prediction_id").to_pylist()
    leaves = sum(leaf.n for leaf in store.leaves("m", None, 0, FAR_US))
    labels = store.totals("m", None)["labels"]
    store.close()
    return {"stats": stats, "ids": ids, "leaves": leaves, "labels": labels}


@pytest.mark.slow
@pytest.mark.parametrize("what", ["records", "batches"])
def test_kill_at_random_moments_loses_nothing_and_doubles_nothing(tmp_path, what):
    subprocess.run([sys.executable, "-c", KILLER, str(tmp_path), "16", what], check=True, timeout=100)
    noted = (tmp_path / "noted").read_text().split()
    found = recover(tmp_path)
    times = Counter(found["ids"])
    assert len(noted) > 500
    assert [one for one in noted if times[one] != 1] == []
    assert set(times.values()) == {1}
    assert found["leaves"] == len(found["ids"])
    assert found["labels"] == (len(found["ids"]) if what == "records" else 0)
    assert found["stats"]["dropped"] == {}
    assert list((tmp_path / "a.db-spool").iterdir()) == []


def recorder_on(folder: Path, **options: Any) -> tuple[Any, Recorder]:
    store = open_store(f"sqlite:///{folder}/a.db")
    spool = Spool(folder / "a.db-spool", most_bytes=10**9)
    made = Recorder(store, reference_for=lambda m, v: None, leaf_builder=leaf_builder, spool=spool, **options)
    return store, made


def test_a_forked_child_that_is_killed_leaves_its_own_file(tmp_path):
    store, recorder = recorder_on(tmp_path, durability="journal", flush_seconds=60)
    mine = [recorder.offer("m", "v", {"a": i}) for i in range(50)]
    reading, writing = os.pipe()
    child = os.fork()
    if child == 0:
        signal.alarm(30)
        recorder._worker.flush_seconds = 3600
        ids = [recorder.offer("m", "v", {"a": i}) for i in range(50)]
        os.write(writing, " ".join(ids).encode())
        os.kill(os.getpid(), signal.SIGKILL)
    os.waitpid(child, 0)
    theirs = os.read(reading, 10_000).decode().split()
    assert len(list((tmp_path / "a.db-spool").glob("*.head"))) == 2
    assert recorder.flush(30)
    assert recorder.stats()["stored"] == 50
    assert recorder.flush(30)  # idle now: it takes over what the child left
    assert (recorder.stats()["stored"], recorder.stats()["recovered"]) == (100, 50)
    recorder.close()
    ids = store.outcomes("m", None, 0, FAR_US).column("prediction_id").to_pylist()
    store.close()
    assert sorted(ids) == sorted(mine + theirs)
    os.close(reading)
    os.close(writing)


def test_a_child_that_lives_on_does_not_hold_its_parents_records(tmp_path):
    """The parent is killed while a child that it forked lives."""
    reading, writing = os.pipe()
    parent = os.fork()
    if parent == 0:
        signal.alarm(30)
        _, recorder = recorder_on(tmp_path, durability="journal", flush_seconds=3600)
        time.sleep(0.1)  # the first look around is over
        ids = [recorder.offer("m", "v", {"a": i}) for i in range(20)]
        child = os.fork()
        if child == 0:
            os.write(writing, " ".join([str(os.getpid()), *ids]).encode())
            signal.pause()
        os.waitpid(child, 0)
    child_pid, *ids = os.read(reading, 10_000).decode().split()
    os.kill(parent, signal.SIGKILL)
    os.waitpid(parent, 0)
    store, recorder = recorder_on(tmp_path)
    assert recorder.flush(30)
    stats = recorder.stats()
    recorder.close()
    store.close()
    os.kill(int(child_pid), signal.SIGKILL)
    os.close(reading)
    os.close(writing)
    assert len(ids) == 20
    assert stats["recovered"] == 20
