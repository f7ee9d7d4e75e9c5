"""Taking data out: by age, and by prediction or subject.

Old rows go in short transactions, so that writers hardly wait; readers at work keep the state that they began with.
What is deleted is overwritten with zeros (``secure_delete``), and pages that are free then are given back to the disk
where the file was made for it (``auto_vacuum``); in a file from before they are used again.
"""

from __future__ import annotations

import time
from collections.abc import Iterable, Iterator, Sequence
from itertools import groupby

import apsw

from driftwell.stores.base import Pruned
from driftwell.stores.encoding import blank_rows
from driftwell.stores.keys import arrival_of, first_key, row_of
from driftwell.stores.sqlite.connection import Database, fetch
from driftwell.stores.sqlite.scrubbing import scrub

__all__ = ["delete_predictions", "prune", "prune_history"]

ROWS_AT_ONCE = 10_000
"""Feature rows that one transaction deletes (whole batches, so it may be more)."""
PREDICTIONS_AT_ONCE = 5_000
"""Predictions that one transaction deletes; each touches several indexes."""
BATCHES_AT_ONCE = 20
"""Batches that one transaction writes anew without the deleted rows."""
PAGES_AT_ONCE = 2_000
"""Free pages that one transaction gives back to the disk."""
SPARE_SHARE = 0.1
"""Share of a file that may stay free for what comes next: giving all back would only have to be undone."""
SPARE_PAGES = 2_000

_FREE = "SELECT freelist_count, page_count FROM pragma_freelist_count, pragma_page_count"

_OLD_HISTORY = (
    "DELETE FROM leaves WHERE id IN (SELECT id FROM leaves WHERE hour_us < ? LIMIT 500)",
    "DELETE FROM checks WHERE rowid IN (SELECT rowid FROM checks WHERE end_us < ? LIMIT 500)",
    "DELETE FROM custom_metrics WHERE id IN (SELECT id FROM custom_metrics WHERE time_us < ? LIMIT 500)",
    "DELETE FROM outbox WHERE id IN"
    " (SELECT id FROM outbox WHERE state IN ('sent', 'dead') AND changed_us < ? LIMIT 500)",
    "DELETE FROM losses WHERE hour_us < ?",
)


def prune(database: Database, rows_before_us: int | None, predictions_before_us: int | None) -> Pruned:
    """See ``PredictionStore.prune``."""
    bounds = [bound for bound in (rows_before_us, predictions_before_us) if bound is not None]
    if not bounds:
        return Pruned()
    rows = _prune_rows(database, max(bounds))
    predictions = 0 if predictions_before_us is None else _prune_predictions(database, predictions_before_us)
    _give_back_space(database)
    return Pruned(rows, predictions)


def delete_predictions(
    database: Database, prediction_ids: Sequence[str], entity_ids: Sequence[str], model: str | None
) -> int:
    """See ``PredictionStore.delete``. Batches are written anew without the rows; then the write-ahead log, which
    still holds them, is copied into the file and cut."""
    deleted = 0
    with database.read() as connection:
        keys = _keys_of(connection, prediction_ids, entity_ids, model)
        ids = {*prediction_ids, *_ids_of(connection, keys)}
    _delete_early_labels(database, ids, model)
    by_batch = [(arrival, list(own)) for arrival, own in groupby(keys, key=arrival_of)]
    for i in range(0, len(by_batch), BATCHES_AT_ONCE):
        some = by_batch[i : i + BATCHES_AT_ONCE]
        with database.write() as connection:
            deleted += sum(_delete_from_batch(connection, arrival, own) for arrival, own in some)
    if ids or entity_ids:
        scrub(database, {*ids, *entity_ids})
    return deleted


def prune_history(database: Database, before_us: int) -> int:
    """See ``Ledger.prune_history``."""
    deleted = sum([_repeat(database, sql, before_us) for sql in _OLD_HISTORY])
    _give_back_space(database)
    return deleted


def _repeat(database: Database, sql: str, before_us: int) -> int:
    deleted = 0
    while True:
        began = time.monotonic()
        with database.write() as connection:
            connection.execute(sql, (before_us,))
            n = connection.changes()
        if not n:
            return deleted
        deleted += n
        _let_others_write(began)


def _prune_rows(database: Database, before_us: int) -> int:
    sql = (
        "SELECT r.arrival, r.n FROM batch_rows r CROSS JOIN batches b ON b.arrival = r.arrival"
        " WHERE b.arrived_us < ? ORDER BY r.arrival"
    )
    delete = "DELETE FROM batch_rows WHERE arrival = ? RETURNING arrival"
    count = "SELECT count(*) FROM predictions WHERE key >= ? AND key < ?"
    with database.read() as connection:
        old = fetch(connection, sql, (before_us,))
    pruned = 0
    for some in _sized(old, ROWS_AT_ONCE):
        began = time.monotonic()
        with database.write() as connection:
            for arrival in some:
                # Not the rows that the message had: some may have been deleted before.
                if fetch(connection, delete, (arrival,)):
                    pruned += int(connection.execute(count, (first_key(arrival), first_key(arrival + 1))).get)
        _let_others_write(began)
    return pruned


