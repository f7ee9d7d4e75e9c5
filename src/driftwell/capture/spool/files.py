"""A folder of append-only files in which records wait for the store, and outlive the process that wrote them.

Each process writes one *chain*: a small head file ``<chain>.head``, and segments ``<chain>.<position>.log`` of entries
that follow each other. A *position* is the number of bytes since the beginning of the chain. The head says up to which
position all is settled, and up to which the next batch reaches. Its owner holds a lock on the head; a head whose lock
is free belongs to a process that is gone, and its chain to whoever takes the lock first.
"""

from __future__ import annotations

import logging
import os
import struct
import threading
import zlib
from collections import deque
from collections.abc import Iterator
from pathlib import Path
from typing import NamedTuple

from driftwell.capture.ids import new_id
from driftwell.capture.spool.chain import POSITIONS, POSITIONS_AT, Chain, Entry, head_path, listed
from driftwell.capture.spool.frames import FRAME_BYTES, frame
from driftwell.errors import NotSupported

try:
    import fcntl
except ImportError:  # Windows has no such locks
    fcntl = None  # type: ignore[assignment]

__all__ = ["Spool", "SpoolFullError", "Usage"]

logger = logging.getLogger("driftwell.capture")

FORMAT = 1
SEGMENT_BYTES = 16 * 1024**2
MOST_SEGMENTS = 8
LEAST_SEGMENT_BYTES = 4096
_MAGIC = b"DRIFTWEL"
_PREFIX = struct.Struct("<8sHHI")  # magic, format, length of the store's name, checksum of that name
_NAME_AT = POSITIONS_AT + POSITIONS.size


class SpoolFullError(Exception):
    """The folder has no room for the entry."""


class Usage(NamedTuple):
    """Bytes and number of the files of a folder."""

    bytes: int
    files: int


