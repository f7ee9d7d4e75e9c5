"""Numeric columns: bins frozen from a reference, and the mergeable state that counts in them.

Cells are half-open intervals between sorted edges, plus one below the first edge and one at or above the last.
A value that holds much of the reference gets a cell of its own, ``[v, nextafter(v))``: an *atom*.
"""

from __future__ import annotations

import hashlib
import math
from dataclasses import dataclass, field
from fractions import Fraction
from functools import cached_property

import numpy as np
import numpy.typing as npt

from driftwell.errors import BadInput, MergeError
from driftwell.frame import NumericColumn
from driftwell.kernels import exact

__all__ = ["PLAIN_BINS", "NumericBins", "NumericState", "build_numeric", "freeze_bins", "sorted_values"]

ATOM_SHARE = 480  # a value holding at least 1/480 of the reference has a cell of its own
FINE_BINS = 240  # the rest lies in equal-frequency cells of about 1/240
MAX_DISTINCT = 256  # up to here every distinct value is an atom
TAILS = (0.0001, 0.001, 0.999, 0.9999)
GROUPS = 10
_MAX_CENTRE = 1e290  # a larger centre could overflow x - centre
_LIMB = 2**32 - 1

Floats = npt.NDArray[np.float64]
Ints = npt.NDArray[np.int64]


@dataclass(frozen=True, eq=False)
class NumericBins:
    """Frozen edges of one column, with the groups that PSI uses and the scale of the exact sums.

    ``groups`` gives each cell's group: about ten runs of consecutive cells, each holding about a tenth of the
    reference, and where the reference has no mass around large atoms, one more group for values it never had.
    """

    edges: Floats
    groups: npt.NDArray[np.int64]
    centre: float
    shift: int

    @cached_property
    def id(self) -> str:
        """Content hash; states of different ids never merge."""
        digest = hashlib.blake2b(digest_size=8)
        for part in (self.edges.astype("<f8"), self.groups.astype("<i8"), np.array([self.centre], "<f8")):
            digest.update(part.tobytes())
            digest.update(b"|")
        digest.update(str(self.shift).encode())
        return digest.hexdigest()

    @property
    def unit(self) -> float:
        """What values are rounded to before they are summed."""
        return math.ldexp(1.0, -self.shift)

    @property
    def n_cells(self) -> int:
        """Cells including the outer two."""
        return len(self.edges) + 1

    @cached_property
    def atoms(self) -> npt.NDArray[np.bool_]:
        """Which cells hold one single value."""
        out = np.zeros(self.n_cells, np.bool_)
        if len(self.edges) > 1:
            out[1:-1] = self.edges[1:] == np.nextafter(self.edges[:-1], np.inf)
        return out

    @cached_property
    def n_groups(self) -> int:
        """Number of groups."""
        return int(self.groups.max()) + 1 if len(self.groups) else 0


PLAIN_BINS = NumericBins(np.empty(0), np.zeros(1, np.int64), 0.0, exact.PLAIN_SHIFT)
"""One cell for everything: what is counted while no reference has frozen any edges."""


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
    kind: str = "numeric"

    @cached_property
    def finite(self) -> int:
        """Number of finite values."""
        return int(self.counts.sum())

    @property
    def count(self) -> int:
        """Rows that hold a number, infinities included; missing and NaN are not."""
        return self.finite + self.neg_inf + self.pos_inf

    @property
    def n_rows(self) -> int:
        """All rows."""
        return self.count + self.missing + self.nan

    @cached_property
    def total(self) -> int:
        """Sum of the fixed-point values."""
        return (int(self.sum_high.sum()) << 32) + int(self.sum_low.sum()) + sum(self.large.values())

    @cached_property
    def sum(self) -> float:
        """Sum of the finite values as they were counted, correctly rounded; infinite beyond float64."""
        centred = Fraction(self.total) / Fraction(2) ** self.shift
        return _ratio(*(centred + Fraction(self.centre) * self.finite).as_integer_ratio(), 0)

    @cached_property
    def mean(self) -> float | None:
        """Mean of the finite values, None when there are none."""
        if not self.finite:
            return None
        return self.centre + _ratio(self.total, self.finite, self.shift)

    @cached_property
    def std(self) -> float | None:
        """Sample standard deviation (n - 1) of the finite values; None below two values."""
        n = self.finite
        if n < 2:
            return None
        return _root(n * self.squares - self.total**2, n * (n - 1), self.shift)

    @property
    def distinct(self) -> int | None:
        """Number of distinct finite values where every value seen has a cell of its own, else None."""
        if self.finite == 0:
            return 0
        if self.bins is None or bool(self.counts[~self.bins.atoms].any()):
            return None
        return int(np.count_nonzero(self.counts))

    def quantile(self, q: float) -> float | None:
        """The value below which a share ``q`` of the finite values lies, interpolated inside its cell.

        The rank is right to within the mass of one cell (about 1/240 of the reference); None when there is no
        finite value or the edges are not at hand.
        """
        if not 0 <= q <= 1:
            raise BadInput(f"q must lie in [0, 1]. Got {q}")
        if not self.finite or self.bins is None or self.min is None or self.max is None:
            return None
        target = q * self.finite
        cumulative = np.cumsum(self.counts)
        cell = min(int(np.searchsorted(cumulative, target, side="left")), len(self.counts) - 1)
        while self.counts[cell] == 0:
            cell += 1
        edges = self.bins.edges
        low = self.min if cell == 0 else max(float(edges[cell - 1]), self.min)
        high = self.max if cell == len(edges) else min(float(edges[cell]), self.max)
        inside = (target - (cumulative[cell] - self.counts[cell])) / self.counts[cell]
        inside = min(max(inside, 0.0), 1.0)
        return float(low * (1 - inside) + high * inside)  # high - low may be beyond float64

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
        )


