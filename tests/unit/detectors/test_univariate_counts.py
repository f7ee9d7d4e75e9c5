"""Tests of two groups: Fisher's exact one and the z of two proportions."""

from __future__ import annotations

import math
from typing import Any

import numpy as np
import pytest
from scipy.stats import chi2_contingency, fisher_exact, norm

from driftwell.detectors.univariate import Pair
from driftwell.errors import InsufficientData
from driftwell.profiles import Reference


def pair(before: Any, after: Any) -> Pair:
    ref = Reference.from_data({"x": before})
    return Pair(ref.profile.columns["x"], ref.profile_of({"x": after}).columns["x"])


@pytest.mark.parametrize("values", [(True, False), ("yes", "no")], ids=["booleans", "categories"])
@pytest.mark.parametrize(
    ("hits", "n", "now", "m"), [(30, 100, 25, 50), (1, 200, 6, 40), (0, 60, 5, 60), (40, 40, 39, 40)]
)
def test_fisher_is_that_of_scipy(values: tuple[Any, Any], hits: int, n: int, now: int, m: int) -> None:
    yes, no = values
    found = pair([yes] * hits + [no] * (n - hits), [yes] * now + [no] * (m - now)).measure("fisher_exact")
    want = fisher_exact([[n - hits, hits], [m - now, now]])  # no comes before yes, False before True
    assert found.p_value == pytest.approx(want.pvalue)
    assert found.value in (
        pytest.approx(want.statistic),
        pytest.approx(1 / want.statistic if want.statistic else math.inf),
    )
    assert (found.n_reference, found.n_current) == (n, m)


@pytest.mark.parametrize(
    ("before", "after"),
    [
        (["a", "b", "c"] * 20, ["a", "b"] * 20),
        (["a", "b"] * 20, ["a", "b", "new"] * 20),
    ],
)
def test_fisher_compares_two_groups_only(before: list[Any], after: list[Any]) -> None:
    with pytest.raises(InsufficientData, match="exactly two groups, and the column has 3: use chi_squared"):
        pair(before, after).measure("fisher_exact")


def test_fisher_of_one_group_is_no_test() -> None:
    found = pair([True] * 50, [True] * 30).measure("fisher_exact")
    assert (found.value, found.p_value) == (1.0, None)


def test_z_of_two_proportions_by_hand() -> None:
    """30 of 100 against 50 of 90: pooled share 80/190, z = difference / √(share · (1 - share) · (1/100 + 1/90))."""
    found = pair([True] * 30 + [False] * 70, [True] * 50 + [False] * 40).measure("z_test")
    pooled = 80 / 190
    z = (50 / 90 - 30 / 100) / math.sqrt(pooled * (1 - pooled) * (1 / 100 + 1 / 90))
    assert found.value == pytest.approx(z)
    assert found.p_value == pytest.approx(2 * norm.sf(z))
    # its square is Pearson's statistic
    want = chi2_contingency(np.array([[70, 30], [40, 50]]), correction=False)
    assert found.value**2 == pytest.approx(want.statistic)
    assert found.p_value == pytest.approx(want.pvalue)


def test_z_leaves_missing_rows_out() -> None:
    plain = pair([True] * 30 + [False] * 70, [True] * 50 + [False] * 40).measure("z_test")
    holed = pair([True] * 30 + [False] * 70 + [None] * 9, [True] * 50 + [False] * 40 + [None] * 3).measure("z_test")
    assert (holed.value, holed.n_reference, holed.n_current) == (plain.value, 100, 90)


def test_z_without_any_variation_is_no_test() -> None:
    for value in (True, False):
        found = pair([value] * 50, [value] * 30).measure("z_test")
        assert (found.value, found.p_value) == (0.0, None)


def test_z_needs_values() -> None:
    with pytest.raises(InsufficientData, match="no values"):
        pair([True, False], [None, None]).measure("z_test")


def test_tests_of_two_groups_leave_missing_rows_out_and_read_names() -> None:
    plain = pair(["n"] * 70 + ["y"] * 30, ["n"] * 40 + ["y"] * 50)
    holed = pair(["n"] * 70 + ["y"] * 30 + [None] * 9, ["n"] * 40 + ["y"] * 50 + [None] * 3)
    assert holed.measure("fisher_exact").p_value == plain.measure("fisher_exact").p_value
    assert plain.measure("fisher_exact").value == pytest.approx(70 * 50 / (30 * 40))  # the odds ratio by hand
    pooled = 80 / 190
    z = (50 / 90 - 30 / 100) / (pooled * (1 - pooled) * (1 / 100 + 1 / 90)) ** 0.5  # by hand
    assert holed.measure("z_test").value == pytest.approx(z)
    with pytest.raises(InsufficientData, match="exactly two groups"):
        pair(["a", "b", "c"] * 20, ["a", "b"] * 20).measure("z_test")
