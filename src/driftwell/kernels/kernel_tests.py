"""Two-sample statistics of pairwise kernels, for many relabellings of the pooled rows at once.

Every relabelling is a column of one 0/1 matrix, so that all statistics are quadratic forms of one kernel matrix. The
matrix is made tile by tile, its upper half only, and never kept: memory is O(tile² + rows · relabellings / 8).
"""

from __future__ import annotations

import math
from collections.abc import Callable, Iterator
from dataclasses import dataclass

import numpy as np
import numpy.typing as npt

__all__ = [
    "PairMeans",
    "distance_kernel",
    "gaussian_kernel",
    "median_bandwidth",
    "pair_means",
    "permutation_p_value",
    "relabellings",
]

Floats = npt.NDArray[np.float64]
Labels = npt.NDArray[np.bool_]
Kernel = Callable[[slice, slice], Floats]

TILE = 1024
"""Rows of one side of a tile; a tile has 8 MB."""

_TIES = 1e-12  # numbers this close, relative to the terms they were summed from, are equal but for rounding
_FARTHEST = 1e140  # in bandwidths; the squares of rows further off would not be finite


@dataclass(frozen=True, slots=True)
class PairMeans:
    """Mean kernel values of different rows, one entry a relabelling: within the reference, within the current rows,
    and across."""

    reference: Floats
    current: Floats
    across: Floats


def relabellings(n: int, m: int, count: int, rng: np.random.Generator) -> Labels:
    """Which of ``n + m`` pooled rows count as reference: column 0 as they are, then ``count`` random permutations.

    Shape ``(n + m, count + 1)``.
    """
    labels = np.zeros((n + m, count + 1), np.bool_)
    labels[:n] = True
    labels[:, 1:] = rng.permuted(labels[:, 1:], axis=0)
    return labels


def permutation_p_value(statistics: Floats, scale: float = 1.0) -> float:
    """``(k + 1) / (B + 1)``: ``k`` of the ``B`` relabelled statistics reach the observed one, entry 0 (Phipson and
    Smyth 2010, equation 2). ``scale`` is the size of the terms the statistics were summed from.

    Examples
    --------
    >>> permutation_p_value(np.array([2.0, 1.0, 3.0, 0.0]))
    0.5
    """
    reached = int(np.count_nonzero(statistics[1:] >= statistics[0] - _TIES * scale))
    return (reached + 1) / statistics.size


def median_bandwidth(rows: Floats) -> float:
    """Root of half the median squared distance between different rows, of which there must be few: all pairs are made.

    More than half of the pairs equal: the median of the others takes its place. All equal: 1.
    """
    squared = _squared_distances(rows, rows)
    # Rounding goes with the two rows' own lengths: one row far off must not make all the others look equal.
    lengths = np.einsum("ij,ij->i", rows, rows)
    squared[squared <= _TIES * (lengths[:, None] + lengths)] = 0.0
    pairs = squared[np.triu_indices(len(rows), 1)]
    typical = float(np.median(pairs))
    if typical == 0:
        apart = pairs[pairs > 0]
        typical = float(np.median(apart)) if apart.size else 2.0
    return math.sqrt(typical / 2)


def gaussian_kernel(rows: Floats, bandwidth: float) -> Kernel:
    """Tiles of ``exp(-‖a - b‖² / (2 · bandwidth²))`` between the rows of two slices."""
    scaled = np.clip(rows / bandwidth, -_FARTHEST, _FARTHEST)
    half = np.einsum("ij,ij->i", scaled, scaled)[:, None] / -2
    ones = np.ones_like(half)
    # One product gives the whole exponent: a·b - ‖a‖²/2 - ‖b‖²/2.
    left, right = np.hstack([scaled, half, ones]), np.hstack([scaled, ones, half])

    def tile(i: slice, j: slice) -> Floats:
        exponent: Floats = left[i] @ right[j].T
        # Rounding of two rows far off may leave more than 0, and its exponential would swamp every other pair.
        np.minimum(exponent, 0.0, out=exponent)
        return np.exp(exponent, out=exponent)

    return tile


def distance_kernel(rows: Floats) -> Kernel:
    """Tiles of the Euclidean distance ``‖a - b‖`` between the rows of two slices."""

    def tile(i: slice, j: slice) -> Floats:
        if rows.shape[1] == 1:
            gaps: Floats = np.abs(rows[i] - rows[j].T)
            return gaps
        squared = _squared_distances(rows[i], rows[j])
        return np.sqrt(squared, out=squared)

    return tile


def pair_means(kernel: Kernel, labels: Labels) -> PairMeans:
    """Mean kernel values of pairs of different rows under every relabelling.

    With ``a`` a 0/1 column, ``K`` the kernel matrix without its diagonal and ``r`` its row sums, the sum within the
    reference is ``a'Ka``, that across ``a'r - a'Ka``, and what is left lies within the current rows.
    """
    n_rows, count = labels.shape
    within, reached, row_sums = np.zeros(count), np.zeros(count), np.zeros(n_rows)
    for i in _blocks(n_rows):
        product = np.zeros((i.stop - i.start, count))
        for j in _blocks(n_rows, i.start):
            tile = kernel(i, j)
            if j == i:
                np.fill_diagonal(tile, 0.0)
                tile /= 2  # the lower half of this tile is the mirror of the upper
                row_sums[i] += tile.sum(axis=0)
            else:
                row_sums[j] += tile.sum(axis=0)
            row_sums[i] += tile.sum(axis=1)
            product += tile @ labels[j].astype(np.float64)
        within += 2 * np.einsum("ij,ij->j", labels[i], product)
        reached += row_sums[i] @ labels[i]  # whole by now: every tile of these rows has been made
    n = int(np.count_nonzero(labels[:, 0]))
    m = n_rows - n
    return PairMeans(
        reference=within / (n * (n - 1)),
        current=(row_sums.sum() - 2 * reached + within) / (m * (m - 1)),
        across=(reached - within) / (n * m),
    )


def _blocks(n_rows: int, start: int = 0) -> Iterator[slice]:
    return (slice(i, min(i + TILE, n_rows)) for i in range(start, n_rows, TILE))


def _squared_distances(a: Floats, b: Floats) -> Floats:
    squared = a @ (-2 * b.T)
    squared += np.einsum("ij,ij->i", a, a)[:, None]
    squared += np.einsum("ij,ij->i", b, b)[None, :]
    return np.maximum(squared, 0.0, out=squared)
