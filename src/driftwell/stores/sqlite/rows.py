"""Reading predictions: the narrow table says which rows and in what order, the batches hold the features."""

from __future__ import annotations

from collections.abc import Callable, Collection, Iterable, Iterator, Sequence
from dataclasses import dataclass
from datetime import UTC, datetime, timedelta
from itertools import accumulate
from operator import itemgetter
from typing import Any, overload

import apsw
import msgspec
import numpy as np
import numpy.typing as npt
import pyarrow as pa

from driftwell.stores.base import ROW_COLUMNS, PredictionBatch
from driftwell.stores.sqlite.connection import Database, fetch
from driftwell.stores.sqlite.encoding import ROW_TYPES, decode, decode_whole, unite
from driftwell.stores.sqlite.streams import MOST_ROWS, ROW_BITS, find_streams, first_key

__all__ = [
    "StoredBatches",
    "Window",
    "find_batches",
    "index_batches",
    "load_batch",
    "read_outcomes",
    "read_recent",
    "read_rows",
]

_Part = tuple[npt.NDArray[np.int64], pa.Table]
_Decoder = Callable[[bytes, Iterable[bytes]], pa.Table]

_EPOCH = datetime(1970, 1, 1, tzinfo=UTC)
_FOREVER = (-(1 << 62), 1 << 62)
_LABELLED = {None: "", True: " AND true_label IS NOT NULL", False: " AND true_label IS NULL"}
# The + keeps SQLite from walking the table by key where the index by time is meant.
_WINDOW = " FROM predictions WHERE stream = ? AND time_us >= ? AND time_us < ? AND +key >= ?"
_NEWEST = " ORDER BY time_us DESC, key DESC LIMIT ?"
_HEAD = ("version", *ROW_COLUMNS, "true_label", "label_time")
_NARROW_TYPES = {
    **dict.fromkeys(("prediction_id", "prediction", "segment", "entity_id", "true_label"), pa.string()),
    **dict.fromkeys(("score", "latency_seconds"), pa.float64()),
    "label_time_us": pa.int64(),
}
_OUTCOME_COLUMNS = (
    *("prediction_id", "timestamp", "version", "prediction", "score"),
    *("segment", "entity_id", "latency_seconds", "true_label", "label_time"),
)
_JSON_COLUMNS = ("prediction", "probability", "metadata", "invalid")


@dataclass(frozen=True, slots=True)
class Window:
    """Which predictions: event time in ``[start, end)``, in batches after an arrival number, labelled or not.

    ``labelled`` None takes both; ``limit`` keeps the newest.
    """

    start_us: int = _FOREVER[0]
    end_us: int = _FOREVER[1]
    after_arrival: int = 0
    labelled: bool | None = None
    limit: int | None = None


