"""False-alarm rates when nothing changed, and power on known shifts: ``python -m benchmarks.false_alarms``.

Every cell is a share of independent columns, reference and window drawn anew for each; no correction over columns.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable
from functools import partial

import numpy as np
import pyarrow as pa

import driftwell as dw
from driftwell.detectors.univariate import METHODS, Pair
from driftwell.detectors.verdict import Policy, judge

REFERENCE = 10_000
COLUMNS = {50: 1_000, 100: 1_000, 500: 1_000, 1_000: 1_000, 10_000: 300, 100_000: 100}
WINDOW = 1_000  # rows of a window with a shift
SHIFTED_COLUMNS = 300
ODD_SIZES = (50, 500, 5_000)
ALPHA = 0.05
FROM_BINS = ("ks", "wasserstein", "kuiper", "cramer_von_mises", "mann_whitney", "energy")

Draw = Callable[[np.random.Generator, int], np.ndarray]


def normal(rng: np.random.Generator, n: int, *, shift: float = 0.0, scale: float = 1.0, far: float = 0.0) -> np.ndarray:
    """Normal numbers, of which a share ``far`` lies four standard deviations higher."""
    return rng.normal(shift, scale, n) + 4.0 * (rng.random(n) < far)


def holed(rng: np.random.Generator, n: int, *, missing: float = 0.004) -> np.ndarray:
    """Normal numbers of which a share is missing."""
    return np.where(rng.random(n) < missing, np.nan, rng.normal(size=n))


def categories(rng: np.random.Generator, n: int, *, moved: float = 0.0, groups: int = 8) -> np.ndarray:
    """Categories of one size; ``moved`` of all rows go from the last to the first. Code -1 is missing."""
    shares = np.full(groups, 1 / groups)
    shares[0], shares[-1] = shares[0] + moved, shares[-1] - moved
    return rng.choice(groups, n, p=shares)


def holed_categories(rng: np.random.Generator, n: int, *, missing: float = 0.0, groups: int = 8) -> np.ndarray:
    """The same, of which a share is missing."""
    return np.where(rng.random(n) < missing, -1, rng.choice(groups, n))


def long_tail(rng: np.random.Generator, n: int) -> np.ndarray:
    """300 categories, the k-th with a share of 1/k."""
    shares = 1 / np.arange(1, 301)
    return rng.choice(300, n, p=shares / shares.sum())


def spiked(rng: np.random.Generator, n: int) -> np.ndarray:
    """Two thirds zeros, the rest whole numbers."""
    return np.where(rng.random(n) < 2 / 3, 0.0, rng.geometric(0.2, n))


def table(draw: Draw, n: int, seed: int, columns: int, *, boolean: bool = False) -> pa.Table:
    """As many columns as there are to be; whole numbers are codes of categories."""
    rng = np.random.default_rng(seed)
    return pa.table({f"x{i}": _column(draw(rng, n), boolean) for i in range(columns)})


def _column(values: np.ndarray, boolean: bool) -> pa.Array:
    if values.dtype.kind != "i":
        return pa.array(values)
    if boolean:
        return pa.array(values > 0, mask=values < 0)
    names = pa.array([f"k{i}" for i in range(300)])
    return pa.DictionaryArray.from_arrays(pa.array(values, mask=values < 0), names)


def pairs(before: Draw, after: Draw, m: int, columns: int, kind: str, *, rows: bool) -> dict[str, Pair]:
    """Both sides of every column, with their rows or with the reference's bins alone."""
    boolean = kind == "boolean"
    old = table(before, REFERENCE, 1, columns, boolean=boolean)
    new = table(after, m, 1_000 + m, columns, boolean=boolean)
    reference = dw.Reference.from_data(old)
    window = reference.profile_of(new)
    return {
        name: Pair(
            reference.profile.columns[name],
            window.columns[name],
            rows=partial(_sorted, old, new, name) if rows and kind == "numeric" else None,
        )
        for name in reference.kinds
    }


def _sorted(old: pa.Table, new: pa.Table, name: str) -> tuple[np.ndarray, np.ndarray]:
    sides = (np.sort(side[name].to_numpy()) for side in (old, new))
    before, after = (side[: np.searchsorted(side, np.nan)] for side in sides)
    return before, after


def rates(found: dict[str, Pair], method: str) -> tuple[float, float]:
    """Shares of columns that alarm by the p-value alone, and by both gates."""
    results = judge(found, Policy(method, alpha=ALPHA, correction="none", min_samples=1, decision="p_value")).values()
    by_p = [column for column in results if column.drifted]
    both = sum(c.threshold is None or (c.value is not None and c.value >= c.threshold) for c in by_p)
    return len(by_p) / len(found), both / len(found)


