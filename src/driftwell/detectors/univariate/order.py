"""Methods that compare the order of the values, and how far apart they lie.

Where the rows of both sides are at hand they are exact. From bins they are bounded by what all orders inside a bin
allow (and, where rows were counted in other bins, by how far those may be off); value and p-value are those of the
bound that claims the least.
"""

from __future__ import annotations

import math

from driftwell.detectors.univariate.pair import Bools, Counts, Floats, Pair
from driftwell.errors import InsufficientData
from driftwell.kernels import empirical, limit_tails, rank_tests, significance
from driftwell.kernels.relevance import band_p_value
from driftwell.profiles.states.numeric import NumericState
from driftwell.results import Measure

__all__ = [
    "anderson_darling",
    "cramer_von_mises",
    "energy",
    "ks",
    "ks_bounds",
    "ks_exceeds",
    "kuiper",
    "kuiper_exceeds",
    "mann_whitney",
    "wasserstein",
]


Sums = tuple[Counts, Counts, Floats, Floats, Floats, Bools, float]


def ks(pair: Pair) -> Measure:
    """Kolmogorov–Smirnov."""
    reference, current = pair.numeric
    n, m = pair.sizes(reference.count, current.count)
    low, high = ks_bounds(pair)
    margin = significance.dkw_margin(n, m)
    interval = (max(0.0, low - margin), min(1.0, high + margin))
    p = significance.ks_p_value(low, n, m)
    return Measure("ks", low, low, high, n, m, p_value=p, statistic=low, interval=interval)


def ks_bounds(pair: Pair) -> tuple[float, float]:
    """The KS distance alone, without the cost of its p-value."""
    reference, current = pair.measured
    if pair.distances is not None:
        return pair.distances[0], pair.distances[0]
    assert reference.bins is not None
    low, high = empirical.ks_from_cells(reference.cell_counts, current.cell_counts, reference.bins.atoms)
    return _apart(low, high, pair.misplaced[0])


def ks_exceeds(pair: Pair, threshold: float) -> float:
    """p-value of "the populations are no farther apart than this", by the inequality of the interval."""
    found = pair.measure("ks")
    return band_p_value(found.low - threshold, found.n_reference, found.n_current)


def kuiper(pair: Pair) -> Measure:
    """Kuiper's sum of both one-sided distances."""
    reference, current = pair.numeric
    n, m = pair.sizes(reference.count, current.count)
    cells = pair.order
    before = cells.reference if pair.weighed is None else pair.measured[0].cell_counts
    low, high = _apart(*rank_tests.kuiper(before, cells.current, cells.wide), 2 * pair.misplaced[0])
    margin = 2 * significance.dkw_margin(n, m)
    interval = (max(0.0, low - margin), min(1.0, high + margin))
    p = limit_tails.kuiper_p_value(low, n, m)
    return Measure("kuiper", low, low, high, n, m, p_value=p, statistic=low, interval=interval)


def kuiper_exceeds(pair: Pair, threshold: float) -> float:
    """p-value of "the populations are no farther apart than this"."""
    found = pair.measure("kuiper")
    return band_p_value(found.low - threshold, found.n_reference, found.n_current, bands=2)


def wasserstein(pair: Pair) -> Measure:
    """Wasserstein-1."""
    reference, current = pair.numeric
    n, m = pair.sizes(reference.finite, current.finite)
    if pair.distances is not None:
        low = high = pair.distances[1]
    else:
        low, high = empirical.wasserstein_from_cells(*_sums(*pair.measured))
        low, high = max(0.0, low - pair.misplaced[1]), high + pair.misplaced[1]
    return Measure("wasserstein", low, low, high, n, m)


