"""Kolmogorov–Smirnov, Wasserstein and energy distances, from sorted values (exact) or from cells (with certified
bounds)."""

from __future__ import annotations

import numpy as np
import numpy.typing as npt

__all__ = [
    "distances_from_sorted",
    "energy_from_cells",
    "energy_from_sorted",
    "ks_from_cells",
    "ks_from_sorted",
    "wasserstein_from_cells",
    "wasserstein_from_sorted",
]

Floats = npt.NDArray[np.float64]
Ints = npt.NDArray[np.int64]

_CUTS = 4096
_SMALL = 2**14  # rows of both sides that are merged faster than cut


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
    """``(KS, Wasserstein-1)`` of two sorted arrays, exact.

    Shapes ``(n,)`` and ``(m,)``, both at least 1. KS counts infinities as values; Wasserstein is taken over
    the finite values of each side, NaN where a side has none.

    Notes
    -----
    Both sides are cut at some 4,000 quantiles of the reference. Counts and sums between the cuts settle both distances
    but for the few cells in which the largest difference may still lie or the sign of the difference change: only
    their rows are merged. Cost: a few passes over the rows, less than sorting them; small sides are merged whole.
    """
    ks, area = _distances(reference, current)
    finite = tuple(_finite(side) for side in (reference, current))
    if len(finite[0]) == len(reference) and len(finite[1]) == len(current):
        return ks, area
    return ks, _distances(*finite)[1] if min(map(len, finite)) else np.nan


def energy_from_sorted(reference: Floats, current: Floats) -> float:
    """Energy distance ``sqrt(2 ∫ (F - G)²)`` of two sorted arrays, over the finite values of each side; NaN where a
    side has none. In the square root of the column's unit.

    Cost: one linear merge of both sides.

    Examples
    --------
    >>> energy_from_sorted(np.array([0.0]), np.array([2.0]))
    2.0
    """
    reference, current = _finite(reference), _finite(current)
    n, m = len(reference), len(current)
    if not n or not m:
        return np.nan
    both = np.concatenate((reference, current))
    order = np.argsort(both, kind="stable")  # two sorted runs: one linear merge
    both = both[order]
    seen = np.cumsum(order < n)
    gap = (seen / n - np.subtract(np.arange(1, n + m + 1), seen) / m)[:-1]
    # Halved, a step of finite values stays within float64.
    return 2 * float(np.sqrt(np.sum(gap * gap * np.diff(both / 2), where=gap != 0)))


def _distances(reference: Floats, current: Floats) -> tuple[float, float]:
    if len(reference) + len(current) < _SMALL:
        return _walk(reference, current)
    with np.errstate(over="ignore", invalid="ignore"):
        ks, area = _cut_and_walk(reference, current)
    # Beyond float64 somewhere on the way: the distance itself need not be.
    return (ks, area) if np.isfinite(area) else _walk(reference, current)


