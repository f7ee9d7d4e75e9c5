"""What `mmd_test` costs beside the bare matrix products and exponentials on the same arrays, in one run.

Bare means: the whole kernel exponent as one product, its exponential, and its product with all relabellings, on arrays
that are ready, in float64 (the precision `mmd_test` keeps) and in float32. The test itself also scales the rows, finds
the bandwidth, draws the relabellings and sums up; it makes only the upper half of the kernel, a tile at a time, which
is why its ratio can lie below 1.
"""

from __future__ import annotations

import time
from collections.abc import Callable

import numpy as np
import numpy.typing as npt

import driftwell.detectors.multivariate as multivariate
from driftwell.kernels.kernel_tests import relabellings

ROWS = 5_000
COLUMNS = 32
PERMUTATIONS = 100


def best_of(call: Callable[[], object], rounds: int = 3) -> float:
    """Seconds of the fastest of a few rounds."""
    spent = []
    for _ in range(rounds):
        start = time.perf_counter()
        call()
        spent.append(time.perf_counter() - start)
    return min(spent)


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


def main() -> None:
    """Print the two ratios."""
    rng = np.random.default_rng(0)
    x, y = rng.normal(size=(ROWS, COLUMNS)), rng.normal(size=(ROWS, COLUMNS))
    bandwidth = multivariate.mmd_test(x, y, 1).bandwidth
    test = best_of(lambda: multivariate.mmd_test(x, y, PERMUTATIONS))
    whole = best_of(bare(np.concatenate([x, y]), bandwidth, np.float64))
    single = best_of(bare(np.concatenate([x, y]), bandwidth, np.float32))
    print(f"mmd_test, {ROWS:,} + {ROWS:,} rows × {COLUMNS}, {PERMUTATIONS} permutations: {test:.2f} s")
    print(f"  ratio to the bare float64 products and exponentials: {test / whole:.2f} (aim: at most 2)")
    print(f"  ratio to the same in float32:                        {test / single:.2f}")


if __name__ == "__main__":
    main()
