"""How large a change is in the population, not only in the sample.

With a = 1/n + 1/m and K groups, the chi-squared divergence ``Σ (q - p)² / p`` of two samples is about ``a`` times a
chi-squared variable of K - 1 degrees of freedom, with non-centrality ``x / a`` where the populations are at divergence
x (Yurdakul, *Statistical properties of population stability index*, 2018). The population stability index is about x,
Kullback–Leibler x/2, squared Hellinger and Jensen–Shannon distance in nats x/8: one algebra for all.
"""

from __future__ import annotations

import math
from dataclasses import dataclass

import numpy as np
import numpy.typing as npt

__all__ = ["Scale", "band_p_value", "largest_share_margin", "normal_shift_p_value", "total_variation_margin"]

Counts = npt.NDArray[np.int64]


@dataclass(frozen=True, slots=True)
class Scale:
    """A distance v whose ``factor · v**power`` is about the chi-squared divergence.

    Examples
    --------
    >>> psi = Scale(1.0, 1)
    >>> round(psi.debiased(0.1, 10, 1_000, 500), 4)
    0.073
    """

    factor: float
    power: int

    def expected(self, groups: int, n: int, m: int) -> float:
        """What the distance is on average without change; the root of the mean square where it is a root."""
        return self._value((groups - 1) * (1 / n + 1 / m))

    def debiased(self, value: float, groups: int, n: int, m: int) -> float:
        """The distance without what the sample sizes alone add, at least 0."""
        return self._value(max(0.0, self._divergence(value) - (groups - 1) * (1 / n + 1 / m)))

    def interval(
        self, value: float, groups: int, n: int, m: int, confidence: float = 0.95
    ) -> tuple[float, float] | None:
        """Interval for the distance of the populations, None for a single group."""
        if groups < 2 or not math.isfinite(value):
            return None
        from scipy.special import chndtrinc

        a, tail = 1 / n + 1 / m, (1 - confidence) / 2
        statistic = self._divergence(value) / a
        low, high = (float(chndtrinc(statistic, groups - 1, at)) for at in (1 - tail, tail))
        # Below a billionth of the statistic the inverse is what is left of rounding, and a root would lift it.
        low = low if low > 1e-9 * statistic else 0.0
        return self._value(a * low), self._value(a * max(high, 0.0))

    def exceeds_p_value(self, value: float, threshold: float, groups: int, n: int, m: int) -> float:
        """p-value of the hypothesis that the populations are no farther apart than ``threshold``."""
        if groups < 2:
            return 1.0
        from scipy.stats import ncx2

        a = 1 / n + 1 / m
        return float(ncx2.sf(self._divergence(value) / a, groups - 1, self._divergence(threshold) / a))

    def _divergence(self, value: float) -> float:
        return self.factor * value**self.power

    def _value(self, divergence: float) -> float:
        return float((divergence / self.factor) ** (1 / self.power))


def band_p_value(excess: float, n: int, m: int, bands: int = 1) -> float:
    """Bound of the p-value of a difference of distribution functions that lies ``excess`` above a threshold.

    The Dvoretzky–Kiefer–Wolfowitz–Massart inequality on both samples; ``bands`` is how often the error enters: once
    for KS, twice for Kuiper. Holds at every sample size.
    """
    if excess <= 0:
        return 1.0
    width = bands * (1 / math.sqrt(2 * n) + 1 / math.sqrt(2 * m))
    return min(1.0, 4 * math.exp(-((excess / width) ** 2)))


def normal_shift_p_value(value: float, threshold: float, error: float) -> float:
    """p-value of the hypothesis that a shift is at most ``threshold`` either way, its standard error known."""
    if error == 0 or not math.isfinite(value):
        return 0.0 if value > threshold else 1.0
    root = math.sqrt(2) * error
    return min(1.0, (math.erfc((value - threshold) / root) + math.erfc((value + threshold) / root)) / 2)


def total_variation_margin(groups: int, n: int, m: int, confidence: float = 0.95) -> float:
    """How far a total variation can lie from the population's (Bretagnolle, Huber and Carol 1978, on both samples)."""
    log = groups * math.log(2) + math.log(2 / (1 - confidence))
    return (math.sqrt(2 * log / n) + math.sqrt(2 * log / m)) / 2


def largest_share_margin(groups: int, n: int, m: int, confidence: float = 0.95) -> float:
    """How far the largest difference of a share can lie from the population's (Hoeffding 1963, on every share)."""
    log = math.log(4 * groups / (1 - confidence))
    return math.sqrt(log / (2 * n)) + math.sqrt(log / (2 * m))
