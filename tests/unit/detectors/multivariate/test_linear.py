"""Hotelling's T² against Student's t, a regression and its written-out form; PCA against scikit-learn."""

from __future__ import annotations

import math

import numpy as np
import pytest
from scipy.stats import f as f_distribution
from scipy.stats import ttest_ind
from sklearn.decomposition import PCA

from driftwell.detectors.multivariate import hotelling_test, pca_reconstruction
from driftwell.errors import BadInput, InsufficientData


def samples(n: int, m: int, width: int, shift: float = 0.3) -> tuple[np.ndarray, np.ndarray]:
    rng = np.random.default_rng(2)
    return rng.normal(size=(n, width)), rng.normal(shift, 1.2, size=(m, width))


def test_hotelling_in_one_column_is_students_t_squared() -> None:
    x, y = samples(12, 19, 1)
    found, student = hotelling_test(x, y), ttest_ind(x[:, 0], y[:, 0])
    assert found.statistic == pytest.approx(student.statistic**2)
    assert found.p_value == pytest.approx(student.pvalue)
    assert found.degrees == (1, 29)


@pytest.mark.parametrize("width", [2, 5])
def test_hotelling_is_the_textbook_form(width: int) -> None:
    x, y = samples(30, 17, width)
    n, m = len(x), len(y)
    pooled = ((n - 1) * np.cov(x.T) + (m - 1) * np.cov(y.T)) / (n + m - 2)
    gap = x.mean(axis=0) - y.mean(axis=0)
    t_squared = n * m / (n + m) * gap @ np.linalg.inv(pooled) @ gap
    f_value = (n + m - width - 1) / ((n + m - 2) * width) * t_squared
    found = hotelling_test(x, y)
    assert found.statistic == pytest.approx(t_squared)
    assert found.f_value == pytest.approx(f_value)
    assert found.p_value == pytest.approx(f_distribution.sf(f_value, width, n + m - width - 1))


def test_hotelling_does_not_depend_on_units_or_mixing() -> None:
    x, y = samples(40, 50, 3)
    mix, offset = np.array([[1, 2, 0], [0, 1e-3, 5], [7, 0, 1e4]]), np.array([1e5, 0, -3])
    assert hotelling_test(x @ mix + offset, y @ mix + offset).statistic == pytest.approx(hotelling_test(x, y).statistic)


def test_hotelling_counts_repeated_columns_once() -> None:
    x, y = samples(40, 50, 2)
    once, twice = hotelling_test(x, y), hotelling_test(np.hstack([x, x]), np.hstack([y, y]))
    assert (twice.degrees, twice.statistic) == (once.degrees, pytest.approx(once.statistic))
    flags = {"c": ["u", "v"] * 20}, {"c": ["u", "u", "v"] * 20}
    assert hotelling_test(*flags).degrees == (1, 98)


def test_hotelling_sees_groups_without_any_spread() -> None:
    found = hotelling_test([1.0] * 10, [2.0] * 10)
    assert (found.statistic, found.p_value) == (math.inf, 0.0)
    assert found.to_dict()["statistic"] is None
    same = hotelling_test([1.0] * 10, [1.0] * 10)
    assert (same.statistic, same.p_value) == (0.0, 1.0)


def test_hotelling_needs_more_rows_than_columns() -> None:
    x, y = samples(4, 4, 7)
    with pytest.raises(InsufficientData, match="8 rows do not exceed 7 independent columns"):
        hotelling_test(x, y)


def test_pca_errors_are_sklearns() -> None:
    rng = np.random.default_rng(3)
    x, y = rng.normal(size=(101, 6)) @ rng.normal(size=(6, 6)), rng.normal(size=(40, 6))
    found = pca_reconstruction(x, y, explained=0.8, seed=5)
    order = np.random.default_rng(5).permutation(101)  # the first draw of the seed halves the reference
    fitted, held = x[order[:50]], x[order[50:]]
    centre, scale = fitted.mean(axis=0), fitted.std(axis=0)
    pca = PCA(n_components=0.8, svd_solver="full").fit((fitted - centre) / scale)

    def error(rows: np.ndarray) -> float:
        z = (rows - centre) / scale
        return float(np.linalg.norm(z - pca.inverse_transform(pca.transform(z)), axis=1).mean())

    assert found.n_components == pca.n_components_
    assert found.explained == pytest.approx(pca.explained_variance_ratio_.sum())
    assert found.error_reference == pytest.approx(error(held))
    assert found.error_current == pytest.approx(error(y))
    assert found.statistic == pytest.approx(error(y) - error(held))


def test_pca_finds_a_lost_dependence_in_both_directions() -> None:
    rng = np.random.default_rng(4)
    together = rng.normal(size=(300, 1)) + 0.3 * rng.normal(size=(300, 3))
    apart = rng.normal(size=(300, 3))
    lost, gained = pca_reconstruction(together, apart), pca_reconstruction(apart, together)
    assert lost.statistic > 0
    assert gained.statistic < 0
    assert lost.p_value == 0.001
    assert gained.p_value <= 0.05


def test_pca_leaves_constant_columns_out_and_says_so() -> None:
    rng = np.random.default_rng(1)
    x = {"a": rng.normal(size=50), "k": [3.0] * 50}
    found = pca_reconstruction(x, {"a": rng.normal(size=30), "k": [9.0] * 30})
    assert math.isfinite(found.statistic)
    assert found.notes == ("column 'k' is constant in the fitted half, at least in part: not reconstructed",)


def test_pca_is_reproducible() -> None:
    x, y = samples(50, 40, 4, shift=0.0)
    assert pca_reconstruction(x, y, seed=3) == pca_reconstruction(x, y, seed=3)
    assert len({pca_reconstruction(x, y, seed=seed).p_value for seed in range(4)}) > 1


@pytest.mark.parametrize("explained", [0, 1, 1.5, True, "most"])
def test_pca_refuses_a_share_outside_0_and_1(explained: object) -> None:
    with pytest.raises(BadInput, match="explained"):
        pca_reconstruction(np.eye(5), np.eye(5), explained=explained)


def test_pca_needs_rows_to_fit_on() -> None:
    with pytest.raises(InsufficientData, match="at least 4"):
        pca_reconstruction([1.0, 2.0, 3.0], [1.0, 2.0])
    with pytest.raises(InsufficientData, match="constant"):
        pca_reconstruction([1.0] * 10, [1.0, 2.0])
