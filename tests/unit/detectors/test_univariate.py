"""Every method against an independent source, from rows and from a reference's bins."""

from __future__ import annotations

import math
from typing import Any

import numpy as np
import pytest
from scipy.spatial.distance import jensenshannon
from scipy.stats import (
    chi2,
    chi2_contingency,
    ks_2samp,
    ncx2,
    ttest_ind,
    ttest_ind_from_stats,
    wasserstein_distance,
)

from driftwell.detectors.univariate import BORROWED, DRIFT_SCORE, METHODS, Pair, method, methods
from driftwell.errors import InsufficientData, UnknownName
from driftwell.kernels.empirical import distances_from_sorted
from driftwell.profiles import Reference

RNG = np.random.default_rng(11)
BEFORE, AFTER = RNG.normal(10, 2, 3_000), RNG.normal(10.4, 2.5, 1_000)
CITIES_BEFORE = np.array(["Oslo"] * 500 + ["Bergen"] * 300 + ["Voss"] * 200)
CITIES_AFTER = np.array(["Oslo"] * 200 + ["Bergen"] * 250 + ["Voss"] * 30 + ["Flåm"] * 20)


def pair(before: Any, after: Any, *, rows: bool = False, kind: str | None = None) -> Pair:
    """Both sides counted in the bins of the first; with ``rows`` the exact distances too."""
    kinds = {"x": kind} if kind else None
    ref = Reference.from_data({"x": before}, kinds=kinds)
    exact = distances_from_sorted(np.sort(before), np.sort(after)) if rows else None
    return Pair(ref.profile.columns["x"], ref.profile_of({"x": after}).columns["x"], exact)


def row_pair(before: Any, after: Any) -> Pair:
    """Both sides with their rows at hand."""
    ref = Reference.from_data({"x": before})
    states = ref.profile.columns["x"], ref.profile_of({"x": after}).columns["x"]
    return Pair(*states, rows=lambda: (np.sort(before), np.sort(after)))


