"""Distances between two sets of counts over the same cells."""

from __future__ import annotations

from collections.abc import Callable

import numpy as np
import numpy.typing as npt

__all__ = [
    "bounds_by_terms",
    "hellinger",
    "hellinger_term",
    "jensen_shannon",
    "jensen_shannon_term",
    "kl_term",
    "kullback_leibler",
    "l_infinity",
    "population_stability_index",
    "psi_term",
    "psi_terms",
    "total_variation",
]

Counts = npt.NDArray[np.int64] | npt.NDArray[np.float64]  # rows of a weighted reference come in fractions
Floats = npt.NDArray[np.float64]
Term = Callable[[Floats, Floats], Floats]


def population_stability_index(reference: Counts, current: Counts) -> float:
    """Population stability index in nats, with 1/2 added to every cell's count so that empty cells stay
    finite.

    ``sum((q - p) · ln(q / p))`` with ``p = (reference + 1/2) / (n + K/2)`` and q likewise from ``current``.
    Shape ``(K,)`` each. One cell gives 0. Source: Yurdakul, *Statistical properties of population stability
    index*, 2018, equation 2.1; the half count is Jeffreys' prior.

    Examples
    --------
    >>> population_stability_index(np.array([50, 50]), np.array([50, 50]))
    0.0
    """
    return float(np.sum(psi_terms(reference, current)))


def psi_terms(reference: Counts, current: Counts) -> Floats:
    """What each cell adds to the population stability index, shape ``(K,)``; none is negative."""
    return psi_term(_smoothed(reference), _smoothed(current))


def kullback_leibler(reference: Counts, current: Counts) -> float:
    """Kullback–Leibler divergence of the current from the reference shares in nats, half counts added."""
    p, q = _smoothed(reference), _smoothed(current)
    return float(np.sum(q * np.log(q / p)))


def jensen_shannon(reference: Counts, current: Counts) -> float:
    """Jensen–Shannon distance, the root of the divergence in base 2: 0 equal, 1 disjoint (Lin 1991)."""
    p, q = _shares(reference), _shares(current)
    middle = (p + q) / 2
    divergence = (_entropy_against(p, middle) + _entropy_against(q, middle)) / 2
    return float(np.sqrt(max(divergence, 0.0)))


def hellinger(reference: Counts, current: Counts) -> float:
    """Hellinger distance ``sqrt(1 - sum sqrt(p q))``, in 0…1."""
    affinity = float(np.sum(np.sqrt(_shares(reference) * _shares(current))))
    return float(np.sqrt(max(1.0 - affinity, 0.0)))


def bounds_by_terms(term: Term, reference: Counts, current: Counts, slack: Counts, added: float) -> tuple[float, float]:
    """Least and largest sum of ``term(p, q)`` when each current count is right to within ``slack``.

    ``term`` is convex in q and least, 0, where q = p, so that its extremes over an interval lie at its ends and,
    where p lies inside, at p. That the counts add up is left out: the bounds are certain, not tight. ``added`` goes to
    each count before shares are taken.
    """
    p = (reference + added) / (reference.sum() + added * len(reference))
    total = current.sum() + added * len(current)
    least, most = (np.maximum(current - slack, 0) + added) / total, (current + slack + added) / total
    at_ends = np.stack((term(p, least), term(p, most)))
    inside = (least <= p) & (p <= most)
    return float(np.where(inside, 0.0, at_ends.min(axis=0)).sum()), float(at_ends.max(axis=0).sum())


def psi_term(p: Floats, q: Floats) -> Floats:
    """Of the population stability index."""
    return np.asarray((q - p) * np.log(q / p), np.float64)


def kl_term(p: Floats, q: Floats) -> Floats:
    """Of the Kullback–Leibler divergence, with ``p - q`` added, which sums to 0."""
    return np.asarray(q * np.log(q / p) + p - q, np.float64)


def hellinger_term(p: Floats, q: Floats) -> Floats:
    """Of the square of the Hellinger distance."""
    return np.asarray((np.sqrt(p) - np.sqrt(q)) ** 2 / 2, np.float64)


def jensen_shannon_term(p: Floats, q: Floats) -> Floats:
    """Of the square of the Jensen–Shannon distance, base 2."""
    middle = np.where(p + q > 0, (p + q) / 2, 1.0)
    return np.asarray((_plogp(p, middle) + _plogp(q, middle)) / 2, np.float64)


def _plogp(p: Floats, middle: Floats) -> Floats:
    return np.asarray(p * np.log2(np.where(p > 0, p, middle) / middle), np.float64)


def total_variation(reference: Counts, current: Counts) -> float:
    """Half the sum of absolute differences of the shares, in 0…1."""
    return float(np.abs(_shares(reference) - _shares(current)).sum() / 2)


def l_infinity(reference: Counts, current: Counts) -> float:
    """The largest absolute difference of a share, in 0…1."""
    return float(np.abs(_shares(reference) - _shares(current)).max(initial=0.0))


def _smoothed(counts: Counts) -> Floats:
    return np.asarray((counts + 0.5) / (counts.sum() + 0.5 * len(counts)), np.float64)


def _shares(counts: Counts) -> Floats:
    return np.asarray(counts / counts.sum(), np.float64)


def _entropy_against(p: Floats, middle: Floats) -> float:
    held = p > 0
    return float(np.sum(p[held] * np.log2(p[held] / middle[held])))
