"""Sums are exact: equal to those of ``fractions.Fraction`` and ``math.fsum``, in any order, at any magnitude."""

from __future__ import annotations

import math
from fractions import Fraction

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from driftwell.kernels import exact
from driftwell.kernels.exact import (
    FAST_LIMIT,
    MAX_ROWS,
    PLAIN_SHIFT,
    choose_shift,
    exact_sum,
    exact_sum_squares,
    to_fixed,
)

finite = st.floats(allow_nan=False, allow_infinity=False)
lists = st.lists(finite, min_size=0, max_size=60)


def by_fractions(values: list[float], centre: float, shift: int) -> tuple[int, int]:
    """The definition, term by term: each value is rounded half to even to a multiple of the unit, then added."""
    fixed = [round(Fraction(v - centre) * Fraction(2) ** shift) for v in values]
    return sum(fixed), sum(f * f for f in fixed)


@given(lists)
def test_plain_sums_are_those_of_fractions_without_any_rounding(values: list[float]) -> None:
    total, squares = exact_sum(np.array(values, np.float64), 0.0, PLAIN_SHIFT)
    assert Fraction(total, 2**PLAIN_SHIFT) == sum(map(Fraction, values))
    assert Fraction(squares, 4**PLAIN_SHIFT) == sum(Fraction(v) ** 2 for v in values)


@given(st.lists(st.floats(-1e12, 1e12), max_size=60))
def test_plain_sums_round_to_those_of_fsum(values: list[float]) -> None:
    total, _ = exact_sum(np.array(values, np.float64), 0.0, PLAIN_SHIFT)
    assert total / 2**PLAIN_SHIFT == math.fsum(values)


@given(lists, st.floats(-1e200, 1e200), st.integers(-900, PLAIN_SHIFT))
def test_sums_about_a_centre_follow_their_definition(values: list[float], centre: float, shift: int) -> None:
    values = [v for v in values if math.isfinite(v - centre)]
    assert exact_sum(np.array(values, np.float64), centre, shift) == by_fractions(values, centre, shift)


@given(st.lists(st.floats(-4e6, 4e6), min_size=1, max_size=60), st.randoms(use_true_random=False))
def test_order_does_not_matter(values: list[float], random: object) -> None:
    shuffled = list(values)
    random.shuffle(shuffled)  # type: ignore[attr-defined]
    assert exact_sum(np.array(values), 1.5, 20) == exact_sum(np.array(shuffled), 1.5, 20)


@given(lists, lists)
def test_sums_of_parts_add_up(first: list[float], second: list[float]) -> None:
    parts = [exact_sum(np.array(p, np.float64), 0.0, PLAIN_SHIFT) for p in (first, second)]
    whole = exact_sum(np.array(first + second, np.float64), 0.0, PLAIN_SHIFT)
    assert whole == (parts[0][0] + parts[1][0], parts[0][1] + parts[1][1])


@given(st.lists(st.floats(-1.0, 1.0), max_size=60), st.floats(-1.0, 1.0))
def test_fast_and_slow_path_give_the_same_integers(values: list[float], centre: float) -> None:
    array = np.array(values, np.float64)
    fixed = to_fixed(array, centre, 38).astype(np.int64)
    assert (int(fixed.sum()), exact_sum_squares(fixed)) == exact_sum(array, centre, 38)


@given(st.lists(st.integers(-FAST_LIMIT, FAST_LIMIT), max_size=60))
def test_sum_of_squares_is_exact(values: list[int]) -> None:
    assert exact_sum_squares(np.array(values, np.int64)) == sum(v * v for v in values)


def test_squares_at_the_limit_do_not_overflow() -> None:
    n = 100_000
    assert exact_sum_squares(np.full(n, FAST_LIMIT - 1)) == n * (FAST_LIMIT - 1) ** 2
    assert exact_sum_squares(np.full(n, 1 - FAST_LIMIT)) == n * (FAST_LIMIT - 1) ** 2


def test_one_block_of_fast_values_fits_int64() -> None:
    assert MAX_ROWS * FAST_LIMIT < 2**63
    # high limbs below 2**20 and low limbs below 2**20: their products, MAX_ROWS of them
    assert MAX_ROWS * 2**40 < 2**63


def test_blocks_are_added_up(monkeypatch: pytest.MonkeyPatch) -> None:
    values = np.linspace(-5, 7, 1000)
    whole = exact_sum(values, 0.5, 30)
    fixed = to_fixed(values, 0.5, 30).astype(np.int64)
    squares = exact_sum_squares(fixed)
    monkeypatch.setattr(exact, "MAX_ROWS", 17)
    assert exact_sum(values, 0.5, 30) == whole
    assert exact_sum_squares(fixed) == squares == whole[1]


def test_largest_mantissas_of_one_exponent_do_not_overflow() -> None:
    value = np.nextafter(2.0, 0.0)  # all 53 bits set
    n = 200_000
    total, squares = exact_sum(np.full(n, value), 0.0, PLAIN_SHIFT)
    assert Fraction(total, 2**PLAIN_SHIFT) == n * Fraction(value)
    assert Fraction(squares, 4**PLAIN_SHIFT) == n * Fraction(value) ** 2


@given(st.floats(min_value=5e-324, allow_infinity=False))
def test_scale_lands_below_the_fast_limit_and_near_it(scale: float) -> None:
    shift = choose_shift(scale)
    fixed = Fraction(scale) * Fraction(2) ** shift
    if 2.0**-1000 < scale < 2.0**900:
        assert FAST_LIMIT / 2 <= fixed < FAST_LIMIT
    assert -900 <= shift <= PLAIN_SHIFT


@pytest.mark.parametrize("scale", [0.0, -1.0, math.inf, math.nan])
def test_scale_that_is_no_magnitude_gets_a_usable_shift(scale: float) -> None:
    assert choose_shift(scale) == 20


def test_product_beyond_float64_is_infinite_without_a_warning() -> None:
    assert to_fixed(np.array([1e308, -1e308, 1.0]), 0.0, 40).tolist() == [math.inf, -math.inf, 2.0**40]


def test_smallest_and_largest_numbers_are_counted() -> None:
    values = [5e-324, -5e-324, 5e-324, 1.7976931348623157e308, -1.7976931348623157e308]
    total, _ = exact_sum(np.array(values), 0.0, PLAIN_SHIFT)
    assert total == 1  # one smallest number in units of 2**-1074
