"""Storing a batch: everything that can be done beforehand, then one short transaction.

The leaves are built before the transaction, in the hope that every row is new. When the unique index says
that one is known after all, the transaction is undone, the known rows are dropped, and the rest is prepared
again.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from itertools import repeat
from typing import Any

import apsw
import pyarrow as pa

from driftwell.errors import FormatError
from driftwell.stores.appending import AppliedError, KnownRowsError, check_size, new_rows
from driftwell.stores.base import ROW_COLUMNS, AppendResult, Leaf, LeafBuilder, PredictionBatch
from driftwell.stores.encoding import columns_of, encode
from driftwell.stores.keys import first_key
from driftwell.stores.leaves import leaves_of_batch
from driftwell.stores.sqlite.connection import Database, fetch
from driftwell.stores.sqlite.labels import attach_waiting_labels
from driftwell.stores.sqlite.leaves import add_leaves
from driftwell.stores.sqlite.streams import add_stream, find_streams
from driftwell.stores.sqlite.summaries import add_hours
from driftwell.stores.summaries import Hour, outputs_of, summarise

__all__ = ["append_batch"]

_INSERT_PREDICTION = (
    "INSERT INTO predictions (key, stream, prediction_id, time_us, content_hash, prediction, score, segment,"
    " entity_id, latency_seconds) VALUES (?, ?, ?, ?, ?, ?, ?, ?, ?, ?)"
)


@dataclass(frozen=True, slots=True)
class _Prepared:
    """A batch of rows believed to be new, ready to be written; ``narrow``: the columns of ``predictions``."""

    batch: PredictionBatch
    narrow: tuple[Sequence[Any], ...]
    schema: bytes
    message: bytes
    leaves: Sequence[Leaf]
    hours: dict[int, Hour]


def append_batch(database: Database, batch: PredictionBatch, leaves: LeafBuilder) -> AppendResult:
    """Store the rows of ``batch`` that are new; see ``PredictionStore.append``."""
    check_size(batch)
    if not len(batch):
        return AppendResult(0)
    flat = columns_of(batch.rows)
    ids: list[str] = flat.column(0).to_pylist()
    hashes: list[int] = batch.content_hash.tolist()
    known: dict[str, int] = {}
    while True:
        fresh, duplicate = new_rows(ids, hashes, known)
        whole = len(fresh) == len(batch)
        ready = _prepare(batch if whole else batch.take(fresh), flat if whole else flat.take(fresh), leaves)
        counts = AppendResult(len(fresh), duplicate, len(batch) - len(fresh) - duplicate)
        try:
            return _store(database, ready, counts)
        except AppliedError:
            return AppendResult(0, duplicate=len(batch))
        except KnownRowsError:
            found = _known_hashes(database, batch, ids)
        if len(found) <= len(known):  # each turn means that somebody stored some of these rows meanwhile
            raise FormatError(f"the index of {database.path} is damaged: restore a copy")
        known = found


def _known_hashes(database: Database, batch: PredictionBatch, ids: Sequence[str]) -> dict[str, int]:
    sql = "SELECT prediction_id, content_hash FROM predictions WHERE prediction_id = ? AND stream = ?"
    with database.read() as connection:
        (stream,) = find_streams(connection, batch.model, batch.version)
        return dict(connection.executemany(sql, zip(ids, repeat(stream), strict=False)))


def _prepare(batch: PredictionBatch, flat: pa.Table, build: LeafBuilder) -> _Prepared:
    head = flat.select(list(range(len(ROW_COLUMNS))))  # a feature may be named like one of these
    times = head.column("timestamp").cast("int64").to_numpy()
    lists = {
        name: head.column(name).to_pylist()
        for name in ("prediction_id", "prediction", "score", "segment", "entity_id", "latency_seconds")
    }
    narrow = (
        lists["prediction_id"],
        times.tolist(),
        batch.content_hash.tolist(),
        *(lists[name] for name in ("prediction", "score", "segment", "entity_id", "latency_seconds")),
    )
    schema, message = encode(flat)
    leaves = tuple(build(batch)) if len(batch) else ()
    hours = summarise(times, outputs_of(lists["score"], lists["prediction"]))
    return _Prepared(batch, narrow, schema, message, leaves, hours)


def _store(database: Database, ready: _Prepared, counts: AppendResult) -> AppendResult:
    batch = ready.batch
    with database.write() as connection:
        if connection.execute("SELECT 1 FROM batches WHERE batch_id = ?", (batch.batch_id,)).fetchone():
            raise AppliedError
        stream = add_stream(connection, batch.model, batch.version)
        edges_id = ready.leaves[0].edges_id if ready.leaves else None
        arrival = _add_batch(connection, batch, stream, edges_id)
        if not len(batch):
            return counts
        keys = range(first_key(arrival), first_key(arrival) + len(batch))
        _add_predictions(connection, stream, keys, ready)
        _add_rows(connection, arrival, ready)
        add_leaves(connection, stream, leaves_of_batch(ready.leaves, arrival))
        add_hours(connection, stream, arrival, ready.hours)
        matched = attach_waiting_labels(connection, batch.model, stream, (keys[0], keys[-1]))
    return AppendResult(counts.stored, counts.duplicate, counts.conflict, matched, arrival)


def _add_batch(connection: apsw.Connection, batch: PredictionBatch, stream: int, edges_id: str | None) -> int:
    sql = "INSERT INTO batches (batch_id, stream, arrived_us, edges_id) VALUES (?, ?, ?, ?) RETURNING arrival"
    values = (batch.batch_id, stream, batch.arrived_us, edges_id)
    ((arrival,),) = fetch(connection, sql, values)
    return int(arrival)


def _add_predictions(connection: apsw.Connection, stream: int, keys: range, ready: _Prepared) -> None:
    try:
        connection.executemany(_INSERT_PREDICTION, zip(keys, repeat(stream), *ready.narrow, strict=False))
    except apsw.ConstraintError as exc:
        raise KnownRowsError from exc


def _add_rows(connection: apsw.Connection, arrival: int, ready: _Prepared) -> None:
    find = "SELECT id FROM arrow_schemas WHERE message = ?"
    add = "INSERT INTO arrow_schemas (message) VALUES (?) RETURNING id"
    ((schema,),) = fetch(connection, find, (ready.schema,)) or fetch(connection, add, (ready.schema,))
    values = (arrival, schema, len(ready.batch), ready.message)
    connection.execute("INSERT INTO batch_rows VALUES (?, ?, ?, ?)", values)
