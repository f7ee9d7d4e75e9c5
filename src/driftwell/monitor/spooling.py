"""The folder where records wait for the store: where it is, whose it is, and how much waits in it."""

from __future__ import annotations

import os
import struct
import zlib
from dataclasses import dataclass, field
from pathlib import Path
from typing import TYPE_CHECKING
from urllib.parse import parse_qsl, urlsplit

from driftwell.config import MonitorSettings
from driftwell.config.addresses import file_of, kind_of, normal_address
from driftwell.errors import ConfigError, NotSupported

if TYPE_CHECKING:
    from driftwell.capture.spool.files import Spool

__all__ = ["SpoolState", "open_spool", "spool_folder", "spool_name", "spool_state"]

DEFAULT_FOLDER = "driftwell-spool"


def open_spool(url: str, settings: MonitorSettings) -> Spool | None:
    """The folder where records wait for the store: beside its file, else ``spool_dir``, else ``driftwell-spool`` in
    the working directory. None for a store in memory, which nothing outlives.

    Raises ``ConfigError`` where ``durability="journal"`` is asked for and there is no such folder.
    """
    from driftwell.capture.spool.files import Spool

    folder = spool_folder(url, settings.spool_dir)
    if folder is None:
        if settings.durability == "journal":
            raise ConfigError("durability 'journal' needs a store that outlives the process: memory:// does not")
        return None
    fsync = settings.journal_fsync and settings.durability == "journal"
    try:
        return Spool(folder, most_bytes=settings.spool_bytes, fsync=fsync, store=spool_name(url, settings.spool_dir))
    except NotSupported:
        if settings.durability == "journal":
            raise
        return None


def spool_folder(url: str, spool_dir: str | None = None) -> Path | None:
    """Where records wait for the store at ``url``; None for a store in memory.

    Examples
    --------
    >>> spool_folder("sqlite:////data/driftwell.db").as_posix()
    '/data/driftwell.db-spool'
    """
    file = file_of(url)
    if kind_of(url) == "memory":
        return None
    if file is not None and spool_dir is None:
        return Path(f"{os.path.abspath(file)}-spool")
    return Path(spool_dir or DEFAULT_FOLDER).absolute()


def spool_name(url: str, spool_dir: str | None = None) -> str:
    """What tells the records of one store from those of others in a folder that several share: all of the address but
    who logs in and how. Empty beside a file, so that both can be moved together."""
    file = file_of(url)
    if file is not None:
        return "" if spool_dir is None else os.path.abspath(file)
    parts = urlsplit(normal_address(url))
    options = [f"{key}={value}" for key, value in parse_qsl(parts.query) if "pass" not in key and key != "user"]
    return " ".join([parts.scheme, parts.netloc.rpartition("@")[2], parts.path, *sorted(options)])


@dataclass(frozen=True, slots=True)
class SpoolState:
    """What lies in a spool folder: files and bytes of one store, and files that ended processes left, which the next
    recorder on it takes over. What is settled already is removed a little later and counted here until then.

    ``others`` are the bytes of other stores in the same folder, by their addresses without user and password.
    """

    folder: str
    files: int = 0
    bytes: int = 0
    left_behind: int = 0
    others: dict[str, int] = field(default_factory=dict)

    @property
    def bytes_of_all(self) -> int:
        """Bytes of all stores, which ``spool_bytes`` bounds."""
        return self.bytes + sum(self.others.values())


def spool_state(folder: Path, store: str | None = None, *, without: str = "") -> SpoolState:
    """Look into the folder, which need not be there, for what is of the store that ``spool_name`` calls so (None: of
    any); files whose name begins with ``without`` are left out.

    What names no store, such as a damaged file, counts as this store's: it may be.
    """
    files = size = left = 0
    others: dict[str, int] = {}
    paths = [path for path in _files_of(folder) if not (without and path.name.startswith(without))]
    owners = {path.stem: _owner_of(path) for path in paths if path.suffix == ".head"}
    for path in paths:
        try:
            bytes_here = path.stat().st_size
        except OSError:  # gone while we look
            continue
        owner = owners.get(path.name.partition(".")[0])
        if owner is not None and store not in (None, owner):
            others[owner] = others.get(owner, 0) + bytes_here
            continue
        files += 1
        size += bytes_here
        left += path.suffix == ".head" and owner is not None and _is_left(path)
    return SpoolState(str(folder), files, size, left, others)


def _owner_of(head: Path) -> str | None:
    """The name of the store whose records follow this head; None where it cannot be read."""
    from driftwell.capture.spool.files import _MAGIC, _NAME_AT, _PREFIX  # the layout of a head

    try:
        data = head.read_bytes()
        magic, _, length, checksum = _PREFIX.unpack_from(data)
    except (OSError, struct.error):
        return None
    name = data[_NAME_AT : _NAME_AT + length]
    return name.decode(errors="replace") if magic == _MAGIC and zlib.crc32(name) == checksum else None


def _files_of(folder: Path) -> list[Path]:
    try:
        return list(folder.iterdir())
    except OSError:
        return []


def _is_left(head: Path) -> bool:
    """Whether nobody holds the lock of this head file. A shared lock asks without taking it from anyone for long."""
    try:
        import fcntl
    except ImportError:  # Windows, where there is no spool
        return False
    try:
        with head.open("rb") as file:
            fcntl.flock(file, fcntl.LOCK_SH | fcntl.LOCK_NB)
            return True
    except OSError:
        return False
