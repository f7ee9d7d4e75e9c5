"""What happened in each hour, batch by batch: the index by event time, and what totals and counts are made of."""

from __future__ import annotations

from collections.abc import Collection, Iterator, Mapping, Sequence
from dataclasses import dataclass
from itertools import groupby
from operator import itemgetter
from typing import Any

import numpy as np
import numpy.typing as npt

from driftwell.stores.base import HOUR_US
from driftwell.stores.redis.server import Server
from driftwell.stores.redis.streams import all_streams, find_streams
from driftwell.stores.summaries import Hour, hourly_of, totals_of

__all__ = ["HourOfStream", "hourly_outputs", "hours_of", "list_models", "pack_hour", "totals"]

_KIND = np.dtype(
    [
        *((name, "<i8") for name in ("n", "first_us", "last_us", "output_n")),
        *((name, "<f8") for name in ("mean", "m2", "low", "high")),
    ]
)
"""The bytes of one hour of one batch, 64; the last four are 0 where there is no output."""
TOGETHER = 24
"""Hours that are asked for at once."""


@dataclass(frozen=True, slots=True)
class HourOfStream:
    """One hour of one stream: arrival numbers of the batches with rows in it, and what each has there."""

    stream: str
    hour: int  # hours since 1970
    arrivals: npt.NDArray[np.int64]
    values: npt.NDArray[np.void]

    def after(self, arrival: int) -> HourOfStream:
        """Only the batches after an arrival number."""
        later = self.arrivals > arrival
        return HourOfStream(self.stream, self.hour, self.arrivals[later], self.values[later])

    def hours(self) -> list[Hour]:
        """The summary of each batch."""
        return [Hour(*row[:4], *(row[4:] if row[3] else (None,) * 4)) for row in self.values.tolist()]


def pack_hour(hour: Hour) -> bytes:
    """The summary as it is stored."""
    outputs = [0.0 if value is None else value for value in (hour.mean, hour.m2, hour.low, hour.high)]
    return np.array((hour.n, hour.first_us, hour.last_us, hour.output_n, *outputs), dtype=_KIND).tobytes()


def hours_of(
    server: Server, streams: Collection[str], start_us: int | None = None, end_us: int | None = None
) -> Iterator[HourOfStream]:
    """The hours that touch ``[start, end)`` of these streams, the newest first; read a few at a time."""
    low = "-inf" if start_us is None else start_us // HOUR_US
    high = "+inf" if end_us is None else (end_us - 1) // HOUR_US
    found = server.ask_each("zrangebyscore", [server.key(f"s{stream}:hours") for stream in streams], low, high)
    wanted = [(int(hour), stream) for stream, hours in zip(streams, found, strict=True) for hour in hours]
    wanted.sort(reverse=True)
    for first in range(0, len(wanted), TOGETHER):
        part = wanted[first : first + TOGETHER]
        keys = [server.key(f"s{stream}:h{hour}") for hour, stream in part]
        answers = server.ask_each("hgetall", keys)
        for (hour, stream), batches in zip(part, answers, strict=True):
            if batches:
                arrivals = np.array([int(arrival) for arrival in batches], dtype=np.int64)
                yield HourOfStream(stream, hour, arrivals, np.frombuffer(b"".join(batches.values()), dtype=_KIND))


def totals(server: Server, model: str, version: str | None, after_arrival: int) -> dict[str, Any]:
    """See ``PredictionStore.totals``."""
    streams = list(find_streams(server, model, version))
    hours = [hour for of in hours_of(server, streams) for hour in of.after(after_arrival).hours()]
    labelled = server.ask_each("hgetall", [server.key(f"s{stream}:labelled") for stream in streams])
    labels = sum(int(n) for of in labelled for arrival, n in of.items() if int(arrival) > after_arrival)
    return totals_of(hours, labels)


def hourly_outputs(
    server: Server, model: str, version: str | None, hours: int, after_arrival: int
) -> dict[int, tuple[int, float | None]]:
    """``{hour_us: (count, mean output)}`` of the newest hours with data, oldest first."""
    found: dict[int, list[Hour]] = {}
    streams = find_streams(server, model, version)
    for number, group in groupby(hours_of(server, streams), key=lambda of: of.hour):
        if len(found) >= hours:
            break
        parts = [hour for of in group for hour in of.after(after_arrival).hours()]
        if parts:
            found[number * HOUR_US] = parts
    return hourly_of(found, hours)


def list_models(server: Server) -> list[tuple[str, str, int, int]]:
    """``(model, version, predictions, last event time)`` by name."""
    streams = all_streams(server)
    last = _last_times(server, list(streams))
    counts = server.ask_each("hlen", [server.key(f"s{stream}:ids") for stream in streams])
    rows = zip(streams.items(), counts, strict=True)
    return [(*names, n, last[stream]) for (stream, names), n in rows if n and stream in last]


def _last_times(server: Server, streams: Sequence[str]) -> Mapping[str, int]:
    newest = server.ask_each("zrange", [server.key(f"s{stream}:hours") for stream in streams], -1, -1)
    found = [(stream, int(hours[0])) for stream, hours in zip(streams, newest, strict=True) if hours]
    answers = server.ask_each("hvals", [server.key(f"s{stream}:h{hour}") for stream, hour in found])
    values = zip(map(itemgetter(0), found), answers, strict=True)
    return {stream: int(np.frombuffer(b"".join(of), dtype=_KIND)["last_us"].max()) for stream, of in values if of}
