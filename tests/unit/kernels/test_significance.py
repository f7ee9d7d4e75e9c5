"""p-values against scipy.stats, and what happens where scipy has none."""

from __future__ import annotations

import math
from collections.abc import Callable
from itertools import combinations, pairwise

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from scipy.stats import (
    chi2,
    chi2_contingency,
    chisquare,
    false_discovery_control,
    fisher_exact,
    ks_2samp,
    kstwo,
    ttest_ind,
)

from driftwell.kernels.significance import (
    adjust,
    chi_squared_test,
    dkw_margin,
    fisher_test,
    fold_unseen,
    frozen_groups_p_value,
    g_test,
    ks_p_value,
    pool_sparse,
    proportions_test,
    welch_test,
)

large_counts = st.lists(st.tuples(st.integers(20, 5_000), st.integers(20, 5_000)), min_size=2, max_size=12)


@given(large_counts)
def test_chi_squared_is_that_of_scipy(pairs: list[tuple[int, int]]) -> None:
    table = np.array(pairs).T
    *sides, sparse = pool_sparse(*table)
    pooled = np.stack(sides)
    if sparse or pooled.shape[1] < 2:
        return
    want = chi2_contingency(pooled, correction=False)
    assert chi_squared_test(*table) == pytest.approx((want.statistic, want.pvalue), rel=1e-9, abs=1e-300)


@given(large_counts)
def test_g_test_is_that_of_scipy(pairs: list[tuple[int, int]]) -> None:
    table = np.array(pairs).T
    *sides, sparse = pool_sparse(*table)
    pooled = np.stack(sides)
    if sparse or pooled.shape[1] < 2:
        return
    want = chi2_contingency(pooled, correction=False, lambda_="log-likelihood")
    statistic, p = g_test(*table)
    assert statistic == pytest.approx(want.statistic, rel=1e-7, abs=1e-8)
    assert p == pytest.approx(want.pvalue, rel=1e-6)


def test_large_cells_are_not_pooled() -> None:
    reference, current = np.array([40, 50, 60]), np.array([45, 45, 60])
    want = chi2_contingency(np.stack([reference, current]), correction=False)
    assert chi_squared_test(reference, current) == pytest.approx((want.statistic, want.pvalue))


@given(st.lists(st.tuples(st.integers(0, 40), st.integers(0, 40)), min_size=1, max_size=30))
def test_pooling_keeps_every_row_and_at_most_one_sparse_cell(pairs: list[tuple[int, int]]) -> None:
    reference, current = np.array(pairs).T
    a, b, sparse = pool_sparse(reference, current)
    assert (a.sum(), b.sum()) == (reference.sum(), current.sum())
    smaller = min(reference.sum(), current.sum()) / max(reference.sum() + current.sum(), 1)
    expected = (a + b) * smaller
    assert (expected[int(sparse) :] >= 5).all()
    if sparse:
        assert expected[0] < 5


def test_one_cell_is_no_test() -> None:
    for test in (chi_squared_test, g_test):
        assert test(np.array([50]), np.array([70])) == (0.0, None)
        assert test(np.array([2, 1, 1]), np.array([1, 1, 2])) == (0.0, None)  # too small to be told apart
        assert test(np.array([50, 0]), np.array([70, 0])) == (0.0, None)


def test_new_category_is_a_finite_statistic() -> None:
    statistic, p = chi_squared_test(np.array([500, 500, 0]), np.array([400, 400, 200]))
    assert math.isfinite(statistic)
    assert p is not None
    assert p < 1e-10


@pytest.mark.parametrize("test", [chi_squared_test, g_test])
def test_what_is_rare_is_judged_exactly(test: Callable[..., tuple[float, float | None]]) -> None:
    # One category left beside it: the exact test alone.
    _, p = test(np.array([10_000, 0]), np.array([97, 3]))
    assert p == pytest.approx(2 * fisher_exact([[97, 3], [10_000, 0]], "less").pvalue, rel=1e-6)
    # Several: a tenth of alpha for it, nine tenths for the others.
    n, m = np.array([5_000, 5_000, 0]), np.array([52, 45, 3])
    _, p = test(n, m)
    exact = 2 * fisher_exact([[97, 3], [10_000, 0]], "less").pvalue
    kind = "log-likelihood" if test is g_test else "pearson"
    others = chi2_contingency([n[:2], m[:2]], correction=False, lambda_=kind).pvalue
    assert p == pytest.approx(min(exact / 0.1, others / 0.9), rel=1e-6)


