"""Counting leaves anew when the bins change: what is taken out is put back, and nothing else.

A leaf can be counted again when all batches that it covers have their rows. Of each of these batches exactly what the
leaves that are taken out counted goes into the new ones: its rows of another hour may be in a leaf that has to stay.
"""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass, field

from driftwell.stores.base import Leaf, LeafBuilder
from driftwell.stores.postgres.connection import Connection, Database, fetch
from driftwell.stores.postgres.leaves import add_leaves, get_mark
from driftwell.stores.postgres.rows import find_batches, load_batch
from driftwell.stores.postgres.streams import find_streams, lock_leaves
from driftwell.stores.sqlite.leaves import MergeStates, StoredLeaf, as_one

__all__ = ["rebuild_leaves"]

_TOGETHER = 64
"""Leaves of one kind that are held while rebuilding before they are merged."""

_Cell = tuple[int, str | None]
"""Event hour and segment."""


@dataclass(frozen=True, slots=True)
class _Plan:
    """What to count: batches, oldest first; leaves to take out; and the batches of which each cell is counted."""

    arrivals: tuple[int, ...]
    leaf_ids: tuple[int, ...]
    cells: dict[_Cell, frozenset[int]]
    uncounted: frozenset[int]  # batches without any leaf: all of theirs are put in
    mark: int


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


def rebuild_leaves(
    database: Database, model: str, version: str, edges_id: str, build: LeafBuilder, merge: MergeStates
) -> int:
    """Count every kept batch anew, then swap all leaves at once; see ``Ledger.replace_leaves``.

    All at once, because a window that saw some leaves in old and some in new bins could not be merged. Leaves are
    merged by the hour on the way, so that memory grows with the hours and not with the rows. A leaf that covers a
    batch whose rows are gone stays in its old bins.
    """
    with database.read() as connection:
        streams = list(find_streams(connection, model, version))
    for stream in streams:
        while True:
            with database.read() as connection:
                plan = _plan(connection, model, stream, edges_id)
            if not plan.arrivals:
                break
            built = _count(database, (model, version), plan, build, merge)
            if _swap(database, stream, edges_id, plan, built):
                return len(plan.arrivals)
    return 0


def _plan(connection: Connection, model: str, stream: int, edges_id: str) -> _Plan:
    stale = find_batches(connection, stream, edges_id)
    if not stale:
        return _Plan((), (), {}, frozenset(), 0)
    there = frozenset(stale)
    headers = "SELECT id, hour_us, segment, covers FROM leaves WHERE stream = %s AND edges_id <> %s ORDER BY id"
    out = [row for row in fetch(connection, headers, (stream, edges_id)) if there.issuperset(row[3])]
    without = (
        "SELECT b.arrival FROM batches b JOIN batch_rows r ON r.arrival = b.arrival"
        " WHERE r.stream = %s AND b.edges_id IS NULL"
    )
    uncounted = frozenset(arrival for (arrival,) in fetch(connection, without, (stream,)))
    cells = _cells(((hour_us, segment), covers) for _, hour_us, segment, covers in out)
    return _Plan(tuple(stale), tuple(row[0] for row in out), cells, uncounted, get_mark(connection, model))


def _cells(leaves: Iterable[tuple[_Cell, list[int]]]) -> dict[_Cell, frozenset[int]]:
    cells: dict[_Cell, set[int]] = {}
    for cell, covers in leaves:
        cells.setdefault(cell, set()).update(covers)
    return {cell: frozenset(arrivals) for cell, arrivals in cells.items()}


def _count(database: Database, place: tuple[str, str], plan: _Plan, build: LeafBuilder, merge: MergeStates) -> _Built:
    built = _Built(merge)
    wanted = frozenset().union(plan.uncounted, *plan.cells.values())
    for arrival in plan.arrivals:
        if arrival not in wanted:
            continue
        with database.read() as connection:
            batch = load_batch(connection, *place, arrival)
        for leaf in build(batch) if len(batch) else ():
            if arrival in plan.uncounted or arrival in plan.cells.get((leaf.hour_us, leaf.segment), ()):
                built.add(leaf, arrival, after_mark=arrival > plan.mark)
    return built


def _swap(database: Database, stream: int, edges_id: str, plan: _Plan, built: _Built) -> bool:
    """False, and nothing is changed, when leaves were sealed or rebuilt or rows were pruned meanwhile."""
    with database.write() as connection:
        lock_leaves(connection, stream)
        if not set(plan.arrivals) <= set(find_batches(connection, stream, edges_id)):
            return False
        # The lock keeps others from taking leaves away, so that they are all here or have been gone before.
        here = "SELECT count(*) FROM leaves WHERE id = ANY(%s)"
        if fetch(connection, here, (list(plan.leaf_ids),)) != [(len(plan.leaf_ids),)]:
            return False
        connection.execute("DELETE FROM leaves WHERE id = ANY(%s)", (list(plan.leaf_ids),))
        for kind in built.kinds.values():
            add_leaves(connection, stream, kind)
        counted = "UPDATE batches SET edges_id = %s WHERE arrival = ANY(%s)"
        connection.execute(counted, (edges_id, list(plan.arrivals)))
    return True
