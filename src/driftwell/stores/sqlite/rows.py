"""Reading predictions: the narrow table says which rows and in what order, the batches hold the features."""

from __future__ import annotations

from collections.abc import Collection, Iterable, Iterator
from operator import itemgetter
from typing import Any

import apsw
import numpy as np
import numpy.typing as npt
import pyarrow as pa

from driftwell.stores.base import PredictionBatch
from driftwell.stores.encoding import decode, decode_whole, no_rows
from driftwell.stores.keys import arrival_of, first_key, row_of
from driftwell.stores.reading import (
    NARROW_TYPES,
    Decoder,
    Found,
    Part,
    StoredRows,
    Window,
    decoded_parts,
    outcomes_table,
    recent_rows,
    rows_table,
)
from driftwell.stores.sqlite.connection import fetch
from driftwell.stores.sqlite.streams import find_streams

__all__ = ["find_batches", "index_batches", "load_batch", "read_outcomes", "read_recent", "read_rows"]

_LABELLED = {None: "", True: " AND true_label IS NOT NULL", False: " AND true_label IS NULL"}
# The + keeps SQLite from walking the table by key where the index by time is meant.
_WINDOW = " FROM predictions WHERE stream = ? AND time_us >= ? AND time_us < ? AND +key >= ?"
_NEWEST = " ORDER BY time_us DESC, key DESC LIMIT ?"


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
    parts = _stored_rows(connection, _keys(found), lambda schema, rows: decode(schema, rows, columns))
    return rows_table(found, parts, columns)


def read_outcomes(connection: apsw.Connection, model: str, version: str | None, window: Window) -> pa.Table:
    """The narrow columns in event-time order; see ``PredictionStore.outcomes``."""
    return outcomes_table(_find(connection, model, version, window, tuple(NARROW_TYPES)))


def read_recent(
    connection: apsw.Connection, model: str, version: str | None, n: int, after_arrival: int
) -> list[dict[str, Any]]:
    """The newest rows as dicts, newest first; see ``PredictionStore.recent``."""
    window = Window(after_arrival=after_arrival, limit=n)
    found = _find(connection, model, version, window, ("true_label",))
    return recent_rows(model, found, _stored_rows(connection, _keys(found), decode_whole))


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
    return PredictionBatch(batch_id, model, version, no_rows(), hashes[:0], arrived_us)


def _find(
    connection: apsw.Connection, model: str, version: str | None, window: Window, columns: tuple[str, ...]
) -> Found:
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


def _stored_rows(connection: apsw.Connection, keys: npt.NDArray[np.int64], read: Decoder) -> Iterator[Part]:
    """The stored rows under ``keys``, a part for each schema they were written in."""
    arrivals = arrival_of(keys)
    sql = "SELECT arrival, schema, n, message FROM batch_rows WHERE arrival = ?"
    wanted = ((arrival,) for arrival in np.unique(arrivals).tolist())
    stored = [StoredRows(*row) for row in connection.executemany(sql, wanted)]

    def schema_of(schema: int, _: Iterable[int]) -> bytes:
        return connection.execute("SELECT message FROM arrow_schemas WHERE id = ?", (schema,)).get  # type: ignore[no-any-return]

    return decoded_parts(stored, arrivals, row_of(keys), schema_of, read)


def _keys(found: Found) -> npt.NDArray[np.int64]:
    return np.array(found["key"], dtype=np.int64)
