"""What a comparison costs, against ``np.sort`` of the same columns in the same run (medians of five)."""

from __future__ import annotations

import statistics
import time
import tracemalloc
from collections.abc import Callable
from typing import Any

import numpy as np
import pyarrow as pa
import pyarrow.compute as pc

import driftwell as dw

ROWS, COLUMNS = 100_000, 100
METHODS = ["psi", "ks", "wasserstein", "jensen_shannon"]

Table = dict[str, Any]


def median(work: Callable[[], object], repeats: int = 5) -> float:
    """Median seconds."""
    times = []
    for _ in range(repeats):
        start = time.perf_counter()
        work()
        times.append(time.perf_counter() - start)
    return statistics.median(times)


def floats(rng: np.random.Generator, rows: int, columns: int) -> Table:
    """Columns of independent normal values."""
    return {f"f{i}": rng.normal(size=rows) for i in range(columns)}


def integers(rng: np.random.Generator, rows: int, columns: int) -> Table:
    """Columns of whole numbers with many repeats."""
    return {f"f{i}": rng.poisson(1_000, rows) for i in range(columns)}


def with_holes(rng: np.random.Generator, table: Table) -> Table:
    """The same with a fifth of the cells missing."""
    return {name: pa.array(values, mask=rng.random(len(values)) < 0.2) for name, values in table.items()}


def sort_all(*tables: Table) -> None:
    """Sort every column, one after the other."""
    for table in tables:
        for values in table.values():
            np.sort(values)


def against_reference(what: str, before: Table, after: Table, sorts: float) -> None:
    """Print the cost of a comparison with a reference that is there already."""
    reference = dw.Reference.from_data(before)
    spent = median(lambda: dw.compare(reference, after, method=METHODS))
    print(f"  {what}: {spent / sorts:.2f} × the sorts ({spent * 1e3:.0f} ms)", flush=True)


def peak_mebibytes(work: Callable[[], object]) -> float:
    """Peak of the memory allocated while ``work`` runs."""
    tracemalloc.start()
    work()
    peak = tracemalloc.get_traced_memory()[1]
    tracemalloc.stop()
    return peak / 2**20


def floats_section(rng: np.random.Generator) -> None:
    """Floats without and with missing cells, against a Reference and from two raw tables."""
    before, after = floats(rng, ROWS, COLUMNS), floats(rng, ROWS, COLUMNS)
    sort = median(lambda: sort_all(after))
    print(f"{ROWS:,} × {COLUMNS} float64, {' + '.join(METHODS)}; np.sort of them on one thread: {sort * 1e3:.0f} ms")
    against_reference("against a ready Reference", before, after, sort)
    against_reference("the same with 20 % missing", before, with_holes(rng, after), sort)
    both = median(lambda: sort_all(before, after))
    raw = median(lambda: dw.compare(before, after, method=METHODS), 3)
    print(f"  two raw tables, exact KS and Wasserstein: {raw / both:.2f} × the sorts of both ({raw * 1e3:.0f} ms)")
    reference = dw.Reference.from_data(before)
    ready = peak_mebibytes(lambda: dw.compare(reference, after, method=METHODS))
    exact = peak_mebibytes(lambda: dw.compare(before, after, method=METHODS))
    print(f"  peak memory beyond the input: {ready:.0f} MiB against a Reference, {exact:.0f} MiB from two raw tables")


def other_section(what: str, old: Table, new: Table) -> None:
    """Another shape against a ready Reference."""
    print(what)
    against_reference("against a ready Reference", old, new, median(lambda: sort_all(new)))


def strings_section(rng: np.random.Generator) -> None:
    """Strings, against dictionary-encoding them."""
    texts = {f"c{i}": pa.array(rng.choice([f"category {k}" for k in range(50)], ROWS)) for i in range(20)}
    vocabulary = dw.Reference.from_data(texts)
    encode = median(lambda: [pc.dictionary_encode(values) for values in texts.values()])
    strings = median(lambda: dw.compare(vocabulary, texts))
    print(f"{ROWS:,} × 20 strings of 50 categories: {strings / encode:.2f} × dictionary-encoding them")


def main() -> None:
    """Print the ratios."""
    rng = np.random.default_rng(0)
    floats_section(rng)
    other_section(f"{ROWS:,} × {COLUMNS} int64", integers(rng, ROWS, COLUMNS), integers(rng, ROWS, COLUMNS))
    other_section("10,000 × 1,000 float64", floats(rng, 10_000, 1_000), floats(rng, 10_000, 1_000))
    strings_section(rng)


if __name__ == "__main__":
    main()
