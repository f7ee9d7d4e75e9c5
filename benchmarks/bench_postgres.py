"""How fast predictions go into PostgreSQL and come back, relative to what the driver alone can do.

Batches of 1,000 rows go through ``PostgresStore.append``; the yardstick is psycopg's own ``COPY … BINARY`` of the same
rows and columns into a plain table without an index, a transaction a batch, in the same run. Then a window of 100,000
rows is read, and labels are joined to predictions. A server of its own is started; it does not sync to disk.
"""

from __future__ import annotations

import multiprocessing
import statistics
import time
from collections.abc import Callable
from multiprocessing.synchronize import Barrier

import numpy as np
import psycopg
import pyarrow as pa
from tests.servers.postgres import PostgresServer, available

from driftwell.stores.base import HOUR_US, ROW_COLUMNS, Label, Leaf, PredictionBatch
from driftwell.stores.postgres import PostgresStore

PROCESSES = 4
ROWS = 1_000
BATCHES = 40
REPEATS = 3
WINDOW = 100_000
LABELS = 20_000
NOON = 490_908 * HOUR_US  # 2026-01-01T12:00Z
LEAF = bytes(16_000)  # about the size of a profile of so many rows
NARROW = ("prediction_id", "timestamp", "prediction", "score", "segment", "entity_id", "latency_seconds")


def make_batch(process: int, number: int, columns: int, rows: int = ROWS, model: str = "bench") -> PredictionBatch:
    """Random floats that do not compress; ids that ascend within a process, as UUIDv7 do."""
    rng = np.random.default_rng((process, number, columns))
    features = pa.StructArray.from_arrays(
        [pa.array(rng.normal(size=rows)) for _ in range(columns)], [f"f{i}" for i in range(columns)]
    )
    first = number * rows
    filled = {name: pa.nulls(rows, pa.string()) for name in ROW_COLUMNS} | {
        "prediction_id": pa.array([f"019b-{first + i:09}-{process}-5f7d-a1b2c3d4e5f6" for i in range(rows)]),
        "timestamp": pa.array(NOON + (np.arange(rows) + first) * 1_000, pa.timestamp("us", "UTC")),
        "prediction": pa.array(["1"] * rows),
        "score": pa.array(rng.random(rows)),
        "latency_seconds": pa.array(rng.random(rows)),
        "features": features,
    }
    hashes = rng.integers(1 << 62, size=rows)
    return PredictionBatch(f"{columns}-{process}-{number}", model, f"v{columns}", pa.table(filled), hashes, NOON)


def one_leaf(batch: PredictionBatch) -> list[Leaf]:
    """A leaf of a fixed size: building profiles is measured elsewhere."""
    return [Leaf(batch.model, batch.version, None, NOON, "bench", len(batch), LEAF)]


def append_all(store: PostgresStore, batches: list[PredictionBatch]) -> list[float]:
    """The seconds of every append."""
    taken = []
    for batch in batches:
        before = time.perf_counter()
        store.append(batch, one_leaf)
        taken.append(time.perf_counter() - before)
    return taken


def write(url: str, process: int, start: Barrier, seconds: multiprocessing.SimpleQueue[list[float]]) -> None:
    """One writer of several: makes its batches, waits for the others, appends them."""
    store = PostgresStore(url)
    batches = [make_batch(process, number, 10) for number in range(BATCHES)]
    start.wait()
    taken = append_all(store, batches)
    start.wait()
    seconds.put(taken)
    store.close()


def several_writers(url: str) -> tuple[float, list[float]]:
    """Seconds from the common start to the last commit, and those of every append."""
    spawn = multiprocessing.get_context("spawn")
    start, seconds = spawn.Barrier(PROCESSES + 1), spawn.SimpleQueue()
    writers = [spawn.Process(target=write, args=(url, process, start, seconds)) for process in range(PROCESSES)]
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


def bare_copy(url: str, batches: list[PredictionBatch]) -> float:
    """Seconds in which psycopg copies the same rows into a plain table, a transaction a batch.

    From Arrow columns to Python values is part of it, as it is of ``append``.
    """
    features = batches[0].rows.column("features").type
    kinds = ["text", "int8", "text", "float8", "text", "text", "float8", *["float8"] * features.num_fields]
    with psycopg.connect(url, autocommit=True) as connection:
        connection.execute("DROP TABLE IF EXISTS plain")
        connection.execute(f"CREATE TABLE plain ({', '.join(f'c{i} {kind}' for i, kind in enumerate(kinds))})")
        before = time.perf_counter()
        for batch in batches:
            heads = [batch.rows.column(name) for name in NARROW]
            heads[1] = heads[1].cast(pa.int64())
            columns = [
                column.to_pylist() for column in (*heads, *batch.rows.column("features").combine_chunks().flatten())
            ]
            with connection.cursor() as cursor, cursor.copy("COPY plain FROM STDIN (FORMAT BINARY)") as copy:
                copy.set_types(kinds)
                for row in zip(*columns, strict=True):
                    copy.write_row(row)
        return time.perf_counter() - before


