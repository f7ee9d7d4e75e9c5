"""Weighted references against NumPy's averages, fractions and hand calculations."""

from __future__ import annotations

from dataclasses import replace
from datetime import datetime, timedelta
from fractions import Fraction
from typing import Any

import numpy as np
import pyarrow as pa
import pytest

from driftwell.errors import BadInput, ColumnError, FormatError, MergeError, NotSupported
from driftwell.profiles import Profile, Reference, profile
from driftwell.profiles.reference.updating import updated_reference
from driftwell.profiles.reference.weighted import in_rows
from driftwell.profiles.states.numeric import NumericState
from driftwell.profiles.states.weights import ONE

N = 3_000
RNG = np.random.default_rng(11)
WEIGHTS = RNG.lognormal(0, 0.7, N)
X = RNG.normal(5, 2, N)
X[::40] = np.nan
GROUP = RNG.choice(["a", "b", "c"], N, p=[0.6, 0.3, 0.1])
GROUP_OR_NONE = [None if i % 25 == 0 else str(name) for i, name in enumerate(GROUP)]
ROWS: dict[str, Any] = {"x": X, "c": GROUP_OR_NONE, "w": WEIGHTS}
UNITS = np.rint(WEIGHTS * ONE)


@pytest.fixture(scope="module")
def ref() -> Reference:
    return Reference.from_data(ROWS, weights="w")


def number(ref: Reference, name: str = "x") -> NumericState:
    state = ref.profile.columns[name]
    assert isinstance(state, NumericState)
    return state


def test_mean_is_numpys_weighted_average(ref: Reference) -> None:
    held = ~np.isnan(X)
    assert number(ref).mean == pytest.approx(np.average(X[held], weights=UNITS[held]), rel=1e-12)


def test_variance_is_unbiased_by_the_effective_size(ref: Reference) -> None:
    """NumPy's average of squares times n/(n - 1), n the weight of the values in effective rows."""
    held = ~np.isnan(X)
    mean = np.average(X[held], weights=UNITS[held])
    n = UNITS[held].sum() * UNITS.sum() / (UNITS**2).sum()
    expected = np.average((X[held] - mean) ** 2, weights=UNITS[held]) * n / (n - 1)
    assert number(ref).std == pytest.approx(np.sqrt(expected), rel=1e-9)


def test_sums_are_exact_beyond_float64() -> None:
    """Against fractions: values and weights are whole multiples of powers of 2, some on the path of large values."""
    values, weights = np.array([1e30, -3.5, 0.25, 2.0**70, 1.0] * 50), np.array([0.5, 3.0, 1000.0, 0.125, 7.0] * 50)
    found = number(Reference.from_data({"x": values}, weights=weights))
    exact = sum(Fraction(x) * Fraction(w) for x, w in zip(values.tolist(), weights.tolist(), strict=True))
    assert found.sum == float(exact)


@pytest.mark.parametrize("q", [0.01, 0.25, 0.5, 0.9, 0.999])
def test_quantiles_cut_at_cumulated_weight(ref: Reference, q: float) -> None:
    held = ~np.isnan(X)
    found, error = number(ref).quantile(q), number(ref).rank_error
    assert found is not None
    assert error is not None
    assert error < 0.02
    share = UNITS[held & (found > X)].sum() / UNITS[held].sum()
    assert share == pytest.approx(q, abs=error)


def test_a_heavy_value_has_a_bin_of_its_own() -> None:
    x = np.arange(10_000.0)
    weights = np.where(x == 700, 100.0, 1.0)
    bins = number(Reference.from_data({"x": x}, weights=weights)).bins
    assert bins is not None
    assert 700.0 in bins.edges[bins.atoms.nonzero()[0] - 1]
    unweighted = number(Reference.from_data({"x": x})).bins
    assert unweighted is not None
    assert 700.0 not in unweighted.edges[unweighted.atoms.nonzero()[0] - 1]


def test_groups_hold_a_tenth_of_the_weight_each(ref: Reference) -> None:
    shares = number(ref).group_counts() / number(ref).finite
    assert len(shares) == 10
    # A cell of some 1/240 is never split, and the heaviest row of all has 0.4 % of the weight.
    assert shares == pytest.approx(np.full(10, 0.1), abs=0.01)


