"""Tails of rank statistics against scipy, published percentage points, and sums that are their definitions."""

from __future__ import annotations

import math
import warnings
from itertools import pairwise

import numpy as np
import pytest
from scipy.stats import anderson_ksamp, chi2, cramervonmises_2samp, norm

from driftwell.kernels.limit_tails import (
    _anderson_darling_tail,
    _cramer_von_mises_tail,
    anderson_darling_p_value,
    cramer_von_mises_p_value,
    kuiper_p_value,
    normal_p_value,
)
from driftwell.kernels.rank_tests import anderson_darling, runs


# Anderson and Darling 1952, table 1 (W²), and Stephens 1974, table 1A (A²), upper percentage points
@pytest.mark.parametrize(
    ("x", "p"), [(0.34730, 0.1), (0.46136, 0.05), (0.58061, 0.025), (0.74346, 0.01), (1.16786, 0.001)]
)
def test_cramer_von_mises_has_its_published_percentage_points(x: float, p: float) -> None:
    assert _cramer_von_mises_tail(x) == pytest.approx(p, rel=1e-4)


@pytest.mark.parametrize(("x", "p"), [(1.933, 0.1), (2.492, 0.05), (3.070, 0.025), (3.857, 0.01)])
def test_anderson_darling_has_its_published_percentage_points(x: float, p: float) -> None:
    assert _anderson_darling_tail(x) == pytest.approx(p, rel=0.03)  # published to three digits of simulation


@pytest.mark.parametrize("x", [0.02, 0.1, 1.0, 8.0, 30.0, 100.0])
@pytest.mark.parametrize("limit", ["cramer_von_mises", "anderson_darling"])
def test_tails_are_those_of_weighted_sums_of_squares(limit: str, x: float) -> None:
    """The definition, by drawing its first 300 terms; far out, by the first term alone, times the others' pull."""
    j = np.arange(1, 301)
    weights = 1 / (j * np.pi) ** 2 if limit == "cramer_von_mises" else 1 / (j * (j + 1))
    tail = _cramer_von_mises_tail if limit == "cramer_von_mises" else _anderson_darling_tail
    x = x * weights[0]  # so that both are looked at over the same part of their tails
    if x > 20 * weights[0]:
        # Zolotarev 1961: P(Q > x) tends to P(w1 Z² > x) · Π (1 - wj / w1)^(-1/2)
        many = np.arange(2, 1_000_000)
        ratio = 1 / many**2.0 if limit == "cramer_von_mises" else 2 / (many * (many + 1.0))
        pull = math.exp(-0.5 * np.log1p(-ratio).sum())
        assert tail(x) == pytest.approx(chi2.sf(x / weights[0], 1) * pull, rel=0.03)
        return
    rng = np.random.default_rng(3)
    drawn = (rng.chisquare(1, (20_000, 300)) * weights).sum(axis=1)
    p = np.mean(drawn > x)
    assert tail(x) == pytest.approx(p, abs=5 * math.sqrt(p * (1 - p) / 20_000) + 0.01)


def test_tails_are_one_at_nothing_and_fall_to_zero() -> None:
    for tail in (_cramer_von_mises_tail, _anderson_darling_tail):
        found = [tail(x) for x in (-1.0, 0.0, 0.001, 0.03, 0.1, 0.5, 2.0, 20.0, 200.0, 1e6)]
        assert found[:3] == [1.0, 1.0, 1.0]
        assert all(0 <= later <= earlier for earlier, later in pairwise(found))
        assert found[-1] == 0.0


@pytest.mark.parametrize(("n", "m"), [(50, 30), (200, 100), (1_000, 20)])
def test_cramer_von_mises_p_value_is_that_of_scipy(n: int, m: int) -> None:
    rng = np.random.default_rng(n)
    for shift in (0.0, 0.3, 0.6):
        a, b = rng.normal(size=n), rng.normal(size=m) + shift
        want = cramervonmises_2samp(a, b, method="asymptotic")
        assert cramer_von_mises_p_value(want.statistic, n, m) == pytest.approx(want.pvalue, rel=1e-6)


def test_anderson_darling_p_value_is_near_what_scipy_interpolates() -> None:
    """scipy fits a parabola through seven simulated points and stops at 0.001 and 0.25."""
    rng = np.random.default_rng(1)
    seen = 0
    for shift in np.linspace(0.1, 0.5, 30):
        a, b = rng.normal(size=200), rng.normal(size=150) + shift
        with warnings.catch_warnings():
            warnings.simplefilter("ignore")
            want = anderson_ksamp([a, b], midrank=True)
        statistic = anderson_darling(*runs(np.sort(a), np.sort(b)))[1]
        if 0.0011 < want.pvalue < 0.24:
            seen += 1
            assert anderson_darling_p_value(statistic) == pytest.approx(want.pvalue, rel=0.1)
    assert seen >= 10


# Kuiper 1960: upper percentage points of the limit V √n
@pytest.mark.parametrize(("x", "p"), [(1.620, 0.1), (1.747, 0.05), (1.862, 0.025), (2.001, 0.01)])
def test_kuiper_has_its_published_percentage_points(x: float, p: float) -> None:
    n = 10**8  # the correction for finite samples is gone
    assert kuiper_p_value(x / math.sqrt(n / 2), n, n) == pytest.approx(p, rel=0.01)


def test_kuiper_falls_from_one() -> None:
    found = [kuiper_p_value(v, 200, 100) for v in (0.0, 0.02, 0.05, 0.1, 0.2, 0.4, 1.0)]
    assert found[0] == found[1] == 1.0
    assert all(0 <= later <= earlier for earlier, later in pairwise(found))


def test_normal_p_value_has_two_sides() -> None:
    for z in (0.0, 1.0, -1.96, 8.0, 30.0):
        assert normal_p_value(z) == pytest.approx(2 * norm.sf(abs(z)), rel=1e-12)
