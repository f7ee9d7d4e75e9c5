"""What `mmd_test` costs beside the bare matrix products and exponentials on the same arrays, in one run.

Bare means: the whole kernel exponent as one product, its exponential, and its product with all relabellings, on arrays
that are ready, in float64 (the precision `mmd_test` keeps) and in float32. The test itself also scales the rows, finds
the bandwidth, draws the relabellings and sums up; it makes only the upper half of the kernel, a tile at a time, which
is why its ratio can lie below 1.

The random-feature test runs on 10^6 + 10^6 rows of 100 columns beside one sort of all their columns. Memory is what
NumPy held at most beyond the input, as tracemalloc counts it.
"""

from __future__ import annotations

import time
import tracemalloc
from collections.abc import Callable

import numpy as np
import numpy.typing as npt

import driftwell.detectors.multivariate as multivariate
from driftwell.kernels.kernel_tests import relabellings

ROWS = 5_000
COLUMNS = 32
PERMUTATIONS = 100
MANY_ROWS = 1_000_000
MANY_COLUMNS = 100


def best_of(*calls: Callable[[], object], rounds: int = 3) -> list[float]:
    """Seconds of the fastest round of each call; they take turns, so that a busy machine slows all of them."""
    spent: list[list[float]] = [[] for _ in calls]
    for _ in range(rounds):
        for call, times in zip(calls, spent, strict=True):
            start = time.perf_counter()
            call()
            times.append(time.perf_counter() - start)
    return [min(times) for times in spent]


def bare(pooled: npt.NDArray[np.float64], bandwidth: float, dtype: type[np.floating]) -> Callable[[], object]:
    """The products and the exponential alone, every array allocated before."""
    scaled = pooled / bandwidth
    half = (scaled**2).sum(axis=1, keepdims=True) / -2
    ones = np.ones_like(half)
    left, right = (np.hstack(part).astype(dtype) for part in ([scaled, half, ones], [scaled, ones, half]))
    labels = relabellings(ROWS, ROWS, PERMUTATIONS, np.random.default_rng(0)).astype(dtype)
    kernel, product = np.empty((2 * ROWS, 2 * ROWS), dtype), np.empty_like(labels)

    def call() -> None:
        np.matmul(left, right.T, out=kernel)
        np.exp(kernel, out=kernel)
        np.matmul(kernel, labels, out=product)

    return call


def peak_megabytes(call: Callable[[], object]) -> float:
    """Most that was allocated at one time while the call ran."""
    tracemalloc.start()
    try:
        call()
        return tracemalloc.get_traced_memory()[1] / 2**20
    finally:
        tracemalloc.stop()


def exact_test(rng: np.random.Generator) -> None:
    """``mmd_test`` beside the bare products and exponentials, and its memory at four times the rows."""
    x, y = rng.normal(size=(ROWS, COLUMNS)), rng.normal(size=(ROWS, COLUMNS))
    bandwidth = multivariate.mmd_test(x, y, 1).bandwidth
    pooled = np.concatenate([x, y])
    test, whole, single = best_of(
        lambda: multivariate.mmd_test(x, y, PERMUTATIONS),
        bare(pooled, bandwidth, np.float64),
        bare(pooled, bandwidth, np.float32),
    )
    print(f"mmd_test, {ROWS:,} + {ROWS:,} rows × {COLUMNS}, {PERMUTATIONS} permutations: {test:.2f} s")
    print(f"  ratio to the bare float64 products and exponentials: {test / whole:.2f} (aim: at most 2)")
    print(f"  ratio to the same in float32:                        {test / single:.2f}")
    x, y = rng.normal(size=(4 * ROWS, COLUMNS)), rng.normal(size=(4 * ROWS, COLUMNS))
    peak = peak_megabytes(lambda: multivariate.mmd_test(x, y, PERMUTATIONS))
    print(f"  memory beyond the input, {4 * ROWS:,} + {4 * ROWS:,} rows:   {peak:.0f} MB (aim: under 2,000)")


def many_rows(rng: np.random.Generator) -> None:
    """``random_feature_test`` beside one sort of every column of both samples."""
    x, y = (rng.standard_normal((MANY_ROWS, MANY_COLUMNS)) for _ in range(2))
    column = np.ascontiguousarray(x[:, 0])
    test, sort = best_of(lambda: multivariate.random_feature_test(x, y), lambda: np.sort(column), rounds=2)
    print(f"random_feature_test, {MANY_ROWS:,} + {MANY_ROWS:,} rows × {MANY_COLUMNS}: {test:.2f} s")
    print(f"  ratio to np.sort of all columns, from one of them:   {test / (2 * MANY_COLUMNS * sort):.2f}")
    peak = peak_megabytes(lambda: multivariate.random_feature_test(x, y))
    print(f"  memory beyond the input of {2 * x.nbytes / 2**20:,.0f} MB:               {peak:,.0f} MB")


def main() -> None:
    """Print ratios and memory of both tests."""
    rng = np.random.default_rng(0)
    exact_test(rng)
    many_rows(rng)


if __name__ == "__main__":
    main()
