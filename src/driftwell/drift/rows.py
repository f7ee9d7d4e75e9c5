"""The rows of both sides, kept by reference so that any method can ask for a column's sorted values later."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from functools import partial
from typing import TYPE_CHECKING

import numpy as np
import numpy.typing as npt

from driftwell.frame import Frame, NumericColumn
from driftwell.profiles.reference.outputs import output_table
from driftwell.profiles.states.numeric import sorted_values

if TYPE_CHECKING:
    import pyarrow as pa

    from driftwell.profiles.reference import Reference

__all__ = ["Rows", "has_column", "ordered"]

Floats = npt.NDArray[np.float64]


@dataclass(frozen=True, eq=False)
class Rows:
    """Two Arrow tables with the names of the reference; ``reference`` is None where no rows of it were kept, and
    ``sampled`` where not all were."""

    reference: pa.Table | None
    current: pa.Table
    sampled: bool = False

    @staticmethod
    def beside(reference: Reference, current: pa.Table) -> Rows:
        """Current rows beside the row sample of a reference, which may hold all of its rows; rows that have weights
        stand for no sample."""
        sample = None if reference.in_rows is not reference else reference.sample
        return Rows(sample, current, sampled=sample is None or sample.num_rows < reference.n_rows)

    def outputs(self, reference: Reference) -> Rows | None:
        """The same rows with the model's answers under the names of their roles; None where one side lacks them."""
        if self.reference is None:
            return None
        before, after = (output_table(side, reference) for side in (self.reference, self.current))
        return Rows(before, after, self.sampled)

    def of(self, name: str) -> Callable[[], tuple[Floats, Floats]] | None:
        """A function that gives ``numbers`` of a column, None where one side has no rows of it."""
        known = all(side is not None and has_column(side, name) for side in (self.reference, self.current))
        return partial(self.numbers, name) if known else None

    def numbers(self, name: str) -> tuple[Floats, Floats]:
        """The values of a numeric column on both sides in order: infinities kept, missing and NaN dropped.

        Cost: one sort a side, at every call.
        """
        reference, current = (ordered(side, name) for side in (self.reference, self.current))
        return reference, current


def has_column(table: pa.Table, name: str) -> bool:
    """Whether a table has this column; asking its list of names would make that list anew each time."""
    return bool(table.schema.get_field_index(name) >= 0)


def ordered(table: pa.Table, name: str) -> Floats:
    """The sorted numbers of one column, NaN dropped."""
    column = Frame.of(table.select([name]), kinds={name: "numeric"}).columns[name]
    if not isinstance(column, NumericColumn):
        return np.empty(0)
    values = sorted_values(column)
    return values[: int(np.searchsorted(values, np.nan, "left"))]
