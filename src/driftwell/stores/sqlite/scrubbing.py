"""Making sure that what was deleted is in no byte of the file.

``secure_delete`` overwrites deleted cells and free pages, but not what an earlier split of a page left behind in its
unused middle. That is rare; where it is found, the file is written anew (``VACUUM``).
"""

from __future__ import annotations

import logging
from collections.abc import Collection, Iterator

import apsw

from driftwell.errors import StoreError
from driftwell.stores.sqlite.connection import Database

__all__ = ["scrub"]

log = logging.getLogger("driftwell.stores")

MOST_SEARCHED = 1_000
"""Texts that are searched for; after larger deletions the file is written anew at once."""
PAGES_AT_ONCE = 1_000
_HEADER_SIZES = {2: 12, 5: 12, 10: 8, 13: 8}  # of b-tree pages, by their first byte


def scrub(database: Database, texts: Collection[str]) -> None:
    """Leave none of these texts in unused space of the file or in its write-ahead log.

    What prevents it (a reader that stays, no space to write the file anew) is logged with what to do.
    """
    if not database.empty_log():
        log.warning(
            "deleted predictions are still in the write-ahead log of %s, which a long reader holds back: delete them"
            " again when it has ended",
            database.path,
        )
        return
    if not database.logs_ahead:  # in memory
        return
    needles = [text.encode() for text in texts if text]
    if len(needles) > MOST_SEARCHED or any(n in some for some in _left_behind(database) for n in needles):
        _write_anew(database)


def _write_anew(database: Database) -> None:
    try:
        with database.alone() as connection:
            connection.execute("PRAGMA auto_vacuum = INCREMENTAL").fetchall()  # what an older file lacks
            connection.execute("VACUUM").fetchall()
    except StoreError as exc:
        log.warning(
            "parts of deleted predictions may be left in unused space of %s: delete again. %s", database.path, exc
        )
    database.empty_log()


def _left_behind(database: Database) -> Iterator[bytes]:
    """What lies in the unused middles of pages."""
    with database.alone() as connection:
        size = connection.pragma("page_size")
        # By way of SQLite: when a process closes a file that it opened by itself, it loses SQLite's locks on it.
        flags = [apsw.SQLITE_OPEN_MAIN_DB | apsw.SQLITE_OPEN_READONLY, 0]
        file = apsw.VFSFile("", database.path, flags)
        try:
            for start in range(0, file.xFileSize(), size * PAGES_AT_ONCE):
                block = file.xRead(min(size * PAGES_AT_ONCE, file.xFileSize() - start), start)
                yield b"\n".join(_middles(block, size, first=start == 0))
        finally:
            file.xClose()


def _middles(block: bytes, size: int, *, first: bool) -> Iterator[bytes]:
    for start in range(0, len(block), size):
        header = start + 100 if first and start == 0 else start  # the file's own header comes first
        length = _HEADER_SIZES.get(block[header])
        if length is None:
            continue
        cells = int.from_bytes(block[header + 3 : header + 5], "big")
        content = int.from_bytes(block[header + 5 : header + 7], "big") or 65_536
        middle = block[header + length + 2 * cells : start + min(content, size)].strip(b"\0")
        if middle:
            yield middle