def line(cells: Iterable[object]) -> None:
    """One row of a Markdown table."""
    print("| " + " | ".join(f"{c:.3f}" if isinstance(c, float) else str(c) for c in cells) + " |", flush=True)


def head(cells: list[str]) -> None:
    """Its first two rows."""
    print()
    line(cells)
    line(["---"] * len(cells))


def kinds() -> list[tuple[str, str, Draw, bool, list[str]]]:
    """``(heading, kind, draw, whether rows are at hand, methods)`` of each part of the tables."""
    of = {k: [name for name, m in METHODS.items() if k in m.kinds] for k in ("numeric", "categorical", "boolean")}
    return [
        ("numeric", "numeric", normal, True, of["numeric"]),
        ("numeric, bins", "numeric", normal, False, list(FROM_BINS)),
        ("categorical", "categorical", categories, False, [m for m in of["categorical"] if m != "fisher_exact"]),
        ("boolean", "boolean", partial(categories, groups=2), False, ["psi", "chi_squared", "fisher_exact", "z_test"]),
    ]


def false_alarms() -> None:
    """Every method at every size: the p-value alone, then both gates."""
    found: dict[tuple[str, str], list[tuple[float, float]]] = {}
    for heading, kind, draw, rows, methods in kinds():
        for m, columns in COLUMNS.items():
            drawn = pairs(draw, draw, m, columns, kind, rows=rows)
            for method in methods:
                found.setdefault((heading, method), []).append(rates(drawn, method))
    for at, gates in enumerate(("p-value alone", "both gates")):
        head([f"{gates}", "method", *(f"{m:,}" for m in COLUMNS)])
        for (heading, method), cells in found.items():
            line([heading, f"`{method}`", *(cell[at] for cell in cells)])


def power() -> None:
    """Share of shifted columns that are found: by the p-value alone, and by both gates."""
    numeric: dict[str, tuple[Draw, Draw]] = {
        "mean + 0.2 sd": (normal, partial(normal, shift=0.2)),
        "scale × 1.2": (normal, partial(normal, scale=1.2)),
        "3 % at + 4 sd": (normal, partial(normal, far=0.03)),
        "missing + 3 points": (holed, partial(holed, missing=0.034)),
    }
    for heading, kind, draw, rows, methods in kinds():
        groups = 2 if kind == "boolean" else 8
        shifts = numeric if kind == "numeric" else {
            "category + 5 points": (draw, partial(categories, moved=0.05, groups=groups)),
            "missing + 3 points": (draw, partial(holed_categories, missing=0.03, groups=groups)),
        }  # fmt: skip
        drawn = [pairs(*sides, WINDOW, SHIFTED_COLUMNS, kind, rows=rows) for sides in shifts.values()]
        head([heading, *shifts])
        for method in methods:
            cells = [rates(columns, method) for columns in drawn]
            line([f"`{method}`", *(f"{by_p:.2f} / {both:.2f}" for by_p, both in cells)])


def odd_columns() -> None:
    """PSI by its p-value alone on columns and references that are not so well-behaved."""
    head(["column, `psi` by p only", *(f"{m:,}" for m in ODD_SIZES)])
    for name, draw, n in (
        ("ties: two thirds zeros", spiked, 5_000),
        ("0.4 % missing", holed, 5_000),
        ("normal, reference of 100 rows", normal, 100),
        ("8 categories, reference of 100 rows", categories, 100),
        ("300 categories with a long tail", long_tail, 5_000),
        ("the same, reference of 200 rows", long_tail, 200),
    ):
        reference = dw.Reference.from_data(table(draw, n, 1, 500))
        windows = (reference.profile_of(table(draw, m, 1_000 + m, 500)) for m in ODD_SIZES)
        sides = ({x: Pair(reference.profile.columns[x], w.columns[x]) for x in reference.kinds} for w in windows)
        line([name, *(rates(found, "psi")[0] for found in sides)])


def main() -> None:
    """Print the tables."""
    print(f"Reference {REFERENCE:,} rows, alpha {ALPHA}, no correction; columns a cell by rows of the window:")
    print(", ".join(f"{columns:,} at {m:,}" for m, columns in COLUMNS.items()) + ".")
    false_alarms()
    print(f"\nPower in {WINDOW:,} rows, {SHIFTED_COLUMNS} columns a cell, p-value alone / both gates:")
    power()
    odd_columns()


if __name__ == "__main__":
    main()
