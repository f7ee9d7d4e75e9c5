"""Brings a schema to the newest version; numbered SQL files under ``migrations/`` say how."""

from __future__ import annotations

from importlib import resources
from importlib.resources.abc import Traversable
from typing import Any

import psycopg

from driftwell.errors import FormatError
from driftwell.stores.postgres.address import Address

__all__ = ["migrate", "newest_version", "stored_version"]


def newest_version() -> int:
    """The schema version this code writes."""
    return len(_scripts())


def migrate(connection: psycopg.Connection[Any], address: Address) -> None:
    """Create the tables or bring them up to date; several processes may do so at once, one of them will.

    Raises ``FormatError`` for a schema of another program or of a newer version; such a schema is left as it is.
    """
    if stored_version(connection, address) < newest_version():
        with connection.transaction():
            connection.execute("SET LOCAL statement_timeout = 0")
            # A lock of the database, not of a table: at the first time there is none.
            connection.execute(
                "SELECT pg_advisory_xact_lock(hashtextextended('driftwell migrates ' || %s, 0))", (address.schema,)
            )
            _upgrade(connection, address)


def stored_version(connection: psycopg.Connection[Any], address: Address) -> int:
    """The version of the tables in the schema, 0 where there are none."""
    tables = (
        "SELECT count(*), count(*) FILTER (WHERE tablename = 'schema_version') FROM pg_tables WHERE schemaname = %s"
    )
    ((total, own),) = connection.execute(tables, (address.schema,)).fetchall()
    if not own:
        if total:
            raise FormatError(
                f"the schema {address.schema} of {address.url} holds tables of another program: name another"
                " schema with ?schema="
            )
        return 0
    ((version,),) = connection.execute("SELECT coalesce(max(version), 0) FROM schema_version").fetchall()
    if version > newest_version():
        raise FormatError(
            f"{address.url} was written by a newer Driftwell (schema {version}, this one knows {newest_version()}):"
            " upgrade driftwell here, or name another database or schema"
        )
    return int(version)


def _scripts() -> list[Traversable]:
    folder = resources.files(__package__) / "migrations"
    return sorted((f for f in folder.iterdir() if f.name.endswith(".sql")), key=lambda f: f.name)


def _upgrade(connection: psycopg.Connection[Any], address: Address) -> None:
    known = "SELECT EXISTS (SELECT 1 FROM pg_namespace WHERE nspname = %s)"
    ((exists,),) = connection.execute(known, (address.schema,)).fetchall()
    if not exists:  # CREATE … IF NOT EXISTS would ask for the right to create even where there is nothing to do
        connection.execute(f"CREATE SCHEMA {address.schema}".encode())
    version = stored_version(connection, address)  # another process may have been faster
    for number, script in enumerate(_scripts()[version:], start=version + 1):
        connection.execute(script.read_bytes())
        connection.execute("INSERT INTO schema_version (version) VALUES (%s)", (number,))
