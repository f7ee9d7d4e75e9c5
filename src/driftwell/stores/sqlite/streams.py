"""Small integers for long names: a stream for a model version, a key for the place of a prediction."""

from __future__ import annotations

import apsw

from driftwell.stores.sqlite.connection import fetch

__all__ = ["MOST_ROWS", "ROW_BITS", "add_stream", "find_streams", "first_key"]

ROW_BITS = 24
"""Bits of a prediction's key that number the row within its batch; the bits above are the arrival number."""
MOST_ROWS = 1 << ROW_BITS
"""Rows that one batch can hold."""


def first_key(arrival: int) -> int:
    """The key of the first row of the batch with this arrival number."""
    return arrival << ROW_BITS


def find_streams(connection: apsw.Connection, model: str, version: str | None) -> dict[int, str]:
    """``{stream: version}`` of the model's versions, or of the one asked for; empty when there are none."""
    sql = "SELECT id, version FROM streams WHERE model = ?1 AND (?2 IS NULL OR version = ?2) ORDER BY id"
    return dict(fetch(connection, sql, (model, version)))


def add_stream(connection: apsw.Connection, model: str, version: str) -> int:
    """The stream of a model version, made when it is new."""
    found = find_streams(connection, model, version)
    if found:
        return next(iter(found))
    sql = "INSERT INTO streams (model, version) VALUES (?, ?) RETURNING id"
    ((stream,),) = fetch(connection, sql, (model, version))
    return int(stream)
