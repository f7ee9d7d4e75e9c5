"""Counting the leaves of a schema anew when the bins change."""

from __future__ import annotations

from functools import partial

from driftwell.stores.base import LeafBuilder, PredictionBatch
from driftwell.stores.leaves import GatheredLeaves, LeafHeader, MergeStates
from driftwell.stores.postgres.connection import Connection, Database, fetch
from driftwell.stores.postgres.leaves import add_leaves, get_mark
from driftwell.stores.postgres.rows import find_batches, load_batch
from driftwell.stores.postgres.streams import find_streams, lock_leaves
from driftwell.stores.rebuilding import Plan, plan_of, rebuild

__all__ = ["rebuild_leaves"]


def rebuild_leaves(
    database: Database, model: str, version: str, edges_id: str, build: LeafBuilder, merge: MergeStates
) -> int:
    """See ``Ledger.replace_leaves``."""
    with database.read() as connection:
        streams = list(find_streams(connection, model, version))

    def load(connection: Connection, arrival: int) -> PredictionBatch:
        return load_batch(connection, model, version, arrival)

    rebuilt = 0
    for stream in streams:
        plan = partial(_plan, model=model, stream=stream, edges_id=edges_id)
        swap = partial(_swap, stream=stream, edges_id=edges_id)
        rebuilt += rebuild(database, plan, load, swap, build, merge)
    return rebuilt


def _plan(connection: Connection, *, model: str, stream: int, edges_id: str) -> Plan | None:
    stale = find_batches(connection, stream, edges_id)
    if not stale:
        return None
    headers = "SELECT id, hour_us, segment, edges_id, covers FROM leaves WHERE stream = %s ORDER BY id"
    leaves = (
        LeafHeader(leaf_id, hour_us, segment, own_edges, frozenset(covers))
        for leaf_id, hour_us, segment, own_edges, covers in fetch(connection, headers, (stream,))
    )
    without = (
        "SELECT b.arrival FROM batches b JOIN batch_rows r ON r.arrival = b.arrival"
        " WHERE r.stream = %s AND b.edges_id IS NULL"
    )
    uncounted = [arrival for (arrival,) in fetch(connection, without, (stream,))]
    return plan_of(stale, leaves, edges_id, uncounted, get_mark(connection, model))


def _swap(connection: Connection, plan: Plan, new: GatheredLeaves, *, stream: int, edges_id: str) -> bool:
    """False, and nothing is changed, when leaves were sealed or rebuilt or rows were pruned meanwhile."""
    lock_leaves(connection, stream)
    if not set(plan.arrivals) <= set(find_batches(connection, stream, edges_id)):
        return False
    # The lock keeps others from taking leaves away, so that they are all here or have been gone before.
    here = "SELECT count(*) FROM leaves WHERE id = ANY(%s)"
    if fetch(connection, here, (list(plan.leaf_ids),)) != [(len(plan.leaf_ids),)]:
        return False
    connection.execute("DELETE FROM leaves WHERE id = ANY(%s)", (list(plan.leaf_ids),))
    add_leaves(connection, stream, new)
    counted = "UPDATE batches SET edges_id = %s WHERE arrival = ANY(%s)"
    connection.execute(counted, (edges_id, list(plan.arrivals)))
    return True
