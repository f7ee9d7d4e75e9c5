"""Counts and outputs by hour, as they are stored."""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import astuple
from typing import Any

import apsw

from driftwell.stores.keys import first_key
from driftwell.stores.sqlite.connection import fetch
from driftwell.stores.sqlite.streams import find_streams
from driftwell.stores.summaries import Hour, hourly_of, merge, totals_of, whole_hours

__all__ = ["add_hours", "count_window", "hourly_outputs", "list_models", "newest_window", "seal_hours", "totals"]


def add_hours(connection: apsw.Connection, stream: int, arrival: int, hours: dict[int, Hour]) -> None:
    """Write the summaries of one batch."""
    rows = ((stream, hour_us, arrival, *astuple(hour)) for hour_us, hour in hours.items())
    connection.executemany("INSERT INTO hourly VALUES (?, ?, ?, ?, ?, ?, ?, ?, ?, ?, ?)", rows)


def totals(connection: apsw.Connection, model: str, version: str | None, after_arrival: int) -> dict[str, Any]:
    """See ``PredictionStore.totals``."""
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
    return totals_of(hours, labels)


def hourly_outputs(
    connection: apsw.Connection, model: str, version: str | None, hours: int, after_arrival: int
) -> dict[int, tuple[int, float | None]]:
    """``{hour_us: (count, mean output)}`` of the newest hours with data, oldest first."""
    found: dict[int, list[Hour]] = {}
    for stream in find_streams(connection, model, version):
        for hour_us, hour in _hours(connection, stream, after_arrival, newest=hours):
            found.setdefault(hour_us, []).append(hour)
    return hourly_of(found, hours)


def count_window(connection: apsw.Connection, model: str, version: str | None, start_us: int, end_us: int) -> int:
    """Predictions with event time in ``[start, end)``: whole hours from summaries, the rest from an index."""
    streams = find_streams(connection, model, version)
    first, last = whole_hours(start_us, end_us)
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
