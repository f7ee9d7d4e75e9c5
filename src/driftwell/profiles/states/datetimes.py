"""Points in time: the time itself, the hour of the week, and the lag behind the event."""

from __future__ import annotations

from typing import Any

import numpy as np
import numpy.typing as npt

from driftwell.frame import CodedColumn, DatetimeColumn, Moments, NumericColumn
from driftwell.profiles.states.categorical import Vocabulary

__all__ = ["DAY_OF_WEEK", "HOUR_OF_WEEK", "datetime_facets", "freeze_datetime"]

_DAYS = ("Mon", "Tue", "Wed", "Thu", "Fri", "Sat", "Sun")
DAY_OF_WEEK = Vocabulary(_DAYS)
HOUR_OF_WEEK = Vocabulary(tuple(f"{day} {hour:02d}" for day in _DAYS for hour in range(24)))
_MONDAY = 3  # 1970-01-01 was a Thursday
_LIMIT = 2**61  # seconds; clipped here, differences stay inside int64

Ints = npt.NDArray[np.int64]


def freeze_datetime(column: DatetimeColumn) -> dict[str, Any]:
    """What a reference fixes: the second that times are counted from (its median), and whether days or hours of the
    week are told apart."""
    seconds = np.sort(_clipped(column.moments)[~column.missing])
    origin = int(seconds[len(seconds) // 2]) if len(seconds) else 0
    return {"origin": origin, "days": column.dates}


def datetime_facets(column: DatetimeColumn, frozen: dict[str, Any]) -> dict[str, NumericColumn | CodedColumn]:
    """``time`` in seconds since the frozen origin, ``hour_of_week`` (or ``day_of_week``) in UTC, and ``lag`` =
    event time − value in seconds where event times are known.

    Differences are taken in integers before they become float64: exact to the nanosecond within some 97 days, to
    a relative 2**-53 beyond.
    """
    moments, missing = column.moments, column.missing
    seconds = _clipped(moments)
    since = _as_float(seconds - frozen.get("origin", 0), moments.nanos)
    facets: dict[str, NumericColumn | CodedColumn] = {"time": NumericColumn("time", since, missing)}
    if frozen.get("days", False):
        cells, names, facet = (seconds // 86_400 + _MONDAY) % 7, DAY_OF_WEEK, "day_of_week"
    else:
        cells, names, facet = (seconds // 3_600 + 24 * _MONDAY) % 168, HOUR_OF_WEEK, "hour_of_week"
    facets[facet] = CodedColumn(facet, np.where(missing, -1, cells), names.categories)
    if column.event is not None:
        lag = _as_float(_clipped(column.event) - seconds, column.event.nanos - moments.nanos)
        facets["lag"] = NumericColumn("lag", lag, missing | column.event.missing)
    return facets


def _clipped(moments: Moments) -> Ints:
    return np.clip(moments.seconds, -_LIMIT, _LIMIT)


def _as_float(seconds: Ints, nanos: Ints) -> npt.NDArray[np.float64]:
    return seconds.astype(np.float64) + nanos.astype(np.float64) / 1e9
