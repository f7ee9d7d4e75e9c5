"""Confidence intervals of performance metrics: two-sided, closed form, each from a named source.

``level`` is the coverage aimed at (0.95). A function answers None where its method has no interval to give.
"""

from __future__ import annotations

import math
from collections.abc import Callable
from statistics import NormalDist

import numpy as np
import numpy.typing as npt

__all__ = [
    "Interval",
    "auc_interval",
    "average_precision_interval",
    "f1_interval",
    "fisher_z_interval",
    "log_scale_interval",
    "logit_interval",
    "mean_interval",
    "mean_of_proportions_interval",
    "wilson_interval",
]

Interval = tuple[float, float]
Floats = npt.NDArray[np.float64]
Ints = npt.NDArray[np.int64]


def wilson_interval(hits: float, n: float, level: float) -> Interval:
    """Wilson's score interval of a proportion, ``n`` ≥ 1.

    Valid for precision and recall too: given their denominators the numerators are binomial.

    References
    ----------
    .. [1] Wilson (1927), JASA 22, 209–212; recommended by Brown, Cai, DasGupta (2001), Statistical Science
       16.

    Examples
    --------
    >>> [round(limit, 4) for limit in wilson_interval(8, 10, 0.95)]
    [0.4902, 0.9433]
    """
    z2 = _z(level) ** 2
    centre = (hits + z2 / 2) / (n + z2)
    half = math.sqrt(z2) / (n + z2) * math.sqrt(hits * (n - hits) / n + z2 / 4)
    # At the ends the limit is the end itself; rounding must not push it past the value.
    low = 0.0 if hits == 0 else max(0.0, centre - half)
    return low, 1.0 if hits == n else min(1.0, centre + half)


def f1_interval(true_positives: int, errors: int, level: float) -> Interval:
    """F1 from Wilson's interval of ``J = TP / (TP + FP + FN)``, a binomial proportion, as ``2J / (1 + J)``.

    References
    ----------
    .. [1] Lam, Gopal, Qian (2024), Confidence intervals for the F1 score: a comparison of four methods,
       arXiv:2309.14621, the "Wilson indirect" method.

    Examples
    --------
    >>> [round(limit, 4) for limit in f1_interval(40, 20, 0.95)]
    [0.7018, 0.8718]
    """
    low, high = wilson_interval(true_positives, true_positives + errors, level)
    return 2 * low / (1 + low), 2 * high / (1 + high)


def mean_of_proportions_interval(hits: Ints, n: Ints, level: float) -> Interval:
    """Unweighted mean of independent proportions ``hits / n``; one with n = 0 is the constant 0.

    The sum of the unbiased variances ``p(1-p)/(n-1)`` on the logit scale; a proportion of a single row
    takes the pooled p. Where they are all zero: MOVER from Wilson's limits of each. (MOVER throughout
    covers only 83–93 % for five classes and more, because Wilson's limits lean to the middle and the
    leaning adds up.)

    References
    ----------
    .. [1] Zou, Donner (2008), Construction of confidence limits about effect measures, Statistics in
       Medicine 27, 1693–1702 (MOVER; for two proportions Newcombe's hybrid score method of 1998).

    Examples
    --------
    >>> low, high = mean_of_proportions_interval(np.array([45, 35]), np.array([50, 50]), 0.95)
    >>> round(low, 4), round(high, 4)
    (0.7124, 0.8659)
    """
    size = np.maximum(n, 1)
    shares = hits / size
    value = float(shares.mean())
    pooled = float(hits.sum()) / max(1, int(n.sum()))
    spread = np.where(n > 1, shares * (1 - shares) / np.maximum(size - 1, 1), pooled * (1 - pooled) * (n == 1))
    variance = float(spread.sum()) / n.size**2
    if variance > 0 and 0 < value < 1:
        return logit_interval(value, variance, level)
    rows = zip(hits.tolist(), n.tolist(), strict=True)
    low, high = np.array([wilson_interval(h, k, level) if k else (0.0, 0.0) for h, k in rows]).T
    below, above = np.linalg.norm(shares - low) / n.size, np.linalg.norm(high - shares) / n.size
    return max(0.0, value - float(below)), min(1.0, value + float(above))


def logit_interval(value: float, variance: float, level: float) -> Interval:
    """Normal interval on the logit scale of a value inside (0, 1), so that the limits stay there.

    Examples
    --------
    >>> [round(limit, 4) for limit in logit_interval(0.9, 0.03**2, 0.95)]
    [0.824, 0.9453]
    """
    return _logit(value, variance, _z(level))


def fisher_z_interval(value: float, variance: float, level: float) -> Interval:
    """Normal interval of a correlation inside (-1, 1) on Fisher's z scale, with the variance given.

    References
    ----------
    .. [1] Itaya, Tamura, Hayashi, Yamamoto (2024), Statistics in Medicine: better covered than the plain
       interval.

    Examples
    --------
    >>> [round(limit, 4) for limit in fisher_z_interval(0.8, 0.04**2, 0.95)]
    [0.7068, 0.8659]
    """
    half = _z(level) * math.sqrt(variance) / (1 - value * value)
    return math.tanh(math.atanh(value) - half), math.tanh(math.atanh(value) + half)


def log_scale_interval(value: float, log_variance: float, level: float) -> Interval:
    """Normal interval of a positive value on the log scale; ``log_variance`` is that of its logarithm.

    Examples
    --------
    >>> [round(limit, 4) for limit in log_scale_interval(2.0, 0.01, 0.95)]
    [1.644, 2.433]
    """
    factor = math.exp(min(700.0, _z(level) * math.sqrt(log_variance)))
    return value / factor, value * factor