class Spool:
    """Writes this process's chain, and adopts those of processes that are gone.

    Parameters
    ----------
    folder
        Where the files lie, on a local disk; made with mode 0700 when the first entry is written.
    most_bytes
        Bound of the whole folder. Exact for what this process writes; what others wrote is looked up now and then
        (``look_around``), so that several processes together may go beyond it by what they write in between.
    fsync
        ``sync`` waits until entries are on the disk itself. Else they outlive the process, not the machine.
    store
        What tells one store from another in a folder that several share; chains of another store are left alone.

    Raises
    ------
    NotSupported
        The system has no file locks (Windows).

    Notes
    -----
    One thread at a time appends: callers hold ``lock``. An entry is one ``pwrite`` behind the last whole entry, so
    that a failed one is overwritten by the next. (Not O_APPEND: under Linux it would send the writes of the head to the
    end, too.)
    """

    def __init__(
        self, folder: str | os.PathLike[str], *, most_bytes: int, fsync: bool = False, store: str = ""
    ) -> None:
        if fcntl is None:
            raise NotSupported("a spool needs file locks, which this system lacks: leave out spool_dir and durability")
        self.folder = Path(folder)
        self.most_bytes = most_bytes
        self.fsync = fsync
        self._store = store.encode()
        self._segment_bytes = max(LEAST_SEGMENT_BYTES, min(SEGMENT_BYTES, most_bytes // MOST_SEGMENTS))
        self._said: set[str] = set()
        self._others = 0
        self._adopted: list[Chain] = []
        self._start_afresh()

    def _start_afresh(self) -> None:
        self.lock = threading.RLock()
        self._sync_lock = threading.Lock()
        self.own: Chain | None = None
        self.end = 0
        self._fd = -1
        self._bases: deque[int] = deque()  # where our segments begin; the last is being written
        self._synced = 0

    # -- writing ---------------------------------------------------------------------------------------------

    def has_room(self, size: int) -> bool:
        """Whether an entry of so many bytes would find room."""
        return self._own_bytes + self._others + FRAME_BYTES + size <= self.most_bytes

    def append(self, content: bytes) -> int:
        """Write one entry; returns the position behind it. It survives the death of this process from now on.

        Raises ``SpoolFullError``, or ``OSError`` when it cannot be written; nothing of it is left then.
        """
        if not self.has_room(len(content)):
            raise SpoolFullError
        if self._fd < 0 or self.end - self._bases[-1] >= self._segment_bytes:
            self._begin_segment()
        data = memoryview(frame(content))
        at = self.end - self._bases[-1]
        try:
            done = os.pwrite(self._fd, data, at)
            while done < len(data):  # a full disk, most likely, which the next try says
                done += os.pwrite(self._fd, data[done:], at + done)
        except OSError:
            os.ftruncate(self._fd, at)
            raise
        self.end += len(data)
        return self.end

    def sync(self, position: int) -> None:
        """Wait until everything before this position is on the disk. One wait serves all threads that came before."""
        with self._sync_lock:
            if self._synced >= position:
                return
            with self.lock:
                if self._fd < 0:
                    return
                end, fd = self.end, os.dup(self._fd)
            try:
                os.fsync(fd)
            finally:
                os.close(fd)
            self._synced = end

    def mark(self, settled: int, planned: int) -> None:
        """Note the progress of our own chain, and give room back."""
        gone = []
        with self.lock:
            if self.own is None:
                return
            self.own.mark(settled, planned)
            while len(self._bases) > 1 and self._bases[1] <= settled:
                gone.append(self.own.segment(self._bases.popleft()))
            if settled >= self.end and self._own_bytes >= self._segment_bytes // 4:
                self._end_segment()
                gone.append(self.own.segment(self._bases.popleft()))
        for path in gone:  # nobody should wait for it
            path.unlink(missing_ok=True)

    def entries(self, start: int) -> Iterator[Entry]:
        """Our own entries from a position on, up to what is written now."""
        return iter(()) if self.own is None else self.own.entries(start, self.end)

    def _begin_segment(self) -> None:
        if self.own is None:
            self.own = self._new_chain()
        self._end_segment()
        flags = os.O_RDWR | os.O_CREAT | os.O_EXCL | os.O_CLOEXEC
        self._fd = os.open(self.own.segment(self.end), flags, 0o600)
        self._bases.append(self.end)
        if self.fsync:
            _sync_folder(self.folder)

    def _end_segment(self) -> None:
        if self._fd < 0:
            return
        if self.fsync:
            os.fsync(self._fd)
        os.close(self._fd)
        self._fd = -1

    def _new_chain(self) -> Chain:
        self.folder.mkdir(mode=0o700, parents=True, exist_ok=True)
        prefix = _PREFIX.pack(_MAGIC, FORMAT, len(self._store), zlib.crc32(self._store))
        while True:
            name = new_id().replace("-", "")
            path = head_path(self.folder, name)
            fd = os.open(path, os.O_RDWR | os.O_CREAT | os.O_EXCL | os.O_CLOEXEC, 0o600)
            try:
                if _lock(fd) and os.fstat(fd).st_nlink:  # else somebody who adopts was faster, and removes it
                    os.pwrite(fd, prefix + POSITIONS.pack(0, 0) + self._store, 0)
                    if self.fsync:
                        os.fsync(fd)
                    return Chain(self.folder, name, fd)
            except OSError:
                path.unlink(missing_ok=True)
                os.close(fd)
                raise
            os.close(fd)

    # -- what others left ------------------------------------------------------------------------------------

    def adopt(self) -> Chain | None:
        """A chain whose process is gone, which is ours from now on; None where there is none."""
        for path in listed(self.folder):
            if path.suffix != ".head" or path.name in self._said:
                continue
            with self.lock:  # no fork may happen between opening it and noting that it is open
                chain = self._take_over(path)
                if chain is not None:
                    self._adopted.append(chain)
                    return chain
        return None

    def release(self, chain: Chain, *, finished: bool) -> None:
        """Remove an adopted chain that is finished, or give it free."""
        with self.lock:
            self._adopted.remove(chain)
            if finished:
                chain.delete()
            else:
                chain.close()

    def _take_over(self, path: Path) -> Chain | None:
        try:
            fd = os.open(path, os.O_RDWR | os.O_CLOEXEC)
        except FileNotFoundError:  # another one has finished it
            return None
        except OSError as exc:
            self._leave(path, str(exc))
            return None
        chain = None
        try:
            if _lock(fd) and os.fstat(fd).st_nlink:
                chain = self._opened(path, fd)
        finally:
            if chain is None:
                os.close(fd)
        return chain

    def _opened(self, path: Path, fd: int) -> Chain | None:
        """The chain of a head that is locked; None, and the reason in the log, where it is not for us."""
        data = os.pread(fd, _NAME_AT + 0xFFFF, 0)
        if len(data) < _NAME_AT:
            if Chain(self.folder, path.stem, fd).segments():
                self._leave(path, "it is cut short")
            else:  # it ended before its first entry
                path.unlink(missing_ok=True)
            return None
        magic, version, length, checksum = _PREFIX.unpack_from(data)
        store = data[_NAME_AT : _NAME_AT + length]
        if magic == _MAGIC and version != FORMAT:
            self._leave(path, f"format {version} is of another version of Driftwell, this one reads format {FORMAT}")
        elif magic != _MAGIC or zlib.crc32(store) != checksum:
            self._leave(path, "it is damaged")
        elif store == self._store:
            return Chain(self.folder, path.stem, fd, *POSITIONS.unpack_from(data, POSITIONS_AT))
        return None

    def _leave(self, path: Path, why: str) -> None:
        """Say once why a chain is not adopted."""
        self._said.add(path.name)
        logger.warning("records in %s are left alone: %s", path, why)

    def look_around(self) -> Usage:
        """Size and number of all files of the folder, now; ``most_bytes`` covers them from now on."""
        own = "" if self.own is None else self.own.name
        total = others = files = 0
        try:
            with os.scandir(self.folder) as found:
                for one in found:
                    size = one.stat().st_size
                    files += 1
                    total += size
                    others += 0 if own and one.name.startswith(own) else size
        except OSError:  # no folder yet, or files that go while we look
            pass
        self._others = others
        return Usage(total, files)

    @property
    def _own_bytes(self) -> int:
        return self.end - self._bases[0] if self._bases else 0

    # -- life ------------------------------------------------------------------------------------------------

    def close(self) -> None:
        """Give everything free: what is settled is removed, the rest is adopted by another process."""
        with self.lock:
            for chain in self._adopted:
                chain.close()
            self._adopted.clear()
            if self.own is None:
                return
            self._end_segment()
            if self.own.settled >= self.end:
                self.own.delete()
            else:
                self.own.close()
            self.own = None
            self._bases.clear()

    def after_fork_in_child(self) -> None:
        """Leave the parent its files: the child's copies are closed, its own chain begins with its first entry."""
        for chain in (*self._adopted, *([self.own] if self.own is not None else ())):
            chain.close()
        if self._fd >= 0:
            os.close(self._fd)
        self._adopted.clear()
        self._start_afresh()


def _lock(fd: int) -> bool:
    try:
        fcntl.flock(fd, fcntl.LOCK_EX | fcntl.LOCK_NB)
    except BlockingIOError:
        return False
    return True


def _sync_folder(folder: Path) -> None:
    fd = os.open(folder, os.O_RDONLY | os.O_CLOEXEC)
    try:
        os.fsync(fd)
    finally:
        os.close(fd)
