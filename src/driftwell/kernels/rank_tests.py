"""Statistics of the order of two samples, from counts over ordered cells.

Every function reads counts of both sides a cell, in the order of the values, and ``wide``: which cells hold more than
one value. Sorted rows become cells of one value each (``runs``), and their statistics are exact; in a wide cell the
values may lie in any order, and low and high are what all orders allow. Shapes ``(cells,)``. Cost: one pass.
"""

from __future__ import annotations

import math

import numpy as np
import numpy.typing as npt

__all__ = ["anderson_darling", "cramer_von_mises", "kuiper", "mann_whitney", "mann_whitney_sd", "runs"]

Bools = npt.NDArray[np.bool_]
Floats = npt.NDArray[np.float64]
Ints = npt.NDArray[np.int64]
Bounds = tuple[float, float]

_PLACES = 256


def runs(reference: Floats, current: Floats) -> tuple[Ints, Ints]:
    """How often each distinct value of two sorted arrays occurs in either; infinities are values.

    Examples
    --------
    >>> [side.tolist() for side in runs(np.array([1.0, 2.0]), np.array([2.0, 2.0, 3.0]))]
    [[1, 1, 0], [0, 2, 1]]
    """
    n = len(reference)
    both = np.concatenate((reference, current))
    order = np.argsort(both, kind="stable")  # two sorted runs: one linear merge
    both = both[order]
    last = np.flatnonzero(np.append(both[1:] != both[:-1], True))
    of_reference = np.cumsum(order < n)[last]
    return np.diff(of_reference, prepend=0), np.diff(last + 1 - of_reference, prepend=0)


def kuiper(reference: Ints, current: Ints, wide: Bools) -> Bounds:
    """Bounds of Kuiper's ``max (F - G) + max (G - F)``.

    The low one is taken at the edges of the cells. Source: Kuiper, *Tests concerning random points on a circle*, 1960.
    """
    f_left, f, g_left, g = _functions(reference, current)
    above, below = float(max(0.0, (f - g).max())), float(max(0.0, (g - f).max()))
    shared = wide & (reference > 0) & (current > 0)
    above_inside = (f - g_left)[shared].max(initial=above)
    below_inside = (g - f_left)[shared].max(initial=below)
    return above + below, min(1.0, float(above_inside + below_inside))


def mann_whitney(reference: Ints, current: Ints, wide: Bools) -> Bounds:
    """Bounds of the Mann–Whitney U of the reference: pairs in which its value is the larger one, ties half.

    Source: Mann and Whitney 1947; the convention of ``scipy.stats.mannwhitneyu(reference, current).statistic``.
    """
    a, b = reference.astype(np.float64), current.astype(np.float64)
    before = np.cumsum(b) - b
    low = float(np.sum(a * np.where(wide, before, before + b / 2)))
    return low, float(np.sum(a * np.where(wide, before + b, before + b / 2)))


def mann_whitney_sd(reference: Ints, current: Ints, wide: Bools) -> float:
    """Standard deviation of U without change, corrected for ties; the values of a wide cell count as different."""
    n, m = float(reference.sum()), float(current.sum())
    ties = np.where(wide, 0, reference + current).astype(np.float64)
    size = n + m
    lost = float(np.sum(ties**3 - ties)) / (size * max(size - 1, 1))
    return math.sqrt(max(0.0, n * m / 12 * (size + 1 - lost)))


def cramer_von_mises(reference: Ints, current: Ints, wide: Bools) -> tuple[float, float, float]:
    """``(low, high, untied)`` of the two-sample Cramér–von Mises statistic T.

    The bounds are those of T with midranks, as ``scipy.stats.cramervonmises_2samp`` has it. Ties inside one sample
    raise that statistic without any change: between equal constant columns of 5,000 and 50 rows it is 41,246.
    ``untied`` is the mean over all ways to break the ties (its lower bound where cells are wide), which is what a
    p-value can be taken of. Source: Anderson, *On the distribution of the two-sample Cramér–von Mises criterion*, 1962.
    """
    n, m = float(reference.sum()), float(current.sum())
    a, b = reference.astype(np.float64), current.astype(np.float64)
    f_left, _, g_left, _ = _functions(reference, current)
    gap = f_left - g_left
    scale = n * m / (n + m) ** 2
    first, last = scale * _squares(gap, a / n, n, b / m, m), scale * _squares(-gap, b / m, m, a / n, n)
    # What midranks, and the mean over all orders, add to the order in which the cell's reference values come first.
    shared = a * b * (n * b / 4 - 3 * m * a / 4 - n * m * gap)
    own = (n * a * (a**2 - 1) + m * b * (b**2 - 1)) / 12
    mixed = a * b * (n * (b + 2) + m * (a + 2)) / 12
    unit = n * m * (n + m)
    mean = first + (shared + mixed) / unit
    least = np.where(wide, np.minimum(_least_squares(gap, a / n, n, b / m, m) * scale, mean), mean)
    low = np.where(wide, least - np.maximum(0.0, mixed - own) / unit, first + (shared + own) / unit)
    high = np.where(wide, np.maximum(first, last) + own / unit, first + (shared + own) / unit)
    return float(low.sum()), float(high.sum()), float(least.sum())


