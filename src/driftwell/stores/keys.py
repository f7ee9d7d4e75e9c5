"""The key of a prediction: the arrival number of its batch and its row within, so that the key alone finds it."""

from __future__ import annotations

from typing import TypeVar

import numpy as np
import numpy.typing as npt

__all__ = ["MOST_ROWS", "arrival_of", "first_key", "row_of"]

ROW_BITS = 24
"""Bits of a key that number the row within its batch; the bits above are the arrival number."""
MOST_ROWS = 1 << ROW_BITS
"""Rows that one batch can hold."""

_Keys = TypeVar("_Keys", int, npt.NDArray[np.int64])


def first_key(arrival: int) -> int:
    """The key of the first row of the batch with this arrival number.

    >>> first_key(2) == 2 * 2**24
    True
    """
    return arrival << ROW_BITS


def arrival_of(key: _Keys) -> _Keys:
    """The arrival number of the batch.

    >>> arrival_of(first_key(2) + 5)
    2
    """
    return key >> ROW_BITS


def row_of(key: _Keys) -> _Keys:
    """The row within the batch, from 0.

    >>> row_of(first_key(2) + 5)
    5
    """
    return key & (MOST_ROWS - 1)
