"""What ``doctor`` asks about an SQLite file: its size and state, and what is wrong with where it lies."""

from __future__ import annotations

import os
import shutil
import stat
from collections.abc import Iterator
from typing import Any

import apsw

from driftwell.stores.sqlite.connection import Database

__all__ = ["problems", "state"]

NETWORK = frozenset(
    {"nfs", "nfs4", "cifs", "smb3", "smbfs", "ncpfs", "afs", "9p", "ceph", "lustre", "glusterfs", "fuse.sshfs"}
)
FIRST_SAFE = (3, 51, 3)
"""SQLite before this can damage a file in a rare race of a writer with the one that resets the write-ahead log."""
FREE_SHARE, FREE_BYTES = 0.05, 1 << 30
LARGE_LOG_BYTES = 512 << 20


def state(database: Database) -> dict[str, Any]:
    """Schema, journal mode, integrity, driver, size. Reads the whole file."""
    with database.read() as connection:
        found = {
            "schema_version": connection.pragma("user_version"),
            "journal_mode": connection.pragma("journal_mode"),
            "integrity": connection.execute("PRAGMA quick_check(1)").get,
            "returns_space": bool(connection.pragma("auto_vacuum")),
            "free_bytes": connection.pragma("freelist_count") * connection.pragma("page_size"),
            "bytes": connection.pragma("page_count") * connection.pragma("page_size"),
        }
    if database.logs_ahead:
        files = [database.path + suffix for suffix in ("", "-wal")]
        found |= {"bytes": sum(os.path.getsize(file) for file in files if os.path.exists(file))}
    return found | {
        "server_version": apsw.sqlite_lib_version(),
        "driver": "apsw",
        "driver_version": apsw.apsw_version(),
        "sqlite_version": apsw.sqlite_lib_version(),
    }


def problems(path: str, integrity: str, *, mounts: str = "/proc/mounts") -> list[str]:
    """Sentences that say what is wrong with a file and what to do; empty when all is well."""
    return [*_of_the_file(path, integrity), *_of_the_place(path, mounts), *_of_the_library()]


def _of_the_file(path: str, integrity: str) -> Iterator[str]:
    if integrity != "ok":
        yield f"the store {path} is damaged ({integrity}): restore a copy, or move it away to start anew"
    mode = stat.S_IMODE(os.stat(path).st_mode)
    if mode & 0o007:
        yield f"{path} can be read by everybody on this machine (mode {mode:04o}): chmod 600 '{path}'*"
    log = path + "-wal"
    size = os.path.getsize(log) if os.path.exists(log) else 0
    if size > LARGE_LOG_BYTES:
        yield (
            f"the write-ahead log {log} has {size / (1 << 20):,.0f} MB: a reader keeps its transaction open;"
            " restart the process that does"
        )


def _of_the_place(path: str, mounts: str) -> Iterator[str]:
    kind = _file_system(path, mounts)
    if kind in NETWORK:
        yield f"{path} lies on a network file system ({kind}), where SQLite's locks fail: move it to a local disk"
    disk = shutil.disk_usage(os.path.dirname(path))
    if disk.free < min(disk.total * FREE_SHARE, FREE_BYTES):
        yield (
            f"the disk of {path} is nearly full ({disk.free / (1 << 20):,.0f} MB left): free some space, set"
            " retention_hours, or move the store"
        )


def _of_the_library() -> Iterator[str]:
    version = apsw.sqlite_lib_version()
    if tuple(int(part) for part in version.split(".")[:3]) < FIRST_SAFE:
        yield (
            f"SQLite {version} can damage a file that several processes write at once (fixed in"
            f" {'.'.join(map(str, FIRST_SAFE))}): pip install --upgrade apsw"
        )


def _file_system(path: str, mounts: str) -> str | None:
    """The kind of the file system of a path, as Linux tells it; None elsewhere."""
    try:
        with open(mounts, encoding="utf-8", errors="replace") as file:
            lines = [line.split() for line in file]
    except OSError:
        return None
    real = os.path.realpath(path)
    found: tuple[str, str | None] = ("", None)
    for fields in lines:
        if len(fields) < 3:
            continue
        folder = fields[1].replace("\\040", " ")
        if (real + "/").startswith(folder.rstrip("/") + "/") and len(folder) >= len(found[0]):
            found = (folder, fields[2])
    return found[1]
