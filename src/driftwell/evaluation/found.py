"""What a metric's computation found, and the two commonest ways to find it: a proportion and a mean."""

from __future__ import annotations

import math
from dataclasses import dataclass

import numpy as np
import numpy.typing as npt

from driftwell.evaluation.intervals import Interval, mean_interval, wilson_interval
from driftwell.results import MetricValue

__all__ = ["Found", "mean", "proportion", "undefined"]


_NO_SPREAD = "no interval: the spread of the losses is zero or too large"


@dataclass(frozen=True, slots=True)
class Found:
    """A value with its interval; ``reason`` says why one of them is missing, or what the value leaves out.

    ``n`` is the number of rows behind the value where it differs from the rows offered.
    """

    value: float | None
    limits: Interval | None = None
    reason: str | None = None
    n: int | None = None

    def named(self, name: str, n: int) -> MetricValue:
        """As a result of metric ``name`` from ``n`` rows; what overflowed has no value."""
        n = n if self.n is None else self.n
        if self.value is None:
            return MetricValue(name, None, None, None, n, self.reason)
        if not math.isfinite(self.value):
            return MetricValue(name, None, None, None, n, "the numbers are too large for this metric")
        low, high = self.limits if self.limits and all(map(math.isfinite, self.limits)) else (None, None)
        return MetricValue(name, self.value, low, high, n, self.reason)


def undefined(reason: str) -> Found:
    """No value, and why."""
    return Found(None, None, reason)


def proportion(hits: int, n: int, level: float, nothing: str) -> Found:
    """A share of ``n`` rows with Wilson's interval; undefined for the reason ``nothing`` where n is 0."""
    return Found(hits / n, wilson_interval(hits, n, level)) if n else undefined(nothing)


def mean(losses: npt.NDArray[np.float64], level: float, highest: float = math.inf) -> Found:
    """A mean loss with the interval of the central limit theorem; without one where every loss is the
    same."""
    limits = mean_interval(losses, level, highest=highest)
    return Found(float(losses.mean()), limits, None if limits else _NO_SPREAD)
