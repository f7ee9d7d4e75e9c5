"""The batch detectors of frouros for one column, as its ``detectors/data_drift/batch`` computes them (0.9)."""

from __future__ import annotations

import math
import sys

import numpy as np
import numpy.typing as npt

from driftwell.detectors.conventions import scipy_stats
from driftwell.detectors.conventions.sides import ALL_KINDS, NUMERIC, convention, counts, rows, tested, typed_rows
from driftwell.detectors.univariate import Pair
from driftwell.kernels import share_distances
from driftwell.kernels.empirical import wasserstein_from_sorted
from driftwell.kernels.histogram_shares import equal_width_shares, interpolated_shares

__all__ = ["METHODS"]

Floats = npt.NDArray[np.float64]

_BINS = 10


def _binned(pair: Pair, name: str) -> tuple[Floats, Floats]:
    return equal_width_shares(*typed_rows(pair, name), _BINS)


def _between_points(pair: Pair, name: str) -> tuple[Floats, Floats]:
    """Ten points make nine bins."""
    return interpolated_shares(*typed_rows(pair, name), _BINS)


def _psi(p: Floats, q: Floats) -> float:
    smallest = sys.float_info.min
    return share_distances.psi(np.where(p == 0, smallest, p), np.where(q == 0, smallest, q))


def _jensen_shannon(p: Floats, q: Floats) -> float:
    return share_distances.jensen_shannon(p, q, base=math.e)


def _kl(p: Floats, q: Floats) -> float:
    return share_distances.relative_entropy(q, p)


def _bhattacharyya(p: Floats, q: Floats) -> float:
    return 1 - share_distances.affinity(p, q)


def _histogram_intersection(p: Floats, q: Floats) -> float:
    return 1 - share_distances.overlap(p, q)


_OPEN = "frouros gives a distance; its permutation callback decides"
_P = "frouros gives a p-value and no threshold"

METHODS = (
    convention("frouros.psi", NUMERIC, _binned, _psi, None, "nats", _OPEN),
    convention("frouros.hellinger", NUMERIC, _binned, share_distances.hellinger, None, "distance", _OPEN),
    convention("frouros.bhattacharyya", NUMERIC, _binned, _bhattacharyya, None, "share", _OPEN),
    convention("frouros.histogram_intersection", NUMERIC, _binned, _histogram_intersection, None, "share", _OPEN),
    convention("frouros.jensen_shannon", NUMERIC, _between_points, _jensen_shannon, None, "distance, base e", _OPEN),
    convention("frouros.kl", NUMERIC, _between_points, _kl, None, "nats", _OPEN),
    convention("frouros.emd", NUMERIC, rows, wasserstein_from_sorted, None, "unit of the column", _OPEN),
    convention("frouros.energy", NUMERIC, rows, scipy_stats.energy, None, "root of the column's unit", _OPEN),
    tested("frouros.ks", NUMERIC, rows, scipy_stats.ks, _P),
    tested("frouros.cramer_von_mises", NUMERIC, rows, scipy_stats.cramer_von_mises, _P),
    tested("frouros.mann_whitney", NUMERIC, rows, scipy_stats.mann_whitney, _P),
    tested("frouros.welch_t_test", NUMERIC, rows, scipy_stats.welch, _P),
    tested("frouros.chi_squared", ALL_KINDS, counts, scipy_stats.chi_squared, _P),
)
