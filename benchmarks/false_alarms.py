"""False-alarm rates when nothing changed, and power on known shifts: ``python -m benchmarks.false_alarms``.

Every cell is a share of independent columns, reference and window drawn anew for each; no correction over columns.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable

import numpy as np
import pyarrow as pa

import driftwell as dw

COLUMNS = 1_000
REFERENCE = 5_000
SIZES = (50, 500, 5_000)
ALPHA = 0.05
NUMERIC = ("psi", "ks", "wasserstein", "jensen_shannon", "hellinger", "kl", "mean_shift", "std_shift", "t_test")
CATEGORICAL = ("psi", "jensen_shannon", "hellinger", "kl", "total_variation", "l_infinity", "chi_squared", "g_test")

Draw = Callable[[np.random.Generator, int], np.ndarray]


def normal(shift: float = 0.0) -> Draw:
    """Normal numbers, moved by ``shift`` standard deviations."""
    return lambda rng, n: rng.normal(shift, 1, n)


def categories(moved: float = 0.0) -> Draw:
    """Eight categories of one size; ``moved`` of all rows go from the last to the first."""
    shares = np.full(8, 0.125) + moved * np.array([1, 0, 0, 0, 0, 0, 0, -1])
    return lambda rng, n: rng.choice(8, n, p=shares)


def long_tail(rng: np.random.Generator, n: int) -> np.ndarray:
    """300 categories, the k-th with a share of 1/k."""
    shares = 1 / np.arange(1, 301)
    return rng.choice(300, n, p=shares / shares.sum())


def spiked(rng: np.random.Generator, n: int) -> np.ndarray:
    """Two thirds zeros, the rest whole numbers."""
    return np.where(rng.random(n) < 2 / 3, 0.0, rng.geometric(0.2, n))


def holed(rng: np.random.Generator, n: int) -> np.ndarray:
    """Normal numbers of which four in a thousand are missing."""
    return np.where(rng.random(n) < 0.004, np.nan, rng.normal(size=n))


def table(draw: Draw, n: int, seed: int) -> pa.Table:
    """As many columns as there are to be; whole numbers are codes of categories."""
    rng = np.random.default_rng(seed)
    columns = (draw(rng, n) for _ in range(COLUMNS))
    names = pa.array([f"k{i}" for i in range(300)])
    return pa.table(
        {
            f"x{i}": pa.DictionaryArray.from_arrays(pa.array(values), names) if values.dtype.kind == "i" else values
            for i, values in enumerate(columns)
        }
    )


def rates(reference: dw.Reference, window: dw.Profile, method: str) -> tuple[float, float]:
    """Shares of columns that alarm by the p-value alone, and by both gates."""
    options = {"alpha": ALPHA, "correction": "none", "min_samples": 1}
    result = dw.compare(reference, window, method, decision="p_value", **options)
    columns = [column for column in result.columns.values() if column.drifted]
    both = sum(column.threshold is None or column.value >= column.threshold for column in columns)
    return len(columns) / COLUMNS, both / COLUMNS


def line(cells: Iterable[object]) -> None:
    """One row of a Markdown table."""
    print("| " + " | ".join(f"{c:.3f}" if isinstance(c, float) else str(c) for c in cells) + " |", flush=True)


def by_method(kind: str, methods: Iterable[str], still: Draw, moved: Draw) -> None:
    """One row a method: rates at each window size, and power at 500 rows."""
    reference = dw.Reference.from_data(table(still, REFERENCE, 1))
    windows = [dw.profile(table(still, m, 1_000 + m), reference) for m in SIZES]
    shifted = dw.profile(table(moved, 500, 9), reference)
    for method in methods:
        found = [rates(reference, window, method) for window in windows]
        power = rates(reference, shifted, method)[1]
        line([kind, f"`{method}`", *(p for p, _ in found), *(both for _, both in found), power])


def odd_columns() -> None:
    """PSI by its p-value alone on columns and references that are not so well-behaved."""
    for name, draw, n in (
        ("ties: two thirds zeros", spiked, REFERENCE),
        ("0.4 % missing", holed, REFERENCE),
        ("normal, reference of 100 rows", normal(), 100),
        ("8 categories, reference of 100 rows", categories(), 100),
        ("300 categories with a long tail", long_tail, REFERENCE),
        ("the same, reference of 200 rows", long_tail, 200),
    ):
        reference = dw.Reference.from_data(table(draw, n, 1))
        windows = (dw.profile(table(draw, m, 1_000 + m), reference) for m in SIZES)
        line([name, *(rates(reference, window, "psi")[0] for window in windows)])


def main() -> None:
    """Print both tables."""
    print(f"Reference {REFERENCE:,} rows, {COLUMNS:,} columns a cell, alpha {ALPHA}, no correction.\n")
    sizes = [f"{m:,}" for m in SIZES]
    line(["kind", "method", *(f"p only, {m}" for m in sizes), *(f"both gates, {m}" for m in sizes), "power"])
    line(["---"] * 9)
    by_method("numeric", NUMERIC, normal(), normal(0.3))
    by_method("categorical", CATEGORICAL, categories(), categories(0.06))
    print()
    line(["column, `psi` by p only", *sizes])
    line(["---"] * 4)
    odd_columns()


if __name__ == "__main__":
    main()
