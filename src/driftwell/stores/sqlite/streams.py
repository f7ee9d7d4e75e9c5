"""Streams: a small number for each model version."""

from __future__ import annotations

import apsw

from driftwell.stores.sqlite.connection import fetch

__all__ = ["add_stream", "find_streams"]


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
