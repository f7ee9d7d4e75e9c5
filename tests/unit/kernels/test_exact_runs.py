"""Exact sums of ordered values against sums of fractions."""

from __future__ import annotations

from fractions import Fraction

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from driftwell.kernels.exact import PLAIN_SHIFT, exact_sum, to_integers

finite = st.floats(-1e307, 1e307) | st.sampled_from([0.0, -0.0, 5e-324, -5e-324, 2.2250738585072014e-308])


@settings(deadline=None)
@given(st.lists(finite, max_size=60), st.sampled_from([PLAIN_SHIFT, 600, 30, 0, -40, -900]))
def test_sums_are_those_of_rounded_fractions(values: list[float], shift: int) -> None:
    rounded = [round(Fraction(v) * Fraction(2) ** shift) for v in values]  # half to even
    assert exact_sum(np.sort(values), 0.0, shift) == (sum(rounded), sum(r * r for r in rounded))
    assert to_integers(np.array(values), 0.0, shift) == rounded


@pytest.mark.parametrize("value", [1.9999999999999998, -1.9999999999999998])
def test_long_runs_of_one_exponent_do_not_overflow(value: float) -> None:
    """More rows than one run or chunk holds, each with all bits of its mantissa set."""
    n = 2**16 + 7
    whole = int(Fraction(value) * 2**52)
    assert exact_sum(np.full(n, value), 0.0, 52) == (n * whole, n * whole**2)


def test_values_are_centred_before_they_are_summed() -> None:
    values = np.array([99.5, 100.0, 103.25])
    assert exact_sum(values, 100.0, 2) == (-2 + 0 + 13, 4 + 0 + 169)
