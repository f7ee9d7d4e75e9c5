"""Counting leaves anew when the bins change: what is taken out is put back, and nothing else.

A leaf can be counted again when all batches that it covers have their rows; one that covers a batch whose rows are gone
stays in its old bins. Of each batch exactly what the leaves that are taken out counted goes into the new ones: its rows
of another hour may be in a leaf that has to stay.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Sequence
from contextlib import AbstractContextManager
from dataclasses import dataclass
from typing import Protocol, TypeVar

from driftwell.stores.base import LeafBuilder, PredictionBatch
from driftwell.stores.leaves import GatheredLeaves, LeafHeader, MergeStates

__all__ = ["Connections", "Plan", "plan_of", "rebuild"]

_C = TypeVar("_C", covariant=True)
"""A store's connection."""
_Cell = tuple[int, str | None]
"""Event hour and segment."""


@dataclass(frozen=True, slots=True)
class Plan:
    """What to count: batches, oldest first; leaves to take out; and the batches of which each cell is counted."""

    arrivals: tuple[int, ...]
    leaf_ids: frozenset[int]
    cells: dict[_Cell, frozenset[int]]
    uncounted: frozenset[int]  # batches without any leaf: all of theirs are put in
    mark: int


def plan_of(
    stale: Sequence[int], leaves: Iterable[LeafHeader], edges_id: str, uncounted: Iterable[int], mark: int
) -> Plan:
    """The plan for the batches ``stale``, which have rows and do not count in the bins ``edges_id``."""
    there = frozenset(stale)
    out = [leaf for leaf in leaves if leaf.edges_id != edges_id and leaf.covers <= there]
    cells: dict[_Cell, set[int]] = {}
    for leaf in out:
        cells.setdefault((leaf.hour_us, leaf.segment), set()).update(leaf.covers)
    of_cells = {cell: frozenset(arrivals) for cell, arrivals in cells.items()}
    return Plan(tuple(stale), frozenset(leaf.id for leaf in out), of_cells, frozenset(uncounted), mark)


class Connections(Protocol[_C]):
    """Where a store's connections come from."""

    def read(self) -> AbstractContextManager[_C]:
        """One that sees one state of the store."""

    def write(self) -> AbstractContextManager[_C]:
        """One in a transaction."""


def rebuild(
    database: Connections[_C],
    plan: Callable[[_C], Plan | None],
    load: Callable[[_C, int], PredictionBatch],
    swap: Callable[[_C, Plan, GatheredLeaves], bool],
    build: LeafBuilder,
    merge: MergeStates,
) -> int:
    """Count every kept batch anew, then swap all leaves at once; the number of batches.

    All at once, because a window that saw some leaves in old and some in new bins could not be merged. ``plan`` is
    None where nothing is to be counted. ``swap`` is False, and changes nothing, where leaves or rows changed since:
    then all is done again.
    """

    def load_now(arrival: int) -> PredictionBatch:
        with database.read() as connection:
            return load(connection, arrival)

    while True:
        with database.read() as connection:
            planned = plan(connection)
        if planned is None:
            return 0
        gathered = _count(planned, load_now, build, merge)
        with database.write() as connection:
            if swap(connection, planned, gathered):
                return len(planned.arrivals)


def _count(
    plan: Plan, load: Callable[[int], PredictionBatch], build: LeafBuilder, merge: MergeStates
) -> GatheredLeaves:
    gathered = GatheredLeaves(plan.mark, merge)
    wanted = frozenset().union(plan.uncounted, *plan.cells.values())
    for arrival in plan.arrivals:
        if arrival not in wanted:
            continue
        batch = load(arrival)
        for leaf in build(batch) if len(batch) else ():
            if arrival in plan.uncounted or arrival in plan.cells.get((leaf.hour_us, leaf.segment), ()):
                gathered.add(leaf, arrival)
    return gathered
