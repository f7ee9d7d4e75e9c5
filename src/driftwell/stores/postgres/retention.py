"""Taking away: what is old, in short transactions beside readers and writers, and what somebody asks to be deleted."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np
import pyarrow as pa

from driftwell.stores.base import ROW_COLUMNS, Pruned
from driftwell.stores.postgres.connection import Connection, Database, fetch, fetch_value
from driftwell.stores.postgres.streams import lock_for_deletion, lock_for_pruning
from driftwell.stores.sqlite.encoding import _read_messages, encode
from driftwell.stores.sqlite.streams import MOST_ROWS, ROW_BITS, first_key

__all__ = ["blank_rows", "delete_predictions", "prune", "prune_history"]

BATCHES_TOGETHER = 50
"""Batches that one transaction takes away or rewrites."""
ROWS_TOGETHER = 5_000
"""Rows of history that one transaction takes away."""


def prune(database: Database, rows_before_us: int | None, predictions_before_us: int | None) -> Pruned:
    """Take away what arrived before these moments; see ``PredictionStore.prune``."""
    rows = 0 if rows_before_us is None else _prune_rows(database, rows_before_us)
    if predictions_before_us is None:
        return Pruned(rows)
    more_rows, predictions = _prune_predictions(database, predictions_before_us)
    return Pruned(rows + more_rows, predictions)


def delete_predictions(
    database: Database, prediction_ids: Sequence[str], entity_ids: Sequence[str], model: str | None
) -> int:
    """Delete predictions by id or subject, and early labels by id; see ``PredictionStore.delete``."""
    wanted = {"prediction_id": list(prediction_ids), "entity_id": list(entity_ids)}
    early = "DELETE FROM early_labels WHERE prediction_id = ANY(%s) AND (%s::text IS NULL OR model IN ('', %s::text))"
    deleted = 0
    while True:
        with database.write() as connection:
            lock_for_deletion(connection)
            found = _find_predictions(connection, wanted, model)
            arrivals = sorted(found)[:BATCHES_TOGETHER]
            ids = [prediction_id for arrival in arrivals for prediction_id in found[arrival].values()]
            connection.execute(early, ([*wanted["prediction_id"], *ids], model, model))
            deleted += sum([_delete_from_batch(connection, arrival, list(found[arrival])) for arrival in arrivals])
        if len(found) == len(arrivals):
            return deleted


def prune_history(database: Database, before_us: int) -> int:
    """Take away old leaves, losses, checks, own metrics and settled notices; see ``Ledger.prune_history``."""
    return (
        _delete_old(database, "leaves", "hour_us < %s", before_us)
        + _delete_old(database, "losses", "hour_us < %s", before_us)
        + _delete_old(database, "checks", "end_us < %s", before_us)
        + _delete_old(database, "custom_metrics", "time_us < %s", before_us)
        + _delete_old(database, "outbox", "state IN ('sent', 'dead') AND changed_us < %s", before_us)
    )


def blank_rows(schema: bytes, message: bytes, rows: Sequence[int]) -> bytes:
    """A rows message in which these rows hold nothing any more; the others stay where they are."""
    table = _read_messages(schema, [message], []).combine_chunks()
    index = np.arange(table.num_rows)
    kept = table.take(pa.array(index, mask=np.isin(index, list(rows))))
    at = len(ROW_COLUMNS)  # whether there were features: never null
    has_features = kept.column(at).fill_null(False)
    return encode(kept.set_column(at, table.schema.field(at), has_features))[1]


def _prune_rows(database: Database, before_us: int) -> int:
    sql = (
        "WITH old AS (SELECT arrival FROM batch_rows WHERE arrived_us < %s ORDER BY arrived_us LIMIT %s)"
        " DELETE FROM batch_rows r USING old WHERE r.arrival = old.arrival RETURNING r.n"
    )
    rows = 0
    while True:
        with database.write() as connection:
            lock_for_pruning(connection)
            found = fetch(connection, sql, (before_us, BATCHES_TOGETHER))
        rows += sum([int(n) for (n,) in found])
        if len(found) < BATCHES_TOGETHER:
            return rows


def _prune_predictions(database: Database, before_us: int) -> tuple[int, int]:
    old = "SELECT arrival FROM batches WHERE arrived_us < %s AND NOT pruned ORDER BY arrived_us LIMIT %s"
    rows = predictions = 0
    while True:
        with database.write() as connection:
            lock_for_pruning(connection)
            found = fetch(connection, old, (before_us, BATCHES_TOGETHER))
            for (arrival,) in found:
                gone = fetch(connection, "DELETE FROM batch_rows WHERE arrival = %s RETURNING n", (arrival,))
                rows += sum(n for (n,) in gone)
                keys = (first_key(arrival), first_key(arrival + 1))
                connection.execute("DELETE FROM labels WHERE key >= %s AND key < %s", keys)
                predictions += connection.execute("DELETE FROM predictions WHERE key >= %s AND key < %s", keys).rowcount
            connection.execute("UPDATE batches SET pruned = true WHERE arrival = ANY(%s)", ([a for (a,) in found],))
        if len(found) < BATCHES_TOGETHER:
            return rows, predictions


def _find_predictions(
    connection: Connection, wanted: dict[str, list[str]], model: str | None
) -> dict[int, dict[int, str]]:
    """``{arrival: {key: prediction id}}`` of the predictions meant; ``wanted``: values by column."""
    sql = (
        "SELECT p.key, p.prediction_id FROM predictions p JOIN streams s ON s.id = p.stream"
        " WHERE p.{column} = ANY(%s) AND (%s::text IS NULL OR s.model = %s::text)"
    )
    found: dict[int, dict[int, str]] = {}
    for column, values in wanted.items():
        for key, prediction_id in (
            fetch(connection, sql.format(column=column), (values, model, model)) if values else ()
        ):
            found.setdefault(key >> ROW_BITS, {})[key] = prediction_id
    return found


def _delete_from_batch(connection: Connection, arrival: int, keys: list[int]) -> int:
    connection.execute("DELETE FROM labels WHERE key = ANY(%s)", (keys,))
    deleted = len(fetch(connection, "DELETE FROM predictions WHERE key = ANY(%s) RETURNING key", (keys,)))
    left = "SELECT EXISTS (SELECT 1 FROM predictions WHERE key >= %s AND key < %s)"
    if not fetch_value(connection, left, (first_key(arrival), first_key(arrival + 1))):
        connection.execute("DELETE FROM batch_rows WHERE arrival = %s", (arrival,))
        return deleted
    stored = (
        "SELECT s.message, r.message FROM batch_rows r JOIN arrow_schemas s ON s.id = r.schema WHERE r.arrival = %s"
        " FOR UPDATE OF r"
    )
    for schema, message in fetch(connection, stored, (arrival,)):
        blanked = blank_rows(schema, message, [key & (MOST_ROWS - 1) for key in keys])
        connection.execute("UPDATE batch_rows SET message = %s WHERE arrival = %s", (blanked, arrival))
    return deleted


def _delete_old(database: Database, table: str, condition: str, before_us: int) -> int:
    sql = f"DELETE FROM {table} WHERE ctid = ANY(ARRAY(SELECT ctid FROM {table} WHERE {condition} LIMIT %s))"  # noqa: S608 - names of our own
    deleted = 0
    while True:
        with database.write() as connection:
            now: int = connection.execute(sql, (before_us, ROWS_TOGETHER)).rowcount
        deleted += now
        if now < ROWS_TOGETHER:
            return deleted
