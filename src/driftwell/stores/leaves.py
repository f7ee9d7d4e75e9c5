"""Stored leaves: each with the batches that it counts, and merged by the hour when there are many."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass, field, replace

from driftwell.stores.base import Leaf

__all__ = ["GatheredLeaves", "LeafHeader", "MergeStates", "StoredLeaf", "as_one", "leaves_of_batch", "merge_states"]

TOGETHER = 64
"""Leaves of one kind that are held before they are merged."""

MergeStates = Callable[[Sequence[bytes]], bytes]
"""Merges leaf states that count in the same bins into one."""


@dataclass(frozen=True, slots=True)
class StoredLeaf:
    """A leaf, the arrival numbers between which it lies, and the batches that it counts by their own numbers."""

    leaf: Leaf
    first_arrival: int
    last_arrival: int
    covers: frozenset[int]


@dataclass(frozen=True, slots=True)
class LeafHeader:
    """What rebuilding must know of a stored leaf."""

    id: int
    hour_us: int
    segment: str | None
    edges_id: str
    covers: frozenset[int]


def merge_states(states: Sequence[bytes]) -> bytes:
    """Merge profile states; the profiles room does the work."""
    from driftwell.profiles.format import codec

    return codec.merge_states(list(states))


def leaves_of_batch(leaves: Sequence[Leaf], arrival: int) -> list[StoredLeaf]:
    """The leaves of one batch whose rows are in the same store."""
    covers = frozenset((arrival,))
    return [StoredLeaf(leaf, arrival, arrival, covers) for leaf in leaves]


def as_one(kind: Sequence[StoredLeaf], merge: MergeStates) -> StoredLeaf:
    """Leaves of one hour, segment and bins as one."""
    state = merge([stored.leaf.state for stored in kind])
    leaf = replace(kind[0].leaf, n=sum(stored.leaf.n for stored in kind), state=state)
    first, last = min(s.first_arrival for s in kind), max(s.last_arrival for s in kind)
    return StoredLeaf(leaf, first, last, frozenset().union(*(s.covers for s in kind)))


@dataclass(slots=True)
class GatheredLeaves:
    """New leaves of many batches, merged on the way by hour, segment, bins and side of the mark: memory grows with
    the hours and not with the rows."""

    mark: int
    merge: MergeStates
    _kinds: dict[tuple[object, ...], list[StoredLeaf]] = field(default_factory=dict)

    def add(self, leaf: Leaf, arrival: int) -> None:
        """Take in a leaf of the batch with this arrival number."""
        kind = self._kinds.setdefault((leaf.hour_us, leaf.segment, leaf.edges_id, arrival > self.mark), [])
        kind += leaves_of_batch([leaf], arrival)
        if len(kind) == TOGETHER:
            kind[:] = [as_one(kind, self.merge)]

    def __iter__(self) -> Iterator[StoredLeaf]:
        return (stored for kind in self._kinds.values() for stored in kind)
