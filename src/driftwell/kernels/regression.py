"""Formulas of regression metrics: what each row costs, and the share of variance explained.

Labels and predictions are finite float64 arrays of shape ``(rows,)`` in the unit of the label.
"""

from __future__ import annotations

import numpy as np
import numpy.typing as npt

from driftwell.kernels.classification import Estimate

__all__ = [
    "absolute_errors",
    "percentage_errors",
    "r_squared",
    "squared_errors",
    "squared_log_errors",
    "symmetric_percentage_errors",
]

Floats = npt.NDArray[np.float64]


def absolute_errors(labels: Floats, predictions: Floats) -> Floats:
    """``|label - prediction|`` row by row, in the label's unit.

    Examples
    --------
    >>> absolute_errors(np.array([3.0, 5.0]), np.array([2.5, 7.0]))
    array([0.5, 2. ])
    """
    return np.abs(labels - predictions)


def squared_errors(labels: Floats, predictions: Floats) -> Floats:
    """``(label - prediction)²`` row by row, in the label's unit squared.

    Examples
    --------
    >>> squared_errors(np.array([3.0, 5.0]), np.array([2.5, 7.0]))
    array([0.25, 4.  ])
    """
    return np.square(labels - predictions)


def squared_log_errors(labels: Floats, predictions: Floats) -> Floats:
    """``(ln(1 + label) - ln(1 + prediction))²`` row by row; both must be above -1.

    Examples
    --------
    >>> squared_log_errors(np.array([0.0, 1.0]), np.array([0.0, 3.0])).round(4)
    array([0.    , 0.4805])
    """
    losses: Floats = np.square(np.log1p(labels) - np.log1p(predictions))
    return losses


def percentage_errors(labels: Floats, predictions: Floats) -> Floats:
    """``|label - prediction| / |label|`` row by row, a fraction (0.1 is ten percent); labels must not be 0.

    Examples
    --------
    >>> percentage_errors(np.array([4.0, -5.0]), np.array([3.0, -6.0]))
    array([0.25, 0.2 ])
    """
    losses: Floats = np.abs(labels - predictions) / np.abs(labels)
    return losses


def symmetric_percentage_errors(labels: Floats, predictions: Floats) -> Floats:
    """``2·|label - prediction| / (|label| + |prediction|)`` row by row, in 0…2; 0 where both are 0.

    Examples
    --------
    >>> symmetric_percentage_errors(np.array([0.0, 0.0, 3.0]), np.array([0.0, 1.0, 1.0]))
    array([0., 2., 1.])
    """
    size = np.abs(labels) + np.abs(predictions)
    losses: Floats = 2 * np.abs(labels - predictions) / np.where(size > 0, size, 1.0)
    return losses


def r_squared(labels: Floats, predictions: Floats) -> Estimate | None:
    """Share of the labels' variance that the predictions explain: ``1 - Σ(y - ŷ)² / Σ(y - ȳ)²``; 1 at best.

    Returns
    -------
    Estimate or None
        ``variance`` is that of ``ln(1 - R²)`` (delta method, rows independent, any distribution), None
        where the errors are all zero or do not vary against the labels. None altogether with fewer than two
        rows or labels that are all equal.

    Examples
    --------
    >>> r_squared(np.array([1.0, 2.0, 3.0]), np.array([1.0, 2.0, 2.0])).value
    0.5
    """
    if labels.size < 2 or labels.min() == labels.max():
        return None
    deviation = np.square(labels - labels.mean())
    total = float(deviation.mean())
    errors = squared_errors(labels, predictions)
    left = float(errors.mean())
    if left == 0:
        return Estimate(1.0, None)
    influence = errors / left - deviation / total
    variance = float(np.square(influence).mean()) / (labels.size - 1)
    return Estimate(1 - left / total, variance if variance > 1e-24 else None)
