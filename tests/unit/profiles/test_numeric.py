"""Numeric columns: which bins a reference freezes, and what is counted and summed in them."""

from __future__ import annotations

import math
import statistics
from fractions import Fraction
from itertools import pairwise
from typing import Any

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from driftwell.errors import BadInput
from driftwell.frame import NumericColumn
from driftwell.kernels.exact import FAST_LIMIT
from driftwell.profiles.states.bins import GROUPS, MAX_DISTINCT
from driftwell.profiles.states.numeric import (
    PLAIN_BINS,
    NumericBins,
    NumericState,
    build_numeric,
    freeze_bins,
    sorted_values,
)

finite = st.floats(-1e300, 1e300)


def column(values: Any, missing: Any = None) -> NumericColumn:
    return NumericColumn(
        "x", np.asarray(values, np.float64), None if missing is None else np.asarray(missing, np.bool_)
    )


def frozen(values: Any) -> NumericBins:
    return freeze_bins(sorted_values(column(values)))


def state(values: Any, reference: Any | None = None) -> NumericState:
    return build_numeric(column(values), frozen(values if reference is None else reference))


# -- freezing ------------------------------------------------------------------------------------------------


@settings(deadline=None)
@given(st.lists(finite, min_size=1, max_size=400))
def test_few_distinct_values_have_a_cell_each(values: list[float]) -> None:
    bins, distinct = frozen(values), np.unique(np.array(values) + 0.0)
    if len(distinct) <= MAX_DISTINCT:
        assert bins.edges[np.flatnonzero(bins.atoms) - 1].tolist() == distinct.tolist()
        made = build_numeric(column(values), bins)
        assert made.counts[~bins.atoms].sum() == 0
        assert made.distinct == len(distinct)


def test_value_holding_a_480th_has_a_cell_of_its_own() -> None:
    rng = np.random.default_rng(0)
    n = 48_000
    values = rng.normal(size=n)
    values[:100] = 0.5  # exactly 1/480
    values[100:199] = 0.25  # one row short of it
    bins = frozen(values)
    atoms = bins.edges[np.flatnonzero(bins.atoms) - 1].tolist()
    assert 0.5 in atoms
    assert 0.25 not in atoms


def test_other_values_lie_in_cells_of_about_a_240th() -> None:
    made = state(np.random.default_rng(0).normal(size=24_000))
    inner = made.counts[1:-1]
    assert made.counts[0] == made.counts[-1] == 0
    assert inner.sum() == 24_000
    assert 100 * 0.8 <= np.median(inner) <= 100 * 1.2
    assert inner.max() <= 100 * 1.2
    assert 240 <= len(inner) <= 246  # 240 and the tail edges


def test_tails_have_edges_of_their_own() -> None:
    values = np.arange(100_000.0)
    edges = frozen(values).edges
    for share in (0.0001, 0.001, 0.999, 0.9999):
        assert values[int(share * len(values))] in edges


def test_cells_stay_few() -> None:
    rng = np.random.default_rng(1)
    for values in (
        rng.integers(0, 480, 10_000),
        rng.integers(0, 256, 10_000),
        rng.poisson(200, 10_000),
        rng.normal(size=99),
    ):
        # an atom needs two edges, so that up to 480 of them make up to 960 cells
        assert frozen(values).n_cells <= 2 * 480 + 250


def test_bins_do_not_depend_on_the_order_of_rows() -> None:
    rng = np.random.default_rng(2)
    values = np.where(rng.random(5_000) < 0.2, -0.0, rng.normal(size=5_000))
    assert frozen(values).id == frozen(rng.permutation(values)).id
    assert frozen(values).id != frozen(values + 1e-9).id


def test_negative_zero_is_zero() -> None:
    assert frozen([-0.0, 1.0]).id == frozen([0.0, 1.0]).id
    assert state([-0.0, -0.0]).counts.tolist() == state([0.0, 0.0]).counts.tolist()
    assert math.copysign(1, state([-0.0]).min or 1.0) == 1.0


