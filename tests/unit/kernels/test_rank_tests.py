"""Statistics of the order against scipy, from rows, and the bounds that cells give."""

from __future__ import annotations

import math
import warnings

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from scipy.stats import anderson_ksamp, cramervonmises_2samp, mannwhitneyu

from driftwell.kernels.rank_tests import (
    anderson_darling,
    cramer_von_mises,
    kuiper,
    mann_whitney,
    mann_whitney_sd,
    runs,
)

numbers = st.lists(st.floats(-1e6, 1e6) | st.integers(-3, 3).map(float), min_size=2, max_size=40)
cuts = st.lists(st.floats(-1e6, 1e6) | st.integers(-3, 3).map(float), min_size=1, max_size=8, unique=True)


def exact(first: list[float], second: list[float]) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
    """Cells of one value each."""
    a, b = runs(np.sort(np.array(first, float)), np.sort(np.array(second, float)))
    return a, b, np.zeros(len(a), np.bool_)


def binned(first: list[float], second: list[float], edges: list[float]) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
    """Wide cells between sorted edges."""
    at = [np.searchsorted(np.sort(edges), side, "right") for side in (first, second)]
    n = len(edges) + 1
    return np.bincount(at[0], minlength=n), np.bincount(at[1], minlength=n), np.ones(n, np.bool_)


def kuiper_by_hand(first: list[float], second: list[float]) -> float:
    """Both one-sided distances at every point."""
    a, b = np.array(first), np.array(second)
    gaps = [float(np.mean(a <= z) - np.mean(b <= z)) for z in [*first, *second]]
    return max(0.0, *gaps) + max(0.0, *(-gap for gap in gaps))


@given(numbers, numbers)
def test_kuiper_is_the_sum_of_both_distances(first: list[float], second: list[float]) -> None:
    low, high = kuiper(*exact(first, second))
    assert low == high == pytest.approx(kuiper_by_hand(first, second), abs=1e-12)


@given(numbers, numbers)
def test_mann_whitney_is_that_of_scipy(first: list[float], second: list[float]) -> None:
    cells = exact(first, second)
    want = mannwhitneyu(first, second, method="asymptotic", use_continuity=False)
    low, high = mann_whitney(*cells)
    assert low == high == want.statistic
    sd = mann_whitney_sd(*cells)
    if sd > 0:
        z = abs(low - len(first) * len(second) / 2) / sd
        assert math.erfc(z / math.sqrt(2)) == pytest.approx(want.pvalue, rel=1e-9)


@given(numbers, numbers)
def test_cramer_von_mises_is_that_of_scipy(first: list[float], second: list[float]) -> None:
    low, high, untied = cramer_von_mises(*exact(first, second))
    want = cramervonmises_2samp(first, second, method="asymptotic").statistic
    assert low == high == pytest.approx(want, rel=1e-9, abs=1e-9)
    if len({*first, *second}) == len(first) + len(second):
        assert untied == pytest.approx(want, rel=1e-9, abs=1e-9)


def test_untied_cramer_von_mises_is_the_mean_over_all_ways_to_break_ties() -> None:
    rng = np.random.default_rng(0)
    a, b = np.array([1, 1, 1, 2, 3, 3]), np.array([1, 2, 2, 3])
    broken = []
    for _ in range(4_000):
        jitter = rng.random(10) / 2
        broken.append(cramer_von_mises(*exact((a + jitter[:6]).tolist(), (b + jitter[6:]).tolist()))[0])
    error = np.std(broken) / math.sqrt(len(broken))
    assert cramer_von_mises(*exact(a.tolist(), b.tolist()))[2] == pytest.approx(np.mean(broken), abs=5 * error)


def test_equal_constant_columns_have_no_untied_difference() -> None:
    """scipy's T is 41,246 there, for its midranks count the ties inside each sample."""
    cells = exact([5.0] * 5_000, [5.0] * 50)
    want = cramervonmises_2samp([5.0] * 5_000, [5.0] * 50, method="asymptotic").statistic
    assert cramer_von_mises(*cells)[0] == pytest.approx(want)
    assert cramer_von_mises(*cells)[2] < 0.2


