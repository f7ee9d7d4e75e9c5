"""What a Reference says of KS and Wasserstein holds the exact distance of the rows, whatever their shape."""

from __future__ import annotations

from collections.abc import Callable

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from scipy.stats import ks_2samp, wasserstein_distance

import driftwell as dw

Shape = Callable[[np.random.Generator, int], np.ndarray]

SHAPES: dict[str, Shape] = {
    "normal": lambda rng, n: rng.normal(size=n),
    "normal far from zero": lambda rng, n: 1e9 + rng.normal(size=n),
    "exponential": lambda rng, n: rng.exponential(size=n),
    "lognormal": lambda rng, n: rng.lognormal(0, 2, n),
    "cauchy": lambda rng, n: rng.standard_cauchy(n),
    "cubed cauchy": lambda rng, n: rng.standard_cauchy(n) ** 3,
    "few integers": lambda rng, n: rng.integers(0, 5, n).astype(float),
    "many integers": lambda rng, n: rng.integers(0, 3_000, n).astype(float),
    "zero-inflated": lambda rng, n: np.where(rng.random(n) < 0.7, 0.0, rng.exponential(size=n)),
    "two spikes": lambda rng, n: np.where(
        rng.random(n) < 0.3, -1.0, np.where(rng.random(n) < 0.4, 1.0, rng.normal(size=n))
    ),
    "constant": lambda rng, n: np.full(n, 3.7),
    "rounded": lambda rng, n: rng.normal(0, 10, n).round(1),
    "huge": lambda rng, n: 1e300 * rng.normal(size=n),
    "tiny": lambda rng, n: 1e-290 * rng.normal(size=n),
    "many magnitudes": lambda rng, n: rng.normal(size=n) * 10.0 ** rng.integers(-200, 200, n),
    "seconds since 1970": lambda rng, n: 1.7e9 + rng.random(n) * 86_400,
}
SIZES = st.sampled_from([1, 2, 3, 10, 100, 1_000, 4_000])


def check(reference: np.ndarray, current: np.ndarray) -> None:
    r = dw.compare(dw.Reference.from_data({"x": reference}), {"x": current}, min_samples=1)
    ks, area = r.metric("x", "ks"), r.metric("x", "wasserstein")
    exact_ks = float(ks_2samp(reference, current).statistic)
    exact_area = float(wasserstein_distance(reference, current))
    assert ks.low - 1e-12 <= exact_ks <= ks.high + 1e-12
    assert ks.value == ks.low
    # scipy adds up as many terms as there are rows, in float64
    rounding = 1e-9 * exact_area + 1e-300
    assert area.low - rounding <= exact_area <= area.high + rounding
    assert area.value == area.low


@pytest.mark.filterwarnings("ignore:ks_2samp")  # scipy's p-value, not wanted here, can round to just above 1
@pytest.mark.parametrize("shape", SHAPES)
@settings(deadline=None, max_examples=25)
@given(n=SIZES, m=SIZES, seed=st.integers(0, 2**32), scale=st.sampled_from([1.0, 1.0, 1.5, -1.0]), moved=st.booleans())
def test_bounds_hold(shape: str, n: int, m: int, seed: int, scale: float, moved: bool) -> None:
    rng = np.random.default_rng(seed)
    reference = SHAPES[shape](rng, n)
    current = SHAPES[shape](rng, m) * scale + (np.abs(reference).mean() / 2 if moved else 0.0)
    check(reference, current)


@pytest.mark.filterwarnings("ignore:ks_2samp")
@settings(deadline=None, max_examples=60)
@given(st.sampled_from(sorted(SHAPES)), st.sampled_from(sorted(SHAPES)), SIZES, SIZES, st.integers(0, 2**32))
def test_bounds_hold_between_any_two_shapes(first: str, second: str, n: int, m: int, seed: int) -> None:
    rng = np.random.default_rng(seed)
    check(SHAPES[first](rng, n), SHAPES[second](rng, m))


@pytest.mark.parametrize(
    ("shape", "share_of_spread"),
    [("normal", 0.01), ("exponential", 0.01), ("many integers", 0.01), ("rounded", 0.01), ("zero-inflated", 0.02),
     ("lognormal", 0.05)],
)  # fmt: skip
def test_bounds_are_narrow(shape: str, share_of_spread: float) -> None:
    """KS within two cells of 1/240; Wasserstein within a small share of the standard deviation, heavy tails apart."""
    rng = np.random.default_rng(4)
    reference, current = SHAPES[shape](rng, 20_000), 1.1 * SHAPES[shape](rng, 10_000)
    r = dw.compare(dw.Reference.from_data({"x": reference}), {"x": current})
    ks, area = r.metric("x", "ks"), r.metric("x", "wasserstein")
    assert ks.high - ks.low <= 2 / 240
    assert area.high - area.low <= share_of_spread * reference.std()


@pytest.mark.parametrize("shape", ["few integers", "constant"])
def test_bounds_meet_where_every_value_has_a_cell(shape: str) -> None:
    rng = np.random.default_rng(4)
    reference, current = SHAPES[shape](rng, 500), SHAPES[shape](rng, 300)
    r = dw.compare(dw.Reference.from_data({"x": reference}), {"x": current})
    assert r.metric("x", "ks").low == r.metric("x", "ks").high
    area = r.metric("x", "wasserstein")
    assert area.low == pytest.approx(area.high, abs=1e-12)
    assert area.value == pytest.approx(wasserstein_distance(reference, current), abs=1e-12)


def test_from_two_tables_both_are_exact() -> None:
    rng = np.random.default_rng(4)
    a, b = rng.lognormal(size=3_000), rng.lognormal(0.1, 1.1, 2_000)
    r = dw.compare({"x": a}, {"x": b})
    ks, area = r.metric("x", "ks"), r.metric("x", "wasserstein")
    assert ks.low == ks.high == pytest.approx(ks_2samp(a, b).statistic, abs=1e-12)
    assert ks.p_value == pytest.approx(ks_2samp(a, b).pvalue, rel=1e-9)
    assert area.low == area.high == pytest.approx(wasserstein_distance(a, b), rel=1e-9)
