"""Columns of a weighted reference: counted by the weight of their rows, and the same again in effective rows."""

from __future__ import annotations

from dataclasses import replace
from typing import TYPE_CHECKING, Any

import numpy as np
import numpy.typing as npt

from driftwell.errors import BadInput
from driftwell.frame import CodedColumn, Column, Frame, NumericColumn
from driftwell.kernels import exact
from driftwell.profiles.profile import Bins, Profile, State
from driftwell.profiles.states.bins import NumericBins, finite_part, freeze_bins
from driftwell.profiles.states.categorical import CategoricalState, build_categorical, freeze_vocabulary
from driftwell.profiles.states.numeric import NumericState
from driftwell.profiles.states.weights import Units, Weighting, read_weights

if TYPE_CHECKING:
    import pyarrow as pa

__all__ = ["freeze_weighted", "in_rows", "profile_in_rows", "weigh", "without_facets"]

_LOW = 2**32 - 1
_WEIGHTED = ":weighted"  # bins of the same edges that rows are counted in by weight; the two never merge

Floats = npt.NDArray[np.float64]
Ints = npt.NDArray[np.int64]


def weigh(table: pa.Table, weights: Any) -> tuple[pa.Table, Units | None, dict[str, str]]:
    """``(the rows that count, their units of weight, the role of the column they come from)``; rows of weight zero
    count nothing."""
    if weights is None:
        return table, None, {}
    units = read_weights(table, weights)
    role = {"weight": weights} if isinstance(weights, str) else {}
    return (table if units.all() else table.filter(units > 0)), units[units > 0], role


def without_facets(features: Frame, ignored: dict[str, str]) -> tuple[Frame, dict[str, str]]:
    """The numeric and categorical features; others cannot be counted by weight, and join the ``ignored``."""
    plain: dict[str, Column] = {
        name: c for name, c in features.columns.items() if isinstance(c, NumericColumn | CodedColumn)
    }
    others = {name: c.kind for name, c in features.columns.items() if name not in plain}
    if not plain:
        raise BadInput(f"no column can be counted by weight: {', '.join(others)}; leave weights out")
    reasons = {name: f"a {kind} column cannot be counted by weight" for name, kind in others.items()}
    return replace(features, columns=plain), ignored | reasons


def freeze_weighted(frame: Frame, units: Units) -> tuple[dict[str, Bins], dict[str, State]]:
    """Freeze the bins of numeric and categorical columns at cumulated weight, and count each row by its units.

    Cost: a sort a column and about 0.5 µs a number for the exact sums.
    """
    whole = units.astype(object)
    squares = int(np.dot(whole, whole))
    made = {
        name: _frozen(column, units, squares)
        for name, column in frame.columns.items()
        if isinstance(column, NumericColumn | CodedColumn)
    }
    return {n: bins for n, (bins, _) in made.items()}, {n: state for n, (_, state) in made.items()}


def _frozen(column: NumericColumn | CodedColumn, units: Units, squares: int) -> tuple[Bins, State]:
    if isinstance(column, CodedColumn):
        vocabulary = freeze_vocabulary(column, units)
        weighting = Weighting(len(units), int(np.count_nonzero(column.codes >= 0)), squares)
        counted = build_categorical(column, vocabulary, units)
        return vocabulary, replace(counted, bins_id=vocabulary.id + _WEIGHTED, weighting=weighting)
    return _frozen_numbers(column, units, squares)


def _frozen_numbers(column: NumericColumn, units: Units, squares: int) -> tuple[NumericBins, NumericState]:
    present = np.ones(len(units), np.bool_) if column.missing is None else ~column.missing
    order = np.argsort(column.values[present], kind="stable")
    values, own = column.values[present][order], units[present][order]
    finite, below, _, nan = finite_part(values)
    inside = own[below : below + len(finite)]
    total = int(units.sum())
    bins = freeze_bins(values, inside, squares / total)
    sums, large, value_squares = _sums(finite, inside, bins)
    cumulated = np.concatenate(([0], np.cumsum(inside)))
    cuts = np.concatenate(([0], np.searchsorted(finite, bins.edges, "left"), [len(finite)]))
    state = NumericState(
        bins=bins,
        bins_id=bins.id + _WEIGHTED,
        centre=bins.centre,
        shift=bins.shift,
        counts=np.diff(cumulated[cuts]),
        sum_high=np.array([value >> 32 for value in sums], np.int64),
        sum_low=np.array([value & _LOW for value in sums], np.int64),
        large=large,
        squares=value_squares,
        missing=int(units[~present].sum()),
        nan=int(own[len(own) - nan :].sum()),
        neg_inf=int(own[:below].sum()),
        pos_inf=int(own[below + len(finite) : len(own) - nan].sum()),
        invalid=min(int(units[~present].sum()), round(column.invalid * total / len(units))),
        min=float(finite[0]) + 0.0 if len(finite) else None,
        max=float(finite[-1]) + 0.0 if len(finite) else None,
        rounded=column.rounded,
        weighting=Weighting(len(units), len(values) - nan, squares),
    )
    return bins, state


