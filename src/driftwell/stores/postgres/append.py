"""Storing a batch: everything that can be done beforehand, then one short transaction.

The leaves are built before the transaction, in the hope that every row is new. When the unique index says that one is
known after all, the transaction is undone, the known rows are dropped, and the rest is prepared again.
"""

from __future__ import annotations

import hashlib
from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
import pyarrow as pa
from psycopg import errors

from driftwell.errors import StoreError
from driftwell.stores.appending import AppliedError, KnownRowsError, check_size, new_rows
from driftwell.stores.base import ROW_COLUMNS, AppendResult, Leaf, LeafBuilder, PredictionBatch
from driftwell.stores.encoding import columns_of, encode
from driftwell.stores.keys import first_key
from driftwell.stores.leaves import leaves_of_batch
from driftwell.stores.postgres.connection import Connection, Database, fetch, fetch_value
from driftwell.stores.postgres.copying import binary_rows
from driftwell.stores.postgres.labels import attach_early, attach_from
from driftwell.stores.postgres.leaves import add_leaves
from driftwell.stores.postgres.streams import add_stream, find_streams, lock_for_append
from driftwell.stores.postgres.summaries import add_hours
from driftwell.stores.summaries import Hour, outputs_of, summarise

__all__ = ["append_batch"]

MOST_TRIES = 50
"""Each failed try means that somebody stored some of the rows meanwhile."""

_COPY = (
    "COPY predictions (key, stream, prediction_id, time_us, content_hash, prediction, score, segment, entity_id,"
    " latency_seconds) FROM STDIN (FORMAT BINARY)"
)
_OTHERS = ("prediction", "score", "segment", "entity_id", "latency_seconds")


@dataclass(frozen=True, slots=True)
class _Prepared:
    """A batch of rows believed to be new, ready to be written; ``narrow``: ``predictions`` from its third column."""

    batch: PredictionBatch
    narrow: tuple[pa.Array, ...]
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
    for _ in range(MOST_TRIES):
        fresh, duplicate = new_rows(ids, hashes, known)
        whole = len(fresh) == len(batch)
        ready = _prepare(batch if whole else batch.take(fresh), flat if whole else flat.take(fresh), leaves)
        counts = AppendResult(len(fresh), duplicate, len(batch) - len(fresh) - duplicate)
        try:
            return _store(database, ready, counts)
        except AppliedError:
            return AppendResult(0, duplicate=len(batch))
        except KnownRowsError:
            known = _known_hashes(database, batch, ids)
    raise StoreError(f"others keep storing rows of the same ids in {database.address.url}: nothing of this was stored")


def _known_hashes(database: Database, batch: PredictionBatch, ids: Sequence[str]) -> dict[str, int]:
    sql = "SELECT prediction_id, content_hash FROM predictions WHERE prediction_id = ANY(%b) AND stream = ANY(%s)"
    with database.read() as connection:
        streams = list(find_streams(connection, batch.model, batch.version))
        return {str(known): int(content) for known, content in fetch(connection, sql, (list(ids), streams))}


def _prepare(batch: PredictionBatch, flat: pa.Table, build: LeafBuilder) -> _Prepared:
    head = flat.select(list(range(len(ROW_COLUMNS))))  # a feature may be named like one of these
    times = head.column("timestamp").cast("int64").to_numpy()
    columns = {name: head.column(name).combine_chunks() for name in ("prediction_id", *_OTHERS)}
    narrow = (columns.pop("prediction_id"), pa.array(times), pa.array(batch.content_hash), *columns.values())
    outputs = outputs_of(columns["score"].to_pylist(), columns["prediction"].to_pylist())
    schema, message = encode(flat)
    leaves = tuple(build(batch)) if len(batch) else ()
    hours = summarise(times, outputs)
    return _Prepared(batch, narrow, schema, message, leaves, hours)


@dataclass(frozen=True, slots=True)
class _Place:
    """Where a batch goes: its stream and schema (None: new), its arrival number; and what labels may wait for it."""

    stream: int | None
    others: list[int]  # streams of the model's other versions
    schema: int | None
    arrival: int
    early_labels: bool
    is_applied: bool


