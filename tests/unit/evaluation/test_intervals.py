"""Expected values: scipy, the formulas solved by another route, and simulated properties."""

import math

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from scipy import optimize, stats

from driftwell.evaluation.intervals import (
    auc_interval,
    average_precision_interval,
    f1_interval,
    fisher_z_interval,
    log_scale_interval,
    logit_interval,
    mean_interval,
    mean_of_proportions_interval,
    wilson_interval,
)

LEVELS = [0.8, 0.95, 0.99]


@pytest.mark.parametrize("level", LEVELS)
@given(n=st.integers(1, 5000), share=st.floats(0, 1))
def test_wilson_equals_scipy(level, n, share):
    hits = round(share * n)
    expected = stats.binomtest(hits, n).proportion_ci(level, method="wilson")
    assert wilson_interval(hits, n, level) == pytest.approx((expected.low, expected.high), abs=1e-12)


@pytest.mark.parametrize(("tp", "errors"), [(40, 20), (0, 5), (5, 0)])
def test_f1_limits_invert_the_score_test_of_the_jaccard_share(tp, errors):
    n = tp + errors
    z = stats.norm.ppf(0.975)
    for limit in f1_interval(tp, errors, 0.95):
        share = limit / (2 - limit)  # F1 = 2J / (1 + J)
        if 0 < share < 1:
            assert abs(tp / n - share) / math.sqrt(share * (1 - share) / n) == pytest.approx(z)


def test_two_proportions_without_error_take_newcombes_limits():
    # MOVER with Wilson's limits (l, 1) of each: 1 - sqrt(((1 - l1)/2)² + ((1 - l2)/2)²).
    below = [1 - stats.binomtest(n, n).proportion_ci(method="wilson").low for n in (30, 50)]
    low, high = mean_of_proportions_interval(np.array([30, 50]), np.array([30, 50]), 0.95)
    assert (low, high) == (pytest.approx(1 - math.hypot(*below) / 2), 1.0)


def test_a_proportion_without_rows_is_the_constant_zero():
    low, high = mean_of_proportions_interval(np.array([8, 0]), np.array([10, 0]), 0.95)
    alone = mean_of_proportions_interval(np.array([8]), np.array([10]), 0.95)
    assert 0 < low < 0.4 < high < 1
    assert high - low < alone[1] - alone[0]


def test_proportions_of_one_row_take_the_pooled_variance():
    # Four single rows, half of them hits: variance 4 · ¼ / 16, the variance of the mean of four coins.
    low, high = mean_of_proportions_interval(np.array([1, 1, 0, 0]), np.ones(4, int), 0.95)
    scaled = stats.norm(0, 0.25 / 0.25).interval(0.95)
    assert (low, high) == pytest.approx(tuple(1 / (1 + math.exp(-x)) for x in scaled))


@pytest.mark.parametrize("level", LEVELS)
def test_normal_intervals_on_other_scales(level):
    # The same interval from scipy.stats.norm on the transformed scale, derivative by hand.
    scaled = stats.norm(math.log(0.9 / 0.1), 0.03 / 0.09).interval(level)
    assert logit_interval(0.9, 0.0009, level) == pytest.approx([1 / (1 + math.exp(-x)) for x in scaled])
    scaled = stats.norm(math.atanh(0.8), 0.04 / 0.36).interval(level)
    assert fisher_z_interval(0.8, 0.0016, level) == pytest.approx(np.tanh(scaled))
    scaled = stats.norm(math.log(2), 0.1).interval(level)
    assert log_scale_interval(2.0, 0.01, level) == pytest.approx(np.exp(scaled))


def test_area_uses_delong_and_students_quantile():
    half = stats.t(40).ppf(0.975) * 0.03 / 0.09
    expected = [1 / (1 + math.exp(-(math.log(9) + sign * half))) for sign in (-1, 1)]
    assert auc_interval(0.9, 0.0009, 40.0, 30, 70, 0.95) == pytest.approx(expected)


@pytest.mark.parametrize(("area", "m", "n"), [(1.0, 20, 20), (0.0, 10, 30), (0.5, 8, 8), (0.7, 1, 40)])
def test_area_without_a_variance_solves_newcombes_equation(area, m, n):
    z = stats.norm.ppf(0.975)

    def beyond(theta):
        spread = 1 + ((m + n) / 2 - 1) * ((1 - theta) / (2 - theta) + theta / (1 + theta))
        return (theta - area) ** 2 - z**2 * theta * (1 - theta) * spread / (m * n)

    low, high = auc_interval(area, None, math.inf, m, n, 0.95)
    assert low == pytest.approx(optimize.brentq(beyond, 1e-9, area - 1e-9) if area > 0 else 0, abs=1e-8)
    assert high == pytest.approx(optimize.brentq(beyond, area + 1e-9, 1 - 1e-9) if area < 1 else 1, abs=1e-8)


def test_average_precision_of_one_takes_wilsons_interval():
    expected = stats.binomtest(25, 25).proportion_ci(method="wilson")
    assert average_precision_interval(1.0, 25, 0.95) == pytest.approx((expected.low, expected.high))


@pytest.mark.parametrize("level", LEVELS)
def test_mean_of_symmetric_losses_takes_students_interval(level):
    losses = np.array([3.0, 4.0, 5.0, 6.0, 7.0])
    expected = stats.t(4, losses.mean(), stats.sem(losses)).interval(level)
    assert mean_interval(losses, level) == pytest.approx(expected)


def test_mean_of_skewed_losses_inverts_halls_cubic():
    losses = np.random.default_rng(1).exponential(2, 40)
    n, sd = losses.size, losses.std(ddof=1)
    skew = np.mean(((losses - losses.mean()) / sd) ** 3)

    def cubic(mean):
        t = (losses.mean() - mean) / sd
        return t + skew * t**2 / 3 + skew**2 * t**3 / 27 + skew / (6 * n)

    reach = stats.t(n - 1).ppf(0.975) / math.sqrt(n)
    low, high = mean_interval(losses, 0.95)
    assert (cubic(low), cubic(high)) == (pytest.approx(reach), pytest.approx(-reach))


@pytest.mark.parametrize("losses", [[], [2.0], [0.5, 0.5, 0.5]])
def test_losses_that_do_not_vary_have_no_interval(losses):
    assert mean_interval(np.array(losses), 0.95) is None


@given(st.lists(st.floats(0, 1), min_size=2, max_size=50))
def test_mean_interval_holds_the_mean_inside_its_range(losses):
    losses = np.array(losses)
    found = mean_interval(losses, 0.95, highest=1.0)
    if found is not None:
        assert 0 <= found[0] <= losses.mean() <= found[1] <= 1
