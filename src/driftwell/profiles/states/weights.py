"""Weights of reference rows: whole numbers of 2**-20, so that weighted counts and sums are exact and order-free."""

from __future__ import annotations

from collections.abc import Sequence
from typing import TYPE_CHECKING, Any, NamedTuple

import numpy as np
import numpy.typing as npt

from driftwell.errors import BadInput, ColumnError, nearest

if TYPE_CHECKING:
    import pyarrow as pa

__all__ = ["ONE", "Units", "Weighting", "read_weights"]

ONE = 2**20
"""Units of weight 1."""

MAX_TOTAL = 2**53  # so that counts and their sums are exact in float64 too
COARSE = 1e-3

Units = npt.NDArray[np.int64]


class Weighting(NamedTuple):
    """What a weighted state knows of its rows beside their units: how many there are, how many of them hold a value,
    and the sum of the squares of all their units. Adds up under merging."""

    rows: int
    present: int
    squares: int

    def plus(self, other: Weighting) -> Weighting:
        """Both together."""
        return Weighting(self.rows + other.rows, self.present + other.present, self.squares + other.squares)

    def per_row(self, total: int) -> float:
        """Units that one effective row has, where all rows together have ``total``."""
        return self.squares / total

    def effective_size(self, total: int) -> int:
        """Kish's effective sample size ``total² / squares`` (Kish, *Survey Sampling*, 1965, section 11.7), rounded."""
        return max(1, (2 * total * total + self.squares) // (2 * self.squares))


def read_weights(table: pa.Table, weights: str | Sequence[float]) -> Units:
    """The weight of each row in units of 2**-20, shape ``(rows,)``, from a column's name or an array.

    Raises
    ------
    ColumnError
        There is no such column.
    BadInput
        A weight is missing, negative or not finite; all are zero; there are more or fewer than rows; or they are so
        small or large that they cannot be counted in units of 2**-20.
    """
    values = _numbers(table, weights)
    if values.shape != (table.num_rows,):
        raise BadInput(f"weights has the shape {values.shape}: give one weight for each of the {table.num_rows:,} rows")
    wrong = ~np.isfinite(values) | (values < 0)
    if wrong.any():
        row = int(wrong.argmax())
        raise BadInput(f"weights must be finite and not negative. Row {row} has {values[row]}")
    total = float(values.sum())
    if total == 0:
        raise BadInput("all weights are zero: at least one row must count")
    if total * ONE >= MAX_TOTAL:
        raise BadInput(f"the weights add up to {total:.3g}, and at most 8.5e9 can be counted: divide them all")
    units = np.rint(values * ONE)
    if np.abs(units - values * ONE).sum() > COARSE * total * ONE:
        raise BadInput(
            f"the weights are too small to be counted in units of 2**-20 (their mean is {total / len(values):.3g}): "
            "multiply them all, so that their mean is about 1"
        )
    return units.astype(np.int64)


def _numbers(table: pa.Table, weights: Any) -> npt.NDArray[np.float64]:
    if isinstance(weights, str):
        if weights not in table.column_names:
            close = nearest(weights, table.column_names)
            hint = f"; did you mean {close!r}?" if close else ""
            raise ColumnError(f"there is no column {weights!r} for weights{hint}")
        weights = table.column(weights).to_numpy()
    try:
        return np.asarray(weights, np.float64)
    except (TypeError, ValueError) as exc:
        raise BadInput("weights is the name of a column of numbers, or an array of one number a row") from exc
