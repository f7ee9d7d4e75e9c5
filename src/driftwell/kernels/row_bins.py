"""Permutation tests on means of bins of rows: one pass over the rows, then permutations that cost next to nothing.

Rows are put at random into bins of one size. Where nothing changed the bins of both samples are exchangeable, so
permuting bins instead of rows keeps the level exact.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass

import numpy as np
import numpy.typing as npt

__all__ = ["Bins", "assign_bins", "bin_means", "bin_shares", "group_means", "min_p", "rank_p_values"]

Floats = npt.NDArray[np.float64]

LEAST_BINS = 64
"""Bins of the smaller sample, where it has as many rows; up to twice as many."""

MOST_BINS = 1024
"""Bins of the larger sample. Further rows stay out: beyond 8 times the other sample they hardly sharpen a test."""

_CHUNK = 4096  # rows whose features exist at one time
_DIGITS = 12  # relabellings that give one split may differ in the last bits


@dataclass(frozen=True, slots=True)
class Bins:
    """Row numbers of the pooled rows, shape ``(bins, rows a bin)``; the first ``n_reference`` bins are reference."""

    rows: npt.NDArray[np.int64]
    n_reference: int

    @property
    def n_current(self) -> int:
        """Bins of the current sample."""
        return len(self.rows) - self.n_reference


def assign_bins(n: int, m: int, rng: np.random.Generator) -> Bins:
    """Random bins of equal size for ``n`` reference and ``m`` current rows; fewer than one bin's rows stay out."""
    size = max(1, min(n, m) // LEAST_BINS)
    sides = []
    for count, offset in ((n, 0), (m, n)):
        bins = min(count // size, MOST_BINS)
        sides.append(offset + rng.permutation(count)[: bins * size].reshape(bins, size))
    return Bins(np.concatenate(sides), len(sides[0]))


def bin_means(rows: Floats, bins: Bins, features: Callable[[Floats], npt.NDArray[np.floating]]) -> Floats:
    """Mean of ``features(rows)`` in each bin, shape ``(bins, features)``; few rows' features exist at one time."""
    size = bins.rows.shape[1]
    step, piece = max(1, _CHUNK // size), min(size, _CHUNK)
    sums = []
    for start in range(0, len(bins.rows), step):
        chosen = bins.rows[start : start + step]
        pieces = (chosen[:, at : at + piece] for at in range(0, size, piece))
        sums.append(np.sum([_sums(features(rows[part.ravel()]), len(part)) for part in pieces], axis=0))
    return np.asarray(np.concatenate(sums) / size, np.float64)


def _sums(values: npt.NDArray[np.floating], n_bins: int) -> Floats:
    """Sums of equal runs of rows; a product with ones is several times faster than ``sum`` over short columns."""
    runs = values.reshape(n_bins, -1, values.shape[1])
    return np.asarray((np.ones((1, runs.shape[1]), runs.dtype) @ runs)[:, 0], np.float64)


def bin_shares(values: Floats, cuts: Floats, bins: Bins) -> Floats:
    """Share of each bin's values that are at most each of the ascending ``cuts``, shape ``(bins, cuts)``."""
    n_bins, size = bins.rows.shape
    cells = np.searchsorted(cuts, values[bins.rows]) + (len(cuts) + 1) * np.arange(n_bins)[:, None]
    counts = np.bincount(cells.ravel(), minlength=n_bins * (len(cuts) + 1)).reshape(n_bins, -1)
    return np.asarray(counts[:, :-1].cumsum(axis=1) / size, np.float64)


def group_means(means: Floats, labels: npt.NDArray[np.bool_]) -> tuple[Floats, Floats]:
    """Means of reference and of current bins under every relabelling, each of shape ``(features, relabellings)``."""
    n = int(np.count_nonzero(labels[:, 0]))
    sums = means.T @ labels.astype(np.float64)
    return sums / n, (means.sum(axis=0)[:, None] - sums) / (len(means) - n)


def rank_p_values(statistics: Floats) -> Floats:
    """For each entry of the last axis the share of entries, itself included, that are at least as large."""
    from scipy.stats import rankdata

    top = np.abs(statistics).max(axis=-1, keepdims=True)
    even = np.round(statistics / np.where(top > 0, top, 1.0), _DIGITS)
    return np.asarray(rankdata(-even, method="max", axis=-1) / statistics.shape[-1], np.float64)


def min_p(p_values: Floats) -> float:
    """One p-value from several tests with the same relabellings: the share of relabellings whose smallest p-value is
    as small as the observed one (Westfall and Young 1993). Shape ``(tests, relabellings)``, entry 0 observed.

    Examples
    --------
    >>> min_p(np.array([[0.25, 0.5, 0.75, 1.0], [1.0, 0.25, 0.5, 0.75]]))
    0.5
    """
    smallest = p_values.min(axis=0)
    return float(np.mean(smallest <= smallest[0]))
