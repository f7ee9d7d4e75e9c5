"""How a model is doing, in one word, and the small facts every page starts from."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

from driftwell.reports.monitoring import window_of
from driftwell.reports.words import axis_labels, parse_time
from driftwell.stores.base import HOUR_US

__all__ = [
    "RANKS",
    "TRAFFIC_HOURS",
    "Check",
    "is_firing",
    "is_stale",
    "model_status",
    "newest_versions",
    "traffic_points",
]

Check = Mapping[str, Any]

RANKS = ("critical", "error", "warning", "no_data", "learning", "ok")
"""Statuses from the one to look at first to the one to look at last."""

ALERT_STATUS = {"critical": "critical", "warning": "warning"}
TRAFFIC_HOURS = 168


def newest_versions(models: Sequence[tuple[str, str, int, int]]) -> dict[str, tuple[str, int, int]]:
    """``{model: (version, predictions, last event time)}`` of the version with the newest prediction."""
    found: dict[str, tuple[str, int, int]] = {}
    for name, version, n, last_us in models:
        if name not in found or last_us > found[name][2]:
            found[name] = (version, n, last_us)
    return found


def model_status(newest: Check, firing: Sequence[Mapping[str, Any]] = ()) -> tuple[str, str]:
    """The worst of the newest check and the firing alerts, and why; ``learning`` before there is a verdict."""
    found = str(newest.get("status") or "learning")
    if found not in RANKS:
        found = "no_data"
    why = str(newest.get("reason") or "") if found in ("no_data", "error") else ""
    if not newest:
        why = "no check has run yet"
    elif found == "no_data" and newest.get("reference_id") is None:
        found, why = "learning", "no reference yet"
    for alert in firing:
        level = ALERT_STATUS.get(str(alert.get("severity")))
        if level and RANKS.index(level) < RANKS.index(found):
            found, why = level, f"alert {alert.get('rule')} is firing"
    return found, why


def is_firing(alert: Mapping[str, Any], version: str) -> bool:
    """Whether an alert of the model is firing for this version; one that names no version is about all."""
    return alert.get("state") == "firing" and alert.get("version") in (version, None)


def is_stale(newest: Check, last_us: int | None) -> bool:
    """Whether predictions went on for more than two windows after the end of the newest check's window."""
    start, end = (parse_time(t) for t in window_of(newest))
    if start is None or end is None or last_us is None:
        return False
    last = parse_time(int(last_us))
    return last is not None and last - end > 2 * (end - start)


def traffic_points(hourly: Mapping[int, tuple[int, Any]], hours: int = TRAFFIC_HOURS) -> list[tuple[str, float]]:
    """Predictions an hour for the ``hours`` hours that end with the newest one; hours without any are 0.

    Parameters
    ----------
    hourly
        ``PredictionStore.hourly_outputs``.

    Examples
    --------
    >>> traffic_points({0: (5, None), 2 * 3_600_000_000: (7, None)})
    [('1 Jan 00:00', 5.0), ('1 Jan 01:00', 0.0), ('1 Jan 02:00', 7.0)]
    """
    if not hourly:
        return []
    last = max(hourly)
    times = range(max(min(hourly), last - (hours - 1) * HOUR_US), last + 1, HOUR_US)
    counts = [float(hourly[hour][0]) if hour in hourly else 0.0 for hour in times]
    return list(zip(axis_labels(times), counts, strict=True))
