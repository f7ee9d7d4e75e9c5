"""What recording costs: on the caller's thread relative to `json.dumps` of the same features, and through to the store.

Both durabilities: `queued` (in memory when the call returns) and `journal` (in the spool on disk). Then the memory of a
process that records at full rate while its store is dead; `--dead-store SECONDS` says for how long.

Both are timed call by call in turns, in one run, against a real SQLite file, while the recorder's thread stores what
has been offered. The clock's own cost is measured and taken off. Three numbers a row: the ratio of the medians, of the
99th percentiles, and the median microseconds.
"""

from __future__ import annotations

import argparse
import gc
import json
import os
import random
import tempfile
import time
from collections.abc import Callable

import numpy as np

import driftwell as dw
from driftwell.capture.recorder import Recorder
from driftwell.capture.spool.files import Spool
from driftwell.errors import StoreError

CALLS = 10_000
ROUND = 100
STORED_ROWS = 30_000
DEAD_SECONDS = 20.0


def features_of(width: int, rng: random.Random) -> dict[str, object]:
    """Mostly numbers, every fifth a short text, as a table of business data has them."""
    return {
        f"feature_{i:03}": rng.choice(("UA", "DL", "AA")) if i % 5 == 4 else rng.gauss(0, 100) for i in range(width)
    }


def seconds_of_each(call: Callable[[dict[str, object]], object], rows: list[dict[str, object]]) -> list[float]:
    """Seconds of each call."""
    clock, out = time.perf_counter, []
    for row in rows:
        start = clock()
        call(row)
        out.append(clock() - start)
    return out


def compare_with_json(monitor: dw.Monitor, width: int) -> tuple[float, float, float]:
    """Ratio at the median, ratio at the 99th percentile, median microseconds of `record_prediction`."""
    rng = random.Random(width)
    calls = {
        "nothing": lambda row: None,
        "json": json.dumps,
        "record": lambda row: monitor.record_prediction(row, 1, score=0.7),
    }
    spent: dict[str, list[float]] = {name: [] for name in calls}
    for _ in range(CALLS // ROUND):
        rows = [features_of(width, rng) for _ in range(ROUND)]
        for name, call in calls.items():
            spent[name] += seconds_of_each(call, rows)
        monitor.flush(0.001)  # a served model has pauses; without any the queue only grows
    empty = float(np.median(spent["nothing"]))
    low, high = (np.quantile(spent[name], [0.5, 0.99]) - empty for name in ("json", "record"))
    return float(high[0] / low[0]), float(high[1] / low[1]), float(high[0] * 1e6)


def rows_to_the_store(monitor: dw.Monitor) -> tuple[float, float]:
    """Rows a second until offered, and until stored."""
    rows = [features_of(20, random.Random(i)) for i in range(STORED_ROWS)]
    start = time.perf_counter()
    for row in rows:
        monitor.record_prediction(row, 1, score=0.7)
    offered = time.perf_counter()
    monitor.flush()
    stored = time.perf_counter()
    return STORED_ROWS / (offered - start), STORED_ROWS / (stored - start)


class DeadStore:
    """Fails whatever it is asked."""

    url = "dead://"

    def append(self, *args: object) -> None:
        raise StoreError("the store is dead")

    recent = add_labels = append


def resident_mb() -> float:
    """Memory of this process in MB (Linux)."""
    with open("/proc/self/statm") as file:
        return int(file.read().split()[1]) * os.sysconf("SC_PAGE_SIZE") / 1e6


def memory_under_a_dead_store(durability: str, seconds: float) -> None:
    """Print memory and numbers while one thread records as fast as it can and nothing can be stored."""
    rows = [features_of(20, random.Random(i)) for i in range(1_000)]
    with tempfile.TemporaryDirectory() as folder:
        recorder = Recorder(
            DeadStore(),  # type: ignore[arg-type]
            reference_for=lambda model, version: None,
            leaf_builder=lambda reference: lambda batch: [],
            spool=Spool(f"{folder}/spool", most_bytes=256 * 1024**2),
            durability=durability,
            queue_bytes=32 * 1024**2,
        )
        shown = [resident_mb()]
        start = time.monotonic()
        for quarter in range(1, 5):
            while time.monotonic() < start + seconds * quarter / 4:
                for row in rows:
                    recorder.offer("bench", "v1", row, 1, score=0.7)
            shown.append(resident_mb())
        stats = recorder.stats()
        recorder.close(0.0)
    print(
        f"{durability}, dead store for {seconds:g} s: RSS {' → '.join(f'{one:.0f}' for one in shown)} MB at start and"
        f" each quarter; {stats['offered']:,} offered, {stats['waiting']:,} wait, dropped {stats['dropped']}"
    )


def costs_of(durability: str) -> None:
    """Print what a record costs, and stop with an error if one was lost."""
    with tempfile.TemporaryDirectory() as folder:
        monitor = dw.Monitor("bench", version="v1", store=f"sqlite:///{folder}/bench.db", durability=durability)
        for width in (20, 200):
            gc.collect()
            p50, p99, microseconds = compare_with_json(monitor, width)
            print(
                f"record_prediction, {durability}, {width:3} features: {p50:.2f} × json.dumps at p50, {p99:.2f} × at"
                f" p99 ({microseconds:.1f} µs)"
            )
            monitor.flush()
        offered, stored = rows_to_the_store(monitor)
        print(
            f"one thread, {durability}, 20 features: {offered:,.0f} rows/s offered, {stored:,.0f} rows/s from call to"
            " stored"
        )
        stats = monitor.stats()
        monitor.close()
    if stats["stored"] != stats["offered"]:
        raise SystemExit(f"records were lost: {stats['dropped'] | stats['rejected']}")


def main(dead_seconds: float = DEAD_SECONDS) -> None:
    """Print the figures."""
    for durability in ("queued", "journal"):
        costs_of(durability)
    for durability in ("queued", "journal"):
        memory_under_a_dead_store(durability, dead_seconds)


if __name__ == "__main__":
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--dead-store", type=float, default=DEAD_SECONDS, metavar="SECONDS")
    main(parser.parse_args().dead_store)
