"""Distances of counts against scipy, by hand where scipy has none, and their laws."""

from __future__ import annotations

import math
from collections.abc import Callable

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from scipy.spatial.distance import jensenshannon
from scipy.stats import entropy

from driftwell.kernels import divergence as d

Distance = Callable[[np.ndarray, np.ndarray], float]

PLAIN = {
    "jensen_shannon": d.jensen_shannon,
    "hellinger": d.hellinger,
    "total_variation": d.total_variation,
    "l_infinity": d.l_infinity,
}
SMOOTHED = {"psi": d.population_stability_index, "kl": d.kullback_leibler}

counts = st.lists(st.tuples(st.integers(0, 10_000), st.integers(0, 10_000)), min_size=1, max_size=30).filter(
    lambda pairs: all(map(any, zip(*pairs, strict=True)))
)


def sides(pairs: list[tuple[int, int]]) -> tuple[np.ndarray, np.ndarray]:
    reference, current = np.array(pairs, np.int64).T
    return reference, current


@given(counts)
def test_jensen_shannon_is_that_of_scipy(pairs: list[tuple[int, int]]) -> None:
    reference, current = sides(pairs)
    want = float(jensenshannon(reference / reference.sum(), current / current.sum(), base=2))
    # The divergence is a difference of entropies: near zero only its absolute error is small.
    assert d.jensen_shannon(reference, current) ** 2 == pytest.approx(want**2, rel=1e-9, abs=1e-14)


@given(counts)
def test_kl_is_scipys_relative_entropy_of_half_counts(pairs: list[tuple[int, int]]) -> None:
    reference, current = sides(pairs)
    want = float(entropy(current + 0.5, reference + 0.5))  # scipy normalises both
    assert d.kullback_leibler(reference, current) == pytest.approx(want, rel=1e-9, abs=1e-12)


@given(counts)
def test_psi_is_the_sum_of_both_relative_entropies(pairs: list[tuple[int, int]]) -> None:
    # Kullback and Leibler 1951: the symmetric divergence J(p, q) = KL(p | q) + KL(q | p).
    reference, current = sides(pairs)
    want = float(entropy(current + 0.5, reference + 0.5) + entropy(reference + 0.5, current + 0.5))
    assert d.population_stability_index(reference, current) == pytest.approx(want, rel=1e-9, abs=1e-12)


def test_values_by_hand() -> None:
    half, all_left, all_right = np.array([2, 2]), np.array([4, 0]), np.array([0, 4])
    assert d.total_variation(half, all_left) == 0.5
    assert d.l_infinity(half, all_left) == 0.5
    assert d.hellinger(half, all_left) == pytest.approx(math.sqrt(1 - math.sqrt(0.5)))
    # p = (1/2, 1/2), q = (9/10, 1/10): 0.4 ln(9/5) + (-0.4) ln(1/5) = 0.4 ln 9
    assert d.population_stability_index(half, all_left) == pytest.approx(0.4 * math.log(9))
    for distance in PLAIN.values():
        assert distance(all_left, all_right) == 1.0


@pytest.mark.parametrize("distance", [*PLAIN.values(), *SMOOTHED.values()])
@given(pairs=counts)
def test_equal_counts_are_at_distance_zero(distance: Distance, pairs: list[tuple[int, int]]) -> None:
    reference, _ = sides(pairs)
    assert distance(reference, reference) == pytest.approx(0.0, abs=1e-7)


@pytest.mark.parametrize("distance", [*PLAIN.values(), *SMOOTHED.values()])
@given(pairs=counts, seed=st.integers(0, 100))
def test_order_of_cells_does_not_matter(distance: Distance, pairs: list[tuple[int, int]], seed: int) -> None:
    reference, current = sides(pairs)
    order = np.random.default_rng(seed).permutation(len(reference))
    assert distance(reference[order], current[order]) == pytest.approx(distance(reference, current), abs=1e-9)


@pytest.mark.parametrize("name", [*PLAIN, "psi"])
@given(pairs=counts)
def test_symmetric_distances_are_symmetric(name: str, pairs: list[tuple[int, int]]) -> None:
    distance = (PLAIN | SMOOTHED)[name]
    reference, current = sides(pairs)
    assert distance(reference, current) == pytest.approx(distance(current, reference), rel=1e-9, abs=1e-12)


@pytest.mark.parametrize("distance", PLAIN.values())
@given(pairs=counts, scale=st.integers(2, 1000))
def test_plain_distances_know_shares_only(distance: Distance, pairs: list[tuple[int, int]], scale: int) -> None:
    reference, current = sides(pairs)
    assert 0.0 <= distance(reference, current) <= 1.0 + 1e-12
    assert distance(reference, current * scale) == pytest.approx(distance(reference, current), abs=1e-7)


@given(counts)
def test_smoothed_distances_are_finite_and_not_negative(pairs: list[tuple[int, int]]) -> None:
    for distance in SMOOTHED.values():
        value = distance(*sides(pairs))
        assert math.isfinite(value)
        assert value >= -1e-12


def test_one_cell_is_no_distance() -> None:
    for distance in (*PLAIN.values(), *SMOOTHED.values()):
        assert distance(np.array([7]), np.array([3])) == pytest.approx(0.0, abs=1e-9)


def test_psi_without_change_averages_what_is_expected() -> None:
    # Yurdakul 2018: (K - 1)(1/n + 1/m); simulated with 4,000 draws its mean has a relative error of about 0.7 %.
    rng = np.random.default_rng(0)
    n, m, cells, draws = 10_000, 1_000, 10, 4_000
    reference = rng.multinomial(n, np.full(cells, 1 / cells), draws)
    current = rng.multinomial(m, np.full(cells, 1 / cells), draws)
    found = np.mean([d.population_stability_index(a, b) for a, b in zip(reference, current, strict=True)])
    assert found == pytest.approx((cells - 1) * (1 / n + 1 / m), rel=0.03)
