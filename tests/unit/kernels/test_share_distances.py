"""Distances of shares against scipy and by hand."""

from __future__ import annotations

import math

import numpy as np
import pytest
from scipy.spatial.distance import jensenshannon
from scipy.stats import entropy

from driftwell.kernels import share_distances as distances

RNG = np.random.default_rng(3)
P, Q = RNG.dirichlet(np.ones(7)), RNG.dirichlet(np.ones(7))
LEFT, RIGHT = np.array([1.0, 0.0]), np.array([0.0, 1.0])


def test_entropies_are_those_of_scipy() -> None:
    assert distances.relative_entropy(P, Q) == pytest.approx(entropy(P, Q), rel=1e-12)
    assert distances.psi(P, Q) == pytest.approx(entropy(P, Q) + entropy(Q, P), rel=1e-12)
    assert distances.jensen_shannon(P, Q, 2) == pytest.approx(jensenshannon(P, Q, 2), rel=1e-12)
    assert distances.jensen_shannon(3 * P, 5 * Q, math.e) == pytest.approx(jensenshannon(P, Q), rel=1e-12)


def test_empty_bins() -> None:
    assert distances.relative_entropy(LEFT, RIGHT) == math.inf
    assert distances.relative_entropy(LEFT, np.array([0.5, 0.5])) == pytest.approx(math.log(2))
    assert distances.jensen_shannon(LEFT, RIGHT, math.e) == pytest.approx(math.sqrt(math.log(2)))


def test_distances_by_hand() -> None:
    p, q = np.array([0.25, 0.75]), np.array([0.64, 0.36])
    assert distances.affinity(p, q) == pytest.approx(0.5 * 0.8 + math.sqrt(0.75) * 0.6)
    assert distances.hellinger(p, q) == pytest.approx(math.sqrt(1 - distances.affinity(p, q)))
    assert distances.overlap(p, q) == pytest.approx(0.25 + 0.36)
    assert distances.total_variation(p, q) == pytest.approx(0.39)
    assert distances.l_infinity(p, q) == pytest.approx(0.39)


@pytest.mark.parametrize(
    ("distance", "most"),
    [
        (distances.hellinger, 1.0),
        (distances.total_variation, 1.0),
        (distances.l_infinity, 1.0),
        (lambda p, q: 1 - distances.affinity(p, q), 1.0),
        (lambda p, q: 1 - distances.overlap(p, q), 1.0),
    ],
)
def test_equal_and_disjoint(distance: object, most: float) -> None:
    assert callable(distance)
    assert distance(P, P) == pytest.approx(0.0, abs=1e-15)
    assert distance(LEFT, RIGHT) == pytest.approx(most)
