"""KS and Wasserstein distances of many rows, which are cut before they are merged, against scipy."""

from __future__ import annotations

import numpy as np
import pytest
from scipy.stats import energy_distance, ks_2samp, wasserstein_distance

from driftwell.kernels.empirical import distances_from_sorted, energy_from_sorted

N, M = 20_000, 13_000
SHAPES = {
    "normal": lambda rng, n: rng.normal(size=n),
    "far from zero": lambda rng, n: 1e9 + rng.normal(size=n),
    "lognormal": lambda rng, n: rng.lognormal(0, 2, n),
    "cubed cauchy": lambda rng, n: rng.standard_cauchy(n) ** 3,
    "few integers": lambda rng, n: rng.integers(0, 5, n).astype(float),
    "many integers": lambda rng, n: rng.integers(0, 3_000, n).astype(float),
    "zero-inflated": lambda rng, n: np.where(rng.random(n) < 0.7, 0.0, rng.exponential(size=n)),
    "constant": lambda rng, n: np.full(n, 3.7),
    "huge": lambda rng, n: 1e300 * rng.normal(size=n),
    "tiny": lambda rng, n: 1e-290 * rng.normal(size=n),
    "many magnitudes": lambda rng, n: rng.normal(size=n) * 10.0 ** rng.integers(-200, 200, n),
}


@pytest.mark.filterwarnings("ignore:ks_2samp")  # scipy's p-value, not wanted here
@pytest.mark.parametrize("scale", [1.0, 1.3])
@pytest.mark.parametrize("shape", SHAPES)
def test_distances_of_many_rows_are_those_of_scipy(shape: str, scale: float) -> None:
    rng = np.random.default_rng(6)
    first, second = np.sort(SHAPES[shape](rng, N)), np.sort(SHAPES[shape](rng, M) * scale)
    ks, area = distances_from_sorted(first, second)
    assert ks == pytest.approx(float(ks_2samp(first, second, method="asymp").statistic), abs=1e-12)
    assert area == pytest.approx(wasserstein_distance(first, second), rel=1e-9, abs=1e-300)


def test_equal_samples_of_many_rows_are_at_distance_zero() -> None:
    rows = np.sort(np.random.default_rng(7).normal(size=N))
    assert distances_from_sorted(rows, rows) == (0.0, 0.0)


def test_disjoint_samples_of_many_rows() -> None:
    rows = np.sort(np.random.default_rng(7).random(N))
    ks, area = distances_from_sorted(rows, rows + 10)
    assert (ks, area) == (1.0, pytest.approx(10.0, rel=1e-12))


def test_infinities_of_many_rows_are_values_for_ks_alone() -> None:
    rng = np.random.default_rng(8)
    first, second = np.sort(rng.normal(size=N)), np.sort(rng.normal(size=M))
    first[:200], second[-300:] = -np.inf, np.inf
    ks, area = distances_from_sorted(first, second)
    # ranks alone decide KS, so that finite ends beyond all values must give the same
    stand_in = np.clip(first, -1e6, 1e6), np.clip(second, -1e6, 1e6)
    assert ks == pytest.approx(float(ks_2samp(*stand_in, method="asymp").statistic), abs=1e-12)
    assert area == pytest.approx(wasserstein_distance(first[200:], second[:-300]), rel=1e-9)


@pytest.mark.parametrize("shape", ["normal", "lognormal", "few integers", "zero-inflated", "far from zero"])
def test_energy_distance_is_that_of_scipy(shape: str) -> None:
    rng = np.random.default_rng(9)
    first, second = np.sort(SHAPES[shape](rng, 3_000)), np.sort(SHAPES[shape](rng, 2_000) * 1.1)
    assert energy_from_sorted(first, second) == pytest.approx(energy_distance(first, second), rel=1e-9)
