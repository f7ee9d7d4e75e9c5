"""How fast predictions go into InfluxDB and come back, relative to posting the same line protocol directly.

A real influxd runs on a loopback port. The yardstick posts prebuilt, compressed lines of the same points from one
process. Every row must be there afterwards, each feature with its value.
"""

from __future__ import annotations

import gzip
import http.client
import multiprocessing
import time
from multiprocessing.synchronize import Barrier
from urllib.parse import urlencode

import numpy as np
import pyarrow as pa
from tests.servers.influx import PASSWORD, USER, InfluxServer, available

from driftwell.stores.base import HOUR_US, ROW_COLUMNS, Label, PredictionBatch
from driftwell.stores.encoding import columns_of
from driftwell.stores.influx import InfluxStore
from driftwell.stores.influx.append import free_places
from driftwell.stores.influx.cells import feature_lines
from driftwell.stores.influx.lines import portions
from driftwell.stores.influx.points import Arrived, prediction_lines

PROCESSES = 4
ROWS = 1_000
BATCHES = {10: 40, 100: 8}
TURNS = 4
READ_ROWS, READ_COLUMNS = 100_000, 100
NOON = 490_908 * HOUR_US  # 2026-01-01T12:00Z
EVER = (0, NOON * 2)


def make_batch(process: int, number: int, columns: int, rows: int = ROWS, model: str = "bench") -> PredictionBatch:
    """Random floats; ids and event times that ascend within a process."""
    rng = np.random.default_rng((process, number))
    names = [f"f{i}" for i in range(columns)]
    features = pa.StructArray.from_arrays([pa.array(rng.normal(size=rows)) for _ in names], names)
    first = number * rows
    times = NOON + (np.arange(rows) + first) * 1_000
    row_columns = {name: pa.nulls(rows, pa.string()) for name in ROW_COLUMNS} | {
        "prediction_id": pa.array([f"019b-{first + i:09}-{process}-5f7d-a1b2c3d4e5f6" for i in range(rows)]),
        "timestamp": pa.array(times, pa.timestamp("us", "UTC")),
        "prediction": pa.array(["1"] * rows),
        "score": pa.array(rng.random(rows)),
        "latency_seconds": pa.array(rng.random(rows)),
        "features": features,
    }
    hashes = rng.integers(1 << 62, size=rows)
    return PredictionBatch(f"{model}-{process}-{number}", model, "v1", pa.table(row_columns), hashes, NOON + number)


def no_leaves(batch: PredictionBatch) -> list[object]:
    """Building profiles is measured elsewhere."""
    return []


