"""The mergeable state of a numeric column: counts and exact sums in frozen bins, or a grid while there are none."""

from __future__ import annotations

import math
from dataclasses import dataclass, field
from fractions import Fraction
from functools import cached_property
from numbers import Real
from typing import NamedTuple

import numpy as np
import numpy.typing as npt

from driftwell.errors import BadInput, MergeError, shown
from driftwell.frame import NumericColumn
from driftwell.kernels import exact
from driftwell.profiles.states.bins import PLAIN_BINS, NumericBins, finite_part, freeze_bins, sorted_values
from driftwell.profiles.states.grid import NO_VALUES, Grid, build_grid
from driftwell.profiles.states.weights import ONE, Weighting

__all__ = [
    "CERTAIN",
    "PLAIN_BINS",
    "NumericBins",
    "NumericState",
    "Uncertainty",
    "build_numeric",
    "freeze_bins",
    "sorted_values",
]

_LIMB = 2**32 - 1

Floats = npt.NDArray[np.float64]
Ints = npt.NDArray[np.int64]


class Uncertainty(NamedTuple):
    """What counting a grid in other bins leaves open; adds up under merging.

    ``rows`` may lie in another bin than they are counted in; no more than ``at_edge`` rows are on the wrong side of
    any one edge; ``moved`` is the most that all rows together may lie from where their sums have them, in units of
    ``2**-shift``.
    """

    rows: int = 0
    at_edge: int = 0
    moved: int = 0

    def plus(self, other: Uncertainty) -> Uncertainty:
        """Both together."""
        return Uncertainty(self.rows + other.rows, self.at_edge + other.at_edge, self.moved + other.moved)


CERTAIN = Uncertainty()
"""Rows counted where they are."""


