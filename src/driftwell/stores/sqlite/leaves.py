"""Profile leaves: written with their batch, merged by the hour when many, rebuilt when the bins change."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Sequence
from contextlib import suppress
from dataclasses import dataclass, replace

import apsw

from driftwell.stores.base import Leaf, LeafBuilder
from driftwell.stores.sqlite.connection import Database, fetch
from driftwell.stores.sqlite.rows import find_batches, load_batch
from driftwell.stores.sqlite.streams import find_streams
from driftwell.stores.sqlite.summaries import seal_hours

__all__ = [
    "MergeStates",
    "add_leaves",
    "find_leaves",
    "get_mark",
    "merge_states",
    "rebuild_leaves",
    "seal_leaves",
]

MergeStates = Callable[[Sequence[bytes]], bytes]
"""Merges leaf states that count in the same bins into one."""

_TOGETHER = 64
"""Leaves of one kind that are held while rebuilding before they are merged."""


@dataclass(frozen=True, slots=True)
class _Stored:
    """A leaf with the arrival numbers it covers."""

    leaf: Leaf
    first_arrival: int
    last_arrival: int


def merge_states(states: Sequence[bytes]) -> bytes:
    """Merge profile states; the profiles room does the work."""
    from driftwell.profiles.format import codec

    return codec.merge_states(list(states))


def add_leaves(
    connection: apsw.Connection, stream: int, leaves: Iterable[Leaf], first_arrival: int, last_arrival: int
) -> None:
    """Write leaves that cover the arrivals ``first … last``."""
    sql = (
        "INSERT INTO leaves (stream, hour_us, segment, edges_id, n, first_arrival, last_arrival, state)"
        " VALUES (?, ?, ?, ?, ?, ?, ?, ?)"
    )
    rows = ((stream, f.hour_us, f.segment, f.edges_id, f.n, first_arrival, last_arrival, f.state) for f in leaves)
    connection.executemany(sql, rows)


def find_leaves(
    connection: apsw.Connection,
    model: str,
    version: str | None,
    start_us: int,
    end_us: int,
    after_arrival: int,
) -> list[Leaf]:
    """Leaves of the hours ``[start, end)``, by hour; see ``Ledger.leaves``."""
    sql = (
        "SELECT segment, hour_us, edges_id, n, state FROM leaves"
        " WHERE stream = ? AND hour_us >= ? AND hour_us < ? AND first_arrival > ? ORDER BY hour_us, id"
    )
    return [
        Leaf(model, own_version, *row)
        for stream, own_version in find_streams(connection, model, version).items()
        for row in fetch(connection, sql, (stream, start_us, end_us, after_arrival))
    ]


def get_mark(connection: apsw.Connection, model: str) -> int:
    """The arrival number after which statistics of the model start, 0 when there is no mark."""
    row = connection.execute("SELECT arrival FROM marks WHERE model = ?", (model,)).fetchone()
    return int(row[0]) if row else 0


def seal_leaves(database: Database, before_hour_us: int, more_than: int, merge: MergeStates) -> int:
    """Merge crowded hours, a transaction for each; the number of hours sealed. See ``Ledger.seal``."""
    crowded = (
        "SELECT DISTINCT stream, hour_us FROM leaves WHERE hour_us < ?"
        " GROUP BY stream, hour_us, segment, edges_id HAVING count(*) > ?"
    )
    with database.read() as connection:
        hours = fetch(connection, crowded, (before_hour_us, more_than))
    sealed = sum([_seal_hour(database, stream, hour_us, more_than, merge) for stream, hour_us in hours])
    with database.write() as connection:
        seal_hours(connection, before_hour_us, more_than)
    return sealed


def rebuild_leaves(
    database: Database, model: str, version: str, edges_id: str, build: LeafBuilder, merge: MergeStates
) -> int:
    """Count every kept batch anew, then swap all leaves at once; see ``Ledger.replace_leaves``.

    All at once, because a window that saw some leaves in old and some in new bins could not be merged. Leaves
    are merged by the hour on the way, so that memory grows with the hours and not with the rows.
    """
    with database.read() as connection:
        streams = list(find_streams(connection, model, version))
    if not streams:
        return 0
    rebuild = _Rebuild(database, streams[0], model, version, edges_id)
    while rebuild.count_stale_batches(build, merge):
        swapped = rebuild.swap()
        if swapped is not None:
            return swapped
    return 0


class _Rebuild:
    """The leaves of the batches counted so far, kept until they can be swapped in."""

    def __init__(self, database: Database, stream: int, model: str, version: str, edges_id: str) -> None:
        self.database, self.stream, self.edges_id = database, stream, edges_id
        self.model, self.version = model, version
        self.done: list[int] = []
        self.kinds: dict[tuple[object, ...], list[_Stored]] = {}

    def count_stale_batches(self, build: LeafBuilder, merge: MergeStates) -> bool:
        """Count the batches that still have leaves in other bins; whether there is anything to swap."""
        with self.database.read() as connection:
            stale = self._stale(connection)
            mark = get_mark(connection, self.model)
        if self.done != stale[: len(self.done)]:  # another process was at it too: what it left is for us
            self.done, self.kinds = [], {}
        for arrival in stale[len(self.done) :]:
            with self.database.read() as connection:
                batch = load_batch(connection, self.model, self.version, arrival)
            for leaf in build(batch):
                self._keep(leaf, arrival, arrival > mark, merge)
            self.done.append(arrival)
        return bool(self.done)

    def swap(self) -> int | None:
        """Put the new leaves in the place of the old; None when more batches must be counted first."""
        last = self.done[-1]
        with self.database.write() as connection:
            straddling = (
                "SELECT EXISTS (SELECT 1 FROM leaves WHERE stream = ?1 AND edges_id <> ?2"
                " AND first_arrival <= ?3 AND last_arrival > ?3)"
            )
            key = (self.stream, self.edges_id, last)
            stale = [arrival for arrival in self._stale(connection) if arrival <= last]
            if stale != self.done or connection.execute(straddling, key).get:
                return None
            old = "DELETE FROM leaves WHERE stream = ? AND edges_id <> ? AND last_arrival <= ?"
            connection.execute(old, key)
            for stored in (stored for kind in self.kinds.values() for stored in kind):
                add_leaves(connection, self.stream, [stored.leaf], stored.first_arrival, stored.last_arrival)
            counted = "UPDATE batches SET edges_id = ?2 WHERE stream = ?1 AND arrival <= ?3"
            connection.execute(counted, key)
        return len(self.done)

    def _stale(self, connection: apsw.Connection) -> list[int]:
        return find_batches(connection, self.stream, self.edges_id)

    def _keep(self, leaf: Leaf, arrival: int, after_mark: bool, merge: MergeStates) -> None:
        kind = self.kinds.setdefault((leaf.hour_us, leaf.segment, leaf.edges_id, after_mark), [])
        kind.append(_Stored(leaf, arrival, arrival))
        if len(kind) == _TOGETHER:
            kind[:] = [_as_one(kind, merge)]


def _as_one(kind: Sequence[_Stored], merge: MergeStates) -> _Stored:
    state = merge([stored.leaf.state for stored in kind])
    leaf = replace(kind[0].leaf, n=sum(stored.leaf.n for stored in kind), state=state)
    return _Stored(leaf, min(s.first_arrival for s in kind), max(s.last_arrival for s in kind))


def _seal_hour(database: Database, stream: int, hour_us: int, more_than: int, merge: MergeStates) -> bool:
    sql = (
        "SELECT f.id, f.first_arrival, f.last_arrival, f.first_arrival > coalesce(m.arrival, 0),"
        " s.model, s.version, f.segment, f.hour_us, f.edges_id, f.n, f.state"
        " FROM leaves f JOIN streams s ON s.id = f.stream"
        " LEFT JOIN marks m ON m.model = s.model WHERE f.stream = ? AND f.hour_us = ? ORDER BY f.id"
    )
    kinds: dict[tuple[object, ...], dict[int, _Stored]] = {}
    with database.read() as connection:
        for leaf_id, first, last, after_mark, *rest in fetch(connection, sql, (stream, hour_us)):
            leaf = Leaf(*rest)
            kind = kinds.setdefault((leaf.segment, leaf.edges_id, after_mark), {})
            kind[leaf_id] = _Stored(leaf, first, last)
    crowded = [kind for kind in kinds.values() if len(kind) > more_than]
    sealed = [_put_one_for_all(database, stream, kind, merge) for kind in crowded]
    return any(sealed)


def _put_one_for_all(database: Database, stream: int, kind: dict[int, _Stored], merge: MergeStates) -> bool:
    """Merged outside the transaction, which is undone when another process was faster."""
    one = _as_one(list(kind.values()), merge)
    with suppress(_GoneError), database.write() as connection:
        before = connection.total_changes()
        connection.executemany("DELETE FROM leaves WHERE id = ?", ((leaf_id,) for leaf_id in kind))
        if connection.total_changes() - before < len(kind):
            raise _GoneError
        add_leaves(connection, stream, [one.leaf], one.first_arrival, one.last_arrival)
        return True
    return False


class _GoneError(Exception):
    """Leaves that were to be merged are not there any more."""
