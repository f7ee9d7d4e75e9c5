"""The adaptive dyadic grid: a distribution kept without any reference, in whole numbers that merge to the same bytes.

A float64 is read as the integer of its own bits, which orders like the value; a cell holds the integers that agree
but for their last ``shift`` bits, and 0, the value that recurs most often, has a cell of its own at every shift. The
grid keeps the smallest shift with at most ``MAX_CELLS`` occupied cells.

Merging coarsens both sides to the larger shift, adds, and coarsens on until the cells are few enough. That this gives
what the rows of both would have given at once, in any order: let N_A(s) be the number of cells that A occupies at
shift s, and s(A) the smallest s with N_A(s) <= MAX_CELLS. N_A falls with s, and a part of B occupies no more cells
than B, so s(A) <= s(B) for A within B. No intermediate merge, which holds a part of the rows, is therefore ever
coarser than the whole will be; counts at a shift follow from those at any smaller one; so the last step finds the
same s(B) and the same counts on every way to B.
"""

from __future__ import annotations

from bisect import bisect_left
from dataclasses import dataclass
from functools import cached_property

import numpy as np
import numpy.typing as npt

__all__ = ["MAX_CELLS", "NO_VALUES", "Grid", "build_grid", "keys_of", "values_of"]

MAX_CELLS = 1024
"""At most this many occupied cells; 2,048 halve the error for twice the bytes (``docs/profiles.md`` has both)."""

_MOST_SHIFT = 55  # 2**64 keys in cells of 2**55 are 512 cells, and one for 0
_ALWAYS = np.uint64(2**64 - 1)
_LOWEST = np.int64(-(2**63))
_LAST_KEY = int(np.float64(np.finfo(np.float64).max).view(np.int64))

Floats = npt.NDArray[np.float64]
Ints = npt.NDArray[np.int64]


@dataclass(frozen=True, eq=False)
class Grid:
    """Counts of finite values in cells of 2**shift neighbouring float64 numbers.

    Attributes
    ----------
    shift
        Bits of the key a cell does not tell apart; 0 is lossless: each cell is one value.
    cells
        Which cells are occupied, rising, shape ``(cells,)``: 0 holds 0 alone, c > 0 the keys above
        ``(c - 1) · 2**shift`` up to ``c · 2**shift``, c < 0 those from ``c · 2**shift``.
    counts
        Values a cell, positive, same shape.
    """

    shift: int
    cells: Ints
    counts: Ints

    @cached_property
    def bounds(self) -> tuple[Floats, Floats]:
        """Smallest and largest float64 that each cell can hold, both included."""
        positive, zero = (self.cells > 0).astype(np.int64), (self.cells == 0).astype(np.int64)
        first = ((self.cells - positive) << self.shift) + positive
        room = _LAST_KEY - np.maximum(first, 0)  # the topmost cell may reach beyond float64
        last = first + np.minimum((1 << self.shift) - 1, room) * (1 - zero)
        low, high = (values_of(np.clip(keys, -_LAST_KEY, _LAST_KEY)) for keys in (first, last))
        return low, high

    @property
    def lossless(self) -> bool:
        """Whether each cell is one single value."""
        return self.shift == 0

    @cached_property
    def largest(self) -> int:
        """Most values in one cell of several values: no rank read off the grid is further off; 0 while lossless."""
        return 0 if self.lossless else int(self.counts[self.cells != 0].max(initial=0))

    def merge(self, other: Grid) -> Grid:
        """The grid of the values of both. Cost: sorting the cells of both, some 50 µs."""
        shift = max(self.shift, other.shift)
        cells = np.concatenate([_coarsen(grid.cells, shift - grid.shift) for grid in (self, other)])
        counts = np.concatenate((self.counts, other.counts))
        order = np.argsort(cells, kind="stable")  # two rising runs: one linear merge
        cells, counts = cells[order], counts[order]
        further, starts = _cut(cells)
        return Grid(
            shift + further, _coarsen(cells[starts], further), np.add.reduceat(counts, starts) if len(cells) else counts
        )


NO_VALUES = Grid(0, np.empty(0, np.int64), np.empty(0, np.int64))
"""The identity of merging."""


def build_grid(ordered: Floats) -> Grid:
    """The grid of finite values in order, shape ``(n,)``. Cost: about 5 ns a value.

    Examples
    --------
    >>> grid = build_grid(np.array([-1.5, 0.0, 0.0, 2.0]))
    >>> grid.lossless, grid.bounds[0].tolist(), grid.counts.tolist()
    (True, [-1.5, 0.0, 2.0], [1, 2, 1])
    """
    keys = keys_of(ordered)
    shift, starts = _cut(keys)
    return Grid(shift, _coarsen(keys[starts], shift), np.diff(np.append(starts, len(keys))))


def keys_of(values: Floats) -> Ints:
    """Integers in the order of the values; -0.0 and 0.0 are both 0."""
    bits = values.view(np.int64)
    return np.where(bits < 0, _LOWEST - bits, bits)


def values_of(keys: Ints) -> Floats:
    """The float64 numbers of keys."""
    return np.where(keys < 0, _LOWEST - keys, keys).view(np.float64)


def _coarsen(cells: Ints, bits: int) -> Ints:
    """The cells that hold these at a shift larger by ``bits``; keys are the cells of shift 0."""
    positive = cells > 0
    return ((cells - positive) >> bits) + positive


def _cut(cells: Ints) -> tuple[int, Ints]:
    """The smallest further shift that leaves few enough of rising cells, and where each of these starts."""
    if not len(cells):
        return 0, np.empty(0, np.int64)
    bits = cells - (cells > 0)
    apart = (bits[1:] ^ bits[:-1]).view(np.uint64)  # neighbours share a cell where no bit from the shift on differs
    zeros_end = int(np.searchsorted(cells, 0, "right"))
    if 0 < zeros_end < len(cells):
        apart[zeros_end - 1] = _ALWAYS  # what follows 0 (or the last negative value) is never in its cell
    few = apart.size < MAX_CELLS or int(np.count_nonzero(apart)) < MAX_CELLS
    shift = 0 if few else bisect_left(range(_MOST_SHIFT), True, key=lambda s: _count_cells(apart, s) <= MAX_CELLS)
    return shift, np.concatenate(([0], np.flatnonzero(apart >= np.uint64(1 << shift)) + 1))


def _count_cells(apart: npt.NDArray[np.uint64], shift: int) -> int:
    return int(np.count_nonzero(apart >= np.uint64(1 << shift))) + 1