def append_all(url: str, process: int, columns: int, start: Barrier) -> None:
    """One writer of several: makes its batches, waits for the others, appends."""
    store = InfluxStore(url)
    batches = [make_batch(process, number, columns) for number in range(BATCHES[columns] // PROCESSES)]
    start.wait()
    for batch in batches:
        store.append(batch, no_leaves)
    start.wait()
    store.close()


def one_process(url: str, columns: int) -> float:
    """Seconds in which one process appends all batches."""
    store = InfluxStore(url)
    batches = [make_batch(0, number, columns) for number in range(BATCHES[columns])]
    before = time.perf_counter()
    for batch in batches:
        store.append(batch, no_leaves)
    whole = time.perf_counter() - before
    store.close()
    return whole


def four_processes(url: str, columns: int) -> float:
    """Seconds from the common start to the last answer."""
    spawn = multiprocessing.get_context("spawn")
    start = spawn.Barrier(PROCESSES + 1, timeout=300)
    writers = [spawn.Process(target=append_all, args=(url, p, columns, start)) for p in range(PROCESSES)]
    for writer in writers:
        writer.start()
    start.wait()
    before = time.perf_counter()
    start.wait()
    whole = time.perf_counter() - before
    for writer in writers:
        writer.join()
    return whole


def lines_of(batch: PredictionBatch) -> list[bytes]:
    """The bodies of the requests by which the store writes this batch, compressed as it does."""
    flat = columns_of(batch.rows)
    ids, times = flat.column(0).to_pylist(), flat.column("timestamp").cast("int64").to_pylist()
    places = list(free_places(ids, times, set(), "0"))
    features = flat.select(list(range(len(ROW_COLUMNS) + 1, flat.num_columns)))
    arrived = Arrived(batch.model, batch.version, batch.batch_id, batch.arrived_us, batch.arrived_us, "0" * 16)
    cells = feature_lines(batch.model, batch.version, features, ids, places)
    rows = prediction_lines(arrived, batch.rows, batch.content_hash.tolist(), places, range(len(ids)), {})
    bodies = [*portions(cells), rows]
    return [gzip.compress("\n".join(lines).encode(), 1) for lines in bodies]


def bare_posts(server: InfluxServer, database: str, columns: int) -> float:
    """Seconds in which one process posts the same points, built beforehand, over one connection."""
    server.ask(f"CREATE DATABASE {database}")
    bodies = [body for number in range(BATCHES[columns]) for body in lines_of(make_batch(0, number, columns))]
    login = {"db": database, "precision": "ns", "u": USER, "p": PASSWORD}
    connection = http.client.HTTPConnection("127.0.0.1", server.port, timeout=60)
    before = time.perf_counter()
    for body in bodies:
        connection.request("POST", f"/write?{urlencode(login)}", body, {"Content-Encoding": "gzip"})
        answer = connection.getresponse()
        if answer.read() or answer.status != 204:
            raise SystemExit(f"the server answered {answer.status}")
    whole = time.perf_counter() - before
    connection.close()
    return whole


def writing(server: InfluxServer) -> None:
    """Print rows a second of one and of four writers, and the ratio to the yardstick."""
    for columns, batches in BATCHES.items():
        total = batches * ROWS
        # In turns, and the best of each: other work on the machine hits both alike.
        bare = one = four = float("inf")
        for turn in range(TURNS):
            bare = min(bare, bare_posts(server, f"bare{columns}_{turn}", columns))
            one = min(one, one_process(server.database(f"one{columns}_{turn}"), columns))
            four = min(four, four_processes(server.database(f"four{columns}_{turn}"), columns))
        print(f"append of {ROWS:,} rows x {columns} columns: {total / one:,.0f} rows/s, ratio {bare / one:.2f}")
        print(f"  prebuilt lines, posted directly: {total / bare:,.0f} rows/s")
        print(f"  four writers: {total / four:,.0f} rows/s, ratio {bare / four:.2f}")
        for name in (f"{kind}{columns}_{turn}" for kind in ("one", "four") for turn in range(TURNS)):
            store = InfluxStore(server.database(name))
            stored = store.count("bench", "v1", *EVER)
            store.close()
            if stored != total:
                raise SystemExit(f"{stored:,} rows are stored of {total:,}")


def reading(server: InfluxServer) -> None:
    """Print how long a window takes, all features of it, and labels a second."""
    store = InfluxStore(server.database("window"))
    for number in range(READ_ROWS // 10_000):
        store.append(make_batch(0, number, READ_COLUMNS, 10_000, "window"), no_leaves)
    before = time.perf_counter()
    rows = store.read("window", "v1", *EVER)
    whole = time.perf_counter() - before
    expected = make_batch(0, 3, READ_COLUMNS, 10_000, "window").rows["features"].combine_chunks().field("f7")
    if rows.num_rows != READ_ROWS or not rows["f7"].slice(30_000, 10_000).combine_chunks().equals(expected):
        raise SystemExit("rows are missing or differ")
    print(f"read of {READ_ROWS:,} rows x {READ_COLUMNS} columns: {whole:.1f} s")
    for what, ask in {
        "outcomes of all": lambda: store.outcomes("window", "v1", *EVER),
        "read of one column of all": lambda: store.read("window", "v1", *EVER, columns=["f0"]),
        "count": lambda: store.count("window", "v1", *EVER),
        "totals": lambda: store.totals("window", "v1"),
        "recent 10": lambda: store.recent("window", "v1", 10),
    }.items():
        before = time.perf_counter()
        ask()
        print(f"  {what}: {time.perf_counter() - before:.3f} s")
    ids = rows["prediction_id"].to_pylist()
    for size in (1, 1_000, 10_000):
        labels = [Label(name, "1", NOON) for name in ids[size : 2 * size]]
        before = time.perf_counter()
        counts = store.add_labels(labels)
        taken = time.perf_counter() - before
        if counts.matched != size:
            raise SystemExit(f"{counts.matched} labels matched of {size}")
        print(f"  {size:,} labels at once, among {READ_ROWS:,} predictions: {size / taken:,.0f} labels/s")
    print(f"  {(store.info()['bytes'] or 0) / READ_ROWS:,.0f} bytes a row on disk")
    store.close()


def main() -> None:
    """Run against a server of its own."""
    if not available():
        raise SystemExit("influxd is not installed: apt-get install influxdb")
    with InfluxServer() as server:
        writing(server)
        reading(server)


if __name__ == "__main__":
    main()