@pytest.mark.parametrize("test", [chi_squared_test, g_test])
def test_renamed_category_is_never_merged_out_of_sight(test: Callable[..., tuple[float, float | None]]) -> None:
    """The tenth of the rows called A is called B now: pooled, B is expected to hold 2.4 rows of 500."""
    _, p = test(np.array([9_000, 1_000, 0]), np.array([450, 0, 50]))
    assert p is not None
    assert p < 1e-20
    _, p = test(np.array([10_000, 0]), np.array([0, 100]))
    assert p is not None
    assert p < 1e-20


def test_unseen_categories_are_told_by_leaving_one_out() -> None:
    # Categories held 1, 1, 2, 3, 5 and 2,000 times, none unseen; at these sizes fewer than ten are rare.
    reference, current = np.array([1, 1, 2, 3, 10, 1_983, 0]), np.array([0, 1, 2, 3, 9, 1_975, 10])
    folded = fold_unseen(reference, current, 6)
    # unseen when left out: the two held once; rare: 2 + 3 and the ten held one time too many
    assert folded[0].tolist() == [2, 15, 10, 1_983]
    assert folded[1].tolist() == [10, 6, 9, 1_975]


def test_column_of_identifiers_has_nothing_to_test() -> None:
    """Every row its own category: all of a new window is unseen, and so is each row of the reference by itself."""
    reference, current = np.append(np.ones(1_000, np.int64), 0), np.append(np.zeros(1_000, np.int64), 300)
    assert chi_squared_test(*fold_unseen(reference, current, 1_000))[1] is None


def test_cells_cut_from_the_reference_are_judged_by_its_shares() -> None:
    # Pearson's one-sample statistic against fixed shares, as the reference grows beyond all bounds
    current = np.array([30, 12, 8])
    fixed = chisquare(current, [25, 15, 10])
    assert frozen_groups_p_value(np.array([5, 3, 2]) * 10**9, current, 3) == pytest.approx(fixed.pvalue, rel=1e-6)
    # with two samples of one size the variance is twice that
    n = np.array([500, 300, 200])
    m = np.array([450, 330, 220])
    statistic = np.sum((m - n) ** 2 / n) / 2
    assert frozen_groups_p_value(n, m, 3) == pytest.approx(chi2.sf(statistic, 2))


def test_cells_not_cut_from_the_reference_are_judged_by_pooled_shares() -> None:
    """One frozen cell and one of missing rows."""
    n, m = np.array([900, 100]), np.array([400, 100])
    share = np.array([0.9, 200 / 1_500])  # the frozen cell by the reference, the other pooled
    statistic = np.sum((m / 500 - n / 1_000) ** 2 / share) / (1 / 1_000 + 1 / 500)
    assert frozen_groups_p_value(n, m, 1) == pytest.approx(chi2.sf(statistic, 1))


