"""Connections to one SQLite file: a pool that survives fork, transactions that wait their turn, plain errors.

Every operation borrows a connection, so each thread has its own while it works. Writers in other processes
are waited for; what the driver raises becomes a ``StoreError`` or ``FormatError`` here and nowhere else.
"""

from __future__ import annotations

import logging
import os
import random
import threading
import time
import weakref
from collections.abc import Iterator, Sequence
from contextlib import contextmanager, suppress
from dataclasses import dataclass, field
from functools import partial
from typing import Any, Literal

import apsw

from driftwell.errors import DriftwellError, FormatError, StoreError
from driftwell.stores.sqlite.migration import migrate

__all__ = ["Database", "Synchronous", "explain", "fetch"]

log = logging.getLogger("driftwell.stores")

BUSY_SECONDS = 60.0
FORK_WAIT_SECONDS = 10.0
MOST_IDLE = 8
"""Connections kept for the next operations; a burst of threads may open more for a while."""
CHECKPOINT_PAGES = 1_000
"""Pages in the write-ahead log after which a commit copies them into the file (4 MB)."""
CROWDED_PAGES = 16_000
"""Pages after which that copying makes other writers wait, or the log would grow without end (64 MB)."""
_FLAGS = apsw.SQLITE_OPEN_READWRITE | apsw.SQLITE_OPEN_CREATE | apsw.SQLITE_OPEN_URI
PASSIVE, RESTART = apsw.SQLITE_CHECKPOINT_PASSIVE, apsw.SQLITE_CHECKPOINT_RESTART

Synchronous = Literal["NORMAL", "FULL"]

_PRAGMAS = (
    "PRAGMA cache_size = -16000",
    "PRAGMA temp_store = MEMORY",
    "PRAGMA journal_size_limit = 67108864",
    "PRAGMA secure_delete = ON",  # what was deleted is overwritten, not only forgotten
)


