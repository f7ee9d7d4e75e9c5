"""The part of the queue that lies on disk.

With ``journaling`` every item is written before it is queued, and what finds no room in memory waits on disk alone.
Without it the spool takes what memory should not hold while the store fails, and what is left at the end. Without a
spool there is only the queue.
"""

from __future__ import annotations

import logging
import sys
import threading
import time
import weakref
from collections import Counter, deque
from collections.abc import Callable, Iterator, Sequence
from dataclasses import replace
from typing import Any

from driftwell.capture.counting import Counting
from driftwell.capture.ids import new_id
from driftwell.capture.patience import Seldom
from driftwell.capture.queue import Counts, Queue
from driftwell.capture.records import Bundle, Deferred, Item, LabelItem, LabelTicket, Record, TableRows
from driftwell.capture.spool.files import Spool, SpoolFullError
from driftwell.capture.spool.journal_entries import decode_entry, encode_entry
from driftwell.capture.spool.pieces import Chunk, read_piece
from driftwell.stores.base import LabelCounts

__all__ = ["Journal", "tally_of"]

logger = logging.getLogger("driftwell.capture")

LOCK_SECONDS = 5.0

NEWEST_ENTRIES = 100
"""Entries that wait on disk alone and can be looked at."""


class Journal:
    """Moves items between callers, memory and disk; ``chunks`` gives them to the recorder's thread in order.

    The lock of the spool is taken before that of the numbers, never the other way round.

    Attributes
    ----------
    current
        The chunk that is being stored.
    """

    def __init__(
        self,
        queue: Queue,
        counting: Counting,
        spool: Spool | None,
        *,
        journaling: bool,
        expand: Callable[[Sequence[Any]], Sequence[Item]],
        is_over: Callable[[], bool],
    ) -> None:
        self._queue = queue
        self._counting = counting
        self._spool = spool
        self.journaling = journaling
        self._expand = expand
        self._is_over = is_over
        self._seldom = Seldom()
        self._reset()

    def after_fork_in_child(self) -> None:
        """Forget everything: a child has files of its own."""
        if self._spool is not None:
            self._spool.after_fork_in_child()
        self._reset()

    def _reset(self) -> None:
        self._writing = False
        self._unwritable = False
        self._next = 0  # where what is only on disk begins
        self._settled = 0
        self._left = False
        self._entries = 0  # that are only on disk
        self._rows: Counter[tuple[str | None, ...]] = Counter()  # in them, by tally
        self._starts: deque[int] = deque(maxlen=NEWEST_ENTRIES)  # of the newest of them
        self._tickets: weakref.WeakValueDictionary[int, LabelTicket] = weakref.WeakValueDictionary()
        self.current: Chunk | None = None
        self.unreadable = 0

    @property
    def lock(self) -> threading.RLock:
        """The lock of the spool; that of the numbers where there is none."""
        return self._counting.lock if self._spool is None else self._spool.lock

    # -- callers ---------------------------------------------------------------------------------------------

    def put(self, item: Item | Bundle, counts: Counts, *, or_leave: bool = False) -> bool:
        """Write an item to disk, then queue it; False when it was dropped, counted by reason.

        ``or_leave``: where there is no room it was never offered, and nothing is counted.
        """
        assert self._spool is not None
        try:
            content = encode_entry((item,))
        except UnicodeEncodeError:  # it will be refused when it is read
            return self._put_in_memory(item, counts, or_leave)
        # Not for ever: a signal handler may record while its thread holds the lock of the numbers.
        if not self._spool.lock.acquire(timeout=LOCK_SECONDS):
            return self._put_in_memory(item, counts, or_leave, "another thread has been writing for too long")
        try:
            if self._queue.closed:
                return self._put_in_memory(item, counts, or_leave)
            if self._writing:
                why = "a signal handler records while its thread is writing"
                return self._put_in_memory(item, counts, or_leave, why)
            start = self._spool.end
            self._writing = True
            try:
                position = self._spool.append(content)
            except SpoolFullError:
                if not or_leave:
                    self._queue.refuse(item, counts, "spool_full")
                return False
            except OSError as exc:
                self._unwritable = True
                return self._put_in_memory(item, counts, or_leave, exc)
            finally:
                self._writing = False
            self._unwritable = False
            placed = item._replace(position=position) if isinstance(item, Record) else replace(item, position=position)
            if self._entries or not self._queue.has_room(placed):
                self._queue.count(counts)
                self._note_on_disk(placed, start, position)
            else:
                self._queue.put_counted(placed, counts)
        finally:
            self._spool.lock.release()
        if self._spool.fsync:
            try:
                self._spool.sync(position)
            except OSError as exc:
                self._note_unjournaled(counts, exc)
        return True

    def _put_in_memory(self, item: Item | Bundle, counts: Counts, or_leave: bool, why: object = None) -> bool:
        """The same in memory alone; ``why`` it is not on disk, where it should be."""
        with self._queue.lock:
            if or_leave and (self._queue.closed or not self._queue.has_room(item)):
                return False
            kept = self._queue.put_counted(item, counts)
        if why is not None:
            self._note_unjournaled(counts, why)
        return kept

    def room(self, size: int) -> int:
        """How many records would be taken if all of them have so many bytes: with ``journaling`` any number for which
        the spool has the bytes."""
        if not self.journaling or self._unwritable or self._spool is None:
            return self._queue.room(size)
        return sys.maxsize if not self._queue.closed and self._spool.has_room(size) else 0

    def _note_unjournaled(self, counts: Counts, why: object) -> None:
        with self._counting.lock:
            for tally, rows in counts:
                tally.unjournaled += rows
        if self._seldom.permits("unjournaled"):
            logger.warning("records are kept in memory only, the spool cannot be written: %s", why)

    # -- the recorder's thread: in order -----------------------------------------------------------------------

    def chunks(self) -> Iterator[Chunk]:
        """What waits now, oldest first: what is on disk alone is newer than the queue if ``journaling``, else older."""
        left = self._queue.items
        while True:
            behind = self._entries > 0  # with journaling nothing more is queued then, so that the order stays
            if behind and not self._is_over() and not (self.journaling and self._queue.items):
                yield self._piece()
                continue
            with self.lock:  # ``rescue`` may take them out at the same time
                most = self._queue.items if behind and self.journaling else left
                taken = self._queue.take(most) if most > 0 else []
                if not taken:
                    return
                left -= len(taken)
                position = max(getattr(item, "position", 0) for item in taken)
                chunk_id = self._id_of(position) if position else new_id()
                chunk = self.current = Chunk(chunk_id, taken, len(taken), position)
            yield chunk

    def begin(self, chunk: Chunk) -> None:
        """It is about to be stored: who takes over from us is to store the same entries together."""
        if chunk.position and not chunk.adopted and not self._left:
            self._mark(chunk.position)

    def finish(self, chunk: Chunk) -> None:
        """It is settled."""
        if chunk.position and not chunk.adopted and not self._left:
            self._settled = max(self._settled, chunk.position)
            self._mark(self._settled)

    def leave(self, chunk: Chunk) -> None:
        """There is no more time: it is for another process, and so is everything behind it."""
        self._left = self._left or not chunk.adopted

    def _mark(self, planned: int) -> None:
        assert self._spool is not None
        try:
            self._spool.mark(self._settled, planned)
        except OSError as exc:
            if self._seldom.permits("mark"):
                logger.warning("the spool %s cannot be written: %s", self._spool.folder, exc)

    def _id_of(self, position: int) -> str:
        assert self._spool is not None
        assert self._spool.own is not None
        return f"{self._spool.own.name}-{position:x}"

    def _piece(self) -> Chunk:
        """The next entries that are only on disk."""
        assert self._spool is not None
        if self._queue.is_half_full:
            self.relieve()
        try:
            piece = read_piece(self._spool.entries(self._next), self._ticket)
        except OSError as exc:
            logger.warning("the spool %s cannot be read: %s", self._spool.folder, exc)
            piece = None
        with self._spool.lock:
            if piece is None:
                self._forfeit()
                return Chunk(new_id(), ())
            self._next = piece.position
            self._entries -= piece.entries
            for item in piece.items:
                self._rows[tally_of(item)] -= item.rows
            if self._entries <= 0 or piece.position >= self._spool.end:
                self._forfeit()
            self.unreadable += piece.unreadable
        self._queue.lend(piece.items)
        return Chunk(self._id_of(piece.position), piece.items, piece.entries, piece.position, on_disk=True)

    def _forfeit(self) -> None:
        """What should be on disk and is not there any more, or cannot be read, is lost."""
        with self._counting.lock:
            for key, rows in self._rows.items():
                tally = self._counting.find(key)
                tally.waiting -= rows
                if rows:
                    tally.drop(rows, "spool_damaged", time.time())
            self._queue.settle(max(0, self._entries))
            self._rows.clear()
            self._entries = 0

    # -- the recorder's thread: out of memory ------------------------------------------------------------------

    def keep_current(self) -> bool:
        """Whether what is being stored is on disk; what is not is written there now, if that is possible."""
        chunk = self.current
        if chunk is None or self._spool is None or not chunk.items:
            return False
        if chunk.adopted or chunk.on_disk:
            return True
        with self._spool.lock:
            only_in_memory = [one for one in chunk.items if not one.position]
            # What is on disk already will be stored under the chunk's id, without what is written now.
            position = self._append(only_in_memory, None if chunk.position else chunk.id) if only_in_memory else 1
            chunk.on_disk = position > 0
            if chunk.on_disk and not chunk.position:
                chunk.position = position
                if not self._entries:
                    self._next = position
        return chunk.on_disk

    def relieve(self) -> None:
        """The store fails: what waits in memory goes to disk, as far as there is room. Only the chunk that is tried
        again and again stays in memory, too."""
        if self._spool is None or self.journaling or (self.current is not None and not self.keep_current()):
            return
        while (item := self._queue.oldest()) is not None:
            if not isinstance(item, (Record, TableRows, LabelItem, Bundle)):
                item = self._read_oldest(item)
                if item is None:
                    continue
            with self._spool.lock:
                start = self._spool.end
                position = self._append((item,))
                if not position:
                    return
                self._note_on_disk(item, start, position)
                self._queue.move_oldest(settled=False)

    def rescue(self) -> tuple[list[Item], Counter[tuple[str | None, ...]]]:
        """Time is up while the recorder's thread waits for the store: take out all that waits in memory, and write it
        to disk. Callers hold ``lock``.

        Returns the items that could not be written, and the rows that were on disk or are there now, by tally; what
        is being stored is in neither.
        """
        lost: list[Item] = []
        on_disk = self.rows()
        self._left = True  # nobody knows what of it the store will have
        while (item := self._queue.oldest()) is not None:
            if not isinstance(item, (Record, TableRows, LabelItem, Bundle)):
                item = self._read_oldest(item)
                if item is None:
                    continue
            parts = item.records if isinstance(item, Bundle) else (item,)
            if item.position or (self._spool is not None and self._append((item,))):
                for one in parts:
                    on_disk[tally_of(one)] += one.rows
            else:
                lost += parts
            if isinstance(item, LabelItem):
                item.ticket.settle(LabelCounts())
            self._queue.move_oldest(settled=True)
        return lost, on_disk

    def _read_oldest(self, item: Deferred) -> Bundle | None:
        """The records of the exchange that is the oldest item; None where it has none."""
        records = [one for one in self._expand((item,)) if isinstance(one, Record)]
        if not records:
            self._queue.move_oldest(settled=True)
            return None
        bundle = Bundle(records)
        self._queue.replace_oldest(bundle)
        return bundle

    def _append(self, items: Sequence[Item | Bundle], chunk_id: str | None = None) -> int:
        """The position behind a new entry; 0 when it cannot be written."""
        assert self._spool is not None
        try:
            return self._spool.append(encode_entry(items, chunk_id))
        except (SpoolFullError, UnicodeEncodeError):
            return 0
        except OSError as exc:
            if self._seldom.permits("spool"):
                logger.warning("the spool %s cannot be written: %s", self._spool.folder, exc)
            return 0

    def _note_on_disk(self, item: Item | Bundle, start: int, position: int) -> None:
        if not self._entries:
            self._next = start
        self._entries += 1
        self._starts.append(start)
        for one in item.records if isinstance(item, Bundle) else (item,):
            self._rows[tally_of(one)] += one.rows
        if isinstance(item, LabelItem):
            self._tickets[position] = item.ticket

    # -- looking and ending ------------------------------------------------------------------------------------

    @property
    def is_behind(self) -> bool:
        """Whether anything waits on disk alone."""
        return self._entries > 0

    def watch(self) -> Callable[[], bool]:
        """A function that says whether all is settled that waits on disk alone now."""
        if not self._entries or self._spool is None:
            return lambda: True
        end, spool = self._spool.end, self._spool

        def settled() -> bool:
            chunk = self.current
            stored = chunk is None or chunk.adopted or not chunk.position or chunk.position > end
            return spool.own is None or ((not self._entries or self._next >= end) and stored)

        return settled

    def newest(self) -> list[Item]:
        """The newest of what waits on disk alone, oldest first: some entries, read back now."""
        with self.lock:
            starts = [start for start in self._starts if start >= self._next] if self._entries else []
        if self._spool is None or not starts:
            return []
        try:
            found = [decode_entry(one.content, 0, self._ticket) for one in self._spool.entries(starts[0])]
        except (OSError, ValueError):  # said when it is to be stored
            return []
        return [item for _, items in found for item in items]

    def rows(self) -> Counter[tuple[str | None, ...]]:
        """Records and labels that wait on disk alone, by tally; see ``tally_of``."""
        return Counter(self._rows)

    def stats(self) -> dict[str, int]:
        """``bytes`` and ``files`` of the folder; ``waiting``: records and labels that wait on disk alone;
        ``unreadable``: entries that are damaged."""
        if self._spool is None:
            return {"bytes": 0, "files": 0, "waiting": 0, "unreadable": 0}
        usage = self._spool.look_around()
        with self._spool.lock:
            damaged = len(self._spool.own.damage.corrupt) if self._spool.own is not None else 0
            waiting = sum(self._rows.values())
            return {**usage._asdict(), "waiting": waiting, "unreadable": self.unreadable + damaged}

    def close(self) -> None:
        """Give the files free. To labels that are left on disk nothing more will happen here."""
        for ticket in list(self._tickets.values()):
            ticket.settle(LabelCounts())
        if self._spool is not None:
            self._spool.close()

    def _ticket(self, position: int) -> LabelTicket:
        return self._tickets.get(position) or LabelTicket(lambda: None)


def tally_of(item: Item) -> tuple[str | None, ...]:
    """Whose record or label it is: ``("record", model, version)`` or ``("label", model)``."""
    return ("label", item.model) if isinstance(item, LabelItem) else ("record", item.model, item.version)
