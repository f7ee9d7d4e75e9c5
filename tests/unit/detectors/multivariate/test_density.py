"""The least-squares density difference against its formula solved directly, and against the true integral."""

from __future__ import annotations

import math

import numpy as np
import pytest
from sklearn.metrics.pairwise import rbf_kernel

from driftwell.detectors.multivariate import lsdd_test
from driftwell.detectors.multivariate.density import N_CENTRES, PENALTIES
from driftwell.errors import BadInput


def samples(n: int, m: int, width: int) -> tuple[np.ndarray, np.ndarray]:
    rng = np.random.default_rng(2)
    return rng.normal(size=(n, width)), rng.normal(0.5, 1.0, size=(m, width))


def test_lsdd_is_the_formula_solved_directly() -> None:
    x, y = samples(40, 30, 2)  # fewer rows than centres: every row is one
    found = lsdd_test(x, y, bandwidth=0.8)
    centres = np.concatenate([x, y])
    h = rbf_kernel(centres, x, 1 / (2 * 0.64)).mean(axis=1) - rbf_kernel(centres, y, 1 / (2 * 0.64)).mean(axis=1)
    H = rbf_kernel(centres, centres, 1 / (4 * 0.64))
    theta = np.linalg.solve(H + found.penalty * np.eye(70), h)
    assert found.statistic == pytest.approx(2 * h @ theta - theta @ H @ theta, rel=1e-8)
    assert (found.n_centres, found.bandwidth) == (70, 0.8)
    assert found.penalty in PENALTIES


def test_lsdd_approaches_the_integral_of_the_squared_difference() -> None:
    # For N(0, 1) and N(2, 1): ∫(p - q)² = 2 · (1 - exp(-1)) / √(4π), from the product of two normal densities.
    rng = np.random.default_rng(0)
    found = lsdd_test(rng.normal(size=20_000), rng.normal(2, 1, size=20_000), 20)
    truth = 2 * (1 - math.exp(-1)) / math.sqrt(4 * math.pi)
    assert found.n_centres == N_CENTRES
    assert found.statistic / math.sqrt(math.pi * found.bandwidth**2) == pytest.approx(truth, rel=0.1)


@pytest.mark.parametrize("change", [0.5, 1.6])
def test_lsdd_finds_mean_and_spread(change: float) -> None:
    rng = np.random.default_rng(3)
    x, y = rng.normal(size=(300, 3)), rng.normal(size=(300, 3))
    y = y + change if change < 1 else y * change
    assert lsdd_test(x, y).p_value <= 0.02


def test_lsdd_with_many_columns_stays_finite() -> None:
    x, y = samples(50, 60, 800)
    assert 0 < lsdd_test(x, y).statistic < 10


def test_lsdd_is_reproducible_and_survives_equal_rows() -> None:
    x, y = samples(300, 250, 2)
    y -= 0.5
    assert lsdd_test(x, y, seed=1) == lsdd_test(x, y, seed=1)
    assert len({lsdd_test(x, y, seed=seed).p_value for seed in range(6)}) > 1
    same = lsdd_test([3.0] * 9, [3.0] * 7)
    assert same.p_value == 1.0
    assert same.statistic == pytest.approx(0, abs=1e-15)


def test_lsdd_refuses_a_bandwidth_of_zero() -> None:
    with pytest.raises(BadInput, match="bandwidth"):
        lsdd_test([1.0, 2.0], [1.0, 2.0], bandwidth=0)