def test_categories_and_missing_are_shares_of_weight(ref: Reference) -> None:
    gone = np.array([name is None for name in GROUP_OR_NONE])
    state = ref.profile.columns["c"]
    assert state.missing_share == UNITS[gone].sum() / UNITS.sum()
    assert number(ref).missing_share == UNITS[np.isnan(X)].sum() / UNITS.sum()
    expected = [UNITS[(name == GROUP) & ~gone].sum() for name in "abc"]
    assert state.counts.tolist() == [*expected, 0]
    assert state.count == int((~gone).sum())
    assert state.n_rows == ref.n_rows == N


def test_effective_size_is_kishs(ref: Reference) -> None:
    assert ref.effective_size == round(UNITS.sum() ** 2 / (UNITS**2).sum())
    assert Reference.from_data({"x": [1.0, 2.0]}).effective_size == 2
    # 1 + 1 + 2 squared over 1 + 1 + 4
    assert Reference.from_data({"x": [1.0, 2.0, 3.0]}, weights=[1, 1, 2]).effective_size == 3


def test_the_weight_column_is_no_feature(ref: Reference) -> None:
    assert ref.feature_names == ["x", "c"]
    assert ref.roles == {"weight": "w"}
    given = Reference.from_data({"x": X, "c": GROUP_OR_NONE}, weights=WEIGHTS)
    assert given.roles == {}
    assert given.id == ref.id


def test_a_feature_called_weight_stays_one() -> None:
    assert Reference.from_data({"weight": [70.0, 80.0]}).feature_names == ["weight"]


def test_rows_in_any_order_give_the_same_reference(ref: Reference) -> None:
    order = np.random.default_rng(0).permutation(N)
    shuffled = {"x": X[order], "c": [GROUP_OR_NONE[i] for i in order], "w": WEIGHTS[order]}
    assert Reference.from_data(shuffled, weights="w").profile.to_bytes() == ref.profile.to_bytes()


def test_a_row_of_weight_zero_counts_nothing() -> None:
    some = Reference.from_data({"x": [1.0, 2.0, 99.0, 3.0]}, weights=[1, 2, 0, 1])
    none = Reference.from_data({"x": [1.0, 2.0, 3.0]}, weights=[1, 2, 1])
    assert some.profile.to_bytes() == none.profile.to_bytes()
    assert some.sample is not None
    assert some.sample.column("x").to_pylist().count(99.0) == 0


@pytest.mark.parametrize(
    ("weights", "error", "says"),
    [
        ([1, -1, 1], BadInput, "not negative. Row 1 has -1.0"),
        ([1, 1, float("nan")], BadInput, "finite .* Row 2 has nan"),
        (pa.array([1, None, 1]), BadInput, "Row 1 has nan"),
        ([float("inf"), 1, 1], BadInput, "Row 0 has inf"),
        ([0, 0, 0], BadInput, "all weights are zero"),
        ([1, 2], BadInput, r"shape \(2,\): give one weight for each of the 3 rows"),
        ([[1], [1], [1]], BadInput, r"shape \(3, 1\)"),
        (2.5, BadInput, "one weight for each"),
        ("v", ColumnError, "no column 'v' for weights"),
        ("word", BadInput, "column of numbers"),
        (["a", "b", "c"], BadInput, "column of numbers"),
        ([1e-7, 1e-7, 1e-7], BadInput, "too small .* multiply them all"),
        ([1e10, 1, 1], BadInput, "divide them all"),
    ],
)
def test_bad_weights_are_one_clear_error(weights: Any, error: type[Exception], says: str) -> None:
    with pytest.raises(error, match=says):
        Reference.from_data({"x": [1.0, 2.0, 3.0], "word": ["a", "b", "c"]}, weights=weights)


def test_weighted_and_unweighted_states_never_merge(ref: Reference) -> None:
    current = profile({"x": X, "c": GROUP_OR_NONE}, ref)
    assert current.columns["x"].count == int((~np.isnan(X)).sum())
    with pytest.raises(MergeError, match="differ"):
        ref.profile.merge(current)


