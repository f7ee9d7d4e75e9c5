"""Shares of rows in bins that are drawn anew for each comparison, as other tools draw them.

Nothing here is frozen with a reference: two windows against one reference may count in different bins. Driftwell's own
bins are in ``profiles/states/numeric.py``.
"""

from __future__ import annotations

from typing import Any

import numpy as np
import numpy.typing as npt

from driftwell.errors import InsufficientData

__all__ = [
    "binned_ks",
    "binned_wasserstein",
    "equal_width_shares",
    "fill_zeros",
    "interpolated_shares",
    "pooled_shares",
    "reference_shares",
    "value_counts",
]

Rows = npt.NDArray[Any]
"""Float64, or int64 where the column holds whole numbers: NumPy 2 never draws bins of integers below a width of 1."""
Floats = npt.NDArray[np.float64]
Counts = npt.NDArray[np.int64]
Shares = tuple[Floats, Floats]

_MOST_BINS = 10_000_000  # 80 MB of edges
_SMALLEST_RANGE = 1e-290


def pooled_shares(reference: Rows, current: Rows, drawn_from: Rows | None = None) -> Shares:
    """Shares in bins of equal width over the pooled rows (or ``drawn_from``), as many as Sturges' rule says.

    Sturges (1926): ``ceil(log2(N) + 1)`` bins for N rows.

    Examples
    --------
    >>> p, q = pooled_shares(np.array([0.0, 1.0, 1.0]), np.array([4.0]))
    >>> p.round(2).tolist(), q.tolist()
    ([1.0, 0.0, 0.0], [0.0, 0.0, 1.0])
    """
    pooled = np.concatenate((reference, current)) if drawn_from is None else drawn_from
    return _shares(reference, current, np.histogram_bin_edges(pooled, bins="sturges"))


def equal_width_shares(reference: Rows, current: Rows, bins: int) -> Shares:
    """Shares in ``bins`` bins of equal width over the range of the pooled rows.

    Raises
    ------
    InsufficientData
        Float64 has no bins between values so close together.
    """
    _range(reference, current)
    return _shares(reference, current, np.histogram_bin_edges(np.concatenate((reference, current)), bins=bins))


def reference_shares(reference: Floats, current: Floats) -> Shares:
    """Shares in bins of equal width over the reference, as many as Doane's rule says, and one for current rows outside.

    Doane (1976): Sturges' rule with more bins for skewed values.
    """
    edges = np.histogram_bin_edges(reference, bins="doane")
    inside = np.histogram(current, edges)[0]
    p, q = np.histogram(reference, edges)[0] / len(reference), inside / len(current)
    outside = len(current) - inside.sum()
    return (np.append(p, 0.0), np.append(q, outside / len(current))) if outside else (p, q)


def interpolated_shares(reference: Rows, current: Rows, points: int) -> Shares:
    """Shares between ``points`` evenly spaced points of the pooled range, by straight lines through the histograms.

    Each side has a histogram of its own, so that mass moves within its bins: as many as Sturges' or the
    Freedman–Diaconis rule says, whichever are more (``auto`` of NumPy before 2.2; later versions cap it).

    Raises
    ------
    InsufficientData
        Float64 has no bins between values so close together, or a few values lie so far off that there would be more
        than ten million bins.
    """
    at = np.linspace(*_range(reference, current), points)
    return _interpolated(reference, at), _interpolated(current, at)


def value_counts(reference: Rows, current: Rows) -> tuple[Counts, Counts]:
    """Rows of each distinct value, in rising order, from sorted rows."""
    values = np.unique(np.concatenate((reference, current)))
    return _runs(reference, values), _runs(current, values)


def fill_zeros(shares: Floats) -> Floats:
    """Empty bins at 0.0001, or at a millionth of the smallest share once that is 0.0001 or less; not renormalised.

    Examples
    --------
    >>> fill_zeros(np.array([0.5, 0.5, 0.0])).tolist()
    [0.5, 0.5, 0.0001]
    """
    least = shares[shares > 0].min()
    return np.where(shares == 0, least / 1e6 if least <= 1e-4 else 1e-4, shares)


def binned_ks(reference: Floats, current: Floats, bins: int) -> float:
    """Largest difference of the distribution functions at the edges of ``bins`` equal bins over the reference."""
    edges = np.linspace(reference[0], reference[-1], bins + 1)
    f = np.cumsum(np.histogram(reference, edges)[0] / len(reference))
    g = np.cumsum(np.histogram(current, edges)[0] / len(current))
    below = np.searchsorted(current, edges[0], "left") / len(current)
    return float(np.abs(f - below - g).max())


def binned_wasserstein(reference: Floats, current: Floats, bins: int) -> float:
    """Wasserstein distance from ``bins`` equal bins over the reference, current rows beyond them by their own steps.

    The share of the rows beyond an end counts one row more than there are, the end itself.
    """
    counts, edges = np.histogram(reference, bins=bins)
    f = np.cumsum(counts / len(reference))
    g = np.cumsum(np.histogram(current, edges)[0] / len(current))
    below = np.append(current[current < edges[0]], edges[0])
    above = np.append(edges[-1], current[current > edges[-1]])
    share_below, share_above = (len(side) / len(current) if len(side) > 1 else 0.0 for side in (below, above))
    inside = np.sum(np.abs(f - (g + share_below)) * (edges[1] - edges[0]))
    left, right = _steps(below), _steps(above)
    return float(inside + share_below * np.sum(left[0] * left[1]) + share_above * np.sum((1 - right[0]) * right[1]))


def _shares(reference: Rows, current: Rows, edges: npt.NDArray[Any]) -> Shares:
    return np.histogram(reference, edges)[0] / len(reference), np.histogram(current, edges)[0] / len(current)


def _range(reference: Rows, current: Rows) -> tuple[float, float]:
    low, high = float(min(reference[0], current[0])), float(max(reference[-1], current[-1]))
    if high - low <= max(1e-12 * max(abs(low), abs(high)), _SMALLEST_RANGE):
        raise InsufficientData("the values lie too close together for bins of equal width")
    return low, high


def _interpolated(rows: Rows, at: Floats) -> Floats:
    quarter, three_quarters = np.quantile(rows, (0.25, 0.75))
    width = 2 * (three_quarters - quarter) / len(rows) ** (1 / 3)
    if width > 0 and (rows[-1] - rows[0]) / width > _MOST_BINS:
        raise InsufficientData("some values lie too far off for a histogram by the Freedman–Diaconis rule")
    edges = max((np.histogram_bin_edges(rows, bins=rule) for rule in ("sturges", "fd")), key=len)
    counts = np.histogram(rows, edges)[0]
    return np.diff(np.interp(at, edges, np.append(0.0, np.cumsum(counts / len(rows)))))


def _runs(rows: Rows, values: Rows) -> Counts:
    ends = np.searchsorted(rows, values, "right")
    return np.asarray(ends - np.searchsorted(rows, values, "left"), np.int64)


def _steps(rows: Floats) -> tuple[Floats, Floats]:
    """Height of the distribution function on each step between distinct values, and the width of the step."""
    values, counts = np.unique(rows, return_counts=True)
    return np.cumsum(counts)[:-1] / len(rows), np.diff(values)
