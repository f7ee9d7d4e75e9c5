"""The rows of both sides, kept by reference so that any method can ask for a column's sorted values later."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from functools import partial
from typing import TYPE_CHECKING

import numpy as np
import numpy.typing as npt

from driftwell.frame import Frame, NumericColumn
from driftwell.profiles.numeric import sorted_values

if TYPE_CHECKING:
    import pyarrow as pa

__all__ = ["Rows"]

Floats = npt.NDArray[np.float64]


@dataclass(frozen=True, eq=False)
class Rows:
    """Two Arrow tables with the names of the reference; ``reference`` may be a sample, or None where none was kept."""

    reference: pa.Table | None
    current: pa.Table

    def of(self, name: str) -> Callable[[], tuple[Floats, Floats]] | None:
        """A function that gives ``numbers`` of a column, None where one side has no rows of it."""
        return partial(self.numbers, name) if self.reference is not None else None

    def numbers(self, name: str) -> tuple[Floats, Floats]:
        """The values of a numeric column on both sides in order: infinities kept, missing and NaN dropped.

        Cost: one sort a side, at every call.
        """
        reference, current = (_ordered(side, name) for side in (self.reference, self.current))
        return reference, current


def _ordered(table: pa.Table, name: str) -> Floats:
    column = Frame.of(table.select([name]), kinds={name: "numeric"}).columns[name]
    if not isinstance(column, NumericColumn):
        return np.empty(0)
    values = sorted_values(column)
    return values[: int(np.searchsorted(values, np.nan, "left"))]
