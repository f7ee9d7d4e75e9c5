"""How fast predictions are stored in one SQLite file, read as columns, labelled and pruned; next to SQLite alone.

Four processes append batches of 1,000 rows with 10 and with 100 float features through ``SQLiteStore.append``. The
yardstick is one process that writes the same rows with a bare ``executemany`` into a plain table, a column a feature,
with an index by id, a transaction a batch, in the same run. Afterwards every row must be there once, with its leaf.
"""

from __future__ import annotations

import multiprocessing
import tempfile
import time
from multiprocessing.synchronize import Barrier
from pathlib import Path

import apsw
import numpy as np
import pyarrow as pa

from driftwell.stores import open_store
from driftwell.stores.base import HOUR_US, ROW_COLUMNS, Label, Leaf, PredictionBatch
from driftwell.stores.sqlite import SQLiteStore

PROCESSES = 4
BATCHES = {10: 60, 100: 25}  # batches of each process, by the number of features
ROWS = 1_000
NOON = 490_908 * HOUR_US  # 2026-01-01T12:00Z
LEAF = bytes(16_000)  # about the size of a profile of so many rows


def make_batch(process: int, number: int, features: int) -> PredictionBatch:
    """Random floats that do not compress; ids that ascend within a process, as UUIDv7 do."""
    rng = np.random.default_rng((process, number))
    values = [pa.array(rng.normal(size=ROWS)) for _ in range(features)]
    first = number * ROWS
    times = NOON + (np.arange(ROWS) + first) * 1_000
    columns = {name: pa.nulls(ROWS, pa.string()) for name in ROW_COLUMNS} | {
        "prediction_id": pa.array([f"019b-{first + i:09}-{process}-5f7d-a1b2c3d4e5f6" for i in range(ROWS)]),
        "timestamp": pa.array(times, pa.timestamp("us", "UTC")),
        "prediction": pa.array(["1"] * ROWS),
        "score": pa.array(rng.random(ROWS)),
        "latency_seconds": pa.array(rng.random(ROWS)),
        "features": pa.StructArray.from_arrays(values, [f"f{i}" for i in range(features)]),
    }
    hashes = rng.integers(1 << 62, size=ROWS)
    return PredictionBatch(f"{process}-{number}", "bench", "v1", pa.table(columns), hashes, NOON)


def one_leaf(batch: PredictionBatch) -> list[Leaf]:
    """A leaf of a fixed size: building profiles is measured elsewhere."""
    return [Leaf("bench", "v1", None, NOON, "bench", len(batch), LEAF)]


def append_all(
    url: str, process: int, features: int, start: Barrier, seconds: multiprocessing.SimpleQueue[list[float]]
) -> None:
    """One writer: makes its batches, waits for the others, appends them, reports the seconds of each."""
    store = open_store(url)
    batches = [make_batch(process, number, features) for number in range(BATCHES[features])]
    start.wait()
    taken = []
    for batch in batches:
        before = time.perf_counter()
        store.append(batch, one_leaf)
        taken.append(time.perf_counter() - before)
    start.wait()
    seconds.put(taken)
    store.close()


def four_processes(url: str, features: int) -> tuple[float, list[float]]:
    """Seconds from the common start to the last commit, and the seconds of every append."""
    spawn = multiprocessing.get_context("spawn")
    start, seconds = spawn.Barrier(PROCESSES + 1), spawn.SimpleQueue()
    writers = [spawn.Process(target=append_all, args=(url, p, features, start, seconds)) for p in range(PROCESSES)]
    for writer in writers:
        writer.start()
    start.wait()
    before = time.perf_counter()
    start.wait()
    whole = time.perf_counter() - before
    taken = [each for _ in writers for each in seconds.get()]
    for writer in writers:
        writer.join()
    return whole, taken


def bare_sqlite(path: Path, features: int) -> float:
    """Seconds in which one process writes as many of the same rows into a plain table, a transaction a batch."""
    connection = apsw.Connection(str(path))
    connection.pragma("journal_mode", "wal")
    connection.pragma("synchronous", "normal")
    names = ", ".join(f"f{i} REAL" for i in range(features))
    connection.execute(f"CREATE TABLE plain (id TEXT PRIMARY KEY, time_us INTEGER, score REAL, latency REAL, {names})")
    sql = f"INSERT INTO plain VALUES ({', '.join('?' * (4 + features))})"
    batches = [plain_rows(make_batch(process, number, features)) for process in range(2) for number in range(4)]
    before = time.perf_counter()
    for number in range(PROCESSES * BATCHES[features]):
        with connection:
            rows = ((f"{number:06}{row[0]}", *row[1:]) for row in batches[number % len(batches)])
            connection.executemany(sql, rows)
    whole = time.perf_counter() - before
    connection.close()
    return whole


