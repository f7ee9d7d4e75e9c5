"""Chatterjee's xi against its definition and, where SciPy has it, against SciPy."""

from __future__ import annotations

import numpy as np
import pytest
import scipy.stats

from driftwell.kernels.dependence import chatterjee_xi


def codes(values: np.ndarray) -> np.ndarray:
    return np.unique(values, return_inverse=True)[1]


@pytest.mark.parametrize("levels", [2, 3, 7, 1_000_000])
def test_agrees_with_scipy(levels: int) -> None:
    if not hasattr(scipy.stats, "chatterjeexi"):
        pytest.skip("this SciPy is older than 1.15")
    rng = np.random.default_rng(levels)
    x = rng.permutation(300).astype(float)  # SciPy breaks ties of x in the order given too; here there are none
    y = np.floor((np.sin(x / 40) + rng.normal(size=300) * 0.2 + 3) * levels / 6)
    assert chatterjee_xi(codes(x), codes(y)) == pytest.approx(scipy.stats.chatterjeexi(x, y).statistic, abs=1e-12)


def test_by_hand() -> None:
    # n = 4, y in the order of x: 0 0 1 1; ranks (number of y_j <= y_i) 2 2 4 4, so the sum of steps is 2.
    # l_i (number of y_j >= y_i) is 4 4 2 2: sum of l (n - l) = 0 + 0 + 4 + 4 = 8. xi = 1 - 4 * 2 / (2 * 8) = 1/2.
    assert chatterjee_xi(np.array([3, 1, 0, 2]), np.array([1, 0, 0, 1])) == 0.5


@pytest.mark.parametrize("label", [[], [1], [2, 2, 2]])
def test_nothing_can_determine_a_constant(label: list[int]) -> None:
    assert chatterjee_xi(np.arange(len(label)), np.array(label, np.int64)) is None
