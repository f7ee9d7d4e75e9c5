"""Reading predictions: the narrow table says which rows and in what order, the batches hold the features."""

from __future__ import annotations

from collections.abc import Collection, Iterable, Iterator, Sequence
from typing import Any

import numpy as np
import numpy.typing as npt
import pyarrow as pa

from driftwell.stores.base import PredictionBatch
from driftwell.stores.encoding import decode, decode_whole, no_rows
from driftwell.stores.keys import arrival_of, first_key, row_of
from driftwell.stores.postgres.connection import Connection, fetch, fetch_value
from driftwell.stores.postgres.streams import find_streams
from driftwell.stores.postgres.texts import plain_texts, unescape_all
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

__all__ = ["find_batches", "index_batches", "load_batch", "read_outcomes", "read_recent", "read_rows"]

_TEXTS = {name for name, kind in NARROW_TYPES.items() if kind == pa.string()}
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
    parts = _stored_rows(connection, _keys(found), lambda schema, rows: decode(schema, rows, columns))
    return rows_table(found, parts, columns)


def read_outcomes(connection: Connection, model: str, version: str | None, window: Window) -> pa.Table:
    """The narrow columns in event-time order; see ``PredictionStore.outcomes``."""
    return outcomes_table(_find(connection, model, version, window, tuple(NARROW_TYPES)))


def read_recent(
    connection: Connection, model: str, version: str | None, n: int, after_arrival: int
) -> list[dict[str, Any]]:
    """The newest rows as dicts, newest first; see ``PredictionStore.recent``."""
    window = Window(after_arrival=after_arrival, limit=n)
    found = _find(connection, model, version, window, ("true_label",))
    return recent_rows(model, found, _stored_rows(connection, _keys(found), decode_whole))


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
        return PredictionBatch(batch_id, model, version, no_rows(), content[:0], arrived_us)
    ((_, rows),) = parts
    return PredictionBatch(batch_id, model, version, rows, np.ascontiguousarray(content), arrived_us)


def _find(connection: Connection, model: str, version: str | None, window: Window, columns: tuple[str, ...]) -> Found:
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
        return found
    order = sorted(range(len(found["key"])), key=lambda i: (found["time_us"][i], found["key"][i]))
    order = order if limit is None else order[max(len(order) - limit, 0) :]
    return {name: [values[i] for i in order] for name, values in found.items()}


def _find_in_stream(
    connection: Connection, stream: int, window: Window, limit: int | None, columns: tuple[str, ...]
) -> dict[str, Sequence[Any]]:
    """Labels are looked up beside the predictions, by the same index range: a join would walk one of the two."""
    table = "labels" if window.labelled else "predictions"
    names = ("time_us", "key", *(name for name in columns if (name in _LABEL_COLUMNS) is bool(window.labelled)))
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
    found = _columns(names, rows)
    missing = [name for name in columns if name not in found]
    if not missing:
        return found
    if window.labelled:
        return found | _predictions_of(connection, found["key"], missing)
    return found | _labels_of(connection, stream, found, missing)


def _columns(names: Sequence[str], rows: Sequence[Sequence[Any]]) -> dict[str, Sequence[Any]]:
    if not rows:
        return dict.fromkeys(names, ())
    found = dict(zip(names, zip(*rows, strict=True), strict=True))
    return {name: unescape_all(values) if name in _TEXTS else values for name, values in found.items()}


def _predictions_of(connection: Connection, keys: Sequence[int], columns: Sequence[str]) -> dict[str, Sequence[Any]]:
    """Columns of the predictions under these keys, in their order."""
    sql = f"SELECT key, {', '.join(columns)} FROM predictions WHERE key = ANY(%s)"  # noqa: S608 - our own names
    with plain_texts(connection) as cursor:
        rows = {row[0]: row[1:] for row in cursor.execute(sql, (list(keys),)).fetchall()}
    return _columns(columns, [rows[key] for key in keys])


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


def _stored_rows(connection: Connection, keys: npt.NDArray[np.int64], read: Decoder) -> Iterator[Part]:
    """The stored rows under ``keys``, a part for each schema they were written in."""
    arrivals = arrival_of(keys)
    sql = "SELECT arrival, schema, n, message FROM batch_rows WHERE arrival = ANY(%s)"
    wanted = np.unique(arrivals).tolist()
    stored = [StoredRows(*row) for row in (fetch(connection, sql, (wanted,)) if wanted else ())]

    def schema_of(schema: int, _: Iterable[int]) -> bytes:
        return bytes(fetch_value(connection, "SELECT message FROM arrow_schemas WHERE id = %s", (schema,)))

    return decoded_parts(stored, arrivals, row_of(keys), schema_of, read)


def _keys(found: Found) -> npt.NDArray[np.int64]:
    return np.array(found["key"], dtype=np.int64)
