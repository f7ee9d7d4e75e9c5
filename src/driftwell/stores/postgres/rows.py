"""Reading predictions: the narrow table says which rows and in what order, the batches hold the features."""

from __future__ import annotations

from collections.abc import Collection, Iterator, Sequence
from datetime import timedelta
from itertools import accumulate
from typing import Any, overload

import numpy as np
import numpy.typing as npt
import pyarrow as pa

from driftwell.stores.base import PredictionBatch
from driftwell.stores.postgres.connection import Connection, Database, fetch, fetch_value
from driftwell.stores.postgres.streams import find_streams
from driftwell.stores.postgres.texts import plain_texts, unescape_all
from driftwell.stores.sqlite.encoding import ROW_TYPES, decode, decode_whole
from driftwell.stores.sqlite.rows import (
    _EPOCH,
    _HEAD,
    _NARROW_TYPES,
    _OUTCOME_COLUMNS,
    Window,
    _Decoder,
    _in_order,
    _keys,
    _Part,
    _recent_row,
    _take,
    _times,
    _value,
)
from driftwell.stores.sqlite.streams import MOST_ROWS, ROW_BITS, first_key

__all__ = ["StoredBatches", "find_batches", "index_batches", "load_batch", "read_outcomes", "read_recent", "read_rows"]

_TEXTS = {name for name, kind in _NARROW_TYPES.items() if kind == pa.string()}
_LABEL_COLUMNS = ("true_label", "label_time_us")
_WITHOUT_LABEL = " AND NOT EXISTS (SELECT 1 FROM labels l WHERE l.key = t.key)"


def read_rows(
    connection: Connection,
    model: str,
    version: str | None,
    window: Window,
    columns: Collection[str] | None,
) -> pa.Table:
    """Rows with their features in event-time order; see ``PredictionStore.read``.

    Only batches that hold a row of the window are decoded, and of those only the columns asked for.
    """
    found = _find(connection, model, version, window, ("true_label", "label_time_us"))
    own = pa.table(
        {
            "version": pa.array(found["version"], pa.string()),
            "true_label": pa.array(found["true_label"], pa.string()),
            "label_time": _times(found["label_time_us"]),
        }
    )
    parts = _stored_rows(connection, _keys(found), lambda schema, rows: decode(schema, rows, columns))
    positions, table = _in_order(list(parts))
    own = _take(own, positions)
    everything = {name: t.column(name) for t in (own, table) for name in t.column_names}
    ordered = dict.fromkeys([*_HEAD, *everything] if columns is None else columns)
    return pa.table({name: everything[name] for name in ordered if name in everything})


def read_outcomes(connection: Connection, model: str, version: str | None, window: Window) -> pa.Table:
    """The narrow columns in event-time order; see ``PredictionStore.outcomes``."""
    found = _find(connection, model, version, window, tuple(_NARROW_TYPES))
    texts = {name: pa.array(found[name], kind) for name, kind in _NARROW_TYPES.items()}
    times = {"timestamp": _times(found["time_us"]), "label_time": _times(found["label_time_us"])}
    everything = texts | times | {"version": pa.array(found["version"], pa.string())}
    return pa.table({name: everything[name] for name in _OUTCOME_COLUMNS})


def read_recent(
    connection: Connection, model: str, version: str | None, n: int, after_arrival: int
) -> list[dict[str, Any]]:
    """The newest rows as dicts, newest first; see ``PredictionStore.recent``."""
    window = Window(after_arrival=after_arrival, limit=n)
    found = _find(connection, model, version, window, ("true_label",))
    rows: dict[int, dict[str, Any]] = {}
    for positions, table in _stored_rows(connection, _keys(found), decode_whole):
        rows.update(zip(positions.tolist(), table.to_pylist(), strict=True))
    return [
        _recent_row(rows[i])
        | {
            "timestamp": _EPOCH + timedelta(microseconds=found["time_us"][i]),
            "model": model,
            "version": found["version"][i],
            "true_label": _value(found["true_label"][i]),
        }
        for i in sorted(rows, reverse=True)
    ]


def find_batches(connection: Connection, stream: int, edges_id_not: str | None) -> list[int]:
    """Arrival numbers of the batches that have rows, oldest first, but for those counted in these bins."""
    sql = (
        "SELECT r.arrival FROM batch_rows r JOIN batches b ON b.arrival = r.arrival"
        " WHERE r.stream = %s AND (%s::text IS NULL OR b.edges_id IS DISTINCT FROM %s::text) ORDER BY r.arrival"
    )
    return [int(arrival) for (arrival,) in fetch(connection, sql, (stream, edges_id_not, edges_id_not))]


def index_batches(connection: Connection, streams: list[int]) -> list[tuple[int, str]]:
    """``(arrival, batch_id)`` of the batches that have rows, oldest first."""
    sql = (
        "SELECT r.arrival, b.batch_id FROM batch_rows r JOIN batches b ON b.arrival = r.arrival"
        " WHERE r.stream = ANY(%s) ORDER BY r.arrival"
    )
    return [(int(arrival), str(batch_id)) for arrival, batch_id in fetch(connection, sql, (streams,))]


def load_batch(connection: Connection, model: str, version: str, arrival: int) -> PredictionBatch:
    """A stored batch as it was appended, without the rows that were not new then or were deleted since.

    It has no rows when they were pruned meanwhile.
    """
    sql = "SELECT key, content_hash FROM predictions WHERE key >= %s AND key < %s ORDER BY key"
    found = np.array(fetch(connection, sql, (first_key(arrival), first_key(arrival + 1))), dtype=np.int64)
    keys, content = found.reshape(-1, 2).T
    about = "SELECT batch_id, arrived_us FROM batches WHERE arrival = %s"
    ((batch_id, arrived_us),) = fetch(connection, about, (arrival,))
    parts = list(_stored_rows(connection, keys, decode_whole))
    if not parts:
        nothing = pa.schema([*ROW_TYPES.items(), ("features", pa.struct([]))]).empty_table()
        return PredictionBatch(batch_id, model, version, nothing, content[:0], arrived_us)
    ((_, rows),) = parts
    return PredictionBatch(batch_id, model, version, rows, np.ascontiguousarray(content), arrived_us)


