"""Counting the leaves of a file anew when the bins change."""

from __future__ import annotations

from functools import partial

import apsw

from driftwell.stores.base import LeafBuilder, PredictionBatch
from driftwell.stores.leaves import GatheredLeaves, MergeStates
from driftwell.stores.rebuilding import Plan, plan_of, rebuild
from driftwell.stores.sqlite.connection import Database
from driftwell.stores.sqlite.leaves import add_leaves, get_mark, leaf_headers
from driftwell.stores.sqlite.rows import find_batches, load_batch
from driftwell.stores.sqlite.streams import find_streams

__all__ = ["rebuild_leaves"]


def rebuild_leaves(
    database: Database, model: str, version: str, edges_id: str, build: LeafBuilder, merge: MergeStates
) -> int:
    """See ``Ledger.replace_leaves``."""
    with database.read() as connection:
        streams = list(find_streams(connection, model, version))

    def load(connection: apsw.Connection, arrival: int) -> PredictionBatch:
        return load_batch(connection, model, version, arrival)

    rebuilt = 0
    for stream in streams:
        plan = partial(_plan, model=model, stream=stream, edges_id=edges_id)
        swap = partial(_swap, stream=stream, edges_id=edges_id)
        rebuilt += rebuild(database, plan, load, swap, build, merge)
    return rebuilt


def _plan(connection: apsw.Connection, *, model: str, stream: int, edges_id: str) -> Plan | None:
    stale = find_batches(connection, stream, edges_id)
    if not stale:
        return None
    sql = "SELECT arrival FROM batches JOIN batch_rows USING (arrival) WHERE stream = ? AND edges_id IS NULL"
    uncounted = [arrival for (arrival,) in connection.execute(sql, (stream,))]
    return plan_of(stale, leaf_headers(connection, stream), edges_id, uncounted, get_mark(connection, model))


def _swap(connection: apsw.Connection, plan: Plan, new: GatheredLeaves, *, stream: int, edges_id: str) -> bool:
    """False, and nothing is changed, when leaves were sealed or rebuilt or rows were pruned meanwhile."""
    if not set(plan.arrivals) <= set(find_batches(connection, stream, edges_id)):
        return False
    if not plan.leaf_ids <= {leaf.id for leaf in leaf_headers(connection, stream)}:
        return False
    connection.executemany("DELETE FROM leaves WHERE id = ?", ((leaf_id,) for leaf_id in plan.leaf_ids))
    add_leaves(connection, stream, new)
    counted = "UPDATE batches SET edges_id = ? WHERE arrival = ?"
    connection.executemany(counted, ((edges_id, arrival) for arrival in plan.arrivals))
    return True