def _prune_predictions(database: Database, before_us: int) -> int:
    # Batches are known for ever; those before the first prediction have been pruned long ago.
    sql = "SELECT arrival FROM batches WHERE arrived_us < ? AND arrival >= ? ORDER BY arrival"
    delete = "DELETE FROM predictions WHERE key IN (SELECT key FROM predictions WHERE key >= ? AND key < ? LIMIT ?)"
    with database.read() as connection:
        first = connection.execute("SELECT min(key) FROM predictions").get or 0
        old = [arrival for (arrival,) in connection.execute(sql, (before_us, arrival_of(first)))]
    pruned = 0
    waiting = iter(old)
    arrival = next(waiting, None)
    while arrival is not None:
        began, left = time.monotonic(), PREDICTIONS_AT_ONCE
        with database.write() as connection:
            while arrival is not None and left > 0:
                connection.execute(delete, (first_key(arrival), first_key(arrival + 1), left))
                n = connection.changes()
                pruned, left = pruned + n, left - max(n, 1)
                arrival = arrival if left <= 0 and n else next(waiting, None)
        _let_others_write(began)
    return pruned


def _give_back_space(database: Database) -> None:
    while True:
        began = time.monotonic()
        with database.write() as connection:
            free, pages = connection.execute(_FREE).get
            spare = max(SPARE_PAGES, int(pages * SPARE_SHARE))
            if free <= spare or not connection.pragma("auto_vacuum"):
                return
            connection.execute(f"PRAGMA incremental_vacuum({min(free - spare, PAGES_AT_ONCE)})").fetchall()
        _let_others_write(began)


def _let_others_write(began: float) -> None:
    """As long as a transaction took the lock is free for others, who look for it every few milliseconds."""
    time.sleep(min(max(time.monotonic() - began, 0.001), 0.1))


def _keys_of(
    connection: apsw.Connection, prediction_ids: Sequence[str], entity_ids: Sequence[str], model: str | None
) -> list[int]:
    """Keys of the predictions of these ids or subjects, in order."""
    by_id = (
        "SELECT key FROM predictions WHERE prediction_id = ?1"
        " AND (?2 IS NULL OR stream IN (SELECT id FROM streams WHERE model = ?2))"
    )
    found = {key for (key,) in connection.executemany(by_id, ((i, model) for i in dict.fromkeys(prediction_ids)))}
    if entity_ids:
        # No index: subjects are deleted rarely, and an index would cost every writer something every time.
        wanted = set(entity_ids)
        scan = (
            "SELECT key, entity_id FROM predictions WHERE entity_id IS NOT NULL"
            " AND (?1 IS NULL OR stream IN (SELECT id FROM streams WHERE model = ?1))"
        )
        found |= {key for key, entity_id in connection.execute(scan, (model,)) if entity_id in wanted}
    return sorted(found)


def _ids_of(connection: apsw.Connection, keys: Iterable[int]) -> list[str]:
    sql = "SELECT prediction_id FROM predictions WHERE key = ?"
    return [prediction_id for (prediction_id,) in connection.executemany(sql, ((key,) for key in keys))]


def _delete_early_labels(database: Database, ids: Iterable[str], model: str | None) -> None:
    """Those for this model, and those for whichever model scores the id."""
    sql = "DELETE FROM early_labels WHERE prediction_id = ?1 AND (?2 IS NULL OR model IN ('', ?2))"
    with database.write() as connection:
        connection.executemany(sql, ((prediction_id, model) for prediction_id in ids))


def _delete_from_batch(connection: apsw.Connection, arrival: int, keys: Sequence[int]) -> int:
    before = connection.total_changes()
    connection.executemany("DELETE FROM predictions WHERE key = ?", ((key,) for key in keys))
    deleted = int(connection.total_changes() - before)
    left = "SELECT EXISTS (SELECT 1 FROM predictions WHERE key >= ? AND key < ?)"
    if not connection.execute(left, (first_key(arrival), first_key(arrival + 1))).get:
        connection.execute("DELETE FROM batch_rows WHERE arrival = ?", (arrival,))
        return deleted
    sql = "SELECT s.message, r.message FROM batch_rows r JOIN arrow_schemas s ON s.id = r.schema WHERE r.arrival = ?"
    for schema, message in fetch(connection, sql, (arrival,)):
        # A prediction's key is its place in the batch, so the rows that stay keep theirs.
        blanked = blank_rows(schema, message, [row_of(key) for key in keys])
        connection.execute("UPDATE batch_rows SET message = ? WHERE arrival = ?", (blanked, arrival))
    return deleted


def _sized(batches: Sequence[tuple[int, int]], most_rows: int) -> Iterator[list[int]]:
    """Arrival numbers of ``(arrival, n)`` in portions of about so many rows, one batch at least."""
    portion: list[int] = []
    rows = 0
    for arrival, n in batches:
        portion.append(arrival)
        rows += n
        if rows >= most_rows or len(portion) >= most_rows // 20:
            yield portion
            portion, rows = [], 0
    if portion:
        yield portion