def read_rows(
    connection: apsw.Connection,
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


def read_outcomes(connection: apsw.Connection, model: str, version: str | None, window: Window) -> pa.Table:
    """The narrow columns in event-time order; see ``PredictionStore.outcomes``."""
    found = _find(connection, model, version, window, tuple(_NARROW_TYPES))
    texts = {name: pa.array(found[name], kind) for name, kind in _NARROW_TYPES.items()}
    times = {"timestamp": _times(found["time_us"]), "label_time": _times(found["label_time_us"])}
    everything = texts | times | {"version": pa.array(found["version"], pa.string())}
    return pa.table({name: everything[name] for name in _OUTCOME_COLUMNS})


def read_recent(
    connection: apsw.Connection, model: str, version: str | None, n: int, after_arrival: int
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


def find_batches(connection: apsw.Connection, stream: int, edges_id_not: str | None) -> list[int]:
    """Arrival numbers of the batches that have rows, oldest first, but for those counted in these bins."""
    sql = (
        "SELECT arrival FROM batches JOIN batch_rows USING (arrival)"
        " WHERE stream = ?1 AND (?2 IS NULL OR edges_id IS NOT ?2) ORDER BY arrival"
    )
    return [arrival for (arrival,) in connection.execute(sql, (stream, edges_id_not))]


def index_batches(connection: apsw.Connection, model: str, version: str) -> list[tuple[int, str]]:
    """``(arrival, batch_id)`` of the batches that have rows, oldest first."""
    sql = "SELECT arrival, batch_id FROM batches JOIN batch_rows USING (arrival) WHERE stream = ? ORDER BY arrival"
    return [row for stream in find_streams(connection, model, version) for row in fetch(connection, sql, (stream,))]


def load_batch(connection: apsw.Connection, model: str, version: str, arrival: int) -> PredictionBatch:
    """A stored batch as it was appended, without the rows that were not new then or were deleted; without any where
    the rows are gone."""
    sql = "SELECT key, content_hash FROM predictions WHERE key >= ? AND key < ? ORDER BY key"
    found = np.array(fetch(connection, sql, (first_key(arrival), first_key(arrival + 1))), dtype=np.int64)
    keys, hashes = found.reshape(-1, 2).T
    about = "SELECT batch_id, arrived_us FROM batches WHERE arrival = ?"
    ((batch_id, arrived_us),) = fetch(connection, about, (arrival,))
    for _, rows in _stored_rows(connection, keys, decode_whole):
        return PredictionBatch(batch_id, model, version, rows, hashes, arrived_us)
    nothing = pa.schema(ROW_TYPES | {"features": pa.struct([])}).empty_table()
    return PredictionBatch(batch_id, model, version, nothing, hashes[:0], arrived_us)


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
    connection: apsw.Connection, model: str, version: str | None, window: Window, columns: tuple[str, ...]
) -> dict[str, Sequence[Any]]:
    """``time_us, key, version`` and the columns asked for of the rows of the window, oldest first."""
    names = ("time_us", "key", "version", *columns)
    sql = f"SELECT time_us, key, {', '.join(['?', *columns])}{_WINDOW}{_LABELLED[window.labelled]}{_NEWEST}"
    limit = -1 if window.limit is None else max(window.limit, 0)
    bounds = (window.start_us, window.end_us, first_key(window.after_arrival + 1), limit)
    rows: list[tuple[Any, ...]] = []
    for stream, own_version in find_streams(connection, model, version).items():
        rows += reversed(fetch(connection, sql, (own_version, stream, *bounds)))
    rows.sort(key=itemgetter(0, 1))
    rows = rows if limit < 0 else rows[max(len(rows) - limit, 0) :]
    return dict(zip(names, zip(*rows, strict=True), strict=True)) if rows else dict.fromkeys(names, ())


def _stored_rows(connection: apsw.Connection, keys: npt.NDArray[np.int64], read: _Decoder) -> Iterator[_Part]:
    """The stored rows under ``keys``, a table for each schema they were written in, with their positions."""
    arrivals, slots = np.unique(keys >> ROW_BITS, return_inverse=True)
    sql = "SELECT schema, arrival, n, message FROM batch_rows WHERE arrival = ?"
    by_schema: dict[int, dict[int, tuple[int, bytes]]] = {}
    for schema, arrival, n, message in connection.executemany(sql, ((a,) for a in arrivals.tolist())):
        by_schema.setdefault(schema, {})[arrival] = (n, message)
    for schema, found in by_schema.items():
        wording = connection.execute("SELECT message FROM arrow_schemas WHERE id = ?", (schema,)).get
        table = read(wording, [message for _, message in found.values()])
        starts = dict(zip(found, accumulate((n for n, _ in found.values()), initial=0), strict=False))
        start = np.array([starts.get(arrival, -1) for arrival in arrivals.tolist()])[slots]
        positions = np.flatnonzero(start >= 0)
        yield positions, _take(table, start[positions] + (keys[positions] & (MOST_ROWS - 1)))


def _in_order(parts: Sequence[_Part]) -> _Part:
    """All parts as one table in the order of their positions, and these positions."""
    if not parts:
        return np.zeros(0, dtype=np.int64), pa.schema(ROW_TYPES).empty_table()
    positions = np.concatenate([positions for positions, _ in parts])
    order = np.argsort(positions)
    return positions[order], _take(unite([table for _, table in parts]), order)


def _take(table: pa.Table, rows: npt.NDArray[np.int64]) -> pa.Table:
    everything = len(rows) == table.num_rows and np.array_equal(rows, np.arange(len(rows)))
    return table if everything else table.take(pa.array(rows))


def _keys(found: dict[str, Sequence[Any]]) -> npt.NDArray[np.int64]:
    return np.array(found["key"], dtype=np.int64)


def _times(values: Sequence[int | None]) -> pa.Array:
    return pa.array(values, pa.int64()).cast(ROW_TYPES["timestamp"])


def _recent_row(row: dict[str, Any]) -> dict[str, Any]:
    return row | {name: _value(row[name]) for name in _JSON_COLUMNS} | {"features": row["features"] or {}}


def _value(text: str | None) -> Any:
    return None if text is None else msgspec.json.decode(text)