def anderson_darling(reference: Ints, current: Ints) -> tuple[float, float]:
    """``(value, untied)`` of the normalised two-sample Anderson–Darling statistic, from cells of one value each.

    The value is ``(A² - 1) / sd`` with midranks and the exact standard deviation of A² without change and ties, as
    ``scipy.stats.anderson_ksamp([reference, current], midrank=True)``. With many ties it alarms twice as often as it
    should; ``untied`` is the mean over all ways to break them. At least four values together. Source: Scholz and
    Stephens, *K-sample Anderson–Darling tests*, 1987, equations 7, 3 and 4.
    """
    n, m = int(reference.sum()), int(current.sum())
    size = n + m
    held = (reference + current).astype(np.float64)
    middle = np.cumsum(held) - held / 2
    own = np.cumsum(reference) - reference / 2
    weight = middle * (size - middle) - size * held / 4
    terms = np.divide(held / size * (size * own - middle * n) ** 2, weight, out=np.zeros_like(weight), where=weight > 0)
    statistic = (size - 1) / size * (1 / n + 1 / m) * float(terms.sum())
    sd = _anderson_darling_sd(n, m)
    return (statistic - 1) / sd, (_anderson_darling_untied(reference, current) - 1) / sd


def _anderson_darling_untied(reference: Ints, current: Ints) -> float:
    """Mean of A² over all orders of the values inside each cell.

    After s of the values of a cell, how many of them are the reference's is hypergeometric; cells of more than 256
    values are looked at in 256 places.
    """
    n, m = float(reference.sum()), float(current.sum())
    size = n + m
    held = reference + current
    places = np.minimum(held, _PLACES)
    cell = np.repeat(np.arange(len(held)), places)
    step = (held / np.maximum(places, 1))[cell]
    at = (np.arange(len(cell)) - np.repeat(np.cumsum(places) - places, places) + 0.5) * step + 0.5
    a, b, both = reference[cell], current[cell], held[cell].astype(np.float64)
    first, first_current = (np.cumsum(side) - side for side in (reference, current))
    mean = m * (first[cell] + at * a / both) - n * (first_current[cell] + at * b / both)
    variance = size**2 * at * (both - at) * a * b / (both**2 * np.maximum(both - 1, 1))
    rank = (np.cumsum(held) - held)[cell] + at
    inside = rank < size
    return float(np.sum((step * (mean**2 + variance))[inside] / (rank * (size - rank))[inside])) / (n * m)


def _anderson_darling_sd(n: int, m: int) -> float:
    """Of two samples without change (Scholz and Stephens 1987, equation 4)."""
    size = n + m
    inverse = np.cumsum(1 / np.arange(size - 1, 1, -1))
    h = float(inverse[-1]) + 1
    g = float((inverse / np.arange(2, size)).sum())
    both = 1 / n + 1 / m
    a = (4 * g - 6) + (10 - 6 * g) * both
    b = (2 * g - 4) * 4 + 16 * h + (2 * g - 14 * h - 4) * both - 8 * h + 4 * g - 6
    c = (6 * h + 2 * g - 2) * 4 + (4 * h - 4 * g + 6) * 2 + (2 * h - 6) * both + 4 * h
    d = (2 * h + 6) * 4 - 8 * h
    variance = (a * size**3 + b * size**2 + c * size + d) / ((size - 1.0) * (size - 2.0) * (size - 3.0))
    return math.sqrt(variance)


def _functions(reference: Ints, current: Ints) -> tuple[Floats, Floats, Floats, Floats]:
    """Both distribution functions at the left and at the right of each cell."""
    f, g = np.cumsum(reference) / reference.sum(), np.cumsum(current) / current.sum()
    return np.append(0.0, f[:-1]), f, np.append(0.0, g[:-1]), g


def _squares(gap: Floats, up: Floats, n: float, down: Floats, m: float) -> Floats:
    """Sum of the squared gap after each value of a cell that first rises by ``up`` in steps of 1/n, then falls."""
    rise = up * n * gap**2 + gap * up * (n * up + 1) + up * (n * up + 1) * (2 * n * up + 1) / (6 * n)
    top = gap + up
    fall = down * m * top**2 - top * down * (m * down + 1) + down * (m * down + 1) * (2 * m * down + 1) / (6 * m)
    return np.asarray(rise + fall, np.float64)


def _least_squares(gap: Floats, up: Floats, n: float, down: Floats, m: float) -> Floats:
    """The least such sum over all orders: towards a gap of zero first; 0 where the order can reach it."""
    falling_first = _squares(-gap, down, m, up, n)
    rising_first = _squares(gap, up, n, down, m)
    return np.where(gap >= down, falling_first, np.where(-gap >= up, rising_first, 0.0))
