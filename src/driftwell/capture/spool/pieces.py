"""What is stored together: a chunk of items, and pieces of a spool as they are read back."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Sequence
from dataclasses import dataclass
from typing import Any

from driftwell.capture.queue import BATCH_ROWS
from driftwell.capture.records import Item, LabelTicket
from driftwell.capture.spool.chain import Entry
from driftwell.capture.spool.journal_entries import decode_entry

__all__ = ["Chunk", "Piece", "read_piece"]

PIECE_BYTES = 8 * 1024**2
"""About how much is read back from disk at once."""


@dataclass(slots=True)
class Chunk:
    """What is stored together. A second try, even by another process, gives its batches the same ids.

    Attributes
    ----------
    taken
        The items as they were taken, exchanges unread; they need room until they are released.
    settles
        How many of the items put in are settled with it.
    position
        The one behind it in the spool; 0 while it is only in memory.
    adopted
        It was offered to another process, so it has not been counted here.
    on_disk
        All of it is.
    """

    id: str
    taken: Sequence[Any]
    settles: int = 0
    position: int = 0
    adopted: bool = False
    on_disk: bool = False
    items: Sequence[Item] = ()


@dataclass(frozen=True, slots=True)
class Piece:
    """Some entries that follow each other. ``position`` is the one behind them."""

    items: Sequence[Item]
    entries: int
    position: int
    chunk_id: str | None
    unreadable: int


def read_piece(entries: Iterable[Entry], ticket: Callable[[int], LabelTicket], *, whole: bool = False) -> Piece | None:
    """As many entries as are stored together (``whole``: all of them), None where there are none.

    An entry that was written as one chunk is a piece by itself.
    """
    items: list[Item] = []
    count = position = size = rows = unreadable = 0
    for entry in entries:
        try:
            chunk_id, found = decode_entry(entry.content, entry.end, ticket)
        except ValueError:
            chunk_id, found = None, []
            unreadable += 1
        if chunk_id is not None:
            if not count:
                return Piece(found, 1, entry.end, chunk_id, unreadable)
            break
        items += found
        count += 1
        position = entry.end
        size += len(entry.content)
        rows += sum(item.rows for item in found)
        if not whole and (rows >= BATCH_ROWS or size >= PIECE_BYTES):
            break
    return Piece(items, count, position, None, unreadable) if count else None
