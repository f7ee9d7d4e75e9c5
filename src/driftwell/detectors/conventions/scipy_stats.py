"""Two-sample tests with the statistic and the p-value of the scipy function of the same name."""

from __future__ import annotations

import math

import numpy as np
import numpy.typing as npt

from driftwell.detectors.conventions.sides import DISCRETE, NUMERIC, convention, counts, rows, tested, two_values
from driftwell.errors import InsufficientData
from driftwell.kernels.empirical import wasserstein_from_sorted

__all__ = [
    "METHODS",
    "chi_squared",
    "cramer_von_mises",
    "energy",
    "fisher_exact",
    "ks",
    "mann_whitney",
    "student",
    "welch",
]

Floats = npt.NDArray[np.float64]
Counts = npt.NDArray[np.int64]
Found = tuple[float, float | None]


def ks(reference: Floats, current: Floats, method: str = "auto") -> Found:
    """``ks_2samp``: exact where both samples have at most 10,000 rows, beyond that ``asymp``."""
    from scipy.stats import ks_2samp

    found = ks_2samp(reference, current, method=method)
    return float(found.statistic), float(found.pvalue)


def cramer_von_mises(reference: Floats, current: Floats) -> Found:
    """``cramervonmises_2samp(method="auto")``: T, asymptotic where a sample has more than 20 rows."""
    from scipy.stats import cramervonmises_2samp

    if min(len(reference), len(current)) < 2:
        raise InsufficientData("the Cramér–von Mises test needs two values on each side")
    found = cramervonmises_2samp(reference, current)
    return float(found.statistic), float(found.pvalue)


def mann_whitney(reference: Floats, current: Floats, alternative: str = "two-sided") -> Found:
    """``mannwhitneyu``: U of the reference."""
    from scipy.stats import mannwhitneyu

    found = mannwhitneyu(reference, current, alternative=alternative)
    return float(found.statistic), float(found.pvalue)


def student(reference: Floats, current: Floats) -> Found:
    """``ttest_ind``: one variance for both samples."""
    n, m = len(reference), len(current)
    squares = np.sum((reference - reference.mean()) ** 2) + np.sum((current - current.mean()) ** 2)
    return _t(reference, current, squares / max(1, n + m - 2) * (1 / n + 1 / m), n + m - 2)


def welch(reference: Floats, current: Floats) -> Found:
    """``ttest_ind(equal_var=False)``."""
    n, m = len(reference), len(current)
    if min(n, m) < 2:
        raise InsufficientData("a t-test needs two values on each side")
    a, b = float(np.var(reference, ddof=1)) / n, float(np.var(current, ddof=1)) / m
    return _t(reference, current, a + b, (a + b) ** 2 / (a**2 / (n - 1) + b**2 / (m - 1)) if a + b > 0 else 1)


def energy(reference: Floats, current: Floats) -> float:
    """``energy_distance``, the root."""
    from scipy.stats import energy_distance

    return float(energy_distance(reference, current))


def chi_squared(reference: Counts, current: Counts) -> Found:
    """``chi2_contingency``, with Yates' correction where there are two categories; rare ones are not pooled."""
    from scipy.stats import chi2_contingency

    found = chi2_contingency(np.stack((reference, current)))
    return float(found.statistic), float(found.pvalue)


def fisher_exact(reference: Counts, current: Counts, alternative: str = "two-sided") -> Found:
    """``fisher_exact`` of the second value's rows, current before reference; the statistic is the odds ratio, 1 where
    it is undefined."""
    from scipy.stats import fisher_exact as exact

    table = np.stack((current, reference), axis=1)[::-1]
    found = exact(table, alternative=alternative)
    odds = float(found.statistic)
    return 1.0 if math.isnan(odds) else odds, float(found.pvalue)


def _t(reference: Floats, current: Floats, variance: float, df: float) -> Found:
    from scipy.special import stdtr

    if variance == 0 or df < 1:
        return math.nan, None
    t = float(reference.mean() - current.mean()) / math.sqrt(variance)
    return t, float(2 * stdtr(df, -abs(t)))


_WHY = "scipy gives a p-value and no threshold"
_NONE = "scipy gives a distance and no threshold"

METHODS = (
    tested("scipy.ks_2samp", NUMERIC, rows, ks, _WHY),
    tested("scipy.cramervonmises_2samp", NUMERIC, rows, cramer_von_mises, _WHY),
    tested("scipy.mannwhitneyu", NUMERIC, rows, mann_whitney, _WHY),
    tested("scipy.ttest_ind", NUMERIC, rows, student, _WHY),
    tested("scipy.chi2_contingency", DISCRETE, counts, chi_squared, _WHY),
    tested("scipy.fisher_exact", DISCRETE, two_values, fisher_exact, _WHY),
    convention("scipy.wasserstein_distance", NUMERIC, rows, wasserstein_from_sorted, None, "unit of the column", _NONE),
    convention("scipy.energy_distance", NUMERIC, rows, energy, None, "root of the column's unit", _NONE),
)
