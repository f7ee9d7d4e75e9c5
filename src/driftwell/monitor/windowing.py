"""What span of event time a check means: durations, counts of records, and "now"."""

from __future__ import annotations

from dataclasses import dataclass
from datetime import UTC, datetime, timedelta
from numbers import Integral
from typing import Any

from driftwell.config import parse_duration
from driftwell.errors import BadInput, shown
from driftwell.results import Window
from driftwell.stores.base import PredictionStore

__all__ = ["Span", "as_moment", "from_us", "read_moment", "resolve_window", "to_us", "whole_number"]

_EPOCH = datetime(1970, 1, 1, tzinfo=UTC)
_MICROSECOND = timedelta(microseconds=1)
_FIRST_US = (datetime.min.replace(tzinfo=UTC) - _EPOCH) // _MICROSECOND
_MOST_RECORDS = 2**31


@dataclass(frozen=True, slots=True)
class Span(Window):
    """The window of a check: its span, and how many of the rows in it belong to it.

    ``records`` None: all of them. Else the newest so many; the span begins at the time of the oldest of them, which
    earlier arrivals may share.
    """

    records: int | None = None

    def at_most(self, limit: int) -> int:
        """``limit``, or the number of records where that is smaller."""
        return limit if self.records is None else min(limit, self.records)


def to_us(moment: datetime) -> int:
    """Microseconds since 1970, exact."""
    return (moment - _EPOCH) // _MICROSECOND


def from_us(value: int) -> datetime:
    """The aware UTC datetime of microseconds since 1970."""
    return _EPOCH + timedelta(microseconds=value)


def as_moment(value: Any) -> datetime:
    """An aware UTC datetime from RFC 3339 text, a datetime (naive ones are UTC) or a NumPy datetime64.

    Examples
    --------
    >>> as_moment("2026-01-20T18:00:00Z").hour
    18
    """
    moment = read_moment(value)
    try:
        return from_us(to_us(moment.replace(tzinfo=UTC) if moment.tzinfo is None else moment))
    except OverflowError as exc:
        raise BadInput(f"a time must lie in the years 1 to 9999 UTC. Got {shown(value)}") from exc


def read_moment(value: Any) -> datetime:
    """The same before its zone is settled: naive where the caller named no zone.

    Raises ``BadInput`` for anything that is no time.
    """
    if isinstance(value, str):
        try:
            return datetime.fromisoformat(value)
        except ValueError:
            raise BadInput(f"a time must look like 2026-01-20T18:00:00Z. Got {shown(value)}") from None
    if getattr(getattr(value, "dtype", None), "kind", None) == "M" and value.ndim == 0:
        found = value.astype("datetime64[us]").item()
        value = found.replace(tzinfo=UTC) if isinstance(found, datetime) else found  # None: not a time
    if not isinstance(value, datetime) or value != value:  # pandas.NaT is a datetime that equals nothing
        raise BadInput(f"a time must be RFC 3339 text, a datetime or a datetime64. Got {shown(value)}")
    return value


def whole_number(what: str, value: Any) -> int:
    """A number of rows or hours the user gave; ``BadInput`` for anything else."""
    if not isinstance(value, Integral) or isinstance(value, bool) or value < 0:
        raise BadInput(f"{what} must be a whole number and not negative. Got {shown(value)}")
    return int(value)


def resolve_window(
    store: PredictionStore,
    model: str,
    version: str | None,
    window: Any,
    at: datetime,
    *,
    extend_to: Any = None,
    min_samples: int = 0,
) -> tuple[Span, str | None]:
    """The span ``[start, end)`` and a note where it was extended.

    ``window`` is an ISO 8601 duration or timedelta before ``at``, or a number of records: exactly the newest that many
    with event time before ``at`` (all where there are fewer); of those at the time of the oldest the last to arrive.
    ``extend_to`` also reaches back to that span while fewer than ``min_samples`` are in.
    """
    end = to_us(at)
    if isinstance(window, Integral) and not isinstance(window, bool):
        if window < 1:
            raise BadInput(f"a window of records must be at least 1. Got {window}")
        most = min(int(window), _MOST_RECORDS)
        start, _, found = store.newest(model, version, end, most)
        return Span(from_us(start), at, most if found > most else None), None
    start = _back(end, window)
    longest = start if extend_to is None else _back(end, extend_to)
    if longest < start and store.count(model, version, start, end) < min_samples:
        first, _, found = store.newest(model, version, end, min_samples)
        longer = max(longest, first) if found else longest
        if longer < start:
            return Span(from_us(longer), at), f"extended back from {from_us(start):%Y-%m-%d %H:%M} for more rows"
    return Span(from_us(start), at), None


def _back(end: int, duration: Any) -> int:
    """The start of the span that long before ``end``; one longer than the calendar begins with it."""
    if not isinstance(duration, (str, timedelta)):
        raise BadInput(f"a window is a duration such as 'PT1H' or a number of records. Got {shown(duration)}")
    return max(end - parse_duration(duration) // _MICROSECOND, _FIRST_US)
