"""Shares in bins drawn anew: bins counted by hand, and the figures of the peers in test_conventions."""

from __future__ import annotations

import numpy as np
import pytest
from scipy.stats import ks_2samp, rv_histogram, wasserstein_distance

from driftwell.kernels import histogram_shares as shares

RNG = np.random.default_rng(5)


def test_sturges_bins_of_eight_rows_are_four() -> None:
    # ceil(log2(8) + 1) = 4 bins of width 2 over 0…8
    p, q = shares.pooled_shares(np.array([0.0, 1.0, 3.0, 5.0]), np.array([6.0, 7.0, 7.5, 8.0]))
    assert p.tolist() == [0.5, 0.25, 0.25, 0.0]
    assert q.tolist() == [0.0, 0.0, 0.0, 1.0]


def test_bins_of_integers_are_at_least_one_wide() -> None:
    zeros_and_ones = np.array([0, 0, 0, 1]), np.array([0, 1, 1, 1])
    assert [side.tolist() for side in shares.pooled_shares(*zeros_and_ones)] == [[1.0], [1.0]]
    as_floats = shares.pooled_shares(*(side.astype(float) for side in zeros_and_ones))
    assert [side.tolist() for side in as_floats] == [[0.75, 0, 0, 0.25], [0.25, 0, 0, 0.75]]


def test_equal_widths_span_the_pooled_range() -> None:
    p, q = shares.equal_width_shares(np.array([0.0, 1.0, 2.0, 3.0]), np.array([9.0, 10.0]), 10)
    assert p.tolist() == [0.25] * 4 + [0.0] * 6
    assert q.tolist() == [0.0] * 9 + [1.0]


def test_rows_outside_the_reference_have_a_bin_of_their_own() -> None:
    reference = np.sort(RNG.normal(size=500))
    inside = shares.reference_shares(reference, reference)
    assert inside[0].tolist() == inside[1].tolist()
    p, q = shares.reference_shares(reference, np.sort(np.append(reference[::5], [-50.0, 50.0])))
    assert len(p) == len(inside[0]) + 1
    assert (p[-1], q[-1]) == (0.0, 2 / 102)


def test_interpolated_shares_are_those_of_scipys_histogram_distribution() -> None:
    before, after = np.sort(RNG.normal(size=800)), np.sort(RNG.normal(0.5, 1, size=300))
    found = shares.interpolated_shares(before, after, 10)
    at = np.linspace(min(before[0], after[0]), max(before[-1], after[-1]), 10)
    for side, rows in zip(found, (before, after), strict=True):
        # at these sizes the Freedman–Diaconis rule has more bins than Sturges'
        want = np.diff(rv_histogram(np.histogram(rows, bins="fd"), density=False).cdf(at))
        assert side == pytest.approx(want, abs=1e-14)


def test_value_counts_by_hand() -> None:
    reference, current = shares.value_counts(np.array([1.0, 1.0, 3.0]), np.array([2.0, 3.0, 3.0, 3.0]))
    assert (reference.tolist(), current.tolist()) == ([2, 0, 1], [0, 1, 3])


@pytest.mark.parametrize(
    ("given", "filled"),
    [
        ([0.4, 0.6], [0.4, 0.6]),
        ([0.0, 0.0002, 0.9998], [1e-4, 0.0002, 0.9998]),
        ([0.0, 0.0001, 0.9999], [1e-10, 0.0001, 0.9999]),
        ([0.0, 5e-5, 0.99995], [5e-11, 5e-5, 0.99995]),
    ],
)
def test_floor_of_empty_bins(given: list[float], filled: list[float]) -> None:
    assert shares.fill_zeros(np.array(given)).tolist() == pytest.approx(filled, rel=1e-12)


def test_fine_bins_come_close_to_the_exact_distances() -> None:
    before, after = np.sort(RNG.normal(size=20_000)), np.sort(RNG.normal(0.4, 1, size=4_000))
    width = (before[-1] - before[0]) / 10_000
    assert shares.binned_ks(before, after, 10_000) == pytest.approx(ks_2samp(before, after).statistic, abs=2e-3)
    assert shares.binned_wasserstein(before, after, 10_000) == pytest.approx(
        wasserstein_distance(before, after), abs=2 * width
    )


def test_rows_beyond_the_binned_reference_by_hand() -> None:
    # Reference 0, 1, 2 in two bins; of the current rows 2 lie below, at -1 and -3, and 1 above, at 4.
    reference, current = np.array([0.0, 1.0, 2.0]), np.array([-3.0, -1.0, 1.0, 4.0])
    # below: steps of height 1/3 over 2 and 2/3 over 1, times 3/4; above: step of height 1/2 over 2, times 2/4
    # inside: F = 1/3, 1; G = 3/4 + 0, 3/4 + 1/4
    inside = abs(1 / 3 - 3 / 4) + abs(1 - 1)
    want = inside + 3 / 4 * (2 / 3 + 2 / 3) + 2 / 4 * (1 / 2 * 2)
    assert shares.binned_wasserstein(reference, current, 2) == pytest.approx(want, rel=1e-12)
    assert shares.binned_ks(reference, current, 2) == pytest.approx(1 / 4)  # at 2: all against 3 of 4
