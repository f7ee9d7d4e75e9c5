"""A store without a file: all that the SQLite store does, for as long as the process lives.

For tests, notebooks and short trials. It is the same code on an SQLite database that is kept in memory and shared by
the threads of one process. There is no write-ahead log: a writer waits for readers, and they for it.
"""

from __future__ import annotations

import os
from itertools import count
from typing import Any

import apsw

from driftwell.errors import NotSupported
from driftwell.stores.base import Capabilities
from driftwell.stores.sqlite import health
from driftwell.stores.sqlite.connection import Database
from driftwell.stores.sqlite.store import SQLiteStore

__all__ = ["MemoryStore"]

_numbers = count(1)


class _MemoryDatabase(Database):
    """A database in memory, which lives as long as one connection to it is open: the anchor."""

    logs_ahead = False

    def __init__(self) -> None:
        self._owner = os.getpid()
        name = f"file:/driftwell-{self._owner}-{next(_numbers)}?vfs=memdb"
        flags = apsw.SQLITE_OPEN_READWRITE | apsw.SQLITE_OPEN_CREATE | apsw.SQLITE_OPEN_URI
        self._anchor = apsw.Connection(name, flags=flags)
        super().__init__(name)

    def close(self) -> None:
        """Close all connections: what was stored is gone then. Safe to repeat."""
        super().close()
        self._anchor.close(True)

    def _full_path(self, path: str | os.PathLike[str]) -> str:
        return os.fspath(path)

    def _create(self) -> None:
        """There is no file."""

    def _identity(self) -> tuple[int, int] | None:
        return self._owner, 0

    def _leave_lost_file(self) -> None:
        if os.getpid() != self._owner:
            raise NotSupported(
                "memory:// belongs to the process that opened it, and this one was forked from it: nothing stored here"
                " would be seen there; use sqlite:///driftwell.db, which all processes share"
            )


class MemoryStore(SQLiteStore):
    """Both store protocols in memory: every store is empty at first and its own, and is gone when it is closed.

    For one process: in a forked child every call raises ``NotSupported``.
    """

    def __init__(self) -> None:
        super().__init__(_MemoryDatabase())

    @property
    def url(self) -> str:
        """``memory://``."""
        return "memory://"

    @property
    def capabilities(self) -> Capabilities:
        """All but that anything lasts."""
        return Capabilities(ledger=True, durable=False)

    def info(self) -> dict[str, Any]:
        """For ``doctor``; all in memory, so that there is no path."""
        found = health.state(self.database)
        problems = [] if found["integrity"] == "ok" else [f"the memory of the store is damaged: {found['integrity']}"]
        return found | {"kind": "memory", "path": None, "problems": problems}
