"""Kolmogorov–Smirnov and Wasserstein distances, from sorted values (exact) or from cells (with certified
bounds)."""

from __future__ import annotations

import numpy as np
import numpy.typing as npt

__all__ = [
    "distances_from_sorted",
    "ks_from_cells",
    "ks_from_sorted",
    "wasserstein_from_cells",
    "wasserstein_from_sorted",
]

Floats = npt.NDArray[np.float64]
Ints = npt.NDArray[np.int64]


def ks_from_sorted(reference: Floats, current: Floats) -> float:
    """Two-sample KS statistic ``max |F - G|`` of two sorted arrays; infinities are values, NaN must be gone.

    Examples
    --------
    >>> ks_from_sorted(np.array([1.0, 2.0]), np.array([2.0, 3.0]))
    0.5
    """
    return distances_from_sorted(reference, current)[0]


def wasserstein_from_sorted(reference: Floats, current: Floats) -> float:
    """Wasserstein-1 distance ``∫ |F - G|`` of two sorted arrays of finite values, in the column's own unit.

    Examples
    --------
    >>> wasserstein_from_sorted(np.array([1.0, 2.0]), np.array([2.0, 3.0]))
    1.0
    """
    return distances_from_sorted(reference, current)[1]


def distances_from_sorted(reference: Floats, current: Floats) -> tuple[float, float]:
    """``(KS, Wasserstein-1)`` of two sorted arrays from one merge of both.

    Shapes ``(n,)`` and ``(m,)``, both at least 1. KS counts infinities as values; Wasserstein is taken over
    the finite values of each side, NaN where a side has none.
    """
    ks, area = _walk(reference, current)
    finite = tuple(_finite(side) for side in (reference, current))
    if len(finite[0]) == len(reference) and len(finite[1]) == len(current):
        return ks, area
    return ks, _walk(*finite)[1] if min(map(len, finite)) else np.nan


def _walk(reference: Floats, current: Floats) -> tuple[float, float]:
    n, m = len(reference), len(current)
    both = np.concatenate((reference, current))
    order = np.argsort(both, kind="stable")  # two sorted runs: one linear merge
    both = both[order]
    # Arrays are reused below: at these sizes fetching fresh memory costs more than the arithmetic.
    seen = np.cumsum(np.less(order, n, out=order), out=order)
    gap = seen / n
    gap -= np.subtract(np.arange(1, n + m + 1), seen, out=seen) / m
    gap = np.abs(gap, out=gap)[:-1]
    with np.errstate(over="ignore", invalid="ignore"):
        steps = np.diff(both)
        apart = steps > 0  # inside a run of ties the gap is not yet what it will be
        area = np.sum(np.multiply(gap, steps, out=steps), where=gap > 0)
        if not np.isfinite(area):  # a step beyond float64; its product with the gap need not be
            area = 2 * np.sum(gap * np.diff(both / 2), where=gap > 0)
    return float(np.max(gap, where=apart, initial=0.0)), float(area)


def _finite(ordered: Floats) -> Floats:
    first, last = np.searchsorted(ordered, -np.inf, "right"), np.searchsorted(ordered, np.inf, "left")
    return ordered[first:last]


def ks_from_cells(reference: Ints, current: Ints, atoms: npt.NDArray[np.bool_]) -> tuple[float, float]:
    """Certified ``(low, high)`` of the KS statistic from counts over the same ordered cells.

    ``low`` is the largest difference at a cell's edge. Inside a cell the difference can exceed that by no
    more than the masses there allow; ``atoms`` (cells of one value) and cells where one side is empty add
    nothing.
    """
    f, g = np.cumsum(reference) / reference.sum(), np.cumsum(current) / current.sum()
    low = float(np.abs(f - g).max())
    f_left, g_left = np.append(0.0, f[:-1]), np.append(0.0, g[:-1])
    wide = ~atoms & (reference > 0) & (current > 0)
    inside = np.maximum(f - g_left, g - f_left)[wide].max(initial=0.0)
    return low, max(low, min(1.0, float(inside)))


def wasserstein_from_cells(
    reference: Ints,
    current: Ints,
    reference_parts: Floats,
    current_parts: Floats,
    edges: Floats,
    atoms: npt.NDArray[np.bool_],
    unit: float,
) -> tuple[float, float]:
    """Certified ``(low, high)`` of the Wasserstein-1 distance from counts and sums over the same ordered cells.

    Parameters
    ----------
    reference, current
        Counts a cell, shape ``(cells,)``; the first cell lies below ``edges[0]``, the last at or above
        ``edges[-1]``.
    reference_parts, current_parts
        What each cell adds to the mean (its sum over the number of all values), on the same origin as ``edges``.
    atoms
        Cells of one single value, the edge to their left.
    unit
        What the values were rounded to before they were summed.

    Notes
    -----
    The signed integral of F - G over a cell follows from counts and sums alone; it is the distance there unless the
    sign changes inside. Where it may, the parts of F and G that grow inside the cell bound it from above. Both
    bounds give way by what the rounding to ``unit`` can have moved; they hold up to the rounding of float64.
    ``high`` is infinite where the edges lie too far apart for float64.
    """
    p, q = reference / reference.sum(), current / current.sum()
    value = np.append(0.0, edges)[atoms]
    reference_parts, current_parts = reference_parts.copy(), current_parts.copy()
    reference_parts[atoms], current_parts[atoms] = value * p[atoms], value * q[atoms]
    with np.errstate(over="ignore", invalid="ignore"):
        low, high = _areas(reference, current, reference_parts, current_parts, edges)
        least, most = float(low[np.isfinite(low)].sum()), float(high.sum())
    slack = unit / 2 * float(p[~atoms].sum() + q[~atoms].sum())
    return max(0.0, least - slack), most + slack if np.isfinite(most) else np.inf


def _areas(
    reference: Ints, current: Ints, reference_parts: Floats, current_parts: Floats, edges: Floats
) -> tuple[Floats, Floats]:
    n, m = reference.sum(), current.sum()
    p, q = reference / n, current / m
    f, g = np.cumsum(reference) / n, np.cumsum(current) / m
    f_left, g_left = np.append(0.0, f[:-1]), np.append(0.0, g[:-1])
    # Area each side's own growth covers inside the cell, seen from the right edge. The last cell has none:
    # there count from the left, where the survival functions fall.
    corner = np.append(edges, edges[-1])
    width = np.concatenate(([0.0], np.diff(edges), [0.0]))
    grown_f, grown_g = corner * p - reference_parts, corner * q - current_parts
    low = np.abs((f_left - g_left) * width + grown_f - grown_g)
    one_sided = (f_left >= g) | (g_left >= f)
    one_sided[[0, -1]] = (p[[0, -1]] == 0) | (q[[0, -1]] == 0)
    high = np.abs(f_left - g_left) * width + np.abs(grown_f) + np.abs(grown_g)
    from_right = np.abs(f - g) * width + (p * width - grown_f) + (q * width - grown_g)
    box = np.maximum(f - g_left, g - f_left) * width
    high[1:-1] = np.minimum(high, np.minimum(from_right, box))[1:-1]
    return low, np.where(one_sided, low, np.maximum(high, low))