def energy(pair: Pair) -> Measure:
    """Energy distance."""
    reference, current = pair.numeric
    n, m = pair.sizes(reference.finite, current.finite)
    if pair.all_rows is not None:
        low = high = empirical.energy_from_sorted(*pair.all_rows)
    else:
        low, high = empirical.energy_from_cells(*_sums(*pair.measured), _span(*pair.measured))
        # Of F - G no more than the first is misplaced at any value, no more than the second in all.
        slack = math.sqrt(2) * math.sqrt(pair.misplaced[0]) * math.sqrt(pair.misplaced[1])
        low, high = max(0.0, low - slack), high + slack
    return Measure("energy", low, low, high, n, m)


def cramer_von_mises(pair: Pair) -> Measure:
    """Two-sample T with midranks; the p-value is that of T without what ties alone add to it."""
    reference, current = pair.numeric
    if pair.misplaced != (0.0, 0.0):
        raise InsufficientData("it needs the rows of both sides, or both counted in the reference's own bins")
    cells = pair.order
    low, high, untied = rank_tests.cramer_von_mises(cells.reference, cells.current, cells.wide)
    n, m = pair.sizes(reference.count, current.count)
    p = limit_tails.cramer_von_mises_p_value(untied * _independent(pair, reference.count, current.count), n, m)
    return Measure("cramer_von_mises", low, low, high, n, m, p_value=p, statistic=untied)


def anderson_darling(pair: Pair) -> Measure:
    """Normalised two-sample A² with midranks; the p-value is that of A² without what ties alone add to it."""
    cells = pair.full_order
    n, m = int(cells.reference.sum()), int(cells.current.sum())
    if n + m < 4:
        raise InsufficientData("it needs four values in all")
    value, untied = rank_tests.anderson_darling(cells.reference, cells.current)
    p = limit_tails.anderson_darling_p_value(untied, _independent(pair, n, m))
    sampled = pair.sampled and n < pair.reference.count
    return Measure(
        "anderson_darling", value, value, value, *pair.sizes(n, m), p_value=p, statistic=untied, sampled=sampled
    )


def mann_whitney(pair: Pair) -> Measure:
    """U of the reference; from bins the one nearest to that of no change."""
    reference, current = pair.numeric
    cells = pair.order
    low, high = rank_tests.mann_whitney(cells.reference, cells.current, cells.wide)
    slack = pair.misplaced[0] * reference.count * current.count
    low, high = low - slack, high + slack
    sd = rank_tests.mann_whitney_sd(cells.reference, cells.current, cells.wide)
    middle = reference.count * current.count / 2
    value = min(max(low, middle), high)
    n, m = pair.sizes(reference.count, current.count)
    p = None
    if sd > 0:
        z = max(0.0, abs(value - middle) - 0.5) / sd
        p = limit_tails.normal_p_value(z * math.sqrt(_independent(pair, reference.count, current.count)))
    return Measure("mann_whitney", value, low, high, n, m, p_value=p, statistic=value)


def _apart(low: float, high: float, slack: float) -> tuple[float, float]:
    """Bounds of a distance of distribution functions that may be off by this much."""
    return max(0.0, low - slack), min(1.0, high + slack)


def _independent(pair: Pair, n: int, m: int) -> float:
    """What part of the joint sample size nm / (n + m) is independent."""
    if pair.factors == (1.0, 1.0):
        return 1.0
    independent = pair.sizes(n, m)
    return (1 / n + 1 / m) / (1 / independent[0] + 1 / independent[1])


def _sums(reference: NumericState, current: NumericState) -> Sums:
    """Counts and sums of both sides a cell, and the cells themselves, as the bounds from cells take them."""
    assert reference.bins is not None
    bins = reference.bins
    edges = bins.edges - reference.centre
    parts = reference.mean_parts, current.mean_parts
    return reference.counts, current.counts, *parts, edges, bins.atoms, bins.unit


def _span(reference: NumericState, current: NumericState) -> tuple[float, float]:
    assert reference.min is not None
    assert reference.max is not None
    assert current.min is not None
    assert current.max is not None
    return min(reference.min, current.min) - reference.centre, max(reference.max, current.max) - reference.centre
