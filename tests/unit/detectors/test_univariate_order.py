"""Methods that read the order of the values: from rows against scipy, from bins within their bounds."""

from __future__ import annotations

import math
import warnings
from typing import Any

import numpy as np
import pytest
from scipy.stats import (
    anderson_ksamp,
    cramervonmises_2samp,
    energy_distance,
    ks_2samp,
    mannwhitneyu,
    wasserstein_distance,
)

from driftwell.detectors.univariate import METHODS, Pair
from driftwell.errors import InsufficientData
from driftwell.profiles import Reference

RNG = np.random.default_rng(5)
SAMPLES: dict[str, tuple[np.ndarray, np.ndarray]] = {
    "normal": (RNG.normal(10, 2, 3_000), RNG.normal(10.4, 2.5, 1_000)),
    "heavy tails": (RNG.standard_cauchy(2_000), 1.2 * RNG.standard_cauchy(700)),
    "ties": (RNG.geometric(0.2, 2_000).astype(float), RNG.geometric(0.25, 500).astype(float)),
    "spike": (
        np.where(RNG.random(3_000) < 0.5, 0.0, RNG.normal(size=3_000)),
        np.where(RNG.random(900) < 0.4, 0.0, RNG.normal(size=900)),
    ),
    "disjoint": (RNG.normal(size=500), RNG.normal(size=400) + 100),
    "negative zeros": (np.array([-0.0, 0.0, 1.0] * 50), np.array([0.0, -0.0, -1.0] * 40)),
}
ORDER = ["kuiper", "cramer_von_mises", "anderson_darling", "mann_whitney", "energy"]


def pair(before: Any, after: Any, *, rows: bool) -> Pair:
    ref = Reference.from_data({"x": before})
    states = ref.profile.columns["x"], ref.profile_of({"x": after}).columns["x"]
    return Pair(*states, rows=(lambda: (np.sort(before), np.sort(after))) if rows else None)


def scipys(name: str, before: np.ndarray, after: np.ndarray) -> float:
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")  # of capped p-values
        match name:
            case "cramer_von_mises":
                return float(cramervonmises_2samp(before, after, method="asymptotic").statistic)
            case "anderson_darling":
                return float(anderson_ksamp([before, after], midrank=True).statistic)
            case "mann_whitney":
                return float(mannwhitneyu(before, after, method="asymptotic").statistic)
            case "energy":
                return float(energy_distance(before, after))
    # Kuiper by hand, at every point
    points = np.concatenate((before, after))
    gaps = [float(np.mean(before <= z) - np.mean(after <= z)) for z in points]
    return max(0.0, *gaps) + max(0.0, *(-gap for gap in gaps))


@pytest.mark.parametrize("name", ORDER)
@pytest.mark.parametrize("sample", SAMPLES)
def test_from_rows_they_are_exact(name: str, sample: str) -> None:
    before, after = SAMPLES[sample]
    found = pair(before, after, rows=True).measure(name)
    assert found.value == found.low == found.high == pytest.approx(scipys(name, before, after), rel=1e-8)
    assert (found.n_reference, found.n_current) == (len(before), len(after))


@pytest.mark.parametrize("name", ["kuiper", "cramer_von_mises", "mann_whitney", "energy"])
@pytest.mark.parametrize("sample", SAMPLES)
def test_from_bins_their_bounds_hold(name: str, sample: str) -> None:
    before, after = SAMPLES[sample]
    found = pair(before, after, rows=False).measure(name)
    want = scipys(name, before, after)
    assert found.low - 1e-9 * abs(want) <= want <= found.high + 1e-9 * abs(want)
    assert found.low <= found.value <= found.high
    exact = pair(before, after, rows=True).measure(name)
    if found.p_value is not None:
        assert exact.p_value is not None
        assert found.p_value >= exact.p_value * (1 - 1e-6)


@pytest.mark.parametrize("name", ["cramer_von_mises", "mann_whitney"])
def test_p_values_are_those_of_scipy(name: str) -> None:
    before, after = SAMPLES["normal"][0], RNG.normal(10.1, 2, 1_000)
    found = pair(before, after, rows=True).measure(name)
    test = cramervonmises_2samp if name == "cramer_von_mises" else mannwhitneyu
    assert found.p_value == pytest.approx(test(before, after, method="asymptotic").pvalue, rel=1e-6)


