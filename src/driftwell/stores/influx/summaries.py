"""Counts and outputs, computed by the server from ``model_predictions``."""

from __future__ import annotations

from typing import Any

from driftwell.stores.influx.client import Client
from driftwell.stores.influx.lines import FIRST_US, LAST_US, untag, where
from driftwell.stores.influx.points import PREDICTIONS, Stream, window
from driftwell.stores.influx.retention import Horizon, horizon_of

__all__ = ["count_window", "hourly_outputs", "list_models", "newest_window", "totals"]

_MOMENTS = ("n", "mean", "std", "min", "max")


def count_window(client: Client, stream: Stream, start_us: int, end_us: int) -> int:
    """Predictions with event time in ``[start, end)``."""
    conditions = [*stream.conditions, *window(start_us, end_us), *horizon_of(client).of_predictions]
    return _first(client, f"SELECT count(prediction_id) FROM {PREDICTIONS}{where(conditions)}") or 0  # noqa: S608


def newest_window(client: Client, stream: Stream, before_us: int, n: int) -> tuple[int, int, int]:
    """The half-open span of the newest ``n`` predictions before a moment, and how many lie in it."""
    conditions = [*stream.conditions, *window(FIRST_US, before_us), *horizon_of(client).of_predictions]
    sql = f"SELECT prediction_id FROM {PREDICTIONS}{where(conditions)} ORDER BY time DESC LIMIT {max(n, 0)}"  # noqa: S608
    times = [row[0] // 1000 for series in (client.query(sql) if n > 0 else ()) for row in series.values]
    if not times:
        return before_us, before_us, 0
    start_us, end_us = min(times), max(times) + 1
    return start_us, end_us, count_window(client, stream, start_us, end_us)


def totals(client: Client, stream: Stream, after_arrival: int) -> dict[str, Any]:
    """The dict of ``PredictionStore.totals``; ``std`` is the sample's (n - 1), None below two values."""
    conditions = where(_conditions(stream, after_arrival, horizon_of(client)))
    aggregates = (
        "count(prediction_id) AS predictions, count(true_label) AS labels, count(output) AS n,"
        " mean(output) AS mean, stddev(output) AS std, min(output) AS min, max(output) AS max"
    )
    parts = (aggregates, "first(prediction_id)", "last(prediction_id)")
    answers = client.ask("; ".join(f"SELECT {part} FROM {PREDICTIONS}{conditions}" for part in parts))  # noqa: S608
    found = {series.statement: dict(zip(series.columns, series.values[0], strict=True)) for series in answers}
    moments = found.get(0, {})
    n = moments.get("n") or 0
    std = moments.get("std") if n > 1 else None
    return {
        "predictions": moments.get("predictions") or 0,
        "labels": moments.get("labels") or 0,
        "first_us": found[1]["time"] // 1000 if 1 in found else None,
        "last_us": found[2]["time"] // 1000 if 2 in found else None,
        "output": {name: moments.get(name) for name in _MOMENTS} | {"n": n, "std": std},
    }


def hourly_outputs(
    client: Client, stream: Stream, hours: int, after_arrival: int
) -> dict[int, tuple[int, float | None]]:
    """``{hour_us: (count, mean output)}`` of the newest hours with data, oldest first."""
    if hours <= 0:
        return {}
    conditions = where([*_conditions(stream, after_arrival, horizon_of(client)), *window(FIRST_US, LAST_US)])
    sql = f"SELECT count(prediction_id), mean(output) FROM {PREDICTIONS}{conditions}"  # noqa: S608
    newest = client.ask(f"{sql} GROUP BY time(1h) fill(none) ORDER BY time DESC LIMIT {hours}")
    found = {row[0] // 1000: (row[1], row[2]) for series in newest for row in series.values}
    return dict(sorted(found.items()))


def list_models(client: Client) -> list[tuple[str, str, int, int]]:
    """``(model, version, predictions, last event time)`` by name."""
    conditions = where(horizon_of(client).of_predictions)
    parts = (f"SELECT {what}(prediction_id) FROM {PREDICTIONS}{conditions}" for what in ("count", "last"))  # noqa: S608
    found: dict[tuple[str, str], dict[int, list[Any]]] = {}
    for series in client.query("; ".join(f"{part} GROUP BY model, version" for part in parts)):
        name = (untag(series.tags["model"]), untag(series.tags["version"]))
        found.setdefault(name, {})[series.statement] = series.values[0]
    return [(*name, f[0][1], f[1][0] // 1000) for name, f in sorted(found.items()) if len(f) == 2]


def _conditions(stream: Stream, after_arrival: int, horizon: Horizon) -> list[str]:
    after = [f"arrival > {after_arrival}"] if after_arrival > 0 else []
    return [*stream.conditions, *horizon.of_predictions, *after]


def _first(client: Client, sql: str) -> Any:
    return next((series.values[0][1] for series in client.ask(sql)), None)