def _cut_and_walk(reference: Floats, current: Floats) -> tuple[float, float]:
    n, m = len(reference), len(current)
    cuts = _cuts(reference, current)
    ranks, ranks_current = np.searchsorted(reference, cuts), np.searchsorted(current, cuts)
    f, g = ranks / n, ranks_current / m
    low = float(np.abs(f - g).max())
    # Inside a cell of one value nothing happens that its two ends do not show.
    several = cuts[1:] != np.nextafter(cuts[:-1], np.inf)
    one_sided = (f[:-1] >= g[1:]) | (g[:-1] >= f[1:])
    open_cells = several & (~one_sided | (np.maximum(f[1:] - g[:-1], g[1:] - f[:-1]) > low))
    origin = reference[n // 2]  # sums far from it would drown what lies between the cuts
    ends = cuts - origin
    grown = _grown(reference - origin, ranks, ends) / n - _grown(current - origin, ranks_current, ends) / m
    area = np.abs((f[:-1] - g[:-1]) * np.diff(ends) + grown)[~open_cells].sum()
    if not open_cells.any():
        return low, float(area)
    inside = _walk_cells(reference, current, ranks, ranks_current, cuts, np.flatnonzero(open_cells))
    return max(low, inside[0]), float(area + inside[1])


def _cuts(reference: Floats, current: Floats) -> Floats:
    """Quantiles of the reference and the ends of both; after a value that is several of them, a cut right behind it."""
    quantiles = reference[:: -(-len(reference) // _CUTS)]
    often = quantiles[1:][quantiles[1:] == quantiles[:-1]]
    ends = [min(reference[0], current[0]), max(reference[-1], current[-1])]
    cuts = np.unique(np.concatenate((quantiles, np.nextafter(often, np.inf), ends)))
    within: Floats = cuts[cuts <= ends[1]]
    return within


def _grown(ordered: Floats, ranks: Ints, ends: Floats) -> Floats:
    """Area below the steps that the values of each cell add up to its right end, in values."""
    sums = np.add.reduceat(np.append(ordered, 0.0), ranks)[:-1]
    counts = np.diff(ranks)
    grown: Floats = np.where(counts > 0, counts * ends[1:] - sums, 0.0)
    return grown


def _walk_cells(
    reference: Floats, current: Floats, ranks: Ints, ranks_current: Ints, cuts: Floats, cells: Ints
) -> tuple[float, float]:
    """Largest difference and area in some cells, from their rows."""
    n, m = len(reference), len(current)
    rows, rows_current = np.diff(ranks)[cells], np.diff(ranks_current)[cells]
    both = rows + rows_current
    first = np.cumsum(both) - both
    values = np.concatenate(
        (_rows_of(reference, ranks[cells], rows), _rows_of(current, ranks_current[cells], rows_current))
    )
    order = np.argsort(values, kind="stable")  # two sorted runs: one linear merge
    values = values[order]
    here = np.cumsum(order < rows.sum())
    seen = here + np.repeat(ranks[cells] - (np.cumsum(rows) - rows), both)
    seen_current = np.arange(1, len(order) + 1) - here
    seen_current += np.repeat(ranks_current[cells] - (np.cumsum(rows_current) - rows_current), both)
    gap = np.abs(seen / n - seen_current / m)
    following = np.append(values[1:], np.inf)
    following[first + both - 1] = cuts[cells + 1]
    steps = following - values
    before = np.abs(ranks[cells] / n - ranks_current[cells] / m) * (values[first] - cuts[cells])
    apart = steps > 0  # inside a run of ties the gap is not yet what it will be
    return float(np.max(gap, where=apart, initial=0.0)), float(before.sum() + np.dot(gap, steps))


def _rows_of(ordered: Floats, starts: Ints, counts: Ints) -> Floats:
    first = np.cumsum(counts) - counts
    return ordered[np.repeat(starts - first, counts) + np.arange(int(counts.sum()))]


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
    with np.errstate(over="ignore", invalid="ignore"):
        low, high = _areas(reference, current, reference_parts, current_parts, edges, atoms)
        least, most = float(low[np.isfinite(low)].sum()), float(high.sum())
    slack = float(_rounding(reference, current, atoms, unit).sum())
    return max(0.0, least - slack), most + slack if np.isfinite(most) else np.inf


def energy_from_cells(
    reference: Ints,
    current: Ints,
    reference_parts: Floats,
    current_parts: Floats,
    edges: Floats,
    atoms: npt.NDArray[np.bool_],
    unit: float,
    span: tuple[float, float],
) -> tuple[float, float]:
    """Certified ``(low, high)`` of the energy distance from counts and sums over the same ordered cells.

    Parameters as in ``wasserstein_from_cells``; ``span`` is the least and the largest finite value of both sides, on
    the origin of ``edges``.

    Notes
    -----
    Over a cell of width w in which F - G adds up to s, ``∫ (F - G)²`` is at least s²/w (Cauchy and Schwarz) and at
    most ``max |F - G| · ∫ |F - G|``.
    """
    f, g = np.cumsum(reference) / reference.sum(), np.cumsum(current) / current.sum()
    most = np.maximum(f - np.append(0.0, g[:-1]), g - np.append(0.0, f[:-1]))
    slack = _rounding(reference, current, atoms, unit)
    with np.errstate(over="ignore", invalid="ignore"):
        width = np.diff(np.concatenate(([min(span[0], edges[0])], edges, [max(span[1], edges[-1])])))
        least, area = _areas(reference, current, reference_parts, current_parts, edges, atoms)
        sure = np.maximum(0.0, least - slack)
        squares = sure * np.divide(sure, width, out=np.zeros_like(sure), where=width > 0)
        low = float(squares[np.isfinite(squares)].sum())
        high = float(np.sum(most * (area + slack)))
    return float(np.sqrt(2 * low)), float(np.sqrt(2 * high)) if np.isfinite(high) else np.inf


def _rounding(reference: Ints, current: Ints, atoms: npt.NDArray[np.bool_], unit: float) -> Floats:
    """What the rounding of values to ``unit`` can have moved in each cell."""
    return np.where(atoms, 0.0, unit / 2 * (reference / reference.sum() + current / current.sum()))


def _areas(
    reference: Ints,
    current: Ints,
    reference_parts: Floats,
    current_parts: Floats,
    edges: Floats,
    atoms: npt.NDArray[np.bool_],
) -> tuple[Floats, Floats]:
    """Bounds of the area between F and G over each cell."""
    n, m = reference.sum(), current.sum()
    p, q = reference / n, current / m
    value = np.append(0.0, edges)
    reference_parts, current_parts = (
        np.where(atoms, value * p, reference_parts),
        np.where(atoms, value * q, current_parts),
    )
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
