"""Profile leaves: written with their batch, merged by the hour when many, each with the batches that it covers."""

from __future__ import annotations

from collections.abc import Iterable
from contextlib import suppress

from driftwell.stores.base import Leaf
from driftwell.stores.leaves import MergeStates, StoredLeaf, as_one
from driftwell.stores.postgres.connection import Connection, Database, fetch, fetch_value
from driftwell.stores.postgres.streams import find_streams, lock_leaves
from driftwell.stores.postgres.summaries import seal_hours

__all__ = ["add_leaves", "find_leaves", "get_mark", "seal_leaves"]


def add_leaves(connection: Connection, stream: int, leaves: Iterable[StoredLeaf]) -> None:
    """Write leaves with what they cover."""
    sql = (
        "INSERT INTO leaves (stream, hour_us, segment, edges_id, n, first_arrival, last_arrival, covers, state)"
        " VALUES (%s, %s, %s, %s, %s, %s, %s, %s::bigint[], %s)"
    )
    rows = [
        (stream, f.hour_us, f.segment, f.edges_id, f.n, s.first_arrival, s.last_arrival, sorted(s.covers), f.state)
        for s in leaves
        for f in (s.leaf,)
    ]
    with connection.cursor() as cursor:
        cursor.executemany(sql, rows)


def find_leaves(
    connection: Connection, model: str, version: str | None, start_us: int, end_us: int, after_arrival: int
) -> list[Leaf]:
    """Leaves of the hours ``[start, end)``, by hour; see ``Ledger.leaves``."""
    sql = (
        "SELECT segment, hour_us, edges_id, n, state FROM leaves"
        " WHERE stream = %s AND hour_us >= %s AND hour_us < %s AND first_arrival > %s ORDER BY hour_us, id"
    )
    return [
        Leaf(model, own_version, *row)
        for stream, own_version in find_streams(connection, model, version).items()
        for row in fetch(connection, sql, (stream, start_us, end_us, after_arrival))
    ]


def get_mark(connection: Connection, model: str) -> int:
    """The arrival number after which statistics of the model start, 0 when there is no mark."""
    return int(fetch_value(connection, "SELECT arrival FROM marks WHERE model = %s", (model,)) or 0)


def seal_leaves(database: Database, before_hour_us: int, more_than: int, merge: MergeStates) -> int:
    """Merge crowded hours, a transaction for each; the number of hours sealed. See ``Ledger.seal``."""
    crowded = (
        "SELECT DISTINCT stream, hour_us FROM leaves WHERE hour_us < %s"
        " GROUP BY stream, hour_us, segment, edges_id HAVING count(*) > %s ORDER BY stream, hour_us"
    )
    with database.read() as connection:
        hours = fetch(connection, crowded, (before_hour_us, more_than))
    sealed = sum([_seal_hour(database, stream, hour_us, more_than, merge) for stream, hour_us in hours])
    seal_hours(database, before_hour_us, more_than)
    return sealed


def _seal_hour(database: Database, stream: int, hour_us: int, more_than: int, merge: MergeStates) -> bool:
    sql = (
        "SELECT f.id, f.first_arrival, f.last_arrival, f.covers, f.first_arrival > coalesce(m.arrival, 0),"
        " s.model, s.version, f.segment, f.hour_us, f.edges_id, f.n, f.state"
        " FROM leaves f JOIN streams s ON s.id = f.stream"
        " LEFT JOIN marks m ON m.model = s.model WHERE f.stream = %s AND f.hour_us = %s ORDER BY f.id"
    )
    kinds: dict[tuple[object, ...], dict[int, StoredLeaf]] = {}
    with database.read() as connection:
        for leaf_id, first, last, covers, after_mark, *rest in fetch(connection, sql, (stream, hour_us)):
            leaf = Leaf(*rest)
            kind = kinds.setdefault((leaf.segment, leaf.edges_id, after_mark), {})
            kind[leaf_id] = StoredLeaf(leaf, first, last, frozenset(covers))
    crowded = [kind for kind in kinds.values() if len(kind) > more_than]
    sealed = [_put_one_for_all(database, stream, kind, merge) for kind in crowded]
    return any(sealed)


def _put_one_for_all(database: Database, stream: int, kind: dict[int, StoredLeaf], merge: MergeStates) -> bool:
    """Merged outside the transaction, which is undone when another process was faster."""
    one = as_one(list(kind.values()), merge)
    with suppress(_GoneError), database.write() as connection:
        lock_leaves(connection, stream)
        if connection.execute("DELETE FROM leaves WHERE id = ANY(%s)", (list(kind),)).rowcount < len(kind):
            raise _GoneError
        add_leaves(connection, stream, [one])
        return True
    return False


class _GoneError(Exception):
    """Leaves that were to be merged are not there any more."""
