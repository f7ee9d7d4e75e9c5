"""One column on both sides, and what the methods read of it."""

from __future__ import annotations

import math
from collections.abc import Callable
from dataclasses import dataclass, field
from functools import cached_property

import numpy as np
import numpy.typing as npt

from driftwell.errors import InsufficientData
from driftwell.kernels import rank_tests, significance
from driftwell.kernels.empirical import distances_from_sorted
from driftwell.profiles.profile import State
from driftwell.profiles.states.categorical import CategoricalState
from driftwell.profiles.states.numeric import NumericState
from driftwell.results import Measure

__all__ = ["Cells", "Counts", "Pair", "Rows"]

Bools = npt.NDArray[np.bool_]
Counts = npt.NDArray[np.int64]
Floats = npt.NDArray[np.float64]
Rows = tuple[Floats, Floats]


@dataclass(frozen=True, slots=True, eq=False)
class Cells:
    """Counts of both sides over the same ordered cells; ``wide`` are those that hold more than one value."""

    reference: Counts
    current: Counts
    wide: Bools

    @property
    def exact(self) -> bool:
        """Whether the order of all values is known."""
        return not bool(np.any(self.wide & (self.reference + self.current > 1)))


@dataclass(frozen=True, eq=False)
class Pair:
    """One column on both sides, counted in the same bins.

    ``exact`` are its KS and Wasserstein distances where the rows of both sides were at hand; ``measures`` keeps what
    was computed, for several methods borrow one p-value. ``rows`` gives the sorted values of both sides (infinities
    kept, NaN dropped) where they can be had; ``sampled`` says that of the reference they are a sample. ``factors`` are
    the rows a count stands for on each side in tests: elements of a series count as records. Of a weighted reference
    ``reference`` is in effective rows, which tests count, and ``weighed`` by weight, which distances are taken from.
    """

    reference: State
    current: State
    exact: tuple[float, float] | None = None
    rows: Callable[[], Rows] | None = None
    sampled: bool = False
    factors: tuple[float, float] = (1.0, 1.0)
    weighed: NumericState | CategoricalState | None = None
    measures: dict[str, Measure] = field(default_factory=dict)

    def measure(self, name: str) -> Measure:
        """The measure of this method, computed once.

        Raises
        ------
        InsufficientData
            One side has nothing the method could read.
        """
        from driftwell.detectors.univariate.table import method  # whose functions take pairs

        if name not in self.measures:
            self.measures[name] = method(name).measure(self)
        return self.measures[name]

    @property
    def kind(self) -> str:
        """Kind of the column."""
        return self.reference.kind

    # -- groups ----------------------------------------------------------------------------------------------

    @property
    def base(self) -> State:
        """The reference as distances read it: by weight where its rows have weights."""
        return self.weighed or self.reference

    @cached_property
    def groups(self) -> tuple[Counts, Counts]:
        """Counts of the comparable groups: about ten runs of bins, or the categories; missing rows are one more
        group where there are any, so that they are never dropped in silence."""
        return self._groups(self.reference)

    @cached_property
    def measured_groups(self) -> tuple[Counts | Floats, Counts]:
        """The groups as distances read them: of a weighted reference in effective rows, in fractions too."""
        if self.weighed is None or self.weighed.weighting is None:
            return self.groups
        reference, current = self._groups(self.weighed)
        return reference / self.weighed.weighting.per_row(self.weighed.units), current

    def _groups(self, reference: State) -> tuple[Counts, Counts]:
        if isinstance(reference, NumericState) and isinstance(self.current, NumericState):
            groups = reference.group_counts(), self.current.group_counts()
        else:
            assert isinstance(reference, CategoricalState)
            assert isinstance(self.current, CategoricalState)
            before, after = reference.counts, self.current.counts
            seen = slice(None) if before[-1] or after[-1] else slice(-1)
            groups = before[seen], after[seen]
        return self._with_missing(*groups, _gone(reference, self.current))

    @cached_property
    def slack(self) -> Counts | None:
        """How far each current count of ``groups`` may be off, None where rows were counted in these very bins.

        Of a run of cells no more rows are misplaced than at its two edges.
        """
        state = self.current
        if not isinstance(state, NumericState) or not state.uncertainty.rows:
            return None
        assert state.bins is not None
        at = [np.flatnonzero(state.bins.groups == group) for group in range(state.bins.n_groups)]
        rows, at_edges = state.uncertainty.rows, min(2 * state.uncertainty.at_edge, state.uncertainty.rows)
        own = [at_edges if cells[-1] - cells[0] + 1 == len(cells) else rows for cells in at]
        return np.array(own + [0] * (len(self.groups[1]) - len(own)), np.int64)

    @cached_property
    def _nearest(self) -> tuple[Counts, Counts]:
        """The groups with the current counts as near to the reference's shares as what is uncertain allows."""
        reference, current = self.groups
        if self.slack is None:
            return reference, current
        without_change = reference * current.sum() / reference.sum()
        near = np.clip(without_change, np.maximum(current - self.slack, 0), current + self.slack)
        return reference, np.rint(near).astype(np.int64)

    @cached_property
    def tested_groups(self) -> tuple[Counts, Counts]:
        """The groups as tests count them: in records, each new category in a cell of its own as long as all have names,
        else together with what was rare already."""
        if isinstance(self.reference, NumericState):
            return self.in_records(*self._nearest)
        reference, current = self.categories
        if reference[-1] == current[-1] == 0:
            return self.in_records(*self.groups)
        named = self._named_categories()
        if named is not None:
            return self._with_missing(*self.in_records(*named), self.in_records(*self._missing))
        folded = significance.fold_unseen(*self.in_records(reference, current), len(reference) - 1)
        return self._with_missing(*folded, self.in_records(*self._missing))

    @cached_property
    def groups_p_value(self) -> float | None:
        """p-value of the chi-squared test on the groups, None where there is only one."""
        if isinstance(self.reference, NumericState) and self.reference.bins is not None:
            return significance.frozen_groups_p_value(*self.tested_groups, self.reference.bins.n_groups)
        return significance.chi_squared_test(*self.tested_groups)[1]

    @property
    def categories(self) -> tuple[Counts, Counts]:
        """Counts of the reference's categories and, last, of all others."""
        assert isinstance(self.reference, CategoricalState)
        assert isinstance(self.current, CategoricalState)
        return self.reference.counts, self.current.counts

    def _named_categories(self) -> tuple[Counts, Counts] | None:
        """Counts of every category either side has, None where some have no name.

        Sparse ones are then pooled by what both sides hold of them together: any other choice, by the reference's
        counts alone, would see a change in every random split of the same rows.
        """
        sides = self.reference, self.current
        if not all(isinstance(side, CategoricalState) and side.named for side in sides):
            return None
        names = sorted(set().union(*(side.newcomers for side in sides if isinstance(side, CategoricalState))))
        reference, current = (
            np.concatenate((side.counts[:-1], np.array([side.newcomers.get(name, 0) for name in names], np.int64)))
            for side in sides
            if isinstance(side, CategoricalState)
        )
        return reference, current

    @property
    def _missing(self) -> tuple[Counts, Counts]:
        return _gone(self.reference, self.current)

    def _with_missing(self, reference: Counts, current: Counts, gone: tuple[Counts, Counts]) -> tuple[Counts, Counts]:
        if gone[0][0] or gone[1][0]:
            reference, current = np.concatenate((reference, gone[0])), np.concatenate((current, gone[1]))
        if reference.sum() == 0 or current.sum() == 0:
            raise InsufficientData("one side has no rows")
        return reference, current

    # -- numbers ---------------------------------------------------------------------------------------------

    @property
    def numeric(self) -> tuple[NumericState, NumericState]:
        """Both states where values are numbers and there are some on both sides."""
        assert isinstance(self.reference, NumericState)
        assert isinstance(self.current, NumericState)
        if not self.reference.finite or not self.current.finite:
            raise InsufficientData("one side has no finite values")
        return self.reference, self.current

    @property
    def measured(self) -> tuple[NumericState, NumericState]:
        """Both states as distances read them: the reference by weight where its rows have weights."""
        reference, current = self.numeric
        return (self.weighed if isinstance(self.weighed, NumericState) else reference), current

    @cached_property
    def all_rows(self) -> Rows | None:
        """The sorted values where none of either side is left out, else None."""
        if self.rows is None or self.sampled:
            return None
        reference, current = self._rows
        complete = len(reference) == self.reference.count and len(current) == self.current.count
        return (reference, current) if complete else None

    @cached_property
    def distances(self) -> tuple[float, float] | None:
        """Exact KS and Wasserstein distances where all rows are at hand."""
        if self.exact is not None or self.all_rows is None:
            return self.exact
        return distances_from_sorted(*self.all_rows)

    @cached_property
    def order(self) -> Cells:
        """The values of both sides in order: as finely as is known of all of them."""
        if self.all_rows is not None:
            return _one_value_each(*self.all_rows)
        reference, current = self.numeric
        assert reference.bins is not None
        return Cells(reference.cell_counts, current.cell_counts, ~reference.bins.atoms)

    @cached_property
    def misplaced(self) -> tuple[float, float]:
        """What rows counted in other bins leave open, both sides together: the share of rows that may lie on the wrong
        side of an edge, and how far the mean row may lie from where it is counted."""
        if self.all_rows is not None or self.exact is not None:
            return 0.0, 0.0
        sides = self.numeric
        at_edge = sum(side.uncertainty.at_edge / side.finite for side in sides)
        return at_edge, sum(math.ldexp(side.uncertainty.moved / side.finite, -side.shift) for side in sides)

    @cached_property
    def full_order(self) -> Cells:
        """The values of both sides, each in its place: of all of them, or of the rows at hand.

        Raises
        ------
        InsufficientData
            Only bins are at hand, and they hold more than one value.
        """
        self.numeric  # noqa: B018  raises where there are none
        if self.order.exact and self.misplaced == (0.0, 0.0):
            return self.order
        if self.weighed is not None:
            raise InsufficientData("it takes rows for equals, and those of the reference have weights")
        if self.rows is None:
            raise InsufficientData("it needs the rows of both sides; a profile keeps only their bins")
        return _one_value_each(*self._rows)

    @cached_property
    def _rows(self) -> Rows:
        assert self.rows is not None
        return self.rows()

    # -- sizes -----------------------------------------------------------------------------------------------

    def in_records(self, reference: Counts, current: Counts) -> tuple[Counts, Counts]:
        """Counts in the units that are independent of each other.

        Raises
        ------
        InsufficientData
            One side counts rows, but together they are less than one record.
        """
        if self.factors == (1.0, 1.0):
            return reference, current
        before, after = (
            np.rint(side * factor).astype(np.int64)
            for side, factor in zip((reference, current), self.factors, strict=True)
        )
        if (reference.any() and not before.any()) or (current.any() and not after.any()):
            raise InsufficientData("one side holds less than one record a group")
        return before, after

    def sizes(self, n: int, m: int) -> tuple[int, int]:
        """Sample sizes in those units, at least 1."""
        return max(1, round(n * self.factors[0])), max(1, round(m * self.factors[1]))


def _gone(reference: State, current: State) -> tuple[Counts, Counts]:
    gone = [s.missing + (s.nan if isinstance(s, NumericState) else 0) for s in (reference, current)]
    return np.array(gone[:1], np.int64), np.array(gone[1:], np.int64)


def _one_value_each(reference: Floats, current: Floats) -> Cells:
    held = rank_tests.runs(reference, current)
    return Cells(*held, np.zeros(len(held[0]), np.bool_))
