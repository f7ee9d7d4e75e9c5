"""What ``doctor`` wants to know of a PostgreSQL server and of this user's rights in it."""

from __future__ import annotations

from typing import Any

import psycopg

from driftwell.stores.postgres.address import Address
from driftwell.stores.postgres.connection import Connection, fetch, fetch_value
from driftwell.stores.postgres.migration import stored_version

__all__ = ["describe"]

_SETTINGS = {
    "fsync": "fsync is off: a crash of the server's machine can destroy the database; switch it on",
    "full_page_writes": "full_page_writes is off: a power failure can destroy the database; switch it on",
    "synchronous_commit": "synchronous_commit is off: a crash of the server loses what was stored last; switch it on",
    "autovacuum": "autovacuum is off: pruned rows keep their space and queries grow slow; switch it on",
}
_CLOCK = "SELECT (extract(epoch FROM clock_timestamp()) * 1000000)::bigint"
_RIGHTS = ("SELECT", "INSERT", "UPDATE", "DELETE")


def describe(connection: Connection, address: Address) -> dict[str, Any]:
    """The dict of ``info``; ``integrity`` is ``ok`` or names indexes that are not valid."""
    size = (
        "SELECT coalesce(sum(pg_total_relation_size(c.oid)), 0)::bigint FROM pg_class c"
        " WHERE c.relnamespace = current_schema()::regnamespace AND c.relkind = 'r'"
    )
    broken = (
        "SELECT c.relname::text FROM pg_index i JOIN pg_class c ON c.oid = i.indexrelid"
        " WHERE c.relnamespace = current_schema()::regnamespace AND NOT i.indisvalid ORDER BY 1"
    )
    invalid = [name for (name,) in fetch(connection, broken)]
    return {
        "kind": "postgresql",
        "server_version": _setting(connection, "server_version"),
        "schema_version": stored_version(connection, address),
        "driver": "psycopg",
        "driver_version": psycopg.__version__,
        "bytes": fetch_value(connection, size),
        "integrity": "ok" if not invalid else f"not valid: {', '.join(invalid)}; REINDEX them",
        "schema": address.schema,
        "problems": _problems(connection, invalid),
        "server_time_us": fetch_value(connection, _CLOCK),  # asked last: who reads it compares it with now
    }


def _problems(connection: Connection, invalid: list[str]) -> list[str]:
    problems = [sentence for name, sentence in _SETTINGS.items() if _setting(connection, name) == "off"]
    if (encoding := _setting(connection, "server_encoding")) != "UTF8":
        problems.append(f"the database is encoded in {encoding}: some texts cannot be stored; create one in UTF8")
    if fetch_value(connection, "SELECT pg_is_in_recovery()"):
        problems.append("this server is a standby and takes no writes: name the primary")
    problems += [f"this user lacks {right}: GRANT it, or make the user the owner" for right in _missing(connection)]
    return problems + [f"the index {name} is not valid: REINDEX it" for name in invalid]


def _missing(connection: Connection) -> list[str]:
    sql = (
        "SELECT r || ' on table ' || c.relname FROM pg_class c, unnest(%s::text[]) AS r"
        " WHERE c.relnamespace = current_schema()::regnamespace AND c.relkind = 'r'"
        " AND NOT has_table_privilege(c.oid, r) ORDER BY 1"
    )
    return [text for (text,) in fetch(connection, sql, (list(_RIGHTS),))]


def _setting(connection: Connection, name: str) -> str:
    return str(fetch_value(connection, "SELECT current_setting(%s)", (name,)))