@dataclass(frozen=True, eq=False)
class NumericState:
    """Counts and exact sums of one numeric column: merges in any order to the same bytes.

    Attributes
    ----------
    counts
        Rows a cell, finite values only, shape ``(cells,)``.
    sum_high, sum_low
        Fixed-point sums a cell as ``high · 2**32 + low`` with ``0 <= low < 2**32``.
    large
        Sums a cell of the values too large for that, as integers.
    squares
        Sum of squares of all fixed-point values.
    missing, nan, neg_inf, pos_inf, invalid
        Rows that are null (unreadable ones included), NaN, -inf, +inf; ``invalid`` are the unreadable ones.
    rounded
        Values that float64 could not hold and that were counted as the nearest it can.
    grid
        The distribution without a reference; None in a reference's bins, and where bytes of format 1 had none.
    uncertainty
        What is not certain about counts that came from a grid.
    weighting
        Where rows have weights: all counts but ``count`` and ``n_rows`` are in units of 2**-20, and so are the sums.
    """

    bins: NumericBins | None
    bins_id: str
    centre: float
    shift: int
    counts: Ints
    sum_high: Ints
    sum_low: Ints
    large: dict[int, int] = field(default_factory=dict)
    squares: int = 0
    missing: int = 0
    nan: int = 0
    neg_inf: int = 0
    pos_inf: int = 0
    invalid: int = 0
    min: float | None = None
    max: float | None = None
    rounded: int = 0
    grid: Grid | None = None
    uncertainty: Uncertainty = CERTAIN
    kind: str = "numeric"
    weighting: Weighting | None = None

    @cached_property
    def finite(self) -> int:
        """Number of finite values; their units where they have weights."""
        return int(self.counts.sum())

    @property
    def count(self) -> int:
        """Rows that hold a number, infinities included; missing and NaN are not."""
        return self.finite + self.neg_inf + self.pos_inf if self.weighting is None else self.weighting.present

    @property
    def n_rows(self) -> int:
        """All rows."""
        return self.units if self.weighting is None else self.weighting.rows

    @property
    def units(self) -> int:
        """What all rows count together: their number, or their weight in units of 2**-20."""
        return self.finite + self.neg_inf + self.pos_inf + self.missing + self.nan

    @property
    def missing_share(self) -> float | None:
        """Share of the rows that are missing or NaN, by weight where they have weights; None without rows."""
        return (self.missing + self.nan) / self.units if self.units else None

    @cached_property
    def total(self) -> int:
        """Sum of the fixed-point values."""
        return (int(self.sum_high.sum()) << 32) + int(self.sum_low.sum()) + sum(self.large.values())

    @cached_property
    def sum(self) -> float:
        """Sum of the finite values as they were counted, each times its weight; correctly rounded, infinite beyond
        float64."""
        centred = Fraction(self.total) / Fraction(2) ** self.shift
        found = (centred + Fraction(self.centre) * self.finite) / (1 if self.weighting is None else ONE)
        return _ratio(*found.as_integer_ratio(), 0)

    @cached_property
    def mean(self) -> float | None:
        """Mean of the finite values, None when there are none.

        Each enters rounded to a multiple of 2**-shift; what that takes away never puts the mean outside the values.
        """
        if not self.finite:
            return None
        found = self.centre + _ratio(self.total, self.finite, self.shift)
        return found if self.min is None or self.max is None else min(max(found, self.min), self.max)

    @cached_property
    def std(self) -> float | None:
        """Sample standard deviation (n - 1) of the finite values; None below two values.

        With weights n is the effective size, which makes the variance unbiased whatever their scale.
        """
        n = self.finite
        # An effective row has squares / all units of them; without weights 1 / 1.
        row, whole = (1, 1) if self.weighting is None else (self.weighting.squares, self.units)
        if n * whole <= row:
            return None
        return _root((n * self.squares - self.total**2) * whole, n * (n * whole - row), self.shift)

    @property
    def uncertain(self) -> int:
        """Rows that may lie in another bin than they are counted in; 0 unless a grid was counted in the bins."""
        return self.uncertainty.rows

    @property
    def distinct(self) -> int | None:
        """Number of distinct finite values where every value seen has a cell of its own, else None."""
        if self.finite == 0:
            return 0
        if self.grid is not None:
            return len(self.grid.cells) if self.grid.lossless else None
        if self.bins is None or self.uncertain or bool(self.counts[~self.bins.atoms].any()):
            return None
        return int(np.count_nonzero(self.counts))

    @cached_property
    def rank_error(self) -> float | None:
        """How far the rank of ``quantile(q)`` can be from ``q``, certified: the mass of the largest cell that holds
        several values. None where there are no quantiles."""
        if self._cells is None:
            return None
        if self.grid is not None:
            return self.grid.largest / self.finite
        assert self.bins is not None
        largest = int(self.counts[~self.bins.atoms].max(initial=0))
        return min(1.0, (largest + self.uncertainty.at_edge) / self.finite)

    def quantile(self, q: float) -> float | None:
        """The value below which a share ``q`` of the finite values lies, interpolated inside its cell.

        The rank is right to within ``rank_error`` (about 1/240 in a reference's bins, far less in most grids); None
        when there is no finite value, or neither edges nor a grid are at hand.
        """
        if not isinstance(q, Real) or not 0 <= q <= 1:
            raise BadInput(f"q must be a number in [0, 1]. Got {shown(q)}")
        if self._cells is None:
            return None
        counts, lows, highs = self._cells
        target = q * self.finite
        cumulative = np.cumsum(counts)
        cell = min(int(np.searchsorted(cumulative, target, side="left")), len(counts) - 1)
        while counts[cell] == 0:
            cell += 1
        inside = (target - (cumulative[cell] - counts[cell])) / counts[cell]
        inside = min(max(inside, 0.0), 1.0)
        return float(lows[cell] * (1 - inside) + highs[cell] * inside)  # high - low may be beyond float64

    @cached_property
    def _cells(self) -> tuple[Ints, Floats, Floats] | None:
        """Counts a cell with its least and greatest value, of the grid or else of the bins."""
        if self.min is None or self.max is None:
            return None
        if self.grid is not None:
            counts, (low, high) = self.grid.counts, self.grid.bounds
        elif self.bins is not None and not self.bins.is_plain:
            counts, low, high = self.counts, np.append(self.min, self.bins.edges), np.append(self.bins.edges, self.max)
        else:
            return None
        return counts, np.clip(low, self.min, self.max), np.clip(high, self.min, self.max)

    @cached_property
    def cell_counts(self) -> Ints:
        """Counts with the infinities in the outer cells."""
        out = self.counts.copy()
        out[0] += self.neg_inf
        out[-1] += self.pos_inf
        return out

    @cached_property
    def mean_parts(self) -> Floats:
        """What each cell adds to ``mean - centre``: the sum of its finite values over the number of all of them."""
        high = np.ldexp(self.sum_high.astype(np.float64), 32 - self.shift)
        out = (high + np.ldexp(self.sum_low.astype(np.float64), -self.shift)) / max(self.finite, 1)
        for cell, value in self.large.items():
            out[cell] += _ratio(value, self.finite, self.shift)
        return out

    def group_counts(self) -> Ints:
        """Counts of the PSI groups."""
        assert self.bins is not None
        return np.bincount(self.bins.groups, weights=self.cell_counts, minlength=self.bins.n_groups).astype(np.int64)

    def merge(self, other: NumericState) -> NumericState:
        """Both together; the bins must be the same."""
        if self.bins_id != other.bins_id:
            raise MergeError(f"bins {self.bins_id} and {other.bins_id} differ: profile both against one reference")
        low = self.sum_low + other.sum_low
        large = dict(self.large)
        for cell, value in other.large.items():
            large[cell] = large.get(cell, 0) + value
        return NumericState(
            bins=self.bins or other.bins,
            bins_id=self.bins_id,
            centre=self.centre,
            shift=self.shift,
            counts=self.counts + other.counts,
            sum_high=self.sum_high + other.sum_high + (low >> 32),
            sum_low=low & _LIMB,
            large={cell: value for cell, value in sorted(large.items()) if value},
            squares=self.squares + other.squares,
            missing=self.missing + other.missing,
            nan=self.nan + other.nan,
            neg_inf=self.neg_inf + other.neg_inf,
            pos_inf=self.pos_inf + other.pos_inf,
            invalid=self.invalid + other.invalid,
            min=_least(self.min, other.min),
            max=_most(self.max, other.max),
            rounded=self.rounded + other.rounded,
            grid=self._merged_grid(other),
            uncertainty=self.uncertainty.plus(other.uncertainty),
            weighting=self.weighting and other.weighting and self.weighting.plus(other.weighting),
        )

    def _merged_grid(self, other: NumericState) -> Grid | None:
        """Values whose grid is not known leave none for the whole."""
        grids = [state.grid or (None if state.finite else NO_VALUES) for state in (self, other)]
        if grids[0] is None or grids[1] is None or self.grid is other.grid is None:
            return None
        return grids[0].merge(grids[1])


