"""What the monitor knows, in SQLite: references, leaves, marks, checks, alerts, outbox, runs, tokens."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import apsw
import msgspec

from driftwell.errors import BadInput
from driftwell.stores.base import Leaf, LeafBuilder, Loss, Notice
from driftwell.stores.documents import brief, check_settled, is_running, window_end_us
from driftwell.stores.leaves import MergeStates, merge_states
from driftwell.stores.sqlite import elsewhere, health, retention
from driftwell.stores.sqlite import leaves as leaf_rows
from driftwell.stores.sqlite.connection import Database, fetch
from driftwell.stores.sqlite.rebuilding import rebuild_leaves

__all__ = ["SQLiteLedger"]

_encode = msgspec.json.encode
_decode = msgspec.json.decode

_PUT_RUN = (
    "INSERT INTO runs VALUES (?, ?, ?, ?) ON CONFLICT (id) DO UPDATE SET model = excluded.model,"
    " at_us = excluded.at_us, document = excluded.document"
)


class SQLiteLedger:
    """The ``Ledger`` protocol over one SQLite file. Dicts must hold JSON values and come back equal."""

    def __init__(self, database: Database) -> None:
        self.database = database

    # references
    def put_reference(self, model: str, version: str, reference_id: str, document: bytes) -> None:
        """Make this the reference and set the mark; the current one put again is no change and sets none."""
        current = (
            "SELECT id, reference_id FROM reference_documents WHERE model = ? AND version = ? ORDER BY id DESC LIMIT 1"
        )
        with self.database.write() as connection:
            found = connection.execute(current, (model, version)).fetchone()
            if found and found[1] == reference_id:
                connection.execute("UPDATE reference_documents SET document = ? WHERE id = ?", (document, found[0]))
                return
            add = "INSERT INTO reference_documents (model, version, reference_id, document) VALUES (?, ?, ?, ?)"
            connection.execute(add, (model, version, reference_id, document))
            _set_mark(connection, model)

    def get_reference(self, model: str, version: str) -> tuple[str, bytes] | None:
        """The id and document of the current reference, or None."""
        sql = (
            "SELECT reference_id, document FROM reference_documents WHERE model = ? AND version = ?"
            " ORDER BY id DESC LIMIT 1"
        )
        with self.database.read() as connection:
            found: tuple[str, bytes] | None = connection.execute(sql, (model, version)).fetchone()
        return found

    def references(self) -> list[tuple[str, str]]:
        """The model versions that have a reference, by name."""
        sql = "SELECT DISTINCT model, version FROM reference_documents ORDER BY model, version"
        with self.database.read() as connection:
            return [(str(model), str(version)) for model, version in connection.execute(sql)]

    def find_reference(self, reference_id: str) -> bytes | None:
        """The document of any reference that ever was one, by its id, or None."""
        sql = "SELECT document FROM reference_documents WHERE reference_id = ? ORDER BY id DESC LIMIT 1"
        with self.database.read() as connection:
            found: bytes | None = connection.execute(sql, (reference_id,)).get
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
        """Rebuild the leaves that count in other bins, and show all the new ones at once."""
        return rebuild_leaves(self.database, model, version, edges_id, leaves_of, merge)

    def seal(self, before_hour_us: int, *, more_than: int = 64, merge: MergeStates = merge_states) -> int:
        """Merge the leaves of crowded hours, never across the model's mark; the number of hours sealed."""
        return leaf_rows.seal_leaves(self.database, before_hour_us, more_than, merge)

    # leaves of rows that another store keeps
    def put_leaves(
        self, model: str, version: str, batch_id: str, arrival: int, arrived_us: int, leaves: Sequence[Leaf]
    ) -> bool:
        """Keep the leaves of a batch whose rows another store has; False when they were there already."""
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
        """Put leaves in the place of those of these batches; False where one covers another batch too."""
        with self.database.write() as connection:
            return elsewhere.swap_leaves(connection, model, version, edges_id, batch_ids, leaves)

    # losses and history
    def put_losses(self, losses: Sequence[Loss]) -> None:
        """Insert or replace what processes offered and did not store."""
        sql = "INSERT OR REPLACE INTO losses VALUES (?, ?, ?, ?, ?, ?)"
        rows = [(x.model, x.version, x.hour_us, x.reason, x.source, x.n) for x in losses]
        with self.database.write() as connection:
            connection.executemany(sql, rows)

    def losses(self, model: str, version: str | None, start_us: int, end_us: int) -> dict[str, int]:
        """``{reason: n}`` of the hours that begin in ``[start, end)``, by name."""
        sql = (
            "SELECT reason, sum(n) FROM losses WHERE model = ?1 AND (?2 IS NULL OR version = ?2)"
            " AND hour_us >= ?3 AND hour_us < ?4 GROUP BY reason ORDER BY reason"
        )
        with self.database.read() as connection:
            return dict(fetch(connection, sql, (model, version, start_us, end_us)))

    def prune_history(self, before_us: int) -> int:
        """Delete leaves, losses, checks, own metrics and settled notices from before; the number deleted."""
        return retention.prune_history(self.database, before_us)

    def set_mark(self, model: str) -> int:
        """Start the statistics of the model afresh after what has arrived until now."""
        with self.database.write() as connection:
            return _set_mark(connection, model)

    def get_mark(self, model: str) -> int:
        """The newest mark, 0 when there is none."""
        with self.database.read() as connection:
            return leaf_rows.get_mark(connection, model)

    # checks
    def put_check(self, check: dict[str, Any]) -> None:
        """Record a check; one of the same id is replaced."""
        names = (check["check_id"], check["model"], check["version"])
        sql = (
            "INSERT INTO checks VALUES (?, ?, ?, ?, ?, ?) ON CONFLICT (check_id) DO UPDATE SET"
            " model = excluded.model, version = excluded.version, end_us = excluded.end_us,"
            " brief = excluded.brief, document = excluded.document"
        )
        with self.database.write() as connection:
            connection.execute(sql, (*names, window_end_us(check), _encode(brief(check)), _encode(check)))

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
        where = (
            " FROM checks WHERE model = ?1 AND (?2 IS NULL OR version = ?2) AND (?3 IS NULL OR end_us >= ?3)"
            " ORDER BY end_us DESC, rowid DESC LIMIT ?4"
        )
        select = "SELECT document" if full else "SELECT brief"
        return self._documents(select + where, (model, version, since_us, limit))

    # alerts
    def get_alerts(self, model: str | None = None) -> list[dict[str, Any]]:
        """Alert states, newest change first."""
        sql = "SELECT document FROM alerts WHERE ?1 IS NULL OR model = ?1 ORDER BY changed_us DESC, rowid DESC"
        return self._documents(sql, (model,))

    def put_alert(self, alert: dict[str, Any]) -> None:
        """Insert or replace the alert of this ``key``."""
        sql = (
            "INSERT INTO alerts VALUES (?, ?, ?, ?) ON CONFLICT (key) DO UPDATE SET model = excluded.model,"
            " changed_us = excluded.changed_us, document = excluded.document"
        )
        values = (alert["key"], alert["model"], alert["changed_us"], _encode(alert))
        with self.database.write() as connection:
            connection.execute(sql, values)

    # custom metrics
    def put_metric(self, model: str, name: str, value: float, time_us: int, labels: dict[str, str]) -> None:
        """One point of a user's own metric; NaN is kept as None."""
        sql = "INSERT INTO custom_metrics (model, name, value, time_us, labels) VALUES (?, ?, ?, ?, ?)"
        with self.database.write() as connection:
            connection.execute(sql, (model, name, value, time_us, _encode(labels)))

    def metrics(self, model: str, start_us: int, end_us: int) -> list[dict[str, Any]]:
        """Points of ``[start, end)``, oldest first."""
        sql = (
            "SELECT name, value, time_us, labels FROM custom_metrics"
            " WHERE model = ? AND time_us >= ? AND time_us < ? ORDER BY time_us, id"
        )
        return self._dicts(sql, (model, start_us, end_us), json=("labels",))

    # outbox
    def enqueue(self, notices: Sequence[Notice]) -> int:
        """Add notices, due at once; one whose ``key`` is already there is left alone."""
        sql = (
            "INSERT INTO outbox (key, channel, kind, body, created_us, attempts, due_us, changed_us)"
            " VALUES (?1, ?2, ?3, ?4, ?5, ?6, ?5, ?5) ON CONFLICT (key) DO NOTHING"
        )
        rows = [(n.key, n.channel, n.kind, _encode(n.body), n.created_us, n.attempts) for n in notices]
        with self.database.write() as connection:
            before = connection.total_changes()
            connection.executemany(sql, rows)
            return int(connection.total_changes() - before)

    def due(self, now_us: int, *, limit: int = 20, lease_us: int = 60_000_000) -> list[Notice]:
        """Claim what is due, oldest first; what is not settled within the lease is due again."""
        waiting = (
            "SELECT id, key, channel, kind, body, created_us, attempts FROM outbox"
            " WHERE state IN ('waiting', 'retry') AND due_us <= ? ORDER BY due_us, id LIMIT ?"
        )
        with self.database.read() as connection:  # an idle sender must not hold up writers
            if not connection.execute(waiting, (now_us, limit)).fetchone():
                return []
        with self.database.write() as connection:
            rows = fetch(connection, waiting, (now_us, limit))
            lease = "UPDATE outbox SET due_us = ? WHERE id = ?"
            connection.executemany(lease, ((now_us + lease_us, row[0]) for row in rows))
        return [
            Notice(key, channel, kind, _decode(body), created_us, attempts)
            for _, key, channel, kind, body, created_us, attempts in rows
        ]

    def settle(
        self, key: str, *, state: str, now_us: int, retry_at_us: int | None = None, error: str | None = None
    ) -> None:
        """Record an attempt; sent and dead are final. Without ``retry_at_us`` a retry is due at once."""
        check_settled(state)
        sql = (
            "UPDATE outbox SET state = ?, attempts = attempts + 1, due_us = ?, changed_us = ?, error = ?"
            " WHERE key = ? AND state IN ('waiting', 'retry')"
        )
        due_us = now_us if retry_at_us is None else retry_at_us
        with self.database.write() as connection:
            connection.execute(sql, (state, due_us, now_us, error, key))

    def notices(self, *, state: str | None = None, limit: int = 100) -> list[dict[str, Any]]:
        """Notices, newest first; ``state`` is one of ``waiting``, ``retry``, ``sent``, ``dead``."""
        sql = (
            "SELECT key, channel, kind, body, created_us, state, attempts, due_us, changed_us, error"
            " FROM outbox WHERE ?1 IS NULL OR state = ?1 ORDER BY id DESC LIMIT ?2"
        )
        return self._dicts(sql, (state, limit), json=("body",))

    # retraining runs
    def put_run(self, run: dict[str, Any]) -> None:
        """Insert or replace a retraining run by its ``id``."""
        with self.database.write() as connection:
            connection.execute(_PUT_RUN, (run["id"], run["model"], run["at_us"], _encode(run)))

    def start_run(self, run: dict[str, Any]) -> str | None:
        """Keep a new run unless another of its model has not ended; the id of that one, else None."""
        with self.database.write() as connection:
            for (document,) in connection.execute("SELECT document FROM runs WHERE model = ?", (run["model"],)):
                other = _decode(document)
                if is_running(other):
                    return str(other["id"])
            connection.execute(_PUT_RUN, (run["id"], run["model"], run["at_us"], _encode(run)))
        return None

    def runs(self, model: str, *, limit: int = 20) -> list[dict[str, Any]]:
        """Retraining runs, newest first."""
        sql = "SELECT document FROM runs WHERE model = ? ORDER BY at_us DESC, rowid DESC LIMIT ?"
        return self._documents(sql, (model, limit))

    # tokens
    def put_token(
        self, token_id: str, digest: bytes, scopes: Sequence[str], expires_us: int | None, now_us: int
    ) -> None:
        """Keep a token's digest; ``BadInput`` when the id or the digest is taken."""
        sql = (
            "INSERT INTO tokens (id, digest, scopes, expires_us, created_us) VALUES (?, ?, ?, ?, ?)"
            " ON CONFLICT DO NOTHING"
        )
        with self.database.write() as connection:
            connection.execute(sql, (token_id, digest, _encode(list(scopes)), expires_us, now_us))
            if not connection.changes():
                raise BadInput(f"there is already a token {token_id!r}, or one with the same digest")

    def find_token(self, digest: bytes) -> dict[str, Any] | None:
        """The token with this digest, revoked or not, or None."""
        sql = "SELECT id, scopes, expires_us, created_us, revoked FROM tokens WHERE digest = ?"
        return next(iter(self._tokens(sql, (digest,))), None)

    def tokens(self) -> list[dict[str, Any]]:
        """All tokens, without digests, newest first."""
        return self._tokens(
            "SELECT id, scopes, expires_us, created_us, revoked FROM tokens ORDER BY created_us DESC, id", ()
        )

    def revoke_token(self, token_id: str) -> bool:
        """Revoke; False when there is no such token."""
        with self.database.write() as connection:
            connection.execute("UPDATE tokens SET revoked = 1 WHERE id = ?", (token_id,))
            return bool(connection.changes())

    # audit
    def audit(self, who: str, what: str, details: dict[str, Any], now_us: int) -> None:
        """Append one line to the audit log."""
        sql = "INSERT INTO audit (at_us, who, what, details) VALUES (?, ?, ?, ?)"
        with self.database.write() as connection:
            connection.execute(sql, (now_us, who, what, _encode(details)))

    def audit_lines(self, *, limit: int = 100) -> list[dict[str, Any]]:
        """Lines of the audit log as dicts ``at_us, who, what, details``, newest first."""
        sql = "SELECT at_us, who, what, details FROM audit ORDER BY id DESC LIMIT ?"
        return self._dicts(sql, (limit,), json=("details",))

    def info(self) -> dict[str, Any]:
        """For ``doctor``; ``integrity`` is ``ok`` or what a quick check of the whole file found."""
        found = health.state(self.database)
        path = self.database.path
        return found | {"kind": "sqlite", "path": path, "problems": health.problems(path, found["integrity"])}

    def _documents(self, sql: str, values: tuple[Any, ...]) -> list[dict[str, Any]]:
        with self.database.read() as connection:
            return [_decode(document) for (document,) in connection.execute(sql, values)]

    def _dicts(self, sql: str, values: tuple[Any, ...], *, json: Sequence[str]) -> list[dict[str, Any]]:
        with self.database.read() as connection:
            cursor = connection.execute(sql, values)
            rows = [dict(zip((name for name, *_ in cursor.description), row, strict=True)) for row in cursor]
        return [row | {name: _decode(row[name]) for name in json} for row in rows]

    def _tokens(self, sql: str, values: tuple[Any, ...]) -> list[dict[str, Any]]:
        return [t | {"revoked": bool(t["revoked"])} for t in self._dicts(sql, values, json=("scopes",))]


def _set_mark(connection: apsw.Connection, model: str) -> int:
    newest = elsewhere.newest_arrival(connection)
    connection.execute("INSERT OR REPLACE INTO marks VALUES (?, ?)", (model, newest))
    return newest
