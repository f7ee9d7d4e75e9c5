"""Rows on a scale on which squares and distances keep their digits."""

from __future__ import annotations

import math
from dataclasses import dataclass

import numpy as np
import numpy.typing as npt

__all__ = ["Scale", "scale_of", "standardised"]

Floats = npt.NDArray[np.float64]

_CENTRE_ROWS = 1_000  # enough to find the middle; where exactly it lies changes no distance


@dataclass(frozen=True, slots=True)
class Scale:
    """Moves rows near zero and divides them by a power of two, ``unit``: exact, and no square of a difference
    overflows or vanishes."""

    half_centre: Floats
    exponent: int

    @property
    def unit(self) -> float:
        """What one scaled unit is in the unit of the rows."""
        return math.ldexp(2.0, self.exponent)

    def of(self, rows: Floats) -> Floats:
        """The rows on this scale."""
        scaled = rows / 2  # the difference of two finite floats may not be finite, that of their halves is
        scaled -= self.half_centre
        return np.asarray(np.ldexp(scaled, -self.exponent, out=scaled), np.float64)


def scale_of(rows: Floats) -> Scale:
    """The scale that takes these rows into -1 … 1, with a median of each column near zero. Makes no copy of them."""
    centre = np.median(rows[:: max(1, len(rows) // _CENTRE_ROWS)] / 2, axis=0)
    largest = float(max((rows.max(axis=0) / 2 - centre).max(), (centre - rows.min(axis=0) / 2).max()))
    return Scale(centre, min(math.frexp(largest)[1], 1022) if largest else -1)


def standardised(matrix: Floats) -> Floats:
    """Columns shifted to mean 0 and scaled to standard deviation 1; a constant column becomes 0."""
    # Dividing by a power of two first is exact and keeps sums and squares of huge and tiny values finite.
    low, high = matrix.min(axis=0), matrix.max(axis=0)
    out = np.ldexp(matrix, -np.frexp(np.maximum(-low, high))[1])
    out -= out.mean(axis=0)
    spread = np.sqrt(np.einsum("ij,ij->j", out, out) / len(out))
    constant = (low == high) | (spread == 0)
    out /= np.where(constant, 1.0, spread)
    out[:, constant] = 0.0
    return np.asarray(out, np.float64)
