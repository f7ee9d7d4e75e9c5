"""Rows in one store, the ledger in another: crashes in between, repetitions and sweepers at once count once."""

from __future__ import annotations

import subprocess
import sys
import textwrap
import threading
from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import Any

import pytest

from driftwell.errors import StoreError
from driftwell.stores.base import HOUR_US, AppendResult, Leaf, LeafBuilder, PredictionBatch
from driftwell.stores.checks import ALWAYS, NOON, count_leaves, edges_of, make_batch, merge_counts
from driftwell.stores.memory import MemoryStore
from driftwell.stores.split import MOST_UNCOUNTED, SplitLedger, SplitStore, sweep
from driftwell.stores.sqlite import SQLiteStore


@pytest.fixture
def rows() -> Iterator[MemoryStore]:
    store = MemoryStore()
    yield store
    store.close()


@pytest.fixture
def ledger(tmp_path: Path) -> Iterator[SQLiteStore]:
    store = SQLiteStore(tmp_path / "ledger.db")
    yield store
    store.close()


def builder(model: str, version: str) -> LeafBuilder:
    return count_leaves


def counted(ledger: Any) -> int:
    return sum(leaf.n for leaf in ledger.leaves("m", None, *ALWAYS))


class Failing:
    """A ledger that fails to take the next leaves."""

    def __init__(self, ledger: SQLiteStore, times: int) -> None:
        self.ledger, self.times = ledger, times

    def put_leaves(self, *args: Any) -> bool:
        if self.times:
            self.times -= 1
            raise StoreError("the ledger is away")
        return self.ledger.put_leaves(*args)

    def __getattr__(self, name: str) -> Any:
        return getattr(self.ledger, name)


def test_rows_and_leaf_have_one_arrival_number(rows, ledger):
    store = SplitStore(rows, ledger)
    rows.append(make_batch("other", ["x"], model="n"), count_leaves)  # so that the numbers of the two differ
    result = store.append(make_batch("b", ["a"]), count_leaves)
    assert ledger.counted_batches("m", "v1") == {"b": (result.arrival, "counts")}
    mark = ledger.set_mark("m")
    assert mark == result.arrival == 2
    store.append(make_batch("b2", ["b"]), count_leaves)
    assert len(store.read("m", None, *ALWAYS, after_arrival=mark)) == 1
    assert [leaf.n for leaf in ledger.leaves("m", None, *ALWAYS, after_arrival=mark)] == [1]


def test_only_rows_that_were_new_are_in_the_leaf(rows, ledger):
    store = SplitStore(rows, ledger)
    store.append(make_batch("b1", ["a", "b"]), count_leaves)
    assert store.append(make_batch("b2", ["b", "c", "d"]), count_leaves) == AppendResult(2, duplicate=1)
    assert store.append(make_batch("b3", ["a", "d"]), count_leaves) == AppendResult(0, duplicate=2)
    assert counted(ledger) == 4


def test_a_batch_that_the_ledger_did_not_take_is_answered_as_new_when_it_comes_again(rows, ledger):
    store = SplitStore(rows, Failing(ledger, times=2))
    batch = make_batch("b", ["a", "b"])
    for _ in range(2):
        with pytest.raises(StoreError, match="away"):
            store.append(batch, count_leaves)
    assert store.append(batch, count_leaves) == AppendResult(2)
    assert store.append(batch, count_leaves) == AppendResult(0, duplicate=2)
    assert (counted(ledger), sweep(rows, ledger, builder)) == (2, 0)


def test_batches_that_were_given_up_are_swept(rows, ledger):
    n = MOST_UNCOUNTED + 5
    store = SplitStore(rows, Failing(ledger, times=n))
    for i in range(n):
        with pytest.raises(StoreError, match="away"):
            store.append(make_batch(f"b{i}", [str(i)]), count_leaves)
    assert sweep(rows, ledger, builder) == n
    for i in range(n):
        store.append(make_batch(f"b{i}", [str(i)]), count_leaves)
    assert (counted(ledger), sweep(rows, ledger, builder)) == (n, 0)


CRASHING = """
    import os, sys
    from driftwell.stores.checks import count_leaves, make_batch
    from driftwell.stores.split import SplitStore
    from driftwell.stores.sqlite import SQLiteStore

    rows, ledger = SQLiteStore(sys.argv[1]), SQLiteStore(sys.argv[2])
    store = SplitStore(rows, ledger)
    store.append(make_batch("b1", ["a", "b"]), count_leaves)
    ledger.put_leaves = lambda *args: os._exit(9)
    store.append(make_batch("b2", ["b", "c", "d"], start_us=3_600_000_000), count_leaves)
"""


