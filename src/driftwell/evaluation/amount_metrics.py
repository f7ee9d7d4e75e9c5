"""Metrics of labels and predictions that are amounts."""

from __future__ import annotations

import math
from collections.abc import Callable
from dataclasses import replace

import numpy as np
import numpy.typing as npt

from driftwell.evaluation.found import Found, mean, undefined
from driftwell.evaluation.intervals import log_scale_interval
from driftwell.kernels import regression as kernels

__all__ = ["REGRESSION", "AmountMetric"]

Floats = npt.NDArray[np.float64]
AmountMetric = Callable[[Floats, Floats, float], Found]


def _mae(labels: Floats, predictions: Floats, level: float) -> Found:
    return mean(kernels.absolute_errors(labels, predictions), level)


def _mse(labels: Floats, predictions: Floats, level: float) -> Found:
    return mean(kernels.squared_errors(labels, predictions), level)


def _rmse(labels: Floats, predictions: Floats, level: float) -> Found:
    return _root(_mse(labels, predictions, level))


def _rmsle(labels: Floats, predictions: Floats, level: float) -> Found:
    if min(labels.min(), predictions.min()) <= -1:
        return undefined("labels or predictions at or below -1 have no logarithm here")
    return _root(mean(kernels.squared_log_errors(labels, predictions), level))


def _mape(labels: Floats, predictions: Floats, level: float) -> Found:
    usable = labels != 0
    zeros = int(labels.size - usable.sum())
    if zeros == labels.size:
        return undefined("every label is 0")
    found = mean(kernels.percentage_errors(labels[usable], predictions[usable]), level)
    if not zeros:
        return found
    note = f"leaves out {zeros} of {labels.size} rows, whose label is 0"
    return replace(found, reason="; ".join(filter(None, (note, found.reason))), n=labels.size - zeros)


def _smape(labels: Floats, predictions: Floats, level: float) -> Found:
    return mean(kernels.symmetric_percentage_errors(labels, predictions), level, highest=2.0)


def _r2(labels: Floats, predictions: Floats, level: float) -> Found:
    if labels.size < 2:
        return undefined("fewer than two labelled rows")
    estimate = kernels.r_squared(labels, predictions)
    if estimate is None:
        return undefined("all labels are equal")
    if estimate.variance is None:
        return Found(estimate.value, None, "no interval: the errors do not vary against the labels")
    low, high = log_scale_interval(1 - estimate.value, estimate.variance, level)
    return Found(estimate.value, (1 - high, 1 - low))


def _root(found: Found) -> Found:
    """The square root of a mean and of its limits (the delta method, without leaving 0…∞)."""
    assert found.value is not None
    limits = found.limits and (math.sqrt(found.limits[0]), math.sqrt(found.limits[1]))
    return replace(found, value=math.sqrt(found.value), limits=limits)


REGRESSION: dict[str, AmountMetric] = {
    "mae": _mae,
    "mse": _mse,
    "rmse": _rmse,
    "rmsle": _rmsle,
    "mape": _mape,
    "smape": _smape,
    "r2": _r2,
}
