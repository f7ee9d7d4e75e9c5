"""Bins frozen from a reference column: edges, the groups that PSI uses, and the scale of the exact sums.

Cells are half-open intervals between sorted edges, plus one below the first edge and one at or above the last.
A value that holds much of the reference gets a cell of its own, ``[v, nextafter(v))``: an *atom*.
"""

from __future__ import annotations

import hashlib
import math
from collections.abc import Sequence
from dataclasses import dataclass
from functools import cached_property

import numpy as np
import numpy.typing as npt

from driftwell.frame import NumericColumn
from driftwell.kernels import exact

__all__ = ["PLAIN_BINS", "NumericBins", "finite_part", "freeze_bins", "sorted_values"]

ATOM_SHARE = 480  # a value holding at least 1/480 of the reference has a cell of its own
FINE_BINS = 240  # the rest lies in equal-frequency cells of about 1/240
MAX_DISTINCT = 256  # up to here every distinct value is an atom
TAILS = (0.0001, 0.001, 0.999, 0.9999)
GROUPS = 10
_MAX_CENTRE = 1e290  # a larger centre could overflow x - centre

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
    def is_plain(self) -> bool:
        """Whether these are no bins at all: no reference has frozen any."""
        return self.shift == exact.PLAIN_SHIFT and not len(self.edges)

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


def sorted_values(column: NumericColumn) -> Floats:
    """The numbers of a column in order: infinities kept, missing dropped, NaN last."""
    values = column.values if column.missing is None else column.values[~column.missing]
    return np.sort(values)


def freeze_bins(values: Floats, units: Ints | None = None, per_row: float = 1.0) -> NumericBins:
    """Freeze the bins of a reference column from its sorted values (as ``sorted_values`` gives them).

    Of a weighted column ``units`` are the weights of its finite values, ``per_row`` what an effective row has of them:
    the edges are cut at cumulated weight.
    """
    finite = finite_part(values)[0]
    if len(finite) == 0:
        return NumericBins(np.empty(0), np.zeros(1, np.int64), 0.0, 20)
    starts = np.flatnonzero(np.concatenate(([True], finite[1:] != finite[:-1])))
    runs = np.diff(np.append(starts, len(finite)))
    repeats = runs if units is None else np.add.reduceat(units, starts) / per_row
    n = len(finite) if units is None else units.sum() / per_row
    least = 0 if len(starts) <= MAX_DISTINCT else max(2, math.ceil(n / ATOM_SHARE))
    is_atom = repeats >= least
    atoms = finite[starts[is_atom]]
    others = np.repeat(~is_atom, runs)
    rest, rest_units = finite[others], None if units is None else units[others]
    held = len(rest) if rest_units is None else rest_units.sum() / per_row
    n_fine = round(held * FINE_BINS / n)
    positions = _places([-(-i * held // n_fine) for i in range(n_fine)], rest_units, per_row)
    tails = _places([min(n - 1, int(share * n)) for share in TAILS] if len(rest) else [], units, per_row)
    with np.errstate(over="ignore"):  # beyond the largest float64 there is no edge
        ends = np.nextafter(np.append(atoms, finite[-1]), np.inf)
    edges = np.unique(np.concatenate((atoms, ends, rest[positions], finite[tails], finite[:1])) + 0.0)
    edges = edges[np.isfinite(edges)]
    cuts = np.concatenate(([0], np.searchsorted(finite, edges, "left"), [len(finite)]))
    counts = np.diff(cuts if units is None else np.concatenate(([0], np.cumsum(units)))[cuts])
    centre = float(finite[_places([n // 2], units, per_row)[0]]) + 0.0
    centre = centre if abs(centre) <= _MAX_CENTRE else 0.0
    shift = exact.choose_shift(_spread(finite, centre, units, per_row) or max(abs(centre), 1.0))
    draft = NumericBins(edges, np.zeros(len(edges) + 1, np.int64), centre, shift)
    return NumericBins(edges, _groups(counts, draft.atoms, int(counts.sum())), centre, shift)


def _places(ranks: Sequence[float], units: Ints | None, per_row: float) -> Sequence[int] | Ints:
    """Positions of the values that have these ranks, counted in effective rows where there are weights."""
    if units is None:
        return [int(rank) for rank in ranks]
    ends = np.cumsum(units) / per_row
    return np.minimum(np.searchsorted(ends, np.asarray(ranks, np.float64), "right"), len(units) - 1)


def _spread(finite: Floats, centre: float, units: Ints | None, per_row: float) -> float:
    """The distance from the centre that one row in 10,000 exceeds."""
    far = np.abs(finite - centre)
    if units is None:
        return float(np.sort(far)[min(len(far) - 1, int(0.9999 * len(far)))])
    order = np.argsort(far)
    n = units.sum() / per_row
    return float(far[order][_places([min(n - 1, int(0.9999 * n))], units[order], per_row)[0]])


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


def finite_part(ordered: Floats) -> tuple[Floats, int, int, int]:
    """``(finite values, -inf, +inf, NaN)`` of sorted values."""
    n = len(ordered)
    if n and math.isfinite(ordered[0]) and math.isfinite(ordered[-1]):
        return ordered, 0, 0, 0
    end = int(np.searchsorted(ordered, np.nan, "left"))
    numbers = ordered[:end]
    low = int(np.searchsorted(numbers, -np.inf, "right"))
    high = int(np.searchsorted(numbers, np.inf, "left"))
    return numbers[low:high], low, end - high, n - end