class StoredBatches(Sequence[PredictionBatch]):
    """Batches of one model version, each read when it is asked for: a long history needs no memory."""

    def __init__(self, database: Database, model: str, version: str, arrivals: Sequence[int]) -> None:
        self._database, self._model, self._version = database, model, version
        self._arrivals = arrivals

    def __len__(self) -> int:
        return len(self._arrivals)

    @overload
    def __getitem__(self, index: int) -> PredictionBatch: ...
    @overload
    def __getitem__(self, index: slice) -> StoredBatches: ...
    def __getitem__(self, index: int | slice) -> PredictionBatch | StoredBatches:
        if isinstance(index, slice):
            return StoredBatches(self._database, self._model, self._version, self._arrivals[index])
        with self._database.read() as connection:
            return load_batch(connection, self._model, self._version, self._arrivals[index])


def _find(
    connection: Connection, model: str, version: str | None, window: Window, columns: tuple[str, ...]
) -> dict[str, Sequence[Any]]:
    """``time_us, key, version`` and the columns asked for of the rows of the window, oldest first."""
    limit = None if window.limit is None else max(window.limit, 0)
    found: dict[str, list[Any]] = {name: [] for name in ("time_us", "key", "version", *columns)}
    parts = 0
    for stream, own_version in find_streams(connection, model, version).items():
        own = _find_in_stream(connection, stream, window, limit, columns)
        found["version"] += [own_version] * len(own["key"])
        for name, values in own.items():
            found[name] += values
        parts += bool(own["key"])
    if parts < 2:
        return dict(found)
    order = sorted(range(len(found["key"])), key=lambda i: (found["time_us"][i], found["key"][i]))
    order = order if limit is None else order[max(len(order) - limit, 0) :]
    return {name: [values[i] for i in order] for name, values in found.items()}


def _find_in_stream(
    connection: Connection, stream: int, window: Window, limit: int | None, columns: tuple[str, ...]
) -> dict[str, Sequence[Any]]:
    """Labels are looked up beside the predictions, by the same index range: a join would walk one of the two."""
    table = "labels" if window.labelled else "predictions"
    names = ("time_us", "key", *(name for name in columns if window.labelled or name not in _LABEL_COLUMNS))
    # The + 0 keeps the planner from walking the table by key where the index by time is meant.
    sql = (
        f"SELECT {', '.join(names)} FROM {table} t WHERE stream = %s AND time_us >= %s AND time_us < %s"  # noqa: S608
        f" AND key + 0 >= %s{_WITHOUT_LABEL if window.labelled is False else ''}"
        " ORDER BY time_us DESC, key DESC LIMIT %s"
    )
    values = (stream, window.start_us, window.end_us, first_key(window.after_arrival + 1), limit)
    with plain_texts(connection) as cursor:
        rows = cursor.execute(sql, values).fetchall()
    rows.reverse()
    found: dict[str, Sequence[Any]] = dict(zip(names, zip(*rows, strict=True), strict=True)) if rows else {}
    found = {name: unescape_all(found[name]) if name in _TEXTS else found[name] for name in found}
    found = found or dict.fromkeys(names, ())
    missing = [name for name in columns if name not in found]
    return found | (_labels_of(connection, stream, found, missing) if missing else {})


def _labels_of(
    connection: Connection, stream: int, found: dict[str, Sequence[Any]], columns: list[str]
) -> dict[str, Sequence[Any]]:
    """``true_label`` and ``label_time_us``, or one of them, of the rows found; None where there is no label."""
    keys, times = found["key"], found["time_us"]
    if not keys:
        return dict.fromkeys(columns, ())
    sql = "SELECT key, true_label, label_time_us FROM labels WHERE stream = %s AND time_us >= %s AND time_us <= %s"
    rows = fetch(connection, sql, (stream, times[0], times[-1]))
    by_name = {
        "true_label": {key: true_label for key, true_label, _ in rows},
        "label_time_us": {key: label_time_us for key, _, label_time_us in rows},
    }
    return {name: list(map(by_name[name].get, keys)) if rows else [None] * len(keys) for name in columns}


def _stored_rows(connection: Connection, keys: npt.NDArray[np.int64], read: _Decoder) -> Iterator[_Part]:
    """The stored rows under ``keys``, a table for each schema they were written in, with their positions."""
    arrivals, slots = np.unique(keys >> ROW_BITS, return_inverse=True)
    sql = "SELECT schema, arrival, n, message FROM batch_rows WHERE arrival = ANY(%s)"
    by_schema: dict[int, dict[int, tuple[int, bytes]]] = {}
    for schema, arrival, n, message in fetch(connection, sql, (arrivals.tolist(),)) if len(keys) else ():
        by_schema.setdefault(schema, {})[arrival] = (n, message)
    for schema, found in by_schema.items():
        wording = fetch_value(connection, "SELECT message FROM arrow_schemas WHERE id = %s", (schema,))
        table = read(wording, [message for _, message in found.values()])
        starts = dict(zip(found, accumulate((n for n, _ in found.values()), initial=0), strict=False))
        start = np.array([starts.get(arrival, -1) for arrival in arrivals.tolist()])[slots]
        positions = np.flatnonzero(start >= 0)
        yield positions, _take(table, start[positions] + (keys[positions] & (MOST_ROWS - 1)))