def median_of(times: int, measured: Callable[[], float]) -> float:
    """The median of several measurements, in seconds."""
    return statistics.median(measured() for _ in range(times))


def seconds_of(action: Callable[[], object]) -> float:
    """How long it takes."""
    before = time.perf_counter()
    action()
    return time.perf_counter() - before


def bench_append(server: PostgresServer, columns: int) -> None:
    """One writer against a bare COPY, in turns; the median of three."""
    stores, copies, taken = [], [], []
    for repeat in range(REPEATS):
        batches = [make_batch(repeat, number, columns) for number in range(BATCHES)]
        copies.append(bare_copy(server.url, batches))
        store = PostgresStore(server.url)
        taken += append_all(store, batches)
        stores.append(sum(taken[-BATCHES:]))
        store.close()
    rows = BATCHES * ROWS
    mine, bare = statistics.median(stores), statistics.median(copies)
    print(
        f"append, {columns} features: {rows / mine:,.0f} rows/s; bare COPY {rows / bare:,.0f}; ratio {bare / mine:.2f}"
    )
    print(f"  one append of {ROWS:,} rows: p50 {np.median(taken) * 1e3:.0f} ms, worst {max(taken) * 1e3:.0f} ms")


def bench_writers(server: PostgresServer) -> None:
    """Four processes on one model, against one bare COPY of as many rows."""
    url = server.url_of(schema="writers")
    PostgresStore(url).close()
    bare = bare_copy(server.url, [make_batch(p, n, 10) for p in range(PROCESSES) for n in range(BATCHES)])
    whole, taken = several_writers(url)
    total = PROCESSES * BATCHES * ROWS
    print(f"append, 10 features, {PROCESSES} processes: {total / whole:,.0f} rows/s; ratio to COPY {bare / whole:.2f}")
    print(f"  one append of {ROWS:,} rows: p50 {np.median(taken) * 1e3:.0f} ms, worst {max(taken) * 1e3:.0f} ms")
    store = PostgresStore(url)
    stored = store.count("bench", "v10", 0, NOON * 2)
    in_leaves = sum(leaf.n for leaf in store.leaves("bench", "v10", 0, NOON * 2))
    distinct = len(set(store.read("bench", "v10", 0, NOON * 2, columns=["prediction_id"])["prediction_id"].to_pylist()))
    print(f"  {total:,} rows sent, {stored:,} stored, {in_leaves:,} in leaves, {distinct:,} distinct ids")
    store.close()
    if not total == stored == in_leaves == distinct:
        raise SystemExit("rows were lost or stored twice")


def bench_reading(server: PostgresServer) -> None:
    """A window of 100,000 rows and 100 columns, its outcomes, and what a page asks for."""
    store = PostgresStore(server.url_of(schema="reading"))
    for number in range(WINDOW // ROWS):
        store.append(make_batch(0, number, 100), one_leaf)
    window = ("bench", "v100", 0, NOON * 2)
    for name, action in {
        f"read {WINDOW:,} x 100": lambda: store.read(*window),
        f"read {WINDOW:,} x 1": lambda: store.read(*window, columns=["f7"]),
        f"outcomes of {WINDOW:,}": lambda: store.outcomes(*window),
        "count": lambda: store.count(*window),
        "newest 1,000": lambda: store.newest("bench", "v100", NOON * 2, 1_000),
        "totals": lambda: store.totals("bench", "v100"),
        "hourly_outputs": lambda: store.hourly_outputs("bench", "v100"),
    }.items():
        print(f"{name}: {median_of(5, lambda action=action: seconds_of(action)) * 1e3:,.1f} ms")
    labels = [Label(i, "1", NOON) for i in store.read(*window, columns=["prediction_id"])["prediction_id"].to_pylist()]
    seconds = [seconds_of(lambda i=i: store.add_labels(labels[i : i + 1_000])) for i in range(0, LABELS, 1_000)]
    print(f"labels joined: {1_000 / statistics.median(seconds):,.0f}/s, 1,000 at a time")
    some = [label.prediction_id for label in labels[:100]]
    print(f"delete 100 predictions: {seconds_of(lambda: store.delete(prediction_ids=some)) * 1e3:,.0f} ms")
    print(f"prune {WINDOW:,} rows: {seconds_of(lambda: store.prune(predictions_before_us=NOON + 1)) * 1e3:,.0f} ms")
    store.close()


def main() -> None:
    """Print rows per second, ratios to the bare driver, and medians."""
    if not available():
        raise SystemExit("no PostgreSQL server can be started here: apt-get install postgresql")
    server = PostgresServer().start()
    try:
        for columns in (10, 100):
            bench_append(server, columns)
        bench_writers(server)
        bench_reading(server)
    finally:
        server.close()


if __name__ == "__main__":
    main()
