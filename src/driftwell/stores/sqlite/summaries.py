"""Counts and outputs by hour: what totals, hourly lists and counts of a window are made of.

An output is a prediction's score, else its value when that is a number. Infinities and NaN are left out.
"""

from __future__ import annotations

import math
from collections.abc import Iterable, Sequence
from dataclasses import astuple, dataclass
from fractions import Fraction
from typing import Any

import apsw
import numpy as np
import numpy.typing as npt

from driftwell.stores.base import HOUR_US
from driftwell.stores.sqlite.connection import fetch
from driftwell.stores.sqlite.streams import find_streams, first_key

__all__ = [
    "Hour",
    "add_hours",
    "count_window",
    "hourly_outputs",
    "list_models",
    "newest_window",
    "outputs_of",
    "seal_hours",
    "summarise",
    "totals",
]


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


def add_hours(connection: apsw.Connection, stream: int, arrival: int, hours: dict[int, Hour]) -> None:
    """Write the summaries of one batch."""
    rows = ((stream, hour_us, arrival, *astuple(hour)) for hour_us, hour in hours.items())
    connection.executemany("INSERT INTO hourly VALUES (?, ?, ?, ?, ?, ?, ?, ?, ?, ?, ?)", rows)


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


def totals(connection: apsw.Connection, model: str, version: str | None, after_arrival: int) -> dict[str, Any]:
    """The dict of ``PredictionStore.totals``; ``std`` is the sample's (n - 1), None below two values."""
    streams = find_streams(connection, model, version)
    hours = [hour for stream in streams for _, hour in _hours(connection, stream, after_arrival)]
    labels = sum(
        connection.execute(
            "SELECT count(*) FROM predictions INDEXED BY predictions_labelled"
            " WHERE stream = ? AND true_label IS NOT NULL AND key >= ?",
            (stream, first_key(after_arrival + 1)),
        ).get
        for stream in streams
    )
    whole = merge(hours) if hours else None
    return {
        "predictions": whole.n if whole else 0,
        "labels": labels,
        "first_us": whole.first_us if whole else None,
        "last_us": whole.last_us if whole else None,
        "output": _output(whole),
    }


def hourly_outputs(
    connection: apsw.Connection, model: str, version: str | None, hours: int, after_arrival: int
) -> dict[int, tuple[int, float | None]]:
    """``{hour_us: (count, mean output)}`` of the newest hours with data, oldest first."""
    found: dict[int, list[Hour]] = {}
    for stream in find_streams(connection, model, version):
        for hour_us, hour in _hours(connection, stream, after_arrival, newest=hours):
            found.setdefault(hour_us, []).append(hour)
    kept = sorted(found)[-hours:] if hours > 0 else []
    merged = {hour_us: merge(found[hour_us]) for hour_us in kept}
    return {hour_us: (hour.n, _finite(hour.mean)) for hour_us, hour in merged.items()}


def count_window(connection: apsw.Connection, model: str, version: str | None, start_us: int, end_us: int) -> int:
    """Predictions with event time in ``[start, end)``: whole hours from summaries, the rest from an index."""
    streams = find_streams(connection, model, version)
    first, last = -(-start_us // HOUR_US) * HOUR_US, end_us // HOUR_US * HOUR_US
    if first >= last:
        return sum(_count(connection, stream, start_us, end_us) for stream in streams)
    whole = "SELECT coalesce(sum(n), 0) FROM hourly WHERE stream = ? AND hour_us >= ? AND hour_us < ?"
    return sum(
        connection.execute(whole, (stream, first, last)).get
        + _count(connection, stream, start_us, first)
        + _count(connection, stream, last, end_us)
        for stream in streams
    )


def newest_window(
    connection: apsw.Connection, model: str, version: str | None, before_us: int, n: int
) -> tuple[int, int, int]:
    """The half-open span of the newest ``n`` predictions before a moment, and how many lie in it.

    More than ``n`` lie in it when several share the first event time. Without any: ``(before, before, 0)``.
    """
    sql = "SELECT time_us FROM predictions WHERE stream = ? AND time_us < ? ORDER BY time_us DESC LIMIT ?"
    times = sorted(
        time_us
        for stream in find_streams(connection, model, version)
        for (time_us,) in connection.execute(sql, (stream, before_us, max(n, 0)))
    )[-n:]
    if n <= 0 or not times:
        return before_us, before_us, 0
    start_us, end_us = times[0], times[-1] + 1
    return start_us, end_us, count_window(connection, model, version, start_us, end_us)


def list_models(connection: apsw.Connection) -> list[tuple[str, str, int, int]]:
    """``(model, version, predictions, last event time)`` by name."""
    sql = (
        "SELECT s.model, s.version, sum(h.n), max(h.last_us) FROM hourly h JOIN streams s ON s.id = h.stream"
        " GROUP BY h.stream ORDER BY s.model, s.version"
    )
    return fetch(connection, sql)


def seal_hours(connection: apsw.Connection, before_hour_us: int, more_than: int) -> None:
    """Merge the summaries of each hour that has more than ``more_than``, apart on both sides of the mark."""
    crowded = (
        "SELECT h.stream, h.hour_us, coalesce(m.arrival, 0) FROM hourly h JOIN streams s ON s.id = h.stream"
        " LEFT JOIN marks m ON m.model = s.model WHERE h.hour_us < ?"
        " GROUP BY h.stream, h.hour_us, h.first_arrival > coalesce(m.arrival, 0) HAVING count(*) > ?"
    )
    for stream, hour_us, mark in fetch(connection, crowded, (before_hour_us, more_than)):
        for low, high in ((0, mark), (mark, 1 << 62)):
            _seal_hour(connection, stream, hour_us, low, high)


def _seal_hour(connection: apsw.Connection, stream: int, hour_us: int, after: int, up_to: int) -> None:
    sql = "DELETE FROM hourly WHERE stream = ? AND hour_us = ? AND first_arrival > ? AND first_arrival <= ? RETURNING *"
    rows = sorted(fetch(connection, sql, (stream, hour_us, after, up_to)))
    if rows:
        add_hours(connection, stream, rows[0][2], {hour_us: merge(Hour(*row[3:]) for row in rows)})


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


def _hours(
    connection: apsw.Connection, stream: int, after_arrival: int, newest: int = -1
) -> Iterable[tuple[int, Hour]]:
    sql = (
        "SELECT * FROM hourly WHERE stream = ?1 AND first_arrival > ?2 AND hour_us >= (SELECT min(hour_us)"
        " FROM (SELECT DISTINCT hour_us FROM hourly WHERE stream = ?1 AND first_arrival > ?2"
        " ORDER BY hour_us DESC LIMIT ?3))"
    )
    for row in fetch(connection, sql, (stream, after_arrival, newest)):
        yield row[1], Hour(*row[3:])


def _count(connection: apsw.Connection, stream: int, start_us: int, end_us: int) -> int:
    sql = "SELECT count(*) FROM predictions WHERE stream = ? AND time_us >= ? AND time_us < ?"
    return int(connection.execute(sql, (stream, start_us, end_us)).get)


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
