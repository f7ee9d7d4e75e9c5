"""Evidently's drift scores, as its ``evidently/legacy/calculations/stattests`` computes them (0.7)."""

from __future__ import annotations

import math

import numpy as np
import numpy.typing as npt

from driftwell.detectors.conventions import scipy_stats
from driftwell.detectors.conventions.sides import (
    ALL_KINDS,
    DISCRETE,
    NUMERIC,
    convention,
    counts,
    rows,
    shares,
    tested,
    two_values,
    typed_rows,
)
from driftwell.detectors.univariate import Pair
from driftwell.errors import InsufficientData
from driftwell.kernels import share_distances
from driftwell.kernels.empirical import wasserstein_from_sorted
from driftwell.kernels.histogram_shares import fill_zeros, pooled_shares

__all__ = ["METHODS"]

Floats = npt.NDArray[np.float64]
Counts = npt.NDArray[np.int64]

_FEW = 20  # a numeric column of at most so many reference values counts as categories
_SMALLEST_SPREAD = 0.001


def _binned(pair: Pair, name: str) -> tuple[Floats, Floats]:
    if pair.kind != "numeric":
        return shares(pair, name)
    reference, current = typed_rows(pair, name)
    return shares(pair, name) if len(np.unique(reference)) <= _FEW else pooled_shares(reference, current)


def _filled(pair: Pair, name: str) -> tuple[Floats, Floats]:
    p, q = _binned(pair, name)
    return fill_zeros(p), fill_zeros(q)


def _by_distinct_values(pair: Pair, name: str) -> tuple[Floats, Floats]:
    """Bins of equal width, as many as Sturges' rule says for the distinct values of both sides."""
    if pair.kind != "numeric":
        return shares(pair, name)
    reference, current = typed_rows(pair, name)
    return pooled_shares(reference, current, np.unique(np.concatenate((reference, current))))


def _jensen_shannon(p: Floats, q: Floats) -> float:
    return share_distances.jensen_shannon(p, q, base=math.e)


def _relative_entropy(p: Floats, q: Floats) -> float:
    return share_distances.relative_entropy(p / p.sum(), q / q.sum())


def _hellinger(p: Floats, q: Floats) -> float:
    return math.sqrt(max(0.0, 1 - share_distances.affinity(p, q)))


def _wasserstein(reference: Floats, current: Floats) -> float:
    return wasserstein_from_sorted(reference, current) / max(float(np.std(reference)), _SMALLEST_SPREAD)


def _chi_squared(reference: Counts, current: Counts) -> tuple[float, float | None]:
    """Current counts against the reference's shares, taken as known without error."""
    from scipy.special import chdtrc

    expected = reference * (current.sum() / reference.sum())
    with np.errstate(divide="ignore"):
        statistic = float(np.sum((current - expected) ** 2 / expected))
    return statistic, float(chdtrc(len(reference) - 1, statistic)) if len(reference) > 1 else None


def _g_test(reference: Counts, current: Counts) -> tuple[float, float | None]:
    """Current counts against the reference's counts, not scaled."""
    from scipy.special import chdtrc

    if reference.sum() != current.sum():
        raise InsufficientData("evidently.g_test needs as many rows on both sides: use g_test")
    statistic = 2 * share_distances.relative_entropy(current.astype(np.float64), reference.astype(np.float64))
    return statistic, float(chdtrc(len(reference) - 1, statistic)) if len(reference) > 1 else None


def _z_test(reference: Counts, current: Counts) -> tuple[float, float | None]:
    """Shares of everything but the first value in sorted order, with the pooled variance."""
    from scipy.special import ndtr

    n, m = reference.sum(), current.sum()
    if len(reference) == 1:
        return 0.0, 1.0
    first, pooled = (reference[0] / n, current[0] / m), (reference[0] + current[0]) / (n + m)
    z = (first[1] - first[0]) / math.sqrt(pooled * (1 - pooled) * (1 / n + 1 / m))
    return float(z), float(2 * (1 - ndtr(abs(z))))


def _fisher_exact(reference: Counts, current: Counts) -> tuple[float, float | None]:
    if reference.sum() != current.sum():
        raise InsufficientData("evidently.fisher_exact needs as many rows on both sides: use fisher_exact")
    return scipy_stats.fisher_exact(reference, current, alternative="two-sided")


def _mann_whitney(reference: Floats, current: Floats) -> tuple[float, float | None]:
    return scipy_stats.mann_whitney(reference, current, alternative="less")


_DEFAULT = "Evidently's default threshold"
_P = "Evidently alarms on its p-value, below {}"
_DRAWN = "Evidently alarms on a p-value of 1,000 random relabellings, which is not repeated here"

METHODS = (
    convention("evidently.psi", ALL_KINDS, _filled, share_distances.psi, 0.1, "nats", _DEFAULT),
    convention("evidently.kl", ALL_KINDS, _filled, _relative_entropy, 0.1, "nats", _DEFAULT),
    convention("evidently.jensen_shannon", ALL_KINDS, _binned, _jensen_shannon, 0.1, "distance, base e", _DEFAULT),
    convention("evidently.hellinger", ALL_KINDS, _by_distinct_values, _hellinger, 0.1, "distance", _DEFAULT),
    convention("evidently.wasserstein", NUMERIC, rows, _wasserstein, 0.1, "reference standard deviations", _DEFAULT),
    convention("evidently.energy", NUMERIC, rows, scipy_stats.energy, 0.1, "root of the column's unit", _DEFAULT),
    convention("evidently.total_variation", DISCRETE, shares, share_distances.total_variation, None, "share", _DRAWN),
    tested("evidently.chi_squared", ALL_KINDS, counts, _chi_squared, _P.format("0.05")),
    tested("evidently.z_test", ALL_KINDS, counts, _z_test, _P.format("0.05")),
    tested("evidently.g_test", DISCRETE, counts, _g_test, _P.format("0.1")),
    tested("evidently.fisher_exact", DISCRETE, two_values, _fisher_exact, _P.format("0.1")),
    tested("evidently.ks", NUMERIC, rows, scipy_stats.ks, _P.format("or at 0.05")),
    tested("evidently.cramer_von_mises", NUMERIC, rows, scipy_stats.cramer_von_mises, _P.format("or at 0.1")),
    tested("evidently.mann_whitney", NUMERIC, rows, _mann_whitney, _P.format("0.05")),
    tested("evidently.t_test", NUMERIC, rows, scipy_stats.student, _P.format("0.05")),
)
