"""Expected values: scikit-learn, and definitions worked by hand where it has none."""

import numpy as np
import pytest
from sklearn import metrics as sk

from driftwell.kernels.regression import (
    absolute_errors,
    percentage_errors,
    r_squared,
    squared_errors,
    squared_log_errors,
    symmetric_percentage_errors,
)


def amounts(seed=0, n=400):
    rng = np.random.default_rng(seed)
    labels = rng.gamma(2, 3, n) + 0.1
    return labels, np.maximum(labels + rng.normal(0, 1, n), 0)


@pytest.mark.parametrize(
    ("losses", "function"),
    [
        (absolute_errors, sk.mean_absolute_error),
        (squared_errors, sk.mean_squared_error),
        (squared_log_errors, sk.mean_squared_log_error),
        (percentage_errors, sk.mean_absolute_percentage_error),
    ],
)
def test_mean_loss_equals_scikit_learn(losses, function):
    labels, predictions = amounts()
    assert losses(labels, predictions).mean() == pytest.approx(function(labels, predictions))


def test_symmetric_percentage_by_hand():
    labels, predictions = np.array([100.0, -10.0, 0.0, 0.0]), np.array([80.0, 10.0, 5.0, 0.0])
    # 2·20/180, 2·20/20, 2·5/5, and 0 where both are 0
    assert symmetric_percentage_errors(labels, predictions) == pytest.approx([2 / 9, 2, 2, 0])


@pytest.mark.parametrize("shift", [0, 1e6])
def test_r_squared_equals_scikit_learn(shift):
    labels, predictions = amounts()
    expected = sk.r2_score(labels + shift, predictions + shift)
    assert r_squared(labels + shift, predictions + shift).value == pytest.approx(expected, rel=1e-7)


def test_r_squared_variance_is_the_spread_over_samples():
    # Independent source: the variance of ln(1 - R²) over 4,000 samples drawn anew.
    rng = np.random.default_rng(3)
    labels = rng.normal(0, 2, (4000, 500))
    predictions = labels + rng.normal(0, 1, labels.shape)
    rows = list(zip(labels, predictions, strict=True))
    spread = np.var([np.log(1 - sk.r2_score(y, p)) for y, p in rows])
    estimates = np.mean([r_squared(y, p).variance for y, p in rows[:500]])
    assert estimates == pytest.approx(spread, rel=0.1)


@pytest.mark.parametrize("labels", [[1.0], [0.1, 0.1, 0.1]], ids=["one row", "constant"])
def test_r_squared_needs_labels_that_differ(labels):
    labels = np.array(labels)
    assert r_squared(labels, labels + 1) is None


def test_perfect_r_squared_has_no_variance():
    labels = np.array([1.0, 2.0, 4.0])
    found = r_squared(labels, labels)
    assert (found.value, found.variance) == (1.0, None)
