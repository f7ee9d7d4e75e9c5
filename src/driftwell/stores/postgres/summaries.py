"""Counts and outputs by hour, as they are stored."""

from __future__ import annotations

import math
from collections.abc import Iterable
from dataclasses import astuple
from typing import Any

from driftwell.stores.keys import first_key
from driftwell.stores.postgres.connection import Connection, Database, fetch, fetch_value
from driftwell.stores.postgres.streams import find_streams, lock_leaves
from driftwell.stores.summaries import Hour, hourly_of, merge, totals_of, whole_hours

__all__ = ["add_hours", "count_window", "hourly_outputs", "list_models", "newest_window", "seal_hours", "totals"]

_COLUMNS = (
    "stream, hour_us, first_arrival, n, first_us, last_us, output_n, output_mean, output_m2, output_min, output_max"
)


def add_hours(connection: Connection, stream: int, arrival: int, hours: dict[int, Hour]) -> None:
    """Write the summaries of one batch."""
    sql = f"INSERT INTO hourly ({_COLUMNS}) VALUES ({', '.join(['%s'] * 11)})"  # noqa: S608 - names of our own
    rows = [(stream, hour_us, arrival, *map(_without_nan, astuple(hour))) for hour_us, hour in hours.items()]
    with connection.cursor() as cursor:
        cursor.executemany(sql, rows)


def totals(connection: Connection, model: str, version: str | None, after_arrival: int) -> dict[str, Any]:
    """See ``PredictionStore.totals``."""
    streams = find_streams(connection, model, version)
    hours = [hour for stream in streams for _, hour in _hours(connection, stream, after_arrival)]
    return totals_of(hours, _count_labels(connection, list(streams), after_arrival))


def hourly_outputs(
    connection: Connection, model: str, version: str | None, hours: int, after_arrival: int
) -> dict[int, tuple[int, float | None]]:
    """``{hour_us: (count, mean output)}`` of the newest hours with data, oldest first."""
    found: dict[int, list[Hour]] = {}
    for stream in find_streams(connection, model, version) if hours > 0 else ():
        for hour_us, hour in _hours(connection, stream, after_arrival, newest=hours):
            found.setdefault(hour_us, []).append(hour)
    return hourly_of(found, hours)


def count_window(connection: Connection, model: str, version: str | None, start_us: int, end_us: int) -> int:
    """Predictions with event time in ``[start, end)``: whole hours from summaries, the rest from an index."""
    streams = list(find_streams(connection, model, version))
    first, last = whole_hours(start_us, end_us)
    if first >= last:
        return _count(connection, streams, start_us, end_us)
    whole = "SELECT coalesce(sum(n), 0)::bigint FROM hourly WHERE stream = ANY(%s) AND hour_us >= %s AND hour_us < %s"
    cut = _count(connection, streams, start_us, first) + _count(connection, streams, last, end_us)
    return int(fetch_value(connection, whole, (streams, first, last))) + cut


def newest_window(
    connection: Connection, model: str, version: str | None, before_us: int, n: int
) -> tuple[int, int, int]:
    """The half-open span of the newest ``n`` predictions before a moment, and how many lie in it.

    More than ``n`` lie in it when several share the first event time. Without any: ``(before, before, 0)``.
    """
    sql = "SELECT time_us FROM predictions WHERE stream = %s AND time_us < %s ORDER BY time_us DESC LIMIT %s"
    times = sorted(
        time_us
        for stream in find_streams(connection, model, version)
        for (time_us,) in fetch(connection, sql, (stream, before_us, max(n, 0)))
    )[-n:]
    if n <= 0 or not times:
        return before_us, before_us, 0
    start_us, end_us = times[0], times[-1] + 1
    return start_us, end_us, count_window(connection, model, version, start_us, end_us)


def list_models(connection: Connection) -> list[tuple[str, str, int, int]]:
    """``(model, version, predictions, last event time)`` by name."""
    sql = (
        "SELECT s.model, s.version, sum(h.n)::bigint, max(h.last_us) FROM hourly h JOIN streams s ON s.id = h.stream"
        " GROUP BY s.id"
    )
    return sorted((str(model), str(version), int(n), int(last)) for model, version, n, last in fetch(connection, sql))


def seal_hours(database: Database, before_hour_us: int, more_than: int) -> None:
    """Merge the summaries of each hour that has more than ``more_than``, apart on both sides of the mark."""
    crowded = (
        "SELECT h.stream, h.hour_us, coalesce(m.arrival, 0) FROM hourly h JOIN streams s ON s.id = h.stream"
        " LEFT JOIN marks m ON m.model = s.model WHERE h.hour_us < %s"
        " GROUP BY h.stream, h.hour_us, m.arrival, h.first_arrival > coalesce(m.arrival, 0) HAVING count(*) > %s"
    )
    with database.read() as connection:
        found = fetch(connection, crowded, (before_hour_us, more_than))
    for stream, hour_us, mark in found:
        with database.write() as connection:
            lock_leaves(connection, stream)
            for low, high in ((0, mark), (mark, 1 << 62)):
                _seal_hour(connection, stream, hour_us, low, high)


def _seal_hour(connection: Connection, stream: int, hour_us: int, after: int, up_to: int) -> None:
    sql = (
        "DELETE FROM hourly WHERE stream = %s AND hour_us = %s AND first_arrival > %s AND first_arrival <= %s"  # noqa: S608
        f" RETURNING {_COLUMNS}"
    )
    rows = sorted(fetch(connection, sql, (stream, hour_us, after, up_to)))
    if rows:
        add_hours(connection, stream, rows[0][2], {hour_us: merge(Hour(*row[3:]) for row in rows)})


def _hours(
    connection: Connection, stream: int, after_arrival: int, newest: int | None = None
) -> Iterable[tuple[int, Hour]]:
    sql = (
        f"SELECT {_COLUMNS} FROM hourly"  # noqa: S608 - names of our own
        " WHERE stream = %(stream)s AND first_arrival > %(after)s AND hour_us >= ("
        "SELECT min(hour_us) FROM (SELECT DISTINCT hour_us FROM hourly WHERE stream = %(stream)s"
        " AND first_arrival > %(after)s ORDER BY hour_us DESC LIMIT %(newest)s) AS newest)"
    )
    for row in fetch(connection, sql, {"stream": stream, "after": after_arrival, "newest": newest}):
        yield row[1], Hour(*row[3:])


def _count_labels(connection: Connection, streams: list[int], after_arrival: int) -> int:
    if after_arrival <= 0:
        counted = "SELECT coalesce(sum(labels), 0)::bigint FROM streams WHERE id = ANY(%s)"
        return int(fetch_value(connection, counted, (streams,)))
    sql = "SELECT count(*) FROM labels WHERE stream = ANY(%s) AND key >= %s"
    return int(fetch_value(connection, sql, (streams, first_key(after_arrival + 1))))


def _count(connection: Connection, streams: list[int], start_us: int, end_us: int) -> int:
    if start_us >= end_us:
        return 0
    sql = "SELECT count(*) FROM predictions WHERE stream = ANY(%s) AND time_us >= %s AND time_us < %s"
    return int(fetch_value(connection, sql, (streams, start_us, end_us)))


def _without_nan(value: Any) -> Any:
    return None if isinstance(value, float) and math.isnan(value) else value
