"""Finding and reading rows: hours say which batches, the narrow columns which rows, and only those bring features."""

from __future__ import annotations

from collections.abc import Callable, Collection, Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass, replace
from functools import partial
from itertools import groupby
from typing import Any, TypeVar

import numpy as np
import numpy.typing as npt
import pyarrow as pa

from driftwell.errors import StoreError
from driftwell.stores.base import HOUR_US
from driftwell.stores.encoding import ROW_TYPES, decode, decode_whole
from driftwell.stores.reading import (
    OUTCOME_COLUMNS,
    Decoder,
    Part,
    StoredRows,
    Window,
    choose_columns,
    decoded_parts,
    in_order,
    moments,
    recent_row,
    take,
)
from driftwell.stores.redis.hours import HourOfStream, hours_of
from driftwell.stores.redis.server import Server
from driftwell.stores.redis.streams import find_streams
from driftwell.stores.redis.values import NARROW, decode_narrow, read_ids

__all__ = [
    "NARROW_TOGETHER",
    "ChangedError",
    "count_window",
    "newest_window",
    "read_outcomes",
    "read_recent",
    "read_rows",
    "stored_schema",
    "until_stable",
]

NARROW_TOGETHER = 64
"""Batches whose narrow columns are asked for at once."""
ROWS_TOGETHER = 8
"""Batches whose features are asked for at once."""
MOST_TURNS = 10

_T = TypeVar("_T")


class ChangedError(Exception):
    """Rows of a batch were deleted while it was being read: their places are other ones now."""


@dataclass(frozen=True, slots=True)
class _Rows:
    """Rows of the narrow columns with their places: the arrival number of the batch, the row in it."""

    table: pa.Table
    times: npt.NDArray[np.int64]
    arrivals: npt.NDArray[np.int64]
    places: npt.NDArray[np.int64]
    sizes: Mapping[int, tuple[int, bytes]]  # {arrival: (rows of the batch, revision)}

    def take(self, index: npt.NDArray[np.int64]) -> _Rows:
        return _Rows(take(self.table, index), self.times[index], self.arrivals[index], self.places[index], self.sizes)


def read_rows(
    server: Server, model: str, version: str | None, window: Window, columns: Collection[str] | None
) -> pa.Table:
    """Rows with their features in event-time order; see ``PredictionStore.read``."""
    own_names = {"version", "prediction_id", "true_label", "label_time", *NARROW}
    wanted = None if columns is None else set(columns) - own_names
    rows = _find(server, model, version, window)
    parts = _features(server, rows, lambda schema, messages: decode(schema, messages, wanted))
    positions, table = in_order(list(parts))
    return choose_columns([table, take(rows.table, positions)], columns)


def read_outcomes(server: Server, model: str, version: str | None, window: Window) -> pa.Table:
    """The narrow columns in event-time order; see ``PredictionStore.outcomes``."""
    return _find(server, model, version, window).table.select(OUTCOME_COLUMNS)


def read_recent(server: Server, model: str, version: str | None, n: int, after_arrival: int) -> list[dict[str, Any]]:
    """The newest rows as dicts, newest first; see ``PredictionStore.recent``."""
    window = Window(after_arrival=after_arrival, limit=n)
    rows = _find(server, model, version, window)
    times = rows.times.tolist()
    narrow = rows.table.drop_columns(["timestamp", "label_time"]).to_pylist()
    wide: dict[int, dict[str, Any]] = {}
    for positions, table in _features(server, rows, decode_whole):
        wide.update(zip(positions.tolist(), table.drop_columns(["timestamp"]).to_pylist(), strict=True))
    return [recent_row(wide[i] | narrow[i], model=model, time_us=times[i]) for i in sorted(wide, reverse=True)]


