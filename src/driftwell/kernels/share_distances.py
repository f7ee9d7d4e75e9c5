"""Distances between two lists of shares, nothing added: what to do about empty bins is the caller's choice.

``kernels/divergence.py`` has the distances Driftwell uses by default, between counts.
"""

from __future__ import annotations

import math

import numpy as np
import numpy.typing as npt

__all__ = [
    "affinity",
    "hellinger",
    "jensen_shannon",
    "l_infinity",
    "overlap",
    "psi",
    "relative_entropy",
    "total_variation",
]

Floats = npt.NDArray[np.float64]


def psi(p: Floats, q: Floats) -> float:
    """``Σ (p - q) ln(p / q)``; every share must be above 0."""
    return float(np.sum((p - q) * np.log(p / q)))


def relative_entropy(p: Floats, q: Floats) -> float:
    """``Σ p ln(p / q)`` in nats; infinite where q is 0 and p is not (Kullback and Leibler 1951)."""
    held = p > 0
    with np.errstate(divide="ignore"):
        return float(np.sum(p[held] * np.log(p[held] / q[held])))


def jensen_shannon(p: Floats, q: Floats, base: float) -> float:
    """Root of the Jensen–Shannon divergence of the normalised shares (Lin 1991), 0 to the root of ``log(2, base)``.

    Examples
    --------
    >>> round(jensen_shannon(np.array([1.0, 0.0]), np.array([0.0, 1.0]), 2), 9)
    1.0
    """
    p, q = p / p.sum(), q / q.sum()
    middle = (p + q) / 2
    nats = (relative_entropy(p, middle) + relative_entropy(q, middle)) / 2
    return math.sqrt(max(nats, 0.0) / math.log(base))


def affinity(p: Floats, q: Floats) -> float:
    """``Σ sqrt(p q)``, the Bhattacharyya coefficient: 1 equal, 0 disjoint."""
    return float(np.sum(np.sqrt(p * q)))


def hellinger(p: Floats, q: Floats) -> float:
    """``sqrt(Σ (sqrt p - sqrt q)² / 2)``, in 0…1."""
    return float(np.linalg.norm(np.sqrt(p) - np.sqrt(q)) / math.sqrt(2))


def overlap(p: Floats, q: Floats) -> float:
    """``Σ min(p, q)``, the histogram intersection: 1 equal, 0 disjoint (Swain and Ballard 1991)."""
    return float(np.sum(np.minimum(p, q)))


def total_variation(p: Floats, q: Floats) -> float:
    """Half the sum of absolute differences, in 0…1."""
    return float(np.sum(np.abs(p - q)) / 2)


def l_infinity(p: Floats, q: Floats) -> float:
    """The largest absolute difference, in 0…1."""
    return float(np.max(np.abs(p - q)))
