"""How fast rows go through ``RedisStore.append``, relative to what redis-py alone can do with the same rows.

The yardstick is one process that writes the same Arrow bytes with ``RPUSH`` in pipelines, one entry for each 100 rows
(a driver that knows nothing of ids, times or labels), with and without the making of the bytes. Then four writers,
reading a window of 100,000 × 100, and labels a second. Needs a redis-server binary; nothing is written to disk.
"""

from __future__ import annotations

import multiprocessing
import os
import time
from collections.abc import Callable
from multiprocessing.synchronize import Barrier

import numpy as np
import pyarrow as pa
import redis
from tests.servers.redis import RedisServer, available

from driftwell.stores.base import HOUR_US, ROW_COLUMNS, Label, PredictionBatch
from driftwell.stores.encoding import columns_of, encode
from driftwell.stores.redis import RedisStore

WRITERS = 4
ROWS = 1_000  # of a batch
ENTRY_ROWS = 100  # of an entry of the yardstick
NOON = 490_908 * HOUR_US  # 2026-01-01T12:00Z
ALWAYS = (0, NOON * 2)


def make_batch(writer: int, number: int, features: int) -> PredictionBatch:
    """Random floats that do not compress; ids that ascend within a writer, as UUIDv7 do."""
    rng = np.random.default_rng((writer, number))
    struct = pa.StructArray.from_arrays(
        [pa.array(rng.normal(size=ROWS)) for _ in range(features)], [f"f{i}" for i in range(features)]
    )
    first = number * ROWS
    columns = {name: pa.nulls(ROWS, pa.string()) for name in ROW_COLUMNS} | {
        "prediction_id": pa.array([f"019b-{first + i:09}-{writer}-5f7d-a1b2c3d4e5f6" for i in range(ROWS)]),
        "timestamp": pa.array(NOON + (np.arange(ROWS) + first) * 1_000, pa.timestamp("us", "UTC")),
        "prediction": pa.array(["1"] * ROWS),
        "score": pa.array(rng.random(ROWS)),
        "latency_seconds": pa.array(rng.random(ROWS)),
        "features": struct,
    }
    hashes = rng.integers(1 << 62, size=ROWS)
    return PredictionBatch(f"{writer}-{number}", "bench", "v1", pa.table(columns), hashes, NOON)


def no_leaves(batch: PredictionBatch) -> list[object]:
    """Building profiles is measured elsewhere."""
    return []


def seconds(work: Callable[[], object]) -> float:
    """How long ``work`` takes."""
    before = time.perf_counter()
    work()
    return time.perf_counter() - before


def entries_of(batch: PredictionBatch) -> list[bytes]:
    """The batch as entries of 100 rows, in bytes as the store makes them."""
    flat = columns_of(batch.rows)
    return [encode(flat.slice(first, ENTRY_ROWS))[1] for first in range(0, ROWS, ENTRY_ROWS)]


def push(client: redis.Redis, entries: list[list[bytes]]) -> None:
    """One pipeline a batch."""
    for batch in entries:
        pipeline = client.pipeline(transaction=False)
        for entry in batch:
            pipeline.rpush("bare", entry)
        pipeline.execute()


def bare_driver(url: str, batches: list[PredictionBatch]) -> tuple[float, float]:
    """Seconds in which the driver alone writes the rows: without and with making the bytes."""
    client = redis.Redis.from_url(url)
    making = seconds(lambda: [entries_of(batch) for batch in batches])
    entries = [entries_of(batch) for batch in batches]
    writing = seconds(lambda: push(client, entries))
    client.close()
    return writing, making + writing


def append_all(
    url: str, writer: int, batches: int, features: int, start: Barrier, taken: multiprocessing.SimpleQueue[list[float]]
) -> None:
    """One writer: makes its batches, waits for the others, appends them, reports the seconds of each."""
    store = RedisStore(url)
    made = [make_batch(writer, number, features) for number in range(batches)]
    start.wait()
    times = [seconds(lambda batch=batch: store.append(batch, no_leaves)) for batch in made]
    start.wait()
    taken.put(times)
    store.close()