def _sums(finite: Floats, units: Units, bins: NumericBins) -> tuple[list[int], dict[int, int], int]:
    """Sums a cell of the values on the fast scale and of those beyond it, and the sum of squares, all by weight."""
    fixed = exact.to_fixed(finite, bins.centre, bins.shift)
    fast = (np.abs(fixed) < exact.FAST_LIMIT) & (bins.shift < exact.PLAIN_SHIFT)
    cells = np.searchsorted(bins.edges, finite, "right")
    within, squares = _weighed(fixed[fast].astype(np.int64).tolist(), units[fast], cells[fast])
    beyond, further = _weighed(exact.to_integers(finite[~fast], bins.centre, bins.shift), units[~fast], cells[~fast])
    return [within.get(cell, 0) for cell in range(bins.n_cells)], beyond, squares + further


def _weighed(values: list[int], units: Units, cells: Ints) -> tuple[dict[int, int], int]:
    if not values:
        return {}, 0
    numbers = np.array(values, object)
    products = numbers * units.astype(object)
    filled, starts = np.unique(cells, return_index=True)
    sums = dict(zip(filled.tolist(), np.add.reduceat(products, starts).tolist(), strict=True))
    return {cell: value for cell, value in sums.items() if value}, int(np.dot(products, numbers))


# -- in effective rows ---------------------------------------------------------------------------------------


def profile_in_rows(profile: Profile) -> Profile:
    """The profile with every weighted state in effective rows; one without weights as it is."""
    columns = {name: in_rows(state) for name, state in profile.columns.items()}
    outputs = {role: in_rows(state) for role, state in profile.outputs.items()}
    changed = [new for new, old in zip(columns.values(), profile.columns.values(), strict=True) if new is not old]
    return replace(profile, columns=columns, outputs=outputs, n_rows=changed[0].n_rows) if changed else profile


def in_rows(state: State) -> State:
    """A weighted state as if it had been counted from as many rows as its weights are worth; others as they are.

    Counts are rounded so that no cumulated count is off by more than half an effective row; with equal weights they
    are those of the rows.
    """
    if not isinstance(state, NumericState | CategoricalState) or state.weighting is None:
        return state
    per_row = state.weighting.per_row(state.units)
    if isinstance(state, CategoricalState):
        named = list(state.newcomers)
        unnamed = int(state.counts[-1]) - sum(state.newcomers.values())
        parts = [*state.counts[:-1].tolist(), *state.newcomers.values(), unnamed, state.missing]
        *found, rest, missing = _rounded(parts, per_row)
        cells, new = found[: len(found) - len(named)], found[len(found) - len(named) :]
        return replace(
            state,
            bins_id=state.bins_id.removesuffix(_WEIGHTED),
            counts=np.array([*cells, sum(new) + rest], np.int64),
            newcomers={name: count for name, count in zip(named, new, strict=True) if count},
            missing=missing,
            invalid=min(missing, round(state.invalid / per_row)),
            weighting=None,
        )
    below, *cells, above, nan, missing = _rounded(
        [state.neg_inf, *state.counts.tolist(), state.pos_inf, state.nan, state.missing], per_row
    )
    return _numbers_in_rows(state, cells, below, above, nan, missing, per_row)


def _numbers_in_rows(
    state: NumericState, cells: list[int], below: int, above: int, nan: int, missing: int, per_row: float
) -> NumericState:
    """Every cell keeps its mean, all values together their spread."""
    shares = list(zip(cells, state.counts.tolist(), strict=True))
    highs, lows = state.sum_high.tolist(), state.sum_low.tolist()
    sums = [_part((h << 32) + low, *share) for h, low, share in zip(highs, lows, shares, strict=True)]
    large = {cell: value for cell, old in state.large.items() if (value := _part(old, *shares[cell]))}
    n, total = sum(cells), sum(sums) + sum(large.values())
    return replace(
        state,
        bins_id=state.bins_id.removesuffix(_WEIGHTED),
        counts=np.array(cells, np.int64),
        sum_high=np.array([value >> 32 for value in sums], np.int64),
        sum_low=np.array([value & _LOW for value in sums], np.int64),
        large=large,
        squares=max(_part(state.squares, n, state.finite), -(-(total**2) // n)) if n else 0,
        missing=missing,
        nan=nan,
        neg_inf=below,
        pos_inf=above,
        invalid=min(missing, round(state.invalid / per_row)),
        weighting=None,
    )


def _rounded(units: list[int], per_row: float) -> list[int]:
    """Units in effective rows, rounded where they are cumulated."""
    found: list[int] = np.diff(np.rint(np.cumsum(units) / per_row).astype(np.int64), prepend=0).tolist()
    return found


def _part(value: int, count: int, units: int) -> int:
    """``value · count / units``, rounded."""
    return (2 * value * count + units) // (2 * units) if units else 0