class Database:
    """One SQLite file, opened and brought to the newest schema.

    Raises ``StoreError`` when the file cannot be opened or written, ``FormatError`` when it is not a
    Driftwell database, is damaged, or was written by a newer version. ``busy_seconds`` is how long a
    transaction waits for other writers before it gives up with ``StoreError``. ``synchronous``: with ``FULL`` a
    commit is on the disk when it returns; with ``NORMAL`` a power cut can undo the last ones, never damage the file.

    A file that was deleted or replaced meanwhile is opened anew, created where it is missing. A transaction that
    this happened to has failed, since what it wrote is gone with the file.
    """

    def __init__(
        self,
        path: str | os.PathLike[str],
        *,
        busy_seconds: float = BUSY_SECONDS,
        synchronous: Synchronous = "NORMAL",
    ) -> None:
        self.path = self._full_path(path)
        self._busy_seconds = busy_seconds
        self._synchronous = synchronous
        self._idle: list[apsw.Connection] = []
        self._file: tuple[int, int] | None = None  # which file the connections are of; None until one is open
        self._generation = 0
        self._lent = 0
        self._closed = False
        self._forked_at_work = False
        self._pool = threading.Condition()
        _open_databases.add(self)
        with self._borrowed():
            pass

    @contextmanager
    def read(self) -> Iterator[apsw.Connection]:
        """A connection in a read transaction: all its queries see one state of the file."""
        with self._borrowed() as connection, _transaction(connection, "BEGIN"):
            yield connection

    @contextmanager
    def write(self) -> Iterator[apsw.Connection]:
        """A connection that holds the write lock; committed at the end, rolled back on any error."""
        with self._borrowed(to_keep=True) as connection, _transaction(connection, "BEGIN IMMEDIATE"):
            yield connection

    @contextmanager
    def alone(self) -> Iterator[apsw.Connection]:
        """A connection in no transaction, for what SQLite does outside of one."""
        with self._borrowed(to_keep=True) as connection:
            yield connection

    def empty_log(self, patience_seconds: float = 10.0) -> bool:
        """Copy the write-ahead log into the file and cut it, so that what was deleted is in neither; whether that was
        done: a reader at work since before stands in its way."""
        if not self.logs_ahead:
            return True
        with self._borrowed():
            impatient = _connect(self.path, patience_seconds, self._synchronous)
            try:
                impatient.wal_checkpoint(mode=apsw.SQLITE_CHECKPOINT_TRUNCATE)
            except apsw.BusyError:
                return False
            finally:
                impatient.close(True)
        return True

    def close(self) -> None:
        """Close all connections; those at work now are closed when they come back. Safe to repeat."""
        with self._pool:
            self._closed = True
            self._close_idle()

    @contextmanager
    def _borrowed(self, *, to_keep: bool = False) -> Iterator[apsw.Connection]:
        if os.getpid() != _forks.pid:
            _notice_fork()
        with self._pool:
            if self._closed:
                raise StoreError(f"the store {self.path} is closed: open it again")
            if self._forked_at_work:
                raise StoreError(f"this process was forked while {self.path} was at work, and cannot use it: fork anew")
            self._leave_lost_file()
            self._lent += 1
            connection, generation = self._idle.pop() if self._idle else None, self._generation
        try:
            connection = connection or self._opened()
            yield connection
            if to_keep and (generation != self._generation or self._identity() != self._file):
                raise StoreError(f"the store {self.path} was removed while it was written to: nothing of this is kept")
        except apsw.Error as exc:
            raise explain(exc, self.path) from exc
        finally:
            self._give_back(connection, generation)

    def _opened(self) -> apsw.Connection:
        if self._file is None:
            self._create()
        connection = _connect(self.path, self._busy_seconds, self._synchronous)
        if self._file is None:
            try:
                migrate(connection, self.path, log_ahead=self.logs_ahead)
            except BaseException:
                connection.close(True)
                raise
            self._file = self._identity()
        return connection

    # What a database that is no file does otherwise.
    logs_ahead = True

    def _full_path(self, path: str | os.PathLike[str]) -> str:
        return os.path.abspath(path)

    def _create(self) -> None:
        """Predictions may be personal: a new file is for its owner alone, and SQLite's other files follow it."""
        with suppress(OSError):  # there already, or SQLite will say what is wrong
            os.close(os.open(self.path, os.O_CREAT | os.O_EXCL | os.O_RDWR, 0o600))

    def _identity(self) -> tuple[int, int] | None:
        """Which file lies at the path now; None where there is none."""
        try:
            found = os.stat(self.path)
        except OSError:
            return None
        return found.st_dev, found.st_ino

    def _leave_lost_file(self) -> None:
        if self._file is None or self._identity() == self._file:
            return
        log.warning("the store %s was removed or replaced: it is opened anew, what it held is not in it", self.path)
        for connection in self._idle:
            _abandon(connection)
        self._idle.clear()
        self._file, self._generation = None, self._generation + 1

    def _give_back(self, connection: apsw.Connection | None, generation: int) -> None:
        with self._pool:
            self._lent -= 1
            if connection is not None:
                broken = connection.in_transaction  # even undoing it failed
                if generation != self._generation:
                    _abandon(connection)
                elif broken or self._closed or len(self._idle) >= MOST_IDLE:
                    connection.close(True)
                else:
                    self._idle.append(connection)
            self._pool.notify_all()

    def _close_idle(self) -> None:
        while self._idle:
            self._idle.pop().close(True)

    # A forked child inherits SQLite's own notes of which locks the process holds, but not the locks: whatever
    # it wrote then could be overwritten. So nothing may be open at the moment of a fork.
    def _before_fork(self) -> None:
        self._pool.acquire()
        self._pool.wait_for(lambda: self._lent == 0, FORK_WAIT_SECONDS)
        self._close_idle()

    def _after_fork(self, *, in_child: bool) -> None:
        if in_child:
            self._lent = 0  # the threads that held one are not here
        self._pool.release()

    # A fork from C runs no hook before it. Closing what is idle removes the notes, and the parent's locks stay; what
    # another thread was using cannot be closed.
    def _after_unprepared_fork(self) -> None:
        self._pool = threading.Condition()
        self._forked_at_work = self._forked_at_work or self._lent > 0
        self._lent = 0
        while self._idle:
            _abandon(self._idle.pop())


def fetch(connection: apsw.Connection, sql: str, values: Sequence[Any] = ()) -> list[Any]:
    """All rows of a query as tuples."""
    return connection.execute(sql, values).fetchall()


