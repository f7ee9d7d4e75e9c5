"""What the monitor knows, in PostgreSQL: references, leaves, marks, checks, alerts, outbox, runs, tokens."""

from __future__ import annotations

import math
from collections.abc import Sequence
from typing import Any

from psycopg.types.json import Json

from driftwell.errors import BadInput
from driftwell.stores.base import Leaf, LeafBuilder, Loss, Notice
from driftwell.stores.documents import brief, check_settled, is_running, window_end_us
from driftwell.stores.leaves import MergeStates, merge_states
from driftwell.stores.postgres import elsewhere, health, retention
from driftwell.stores.postgres import leaves as leaf_rows
from driftwell.stores.postgres.connection import Connection, Database, fetch, fetch_value, lock
from driftwell.stores.postgres.rebuild import rebuild_leaves
from driftwell.stores.postgres.streams import lock_model

__all__ = ["PostgresLedger"]

_PUT_RUN = (
    "INSERT INTO runs (run_id, model, at_us, document) VALUES (%s, %s, %s, %s) ON CONFLICT (run_id) DO UPDATE SET"
    " model = excluded.model, at_us = excluded.at_us, document = excluded.document"
)
_TOKENS = "SELECT id, scopes, expires_us, created_us, revoked FROM tokens"


class PostgresLedger:
    """The ``Ledger`` protocol over one schema. Dicts must hold JSON values and come back equal."""

    def __init__(self, database: Database) -> None:
        self.database = database

    # references
    def put_reference(self, model: str, version: str, reference_id: str, document: bytes) -> None:
        """Make this the reference and set the mark; the current one put again is no change and sets none."""
        current = (
            "SELECT id, reference_id FROM reference_documents WHERE model = %s AND version = %s"
            " ORDER BY id DESC LIMIT 1"
        )
        with self.database.write() as connection:
            lock_model(connection, model)
            found = fetch(connection, current, (model, version))
            if found and found[0][1] == reference_id:
                connection.execute(
                    "UPDATE reference_documents SET document = %s WHERE id = %s", (document, found[0][0])
                )
                return
            add = "INSERT INTO reference_documents (model, version, reference_id, document) VALUES (%s, %s, %s, %s)"
            connection.execute(add, (model, version, reference_id, document))
            _set_mark(connection, model)

    def get_reference(self, model: str, version: str) -> tuple[str, bytes] | None:
        """The id and document of the current reference, or None."""
        sql = (
            "SELECT reference_id, document FROM reference_documents WHERE model = %s AND version = %s"
            " ORDER BY id DESC LIMIT 1"
        )
        with self.database.read() as connection:
            found = fetch(connection, sql, (model, version))
        return (found[0][0], found[0][1]) if found else None

    def references(self) -> list[tuple[str, str]]:
        """The model versions that have a reference, by name."""
        with self.database.read() as connection:
            return sorted(fetch(connection, "SELECT DISTINCT model, version FROM reference_documents"))

    def find_reference(self, reference_id: str) -> bytes | None:
        """The document of any reference that ever was one, by its id, or None."""
        sql = "SELECT document FROM reference_documents WHERE reference_id = %s ORDER BY id DESC LIMIT 1"
        with self.database.read() as connection:
            found: bytes | None = fetch_value(connection, sql, (reference_id,))
        return found

    # leaves and marks
    def leaves(
        self, model: str, version: str | None, start_hour_us: int, end_hour_us: int, *, after_arrival: int = 0
    ) -> list[Leaf]:
        """All leaves of the hours ``[start, end)``, oldest hour first."""
        with self.database.read() as connection:
            return leaf_rows.find_leaves(connection, model, version, start_hour_us, end_hour_us, after_arrival)

    def replace_leaves(
        self,
        model: str,
        version: str,
        edges_id: str,
        leaves_of: LeafBuilder,
        *,
        merge: MergeStates = merge_states,
    ) -> int:
        """Rebuild the leaves that count in other bins, and show all the new ones at once.

        What was counted of rows that are gone stays as it is.
        """
        return rebuild_leaves(self.database, model, version, edges_id, leaves_of, merge)

    def seal(self, before_hour_us: int, *, more_than: int = 64, merge: MergeStates = merge_states) -> int:
        """Merge the leaves of crowded hours, never across the model's mark; the number of hours sealed."""
        return leaf_rows.seal_leaves(self.database, before_hour_us, more_than, merge)

    def put_leaves(
        self, model: str, version: str, batch_id: str, arrival: int, arrived_us: int, leaves: Sequence[Leaf]
    ) -> bool:
        """Keep the leaves of a batch whose rows are elsewhere; False when they were there already."""
        with self.database.write() as connection:
            return elsewhere.put_leaves(connection, model, version, batch_id, arrival, arrived_us, leaves)

    def counted_batches(self, model: str, version: str, *, after_arrival: int = 0) -> dict[str, tuple[int, str | None]]:
        """``{batch_id: (arrival, edges_id)}`` of every batch ever counted that arrived after that number."""
        with self.database.read() as connection:
            return elsewhere.counted_batches(connection, model, version, after_arrival)

    def swap_leaves(
        self,
        model: str,
        version: str,
        edges_id: str,
        batch_ids: Sequence[str],
        leaves: Sequence[tuple[Leaf, int, int]],
    ) -> bool:
        """Replace all leaves of these batches; False, and no change, where one also covers another batch."""
        with self.database.write() as connection:
            return elsewhere.swap_leaves(connection, model, version, edges_id, batch_ids, leaves)

    def set_mark(self, model: str) -> int:
        """Start the statistics of the model afresh after what has arrived until now."""
        with self.database.write() as connection:
            lock_model(connection, model)
            return _set_mark(connection, model)

    def get_mark(self, model: str) -> int:
        """The newest mark, 0 when there is none."""
        with self.database.read() as connection:
            return leaf_rows.get_mark(connection, model)

    # losses and history
    def put_losses(self, losses: Sequence[Loss]) -> None:
        """Insert or replace by (model, version, hour, reason, source)."""
        sql = (
            "INSERT INTO losses (model, version, hour_us, reason, source, n) VALUES (%s, %s, %s, %s, %s, %s)"
            " ON CONFLICT (model, version, hour_us, reason, source) DO UPDATE SET n = excluded.n"
        )
        keyed = {(f.model, f.version, f.hour_us, f.reason, f.source): f.n for f in losses}
        with self.database.write() as connection, connection.cursor() as cursor:
            cursor.executemany(sql, [(*key, keyed[key]) for key in sorted(keyed)])  # in order: no deadlock

    def losses(self, model: str, version: str | None, start_us: int, end_us: int) -> dict[str, int]:
        """``{reason: n}`` over all processes, of the hours that begin in ``[start, end)``."""
        sql = (
            "SELECT reason, sum(n)::bigint FROM losses WHERE model = %s AND (%s::text IS NULL OR version = %s::text)"
            " AND hour_us >= %s AND hour_us < %s GROUP BY reason"
        )
        with self.database.read() as connection:
            found = fetch(connection, sql, (model, version, version, start_us, end_us))
        return dict(sorted(found))

    def prune_history(self, before_us: int) -> int:
        """Delete leaves, losses, checks, own metrics and settled notices from before; the number deleted."""
        return retention.prune_history(self.database, before_us)

    # checks
    def put_check(self, check: dict[str, Any]) -> None:
        """Record a check; one of the same id is replaced."""
        names = (check["check_id"], check["model"], check["version"])
        sql = (
            "INSERT INTO checks (check_id, model, version, end_us, brief, document) VALUES (%s, %s, %s, %s, %s, %s)"
            " ON CONFLICT (check_id) DO UPDATE SET model = excluded.model, version = excluded.version,"
            " end_us = excluded.end_us, brief = excluded.brief, document = excluded.document"
        )
        self._write(sql, (*names, window_end_us(check), Json(brief(check)), Json(check)))

    def checks(
        self,
        model: str,
        version: str | None = None,
        *,
        limit: int = 100,
        since_us: int | None = None,
        full: bool = False,
    ) -> list[dict[str, Any]]:
        """Newest first by window end; ``since_us`` keeps those whose window ends then or later."""
        select = "SELECT document" if full else "SELECT brief"
        where = (
            " FROM checks WHERE model = %s"
            " AND (%s::text IS NULL OR version = %s::text) AND (%s::bigint IS NULL OR end_us >= %s::bigint)"
            " ORDER BY end_us DESC, id DESC LIMIT %s"
        )
        return self._documents(select + where, (model, version, version, since_us, since_us, limit))

    # alerts
    def get_alerts(self, model: str | None = None) -> list[dict[str, Any]]:
        """Alert states, newest change first."""
        sql = "SELECT document FROM alerts WHERE %s::text IS NULL OR model = %s::text ORDER BY changed_us DESC, id DESC"
        return self._documents(sql, (model, model))

    def put_alert(self, alert: dict[str, Any]) -> None:
        """Insert or replace the alert of this ``key``."""
        sql = (
            "INSERT INTO alerts (key, model, changed_us, document) VALUES (%s, %s, %s, %s) ON CONFLICT (key) DO UPDATE"
            " SET model = excluded.model, changed_us = excluded.changed_us, document = excluded.document"
        )
        self._write(sql, (alert["key"], alert["model"], alert["changed_us"], Json(alert)))

    # custom metrics
    def put_metric(self, model: str, name: str, value: float, time_us: int, labels: dict[str, str]) -> None:
        """One point of a user's own metric; NaN is kept as None."""
        sql = "INSERT INTO custom_metrics (model, name, value, time_us, labels) VALUES (%s, %s, %s, %s, %s)"
        self._write(sql, (model, name, None if math.isnan(value) else value, time_us, Json(labels)))

    def metrics(self, model: str, start_us: int, end_us: int) -> list[dict[str, Any]]:
        """Points of ``[start, end)``, oldest first."""
        sql = (
            "SELECT name, value, time_us, labels FROM custom_metrics"
            " WHERE model = %s AND time_us >= %s AND time_us < %s ORDER BY time_us, id"
        )
        return self._dicts(sql, (model, start_us, end_us))

    # outbox
    def enqueue(self, notices: Sequence[Notice]) -> int:
        """Add notices, due at once; one whose ``key`` is already there is left alone."""
        sql = (
            "INSERT INTO outbox (key, channel, kind, body, created_us, attempts, due_us, changed_us)"
            " VALUES (%s, %s, %s, %s, %s, %s, %s, %s) ON CONFLICT (key) DO NOTHING"
        )
        with self.database.write() as connection:
            lock(connection, "outbox")  # or two that add the same keys in other orders could wait for each other
            added = 0
            for n in notices:
                values = (n.key, n.channel, n.kind, Json(n.body), n.created_us, n.attempts, n.created_us, n.created_us)
                added += connection.execute(sql, values).rowcount
        return added

    def due(self, now_us: int, *, limit: int = 20, lease_us: int = 60_000_000) -> list[Notice]:
        """Claim what is due, oldest first; what is not settled within the lease is due again."""
        sql = (
            "WITH waiting AS (SELECT id, due_us FROM outbox WHERE state IN ('waiting', 'retry') AND due_us <= %s"
            " ORDER BY due_us, id LIMIT %s FOR UPDATE SKIP LOCKED) UPDATE outbox o SET due_us = %s FROM waiting w"
            " WHERE o.id = w.id RETURNING w.due_us, o.id, o.key, o.channel, o.kind, o.body, o.created_us, o.attempts"
        )
        with self.database.write() as connection:
            rows = fetch(connection, sql, (now_us, limit, now_us + lease_us))
        return [Notice(*row[2:]) for row in sorted(rows, key=lambda row: row[:2])]

    def settle(
        self, key: str, *, state: str, now_us: int, retry_at_us: int | None = None, error: str | None = None
    ) -> None:
        """Record an attempt; sent and dead are final. Without ``retry_at_us`` a retry is due at once."""
        check_settled(state)
        sql = (
            "UPDATE outbox SET state = %s, attempts = attempts + 1, due_us = %s, changed_us = %s, error = %s"
            " WHERE key = %s AND state IN ('waiting', 'retry')"
        )
        self._write(sql, (state, now_us if retry_at_us is None else retry_at_us, now_us, error, key))

    def notices(self, *, state: str | None = None, limit: int = 100) -> list[dict[str, Any]]:
        """Notices, newest first; ``state`` is one of ``waiting``, ``retry``, ``sent``, ``dead``."""
        sql = (
            "SELECT key, channel, kind, body, created_us, state, attempts, due_us, changed_us, error"
            " FROM outbox WHERE %s::text IS NULL OR state = %s::text ORDER BY id DESC LIMIT %s"
        )
        return self._dicts(sql, (state, state, limit))

    # retraining runs
    def put_run(self, run: dict[str, Any]) -> None:
        """Insert or replace a retraining run by its ``id``."""
        self._write(_PUT_RUN, (run["id"], run["model"], run["at_us"], Json(run)))

    def start_run(self, run: dict[str, Any]) -> str | None:
        """Keep a new run unless another of its model has not ended; the id of that one, else None."""
        with self.database.write() as connection:
            lock(connection, f"runs/{run['model']}")
            for (other,) in fetch(connection, "SELECT document FROM runs WHERE model = %s", (run["model"],)):
                if is_running(other):
                    return str(other["id"])
            connection.execute(_PUT_RUN, (run["id"], run["model"], run["at_us"], Json(run)))
        return None

    def runs(self, model: str, *, limit: int = 20) -> list[dict[str, Any]]:
        """Retraining runs, newest first."""
        sql = "SELECT document FROM runs WHERE model = %s ORDER BY at_us DESC, id DESC LIMIT %s"
        return self._documents(sql, (model, limit))

    # tokens
    def put_token(
        self, token_id: str, digest: bytes, scopes: Sequence[str], expires_us: int | None, now_us: int
    ) -> None:
        """Keep a token's digest; ``BadInput`` when the id or the digest is taken."""
        sql = (
            "INSERT INTO tokens (id, digest, scopes, expires_us, created_us) VALUES (%s, %s, %s, %s, %s)"
            " ON CONFLICT DO NOTHING"
        )
        if not self._write(sql, (token_id, digest, Json(list(scopes)), expires_us, now_us)):
            raise BadInput(f"there is already a token {token_id!r}, or one with the same digest")

    def find_token(self, digest: bytes) -> dict[str, Any] | None:
        """The token with this digest, revoked or not, or None."""
        return next(iter(self._dicts(f"{_TOKENS} WHERE digest = %s", (digest,))), None)

    def tokens(self) -> list[dict[str, Any]]:
        """All tokens, without digests, newest first."""
        return self._dicts(f"{_TOKENS} ORDER BY created_us DESC, id", ())

    def revoke_token(self, token_id: str) -> bool:
        """Revoke; False when there is no such token."""
        return bool(self._write("UPDATE tokens SET revoked = true WHERE id = %s", (token_id,)))

    # audit
    def audit(self, who: str, what: str, details: dict[str, Any], now_us: int) -> None:
        """Append one line to the audit log."""
        sql = "INSERT INTO audit (at_us, who, what, details) VALUES (%s, %s, %s, %s)"
        self._write(sql, (now_us, who, what, Json(details)))

    def audit_lines(self, *, limit: int = 100) -> list[dict[str, Any]]:
        """Lines of the audit log as dicts ``at_us, who, what, details``, newest first."""
        return self._dicts("SELECT at_us, who, what, details FROM audit ORDER BY id DESC LIMIT %s", (limit,))

    def info(self) -> dict[str, Any]:
        """For ``doctor``: versions, bytes used, and ``problems`` of the server and of this user's rights."""
        with self.database.read() as connection:
            return health.describe(connection, self.database.address)

    def _write(self, sql: str, values: tuple[Any, ...]) -> int:
        """Run one statement in a transaction of its own; the number of rows it changed."""
        with self.database.write() as connection:
            return connection.execute(sql, values).rowcount

    def _documents(self, sql: str, values: tuple[Any, ...]) -> list[dict[str, Any]]:
        with self.database.read() as connection:
            return [document for (document,) in fetch(connection, sql, values)]

    def _dicts(self, sql: str, values: tuple[Any, ...]) -> list[dict[str, Any]]:
        with self.database.read() as connection:
            cursor = connection.execute(sql, values, binary=True)
            names = [column.name for column in cursor.description or ()]
            return [dict(zip(names, row, strict=True)) for row in cursor.fetchall()]


def _set_mark(connection: Connection, model: str) -> int:
    """Needs the model's lock: then no batch of the model is on its way, and the next draws a larger number."""
    newest = elsewhere.newest_arrival(connection)
    put = "INSERT INTO marks VALUES (%s, %s) ON CONFLICT (model) DO UPDATE SET arrival = excluded.arrival"
    connection.execute(put, (model, newest))
    return newest
