"""NannyML's univariate drift methods, as its ``nannyml/drift/univariate/methods.py`` computes them (0.13)."""

from __future__ import annotations

import numpy as np
import numpy.typing as npt

from driftwell.detectors.conventions import scipy_stats
from driftwell.detectors.conventions.sides import ALL_KINDS, DISCRETE, NUMERIC, convention, counts, rows, shares, tested
from driftwell.detectors.univariate import Pair
from driftwell.kernels import share_distances
from driftwell.kernels.empirical import ks_from_sorted, wasserstein_from_sorted
from driftwell.kernels.histogram_shares import binned_ks, binned_wasserstein, reference_shares

__all__ = ["METHODS"]

Floats = npt.NDArray[np.float64]

_EXACT_BELOW = 10_000  # reference rows; from there on NannyML counts in as many bins
_BINS = 10_000


def _binned(pair: Pair, name: str) -> tuple[Floats, Floats]:
    return reference_shares(*rows(pair, name)) if pair.kind == "numeric" else shares(pair, name)


def _jensen_shannon(p: Floats, q: Floats) -> float:
    return share_distances.jensen_shannon(p, q, base=2)


def _ks(reference: Floats, current: Floats) -> float:
    if len(reference) < _EXACT_BELOW:
        return ks_from_sorted(reference, current)
    return binned_ks(reference, current, _BINS)


def _wasserstein(reference: Floats, current: Floats) -> float:
    if len(reference) < _EXACT_BELOW:
        return wasserstein_from_sorted(reference, current)
    return binned_wasserstein(reference, current, _BINS)


_LEARNED = "NannyML sets its threshold from chunks of the reference: mean and three standard deviations"

METHODS = (
    convention("nannyml.jensen_shannon", ALL_KINDS, _binned, _jensen_shannon, None, "distance, base 2", _LEARNED),
    convention("nannyml.hellinger", ALL_KINDS, _binned, share_distances.hellinger, None, "distance", _LEARNED),
    convention("nannyml.kolmogorov_smirnov", NUMERIC, rows, _ks, None, "share", _LEARNED),
    convention("nannyml.wasserstein", NUMERIC, rows, _wasserstein, None, "unit of the column", _LEARNED),
    convention("nannyml.l_infinity", DISCRETE, shares, share_distances.l_infinity, None, "share", _LEARNED),
    tested("nannyml.chi2", DISCRETE, counts, scipy_stats.chi_squared, "NannyML alarms on its p-value, below 0.05"),
)