def explain(exc: apsw.Error, path: str) -> DriftwellError:
    """What a driver's error means for the user and what to do about it."""
    for kind, (error, message) in _EXPLANATIONS.items():
        if isinstance(exc, kind):
            return error(f"{message.format(path=path, directory=os.path.dirname(path))} ({exc})")
    return StoreError(f"the store {path} failed: {exc}")


_EXPLANATIONS: dict[type[apsw.Error], tuple[type[DriftwellError], str]] = {
    apsw.NotADBError: (
        FormatError,
        "{path} is not a SQLite database: name another file, or move this one away",
    ),
    apsw.CorruptError: (
        FormatError,
        "the store {path} is damaged: restore a copy, or move it away to start anew",
    ),
    apsw.FullError: (StoreError, "no space left for the store {path}: free some, nothing of this was stored"),
    apsw.ReadOnlyError: (StoreError, "the store {path} is read-only: make the file and {directory} writable"),
    apsw.CantOpenError: (StoreError, "cannot open {path}: does {directory} exist, and is it writable?"),
    apsw.PermissionsError: (StoreError, "no permission for {path}: make the file and {directory} writable"),
    apsw.BusyError: (StoreError, "the store {path} stayed locked by another writer: is one of them stuck?"),
    apsw.TooBigError: (StoreError, "too large for one row of the store {path}: store fewer rows at once"),
}


@dataclass(slots=True)
class _Patience:
    """SQLite's busy handler: wait a random moment, shorter for those who have waited longer.

    SQLite wakes nobody, and its own handler sleeps longer after every failure, which starves the unlucky.
    """

    limit_seconds: float
    since: float = field(default=0.0)

    def __call__(self, attempts: int) -> bool:
        now = time.monotonic()
        if attempts == 0:
            self.since = now
        waited = now - self.since
        if waited > self.limit_seconds:
            return False
        time.sleep(random.uniform(0.0002, 0.004 / (1 + 20 * waited)))  # noqa: S311 - jitter, not a secret
        return True


@dataclass(slots=True)
class _LogKeeper:
    """Copies the write-ahead log into the file after commits, as SQLite does, but for busy writers too.

    With several writers the passive copy never catches up, and the log grows without end; past
    ``CROWDED_PAGES`` the others are made to wait for it. A long reader stands in the way of that, so it is
    tried only briefly, and again 1,000 pages later. A failed copy is no failure of the commit: the log stays
    and is complete.
    """

    patience: _Patience
    crowded_at: int = CROWDED_PAGES

    def __call__(self, connection: apsw.Connection, name: str, pages: int) -> int:
        if pages < CHECKPOINT_PAGES:
            self.crowded_at = CROWDED_PAGES
            return apsw.SQLITE_OK
        crowded = pages >= self.crowded_at
        usual, self.patience.limit_seconds = self.patience.limit_seconds, 0.05
        with suppress(apsw.Error):
            connection.wal_checkpoint(name, RESTART if crowded else PASSIVE)
        self.patience.limit_seconds = usual
        self.crowded_at = pages + CHECKPOINT_PAGES if crowded else self.crowded_at
        return apsw.SQLITE_OK


def _connect(path: str, busy_seconds: float, synchronous: Synchronous) -> apsw.Connection:
    patience = _Patience(busy_seconds)
    connection = apsw.Connection(path, flags=_FLAGS)
    connection.set_busy_handler(patience)
    for pragma in (*_PRAGMAS, f"PRAGMA synchronous = {synchronous}"):
        connection.execute(pragma).fetchall()
    connection.set_wal_hook(_LogKeeper(patience))
    return connection


def _abandon(connection: apsw.Connection) -> None:
    """Close a connection to a file that is gone. Its last act would be to delete the log beside the path, which may
    be that of the new file by now."""
    connection.config(apsw.SQLITE_DBCONFIG_NO_CKPT_ON_CLOSE, 1)
    connection.close(True)


@contextmanager
def _transaction(connection: apsw.Connection, begin: str) -> Iterator[None]:
    connection.execute(begin)
    try:
        yield
        connection.execute("COMMIT")
    except BaseException:
        # SQLite rolls back by itself on some errors, such as a full disk.
        if connection.in_transaction:
            connection.execute("ROLLBACK")
        raise


_open_databases: weakref.WeakSet[Database] = weakref.WeakSet()
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
