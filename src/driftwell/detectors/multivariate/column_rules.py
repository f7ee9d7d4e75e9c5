"""One input column, both samples of it, becomes columns of a matrix: a rule for each kind."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import numpy as np
import numpy.typing as npt

from driftwell.detectors.multivariate.scaling import scale_of, standardised
from driftwell.frame import NumericColumn

__all__ = ["ENCODERS", "MAX_CATEGORIES", "numbers"]

Floats = npt.NDArray[np.float64]

MAX_CATEGORIES = 20
"""Categories with a column of their own; the rarer ones share one."""


def numbers(values: Floats, *, standardise: bool) -> Floats:
    """One column, or two where cells are not finite: the values with the median in the gaps, and the gaps."""
    gaps = ~np.isfinite(values)
    if gaps.any():
        values = np.where(gaps, 0.0 if gaps.all() else np.median(values[~gaps]), values)
    column = values[:, None]
    if standardise:
        column = standardised(column)
    return np.hstack([column, gaps[:, None].astype(np.float64)]) if gaps.any() else column


def _one_hot(old: Any, new: Any) -> Floats:
    """A 0/1 column for each of the 20 most frequent categories, one for all others, one for missing where there is any.

    Two rows of different categories are then as far apart as two rows of a standardised number are on average.
    """
    names = list(dict.fromkeys([*old.categories, *new.categories]))
    place = {name: i for i, name in enumerate(names)}
    # Code -1, missing, picks the last entry of the lookup.
    codes = np.concatenate([np.array([*(place[c] for c in side.categories), -1])[side.codes] for side in (old, new)])
    counts = np.bincount(codes[codes >= 0], minlength=len(names))
    frequent = sorted(range(len(names)), key=lambda i: (-counts[i], names[i]))[:MAX_CATEGORIES]
    slot = np.full(len(names) + 1, len(frequent))
    slot[frequent] = np.arange(len(frequent))
    slot[-1] = len(frequent) + 1
    matrix: Floats = np.eye(len(frequent) + 2)[slot[codes]]
    return matrix[:, matrix.any(axis=0)]


def _vectors(old: Any, new: Any) -> Floats:
    """The elements, shifted to mean 0 and divided by one number, so that two rows are as far apart as two rows of a
    standardised number are on average; a missing vector is the median of each element, and marked."""
    gaps = np.concatenate([old.missing, new.missing])
    held = [side.values for side in (old, new) if len(side.values)]
    if not held:
        return gaps[:, None].astype(np.float64)
    known = np.concatenate(held).astype(np.float64)
    rows = np.empty((len(gaps), known.shape[1]))
    rows[~gaps], rows[gaps] = known, np.median(known, axis=0)
    rows = scale_of(rows).of(rows)
    rows -= rows.mean(axis=0)
    spread = np.sqrt(np.einsum("ij,ij->", rows, rows) / len(rows))
    rows /= spread or 1.0
    return np.hstack([rows, gaps[:, None].astype(np.float64)]) if gaps.any() else rows


def _filled(column: NumericColumn) -> Floats:
    return column.values if column.missing is None else np.where(column.missing, np.nan, column.values)


ENCODERS: dict[str, Callable[[Any, Any], Floats]] = {
    "numeric": lambda old, new: numbers(np.concatenate([_filled(old), _filled(new)]), standardise=True),
    "categorical": _one_hot,
    "boolean": _one_hot,
    "vector": _vectors,
}
"""By kind, what turns the reference's and the current column into a matrix; other kinds are left out."""
