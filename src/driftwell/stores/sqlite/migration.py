"""Brings a SQLite file to the newest schema; numbered SQL files under ``migrations/`` say how."""

from __future__ import annotations

import time
from importlib import resources
from importlib.resources.abc import Traversable

import apsw

from driftwell.errors import FormatError, StoreError

__all__ = ["APPLICATION_ID", "migrate", "newest_version"]

APPLICATION_ID = 0x44726674
"""Written into every file ("Drft"), so that another program's database is never taken for ours."""

# One statement, so that a process creating the schema meanwhile is seen before or after, never half.
_IDENTITY = """
SELECT (SELECT application_id FROM pragma_application_id),
       (SELECT user_version FROM pragma_user_version),
       (SELECT count(*) FROM sqlite_schema)
"""


def newest_version() -> int:
    """The schema version this code writes."""
    return len(_scripts())


def migrate(connection: apsw.Connection, path: str, *, log_ahead: bool = True) -> None:
    """Create the schema or bring it up to date; several processes may do so at once, one of them will.

    ``log_ahead`` False: the database is in memory, where there is no write-ahead log.

    Raises ``FormatError`` for a file of another program or of a newer version; such a file is left as it is.
    """
    version = _version(connection, path)
    if version == 0:  # only before the first table can a file learn to give pages back
        connection.execute("PRAGMA auto_vacuum = INCREMENTAL").fetchall()
    if log_ahead:
        _use_write_ahead_log(connection, path)
    if version < newest_version():
        _upgrade(connection, path)


def _scripts() -> list[Traversable]:
    folder = resources.files(__package__) / "migrations"
    return sorted((f for f in folder.iterdir() if f.name.endswith(".sql")), key=lambda f: f.name)


def _version(connection: apsw.Connection, path: str) -> int:
    application, version, tables = connection.execute(_IDENTITY).get
    if application != APPLICATION_ID:
        if tables:
            raise FormatError(f"{path} is a database of another program: give Driftwell a file of its own")
        return 0
    if version > newest_version():
        raise FormatError(
            f"{path} was written by a newer Driftwell (schema {version}, this one knows {newest_version()}):"
            " upgrade driftwell here, or name another file"
        )
    return int(version)


def _use_write_ahead_log(connection: apsw.Connection, path: str) -> None:
    mode = connection.pragma("journal_mode")
    give_up = time.monotonic() + 30
    while mode != "wal":
        # The switch needs the file alone for a moment, and SQLite does not wait for that by itself.
        try:
            mode = connection.pragma("journal_mode", "wal")
        except apsw.BusyError:
            if time.monotonic() > give_up:
                raise
            time.sleep(0.01)
        else:
            if mode != "wal":
                raise StoreError(f"{path} cannot use a write-ahead log: put it on a local disk, not on a network")


def _upgrade(connection: apsw.Connection, path: str) -> None:
    connection.execute("BEGIN IMMEDIATE")
    try:
        version = _version(connection, path)  # another process may have been faster
        for script in _scripts()[version:]:
            connection.execute(script.read_text(encoding="utf-8")).fetchall()
        connection.pragma("application_id", APPLICATION_ID)
        connection.pragma("user_version", newest_version())
        connection.execute("COMMIT")
    except BaseException:
        if connection.in_transaction:
            connection.execute("ROLLBACK")
        raise