def test_bounds_are_close_where_bins_are_fine() -> None:
    before, after = SAMPLES["normal"]
    found = pair(before, after, rows=False)
    assert found.measure("kuiper").high - found.measure("kuiper").low < 2.5 / 240
    assert found.measure("energy").high < 1.25 * found.measure("energy").low
    middle = len(before) * len(after) / 2
    assert found.measure("mann_whitney").high - found.measure("mann_whitney").low < middle / 100


def test_bins_of_one_value_each_are_as_good_as_rows() -> None:
    before, after = SAMPLES["ties"]
    for name in ORDER:
        from_bins, from_rows = (pair(before, after, rows=rows).measure(name) for rows in (False, True))
        assert from_bins.value == pytest.approx(from_rows.value, rel=1e-9), name
        assert from_bins.low == pytest.approx(from_bins.high, rel=1e-9), name


def test_anderson_darling_needs_rows_where_bins_are_wide() -> None:
    before, after = SAMPLES["normal"]
    with pytest.raises(InsufficientData, match="needs the rows of both sides"):
        pair(before, after, rows=False).measure("anderson_darling")


def test_sample_of_the_reference_serves_where_bins_cannot() -> None:
    """Of the reference a sample is at hand: Anderson–Darling reads it and says so by its n; the others keep to the
    bins, which hold all rows."""
    before, after = SAMPLES["normal"]
    whole = pair(before, after, rows=False)
    some = Pair(whole.reference, whole.current, rows=lambda: (np.sort(before[:500]), np.sort(after)))
    found = some.measure("anderson_darling")
    assert found.value == pytest.approx(scipys("anderson_darling", before[:500], after), rel=1e-9)
    assert found.n_reference == 500
    for name in ("ks", "kuiper", "wasserstein", "energy"):
        assert some.measure(name) == whole.measure(name)


def test_ks_and_wasserstein_come_from_rows_where_no_distances_were_taken() -> None:
    before, after = SAMPLES["heavy tails"]
    found = pair(before, after, rows=True)
    assert found.measure("ks").high == found.measure("ks").value == pytest.approx(ks_2samp(before, after).statistic)
    assert found.measure("wasserstein").value == pytest.approx(wasserstein_distance(before, after), rel=1e-9)


def test_ties_do_not_make_cramer_von_mises_significant() -> None:
    """scipy gives p = 2e-6 to two equal constant columns of 5,000 and 50 rows."""
    found = pair(np.full(5_000, 3.0), np.full(50, 3.0), rows=True).measure("cramer_von_mises")
    assert found.p_value is not None
    assert found.p_value > 0.2


@pytest.mark.parametrize("name", ORDER)
def test_constant_and_moved_columns(name: str) -> None:
    same, moved = (pair(np.full(200, 5.0), np.full(150, at), rows=True).measure(name) for at in (5.0, 6.0))
    if name == "energy":
        assert (same.value, moved.value) == pytest.approx((0.0, math.sqrt(2)))  # √(2 · 1 · 1)
        return
    assert same.p_value is None or same.p_value > 0.2
    assert moved.p_value is not None
    assert moved.p_value < 1e-6


@pytest.mark.parametrize("name", ORDER)
@pytest.mark.parametrize("after", [[], [math.nan], [math.inf, -math.inf]], ids=str)
def test_they_need_finite_values(name: str, after: list[float]) -> None:
    with pytest.raises(InsufficientData, match="no finite values"):
        pair(np.arange(20.0), np.array(after, np.float64), rows=False).measure(name)


@pytest.mark.parametrize("name", ORDER)
@pytest.mark.parametrize("rows", [True, False])
def test_infinities_and_huge_numbers_pass(name: str, rows: bool) -> None:
    before = np.concatenate((np.arange(40.0), [-math.inf, 1.7e308, -1.7e308]))
    after = np.concatenate((np.arange(30.0), [math.inf, math.inf, 1.7e308]))
    if name == "anderson_darling" and not rows:
        before, after = before[:41], after[:31]  # of what shares the outer bins one row can be told its place
    found = pair(before, after, rows=rows).measure(name)
    assert not math.isnan(found.value)
    assert found.low <= found.value <= found.high
    if name != "energy":
        assert found.n_reference == len(before)


@pytest.mark.parametrize("name", ORDER)
def test_two_rows_are_enough(name: str) -> None:
    found = pair(np.array([1.0, 2.0]), np.array([2.0, 3.0]), rows=True).measure(name)
    assert math.isfinite(found.value)
    assert METHODS[name].unit
