"""Leaves of rows that another store keeps: put under the batch id, and swapped when that store counts them anew."""

from __future__ import annotations

from collections.abc import Sequence

from driftwell.stores.base import Leaf
from driftwell.stores.leaves import StoredLeaf
from driftwell.stores.postgres.connection import Connection, fetch, fetch_value
from driftwell.stores.postgres.leaves import add_leaves
from driftwell.stores.postgres.streams import add_stream, find_streams, lock_leaves, lock_model

__all__ = ["counted_batches", "newest_arrival", "put_leaves", "swap_leaves"]


def put_leaves(
    connection: Connection,
    model: str,
    version: str,
    batch_id: str,
    arrival: int,
    arrived_us: int,
    leaves: Sequence[Leaf],
) -> bool:
    """See ``Ledger.put_leaves``. Needs a write transaction."""
    lock_model(connection, model)
    stream = add_stream(connection, model, version)
    sql = (
        "INSERT INTO batches (arrival, stream, batch_id, arrived_us, edges_id, elsewhere, pruned)"
        " VALUES (nextval('arrivals'), %s, %s, %s, %s, %s, true) ON CONFLICT (batch_id) DO NOTHING RETURNING arrival"
    )
    edges_id = leaves[0].edges_id if leaves else None
    own = fetch_value(connection, sql, (stream, batch_id, arrived_us, edges_id, arrival))
    if own is None:
        return False
    add_leaves(connection, stream, [StoredLeaf(leaf, arrival, arrival, frozenset((own,))) for leaf in leaves])
    return True


def counted_batches(
    connection: Connection, model: str, version: str, after_arrival: int
) -> dict[str, tuple[int, str | None]]:
    """See ``Ledger.counted_batches``."""
    sql = (
        "SELECT batch_id, coalesce(elsewhere, arrival), edges_id FROM batches"
        " WHERE stream = ANY(%s) AND coalesce(elsewhere, arrival) > %s ORDER BY arrival"
    )
    rows = fetch(connection, sql, (list(find_streams(connection, model, version)), after_arrival))
    return {batch_id: (arrival, edges_id) for batch_id, arrival, edges_id in rows}


def swap_leaves(
    connection: Connection,
    model: str,
    version: str,
    edges_id: str,
    batch_ids: Sequence[str],
    leaves: Sequence[tuple[Leaf, int, int]],
) -> bool:
    """See ``Ledger.swap_leaves``. Needs a write transaction."""
    streams = list(find_streams(connection, model, version))
    for stream in streams:
        lock_leaves(connection, stream)
    ids = list(set(batch_ids))
    sql = "SELECT arrival, coalesce(elsewhere, arrival) FROM batches WHERE batch_id = ANY(%s) AND stream = ANY(%s)"
    numbers: dict[int, int] = dict(fetch(connection, sql, (ids, streams)))
    ours = frozenset(numbers)
    overlapping = "SELECT id, covers FROM leaves WHERE stream = ANY(%s) AND covers && %s::bigint[]"
    old = fetch(connection, overlapping, (streams, list(ours)))
    if len(ours) < len(ids) or any(not ours.issuperset(covers) for _, covers in old):
        return False
    connection.execute("DELETE FROM leaves WHERE id = ANY(%s)", ([leaf_id for leaf_id, _ in old],))
    for leaf, first, last in leaves:
        covers = frozenset(own for own, arrival in numbers.items() if first <= arrival <= last)
        add_leaves(connection, streams[0], [StoredLeaf(leaf, first, last, covers)])
    connection.execute("UPDATE batches SET edges_id = %s WHERE arrival = ANY(%s)", (edges_id, list(ours)))
    return True


def newest_arrival(connection: Connection) -> int:
    """The newest arrival number: of the other store where the last batch came from there, else of this one."""
    last = "SELECT elsewhere FROM batches ORDER BY arrival DESC LIMIT 1"
    if fetch_value(connection, last) is not None:
        return int(fetch_value(connection, "SELECT max(elsewhere) FROM batches"))
    drawn = "SELECT CASE WHEN is_called THEN last_value ELSE 0 END FROM arrivals"
    return int(fetch_value(connection, drawn))
