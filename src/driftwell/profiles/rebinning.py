"""What was counted without a reference, counted again in the bins of one: for rows that are gone, the error stated."""

from __future__ import annotations

from collections import Counter
from collections.abc import Mapping
from dataclasses import dataclass, replace
from fractions import Fraction
from typing import TYPE_CHECKING, Any

import numpy as np
import numpy.typing as npt

from driftwell.errors import MergeError
from driftwell.kernels import exact
from driftwell.profiles.profile import Bins, Profile, State
from driftwell.profiles.states.categorical import CategoricalState, Vocabulary
from driftwell.profiles.states.grid import keys_of
from driftwell.profiles.states.numeric import NumericBins, NumericState, Uncertainty

if TYPE_CHECKING:
    from driftwell.profiles.reference import Reference

__all__ = ["rebin", "rebin_categories", "rebin_profile"]

_LOW = 2**32 - 1

Floats = npt.NDArray[np.float64]
Ints = npt.NDArray[np.int64]


@dataclass(frozen=True, eq=False)
class _Pieces:
    """The rows of a grid cut at the edges: which bin each piece is counted in, its rows, and the values it spans."""

    bins: Ints
    counts: Ints
    low: Floats
    high: Floats


def rebin(state: NumericState, bins: NumericBins) -> NumericState:
    """Count a numeric state that has a grid in a reference's bins.

    A grid cell that lies in one bin is counted there, which is certain. Of one that edges cut, all rows go to the
    values within it that have a bin of their own (a value that was frequent in the reference is taken to be so
    still), evenly where there are several; without any, they are spread evenly over the float64 numbers of the cell.
    These rows are ``uncertain``. Sums: every row is placed at the same share of the way through its piece, the share
    that keeps the sum of all values; sum, squares, mean and spread stay right to the unit of the bins.

    Raises
    ------
    MergeError
        The state has no grid: it was counted in bins already, or stems from format 1.

    Notes
    -----
    Cost: some microseconds a grid cell, whatever the number of rows. Rebinning is not additive (a merged grid may be
    coarser), merging rebinned states is: counts and ``uncertainty`` add up exactly and in any order.

    Examples
    --------
    >>> from driftwell.profiles import Reference, profile
    >>> plain = profile({"x": [0.5, 1.5, 7.0]}).columns["x"]
    >>> ref = Reference.from_data({"x": [0.0, 1.0, 2.0]})
    >>> found = rebin(plain, ref.bins["x"])
    >>> found.counts.tolist(), found.uncertain, found.mean
    ([0, 0, 1, 0, 1, 0, 1], 0, 3.0)
    """
    if state.grid is None:
        raise MergeError("the rows were not counted in a grid, so that they cannot be counted in other bins")
    if state.min is None or state.max is None:
        low, high = np.empty(0), np.empty(0)
    else:
        low, high = (np.clip(side, state.min, state.max) for side in state.grid.bounds)
    cut = np.searchsorted(bins.edges, low, "right") < np.searchsorted(bins.edges, high, "right")
    split = state.grid.counts[cut]
    pieces = _pieces(state.grid.counts, low, high, bins)
    total, squares, moved = _moments(state, low, high, bins)
    sums, large = _cell_sums(pieces, total, bins)
    return replace(
        state,
        bins=bins,
        bins_id=bins.id,
        centre=bins.centre,
        shift=bins.shift,
        counts=np.bincount(pieces.bins, weights=pieces.counts, minlength=bins.n_cells).astype(np.int64),
        sum_high=np.array([value >> 32 for value in sums], np.int64),
        sum_low=np.array([value & _LOW for value in sums], np.int64),
        large=large,
        squares=squares,
        grid=None,
        uncertainty=Uncertainty(int(split.sum()), int(split.max(initial=0)), moved),
    )


def _pieces(counts: Ints, low: Floats, high: Floats, bins: NumericBins) -> _Pieces:
    first, last = (np.searchsorted(bins.edges, side, "right") for side in (low, high))
    whole = first == last
    found = [(first[whole], counts[whole], low[whole], high[whole])]
    found += [_cut(int(counts[i]), low[i], high[i], int(first[i]), int(last[i]), bins) for i in np.flatnonzero(~whole)]
    return _Pieces(*(np.concatenate(parts) for parts in zip(*found, strict=True)))


def _cut(n: int, low: float, high: float, first: int, last: int, bins: NumericBins) -> tuple[Any, ...]:
    """The rows of a grid cell from ``low`` to ``high`` that reaches from bin ``first`` to bin ``last``."""
    within = np.arange(first, last + 1)
    atoms = within[bins.atoms[within]]
    if len(atoms):
        values = bins.edges[atoms - 1]
        ends = np.arange(len(atoms) + 1) * n // len(atoms)
        return atoms, np.diff(ends), values, values
    edges = bins.edges[first:last]
    keys = keys_of(np.concatenate(([low], edges, [high]))).astype(np.float64)
    ends = np.rint(n * ((keys - keys[0]) / (keys[-1] - keys[0]))).astype(np.int64)
    return within, np.diff(ends), np.append(low, edges), np.append(np.nextafter(edges, -np.inf), high)


