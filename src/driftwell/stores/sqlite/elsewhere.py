"""Leaves of rows that another store keeps: put under the batch id, and swapped when that store counts them anew."""

from __future__ import annotations

from collections.abc import Sequence

import apsw

from driftwell.stores.base import Leaf
from driftwell.stores.leaves import StoredLeaf
from driftwell.stores.sqlite.connection import fetch
from driftwell.stores.sqlite.leaves import add_leaves, leaf_headers
from driftwell.stores.sqlite.streams import add_stream, find_streams

__all__ = ["counted_batches", "newest_arrival", "put_leaves", "swap_leaves"]


def put_leaves(
    connection: apsw.Connection,
    model: str,
    version: str,
    batch_id: str,
    arrival: int,
    arrived_us: int,
    leaves: Sequence[Leaf],
) -> bool:
    """See ``Ledger.put_leaves``. Needs a write transaction."""
    stream = add_stream(connection, model, version)
    sql = (
        "INSERT INTO batches (batch_id, stream, arrived_us, edges_id, elsewhere) VALUES (?, ?, ?, ?, ?)"
        " ON CONFLICT (batch_id) DO NOTHING RETURNING arrival"
    )
    edges_id = leaves[0].edges_id if leaves else None
    added = fetch(connection, sql, (batch_id, stream, arrived_us, edges_id, arrival))
    covers = frozenset(number for (number,) in added)
    add_leaves(connection, stream, [StoredLeaf(leaf, arrival, arrival, covers) for leaf in leaves if added])
    return bool(added)


def counted_batches(
    connection: apsw.Connection, model: str, version: str, after_arrival: int
) -> dict[str, tuple[int, str | None]]:
    """See ``Ledger.counted_batches``."""
    sql = (
        "SELECT batch_id, coalesce(elsewhere, arrival), edges_id FROM batches"
        " WHERE stream = ? AND coalesce(elsewhere, arrival) > ? ORDER BY arrival"
    )
    return {
        batch_id: (arrival, edges_id)
        for stream in find_streams(connection, model, version)
        for batch_id, arrival, edges_id in connection.execute(sql, (stream, after_arrival))
    }


def swap_leaves(
    connection: apsw.Connection,
    model: str,
    version: str,
    edges_id: str,
    batch_ids: Sequence[str],
    leaves: Sequence[tuple[Leaf, int, int]],
) -> bool:
    """See ``Ledger.swap_leaves``. Needs a write transaction."""
    stream = add_stream(connection, model, version)
    sql = "SELECT arrival, coalesce(elsewhere, arrival) FROM batches WHERE batch_id = ? AND stream = ?"
    numbers = dict(connection.executemany(sql, ((batch_id, stream) for batch_id in batch_ids)))
    ours = frozenset(numbers)
    old = [leaf for leaf in leaf_headers(connection, stream) if leaf.covers & ours]
    if len(ours) < len(set(batch_ids)) or any(not leaf.covers <= ours for leaf in old):
        return False
    connection.executemany("DELETE FROM leaves WHERE id = ?", ((leaf.id,) for leaf in old))
    new = (
        StoredLeaf(leaf, first, last, frozenset(n for n, arrival in numbers.items() if first <= arrival <= last))
        for leaf, first, last in leaves
    )
    add_leaves(connection, stream, new)
    connection.executemany("UPDATE batches SET edges_id = ? WHERE arrival = ?", ((edges_id, n) for n in numbers))
    return True


def newest_arrival(connection: apsw.Connection) -> int:
    """The newest arrival number: of the other store where the last batch came from there, else of this one."""
    newest = connection.execute("SELECT seq FROM sqlite_sequence WHERE name = 'batches'").get or 0
    last = connection.execute("SELECT elsewhere FROM batches WHERE arrival = ?", (newest,)).get
    if last is None:
        return int(newest)
    return int(connection.execute("SELECT max(elsewhere) FROM batches").get)