def test_sparse_cells_join_their_neighbours_by_the_reference_alone() -> None:
    reference = np.full(10, 1_000)
    rng = np.random.default_rng(0)
    for m in (50, 49, 30, 12):
        current = rng.multinomial(m, np.full(10, 0.1))
        wide = -(-50 // m)  # cells that together expect five rows
        starts = list(range(0, 10, wide))
        if len(starts) * wide > 10:
            starts.pop()  # the remainder joins the last
        p, q = np.add.reduceat(reference, starts) / 10_000, np.add.reduceat(current, starts) / m
        statistic = np.sum((q - p) ** 2 / p) / (1 / 10_000 + 1 / m)
        assert frozen_groups_p_value(reference, current, 10) == pytest.approx(chi2.sf(statistic, len(starts) - 1))


def test_one_run_of_cells_is_no_test() -> None:
    assert frozen_groups_p_value(np.array([100, 100]), np.array([2, 2]), 2) is None
    assert frozen_groups_p_value(np.array([100]), np.array([50]), 1) is None


def test_values_the_reference_never_had_are_seen() -> None:
    """The reference holds one value; half of the current rows hold another, or none."""
    for current in ([50, 50, 0], [50, 0, 50]):
        p = frozen_groups_p_value(np.array([1_000, 0, 1]), np.array(current), 2)
        assert p is not None
        assert p < 1e-10


# -- KS ------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize(("n", "m"), [(20, 20), (37, 20), (100, 10), (999, 1000), (64, 1), (500, 125), (2, 2)])
def test_exact_ks_is_that_of_scipy(n: int, m: int) -> None:
    rng = np.random.default_rng(n * m)
    for shift in (0.0, 0.3, 1.0, 3.0):
        a, b = rng.normal(size=n), rng.normal(size=m) + shift
        want = ks_2samp(a, b, method="exact")
        assert ks_p_value(float(want.statistic), n, m) == pytest.approx(want.pvalue, rel=1e-9)


@pytest.mark.parametrize(("n", "m"), [(7, 5), (6, 6), (9, 3), (8, 6)])
def test_exact_ks_is_a_share_of_orderings(n: int, m: int) -> None:
    """Every ordering of the pooled sample is equally likely: count those at least as far apart."""
    far: dict[int, int] = {}
    orderings = 0
    for chosen in combinations(range(n + m), n):
        first = np.zeros(n + m, np.int64)
        first[list(chosen)] = 1
        gap = np.abs(np.cumsum(first) * m - np.cumsum(1 - first) * n).max()
        far[int(gap)] = far.get(int(gap), 0) + 1
        orderings += 1
    for reach in far:
        share = sum(count for gap, count in far.items() if gap >= reach) / orderings
        assert ks_p_value(reach / (n * m), n, m) == pytest.approx(share, rel=1e-9)


def test_tiny_exact_p_values_keep_their_precision() -> None:
    # Complete separation: 2 of the C(n + m, n) orderings.
    for n, m in ((30, 20), (100, 99), (200, 200)):
        assert ks_p_value(1.0, n, m) == pytest.approx(2 / math.comb(n + m, n), rel=1e-9)


@pytest.mark.parametrize(("n", "m"), [(10_001, 500), (50_000, 50_000), (1_000_000, 20)])
def test_large_samples_use_the_distribution_scipy_uses(n: int, m: int) -> None:
    for scaled in (0.5, 1.0, 1.36, 3.0):
        d = min(1.0, scaled / math.sqrt(n * m / (n + m)))
        assert ks_p_value(d, n, m) == pytest.approx(float(kstwo.sf(d, round(n * m / (n + m)))), rel=1e-12)


@pytest.mark.parametrize(("n", "m"), [(2_000, 1_999), (5_000, 4_001)])
def test_long_computations_agree_with_scipys_exact_value_down_to_1e_12(n: int, m: int) -> None:
    rng = np.random.default_rng(n)
    for shift in (0.02, 0.1, 0.13):
        a, b = rng.normal(size=n), rng.normal(size=m) + shift
        want = ks_2samp(a, b, method="exact")
        assert want.pvalue > 1e-12
        assert ks_p_value(float(want.statistic), n, m) == pytest.approx(want.pvalue, rel=1e-9)


def test_beyond_doubt_the_long_computation_is_spared() -> None:
    """At sizes near 10,000 a distance of 0.9 would take half a second; its p-value is below 1e-1000 either way."""
    for d in (0.1, 0.3, 0.9):
        reach = round(d * 10_000 * 9_999) / (10_000 * 9_999)
        assert ks_p_value(reach, 10_000, 9_999) == float(kstwo.sf(reach, round(10_000 * 9_999 / 19_999)))
    bound = 4 * math.exp(-2 * 0.1**2 * 10_000 * 9_999 / (100 + math.sqrt(9_999)) ** 2)
    assert ks_p_value(0.1, 10_000, 9_999) < bound < 1e-12


# -- two groups ----------------------------------------------------------------------------------------------


@given(st.integers(1, 60), st.integers(1, 60), st.data())
def test_two_groups_are_those_of_scipy(n: int, m: int, data: st.DataObject) -> None:
    x, y = data.draw(st.integers(0, n)), data.draw(st.integers(0, m))
    z, p = proportions_test(x, n, y, m)
    if x + y in (0, n + m):
        assert (z, p) == (0.0, None)
        return
    table = np.array([[n - x, x], [m - y, y]])
    pearson = chi2_contingency(table, correction=False)
    assert z**2 == pytest.approx(pearson.statistic, abs=1e-12)
    assert p == pytest.approx(pearson.pvalue)
    want = fisher_exact(table)
    assert fisher_test(*table) == pytest.approx((want.statistic, want.pvalue))


def test_exact_and_large_sample_p_values_meet() -> None:
    for d in (0.015, 0.02, 0.025):
        assert ks_p_value(d, 10_000, 10_000) == pytest.approx(float(kstwo.sf(d, 5_000)), rel=0.05)


@pytest.mark.parametrize(("n", "m"), [(1, 1), (5, 5), (60, 60), (9_364, 9_364), (10_000, 9_999), (20_000, 1)])
def test_ks_p_value_is_one_without_a_difference(n: int, m: int) -> None:
    assert ks_p_value(0.0, n, m) == 1.0
    smallest = 1 / (n * m // math.gcd(n, m))
    assert ks_p_value(smallest, n, m) == pytest.approx(1.0, abs=1e-9)


@given(st.integers(1, 80), st.integers(1, 80))
def test_ks_p_value_falls_as_the_distance_grows(n: int, m: int) -> None:
    rng = np.random.default_rng(n * 100 + m)
    a = np.sort(rng.normal(size=n))
    found = []
    for shift in (0.0, 0.5, 1.0, 2.0, 9.0):
        b = np.sort(rng.normal(size=m) + shift)
        both = np.concatenate((a, b))
        gap = np.abs(np.searchsorted(a, both, "right") / n - np.searchsorted(b, both, "right") / m).max()
        found.append((float(gap), ks_p_value(float(gap), n, m)))
    found.sort()
    p_values = [p for _, p in found]
    assert all(0 <= p <= 1 for p in p_values)
    assert all(later <= earlier * (1 + 1e-9) for earlier, later in pairwise(p_values))


def test_dkw_margin_covers_the_population_value() -> None:
    # Massart 1990: the band holds with at least the stated confidence; here the truth is D = 0.
    rng = np.random.default_rng(5)
    n, m = 200, 100
    margin = dkw_margin(n, m)
    inside = 0
    for _ in range(500):
        a, b = np.sort(rng.random(n)), np.sort(rng.random(m))
        both = np.concatenate((a, b))
        gap = np.abs(np.searchsorted(a, both, "right") / n - np.searchsorted(b, both, "right") / m).max()
        inside += gap <= margin
    assert inside >= 475
    assert dkw_margin(10**6, 10**6) < 0.004


# -- Welch ---------------------------------------------------------------------------------------------------


@given(
    st.lists(st.floats(-1e3, 1e3), min_size=2, max_size=30, unique=True),
    st.lists(st.floats(-1e3, 1e3), min_size=2, max_size=30, unique=True),
)
def test_welch_is_that_of_scipy(first: list[float], second: list[float]) -> None:
    a, b = np.array(first), np.array(second)
    if min(a.std(), b.std()) < 1e-3:
        return  # scipy warns of cancellation there
    statistic, p = welch_test(a.mean(), a.std(ddof=1), len(a), b.mean(), b.std(ddof=1), len(b))
    want = ttest_ind(a, b, equal_var=False)
    assert statistic == pytest.approx(abs(want.statistic), rel=1e-6, abs=1e-9)
    assert p == pytest.approx(want.pvalue, rel=1e-6, abs=1e-12)


def test_welch_without_spread_has_no_p_value() -> None:
    assert welch_test(1.0, 0.0, 10, 1.0, 0.0, 10) == (0.0, None)
    assert welch_test(1.0, 0.0, 10, 2.0, 0.0, 10) == (math.inf, None)
    assert welch_test(1.0, 1.0, 1, 2.0, 1.0, 10)[1] is None


@pytest.mark.parametrize("scale", [1e-200, 1.0, 1e200])
def test_welch_does_not_depend_on_the_unit(scale: float) -> None:
    found = welch_test(1.0 * scale, 2.0 * scale, 50, 1.5 * scale, 3.0 * scale, 40)
    assert found == pytest.approx(welch_test(1.0, 2.0, 50, 1.5, 3.0, 40), rel=1e-12)


def test_welch_beyond_float64_has_no_p_value() -> None:
    statistic, p = welch_test(0.0, math.inf, 10, 1.0, 1.0, 10)
    assert math.isnan(statistic)
    assert p is None


# -- many tests at once --------------------------------------------------------------------------------------

p_lists = st.lists(st.floats(0, 1), min_size=1, max_size=40)


@given(p_lists)
def test_bh_is_that_of_scipy(p_values: list[float]) -> None:
    assert adjust(list(p_values), "bh") == pytest.approx(false_discovery_control(p_values).tolist(), abs=1e-15)


@given(p_lists, st.integers(0, 40))
def test_tests_without_a_p_value_do_not_count(p_values: list[float], at: int) -> None:
    holed: list[float | None] = [*p_values]
    holed.insert(min(at, len(holed)), None)
    adjusted = adjust(holed, "bh")
    assert adjusted.pop(min(at, len(p_values))) is None
    assert adjusted == adjust(list(p_values), "bh")


def test_bonferroni_and_none() -> None:
    assert adjust([0.01, None, 0.5], "bonferroni") == [0.02, None, 1.0]
    assert adjust([0.01, None, 0.5], "none") == [0.01, None, 0.5]
    assert adjust([], "bh") == []
    assert adjust([None], "bh") == [None]
