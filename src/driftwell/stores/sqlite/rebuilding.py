"""Counting leaves anew when the bins change: what is taken out is put back, and nothing else.

A leaf can be counted again when all batches that it covers have their rows. Of each of these batches exactly what the
leaves that are taken out counted goes into the new ones: its rows of another hour may be in a leaf that has to stay.
"""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass, field

import apsw

from driftwell.stores.base import Leaf, LeafBuilder
from driftwell.stores.sqlite.connection import Database
from driftwell.stores.sqlite.leaves import (
    LeafHeader,
    MergeStates,
    StoredLeaf,
    add_leaves,
    as_one,
    get_mark,
    leaf_headers,
)
from driftwell.stores.sqlite.rows import find_batches, load_batch
from driftwell.stores.sqlite.streams import find_streams

__all__ = ["rebuild_leaves"]

_TOGETHER = 64
"""Leaves of one kind that are held while rebuilding before they are merged."""

_Cell = tuple[int, str | None]  # event hour and segment


@dataclass(frozen=True, slots=True)
class _Plan:
    """What to count: batches, oldest first; leaves to take out; and the batches of which each cell is counted."""

    arrivals: tuple[int, ...]
    leaf_ids: frozenset[int]
    cells: dict[_Cell, frozenset[int]]
    uncounted: frozenset[int]  # batches without any leaf: all of theirs are put in
    mark: int


def rebuild_leaves(
    database: Database, model: str, version: str, edges_id: str, build: LeafBuilder, merge: MergeStates
) -> int:
    """Count every kept batch anew, then swap all leaves at once; see ``Ledger.replace_leaves``.

    All at once, because a window that saw some leaves in old and some in new bins could not be merged. Leaves
    are merged by the hour on the way, so that memory grows with the hours and not with the rows. A leaf that covers a
    batch whose rows are gone stays in its old bins.
    """
    with database.read() as connection:
        streams = list(find_streams(connection, model, version))
    for stream in streams:
        while True:
            with database.read() as connection:
                plan = _plan(connection, model, stream, edges_id)
            if not plan.arrivals:
                return 0
            built = _count(database, model, version, plan, build, merge)
            if _swap(database, stream, edges_id, plan, built):
                return len(plan.arrivals)
    return 0


def _plan(connection: apsw.Connection, model: str, stream: int, edges_id: str) -> _Plan:
    stale = find_batches(connection, stream, edges_id)
    if not stale:
        return _Plan((), frozenset(), {}, frozenset(), 0)
    there = frozenset(stale)
    out = [f for f in leaf_headers(connection, stream) if f.edges_id != edges_id and f.covers <= there]
    sql = "SELECT arrival FROM batches JOIN batch_rows USING (arrival) WHERE stream = ? AND edges_id IS NULL"
    uncounted = frozenset(arrival for (arrival,) in connection.execute(sql, (stream,)))
    return _Plan(tuple(stale), frozenset(f.id for f in out), _cells(out), uncounted, get_mark(connection, model))


def _cells(leaves: Iterable[LeafHeader]) -> dict[_Cell, frozenset[int]]:
    cells: dict[_Cell, set[int]] = {}
    for leaf in leaves:
        cells.setdefault((leaf.hour_us, leaf.segment), set()).update(leaf.covers)
    return {cell: frozenset(arrivals) for cell, arrivals in cells.items()}


@dataclass(slots=True)
class _Built:
    """New leaves, by hour, segment, bins and side of the mark."""

    merge: MergeStates
    kinds: dict[tuple[object, ...], list[StoredLeaf]] = field(default_factory=dict)

    def add(self, leaf: Leaf, arrival: int, *, after_mark: bool) -> None:
        kind = self.kinds.setdefault((leaf.hour_us, leaf.segment, leaf.edges_id, after_mark), [])
        kind.append(StoredLeaf(leaf, arrival, arrival, frozenset((arrival,))))
        if len(kind) == _TOGETHER:
            kind[:] = [as_one(kind, self.merge)]


def _count(database: Database, model: str, version: str, plan: _Plan, build: LeafBuilder, merge: MergeStates) -> _Built:
    built = _Built(merge)
    wanted = frozenset().union(plan.uncounted, *plan.cells.values())
    for arrival in plan.arrivals:
        if arrival not in wanted:
            continue
        with database.read() as connection:
            batch = load_batch(connection, model, version, arrival)
        for leaf in build(batch) if len(batch) else ():
            if arrival in plan.uncounted or arrival in plan.cells.get((leaf.hour_us, leaf.segment), ()):
                built.add(leaf, arrival, after_mark=arrival > plan.mark)
    return built


def _swap(database: Database, stream: int, edges_id: str, plan: _Plan, built: _Built) -> bool:
    """False, and nothing is changed, when leaves were sealed or rebuilt or rows were pruned meanwhile."""
    with database.write() as connection:
        if not set(plan.arrivals) <= set(find_batches(connection, stream, edges_id)):
            return False
        here = {f.id for f in leaf_headers(connection, stream)}
        if not plan.leaf_ids <= here:
            return False
        connection.executemany("DELETE FROM leaves WHERE id = ?", ((leaf_id,) for leaf_id in plan.leaf_ids))
        for kind in built.kinds.values():
            add_leaves(connection, stream, kind)
        counted = "UPDATE batches SET edges_id = ? WHERE arrival = ?"
        connection.executemany(counted, ((edges_id, arrival) for arrival in plan.arrivals))
    return True