_PLACE = (
    "SELECT (SELECT id FROM streams WHERE model = %(model)s AND version = %(version)s),"
    " ARRAY(SELECT id FROM streams WHERE model = %(model)s AND version <> %(version)s),"
    " (SELECT id FROM arrow_schemas WHERE digest = %(digest)s), nextval('arrivals'),"
    " EXISTS (SELECT 1 FROM early_labels), EXISTS (SELECT 1 FROM batches WHERE batch_id = %(batch_id)s)"
)


def _store(database: Database, ready: _Prepared, counts: AppendResult) -> AppendResult:
    batch = ready.batch
    digest = hashlib.blake2b(ready.schema, digest_size=16).digest()
    names = {"model": batch.model, "version": batch.version, "digest": digest, "batch_id": batch.batch_id}
    with database.write() as connection:
        lock_for_append(connection, batch.model)
        ((*found,),) = fetch(connection, _PLACE, names)
        place = _Place(*found)
        if place.is_applied:
            raise AppliedError
        stream = add_stream(connection, batch.model, batch.version) if place.stream is None else place.stream
        schema = _add_schema(connection, digest, ready.schema) if place.schema is None else place.schema
        first, arrival = first_key(place.arrival), place.arrival
        if len(batch):
            _add_predictions(connection, stream, first, ready)
        try:
            with connection.pipeline():  # one journey to the server for all
                _add_batch(connection, stream, arrival, ready)
                if not len(batch):
                    return counts
                _add_rows(connection, stream, arrival, schema, ready)
                add_leaves(connection, stream, leaves_of_batch(ready.leaves, arrival))
                add_hours(connection, stream, arrival, ready.hours)
        except errors.UniqueViolation as exc:  # a batch of another model with the same id, stored at this moment
            raise AppliedError from exc
        keys = (first, first + len(batch) - 1)
        matched = attach_early(connection, batch.model, keys) if place.early_labels else 0
        matched += attach_from(connection, place.others, keys) if place.others else 0
    return AppendResult(counts.stored, counts.duplicate, counts.conflict, matched, arrival)


def _add_batch(connection: Connection, stream: int, arrival: int, ready: _Prepared) -> None:
    batch = ready.batch
    edges_id = ready.leaves[0].edges_id if ready.leaves else None
    sql = (
        "INSERT INTO batches (arrival, stream, batch_id, arrived_us, edges_id, pruned) VALUES (%s, %s, %s, %s, %s, %s)"
    )
    connection.execute(sql, (arrival, stream, batch.batch_id, batch.arrived_us, edges_id, not len(batch)))


def _add_predictions(connection: Connection, stream: int, first: int, ready: _Prepared) -> None:
    n = len(ready.batch)
    keys = pa.array(np.arange(first, first + n, dtype=np.int64))
    streams = pa.array(np.full(n, stream, dtype=np.int32))
    rows = binary_rows((keys, streams, *ready.narrow))
    try:
        with connection.cursor() as cursor, cursor.copy(_COPY) as copy:
            copy.write(rows)
    except errors.UniqueViolation as exc:
        raise KnownRowsError from exc


def _add_rows(connection: Connection, stream: int, arrival: int, schema: int, ready: _Prepared) -> None:
    sql = "INSERT INTO batch_rows (arrival, stream, arrived_us, schema, n, message) VALUES (%s, %s, %s, %s, %s, %s)"
    batch = ready.batch
    connection.execute(sql, (arrival, stream, batch.arrived_us, schema, len(batch), ready.message))


def _add_schema(connection: Connection, digest: bytes, message: bytes) -> int:
    add = "INSERT INTO arrow_schemas (digest, message) VALUES (%s, %s) ON CONFLICT DO NOTHING"
    connection.execute(add, (digest, message))
    # Ours, or that of a batch of another model stored at this moment.
    return int(fetch_value(connection, "SELECT id FROM arrow_schemas WHERE digest = %s", (digest,)))
