"""Counts and outputs by hour: what totals, hourly lists and counts of a window are made of.

An output is a prediction's score, else its value when that is a number. Infinities and NaN are left out.
"""

from __future__ import annotations

import math
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from fractions import Fraction
from typing import Any

import numpy as np
import numpy.typing as npt

from driftwell.stores.base import HOUR_US

__all__ = ["Hour", "hourly_of", "merge", "outputs_of", "summarise", "totals_of", "whole_hours"]


@dataclass(frozen=True, slots=True)
class Hour:
    """What happened in one hour: rows, first and last event time, and the moments of the outputs.

    ``mean``, ``m2`` (sum of squared deviations), ``low`` and ``high`` are None without any output.
    """

    n: int
    first_us: int
    last_us: int
    output_n: int
    mean: float | None
    m2: float | None
    low: float | None
    high: float | None


def outputs_of(scores: Sequence[float | None], predictions: Sequence[str | None]) -> npt.NDArray[np.float64]:
    """The output of each row, NaN where there is none; ``predictions`` are JSON texts.

    >>> outputs_of([0.5, None, None], ["1", "2", '"late"']).tolist()
    [0.5, 2.0, nan]
    """
    pairs = zip(scores, predictions, strict=True)
    values = [_number(text) if score is None else score for score, text in pairs]
    outputs = np.array(values, dtype=np.float64)
    return np.where(np.isfinite(outputs), outputs, np.nan)


def summarise(times_us: npt.NDArray[np.int64], outputs: npt.NDArray[np.float64]) -> dict[int, Hour]:
    """``{hour_us: Hour}`` of rows with these event times and outputs."""
    if not len(times_us):
        return {}
    order = np.argsort(times_us, kind="stable")
    times, outputs = times_us[order], outputs[order]
    hours, starts = np.unique(times // HOUR_US, return_index=True)
    ends = [*starts[1:].tolist(), len(times)]
    return {
        hour * HOUR_US: _one_hour(times[start:end], outputs[start:end])
        for hour, start, end in zip(hours.tolist(), starts.tolist(), ends, strict=True)
    }


def merge(hours: Iterable[Hour]) -> Hour:
    """One summary of all: the mean of the means is rounded once, deviations are by Chan's formula."""
    hours = list(hours)
    parts = [h for h in hours if h.output_n]
    n = sum(h.output_n for h in parts)
    mean = _mean([(h.output_n, h.mean or 0.0) for h in parts]) if n else None
    m2 = None
    if mean is not None:
        m2 = sum((h.m2 or 0.0) + h.output_n * _square((h.mean or 0.0) - mean) for h in parts)
    return Hour(
        n=sum(h.n for h in hours),
        first_us=min(h.first_us for h in hours),
        last_us=max(h.last_us for h in hours),
        output_n=n,
        mean=mean,
        m2=m2,
        low=min((h.low for h in parts if h.low is not None), default=None),
        high=max((h.high for h in parts if h.high is not None), default=None),
    )


def totals_of(hours: Iterable[Hour], labels: int) -> dict[str, Any]:
    """The dict of ``PredictionStore.totals``; ``std`` is the sample's (n - 1), None below two values."""
    hours = list(hours)
    whole = merge(hours) if hours else None
    return {
        "predictions": whole.n if whole else 0,
        "labels": labels,
        "first_us": whole.first_us if whole else None,
        "last_us": whole.last_us if whole else None,
        "output": _output(whole),
    }


def hourly_of(hours: Mapping[int, Iterable[Hour]], newest: int) -> dict[int, tuple[int, float | None]]:
    """``{hour_us: (count, mean output)}`` of the newest hours, oldest first."""
    kept = sorted(hours)[-newest:] if newest > 0 else []
    merged = {hour_us: merge(hours[hour_us]) for hour_us in kept}
    return {hour_us: (hour.n, _finite(hour.mean)) for hour_us, hour in merged.items()}


def whole_hours(start_us: int, end_us: int) -> tuple[int, int]:
    """The span of the whole hours within ``[start, end)``; its end is not after its start where there is none.

    >>> whole_hours(1, 2 * HOUR_US + 5) == (HOUR_US, 2 * HOUR_US)
    True
    """
    return -(-start_us // HOUR_US) * HOUR_US, end_us // HOUR_US * HOUR_US


def _number(text: str | None) -> float:
    try:
        return float(text) if text and text[0] in "-0123456789" else math.nan
    except ValueError:
        return math.nan


def _mean(parts: Sequence[tuple[int, float]]) -> float:
    """The mean of means with their counts, correctly rounded."""
    if not all(math.isfinite(mean) for _, mean in parts):
        return sum(mean for _, mean in parts)
    return float(sum((n * Fraction(mean) for n, mean in parts), Fraction()) / sum(n for n, _ in parts))


def _square(x: float) -> float:
    return x * x  # ** raises where this overflows to infinity


def _one_hour(times: npt.NDArray[np.int64], outputs: npt.NDArray[np.float64]) -> Hour:
    known = outputs[~np.isnan(outputs)]
    span = (len(times), int(times[0]), int(times[-1]), len(known))
    if not len(known):
        return Hour(*span, None, None, None, None)
    with np.errstate(over="ignore", invalid="ignore"):
        mean = float(known.mean())
        m2 = float(((known - mean) ** 2).sum())
    return Hour(*span, mean, m2, float(known.min()), float(known.max()))


def _output(hour: Hour | None) -> dict[str, Any]:
    if hour is None or not hour.output_n:
        return {"n": 0, "mean": None, "std": None, "min": None, "max": None}
    std = math.sqrt((hour.m2 or 0.0) / (hour.output_n - 1)) if hour.output_n > 1 else None
    return {
        "n": hour.output_n,
        "mean": _finite(hour.mean),
        "std": _finite(std),
        "min": hour.low,
        "max": hour.high,
    }


def _finite(x: float | None) -> float | None:
    return x if x is not None and math.isfinite(x) else None
