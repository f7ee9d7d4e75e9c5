"""Energy distance against scipy, and the bounds that cells give."""

from __future__ import annotations

import math

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from scipy.stats import energy_distance

from driftwell.kernels.empirical import energy_from_cells, energy_from_sorted

values = st.lists(st.floats(-1e6, 1e6) | st.integers(-3, 3).map(float), min_size=1, max_size=50)


def ordered(cells: list[float]) -> np.ndarray:
    return np.sort(np.array(cells, np.float64))


@given(values, values)
def test_energy_is_that_of_scipy(first: list[float], second: list[float]) -> None:
    found = energy_from_sorted(ordered(first), ordered(second))
    assert found == pytest.approx(energy_distance(first, second), rel=1e-9, abs=1e-6)


def test_infinities_are_left_out_and_nothing_overflows() -> None:
    assert energy_from_sorted(ordered([-math.inf, 0.0]), ordered([2.0, math.inf])) == 2.0
    assert math.isnan(energy_from_sorted(ordered([math.inf]), ordered([1.0])))
    # all of one row from one end to the other: √(2 · 3.4e308)
    assert energy_from_sorted(ordered([-1.7e308]), ordered([1.7e308])) == pytest.approx(
        math.sqrt(2) * math.sqrt(3.4) * 1e154
    )


@given(values, values, st.lists(st.floats(-1e6, 1e6), min_size=1, max_size=12, unique=True))
def test_bounds_from_cells_hold_the_distance(first: list[float], second: list[float], cuts: list[float]) -> None:
    a, b, edges = ordered(first), ordered(second), ordered(cuts)
    at = [np.searchsorted(edges, side, "right") for side in (a, b)]
    n = len(edges) + 1
    counts = [np.bincount(cell, minlength=n) for cell in at]
    parts = [np.bincount(cell, weights=side, minlength=n) / len(side) for cell, side in zip(at, (a, b), strict=True)]
    span = min(a[0], b[0]), max(a[-1], b[-1])
    low, high = energy_from_cells(*counts, *parts, edges, np.zeros(n, np.bool_), 0.0, span)
    exact = energy_distance(a, b)
    rounding = 1e-9 * (1 + max(np.abs(a).max(), np.abs(b).max(), np.abs(edges).max()))
    assert low**2 - rounding <= exact**2 <= high**2 + rounding


def test_rounding_of_the_sums_widens_the_bounds() -> None:
    edges = np.array([1.0, 2.0])
    counts = np.array([2, 0, 0]), np.array([0, 1, 1])
    parts = np.array([0.5, 0.0, 0.0]), np.array([0.0, 0.75, 1.25])
    sharp = energy_from_cells(*counts, *parts, edges, np.zeros(3, np.bool_), 0.0, (0.5, 2.5))
    loose = energy_from_cells(*counts, *parts, edges, np.zeros(3, np.bool_), 0.2, (0.5, 2.5))
    exact = energy_distance([0.5, 0.5], [1.5, 2.5])
    assert loose[0] < sharp[0] <= exact <= sharp[1] < loose[1]