def build_numeric(column: NumericColumn, bins: NumericBins, values: Floats | None = None) -> NumericState:
    """Count a column in frozen bins; ``values`` are its sorted values where they are at hand already.

    Cost: one sort of the column and about as much again.
    """
    ordered = sorted_values(column) if values is None else values
    finite, neg_inf, pos_inf, nan = finite_part(ordered)
    n = len(finite)
    cuts = np.concatenate(([0], np.searchsorted(finite, bins.edges, "left"), [n])).astype(np.int64)
    fast, first, last = _fixed_part(finite, bins)
    sum_high, sum_low, large, squares = _cell_sums(finite, fast, first, last, cuts, bins)
    return NumericState(
        bins=bins,
        bins_id=bins.id,
        centre=bins.centre,
        shift=bins.shift,
        counts=np.diff(cuts),
        sum_high=sum_high,
        sum_low=sum_low,
        large=large,
        squares=squares,
        missing=len(column.values) - len(ordered),
        nan=nan,
        neg_inf=neg_inf,
        pos_inf=pos_inf,
        invalid=column.invalid,
        min=float(finite[0]) + 0.0 if n else None,
        max=float(finite[-1]) + 0.0 if n else None,
        rounded=column.rounded,
        grid=build_grid(finite) if bins.is_plain else None,
    )


def _fixed_part(finite: Floats, bins: NumericBins) -> tuple[Ints, int, int]:
    """Fixed-point values of the run ``[first, last)`` that fits the fast path; the values are sorted."""
    if bins.shift >= exact.PLAIN_SHIFT:
        return np.empty(0, np.int64), 0, 0
    fixed = exact.to_fixed(finite, bins.centre, bins.shift)
    first = int(np.searchsorted(fixed, -exact.FAST_LIMIT, "right"))
    last = int(np.searchsorted(fixed, exact.FAST_LIMIT, "left"))
    return fixed[first:last].astype(np.int64), first, last


def _cell_sums(
    finite: Floats, fast: Ints, first: int, last: int, cuts: Ints, bins: NumericBins
) -> tuple[Ints, Ints, dict[int, int], int]:
    """Two-limb sums a cell of the fast values, sums a cell of the others, and the sum of all squares."""
    high, low = np.zeros(bins.n_cells, np.int64), np.zeros(bins.n_cells, np.int64)
    squares = 0
    for start in range(first, last, exact.MAX_ROWS):
        stop = min(start + exact.MAX_ROWS, last)
        part = fast[start - first : stop - first]
        bounds = np.clip(cuts, start, stop) - start
        filled = np.flatnonzero(np.diff(bounds))
        sums = np.add.reduceat(part, bounds[filled])
        high[filled] += sums >> 32
        low[filled] += sums & _LIMB
        squares += exact.exact_sum_squares(part)
    large: dict[int, int] = {}
    for begin, end in ((0, first), (last, len(finite))):
        bounds = np.clip(cuts, begin, end)
        for cell in np.flatnonzero(np.diff(bounds)).tolist():
            total, square = exact.exact_sum(finite[bounds[cell] : bounds[cell + 1]], bins.centre, bins.shift)
            large[cell] = large.get(cell, 0) + total
            squares += square
    large = {cell: value for cell, value in sorted(large.items()) if value}
    return high + (low >> 32), low & _LIMB, large, squares


def _ratio(numerator: int, denominator: int, shift: int) -> float:
    """``numerator / (denominator · 2**shift)``, correctly rounded; infinite beyond float64."""
    try:
        return numerator / (denominator << shift) if shift >= 0 else (numerator << -shift) / denominator
    except OverflowError:
        return math.inf if numerator > 0 else -math.inf


def _root(numerator: int, denominator: int, shift: int) -> float:
    """``sqrt(numerator / denominator) / 2**shift`` to full precision, whatever the size of the integers."""
    extra = max(0, 128 - numerator.bit_length() + denominator.bit_length()) // 2
    return _ratio(math.isqrt((numerator << (2 * extra)) // denominator), 1, shift + extra)


def _least(a: float | None, b: float | None) -> float | None:
    return b if a is None else a if b is None else min(a, b)


def _most(a: float | None, b: float | None) -> float | None:
    return b if a is None else a if b is None else max(a, b)