def test_weighted_states_add_up(ref: Reference) -> None:
    twice = ref.profile.merge(ref.profile)
    one, both = number(ref), twice.columns["x"]
    assert isinstance(both, NumericState)
    assert (both.count, both.n_rows, both.mean) == (2 * one.count, 2 * one.n_rows, one.mean)
    assert in_rows(both).n_rows == pytest.approx(2 * ref.effective_size, abs=1)


def test_bytes_and_files_keep_the_weights(ref: Reference) -> None:
    assert Profile.from_bytes(ref.profile.to_bytes()).to_bytes() == ref.profile.to_bytes()
    read = Reference.from_json(ref.to_json())
    assert (read.id, read.effective_size, read.roles) == (ref.id, ref.effective_size, ref.roles)
    assert number(read).std == number(ref).std
    assert Reference.from_data({"x": X, "c": GROUP_OR_NONE}).id != ref.id


def test_weights_that_cannot_be_are_corrupt(ref: Reference) -> None:
    """By Cauchy and Schwarz the sum of squares is at least the square of the sum over the number of rows."""
    states = dict(ref.profile.columns)
    state = number(ref)
    assert state.weighting is not None
    states["x"] = replace(state, weighting=state.weighting._replace(squares=1))
    with pytest.raises(FormatError, match="weights do not fit"):
        Profile.from_bytes(replace(ref.profile, columns=states).to_bytes())


def test_effective_rows_of_equal_weights_are_the_rows() -> None:
    rows = {"x": X, "c": GROUP_OR_NONE}
    plain = Reference.from_data(rows)
    weighted = Reference.from_data(rows, weights=np.full(N, 2.7)).in_rows
    assert weighted.profile.to_bytes() == plain.profile.to_bytes()
    assert [w.code for w in weighted.check()] == [w.code for w in plain.check()]


def test_effective_rows_are_right_to_half_a_row(ref: Reference) -> None:
    state, found = number(ref), number(ref.in_rows)
    gap = np.cumsum(found.counts) - np.cumsum(state.counts) * UNITS.sum() / (UNITS**2).sum()
    assert np.abs(gap).max() <= 0.5 + 1e-9
    assert found.n_rows == ref.in_rows.profile.columns["c"].n_rows == ref.effective_size


def test_weaknesses_count_effective_rows() -> None:
    heavy = np.full(2_000, 0.001)
    heavy[:50] = 100.0
    found = Reference.from_data({"x": np.arange(2_000.0)}, weights=heavy).check()
    assert ("too_few_rows", "50 rows; below 100 nothing is judged") in [(w.code, w.message) for w in found]


def test_columns_of_other_kinds_are_ignored_with_the_reason() -> None:
    times = [datetime(2026, 1, 1) + timedelta(hours=i) for i in range(3)]
    ref = Reference.from_data({"x": [1.0, 2.0, 3.0], "t": times}, weights=[1, 2, 3])
    assert ref.ignored == {"t": "a datetime column cannot be counted by weight"}
    with pytest.raises(BadInput, match="no column can be counted by weight"):
        Reference.from_data({"t": times}, weights=[1, 2, 3])


def test_outputs_are_weighted_too() -> None:
    ref = Reference.from_data({"x": [1.0, 2.0, 3.0], "prediction": ["n", "y", "y"]}, weights=[2, 1, 1])
    assert ref.profile.outputs["prediction"].counts.tolist() == [2 * ONE, 2 * ONE, 0]


def test_a_weighted_reference_is_not_updated(ref: Reference) -> None:
    with pytest.raises(NotSupported, match="with weights cannot be updated"):
        updated_reference(ref, ROWS, {"last": 100})


def test_the_heaviest_categories_have_cells() -> None:
    """1,500 names of one row each: the 1,000 that weigh most are told apart, the others add up."""
    names, weights = [f"k{i}" for i in range(1_500)], np.linspace(1, 2, 1_500)
    ref = Reference.from_data({"c": names}, kinds={"c": "categorical"}, weights=weights)
    state, units = ref.profile.columns["c"], np.rint(weights * ONE)
    assert set(ref.bins["c"].categories) == set(names[500:])
    assert state.counts[-1] == units[:500].sum()
    rounded = ref.in_rows.profile.columns["c"]
    assert rounded.n_rows == ref.effective_size
    assert rounded.other == pytest.approx(units[:500].sum() * units.sum() / (units**2).sum(), abs=1)
