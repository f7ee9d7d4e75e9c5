"""How fast four processes store predictions in one SQLite file, relative to what SQLite alone can do.

Each appends batches of 1,000 rows with 20 float features through ``SQLiteStore.append``; the yardstick is one
process that writes blobs of the same bytes with a bare ``executemany``, a transaction a batch, in the same run,
without and with the index rows by which a prediction is found again.
Afterwards every row must be there once, with its leaf.
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
from driftwell.stores.base import HOUR_US, ROW_COLUMNS, Leaf, PredictionBatch
from driftwell.stores.sqlite.encoding import columns_of, encode

PROCESSES = 4
BATCHES = 60
ROWS = 1_000
FEATURES = 20
NOON = 490_908 * HOUR_US  # 2026-01-01T12:00Z
LEAF = bytes(16_000)  # about the size of a profile of so many rows


def make_batch(process: int, number: int) -> PredictionBatch:
    """Random floats that do not compress; ids that ascend within a process, as UUIDv7 do."""
    rng = np.random.default_rng((process, number))
    features = pa.StructArray.from_arrays(
        [pa.array(rng.normal(size=ROWS)) for _ in range(FEATURES)], [f"f{i}" for i in range(FEATURES)]
    )
    first = number * ROWS
    times = NOON + (np.arange(ROWS) + first) * 1_000
    columns = {name: pa.nulls(ROWS, pa.string()) for name in ROW_COLUMNS} | {
        "prediction_id": pa.array([f"019b-{first + i:09}-{process}-5f7d-a1b2c3d4e5f6" for i in range(ROWS)]),
        "timestamp": pa.array(times, pa.timestamp("us", "UTC")),
        "prediction": pa.array(["1"] * ROWS),
        "score": pa.array(rng.random(ROWS)),
        "latency_seconds": pa.array(rng.random(ROWS)),
        "features": features,
    }
    hashes = rng.integers(1 << 62, size=ROWS)
    return PredictionBatch(f"{process}-{number}", "bench", "v1", pa.table(columns), hashes, NOON)


def one_leaf(batch: PredictionBatch) -> list[Leaf]:
    """A leaf of a fixed size: building profiles is measured elsewhere."""
    return [Leaf("bench", "v1", None, NOON, "bench", len(batch), LEAF)]


def append_all(url: str, process: int, start: Barrier, seconds: multiprocessing.SimpleQueue[list[float]]) -> None:
    """One writer: makes its batches, waits for the others, appends them, reports the seconds of each."""
    store = open_store(url)
    batches = [make_batch(process, number) for number in range(BATCHES)]
    start.wait()
    taken = []
    for batch in batches:
        before = time.perf_counter()
        store.append(batch, one_leaf)
        taken.append(time.perf_counter() - before)
    start.wait()
    seconds.put(taken)
    store.close()


def four_processes(url: str) -> tuple[float, list[float]]:
    """Seconds from the common start to the last commit, and the seconds of every append."""
    spawn = multiprocessing.get_context("spawn")
    start, seconds = spawn.Barrier(PROCESSES + 1), spawn.SimpleQueue()
    writers = [spawn.Process(target=append_all, args=(url, p, start, seconds)) for p in range(PROCESSES)]
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


def bare_sqlite(path: Path, *, with_rows: bool) -> float:
    """Seconds in which one process writes as many blobs of the same bytes, a transaction each.

    ``with_rows`` also writes the 1,000 indexed rows of each batch, into the store's own table.
    """
    open_store(f"sqlite:///{path}").close()
    blobs = [encode(columns_of(make_batch(0, number).rows))[1] for number in range(8)]
    connection = apsw.Connection(str(path))
    connection.pragma("synchronous", "normal")
    connection.execute("CREATE TABLE blobs (id INTEGER PRIMARY KEY, blob BLOB)")
    sql = f"INSERT INTO predictions VALUES ({', '.join('?' * 12)})"
    before = time.perf_counter()
    for number in range(PROCESSES * BATCHES):
        with connection:
            connection.executemany("INSERT INTO blobs (blob) VALUES (?)", [(blobs[number % 8],)])
            if with_rows:
                keys = range(number * ROWS, (number + 1) * ROWS)
                connection.executemany(sql, ((k, 1, f"{k:040}", k, k, "1", k / 7, *[None] * 5) for k in keys))
    whole = time.perf_counter() - before
    connection.close()
    return whole


def main() -> None:
    """Print rows per second, the ratio, the slowest appends, and whether all is there exactly once."""
    total = PROCESSES * BATCHES * ROWS
    with tempfile.TemporaryDirectory() as folder:
        url = f"sqlite:///{folder}/bench.db"
        open_store(url).close()
        whole, taken = four_processes(url)
        bare = bare_sqlite(Path(folder) / "blobs.db", with_rows=False)
        indexed = bare_sqlite(Path(folder) / "rows.db", with_rows=True)
        store = open_store(url)
        stored = store.count("bench", "v1", 0, NOON * 2)
        in_leaves = sum(leaf.n for leaf in store.leaves("bench", "v1", 0, NOON * 2))
        rows = store.read("bench", "v1", 0, NOON * 2, columns=["prediction_id"])
        distinct = len(set(rows["prediction_id"].to_pylist()))
        size = store.info()["bytes"]
        store.close()
    print(f"store, {PROCESSES} processes, {FEATURES} float features: {total / whole:,.0f} rows/s")
    print(f"  one process, bare blobs:               {total / bare:,.0f} rows/s; ratio {bare / whole:.2f}")
    print(f"  one process, bare blobs and index rows: {total / indexed:,.0f} rows/s; ratio {indexed / whole:.2f}")
    p50, p99, worst = np.quantile(taken, [0.5, 0.99, 1.0]) * 1e3
    print(f"  one append of {ROWS:,} rows: p50 {p50:.0f} ms, p99 {p99:.0f} ms, worst {worst:.0f} ms")
    print(f"  {total:,} rows sent, {stored:,} stored, {in_leaves:,} in leaves, {distinct:,} distinct ids")
    print(f"  {size / total:.0f} bytes a row on disk")
    if not total == stored == in_leaves == distinct:
        raise SystemExit("rows were lost or stored twice")


if __name__ == "__main__":
    main()
