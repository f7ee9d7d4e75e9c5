"""What one check costs when a hundred times as many predictions are stored, and what the collector's answers cost.

A check over a window of whole hours merges the leaves of its hours, however many predictions these hold; the two
hours that a window cuts are read as rows. Hours are sealed into one leaf first, as the runtime does with crowded ones:
an hour of few flushes keeps a leaf for each (at most eight), which costs a check about a millisecond. Rows with a label
are read for the realized performance.

The default run compares 10,000 with 1,000,000 stored predictions; ``python -m benchmarks.bench_check --rows 10000000``
compares 100,000 with ten million (some minutes, 3 GB of disk).
"""

from __future__ import annotations

import argparse
import sys
import tempfile
import time
from collections.abc import Callable
from pathlib import Path

import numpy as np
import pyarrow as pa

from driftwell.config import settings_from
from driftwell.monitor.runtime import Runtime
from driftwell.monitor.windowing import from_us
from driftwell.profiles import Reference
from driftwell.stores import open_store
from driftwell.stores.base import HOUR_US, ROW_COLUMNS, PredictionBatch
from driftwell.stores.windows import leaf_builder

FEATURES = 20
LARGE = 1_000_000
TIMES = 100
"""How many times as many predictions the larger of two stores holds."""
BATCH = 25_000
HOURS = 40
LEAVES = 2_000
START = 490_896 * HOUR_US  # 2026-01-01T00:00Z


def make_batch(model: str, number: int, times: np.ndarray) -> PredictionBatch:
    """Normal features; ids that ascend, as UUIDv7 do."""
    rng = np.random.default_rng((len(model), number))
    n = len(times)
    features = pa.StructArray.from_arrays(
        [pa.array(rng.normal(size=n)) for _ in range(FEATURES)], [f"f{i}" for i in range(FEATURES)]
    )
    columns = {name: pa.nulls(n, pa.string()) for name in ROW_COLUMNS} | {
        "prediction_id": pa.array([f"{number:06}-{i:06}" for i in range(n)]),
        "timestamp": pa.array(times, pa.timestamp("us", "UTC")),
        "prediction": pa.array(["1"] * n),
        "score": pa.array(rng.random(n)),
        "latency_seconds": pa.nulls(n, pa.float64()),
        "features": features,
    }
    hashes = rng.integers(1 << 62, size=n)
    return PredictionBatch(f"{model}-{number}", model, "1", pa.table(columns), hashes, START)


def fill(runtime: Runtime, model: str, rows: int, reference: Reference) -> float:
    """Store ``rows`` predictions spread evenly over ``HOURS`` hours; the seconds that took."""
    before = time.perf_counter()
    runtime.ledger.put_reference(model, "1", reference.id, reference.to_json())
    build = leaf_builder(reference)
    times = START + np.arange(rows) * (HOURS * HOUR_US) // rows
    for number, first in enumerate(range(0, rows, BATCH)):
        runtime.store.append(make_batch(model, number, times[first : first + BATCH]), build)
    seconds = time.perf_counter() - before
    runtime.ledger.seal(START + HOURS * HOUR_US, more_than=1)
    return seconds


def fill_hours(runtime: Runtime, model: str) -> None:
    """One small batch an hour, for ``LEAVES`` hours: as many leaves, counted without a reference."""
    build = leaf_builder(None)
    for number in range(LEAVES):
        times = START + number * HOUR_US + np.arange(10) * 1_000_000
        runtime.store.append(make_batch(model, number, times), build)


def best(job: Callable[[], object], times: int = 5) -> float:
    """Seconds of the fastest run, in which the machine was least busy with anything else."""
    taken = []
    for _ in range(times):
        before = time.perf_counter()
        job()
        taken.append(time.perf_counter() - before)
    return min(taken)


def main() -> None:
    """Print the seconds of one check over few and over many predictions, and of the collector's answers."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--rows", type=int, default=LARGE, help="predictions in the larger store")
    large = parser.parse_args(sys.argv[1:] if "--rows" in sys.argv else []).rows
    small = large // TIMES
    rng = np.random.default_rng(1)
    reference = Reference.from_data({f"f{i}": rng.normal(size=20_000) for i in range(FEATURES)})
    with tempfile.TemporaryDirectory() as folder:
        store = open_store(f"sqlite:///{Path(folder) / 'bench.db'}")
        runtime = Runtime(store, store, settings_from({"channels": ["log"]}))
        end = from_us(START + HOURS * HOUR_US)
        seconds = {}
        for model, rows in (("small", small), ("large", large)):
            filled = fill(runtime, model, rows, reference)
            monitor = runtime.monitor(model, "1")
            result = monitor.check(f"PT{HOURS}H", at=end)
            if result.n_predictions != rows or result.drift["summary"]["n_current"] != rows:
                raise SystemExit(f"the check saw {result.n_predictions:,} of {rows:,} rows")
            seconds[rows] = best(lambda m=monitor: m.check(f"PT{HOURS}H", at=end))
            print(
                f"check of {HOURS} hours, {FEATURES} features, {rows:>10,} rows: {seconds[rows] * 1e3:6.0f} ms", end=""
            )
            print(f"   (stored at {rows / filled:,.0f} rows/s)")
        print(f"  a hundred times the rows cost {seconds[large] / seconds[small]:.2f} times as much")
        fill_hours(runtime, "hours")
        monitor = runtime.monitor("hours", "1")
        if monitor.collector_stats()["total_predictions"] != LEAVES * 10:
            raise SystemExit("rows were lost")
        print(f"collector_stats over {LEAVES:,} hourly leaves: {best(monitor.collector_stats) * 1e3:6.0f} ms")
        print(f"hourly_summary, all of them:       {best(lambda: monitor.hourly_summary(LEAVES)) * 1e3:6.0f} ms")
        print(f"hourly_summary, the newest 168:    {best(monitor.hourly_summary) * 1e3:6.0f} ms")
        runtime.close()


if __name__ == "__main__":
    main()
