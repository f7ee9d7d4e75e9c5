"""p-values of rank statistics from the distributions they tend to, exact far into the upper tail."""

from __future__ import annotations

import math

import numpy as np
import numpy.typing as npt

__all__ = ["anderson_darling_p_value", "cramer_von_mises_p_value", "kuiper_p_value", "normal_p_value"]

Floats = npt.NDArray[np.float64]

_ANDERSON_DARLING_SD = math.sqrt(2 * (math.pi**2 - 9) / 3)  # of the limit; its mean is 1
_NODES = np.cos((2 * np.arange(1, 257) - 1) * math.pi / 512)  # of the Gauss–Chebyshev rule
_INTERVALS = np.arange(1, 61)[:, None]


def normal_p_value(z: float) -> float:
    """Two-sided, of a standard normal statistic."""
    return math.erfc(abs(z) / math.sqrt(2))


def cramer_von_mises_p_value(statistic: float, n: int, m: int) -> float:
    """p-value of the two-sample T, with its exact mean and variance for these sizes.

    Source: Anderson 1962, equations 2 and 4, as ``scipy.stats.cramervonmises_2samp(method="asymptotic")``.
    """
    size, product = n + m, n * m
    mean = (1 + 1 / size) / 6
    variance = (size + 1) * (4 * product * size - 3 * (n**2 + m**2) - 2 * product) / (45 * size**2 * 4 * product)
    limit = 1 / 6 + (statistic - mean) / math.sqrt(45 * variance) if variance > 0 else 0.0
    return _cramer_von_mises_tail(limit)


def anderson_darling_p_value(statistic: float, independent: float = 1.0) -> float:
    """p-value of the normalised two-sample statistic, which tends to ``(A² - 1) / sd`` with the A² of one sample
    (Scholz and Stephens 1987, section 2); ``independent`` is what part of the sample sizes is."""
    return _anderson_darling_tail((1 + statistic * _ANDERSON_DARLING_SD) * independent)


def kuiper_p_value(statistic: float, n: int, m: int) -> float:
    """p-value of Kuiper's statistic at the effective size ``nm / (n + m)``.

    Sources: Kuiper 1960; the correction for finite samples is that of Stephens, *EDF statistics for goodness of fit*,
    1974.
    """
    root = math.sqrt(n * m / (n + m))
    scaled = (root + 0.155 + 0.24 / root) * statistic
    if scaled < 0.4:  # 1 to seven digits, and the series would cancel
        return 1.0
    squares = np.arange(1.0, 31.0) ** 2 * scaled**2
    return min(1.0, float(2 * np.sum((4 * squares - 1) * np.exp(-2 * squares))))


def _cramer_von_mises_tail(x: float) -> float:
    """``P(W² > x)``, W² being the sum of ``Z² / (j π)²`` over standard normal Z."""
    if x < 0.003:  # 1 within 1e-12
        return 1.0
    u = math.pi * (2 * _INTERVALS - 0.5 + _NODES / 2)
    return _alternating(np.exp(-x * u**2 / 2) / np.sqrt(u))


def _anderson_darling_tail(x: float) -> float:
    """``P(A² > x)``, A² being the sum of ``Z² / (j (j + 1))`` over standard normal Z."""
    if x < 0.03:
        return 1.0
    s = 4 * _INTERVALS + _NODES
    y = (s**2 - 1) / 4
    return _alternating(np.exp(-x * y / 2) * np.sqrt(math.pi / y) * s / (2 * math.pi))


def _alternating(terms: Floats) -> float:
    """Sum of ``(-1)^(k + 1) ∫ term / √cos(π t / 2)`` over t in (-1, 1) and k = 1, 2, …

    Smirnov's formula for a weighted sum of squared normals: between its zeros the determinant is a cosine times what
    is smooth. Every digit of a small tail is right, for nothing is taken from 1. Source: Smirnov, *On the
    distribution of the ω² criterion*, 1937; Martynov, *The omega square tests*, 1978.
    """
    smooth = np.sqrt((1 - _NODES**2) / np.cos(math.pi * _NODES / 2))
    integrals = (terms * smooth).sum(axis=1) * math.pi / len(_NODES)
    return float(np.clip(integrals[::2].sum() - integrals[1::2].sum(), 0.0, 1.0))
