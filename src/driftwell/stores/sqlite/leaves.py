"""Profile leaves: written with their batch, merged by the hour when many, each with the batches that it covers."""

from __future__ import annotations

import zlib
from collections.abc import Iterable
from contextlib import suppress

import apsw
import numpy as np

from driftwell.stores.base import Leaf
from driftwell.stores.leaves import LeafHeader, MergeStates, StoredLeaf, as_one
from driftwell.stores.sqlite.connection import Database, fetch
from driftwell.stores.sqlite.streams import find_streams
from driftwell.stores.sqlite.summaries import seal_hours

__all__ = ["add_leaves", "find_leaves", "get_mark", "leaf_headers", "seal_leaves"]


def add_leaves(connection: apsw.Connection, stream: int, leaves: Iterable[StoredLeaf]) -> None:
    """Write leaves with what they cover."""
    sql = (
        "INSERT INTO leaves (stream, hour_us, segment, edges_id, n, first_arrival, last_arrival, state, covers)"
        " VALUES (?, ?, ?, ?, ?, ?, ?, ?, ?)"
    )
    rows = (
        (stream, f.hour_us, f.segment, f.edges_id, f.n, s.first_arrival, s.last_arrival, f.state, _packed(s))
        for s in leaves
        for f in (s.leaf,)
    )
    connection.executemany(sql, rows)


def leaf_headers(connection: apsw.Connection, stream: int, hour_us: int | None = None) -> list[LeafHeader]:
    """All leaves of a stream, or those of one hour, without their states."""
    sql = (
        "SELECT id, hour_us, segment, edges_id, first_arrival, last_arrival, covers FROM leaves"
        " WHERE stream = ?1 AND (?2 IS NULL OR hour_us = ?2) ORDER BY id"
    )
    return [
        LeafHeader(leaf_id, hour, segment, edges_id, _covered(connection, stream, edges_id, first, last, packed))
        for leaf_id, hour, segment, edges_id, first, last, packed in fetch(connection, sql, (stream, hour_us))
    ]


def _packed(stored: StoredLeaf) -> bytes | None:
    if stored.covers == {stored.first_arrival}:
        return None
    arrivals = np.array(sorted(stored.covers), dtype="<i8")
    return zlib.compress(np.diff(arrivals, prepend=0).tobytes(), 1)


def _covered(
    connection: apsw.Connection, stream: int, edges_id: str, first: int, last: int, packed: bytes | None
) -> frozenset[int]:
    if packed is not None:
        return frozenset(np.frombuffer(zlib.decompress(packed), dtype="<i8").cumsum().tolist())
    if first == last:
        return frozenset((first,))
    # Merged before leaves told what they cover: nothing was pruned then, and all batches of these bins were merged.
    sql = "SELECT arrival FROM batches WHERE stream = ? AND arrival BETWEEN ? AND ? AND edges_id IS ?"
    return frozenset(arrival for (arrival,) in connection.execute(sql, (stream, first, last, edges_id)))


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


def _seal_hour(database: Database, stream: int, hour_us: int, more_than: int, merge: MergeStates) -> bool:
    sql = (
        "SELECT f.id, f.first_arrival, f.last_arrival, f.first_arrival > coalesce(m.arrival, 0),"
        " s.model, s.version, f.segment, f.hour_us, f.edges_id, f.n, f.state"
        " FROM leaves f JOIN streams s ON s.id = f.stream"
        " LEFT JOIN marks m ON m.model = s.model WHERE f.stream = ? AND f.hour_us = ? ORDER BY f.id"
    )
    kinds: dict[tuple[object, ...], dict[int, StoredLeaf]] = {}
    with database.read() as connection:
        covers = {header.id: header.covers for header in leaf_headers(connection, stream, hour_us)}
        for leaf_id, first, last, after_mark, *rest in fetch(connection, sql, (stream, hour_us)):
            leaf = Leaf(*rest)
            kind = kinds.setdefault((leaf.segment, leaf.edges_id, after_mark), {})
            kind[leaf_id] = StoredLeaf(leaf, first, last, covers[leaf_id])
    crowded = [kind for kind in kinds.values() if len(kind) > more_than]
    sealed = [_put_one_for_all(database, stream, kind, merge) for kind in crowded]
    return any(sealed)


def _put_one_for_all(database: Database, stream: int, kind: dict[int, StoredLeaf], merge: MergeStates) -> bool:
    """Merged outside the transaction, which is undone when another process was faster."""
    one = as_one(list(kind.values()), merge)
    with suppress(_GoneError), database.write() as connection:
        before = connection.total_changes()
        connection.executemany("DELETE FROM leaves WHERE id = ?", ((leaf_id,) for leaf_id in kind))
        if connection.total_changes() - before < len(kind):
            raise _GoneError
        add_leaves(connection, stream, [one])
        return True
    return False


class _GoneError(Exception):
    """Leaves that were to be merged are not there any more."""
