"""Intervals and p-values for the population's distance."""

from __future__ import annotations

import math

import numpy as np
import pytest
from scipy.stats import binom, ncx2, norm

from driftwell.kernels.divergence import (
    hellinger,
    jensen_shannon,
    kullback_leibler,
    l_infinity,
    population_stability_index,
    total_variation,
)
from driftwell.kernels.relevance import (
    Scale,
    band_p_value,
    largest_share_margin,
    normal_shift_p_value,
    total_variation_margin,
)

PSI, KL, HELLINGER, JS = Scale(1, 1), Scale(2, 1), Scale(8, 2), Scale(8 * math.log(2), 2)
SCALED = [
    (PSI, population_stability_index),
    (KL, kullback_leibler),
    (HELLINGER, hellinger),
    (JS, jensen_shannon),
]
BEFORE = np.array([0.05, 0.1, 0.1, 0.15, 0.2, 0.2, 0.1, 0.1])
AFTER = BEFORE + np.array([0.01, -0.02, 0.02, -0.03, 0.03, 0.01, -0.01, -0.01])


@pytest.mark.parametrize(("m", "critical"), [(200, 0.338), (1_000, 0.181), (10_000, 0.1225), (100_000, 0.109)])
def test_relevance_has_the_critical_values_of_statistics_md(m: int, critical: float) -> None:
    """Section F: PSI exceeds 0.1 at alpha 0.001, ten groups, 100,000 reference rows."""
    assert PSI.exceeds_p_value(critical, 0.1, 10, 100_000, m) == pytest.approx(0.001, rel=0.25)


@pytest.mark.parametrize(("scale", "distance"), SCALED)
def test_scales_agree_on_a_small_change(scale: Scale, distance: object) -> None:
    """On shares themselves, without sampling, each distance is the chi-squared divergence in its own unit."""
    p, q = (BEFORE * 10**9).astype(np.int64), ((BEFORE + (AFTER - BEFORE) / 20) * 10**9).astype(np.int64)
    divergence = float(np.sum((q / q.sum() - p / p.sum()) ** 2 / (p / p.sum())))
    assert scale.factor * distance(p, q) ** scale.power == pytest.approx(divergence, rel=0.02)  # type: ignore[operator]


@pytest.mark.parametrize(("scale", "distance"), SCALED)
def test_intervals_cover_the_population_value(scale: Scale, distance: object) -> None:
    rng = np.random.default_rng(0)
    n, m, repeats = 4_000, 3_000, 1_000
    truth = distance((BEFORE * 10**9).astype(np.int64), (AFTER * 10**9).astype(np.int64))  # type: ignore[operator]
    covered = 0
    for _ in range(repeats):
        value = distance(rng.multinomial(n, BEFORE), rng.multinomial(m, AFTER))  # type: ignore[operator]
        low, high = scale.interval(value, 8, n, m) or (0, 0)
        covered += low <= truth <= high
    assert binom.ppf(0.0001, repeats, 0.95) - 10 <= covered <= binom.ppf(0.9999, repeats, 0.95) + 10


@pytest.mark.parametrize(("scale", "distance"), SCALED)
def test_debiased_values_average_the_population_value(scale: Scale, distance: object) -> None:
    rng = np.random.default_rng(1)
    n, m = 3_000, 1_000
    truth = distance((BEFORE * 10**9).astype(np.int64), (AFTER * 10**9).astype(np.int64))  # type: ignore[operator]
    raw = [distance(rng.multinomial(n, BEFORE), rng.multinomial(m, AFTER)) for _ in range(400)]  # type: ignore[operator]
    debiased = [scale.debiased(value, 8, n, m) ** scale.power for value in raw]
    off = abs(np.mean(debiased) - truth**scale.power)
    assert off < 0.25 * abs(np.mean(np.array(raw) ** scale.power) - truth**scale.power)


def test_interval_of_no_difference_starts_at_zero() -> None:
    low, high = PSI.interval(0.0, 10, 1_000, 1_000) or (1, 1)
    assert (low, high) == pytest.approx((0.0, 0.0), abs=1e-300)
    assert PSI.interval(0.5, 1, 1_000, 1_000) is None
    assert PSI.interval(math.inf, 5, 1_000, 1_000) is None


@pytest.mark.parametrize("size", [100, 10**5, 10**8])
def test_exceeds_is_scipys_non_central_chi_squared(size: int) -> None:
    a = 2 / size
    for value in (0.05, 0.1, 0.11, 0.3):
        want = ncx2.sf(value / a, 9, 0.1 / a)
        assert PSI.exceeds_p_value(value, 0.1, 10, size, size) == pytest.approx(want, rel=1e-9, abs=1e-300)
    assert PSI.exceeds_p_value(0.0, 0.0, 10, size, size) == 1.0
    assert PSI.exceeds_p_value(9.0, 0.0, 1, size, size) == 1.0


def test_band_p_value_is_where_the_lower_bound_meets_the_threshold() -> None:
    for alpha in (0.05, 0.001):
        margin = sum(math.sqrt(math.log(4 / alpha) / (2 * size)) for size in (500, 300))
        assert band_p_value(margin, 500, 300) == pytest.approx(alpha)
        assert band_p_value(2 * margin, 500, 300, bands=2) == pytest.approx(alpha)
    assert band_p_value(0.0, 500, 300) == band_p_value(-0.3, 500, 300) == 1.0


def test_normal_shift_by_hand() -> None:
    assert normal_shift_p_value(0.3, 0.1, 0.1) == pytest.approx(norm.sf(2) + norm.sf(4))
    assert normal_shift_p_value(0.0, 0.0, 0.1) == 1.0
    assert normal_shift_p_value(math.inf, 0.1, 0.0) == 0.0
    assert normal_shift_p_value(0.0, 0.1, 0.0) == 1.0


def test_margins_of_shares_cover_the_population_value() -> None:
    rng = np.random.default_rng(2)
    n, m = 500, 200
    for margin, distance in ((total_variation_margin, total_variation), (largest_share_margin, l_infinity)):
        truth = distance((BEFORE * 10**9).astype(np.int64), (AFTER * 10**9).astype(np.int64))
        drawn = [distance(rng.multinomial(n, BEFORE), rng.multinomial(m, AFTER)) for _ in range(500)]
        assert np.mean(np.abs(np.array(drawn) - truth) <= margin(8, n, m)) >= 0.95
        assert margin(8, 10**7, 10**7) < 0.01