@pytest.mark.parametrize("values", [[], [math.nan], [math.inf, -math.inf]])
def test_reference_without_finite_values_has_one_cell(values: list[float]) -> None:
    bins = frozen(values)
    assert bins.n_cells == 1
    made = build_numeric(column([1.0, 2.0, math.nan]), bins)
    assert (made.count, made.nan) == (2, 1)


def test_groups_are_runs_of_about_a_tenth() -> None:
    values = np.random.default_rng(3).normal(size=10_000)
    bins = frozen(values)
    assert np.all(np.diff(bins.groups) >= 0)
    counts = build_numeric(column(values), bins).group_counts()
    assert len(counts) == GROUPS
    assert counts.sum() == 10_000
    assert counts.min() >= 900
    assert counts.max() <= 1_100


def test_cell_is_never_split_between_groups() -> None:
    # Zero holds 70 % of the rows: one group, closed where it passes seven tenths at once.
    rng = np.random.default_rng(4)
    values = np.where(rng.random(10_000) < 0.7, 0.0, 1 + rng.random(10_000))
    counts = state(values).group_counts()
    assert counts[0] == np.count_nonzero(values == 0)
    # what is left of the seventh tenth, three more, and values below zero, which the reference never had
    assert len(counts) == 6
    assert counts[-1] == 0


def test_value_beside_large_atoms_is_a_group_of_its_own() -> None:
    bins = frozen([0.0] * 50 + [1.0] * 50)
    groups = build_numeric(column([0.0, 0.5, 1.0, 2.0, -1.0]), bins).group_counts()
    assert sorted(groups.tolist()) == [1, 1, 3]


# -- counting and summing ------------------------------------------------------------------------------------


@settings(deadline=None)
@given(st.lists(finite, min_size=1, max_size=50), st.lists(finite, max_size=80))
def test_counts_follow_the_edges(reference: list[float], values: list[float]) -> None:
    made = state(values, reference)
    assert made.bins is not None
    edges = [-math.inf, *made.bins.edges.tolist(), math.inf]
    want = [sum(low <= v < high for v in values) for low, high in pairwise(edges)]
    assert made.counts.tolist() == want


def test_missing_nan_and_infinities_have_cells_of_their_own() -> None:
    values = column([1.0, 9.0, math.nan, math.inf, -math.inf, -math.inf], [False, True, False, False, False, False])
    made = build_numeric(values, frozen([0.0, 1.0]))
    assert (made.missing, made.nan, made.pos_inf, made.neg_inf, made.finite) == (1, 1, 1, 2, 1)
    assert (made.count, made.n_rows) == (4, 6)
    assert (made.min, made.max, made.mean) == (1.0, 1.0, 1.0)
    # for order statistics the infinities lie in the outer cells
    assert (made.cell_counts[0], made.cell_counts[-1]) == (2, 1)


@settings(deadline=None)
@given(st.lists(finite, min_size=1, max_size=60))
def test_plain_mean_and_spread_are_correct_to_the_last_digit(values: list[float]) -> None:
    made = build_numeric(column(values), PLAIN_BINS)
    exact = [Fraction(v) for v in values]
    mean = sum(exact) / len(exact)
    assert made.mean == float(mean)
    assert (made.min, made.max) == (min(values), max(values))
    if len(values) > 1:
        variance = sum((v - mean) ** 2 for v in exact) / (len(exact) - 1)
        assert made.std is not None
        rounding = variance / 10**14 + Fraction(5e-324) ** 2
        assert abs(Fraction(made.std) ** 2 - variance) <= rounding + 2 * Fraction(made.std) * Fraction(5e-324)


@pytest.mark.parametrize("offset", [0.0, 1.7e9, -1e15])
def test_mean_and_spread_far_from_zero(offset: float) -> None:
    values = (np.random.default_rng(5).normal(size=2_000) + offset).tolist()
    made = state(values)
    assert made.mean == pytest.approx(statistics.fmean(values), abs=1e-9)
    assert made.std == pytest.approx(statistics.stdev(map(Fraction, values)), rel=1e-9)