def _moments(state: NumericState, low: Floats, high: Floats, bins: NumericBins) -> tuple[int, int, int]:
    """Sum and sum of squares in the unit of the bins, and how far the rows can lie from where they are placed."""
    assert state.grid is not None
    n = state.finite
    counts = state.grid.counts.tolist()
    fixed = exact.to_integers(low, bins.centre, bins.shift)
    if state.grid.lossless:
        both = [(count * value, count * value * value) for count, value in zip(counts, fixed, strict=True)]
        return sum(total for total, _ in both), sum(square for _, square in both), 0
    unit, centre = Fraction(2) ** bins.shift, Fraction(bins.centre) - Fraction(state.centre)
    total, squares = Fraction(state.total) / Fraction(2) ** state.shift, state.squares / Fraction(4) ** state.shift
    moved = round((total - n * centre) * unit)
    spread = round((squares - 2 * centre * total + n * centre**2) * unit**2)
    widths = zip(counts, fixed, exact.to_integers(high, bins.centre, bins.shift), strict=True)
    # Once for where the rows of a cell are placed and once for what cut cells keep from reaching the sum; a unit each
    # for rounding.
    slack = 2 * sum(count * (end - start + 1) for count, start, end in widths)
    return moved, max(spread, -(-(moved**2) // n)), slack


def _cell_sums(pieces: _Pieces, total: int, bins: NumericBins) -> tuple[list[int], dict[int, int]]:
    """Sums a bin, and those of values beyond the fast path, that add up to ``total``."""
    base: Counter[tuple[bool, int]] = Counter()
    span: Counter[tuple[bool, int]] = Counter()
    low, high = (exact.to_integers(side, bins.centre, bins.shift) for side in (pieces.low, pieces.high))
    for cell, n, start, end in zip(pieces.bins.tolist(), pieces.counts.tolist(), low, high, strict=True):
        key = max(abs(start), abs(end)) >= exact.FAST_LIMIT, cell
        base[key] += n * start
        span[key] += n * (end - start)
    width = span.total()
    further = min(max(total - base.total(), 0), width)
    if width:
        for key, own in span.items():
            base[key] += own * further // width
        base[max(span, key=lambda key: (span[key], key))] += total - base.total()
    sums = [base[False, cell] for cell in range(bins.n_cells)]
    return sums, {cell: value for (beyond, cell), value in sorted(base.items()) if beyond and value}


def rebin_categories(state: CategoricalState, vocabulary: Vocabulary) -> CategoricalState:
    """Count categories in a reference's vocabulary: exact, where the names of all of them were kept.

    Raises
    ------
    MergeError
        There were more than 256 categories, so that the names of some were not kept.
    """
    if state.bins_id == vocabulary.id:
        return replace(state, vocabulary=vocabulary)
    if not state.named:
        raise MergeError("it has more than 256 categories, and the names of some were not kept")
    known = state.vocabulary.categories if state.vocabulary else ()
    named = dict(zip(known, state.counts[:-1].tolist(), strict=True)) | state.newcomers
    counts = np.array([named.pop(name, 0) for name in vocabulary.categories] + [0], np.int64)
    counts[-1] = sum(named.values())
    newcomers = {name: count for name, count in sorted(named.items()) if count}
    return CategoricalState(vocabulary, vocabulary.id, counts, newcomers, state.missing, state.invalid, state.kind)


def rebin_profile(profile: Profile, reference: Reference) -> tuple[Profile, tuple[str, ...]]:
    """A profile made without a reference, counted in the bins of one, with notes on what that leaves open.

    Columns that cannot be counted so (vectors and texts, whose facets depend on what the reference froze; another
    kind; bytes of format 1) are ``unread`` with the reason; columns the profile lacks are absent.

    Raises
    ------
    MergeError
        The profile was counted in the bins of another reference.

    Examples
    --------
    >>> import numpy as np
    >>> from driftwell.profiles import Reference, profile
    >>> rows = np.random.default_rng(0).normal(size=5_000)
    >>> found, notes = rebin_profile(profile({"x": rows}), Reference.from_data({"x": rows}))
    >>> found.n_rows, found.columns["x"].uncertainty.at_edge < 100, len(notes)
    (5000, True, 1)
    """
    if profile.edges_id != "plain":
        raise MergeError(f"the profile was counted in the bins {profile.edges_id} of another reference, not in a grid")
    unread = {n: reason for n, reason in profile.unread.items() if n in reference.bins}
    columns = _rebin_each(profile.columns, reference.bins, unread)
    outputs = _rebin_each(profile.outputs, reference.output_bins, {})
    unread |= {name: "the column is absent" for name in reference.bins if name not in columns and name not in unread}
    made = Profile(columns, outputs, profile.n_rows, reference.edges_id, unread)
    return made, tuple(filter(None, (_note(name, state) for name, state in made.states.items())))


def _rebin_each(states: Mapping[str, State], bins: Mapping[str, Bins], unread: dict[str, str]) -> dict[str, State]:
    made: dict[str, State] = {}
    for name, own in bins.items():
        state = states.get(name)
        try:
            if isinstance(state, NumericState) and isinstance(own, NumericBins):
                made[name] = rebin(state, own)
            elif isinstance(state, CategoricalState) and isinstance(own, Vocabulary):
                made[name] = rebin_categories(state, own)
            elif state is not None:
                unread[name] = f"counted without the reference, a {state.kind} column cannot be counted in its bins"
        except MergeError as exc:
            unread[name] = f"counted without the reference: {exc}"
    return made


def _note(name: str, state: State) -> str | None:
    if not isinstance(state, NumericState) or not state.uncertain:
        return None
    share, edge = state.uncertain / state.finite, state.uncertainty.at_edge / state.finite
    return f"{name}: counted without the reference; the bin of {share:.2g} of its values is not certain, and " \
           f"cumulated shares to within {edge:.2g}"  # fmt: skip
