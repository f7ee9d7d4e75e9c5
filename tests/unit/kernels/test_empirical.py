"""KS and Wasserstein distances of sorted values against scipy, and the bounds that cells give."""

from __future__ import annotations

import math

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from scipy.stats import ks_2samp, wasserstein_distance

from driftwell.kernels.empirical import (
    distances_from_sorted,
    ks_from_cells,
    ks_from_sorted,
    wasserstein_from_cells,
    wasserstein_from_sorted,
)

values = st.lists(st.floats(-1e6, 1e6) | st.integers(-3, 3).map(float), min_size=1, max_size=50)


def ordered(cells: list[float]) -> np.ndarray:
    return np.sort(np.array(cells, np.float64))


@pytest.mark.filterwarnings("ignore:ks_2samp")  # scipy's p-value, not wanted here, can round to just above 1
@given(values, values)
def test_distances_are_those_of_scipy(first: list[float], second: list[float]) -> None:
    ks, area = distances_from_sorted(ordered(first), ordered(second))
    assert ks == pytest.approx(float(ks_2samp(first, second).statistic), abs=1e-12)
    assert area == pytest.approx(wasserstein_distance(first, second), rel=1e-9, abs=1e-9)


@given(values, values)
def test_distances_are_symmetric(first: list[float], second: list[float]) -> None:
    a, b = ordered(first), ordered(second)
    assert distances_from_sorted(a, b) == pytest.approx(distances_from_sorted(b, a), rel=1e-9, abs=1e-9)


@given(values)
def test_equal_samples_are_at_distance_zero(cells: list[float]) -> None:
    assert distances_from_sorted(ordered(cells), ordered(cells)) == (0.0, 0.0)
    # twice the same rows are the same distribution
    assert distances_from_sorted(ordered(cells), ordered(cells * 2)) == pytest.approx((0.0, 0.0), abs=1e-9)


@given(values, st.floats(0.5, 100.0))
def test_shifted_sample_is_that_far_away(cells: list[float], shift: float) -> None:
    moved = ordered([c + shift for c in cells])
    assert wasserstein_from_sorted(ordered(cells), moved) == pytest.approx(shift, rel=1e-9)


def test_disjoint_samples_are_at_ks_distance_one() -> None:
    assert ks_from_sorted(ordered([1, 2, 3]), ordered([4, 5])) == 1.0


def test_infinities_are_values_for_ks_and_left_out_of_wasserstein() -> None:
    reference = ordered([-math.inf, 0.0, 1.0, math.inf])
    current = ordered([0.0, 1.0, math.inf, math.inf])
    ks, area = distances_from_sorted(reference, current)
    assert ks == 0.25  # below every number: 1/4 against none
    assert area == 0.0


def test_side_without_finite_values_has_no_wasserstein_distance() -> None:
    assert math.isnan(distances_from_sorted(ordered([math.inf]), ordered([1.0]))[1])


def test_largest_numbers_do_not_overflow_where_the_distance_does_not() -> None:
    most = 1.7e308
    # one of two rows moves from one end to the other: half of 3.4e308
    assert wasserstein_from_sorted(ordered([-most, most]), ordered([most, most])) == pytest.approx(most)
    assert wasserstein_from_sorted(ordered([-most]), ordered([most])) == math.inf


def test_ks_bounds_by_hand() -> None:
    # Cells: below 0, [0, 1), [1, 2), from 2. At the edges F is 0, 1/2, 1, 1 and G is 0, 1/4, 1/2, 1.
    reference, current = np.array([0, 2, 2, 0]), np.array([0, 1, 1, 2])
    low, high = ks_from_cells(reference, current, np.zeros(4, np.bool_))
    assert low == 0.5
    # inside [1, 2) F may have reached 1 before G left 1/4
    assert high == 0.75


def test_atoms_and_one_sided_cells_leave_ks_exact() -> None:
    reference, current = np.array([0, 2, 2, 0]), np.array([0, 1, 1, 2])
    assert ks_from_cells(reference, current, np.array([False, True, True, False])) == (0.5, 0.5)
    assert ks_from_cells(np.array([3, 0, 1]), np.array([0, 5, 0]), np.zeros(3, np.bool_)) == (0.75, 0.75)


def cells_of(sample: np.ndarray, edges: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
    """Counts and parts of the mean over the cells of sorted edges."""
    at = np.searchsorted(edges, sample, "right")
    n = len(edges) + 1
    return np.bincount(at, minlength=n), np.bincount(at, weights=sample, minlength=n) / len(sample)


@given(values, values, st.lists(st.floats(-1e6, 1e6), min_size=1, max_size=12, unique=True))
def test_bounds_from_cells_hold_the_exact_distances(first: list[float], second: list[float], cuts: list[float]) -> None:
    a, b, edges = ordered(first), ordered(second), ordered(cuts)
    atoms = np.zeros(len(edges) + 1, np.bool_)
    (p, p_parts), (q, q_parts) = cells_of(a, edges), cells_of(b, edges)
    ks, area = distances_from_sorted(a, b)
    low, high = ks_from_cells(p, q, atoms)
    assert low <= ks <= high
    low, high = wasserstein_from_cells(p, q, p_parts, q_parts, edges, atoms, 0.0)
    rounding = 1e-9 * (1 + max(np.abs(a).max(), np.abs(b).max(), np.abs(edges).max()))
    assert low - rounding <= area <= high + rounding


def test_wasserstein_bounds_meet_where_no_cell_is_shared() -> None:
    a, b, edges = ordered([0.5, 0.5]), ordered([1.5, 2.5]), np.array([1.0, 2.0])
    (p, p_parts), (q, q_parts) = cells_of(a, edges), cells_of(b, edges)
    low, high = wasserstein_from_cells(p, q, p_parts, q_parts, edges, np.zeros(3, np.bool_), 0.0)
    assert low == pytest.approx(1.5)
    assert high == pytest.approx(1.5)


def test_wasserstein_bounds_give_way_by_the_rounding_of_the_sums() -> None:
    a, b, edges = ordered([0.5, 0.5]), ordered([1.5, 2.5]), np.array([1.0, 2.0])
    (p, p_parts), (q, q_parts) = cells_of(a, edges), cells_of(b, edges)
    low, high = wasserstein_from_cells(p, q, p_parts, q_parts, edges, np.zeros(3, np.bool_), 0.25)
    # each side's values may have moved by half a unit
    assert (low, high) == pytest.approx((1.25, 1.75))


def test_atoms_leave_wasserstein_exact_however_coarse_the_unit() -> None:
    edges = np.array([0.0, np.nextafter(0.0, 1), 3.0, np.nextafter(3.0, 4)])
    atoms = np.array([False, True, False, True, False])
    reference, current = np.array([0, 3, 0, 1, 0]), np.array([0, 1, 0, 3, 0])
    # half of the rows move by 3; the parts of the mean are not even looked at
    nothing = np.zeros(5)
    found = wasserstein_from_cells(reference, current, nothing, nothing, edges, atoms, 1.0)
    assert found == pytest.approx((1.5, 1.5))