def test_sum_is_that_of_the_values() -> None:
    values = [1.5, 2.25, -7.0, 1e6]
    assert build_numeric(column(values), PLAIN_BINS).sum == math.fsum(values)
    assert state(values).sum == pytest.approx(math.fsum(values), rel=1e-12)


def test_nothing_overflows_at_the_end_of_float64() -> None:
    most = 1.7976931348623157e308
    for reference in ([1.0, 2.0], [most, -most, 0.0], [most, most]):
        made = state([most, most, -most, 5e-324], reference)
        assert made.mean == pytest.approx(most / 4)
        assert made.std is not None
        assert made.std > 1e308
        assert made.quantile(0.5) is not None
        assert math.isfinite(made.mean_parts.sum())
    assert state([most, most]).sum == math.inf
    assert state([-most, -most]).sum == -math.inf
    assert state([most, -most]).std == math.inf  # 2.5e308


def test_outliers_take_the_exact_path_and_count_the_same() -> None:
    reference = np.linspace(-1, 1, 1_001)  # about 0, so that nothing is lost when 1e30 - 0 is rounded
    values = [0.5, 1e30, -1e30, 1e200, 0.25]
    made = state(values, reference)
    assert made.large
    assert made.mean == pytest.approx(1e200 / 5)
    assert state([0.5, 1e30, -1e30, 0.25], reference).mean == pytest.approx(0.75 / 4)


def test_full_cells_of_extreme_values_do_not_overflow() -> None:
    """More than 2**23 values just below the fast limit, all in one cell: their sum leaves int64."""
    edges = np.array([0.0, 1.0])
    bins = NumericBins(edges, np.zeros(3, np.int64), 0.0, 0)
    value = float(FAST_LIMIT - 1)
    n = 2**23 + 2**10
    made = build_numeric(column(np.full(n, value)), bins)
    assert made.total == n * (FAST_LIMIT - 1)
    assert made.squares == n * (FAST_LIMIT - 1) ** 2


@settings(deadline=None)
@given(st.lists(st.floats(-1e6, 1e6), min_size=1, max_size=200), st.floats(0, 1))
def test_quantile_has_about_the_right_rank(values: list[float], q: float) -> None:
    made = state(values)
    found = made.quantile(q)
    assert found is not None
    ordered = np.sort(values)
    assert made.bins is not None
    largest_cell = made.counts.max() / len(values)
    assert np.mean(ordered < found) <= q + largest_cell + 1e-9
    assert np.mean(ordered <= found) >= q - largest_cell - 1e-9


def test_quantiles_of_the_reference_are_close_to_those_of_numpy() -> None:
    values = np.random.default_rng(7).lognormal(size=50_000)
    made = state(values)
    for q in (0.01, 0.25, 0.5, 0.75, 0.99):
        assert made.quantile(q) == pytest.approx(np.quantile(values, q), rel=0.02)
    assert (made.quantile(0.0), made.quantile(1.0)) == (values.min(), pytest.approx(values.max()))


def test_quantile_needs_values_edges_and_a_share() -> None:
    assert state([], [1.0, 2.0]).quantile(0.5) is None
    with pytest.raises(BadInput, match=r"\[0, 1\]"):
        state([1.0]).quantile(1.5)


def test_spread_needs_two_values_and_mean_one() -> None:
    assert (state([], [1.0]).mean, state([], [1.0]).std, state([1.0]).std) == (None, None, None)
    assert state([2.0, 2.0]).std == 0.0


def test_distinct_is_none_where_a_cell_holds_many_values() -> None:
    assert state(np.random.default_rng(8).normal(size=2_000)).distinct is None
    assert state([1.5], [1.0, 2.0]).distinct is None  # between the reference's values
    assert state([1.0, 1.0, 2.0]).distinct == 2
    assert state([], [1.0]).distinct == 0


@pytest.mark.parametrize("value", [0.1, 1.0, -1 / 3, 1e6])
def test_the_mean_of_one_value_is_that_value_on_any_scale(value):
    """The bins of values up to a million cut others to multiples of 2**-21, and 0.1 is none."""
    made = build_numeric(column([value] * 7), frozen(np.linspace(0, 1e6, 1_000)))
    assert made.mean == value