def plain_rows(batch: PredictionBatch) -> list[tuple[object, ...]]:
    """The rows as tuples, which the yardstick gets for nothing."""
    rows = batch.rows
    columns = [rows.column(name).to_pylist() for name in ("prediction_id", "score", "latency_seconds")]
    times = rows.column("timestamp").cast("int64").to_pylist()
    values = [child.to_pylist() for child in rows.column("features").combine_chunks().flatten()]
    return list(zip(columns[0], times, *columns[1:], *values, strict=True))


def storing(folder: str, features: int) -> None:
    """Four writers; rows per second next to the yardstick, and whether all is there exactly once."""
    total = PROCESSES * BATCHES[features] * ROWS
    url = f"sqlite:///{folder}/bench-{features}.db"
    open_store(url).close()
    whole, taken = four_processes(url, features)
    bare = bare_sqlite(Path(folder) / f"plain-{features}.db", features)
    store = SQLiteStore(url.removeprefix("sqlite:///"))
    stored = store.count("bench", "v1", 0, NOON * 2)
    in_leaves = sum(leaf.n for leaf in store.leaves("bench", "v1", 0, NOON * 2))
    rows = store.read("bench", "v1", 0, NOON * 2, columns=["prediction_id"])
    distinct = len(set(rows["prediction_id"].to_pylist()))
    size = store.info()["bytes"]
    print(f"store, {PROCESSES} processes, {features} float features: {total / whole:,.0f} rows/s, ", end="")
    print(f"SQLite's own executemany by one: {total / bare:,.0f} rows/s; ratio {bare / whole:.2f}")
    p50, p99, worst = np.quantile(taken, [0.5, 0.99, 1.0]) * 1e3
    print(f"  one append of {ROWS:,} rows: p50 {p50:.0f} ms, p99 {p99:.0f} ms, worst {worst:.0f} ms")
    print(f"  {total:,} rows sent, {stored:,} stored, {in_leaves:,} in leaves, {distinct:,} distinct ids")
    print(f"  {size / total:.0f} bytes a row on disk")
    if not total == stored == in_leaves == distinct:
        raise SystemExit("rows were lost or stored twice")
    if features == max(BATCHES):
        reading_and_labels(store, rows["prediction_id"].to_pylist())
    store.close()


def reading_and_labels(store: SQLiteStore, ids: list[str]) -> None:
    """A window as columns, labels joined, rows pruned and predictions deleted, each timed once."""
    begin = time.perf_counter()
    window = store.read("bench", "v1", 0, NOON * 2, limit=100_000)
    seconds = time.perf_counter() - begin
    values = window.num_rows * (window.num_columns - 13)
    print(f"  a window of {window.num_rows:,} x {window.num_columns - 13} as columns: {seconds * 1e3:.0f} ms, ", end="")
    print(f"{values / seconds / 1e6:.0f} million values/s")
    begin = time.perf_counter()
    matched = 0
    for first in range(0, len(ids), ROWS):
        matched += store.add_labels([Label(i, "1", NOON) for i in ids[first : first + ROWS]]).matched
    seconds = time.perf_counter() - begin
    print(f"  labels joined: {matched / seconds:,.0f} a second, {matched:,} of {len(ids):,}")
    begin = time.perf_counter()
    deleted = store.delete(prediction_ids=ids[::2_000])
    seconds = time.perf_counter() - begin
    print(f"  {deleted} predictions deleted from {deleted} batches, and looked for in the file: {seconds:.2f} s")
    begin = time.perf_counter()
    pruned = store.prune(rows_before_us=NOON + 1)
    print(f"  {pruned.rows:,} rows pruned: {time.perf_counter() - begin:.2f} s")


def main() -> None:
    """Print rows per second, the ratio, the slowest appends, and what reading, labels and pruning cost."""
    with tempfile.TemporaryDirectory() as folder:
        for features in BATCHES:
            storing(folder, features)


if __name__ == "__main__":
    main()
