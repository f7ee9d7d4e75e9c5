"""Moments of outputs, against NumPy."""

from __future__ import annotations

from fractions import Fraction

import numpy as np
import pytest

from driftwell.stores.base import HOUR_US
from driftwell.stores.summaries import Hour, merge, outputs_of, summarise


def test_merged_hours_have_the_moments_of_all() -> None:
    rng = np.random.default_rng(7)
    outputs = rng.normal(50, 3, size=500)
    outputs[::7] = np.nan
    times = rng.integers(0, 9 * HOUR_US, size=500)
    parts = [summarise(t, o) for t, o in zip(np.split(times, 5), np.split(outputs, 5), strict=True)]
    whole = merge(hour for part in parts for hour in part.values())
    known = outputs[~np.isnan(outputs)]
    assert (whole.n, whole.output_n) == (500, len(known))
    assert (whole.first_us, whole.last_us) == (times.min(), times.max())
    assert whole.mean == pytest.approx(np.mean(known), rel=1e-12)
    assert whole.m2 == pytest.approx(np.var(known) * len(known), rel=1e-10)
    assert (whole.low, whole.high) == (known.min(), known.max())


def test_each_row_is_in_the_hour_of_its_time() -> None:
    hours = summarise(np.array([2 * HOUR_US, 0, HOUR_US - 1, -1]), np.array([1.0, 2.0, 4.0, 8.0]))
    assert {hour // HOUR_US: (h.n, h.mean) for hour, h in hours.items()} == {-1: (1, 8.0), 0: (2, 3.0), 2: (1, 1.0)}


@pytest.mark.parametrize(
    ("score", "prediction", "output"),
    [(0.5, "1", 0.5), (None, "-2.5e1", -25.0), (None, '"3"', None), (None, "true", None), (None, "[1]", None),
     (None, None, None), (None, "-Infinity", None), (None, "-x", None), (float("nan"), "4", None)],
)  # fmt: skip
def test_output_is_the_score_or_the_number(score: float | None, prediction: str | None, output: float | None) -> None:
    found = outputs_of([score], [prediction])
    assert [None if np.isnan(v) else v for v in found.tolist()] == [output]


def test_no_rows_make_no_hours() -> None:
    assert summarise(np.zeros(0, dtype=np.int64), np.zeros(0)) == {}


def test_the_mean_of_means_is_rounded_once() -> None:
    ones = [Hour(n, 0, 0, n, 1.0, 0.0, 1.0, 1.0) for n in (3, 7, 11, 13, 1_001)]
    assert merge(ones).mean == 1.0
    rng = np.random.default_rng(1)
    counts, means = rng.integers(1, 1_000, 50).tolist(), rng.normal(0, 1, 50).tolist()
    exact = sum(n * Fraction(mean) for n, mean in zip(counts, means, strict=True)) / sum(counts)
    parts = [Hour(n, 0, 0, n, mean, 0.0, mean, mean) for n, mean in zip(counts, means, strict=True)]
    assert merge(parts).mean == float(exact)


def test_a_mean_beyond_float64_stays_infinite() -> None:
    parts = [Hour(1, 0, 0, 1, np.inf, np.inf, 1e308, 1e308), Hour(1, 0, 0, 1, 1.0, 0.0, 1.0, 1.0)]
    assert merge(parts).mean == np.inf
