"""Real processes on one file: nothing lost, nothing stored twice, readers see whole batches."""

from __future__ import annotations

import itertools
import time
from collections import Counter
from pathlib import Path

from tests.servers.workers import WORKERS

from driftwell.stores import open_store
from driftwell.stores.checks import ALWAYS, count_leaves, make_batch

WRITERS, ROWS, SIZE = 4, 2_000, 50


def write_overlapping(url: str, writer: int, results) -> None:
    """2,000 rows in batches of 50; every second row has an id that the other writers send too."""
    store = open_store(url)
    stored = duplicate = 0
    for first in range(0, ROWS, SIZE):
        ids = [f"shared-{i}" if i % 2 else f"own-{writer}-{i}" for i in range(first, first + SIZE)]
        result = store.append(make_batch(f"{writer}-{first}", ids), count_leaves)
        stored, duplicate = stored + result.stored, duplicate + result.duplicate
        assert result.conflict == 0
    store.close()
    results.put((stored, duplicate))


def write_for_ever(url: str, started) -> None:
    store = open_store(url)
    started.set()
    for i in itertools.count():
        store.append(make_batch(f"{i}", [f"{i}-{k}" for k in range(300)]), count_leaves)


def open_and_append(url: str, name: str) -> None:
    store = open_store(url)
    store.append(make_batch(name, [name]), count_leaves)
    store.close()


def run_together(processes: list) -> None:
    for process in processes:
        process.start()
    for process in processes:
        process.join(120)
    assert [process.exitcode for process in processes] == [0] * len(processes)


def test_four_writers_store_each_row_once(tmp_path: Path) -> None:
    url = f"sqlite:///{tmp_path}/s.db"
    results = WORKERS.Queue()
    run_together([WORKERS.Process(target=write_overlapping, args=(url, w, results)) for w in range(WRITERS)])
    stored, duplicate = zip(*(results.get() for _ in range(WRITERS)), strict=True)

    expected = {f"shared-{i}" for i in range(1, ROWS, 2)} | {
        f"own-{w}-{i}" for w in range(WRITERS) for i in range(0, ROWS, 2)
    }
    store = open_store(url)
    found = Counter(store.read("m", "v1", *ALWAYS)["prediction_id"].to_pylist())
    assert set(found) == expected
    assert set(found.values()) == {1}
    assert (sum(stored), sum(stored) + sum(duplicate)) == (len(expected), WRITERS * ROWS)
    assert store.count("m", "v1", *ALWAYS) == len(expected)
    assert store.totals("m", "v1")["predictions"] == len(expected)
    assert sum(leaf.n for leaf in store.leaves("m", "v1", *ALWAYS)) == len(expected)
    assert sum(len(batch) for batch in store.batches("m", "v1")) == len(expected)
    assert store.info()["integrity"] == "ok"
    store.close()


def test_reader_sees_whole_batches_while_others_write(tmp_path: Path) -> None:
    url = f"sqlite:///{tmp_path}/s.db"
    store = open_store(url)
    results = WORKERS.SimpleQueue()
    writers = [WORKERS.Process(target=write_overlapping, args=(url, w, results)) for w in range(2)]
    for writer in writers:
        writer.start()
    seen = [0]
    while any(writer.is_alive() for writer in writers):
        rows = store.read("m", "v1", *ALWAYS)
        own = Counter(i.rsplit("-", 1)[0] for i in rows["prediction_id"].to_pylist())
        assert all(n % (SIZE // 2) == 0 for n in own.values())  # halves of a batch are its own or shared
        seen.append(rows.num_rows)
    assert seen == sorted(seen)
    assert [writer.exitcode for writer in writers] == [0, 0]
    assert store.count("m", "v1", *ALWAYS) == ROWS // 2 * 3
    store.close()


def test_many_processes_may_create_the_file_at_once(tmp_path: Path) -> None:
    url = f"sqlite:///{tmp_path}/new.db"
    names = [f"p{i}" for i in range(6)]
    run_together([WORKERS.Process(target=open_and_append, args=(url, name)) for name in names])
    store = open_store(url)
    assert sorted(store.read("m", "v1", *ALWAYS)["prediction_id"].to_pylist()) == names
    store.close()


def test_killed_writer_leaves_whole_batches(tmp_path: Path) -> None:
    url = f"sqlite:///{tmp_path}/s.db"
    started = WORKERS.Event()
    writer = WORKERS.Process(target=write_for_ever, args=(url, started))
    writer.start()
    store = open_store(url)
    assert started.wait(60)
    while store.count("m", None, *ALWAYS) < 1_500:
        time.sleep(0.01)
    writer.kill()
    writer.join()
    stored = store.count("m", None, *ALWAYS)
    assert stored % 300 == 0
    assert sum(leaf.n for leaf in store.leaves("m", None, *ALWAYS)) == stored
    assert store.read("m", None, *ALWAYS).num_rows == stored
    assert store.append(make_batch("after", ["a"]), count_leaves).stored == 1
    assert store.info()["integrity"] == "ok"
    store.close()
