"""Distances of shares where rows were counted in other bins first: certified bounds hold what the rows give."""

import numpy as np
import pytest

import driftwell as dw
from driftwell.kernels import divergence

METHODS = ["psi", "jensen_shannon", "hellinger", "kl"]


@pytest.mark.parametrize("shift", [0.0, 0.1, 0.5, 2.0])
@pytest.mark.parametrize("method", METHODS)
def test_bounds_from_a_grid_hold_the_value_from_rows(method: str, shift: float) -> None:
    for seed in range(5):
        rng = np.random.default_rng(seed)
        reference = dw.Reference.from_data({"x": rng.normal(size=3_000)})
        now = {"x": rng.normal(shift, 1, 4_000)}
        exact = dw.compare(reference, now, method=method).columns["x"]
        bound = dw.compare(reference, dw.profile(now), method=method).columns["x"]
        assert exact.value is not None
        assert bound.low is not None
        assert bound.high is not None
        assert bound.low - 1e-12 <= exact.value <= bound.high + 1e-12
        assert bound.value == bound.low
        assert (
            bound.high - bound.low < 0.15 + 0.8 * exact.value
        )  # a per cent or two of the rows lie in cells that edges cut
        assert (bound.p_value or 0.0) >= (exact.p_value or 0.0) - 1e-9  # never surer than the rows are


def test_large_shifts_are_found_from_a_grid() -> None:
    rng = np.random.default_rng(1)
    reference = dw.Reference.from_data({"x": rng.normal(size=3_000)})
    assert dw.compare(reference, dw.profile({"x": rng.normal(1, 1, 1_000)})).columns["x"].drifted


@pytest.mark.parametrize(
    ("term", "distance", "added", "power"),
    [
        (divergence.psi_term, divergence.population_stability_index, 0.5, 1),
        (divergence.kl_term, divergence.kullback_leibler, 0.5, 1),
        (divergence.hellinger_term, divergence.hellinger, 0.0, 2),
        (divergence.jensen_shannon_term, divergence.jensen_shannon, 0.0, 2),
    ],
)
def test_terms_add_up_to_their_distance_and_are_least_at_equality(term, distance, added, power) -> None:
    before, after = np.array([40, 0, 25, 35]), np.array([10, 15, 0, 75])
    low, high = divergence.bounds_by_terms(term, before, after, np.zeros(4, np.int64), added)
    assert low == pytest.approx(high) == pytest.approx(distance(before, after) ** power)
    p, q = np.full(50, 0.3), np.linspace(0.01, 0.99, 50)
    values = term(p, q)
    assert values.min() >= 0
    assert abs(q[values.argmin()] - 0.3) < 0.02
