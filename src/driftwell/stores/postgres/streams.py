"""Small integers for model versions, and the locks that keep arrival numbers in the order of commits.

``appending`` is shared by all that store batches or prune; labels and deletions take it alone, so that a label never
misses a prediction that is being stored, nor meets one that is being pruned. Whoever stores a batch of a model, or
sets its mark, also takes the model's own lock and draws an arrival number then: of one model, a larger number was
committed later. ``removing`` is for one that prunes or deletes. Locks are always taken in this order, so that nobody
waits in a circle.
"""

from __future__ import annotations

from driftwell.stores.postgres.connection import Connection, fetch, fetch_value, lock

__all__ = [
    "add_stream",
    "find_streams",
    "lock_for_append",
    "lock_for_deletion",
    "lock_for_labels",
    "lock_for_pruning",
    "lock_leaves",
    "lock_model",
]


def find_streams(connection: Connection, model: str, version: str | None) -> dict[int, str]:
    """``{stream: version}`` of the model's versions, or of the one asked for; empty when there are none."""
    sql = "SELECT id, version FROM streams WHERE model = %s AND (%s::text IS NULL OR version = %s) ORDER BY id"
    return {int(stream): str(own) for stream, own in fetch(connection, sql, (model, version, version))}


def add_stream(connection: Connection, model: str, version: str) -> int:
    """The stream of a model version, made when it is new. Needs the model's lock."""
    found = find_streams(connection, model, version)
    if found:
        return next(iter(found))
    return int(
        fetch_value(connection, "INSERT INTO streams (model, version) VALUES (%s, %s) RETURNING id", (model, version))
    )


def lock_for_append(connection: Connection, model: str) -> None:
    """Store a batch of this model along with those of others; both locks in one journey to the server."""
    _lock_beside_appending(connection, f"model/{model}")


def lock_for_pruning(connection: Connection) -> None:
    """Be the only one to prune, while batches are stored."""
    _lock_beside_appending(connection, "removing")


def lock_for_labels(connection: Connection) -> None:
    """Add labels while no batch is being stored or pruned."""
    lock(connection, "appending")


def lock_for_deletion(connection: Connection) -> None:
    """Delete while nothing is being stored, labelled or pruned."""
    lock(connection, "appending")
    lock(connection, "removing")


def lock_model(connection: Connection, model: str) -> None:
    """Be the only one to store batches of this model, or to set its mark."""
    lock(connection, f"model/{model}")


def lock_leaves(connection: Connection, stream: int) -> None:
    """Be the only one to merge or replace leaves and summaries of this stream. Storing new ones goes on."""
    lock(connection, f"leaves/{stream}")


def _lock_beside_appending(connection: Connection, what: str) -> None:
    sql = (
        "SELECT pg_advisory_xact_lock_shared(hashtextextended(current_schema() || '/appending', 0)),"
        " pg_advisory_xact_lock(hashtextextended(current_schema() || '/' || %s, 0))"
    )
    connection.execute(sql, (what,))