def count_window(server: Server, model: str, version: str | None, start_us: int, end_us: int) -> int:
    """Predictions with event time in ``[start, end)``: from the summaries, and from the batches that are cut."""
    if start_us >= end_us:
        return 0
    streams = find_streams(server, model, version)
    whole, cut = 0, []
    for of in hours_of(server, streams, start_us, end_us):
        first, last = of.values["first_us"], of.values["last_us"]
        inside = (first >= start_us) & (last < end_us)
        whole += int(of.values["n"][inside].sum())
        touched = ~inside & (first < end_us) & (last >= start_us)
        cut += [(int(arrival), of.hour) for arrival in of.arrivals[touched]]
    batches = dict.fromkeys(arrival for arrival, _ in cut)
    window = Window(start_us, end_us)
    rows = _load_all(server, dict.fromkeys(batches, ""), window, with_labels=False)
    places = set(cut)
    hours = (rows.times // HOUR_US).tolist()
    return whole + sum(place in places for place in zip(rows.arrivals.tolist(), hours, strict=True))


def newest_window(server: Server, model: str, version: str | None, before_us: int, n: int) -> tuple[int, int, int]:
    """The half-open span of the newest ``n`` predictions before a moment, and how many lie in it.

    More than ``n`` lie in it when several share the first event time. Without any: ``(before, before, 0)``.
    """
    window = Window(end_us=before_us, limit=n)
    times = _find(server, model, version, window, with_labels=False).times
    if not len(times):
        return before_us, before_us, 0
    start_us, end_us = int(times[0]), int(times[-1]) + 1
    return start_us, end_us, count_window(server, model, version, start_us, end_us)


def stored_schema(server: Server, digest: bytes, arrivals: Iterable[int]) -> bytes | None:
    """The schema message that these batches were written in; None when all of them lost their features meanwhile."""
    found: bytes | None = server.ask("hget", server.key("schemas"), digest)
    if found is None and digest in server.ask_each("hget", [server.key(f"b{a}") for a in arrivals], "schema"):
        raise StoreError(f"{server.address.shown} has lost a schema: keys were evicted or deleted by hand")
    return found


def until_stable(server: Server, read: Callable[[], _T]) -> _T:
    """What ``read`` returns, tried again while rows are deleted from the batches that it reads."""
    for _ in range(MOST_TURNS):
        try:
            return read()
        except ChangedError:
            continue
    raise StoreError(f"{server.address.shown}: rows are being deleted all the time, try again later")


def _find(server: Server, model: str, version: str | None, window: Window, *, with_labels: bool = True) -> _Rows:
    """The rows of the window, oldest first; of rows of one time in order of arrival."""
    limit = None if window.limit is None else max(window.limit, 0)
    parts = [_no_rows()]
    if limit != 0 and window.start_us < window.end_us:
        parts += _newest_parts(server, find_streams(server, model, version), window, with_labels)
    rows = _concat(parts)
    order = np.lexsort((rows.places, rows.arrivals, rows.times))
    return rows.take(order if limit is None else order[max(len(order) - limit, 0) :])


def _newest_parts(server: Server, streams: Mapping[str, str], window: Window, with_labels: bool) -> list[_Rows]:
    """The rows of the window, newest batches first; with a limit only as many batches as can matter."""
    parts: list[_Rows] = []
    loaded: set[int] = set()
    waiting: dict[int, str] = {}

    def load() -> None:
        parts.append(_load_all(server, waiting, window, with_labels=with_labels))
        loaded.update(waiting)
        waiting.clear()

    for _, hour in groupby(hours_of(server, streams, window.start_us, window.end_us), key=lambda of: of.hour):
        batches = [(*entry, streams[of.stream]) for of in hour for entry in _touched(of, window)]
        for last_us, arrival, version in sorted(batches, reverse=True):
            if arrival in loaded or arrival in waiting:
                continue
            if window.limit is not None and not waiting and _count_after(parts, last_us) >= window.limit:
                return parts
            waiting[arrival] = version
            if len(waiting) >= min(NARROW_TOGETHER, window.limit or NARROW_TOGETHER):
                load()
    load()
    return parts


def _touched(of: HourOfStream, window: Window) -> list[tuple[int, int]]:
    """``(last event time, arrival)`` of the batches of an hour that may have rows in the window."""
    known = of.after(window.after_arrival)
    last_us = known.values["last_us"]
    touched = (known.values["first_us"] < window.end_us) & (last_us >= window.start_us)
    return list(zip(last_us[touched].tolist(), known.arrivals[touched].tolist(), strict=True))


def _count_after(parts: Sequence[_Rows], bound_us: int) -> int:
    return sum(int((part.times > bound_us).sum()) for part in parts)


def _load_all(server: Server, batches: Mapping[int, str], window: Window, *, with_labels: bool) -> _Rows:
    """The rows of these batches (``{arrival: version}``) that lie in the window."""
    arrivals = list(batches)
    parts = [
        _load(server, arrivals[first : first + NARROW_TOGETHER], batches, window, with_labels)
        for first in range(0, len(arrivals), NARROW_TOGETHER)
    ]
    return _concat([_no_rows(), *parts])


def _load(
    server: Server, arrivals: Sequence[int], versions: Mapping[int, str], window: Window, with_labels: bool
) -> _Rows:
    answers = until_stable(server, lambda: _batch_parts(server, arrivals, with_labels))
    found = {
        arrival: (read_ids(ids), revision, narrow, labels)
        for arrival, ((ids, revision), narrow, labels) in zip(arrivals, answers, strict=True)
        if ids is not None and narrow is not None  # else it fell out of the store meanwhile
    }
    if not found:
        return _no_rows()
    narrow = decode_narrow([message for *_, message, _ in found.values()])
    sizes = [len(ids) for ids, *_ in found.values()]
    times = narrow.column("timestamp").cast("int64").to_numpy()
    own = np.repeat(np.array(list(found), dtype=np.int64), sizes)
    places = np.concatenate([np.arange(n) for n in sizes])
    label = [labels.get(i.encode()) for ids, _, _, labels in found.values() for i in ids]
    chosen = (times >= window.start_us) & (times < window.end_us)
    if window.labelled is not None:
        chosen &= np.array([one is not None for one in label], dtype=bool) == window.labelled
    pairs = [(None, None) if one is None else _label(one) for one in label]
    table = narrow.append_column("prediction_id", pa.array([i for ids, *_ in found.values() for i in ids], pa.string()))
    table = table.append_column(
        "version", pa.array([v for a, n in zip(found, sizes, strict=True) for v in [versions[a]] * n], pa.string())
    )
    table = table.append_column("true_label", pa.array([text for text, _ in pairs], pa.string()))
    table = table.append_column("label_time", moments([time_us for _, time_us in pairs]))
    about = {a: (n, revision) for (a, (_, revision, *_)), n in zip(found.items(), sizes, strict=True)}
    return _Rows(table, times, own, places, about).take(np.flatnonzero(chosen))


def _batch_parts(server: Server, arrivals: Sequence[int], with_labels: bool) -> list[tuple[Any, Any, Any]]:
    """``((ids, revision), narrow, labels)`` of each batch."""

    def commands(pipe: Any) -> None:
        for arrival in arrivals:
            pipe.hmget(server.key(f"m{arrival}"), "ids", "revision")
            pipe.hmget(server.key(f"b{arrival}"), "narrow", "revision")
            if with_labels:
                pipe.hgetall(server.key(f"l{arrival}"))

    answers = iter(server.ask_all(commands))
    parts = []
    for _ in arrivals:
        (ids, revision), (narrow, same_revision) = next(answers), next(answers)
        if None not in (ids, narrow) and revision != same_revision:
            raise ChangedError
        parts.append(((ids, revision), narrow, next(answers) if with_labels else {}))
    return parts


def _features(server: Server, rows: _Rows, read: Decoder) -> Iterator[Part]:
    """The features of the rows, a table for each schema they were written in, with the positions of the rows."""
    arrivals = np.unique(rows.arrivals)
    places = rows.places.copy()
    stored: list[StoredRows] = []
    for first in range(0, len(arrivals), ROWS_TOGETHER):
        part = arrivals[first : first + ROWS_TOGETHER].tolist()
        answers = server.ask_each("hmget", [server.key(f"b{a}") for a in part], "rows", "schema", "revision")
        for arrival, (message, schema, revision) in zip(part, answers, strict=True):
            n, known = rows.sizes[arrival]
            if message is not None and revision != known:
                own = np.flatnonzero(rows.arrivals == arrival)
                ids = rows.table.column("prediction_id").take(pa.array(own)).to_pylist()
                n, message, schema, places[own] = until_stable(server, partial(_moved, server, arrival, ids))
            if message is not None:
                stored.append(StoredRows(arrival, schema, n, message))
    return decoded_parts(stored, rows.arrivals, places, partial(stored_schema, server), read)


def _moved(
    server: Server, arrival: int, wanted: Sequence[str]
) -> tuple[int, bytes | None, bytes | None, npt.NDArray[np.int64]]:
    """``(rows, message, schema, places)`` of a batch from which rows were deleted since they were found; the place of
    a row that is gone is -1."""
    ids, revision = server.ask("hmget", server.key(f"m{arrival}"), "ids", "revision")
    message, schema, same_revision = server.ask("hmget", server.key(f"b{arrival}"), "rows", "schema", "revision")
    if ids is None or message is None:
        return 0, None, None, np.full(len(wanted), -1)
    if revision != same_revision:
        raise ChangedError
    place = {prediction_id: i for i, prediction_id in enumerate(read_ids(ids))}
    return len(place), message, schema, np.array([place.get(i, -1) for i in wanted], dtype=np.int64)


def _no_rows() -> _Rows:
    kinds = [*((name, ROW_TYPES[name]) for name in NARROW), ("prediction_id", pa.string()), ("version", pa.string())]
    kinds += [("true_label", pa.string()), ("label_time", ROW_TYPES["timestamp"])]
    nothing = np.zeros(0, dtype=np.int64)
    return _Rows(pa.schema(kinds).empty_table(), nothing, nothing, nothing, {})


def _concat(parts: Sequence[_Rows]) -> _Rows:
    return replace(
        parts[0],
        table=pa.concat_tables([part.table for part in parts]),
        times=np.concatenate([part.times for part in parts]),
        arrivals=np.concatenate([part.arrivals for part in parts]),
        places=np.concatenate([part.places for part in parts]),
        sizes={arrival: size for part in parts for arrival, size in part.sizes.items()},
    )


def _label(stored: bytes) -> tuple[str, int]:
    time_us, _, text = stored.partition(b" ")
    return text.decode(), int(time_us)