def test_crash_between_rows_and_leaf_is_swept(tmp_path):
    paths = [str(tmp_path / "rows.db"), str(tmp_path / "ledger.db")]
    done = subprocess.run([sys.executable, "-c", textwrap.dedent(CRASHING), *paths], check=False, timeout=60)
    assert done.returncode == 9
    rows, ledger = (SQLiteStore(path) for path in paths)
    assert (rows.count("m", None, *ALWAYS), counted(ledger)) == (4, 2)
    assert sweep(rows, ledger, builder) == 1
    assert {leaf.hour_us: leaf.n for leaf in ledger.leaves("m", None, *ALWAYS)} == {NOON: 2, HOUR_US: 2}
    assert sweep(rows, ledger, builder) == 0
    (arrival,) = [a for a, batch_id in rows.batch_index("m", "v1") if batch_id == "b2"]
    assert ledger.counted_batches("m", "v1")["b2"] == (arrival, "counts")
    again = SplitStore(rows, ledger).append(make_batch("b2", ["b", "c", "d"], start_us=HOUR_US), count_leaves)
    assert (again.stored, counted(ledger)) == (0, 4)
    rows.close()
    ledger.close()


def test_sweepers_and_writers_at_once_count_once(rows, ledger):
    for i in range(30):
        rows.append(make_batch(f"lost{i}", [f"lost{i}"]), count_leaves)
    store, swept = SplitStore(rows, ledger), []

    def write() -> None:
        for i in range(30):
            store.append(make_batch(f"new{i}", [f"new{i}", f"lost{i}"]), count_leaves)

    works = [write, *[lambda: swept.append(sweep(rows, ledger, builder))] * 3]
    threads = [threading.Thread(target=work) for work in works]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    sweep(rows, ledger, builder)
    assert 30 <= sum(swept) <= 60
    assert counted(ledger) == rows.count("m", None, *ALWAYS) == 60


def test_a_sweep_with_nothing_to_do_reads_no_row(rows, ledger, monkeypatch):
    store = SplitStore(rows, ledger)
    store.append(make_batch("b", ["a"]), count_leaves)
    monkeypatch.setattr(rows, "batches", None)  # would be called to read one
    assert sweep(rows, ledger, builder) == 0


def test_pruned_batches_are_not_swept(rows, ledger):
    rows.append(make_batch("b", ["a"]), count_leaves)
    rows.prune(rows_before_us=NOON + 1)
    assert (sweep(rows, ledger, builder), counted(ledger)) == (0, 0)


def test_batches_pruned_during_a_sweep_are_left_out(rows, ledger):
    for i in range(3):
        rows.append(make_batch(f"b{i}", [str(i)], start_us=NOON + i), count_leaves)

    def build(batch: PredictionBatch) -> Sequence[Leaf]:
        rows.prune(rows_before_us=NOON + 2)
        return count_leaves(batch)

    assert sweep(rows, ledger, lambda model, version: build) == 2
    assert set(ledger.counted_batches("m", "v1")) == {"b0", "b2"}


def test_batches_in_other_bins_are_those_of_the_ledger(rows, ledger):
    store = SplitStore(rows, ledger)
    store.append(make_batch("b1", ["a"]), edges_of("old"))
    store.append(make_batch("b2", ["b"]), edges_of("new"))
    assert [batch.batch_id for batch in store.batches("m", "v1", edges_id_not="new")] == ["b1"]
    assert [batch.batch_id for batch in store.batches("m", "v1")[1:]] == ["b2"]


def test_what_a_sealed_leaf_of_gone_batches_covers_is_tried_once(rows, ledger):
    store, split = SplitStore(rows, ledger), SplitLedger(rows, ledger)
    for i in range(6):
        store.append(make_batch(f"b{i}", [str(i)], start_us=NOON + i), edges_of("old"))
    ledger.seal(NOON + HOUR_US, more_than=2, merge=merge_counts)
    store.append(make_batch("late", ["late"], start_us=NOON + 10), edges_of("old"))
    rows.prune(rows_before_us=NOON + 1)
    built: list[str] = []

    def build(batch: PredictionBatch) -> Sequence[Leaf]:
        built.append(batch.batch_id)
        return edges_of("new")(batch)

    assert split.replace_leaves("m", "v1", "new", build, merge=merge_counts) == 1
    assert sorted((leaf.edges_id, leaf.n) for leaf in ledger.leaves("m", "v1", *ALWAYS)) == [("new", 1), ("old", 6)]
    built.clear()
    assert split.replace_leaves("m", "v1", "new", build, merge=merge_counts) == 0
    assert built == []
    store.append(make_batch("b9", ["9"], start_us=NOON + 20), edges_of("old"))
    assert split.replace_leaves("m", "v1", "new", build, merge=merge_counts) == 1


def test_capabilities_are_those_of_the_rows_without_the_ledger(rows, ledger):
    found = SplitStore(rows, ledger).capabilities
    assert (found.ledger, found.exact_dedupe, found.delete, found.durable) == (False, True, True, False)
    assert SplitStore(rows, ledger).url == "memory://"
