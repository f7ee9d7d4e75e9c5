"""Taking away: what is old, in short transactions beside readers and writers, and what somebody asks to be deleted."""

from __future__ import annotations

from collections.abc import Sequence

from driftwell.stores.base import Pruned
from driftwell.stores.encoding import blank_rows
from driftwell.stores.keys import arrival_of, first_key, row_of
from driftwell.stores.postgres.connection import Connection, Database, fetch, fetch_value
from driftwell.stores.postgres.streams import lock_for_deletion, lock_for_pruning

__all__ = ["delete_predictions", "prune", "prune_history"]

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


def _prune_rows(database: Database, before_us: int) -> int:
    sql = (
        "WITH old AS (SELECT arrival FROM batch_rows WHERE arrived_us < %s ORDER BY arrived_us LIMIT %s)"
        " DELETE FROM batch_rows r USING old WHERE r.arrival = old.arrival RETURNING r.arrival"
    )
    count = "SELECT count(*) FROM predictions WHERE key >= %s AND key < %s"
    rows = 0
    while True:
        with database.write() as connection:
            lock_for_pruning(connection)
            found = fetch(connection, sql, (before_us, BATCHES_TOGETHER))
            # Not the rows that the message had: some may have been deleted before.
            spans = [(first_key(arrival), first_key(arrival + 1)) for (arrival,) in found]
            rows += sum([int(fetch_value(connection, count, span)) for span in spans])
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
                had_rows = connection.execute("DELETE FROM batch_rows WHERE arrival = %s", (arrival,)).rowcount
                keys = (first_key(arrival), first_key(arrival + 1))
                connection.execute("DELETE FROM labels WHERE key >= %s AND key < %s", keys)
                n = connection.execute("DELETE FROM predictions WHERE key >= %s AND key < %s", keys).rowcount
                rows, predictions = rows + n * had_rows, predictions + n
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
            found.setdefault(arrival_of(key), {})[key] = prediction_id
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
        blanked = blank_rows(schema, message, [row_of(key) for key in keys])
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
