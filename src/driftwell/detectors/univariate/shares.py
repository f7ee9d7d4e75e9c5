"""Methods that compare the shares of groups: distances, and tests of the counts."""

from __future__ import annotations

import math
from collections.abc import Callable
from typing import NamedTuple

import numpy as np

from driftwell.detectors.univariate.pair import Counts, Floats, Pair
from driftwell.errors import InsufficientData
from driftwell.kernels import divergence, significance
from driftwell.kernels.relevance import Scale
from driftwell.results import Measure

__all__ = [
    "HELLINGER",
    "JENSEN_SHANNON",
    "KL",
    "PSI",
    "TERMS",
    "Terms",
    "bounded",
    "exceeds",
    "fisher",
    "proportions",
    "scaled",
    "tested",
]

Distance = Callable[[Counts | Floats, Counts], float]
Margin = Callable[[int, int, int], float]
Test = Callable[[Counts, Counts], tuple[float, float | None]]


class Terms(NamedTuple):
    """What each group adds to a distance (to its square where it is a root), and what is added to each count."""

    term: divergence.Term
    added: float


PSI, KL = Scale(1.0, 1), Scale(2.0, 1)
TERMS = {
    "psi": Terms(divergence.psi_term, 0.5),
    "kl": Terms(divergence.kl_term, 0.5),
    "hellinger": Terms(divergence.hellinger_term, 0.0),
    "jensen_shannon": Terms(divergence.jensen_shannon_term, 0.0),
}
HELLINGER, JENSEN_SHANNON = Scale(8.0, 2), Scale(8.0 * math.log(2), 2)


def scaled(name: str, distance: Distance, scale: Scale, terms: Terms) -> Callable[[Pair], Measure]:
    """A distance that goes with the chi-squared divergence; its p-value is that of the test on the same groups.

    Where rows were counted in other bins first, ``terms`` bound it, and the value is the lower bound.
    """

    def measure(pair: Pair) -> Measure:
        value, groups, n, m = _found(pair, distance)
        low, high = (value, value) if pair.slack is None else _bounds(pair, terms, scale)
        value = min(value, low)
        return Measure(
            name,
            value,
            low,
            high,
            n,
            m,
            p_value=pair.groups_p_value,
            interval=scale.interval(value, groups, n, m),
            expected_without_change=scale.expected(groups, n, m),
            debiased=scale.debiased(value, groups, n, m),
        )

    return measure


def _bounds(pair: Pair, terms: Terms, scale: Scale) -> tuple[float, float]:
    assert pair.slack is not None
    low, high = divergence.bounds_by_terms(terms.term, *pair.measured_groups, pair.slack, terms.added)
    return low ** (1 / scale.power), high ** (1 / scale.power)


def exceeds(distance: Distance, scale: Scale) -> Callable[[Pair, float], float]:
    """The p-value of "the populations are no farther apart than this"."""

    def p_value(pair: Pair, threshold: float) -> float:
        value, groups, n, m = _found(pair, distance)
        return scale.exceeds_p_value(value, threshold, groups, n, m)

    return p_value


def bounded(name: str, distance: Distance, margin: Margin) -> Callable[[Pair], Measure]:
    """A largest or summed difference of shares, with an interval that holds at every sample size."""

    def measure(pair: Pair) -> Measure:
        value, groups, n, m = _found(pair, distance)
        slack = margin(groups, n, m)
        interval = (max(0.0, value - slack), min(1.0, value + slack))
        return Measure(name, value, value, value, n, m, p_value=pair.groups_p_value, interval=interval)

    return measure


def tested(name: str, test: Test) -> Callable[[Pair], Measure]:
    """A two-sample test of the group counts; its value is the statistic."""

    def measure(pair: Pair) -> Measure:
        reference, current = pair.in_records(*pair.groups)
        value = test(reference, current)[0]
        p = test(*pair.tested_groups)[1]
        n, m = int(reference.sum()), int(current.sum())
        return Measure(name, value, value, value, n, m, p_value=p, statistic=value)

    return measure


def fisher(pair: Pair) -> Measure:
    """Fisher's exact test of a 2×2 table of the rows that hold a value; its value is the odds ratio."""
    reference, current = _two_groups(pair)
    n, m = int(reference.sum()), int(current.sum())
    value, p = (1.0, None) if len(reference) < 2 else significance.fisher_test(reference, current)
    return Measure("fisher_exact", value, value, value, n, m, p_value=p, statistic=value)


def proportions(pair: Pair) -> Measure:
    """z of the shares of true, or of the second of two categories, among the rows that hold a value."""
    if pair.kind == "boolean":
        reference, current = pair.in_records(*pair.categories)
    else:
        reference, current = _two_groups(pair)
    n, m = int(reference.sum()), int(current.sum())
    if min(n, m) == 0:
        raise InsufficientData("one side has no values")
    hits = [int(side[1]) if len(side) > 1 else 0 for side in (reference, current)]
    value, p = significance.proportions_test(hits[0], n, hits[1], m)
    return Measure("z_test", value, value, value, n, m, p_value=p, statistic=value)


def _two_groups(pair: Pair) -> tuple[Counts, Counts]:
    """Counts of the categories either side holds, of which there may be two at most; missing rows are left out."""
    reference, current = pair.in_records(*pair.categories)
    held = reference + current > 0
    if held.sum() > 2:
        raise InsufficientData(f"it compares exactly two groups, and the column has {held.sum()}: use chi_squared")
    return reference[held], current[held]


def _found(pair: Pair, distance: Distance) -> tuple[float, int, int, int]:
    """The distance, and the groups and sizes that say how much of it is chance."""
    reference, current = pair.groups
    groups = int(np.count_nonzero(reference + current))
    return distance(*pair.measured_groups), groups, *pair.sizes(int(reference.sum()), int(current.sum()))
