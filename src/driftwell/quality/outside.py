"""How many values a profile certifies to lie outside bounds, without the rows."""

from __future__ import annotations

import math

import numpy as np

from driftwell.profiles.states.numeric import NumericState

__all__ = ["at_least_outside"]

_ROUNDING = 1e-9  # of the count that a cell's sum gives; the sums are exact, their floats are not


def at_least_outside(state: NumericState, low: float, high: float) -> int:
    """The least number of values below ``low`` or above ``high`` that the profile allows; infinities count.

    Cells that lie beyond a bound count whole. Of the cell that a bound cuts, ``k`` values of sum ``S`` and largest
    value ``M`` hold at least ``(S - k·high) / (M - high)`` above ``high``, because each of the others adds at most
    ``high``; below ``low`` the same with signs turned.

    Examples
    --------
    >>> from driftwell.profiles.reference import Reference
    >>> ref = Reference.from_data({"age": [20.0, 30.0, 40.0]})
    >>> at_least_outside(ref.profile_of({"age": [25.0, 999.0, 999.0, 200.0]}).columns["age"], 0, 120)
    3
    """
    assert state.bins is not None
    count = state.neg_inf * (low > -math.inf) + state.pos_inf * (high < math.inf)
    if not state.finite or state.min is None or state.max is None:
        return count
    edges, counts = state.bins.edges, state.counts
    with np.errstate(over="ignore", invalid="ignore"):
        means = state.mean_parts * (state.finite / np.maximum(counts, 1)) + state.centre
    if state.max > high:
        cell = int(np.searchsorted(edges, high, "right"))
        top = state.max if cell == len(edges) else min(state.max, float(edges[cell]))
        own = _part(int(counts[cell]), float(means[cell]), high, top)
        count += max(int(counts[cell + 1 :].sum()) + own, 1)
    if state.min < low:
        cell = int(np.searchsorted(edges, low, "right"))
        bottom = state.min if cell == 0 else max(state.min, float(edges[cell - 1]))
        own = _part(int(counts[cell]), -float(means[cell]), -low, -bottom)
        count += max(int(counts[:cell].sum()) + own, 1)
    return count


def _part(k: int, mean: float, bound: float, largest: float) -> int:
    """How many of ``k`` values with this mean, none above ``largest``, lie above ``bound`` at least."""
    over, most = mean - bound, largest - bound
    if largest <= bound or not math.isfinite(over) or not math.isfinite(most):
        return 0
    return min(k, max(0, math.ceil(k * (over / most) * (1 - _ROUNDING) - _ROUNDING)))