def together(url: str, batches: int, features: int) -> tuple[float, list[float]]:
    """Seconds from the common start of four writers to the last answer, and those of every append."""
    spawn = multiprocessing.get_context("spawn")
    start, taken = spawn.Barrier(WRITERS + 1), spawn.SimpleQueue()
    writers = [
        spawn.Process(target=append_all, args=(url, w, batches // WRITERS, features, start, taken))
        for w in range(WRITERS)
    ]
    for writer in writers:
        writer.start()
    start.wait()
    whole = seconds(start.wait)
    times = [each for _ in writers for each in taken.get()]
    for writer in writers:
        writer.join()
    return whole, times


def measure(server: RedisServer, features: int, batches: int) -> RedisStore:
    """Print the figures of appending; the store with the rows of the four writers."""
    total = batches * ROWS
    made = [make_batch(9, number, features) for number in range(batches)]
    server.cli("FLUSHALL")
    writing, with_making = bare_driver(server.url, made)
    server.cli("FLUSHALL")
    store = RedisStore(server.url)
    one = seconds(lambda: [store.append(batch, no_leaves) for batch in made])
    store.close()
    server.cli("FLUSHALL")
    whole, taken = together(server.url, batches, features)
    store = RedisStore(server.url)
    stored = store.count("bench", "v1", *ALWAYS)
    distinct = len(set(store.read("bench", "v1", *ALWAYS, columns=["prediction_id"])["prediction_id"].to_pylist()))
    print(f"{features} float features, batches of {ROWS:,} rows:")
    print(f"  driver alone, entries of {ENTRY_ROWS}: {total / writing:>10,.0f} rows/s ready bytes,")
    print(f"  {'':31}{total / with_making:>10,.0f} rows/s with making them")
    for who, taking in (("one writer", one), (f"{WRITERS} writers", whole)):
        ratios = f"ratio {writing / taking:.2f}, {with_making / taking:.2f}"
        print(f"  append, {who}: {total / taking:,.0f} rows/s; {ratios}")
    p50, p99, worst = np.quantile(taken, [0.5, 0.99, 1.0]) * 1e3
    print(f"  one append of the four: p50 {p50:.0f} ms, p99 {p99:.0f} ms, worst {worst:.0f} ms")
    print(f"  {store.info()['bytes'] / total:.0f} bytes a row in memory")
    if not total == stored == distinct:
        raise SystemExit(f"{total:,} rows sent, {stored:,} stored, {distinct:,} distinct: lost or stored twice")
    return store


def main() -> None:
    """Print rows, reads and labels a second."""
    if not available():
        raise SystemExit("needs a redis-server binary and redis-py")
    print(f"{os.cpu_count()} cores")
    with RedisServer() as server:
        measure(server, 10, 200).close()
        store = measure(server, 100, 100)
        n = store.read("bench", "v1", *ALWAYS).num_rows
        best = min(seconds(lambda: store.read("bench", "v1", *ALWAYS)) for _ in range(3))
        ten = [f"f{i}" for i in range(10)]
        few = min(seconds(lambda: store.read("bench", "v1", *ALWAYS, columns=ten)) for _ in range(3))
        narrow = min(seconds(lambda: store.outcomes("bench", "v1", *ALWAYS)) for _ in range(3))
        print(f"read a window of {n:,} × 100: {best:.2f} s; 10 of its columns {few:.2f} s; outcomes {narrow:.2f} s")
        ids = store.outcomes("bench", "v1", *ALWAYS)["prediction_id"].to_pylist()
        labels = [Label(i, "1", NOON) for i in ids]
        taken = seconds(lambda: store.add_labels(labels))
        joined = store.totals("bench", "v1")["labels"]
        print(f"labels: {len(labels) / taken:,.0f}/s joined ({joined:,} of {len(labels):,})")
        print(f"read with labels: {seconds(lambda: store.read('bench', 'v1', *ALWAYS)):.2f} s")
        store.close()


if __name__ == "__main__":
    main()
