"""What profiles cost: nanoseconds a cell to build, against ``np.sort`` of the same columns in the same run (medians of
five), merging, and bytes."""

from __future__ import annotations

import numpy as np

import driftwell as dw
from benchmarks.bench_compare import Table, floats, integers, median, sort_all, with_holes
from driftwell.profiles import Profile, Reference, merge_profiles

ROWS, COLUMNS = 100_000, 100
HOURS, AN_HOUR, DISTINCT_HOURS = 720, 2_000, 20


def building(what: str, table: Table, reference: Reference | None, sorts: float) -> None:
    """Print the cost of profiling a table."""
    spent = median(lambda: dw.profile(table, reference))
    print(f"  {what}: {spent / (ROWS * COLUMNS) * 1e9:.1f} ns a cell, {spent / sorts:.2f} × the sorts", flush=True)


def merging(what: str, hours: list[Profile]) -> None:
    """Print the cost of merging a month of hourly profiles, and of writing and reading one."""
    parts = hours * (HOURS // len(hours))
    merged: list[Profile] = []
    spent = median(lambda: merged.append(merge_profiles(parts)), 1)
    data = [hour.to_bytes(edges=False) for hour in hours]
    write = median(lambda: [hour.to_bytes(edges=False) for hour in hours]) / len(hours) / COLUMNS * 1e6
    read = median(lambda: [Profile.from_bytes(state) for state in data]) / len(hours) / COLUMNS * 1e6
    one, all_of_them = sum(map(len, data)) / len(data) / COLUMNS, len(merged[0].to_bytes(edges=False)) / COLUMNS
    print(
        f"  {what}: {spent:.2f} s, {spent / len(parts) / COLUMNS * 1e6:.0f} µs a column and part; a column takes "
        f"{write:.0f} µs to write, {read:.0f} µs to read, {one:,.0f} bytes, merged {all_of_them:,.0f}",
        flush=True,
    )


def sizes(rng: np.random.Generator) -> None:
    """Print the bytes of a column of a million rows, without its bins, with them, and as a grid."""
    n = 1_000_000
    shapes = {
        "normal": rng.normal(size=n),
        "lognormal": rng.lognormal(size=n),
        "integers": rng.poisson(1_000, n).astype(float),
        "470 integers": rng.integers(0, 470, n).astype(float),
        "zero-inflated": np.where(rng.random(n) < 0.7, 0.0, rng.exponential(size=n)),
        "money": rng.exponential(20, n).round(2),
    }
    print("bytes of a column of 1,000,000 rows: in a reference's bins, with the bins themselves, as a grid; rank error")
    for name, values in shapes.items():
        reference = Reference.from_data({"x": values[:100_000]})
        found, plain = dw.profile({"x": values}, reference), dw.profile({"x": values})
        state = plain.columns["x"]
        print(
            f"  {name}: {len(found.to_bytes(edges=False)):,}, {len(found.to_bytes()):,}, {len(plain.to_bytes()):,};"
            f" {state.rank_error:.5f}",
            flush=True,
        )


def floating(rng: np.random.Generator) -> None:
    """Print the cost of building and merging profiles of float64 columns."""
    table = floats(rng, ROWS, COLUMNS)
    sort = median(lambda: sort_all(table))
    print(f"{ROWS:,} × {COLUMNS} float64; np.sort of them on one thread: {sort / (ROWS * COLUMNS) * 1e9:.1f} ns a cell")
    reference = Reference.from_data(table)
    building("in a reference's bins", table, reference, sort)
    building("the same with 20 % missing", with_holes(rng, table), reference, sort)
    building("without a reference, as a grid", table, None, sort)
    print(f"merging {HOURS} hourly profiles of {COLUMNS} columns, {AN_HOUR:,} rows each")
    starts = range(0, DISTINCT_HOURS * AN_HOUR, AN_HOUR)
    hours = [{name: values[i : i + AN_HOUR] for name, values in table.items()} for i in starts]
    merging("in a reference's bins", [dw.profile(hour, reference) for hour in hours])
    merging("grids", [dw.profile(hour) for hour in hours])


def whole_numbers(rng: np.random.Generator) -> None:
    """Print the cost of building profiles of integers."""
    table = integers(rng, ROWS, COLUMNS)
    sort = median(lambda: sort_all(table))
    print(f"{ROWS:,} × {COLUMNS} int64; np.sort of them on one thread: {sort / (ROWS * COLUMNS) * 1e9:.1f} ns a cell")
    building("in a reference's bins", table, Reference.from_data(table), sort)
    building("without a reference, as a grid", table, None, sort)


def main() -> None:
    """Print the figures."""
    rng = np.random.default_rng(0)
    floating(rng)
    whole_numbers(rng)
    sizes(rng)


if __name__ == "__main__":
    main()