def by_hand(before: Any, after: Any) -> tuple[np.ndarray, np.ndarray]:
    """Counts of the reference's tenths, cut from its sorted rows and not from its bins."""
    edges = np.sort(before)[[len(before) * k // 10 for k in range(1, 10)]]
    return (np.bincount(np.searchsorted(edges, side, "right"), minlength=10) for side in (before, after))  # type: ignore[return-value]


# -- numbers -------------------------------------------------------------------------------------------------


def test_groups_are_the_tenths_of_the_reference() -> None:
    """With 3,000 distinct values a tenth is closed within one cell, 1/240 of the rows."""
    reference, current = pair(BEFORE, AFTER).groups
    want, want_current = by_hand(BEFORE, AFTER)
    assert np.abs(reference - want).max() <= 2 * 3_000 / 240
    assert np.abs(current - want_current).max() <= 4 * 1_000 / 240


def test_distances_of_shares_are_those_of_the_groups() -> None:
    found = pair(BEFORE, AFTER)
    n, m = found.groups
    p, q = n / n.sum(), m / m.sum()
    assert found.measure("jensen_shannon").value == pytest.approx(float(jensenshannon(p, q, base=2)))
    assert found.measure("hellinger").value == pytest.approx(
        float(np.linalg.norm(np.sqrt(p) - np.sqrt(q)) / math.sqrt(2))
    )
    smooth_p, smooth_q = (n + 0.5) / (n.sum() + 5), (m + 0.5) / (m.sum() + 5)
    assert found.measure("psi").value == pytest.approx(np.sum((smooth_q - smooth_p) * np.log(smooth_q / smooth_p)))
    assert found.measure("kl").value == pytest.approx(np.sum(smooth_q * np.log(smooth_q / smooth_p)))
    for name in ("psi", "jensen_shannon", "hellinger", "kl"):
        measure = found.measure(name)
        assert measure.low == measure.value == measure.high
        assert (measure.n_reference, measure.n_current) == (3_000, 1_000)
        # the tenths were cut from the reference: Pearson's statistic against its shares, for two sample sizes
        statistic = np.sum((q - p) ** 2 / p) / (1 / 3_000 + 1 / 1_000)
        assert measure.p_value == pytest.approx(chi2.sf(statistic, 9))


def test_psi_says_what_to_expect_without_change() -> None:
    # Yurdakul 2018: (K - 1)(1/n + 1/m)
    assert pair(BEFORE, AFTER).measure("psi").expected_without_change == pytest.approx(9 * (1 / 3_000 + 1 / 1_000))
    # Hellinger² and JS² (nats) are an eighth of the chi-squared divergence; the root of the mean square is shown
    for name, factor in (("hellinger", 8), ("jensen_shannon", 8 * math.log(2))):
        found = pair(BEFORE, AFTER).measure(name).expected_without_change
        assert found == pytest.approx(math.sqrt(9 * (1 / 3_000 + 1 / 1_000) / factor))


def test_debiased_twin_lacks_what_is_expected_without_change() -> None:
    found = pair(BEFORE, AFTER)
    noise = 9 * (1 / 3_000 + 1 / 1_000)
    psi, kl, hellinger = (found.measure(name) for name in ("psi", "kl", "hellinger"))
    assert psi.debiased == pytest.approx(psi.value - noise)
    assert kl.debiased == pytest.approx(kl.value - noise / 2)
    assert hellinger.debiased == pytest.approx(math.sqrt(hellinger.value**2 - noise / 8))
    assert pair(BEFORE, BEFORE).measure("psi").debiased == 0.0


@pytest.mark.parametrize("name", ["psi", "jensen_shannon", "hellinger", "kl"])
def test_interval_is_that_of_the_non_central_chi_squared(name: str) -> None:
    """Its ends are the populations under which the value found lies at 2.5 % on either side (scipy's ncx2)."""
    found = pair(BEFORE, AFTER).measure(name)
    factor, power = {"psi": (1, 1), "kl": (2, 1), "hellinger": (8, 2), "jensen_shannon": (8 * math.log(2), 2)}[name]
    a = 1 / 3_000 + 1 / 1_000
    assert found.interval is not None
    for end, at in zip(found.interval, (0.975, 0.025), strict=True):
        assert ncx2.cdf(factor * found.value**power / a, 9, factor * end**power / a) == pytest.approx(at, rel=1e-6)


def test_intervals_of_summed_and_largest_differences_by_hand() -> None:
    found = pair(CITIES_BEFORE, CITIES_AFTER)
    n, m, k = 1_000, 500, 4
    # Bretagnolle, Huber and Carol: P(sum |p - P| >= e) <= 2^k exp(-n e²/2), each side for 2.5 %
    sums = [math.sqrt(2 * math.log(2**k / 0.025) / size) for size in (n, m)]
    largest = [math.sqrt(math.log(2 * k / 0.025) / (2 * size)) for size in (n, m)]  # Hoeffding for k shares
    for name, margin in (("total_variation", sum(sums) / 2), ("l_infinity", sum(largest))):
        value = found.measure(name).value
        want = (max(0.0, value - margin), min(1.0, value + margin))
        assert found.measure(name).interval == pytest.approx(want)


def test_factors_shrink_what_tests_count() -> None:
    """Ten elements a record: the test is that of a tenth of the counts, the distance that of all."""
    ref = Reference.from_data({"x": CITIES_BEFORE})
    states = ref.profile.columns["x"], ref.profile_of({"x": CITIES_AFTER}).columns["x"]
    tenth = Pair(*states, factors=(0.1, 0.1))
    fewer = pair(CITIES_BEFORE[::10], CITIES_AFTER[::10])
    assert tenth.measure("chi_squared").value == pytest.approx(fewer.measure("chi_squared").value)
    assert tenth.measure("chi_squared").p_value == fewer.measure("chi_squared").p_value
    assert tenth.measure("hellinger").value == Pair(*states).measure("hellinger").value
    assert tenth.measure("hellinger").n_reference == 100
    numbers = Reference.from_data({"x": BEFORE})
    sides = numbers.profile.columns["x"], numbers.profile_of({"x": AFTER}).columns["x"]
    t = ttest_ind_from_stats(
        BEFORE.mean(), BEFORE.std(ddof=1), 300, AFTER.mean(), AFTER.std(ddof=1), 100, equal_var=False
    )
    assert Pair(*sides, factors=(0.1, 0.1)).measure("t_test").p_value == pytest.approx(t.pvalue, rel=1e-6)
    for name in ("ks", "kuiper", "cramer_von_mises", "mann_whitney"):
        p, whole = Pair(*sides, factors=(0.1, 0.1)).measure(name).p_value, Pair(*sides).measure(name).p_value
        assert p is not None
        assert whole is not None
        assert p > 10 * whole


@pytest.mark.parametrize("rows", [True, False], ids=["from rows", "from bins"])
def test_ks_and_wasserstein_are_those_of_scipy(rows: bool) -> None:
    found = pair(BEFORE, AFTER, rows=rows)
    ks, area = found.measure("ks"), found.measure("wasserstein")
    want = ks_2samp(BEFORE, AFTER)
    slack = 0.0 if rows else 1 / 240
    assert ks.low == ks.value == pytest.approx(want.statistic, abs=slack + 1e-12)
    assert ks.low - 1e-12 <= want.statistic <= ks.high + 1e-12
    assert area.low * (1 - 1e-9) <= wasserstein_distance(BEFORE, AFTER) <= area.high * (1 + 1e-9)
    if rows:
        assert ks.p_value == pytest.approx(want.pvalue, rel=1e-6)
        assert ks.low == ks.high
        assert area.low == area.high
    assert ks.interval is not None
    assert 0 <= ks.interval[0] < ks.value < ks.interval[1] <= 1
    assert area.p_value is None


def test_shifts_are_in_units_of_the_references_spread() -> None:
    found = pair(BEFORE, AFTER)
    sd = BEFORE.std(ddof=1)
    mean = found.measure("mean_shift")
    assert mean.value == pytest.approx(abs(AFTER.mean() - BEFORE.mean()) / sd, rel=1e-9)
    assert mean.interval is not None
    half_width = 1.959964 * math.sqrt(1 / 3_000 + (AFTER.std(ddof=1) / sd) ** 2 / 1_000)
    assert mean.interval == pytest.approx((mean.value - half_width, mean.value + half_width), rel=1e-6)
    assert found.measure("std_shift").value == pytest.approx(abs(AFTER.std(ddof=1) / sd - 1), rel=1e-9)


def test_t_test_is_welchs() -> None:
    found = pair(BEFORE, AFTER).measure("t_test")
    want = ttest_ind(BEFORE, AFTER, equal_var=False)
    assert found.value == found.statistic == pytest.approx(abs(want.statistic), rel=1e-9)
    assert found.p_value == pytest.approx(want.pvalue, rel=1e-6)


def test_methods_of_numbers_read_the_finite_ones() -> None:
    odd = np.concatenate((AFTER, [np.nan] * 50, [np.inf] * 7))
    plain, holed = pair(BEFORE, AFTER), pair(BEFORE, odd)
    for name in ("mean_shift", "std_shift", "t_test", "wasserstein"):
        assert holed.measure(name).value == pytest.approx(plain.measure(name).value, rel=1e-9)
        assert holed.measure(name).n_current == 1_000
    # infinities are values for KS: they lie beyond every number
    assert holed.measure("ks").n_current == 1_007


# -- constants and empty sides -------------------------------------------------------------------------------


def test_constant_columns() -> None:
    same, moved = pair([5.0] * 200, [5.0] * 100), pair([5.0] * 200, [6.0] * 100)
    for name in ("ks", "wasserstein", "mean_shift", "std_shift"):
        assert same.measure(name).value == 0.0, name
    assert same.measure("psi").value < 0.01  # the half counts of two empty groups weigh more in 100 rows than in 200
    assert moved.measure("ks").value == 1.0
    assert moved.measure("wasserstein").value == pytest.approx(1.0)
    assert moved.measure("mean_shift").value == math.inf
    assert moved.measure("psi").value > 1
    assert pair([5.0] * 200, [4.0, 6.0] * 50).measure("std_shift").value == math.inf
    assert same.measure("t_test").value == 0.0
    assert moved.measure("t_test").value == math.inf
    assert moved.measure("t_test").p_value is None


@pytest.mark.parametrize("after", [[], [None, None], [math.nan], [math.inf]], ids=str)
@pytest.mark.parametrize("name", ["ks", "wasserstein", "mean_shift", "std_shift", "t_test"])
def test_methods_of_numbers_need_finite_ones(after: list[Any], name: str) -> None:
    with pytest.raises(InsufficientData, match="no finite values"):
        pair([1.0, 2.0, 3.0], np.array(after, np.float64) if None not in after else after).measure(name)


@pytest.mark.parametrize("name", ["std_shift", "t_test"])
def test_spread_needs_two_values(name: str) -> None:
    with pytest.raises(InsufficientData, match="two values"):
        pair([1.0, 2.0, 3.0], [1.0]).measure(name)


def test_groups_need_rows() -> None:
    with pytest.raises(InsufficientData, match="no rows"):
        pair([1.0, 2.0], []).measure("psi")


# -- categories ----------------------------------------------------------------------------------------------


def test_categorical_methods_count_every_category() -> None:
    found = pair(CITIES_BEFORE, CITIES_AFTER)
    n, m = np.array([300, 500, 200, 0]), np.array([250, 200, 30, 20])  # sorted by name, then the new ones
    assert found.groups[0].tolist() == n.tolist()
    assert found.groups[1].tolist() == m.tolist()
    p, q = n / 1_000, m / 500
    want = chi2_contingency(np.stack([n, m]), correction=False)  # every pooled expectation is above 5
    chi = found.measure("chi_squared")
    assert (chi.value, chi.p_value) == pytest.approx((want.statistic, want.pvalue))
    likelihood = chi2_contingency(np.stack([n, m]), correction=False, lambda_="log-likelihood")
    assert found.measure("g_test").value == pytest.approx(likelihood.statistic)
    assert found.measure("g_test").p_value == pytest.approx(likelihood.pvalue)
    assert found.measure("total_variation").value == pytest.approx(np.abs(p - q).sum() / 2)
    assert found.measure("l_infinity").value == pytest.approx(np.abs(p - q).max())
    assert found.measure("jensen_shannon").value == pytest.approx(float(jensenshannon(p, q, base=2)))


def test_boolean_methods_count_both_values() -> None:
    found = pair([True] * 30 + [False] * 70, [True] * 50 + [False] * 50)
    assert found.kind == "boolean"
    assert found.groups[0].tolist() == [70, 30]
    assert found.measure("total_variation").value == pytest.approx(0.2)


@pytest.mark.parametrize(
    ("before", "after"),
    [
        ([1.0] * 90 + [None] * 10, [1.0] * 60 + [None] * 40),
        ([1.0] * 90 + [math.nan] * 10, [1.0] * 60 + [None] * 40),
        (["a"] * 90 + [None] * 10, ["a"] * 60 + [None] * 40),
        ([True] * 90 + [None] * 10, [True] * 60 + [None] * 40),
    ],
    ids=["numbers", "NaN and null", "categories", "booleans"],
)
def test_missing_rows_are_a_group(before: list[Any], after: list[Any]) -> None:
    found = pair(before, after)
    assert found.groups[0][-1] == 10
    assert found.groups[1][-1] == 40
    assert found.measure("jensen_shannon").value == pytest.approx(float(jensenshannon([0.9, 0.1], [0.6, 0.4], base=2)))
    assert found.measure("psi").value > 0.3


def test_new_categories_are_a_group() -> None:
    found = pair(["a"] * 100, ["a"] * 80 + ["b"] * 15 + ["c"] * 5)
    assert found.groups[1].tolist() == [80, 20]
    assert found.measure("total_variation").value == pytest.approx(0.2)


# -- the table -----------------------------------------------------------------------------------------------

DEFAULTS = {
    **dict.fromkeys(("psi", "jensen_shannon", "hellinger", "ks", "kl", "total_variation", "l_infinity"), 0.1),
    **dict.fromkeys(("mean_shift", "std_shift"), 0.1),
    "kuiper": 0.1,
    **dict.fromkeys(("chi_squared", "g_test", "t_test", "mann_whitney", "cramer_von_mises", "anderson_darling")),
    **dict.fromkeys(("fisher_exact", "z_test")),
}


@pytest.mark.parametrize("name", sorted(METHODS))
def test_default_thresholds_are_the_documented_ones(name: str) -> None:
    kind_of = pair(BEFORE, AFTER) if "numeric" in METHODS[name].kinds else pair(CITIES_BEFORE, CITIES_AFTER)
    found = METHODS[name].threshold_for(kind_of)
    if name == "wasserstein":
        assert found == pytest.approx(0.1 * BEFORE.std(ddof=1), rel=1e-9)
    elif name == "energy":
        # two normal curves d apart: 2 ∫ (F - G)² is close to d² / (sd √π)
        assert found == pytest.approx(0.1 * math.sqrt(BEFORE.std(ddof=1) / math.sqrt(math.pi)), rel=1e-9)
    else:
        assert found == DEFAULTS[name]


def test_list_of_methods_is_the_table() -> None:
    listed = methods()
    assert [m["name"] for m in listed] == list(METHODS)
    keys = {"name", "kinds", "threshold", "unit", "needs", "why", "p_value", "interval"}
    assert all(set(m) == keys for m in listed)
    assert all(m["why"] and m["unit"] for m in listed)


@pytest.mark.parametrize("name", sorted(set(METHODS) - {"fisher_exact", "z_test"}))
def test_list_says_which_measures_have_a_p_value_and_an_interval(name: str) -> None:
    numeric = "numeric" in METHODS[name].kinds
    column = row_pair(BEFORE, AFTER) if numeric else pair(CITIES_BEFORE, CITIES_AFTER)
    found = column.measure(name)
    listed = next(m for m in methods() if m["name"] == name)
    assert (found.p_value is not None) is listed["p_value"]
    assert (found.interval is not None) is listed["interval"]


def test_unknown_method_names_the_nearest() -> None:
    with pytest.raises(UnknownName, match=r"unknown method 'waserstein'.* did you mean 'wasserstein'"):
        method("waserstein")


def test_lenders_have_p_values() -> None:
    for kind, lender in BORROWED.items():
        assert kind in METHODS[lender].kinds
    assert pair(BEFORE, AFTER).measure("ks").p_value is not None
    assert pair(CITIES_BEFORE, CITIES_AFTER).measure("chi_squared").p_value is not None


def test_drift_score_is_ks_or_total_variation() -> None:
    assert DRIFT_SCORE["numeric"](pair(BEFORE, AFTER, rows=True)) == pytest.approx(ks_2samp(BEFORE, AFTER).statistic)
    for before, after in ((CITIES_BEFORE, CITIES_AFTER), ([True, False] * 20, [True] * 40)):
        found = pair(before, after)
        assert DRIFT_SCORE[found.kind](found) == found.measure("total_variation").value


def test_measure_is_computed_once() -> None:
    found = pair(BEFORE, AFTER)
    assert found.measure("ks") is found.measure("ks")
    assert list(found.measures) == ["ks"]