@pytest.mark.parametrize(("n", "m"), [(2, 2), (50, 30), (1_000, 20), (7, 300)])
@pytest.mark.parametrize("decimals", [12, 0])
def test_anderson_darling_is_that_of_scipy(n: int, m: int, decimals: int) -> None:
    rng = np.random.default_rng(n + m)
    first, second = np.round(3 * rng.normal(size=n), decimals), np.round(4 * rng.normal(size=m), decimals)
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")  # scipy caps its p-value, not wanted here
        want = anderson_ksamp([first, second], midrank=True).statistic
    found, untied = anderson_darling(*exact(first.tolist(), second.tolist())[:2])
    assert found == pytest.approx(want, rel=1e-9)
    if decimals == 12 and n + m > 50:
        with warnings.catch_warnings():
            warnings.simplefilter("ignore")
            without = anderson_ksamp([first, second], midrank=False).statistic  # equation 6, no ties
        assert untied == pytest.approx(without, rel=1e-9)


def test_untied_anderson_darling_is_the_mean_over_all_ways_to_break_ties() -> None:
    rng = np.random.default_rng(0)
    a, b = np.array([1, 1, 1, 2, 3, 3]), np.array([1, 2, 2, 3])
    broken = []
    for _ in range(4_000):
        jitter = rng.random(10) / 2
        broken.append(anderson_darling(*exact((a + jitter[:6]).tolist(), (b + jitter[6:]).tolist())[:2])[1])
    error = np.std(broken) / math.sqrt(len(broken))
    assert anderson_darling(*exact(a.tolist(), b.tolist())[:2])[1] == pytest.approx(np.mean(broken), abs=5 * error)


def test_large_cells_are_looked_at_in_enough_places() -> None:
    """The mean over all orders, place by place: the reference's rank among s drawn of a cell is hypergeometric."""
    a, b = [3_000, 5_000, 2_000], [3_300, 4_600, 2_100]
    n, m, size = sum(a), sum(b), sum(a) + sum(b)
    total = 0.0
    for cell in range(3):
        before, before_b, held = sum(a[:cell]), sum(b[:cell]), a[cell] + b[cell]
        for s in range(1, held + 1):
            rank = before + before_b + s
            if rank < size:
                mean = m * (before + s * a[cell] / held) - n * (before_b + s * b[cell] / held)
                variance = size**2 * s * (held - s) * a[cell] * b[cell] / (held**2 * (held - 1.0))
                total += (mean**2 + variance) / (rank * (size - rank))
    sd = math.sqrt(2 * (math.pi**2 - 9) / 3)  # of the limit
    assert anderson_darling(np.array(a), np.array(b))[1] == pytest.approx((total / (n * m) - 1) / sd, rel=1e-3)


def test_anderson_darling_without_any_spread_is_its_least_value() -> None:
    a, b = np.array([20]), np.array([10])
    assert anderson_darling(a, b)[0] < -1


@given(numbers, numbers, cuts)
def test_bounds_from_cells_hold_the_exact_statistics(first: list[float], second: list[float], at: list[float]) -> None:
    cells, rows = binned(first, second, at), exact(first, second)
    for statistic in (kuiper, mann_whitney):
        low, high = statistic(*cells)
        assert low - 1e-12 <= statistic(*rows)[0] <= high + 1e-12
    low, high, untied = cramer_von_mises(*cells)
    assert low - 1e-9 <= cramer_von_mises(*rows)[0] <= high + 1e-9
    assert untied - 1e-9 <= cramer_von_mises(*rows)[2]


def test_bounds_meet_where_no_cell_is_shared() -> None:
    cells = np.array([3, 0, 2, 0]), np.array([0, 4, 0, 1]), np.ones(4, np.bool_)
    assert kuiper(*cells)[0] == kuiper(*cells)[1]
    assert mann_whitney(*cells) == (8.0, 8.0)  # the two upper reference values lie above four current ones each


def test_runs_keep_infinities() -> None:
    a, b = runs(np.array([-math.inf, 0.0, math.inf]), np.array([0.0, math.inf, math.inf]))
    assert (a.tolist(), b.tolist()) == ([1, 1, 1], [0, 1, 2])