def sorted_values(column: NumericColumn) -> Floats:
    """The numbers of a column in order: infinities kept, missing dropped, NaN last."""
    values = column.values if column.missing is None else column.values[~column.missing]
    return np.sort(values)


def freeze_bins(values: Floats) -> NumericBins:
    """Freeze the bins of a reference column from its sorted values (as ``sorted_values`` gives them)."""
    finite = _finite_part(values)[0]
    n = len(finite)
    if n == 0:
        return NumericBins(np.empty(0), np.zeros(1, np.int64), 0.0, 20)
    starts = np.flatnonzero(np.concatenate(([True], finite[1:] != finite[:-1])))
    repeats = np.diff(np.append(starts, n))
    least = 1 if len(starts) <= MAX_DISTINCT else max(2, math.ceil(n / ATOM_SHARE))
    is_atom = repeats >= least
    atoms = finite[starts[is_atom]]
    rest = finite[np.repeat(~is_atom, repeats)]
    n_fine = round(len(rest) * FINE_BINS / n)
    positions = [-(-i * len(rest) // n_fine) for i in range(n_fine)] if n_fine else []
    tails = [min(n - 1, int(share * n)) for share in TAILS] if len(rest) else []
    with np.errstate(over="ignore"):  # beyond the largest float64 there is no edge
        ends = np.nextafter(np.append(atoms, finite[-1]), np.inf)
    edges = np.unique(np.concatenate((atoms, ends, rest[positions], finite[tails], finite[:1])) + 0.0)
    edges = edges[np.isfinite(edges)]
    counts = np.diff(np.concatenate(([0], np.searchsorted(finite, edges, "left"), [n])))
    centre = float(finite[n // 2]) + 0.0
    centre = centre if abs(centre) <= _MAX_CENTRE else 0.0
    spread = np.sort(np.abs(finite - centre))[min(n - 1, int(0.9999 * n))]
    shift = exact.choose_shift(float(spread) or max(abs(centre), 1.0))
    draft = NumericBins(edges, np.zeros(len(edges) + 1, np.int64), centre, shift)
    return NumericBins(edges, _groups(counts, draft.atoms, n), centre, shift)


def _groups(counts: Ints, atoms: npt.NDArray[np.bool_], n: int) -> npt.NDArray[np.int64]:
    """Close a group where the cumulated reference mass passes the next tenth; a cell is never split."""
    groups = np.zeros(len(counts), np.int64)
    group, seen = 0, 0
    for cell, count in enumerate(counts.tolist()):
        groups[cell] = group
        seen += count
        if seen < n and seen * GROUPS // n > (seen - count) * GROUPS // n:
            group += 1
    # Between and beyond large atoms, a value the reference never had must not hide in an atom's group.
    large = atoms & (counts * GROUPS >= n)
    beside = np.concatenate(([True], large[:-1])) & np.concatenate((large[1:], [True]))
    groups[(counts == 0) & beside] = int(groups.max()) + 1
    return groups


def build_numeric(column: NumericColumn, bins: NumericBins, values: Floats | None = None) -> NumericState:
    """Count a column in frozen bins; ``values`` are its sorted values where they are at hand already.

    Cost: one sort of the column and about as much again.
    """
    ordered = sorted_values(column) if values is None else values
    finite, neg_inf, pos_inf, nan = _finite_part(ordered)
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
    )


def _finite_part(ordered: Floats) -> tuple[Floats, int, int, int]:
    """``(finite values, -inf, +inf, NaN)`` of sorted values."""
    n = len(ordered)
    if n and math.isfinite(ordered[0]) and math.isfinite(ordered[-1]):
        return ordered, 0, 0, 0
    end = int(np.searchsorted(ordered, np.nan, "left"))
    numbers = ordered[:end]
    low = int(np.searchsorted(numbers, -np.inf, "right"))
    high = int(np.searchsorted(numbers, np.inf, "left"))
    return numbers[low:high], low, end - high, n - end


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
        if begin == end:
            continue
        cells = np.searchsorted(cuts, np.arange(begin, end), "right") - 1
        for cell in np.unique(cells):
            total, square = exact.exact_sum(finite[begin:end][cells == cell], bins.centre, bins.shift)
            large[int(cell)] = large.get(int(cell), 0) + total
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
