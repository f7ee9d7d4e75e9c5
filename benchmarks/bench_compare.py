"""What a comparison costs, against ``np.sort`` of the same columns in the same run (medians of five)."""

from __future__ import annotations

import statistics
import time
import tracemalloc
from collections.abc import Callable

import numpy as np
import pyarrow as pa
import pyarrow.compute as pc

import driftwell as dw

ROWS, COLUMNS = 100_000, 100
METHODS = ["psi", "ks", "wasserstein"]


def median(work: Callable[[], object], repeats: int = 5) -> float:
    """Median seconds."""
    times = []
    for _ in range(repeats):
        start = time.perf_counter()
        work()
        times.append(time.perf_counter() - start)
    return statistics.median(times)


def main() -> None:
    """Print the ratios."""
    rng = np.random.default_rng(0)
    before = {f"f{i}": rng.normal(size=ROWS) for i in range(COLUMNS)}
    after = {f"f{i}": rng.normal(size=ROWS) for i in range(COLUMNS)}
    holes = {name: pa.array(values, mask=rng.random(ROWS) < 0.2) for name, values in after.items()}
    reference = dw.Reference.from_data(before)
    sort = median(lambda: [np.sort(values) for values in after.values()])
    both = median(lambda: [np.sort(values) for table in (before, after) for values in table.values()])
    print(f"np.sort of {ROWS:,} × {COLUMNS} float64, one thread: {sort * 1e3:.0f} ms")
    ready = median(lambda: dw.compare(reference, after, method=METHODS))
    print(f"compare against a ready Reference, PSI + KS + Wasserstein on every column: {ready / sort:.2f} × the sorts")
    gaps = median(lambda: dw.compare(reference, holes, method=METHODS))
    print(f"the same with 20 % missing: {gaps / sort:.2f} ×")
    raw = median(lambda: dw.compare(before, after, method=METHODS), 3)
    print(f"two raw tables, exact KS and Wasserstein: {raw / both:.2f} × the sorts of both")

    texts = {f"c{i}": pa.array(rng.choice([f"category {k}" for k in range(50)], ROWS)) for i in range(20)}
    vocabulary = dw.Reference.from_data(texts)
    encode = median(lambda: [pc.dictionary_encode(values) for values in texts.values()])
    strings = median(lambda: dw.compare(vocabulary, texts))
    print(f"50-category strings, {ROWS:,} × 20: {strings / encode:.2f} × dictionary-encoding them")

    tracemalloc.start()
    dw.compare(reference, after, method=METHODS)
    peak = tracemalloc.get_traced_memory()[1]
    tracemalloc.stop()
    print(f"peak memory beyond the input: {peak / 2**20:.0f} MiB")


if __name__ == "__main__":
    main()
