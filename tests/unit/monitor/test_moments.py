"""Moments of columns against NumPy, and against exact rational arithmetic where NumPy rounds."""

from __future__ import annotations

import decimal
import random
import statistics
from fractions import Fraction

import numpy as np
import pytest

from driftwell import Reference, profile
from driftwell.monitor.moments import Moments, pooled
from driftwell.profiles.format.codec import summaries

RNG = np.random.default_rng(3)
COLUMNS = {
    "around one": RNG.normal(1, 2, 300),
    "far from zero": RNG.normal(1e12, 1, 300),
    "large": RNG.uniform(1e18, 9e18, 300),
    "tiny": RNG.uniform(1e-300, 1e-290, 300),
    "subnormal": RNG.uniform(0, 1e-310, 300),
    "whole": RNG.integers(-5, 5, 300).astype(float),
    "constant": np.full(300, 0.1),
}


def root(value: Fraction) -> float:
    """The square root to fifty digits, then as float64."""
    with decimal.localcontext(prec=50, Emin=decimal.MIN_EMIN, Emax=decimal.MAX_EMAX):
        return float((decimal.Decimal(value.numerator) / decimal.Decimal(value.denominator)).sqrt())


def moments_of(values, reference=None) -> Moments:
    return Moments.of(summaries(profile({"x": values}, reference=reference).to_bytes())["x"])


@pytest.mark.parametrize("values", COLUMNS.values(), ids=COLUMNS)
def test_without_reference_mean_and_std_are_the_exact_ones(values):
    found = moments_of(values)
    exact = [Fraction(v) for v in values.tolist()]
    assert found.n == 300
    assert found.mean == float(statistics.mean(exact))
    assert found.std == pytest.approx(root(statistics.variance(exact)), rel=1e-14, abs=0)
    assert (found.min, found.max) == (values.min(), values.max())


@pytest.mark.parametrize("name", ["around one", "far from zero", "large", "whole"])
def test_in_a_reference_s_bins_they_agree_with_numpy(name):
    values = COLUMNS[name]
    found = moments_of(values, Reference.from_data({"x": values * 1.5}))
    assert found.mean == pytest.approx(np.mean(values), rel=1e-11)
    assert found.std == pytest.approx(np.std(values, ddof=1), rel=1e-9)


def test_columns_of_every_magnitude_pool_as_one():
    parts = [values for name, values in COLUMNS.items() if name != "subnormal"]
    found = pooled(moments_of(values, Reference.from_data({"x": values})) for values in parts)
    everything = np.concatenate(parts)
    assert found.n == everything.size
    assert found.mean == pytest.approx(everything.mean(), rel=1e-11)
    assert found.std == pytest.approx(everything.std(ddof=1), rel=1e-9)
    assert (found.min, found.max) == (everything.min(), everything.max())


def test_any_split_and_order_adds_to_the_same():
    values = RNG.normal(1e6, 3e-4, 1_000)
    parts = [moments_of(part) for part in np.array_split(values, 37)]
    whole = moments_of(values)
    for seed in range(5):
        random.Random(seed).shuffle(parts)
        assert pooled(parts) == whole


def test_six_ones_have_the_mean_one_and_no_spread():
    found = pooled(moments_of([1.0]) for _ in range(6))
    assert (found.mean, found.std) == (1.0, 0.0)


def test_values_near_the_end_of_float64_are_counted():
    found = moments_of([-1e308, 1e308, 1e308])
    assert found.mean == pytest.approx(1e308 / 3)
    assert found.std == pytest.approx(statistics.stdev([Fraction(-10) ** 3, 10**3, 10**3]) * 1e305)


def test_infinite_and_missing_values_are_left_out():
    found = moments_of([1.0, None, np.inf, -np.inf, np.nan, 3.0])
    assert (found.n, found.mean, found.min, found.max) == (2, 2.0, 1.0, 3.0)


def test_nothing_has_no_moments():
    assert pooled([]).to_dict() == {"mean": None, "std": None, "min": None, "max": None}
    assert moments_of([None, None], Reference.from_data({"x": [1.0, 2.0]})).n == 0


def test_one_value_has_no_spread():
    assert moments_of([2.5]).to_dict() == {"mean": 2.5, "std": None, "min": 2.5, "max": 2.5}


def test_text_has_no_moments():
    assert moments_of(["a", "b"]).n == 0


@pytest.mark.parametrize("value", [1.0, 0.1, -3.7e5])
def test_the_mean_of_one_repeated_value_is_that_value(value):
    reference = Reference.from_data({"x": np.random.default_rng(5).normal(1e6, 1e5, 500)})
    parts = [moments_of(np.full(n, value), reference) for n in (3, 7, 11)]
    assert pooled(parts).mean == value
