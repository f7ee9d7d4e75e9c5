"""Connections to one PostgreSQL database: a small pool that survives forks and servers that come back.

Every operation borrows a connection, so each thread has its own while it works. What the driver raises becomes a
``DriftwellError`` here and nowhere else.
"""

from __future__ import annotations

import os
import threading
import weakref
from collections.abc import Iterator, Sequence
from contextlib import contextmanager, suppress
from dataclasses import dataclass
from functools import partial
from typing import Any

import msgspec
import psycopg
from psycopg.pq import TransactionStatus
from psycopg.types.json import set_json_dumps, set_json_loads

from driftwell.errors import NotSupported, StoreError
from driftwell.stores.postgres.address import read_address
from driftwell.stores.postgres.failures import explain
from driftwell.stores.postgres.migration import migrate
from driftwell.stores.postgres.texts import adapt_texts

__all__ = ["Connection", "Database", "fetch", "fetch_value", "lock"]

Connection = psycopg.Connection[Any]

MOST_IDLE = 8
"""Connections kept for the next operations; a burst of threads may open more for a while."""
OLDEST_SERVER = 130_000

_READ = "BEGIN ISOLATION LEVEL REPEATABLE READ, READ ONLY"
_WRITE = "BEGIN ISOLATION LEVEL READ COMMITTED"


class Database:
    """One schema of a PostgreSQL database, opened and brought to the newest version.

    Raises ``BadInput`` when the address cannot be read, ``StoreError`` when the server cannot be reached or refuses,
    ``FormatError`` when the schema is of another program or of a newer version.

    A connection that was lost is dropped; the next operation opens another. One that was lost while it waited for
    work is replaced without an error.
    """

    def __init__(self, url: str) -> None:
        self.address = read_address(url)
        self._idle: list[Connection] = []
        self._open: set[Connection] = set()
        self._closed = False
        self._migrated = False
        self._pool = threading.Lock()
        _open_databases.add(self)
        with self.read():
            pass

    @contextmanager
    def read(self) -> Iterator[Connection]:
        """A connection in a transaction whose queries all see one state of the database."""
        with self._transaction(_READ) as connection:
            yield connection

    @contextmanager
    def write(self) -> Iterator[Connection]:
        """A connection in a transaction; committed at the end, undone on any error."""
        with self._transaction(_WRITE) as connection:
            yield connection

    def close(self) -> None:
        """Close all connections; those at work now are closed when they come back. Safe to repeat."""
        with self._pool:
            self._closed = True
            idle, self._idle = self._idle, []
        for connection in idle:
            self._drop(connection)

    @contextmanager
    def _transaction(self, begin: str) -> Iterator[Connection]:
        connection = self._begun(begin)
        try:
            try:
                yield connection
                connection.execute("COMMIT")
            except BaseException:
                with suppress(psycopg.Error):  # a lost connection undoes it by itself
                    connection.execute("ROLLBACK")
                raise
        except psycopg.Error as exc:
            raise explain(exc, self.address) from exc
        finally:
            self._give_back(connection)

    def _begun(self, begin: str) -> Connection:
        """A connection on which a transaction has begun: that of an idle one if it still lives, else a new one."""
        if os.getpid() != _forks.pid:
            _notice_fork()
        while True:
            with self._pool:
                if self._closed:
                    raise StoreError(f"the store {self.address.url} is closed: open it again")
                connection = self._idle.pop() if self._idle else None
            fresh = connection is None
            if connection is None:
                connection = self._connected()
            try:
                connection.execute(begin)
            except psycopg.Error as exc:
                lost = connection.closed
                self._drop(connection)
                if fresh or not lost:
                    raise explain(exc, self.address) from exc
            except BaseException:
                self._drop(connection)
                raise
            else:
                return connection

    def _connected(self) -> Connection:
        try:
            connection = psycopg.connect(autocommit=True, **self.address.parameters)
        except psycopg.Error as exc:
            # The cause is left out: the driver's own error may repeat what it was given.
            raise explain(exc, self.address, connecting=True) from None
        with self._pool:
            self._open.add(connection)
        try:
            self._prepare(connection)
        except psycopg.Error as exc:
            self._drop(connection)
            raise explain(exc, self.address) from exc
        except BaseException:
            self._drop(connection)
            raise
        return connection

    def _prepare(self, connection: Connection) -> None:
        if connection.info.server_version < OLDEST_SERVER:
            raise NotSupported(f"{self.address.url} is older than PostgreSQL 13: upgrade the server")
        if fetch_value(connection, "SELECT current_setting('search_path')") != self.address.schema:
            raise StoreError(
                f"a pooler before {self.address.url} drops settings of the session: connect to the server itself"
            )
        connection.prepare_threshold = None  # a pooler between us and the server may not know prepared statements
        adapt_texts(connection)
        set_json_dumps(msgspec.json.encode, connection)
        set_json_loads(msgspec.json.decode, connection)
        if not self._migrated:
            migrate(connection, self.address)
            self._migrated = True

    def _give_back(self, connection: Connection) -> None:
        usable = not connection.closed and connection.info.transaction_status == TransactionStatus.IDLE
        with self._pool:
            keep = usable and not self._closed and len(self._idle) < MOST_IDLE
            if keep:
                self._idle.append(connection)
        if not keep:
            self._drop(connection)

    def _drop(self, connection: Connection) -> None:
        with self._pool:
            self._open.discard(connection)
        connection.close()

    # A child must never speak on a socket of its parent. It closes its copies of the descriptors, without a word to
    # the server, and forgets the connections; the parent's go on.
    def _before_fork(self) -> None:
        self._pool.acquire()

    def _after_fork(self, *, in_child: bool) -> None:
        if in_child:
            self._leave_to_parent()
        self._pool.release()

    # A fork from C runs no hook before it: another thread may have held the lock.
    def _after_unprepared_fork(self) -> None:
        self._pool = threading.Lock()
        self._leave_to_parent()

    def _leave_to_parent(self) -> None:
        for connection in self._open:
            with suppress(psycopg.Error, OSError):
                os.close(connection.fileno())
        _inherited.extend(self._open)
        self._open, self._idle = set(), []