def auc_interval(
    area: float, variance: float | None, degrees: float, positives: int, negatives: int, level: float
) -> Interval:
    """Area under the ROC curve: DeLong's variance on the logit scale, Student's quantile; else Newcombe's
    method 5.

    DeLong's variance is zero under complete separation and undefined with one row of a class; there the
    limits solve ``(θ - area)² = z² V(θ)`` with V the Hanley–McNeil variance under exponential scores.

    References
    ----------
    .. [1] Perme, Manevski (2019), Confidence intervals for the Mann–Whitney test, Statistical Methods in
       Medical Research 28: DeLong's variance on the logit scale, corrected under complete separation.
    .. [2] Brunner, Munzel (2000), Biometrical Journal 42: Satterthwaite's degrees of freedom for this
       variance.
    .. [3] Newcombe (2006), Confidence intervals for an effect size measure based on the Mann–Whitney
       statistic, part 2, Statistics in Medicine 25, 559–573, method 5.

    Examples
    --------
    >>> [round(limit, 4) for limit in auc_interval(0.9, 0.03**2, 60.0, 40, 60, 0.95)]
    [0.8221, 0.946]
    >>> [round(limit, 4) for limit in auc_interval(1.0, None, 0.0, 20, 20, 0.95)]
    [0.8987, 1.0]
    """
    if variance is not None and 0 < area < 1:
        return _logit(area, variance, _student(level, degrees))
    z2 = _z(level) ** 2
    half_rows = (positives + negatives) / 2 - 1

    def inside(theta: float) -> bool:
        spread = 1 + half_rows * ((1 - theta) / (2 - theta) + theta / (1 + theta))
        return (theta - area) ** 2 <= z2 * theta * (1 - theta) * spread / (positives * negatives)

    return _edge(inside, area, 0.0), _edge(inside, area, 1.0)


def average_precision_interval(value: float, positives: int, level: float) -> Interval:
    """Average precision as a proportion of the positives on the logit scale; Wilson's interval at 1.

    References
    ----------
    .. [1] Boyd, Eng, Page (2013), Area under the precision-recall curve: point estimates and confidence
       intervals, ECML PKDD, section 3.2: ``logit(AP) ± z / sqrt(positives · AP · (1 - AP))``.

    Examples
    --------
    >>> [round(limit, 4) for limit in average_precision_interval(0.8, 100, 0.95)]
    [0.7102, 0.8672]
    """
    if not 0 < value < 1:
        return wilson_interval(value * positives, positives, level)
    return logit_interval(value, value * (1 - value) / positives, level)


def mean_interval(losses: Floats, level: float, *, highest: float = math.inf) -> Interval | None:
    """Mean of independent losses in 0…``highest``: central limit theorem with Hall's correction.

    Losses are skewed (a few rows cost much); the plain Student interval then misses high means. Hall's
    transformation takes the skewness out: for the log loss of a good model on 100 rows coverage rises from
    79 % to 94 %. None where all losses are equal (one row included): their spread says nothing about the
    mean then.

    References
    ----------
    .. [1] Hall (1992), On the removal of skewness by transformation, JRSS B 54, 221–228, the cubic ``g``.

    Examples
    --------
    >>> [round(limit, 4) for limit in mean_interval(np.array([1.0, 2.0, 3.0, 4.0]), 0.95)]
    [0.4457, 4.5543]
    >>> [round(limit, 4) for limit in mean_interval(np.array([0.0, 0.0, 0.0, 1.0]), 0.95)]
    [0.0, 3.4516]
    """
    n = losses.size
    if n < 2 or losses.min() == losses.max():
        return None
    mean, sd = float(losses.mean()), float(losses.std(ddof=1))
    if not 0 < sd < math.inf:  # squares below or above what a float64 holds
        return None
    skewness = float((((losses - mean) / sd) ** 3).mean())
    reach = _student(level, n - 1) / math.sqrt(n)
    low, high = (mean - sd * _unskewed(end, skewness, n) for end in (reach, -reach))
    return max(0.0, low), min(highest, high)


def _z(level: float) -> float:
    return NormalDist().inv_cdf((1 + level) / 2)


def _student(level: float, degrees: float) -> float:
    from scipy.special import stdtrit

    return float(stdtrit(degrees, (1 + level) / 2))


def _logit(value: float, variance: float, quantile: float) -> Interval:
    centre = math.log(value / (1 - value))
    half = quantile * math.sqrt(variance) / (value * (1 - value))
    return _expit(centre - half), _expit(centre + half)


def _unskewed(y: float, skewness: float, n: int) -> float:
    """Inverse of Hall's cubic ``g(t) = t + γt²/3 + γ²t³/27 + γ/6n``."""
    if abs(skewness) < 1e-9:
        return y
    return 3 / skewness * (math.cbrt(1 + skewness * (y - skewness / (6 * n))) - 1)


def _expit(x: float) -> float:
    return 1 / (1 + math.exp(-x)) if x > -700 else 0.0


def _edge(inside: Callable[[float], bool], start: float, end: float) -> float:
    """Bisect for the last point on the way from ``start`` (inside) to ``end`` that is still inside."""
    for _ in range(60):
        middle = (start + end) / 2
        start, end = (middle, end) if inside(middle) else (start, middle)
    return end