def fetch(connection: Connection, sql: Any, values: Any = ()) -> list[tuple[Any, ...]]:
    """All rows of a query as tuples."""
    return connection.execute(sql, values, binary=True).fetchall()


def fetch_value(connection: Connection, sql: Any, values: Sequence[Any] = ()) -> Any:
    """The first value of the first row of a query, or None."""
    row = connection.execute(sql, values, binary=True).fetchone()
    return row[0] if row else None


def lock(connection: Connection, what: str) -> None:
    """Wait for a lock of this schema, held until the transaction ends."""
    connection.execute("SELECT pg_advisory_xact_lock(hashtextextended(current_schema() || '/' || %s, 0))", (what,))


_open_databases: weakref.WeakSet[Database] = weakref.WeakSet()
_inherited: list[Connection] = []
"""Connections of the parent, kept from the garbage collector: their descriptors may be in use by others by now."""
_forking: list[Database] = []
_one_fork = threading.Lock()
_noticing = threading.Lock()


@dataclass(slots=True)
class _Forks:
    """Which process this is, as far as anybody noticed."""

    pid: int


_forks = _Forks(os.getpid())


def _before_fork() -> None:
    _one_fork.acquire()
    _forking[:] = _open_databases
    for database in _forking:
        database._before_fork()


def _after_fork(*, in_child: bool) -> None:
    if in_child:
        _forks.pid = os.getpid()
        if not _one_fork.locked():
            for database in list(_open_databases):
                database._after_unprepared_fork()
            return
    while _forking:
        _forking.pop()._after_fork(in_child=in_child)
    _one_fork.release()


def _notice_fork() -> None:
    """A fork from C may run no hook at all."""
    with _noticing:
        if os.getpid() != _forks.pid:
            _after_fork(in_child=True)


if hasattr(os, "register_at_fork"):
    os.register_at_fork(
        before=_before_fork,
        after_in_parent=partial(_after_fork, in_child=False),
        after_in_child=partial(_after_fork, in_child=True),
    )
