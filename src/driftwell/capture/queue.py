"""The queue between the callers and the recorder's thread: bounded by count and bytes, never waited for."""

from __future__ import annotations

import threading
import time
from collections import deque
from collections.abc import Callable, Sequence
from typing import Any

from driftwell.capture.counting import Counting, LabelTally, Tally

__all__ = ["Counts", "Queue"]

Counts = Sequence[tuple[Tally | LabelTally, int]]
"""Whose records an item holds, and how many; (tally, 0) for an exchange that was not read yet."""

BATCH_ROWS = 10_000
BATCH_BYTES = 32 * 1024**2


class Queue:
    """Items in the order they were offered. Its bounds also cover items taken out and not yet stored.

    An item has ``rows`` (0 where that is not known yet) and ``size`` in bytes. ``lock`` is the lock of the numbers:
    an item and its count change together. Only the recorder's thread takes items out, and who ends it.
    """

    def __init__(self, counting: Counting, most_records: int, most_bytes: int, wake_at: int) -> None:
        self._counting = counting
        self._most_records = most_records
        self._most_bytes = most_bytes
        self._wake_at = wake_at
        self.closed = False
        self.reset()

    def reset(self) -> None:
        """Forget all items: a forked child has none of its parent's to store."""
        self.lock = self._counting.lock
        self._settled_some = threading.Condition(self.lock)
        self.wake = threading.Event()
        self.hurried = False
        self._items: deque[Any] = deque()
        self._taken: Sequence[Any] = ()
        self._length = 0
        self._fresh = 0  # of the length, what was not taken yet
        self._bytes = 0
        self._accepted = 0
        self._settled = 0

    # -- callers ---------------------------------------------------------------------------------------------

    def put(self, item: Any, tally: Tally | LabelTally, rows: int) -> bool:
        """Count the item as offered, and keep it if there is room; False when it was dropped, counted by reason."""
        size = item.size
        places = rows or 1
        with self.lock:
            if self.closed or self._length + places > self._most_records or self._bytes + size > self._most_bytes:
                self.refuse(item, ((tally, rows),), "closed" if self.closed else "queue_full")
                return False
            tally.offered += rows
            tally.waiting += rows
            self._items.append(item)
            self._accepted += 1
            self._bytes += size
            self._length += places
            before = self._fresh
            self._fresh = before + places
        if before < self._wake_at <= before + places:
            self.wake.set()
        return True

    def put_counted(self, item: Any, counts: Counts) -> bool:
        """The same for records of several model versions."""
        with self.lock:
            if self.closed or not self.has_room(item):
                self.refuse(item, counts, "closed" if self.closed else "queue_full")
                return False
            self.count(counts)
            self._items.append(item)
            self._bytes += item.size
            self._length += item.rows or 1
            before = self._fresh
            self._fresh = before + (item.rows or 1)
        if before < self._wake_at <= self._fresh:
            self.wake.set()
        return True

    def count(self, counts: Counts) -> None:
        """Count an item as offered and waiting, wherever it waits."""
        with self.lock:
            for tally, rows in counts:
                tally.offered += rows
                tally.waiting += rows
            self._accepted += 1

    def refuse(self, item: Any, counts: Counts, reason: str) -> None:
        """Count an item as offered and dropped."""
        arrived = getattr(item, "arrived", None) or time.time()
        with self.lock:
            for tally, rows in counts:
                tally.offered += rows or 1
                tally.drop(rows or 1, reason, arrived)

    def has_room(self, item: Any) -> bool:
        """Whether the item would find room now."""
        full = self._length + (item.rows or 1) > self._most_records
        return not (full or self._bytes + item.size > self._most_bytes)

    def room(self, size: int = 0) -> int:
        """How many more records there is place for, if all of them have so many bytes; 0 once the bytes are used up."""
        with self.lock:
            full = self.closed or self._bytes >= self._most_bytes or self._bytes + size > self._most_bytes
            return 0 if full else max(0, self._most_records - self._length)

    def hurry(self) -> None:
        """Somebody waits: no pause should be made."""
        self.hurried = True
        self.wake.set()

    # -- the recorder's thread -------------------------------------------------------------------------------

    def take(self, most: int) -> list[Any]:
        """The oldest items, at most so many and as many as are stored together; they count until released."""
        taken: list[Any] = []
        rows = size = 0
        most_rows, most_bytes = min(BATCH_ROWS, self._most_records // 2), min(BATCH_BYTES, self._most_bytes // 2)
        with self.lock:
            while self._items and len(taken) < most and (not taken or (rows < most_rows and size < most_bytes)):
                item = self._items.popleft()
                rows += item.rows or 1
                size += item.size
                taken.append(item)
            self._fresh -= rows
            self._taken = taken
        return taken

    def lend(self, items: Sequence[Any]) -> None:
        """Items come from elsewhere to be stored, and count until released."""
        with self.lock:
            self._taken = items
            self._length += sum(item.rows or 1 for item in items)
            self._bytes += sum(item.size for item in items)

    def keep(self, items: Sequence[Any]) -> None:
        """What was taken, in the form in which it is stored."""
        self._taken = items

    def release(self, items: Sequence[Any], settled: int) -> None:
        """These items, as they were taken or lent, need no room any more; so many that were put in are settled."""
        places = sum(item.rows or 1 for item in items)
        size = sum(item.size for item in items)
        with self.lock:
            self._taken = ()
            self._length -= places
            self._bytes -= size
            self._settled += settled
            self._settled_some.notify_all()

    def oldest(self) -> Any:
        """The item that would be taken next, None where there is none."""
        with self.lock:
            return self._items[0] if self._items else None

    def replace_oldest(self, item: Any) -> None:
        """The oldest item, an exchange, takes another form."""
        with self.lock:
            places = (item.rows or 1) - (self._items[0].rows or 1)
            self._bytes += item.size - self._items[0].size
            self._length += places
            self._fresh += places
            self._items[0] = item

    def move_oldest(self, *, settled: bool) -> None:
        """The oldest item waits elsewhere from now on, or is settled."""
        with self.lock:
            item = self._items.popleft()
            self._length -= item.rows or 1
            self._fresh -= item.rows or 1
            self._bytes -= item.size
        if settled:
            self.settle(1)

    def settle(self, count: int) -> None:
        """So many items that waited elsewhere are settled."""
        with self.lock:
            self._settled += count
            self._settled_some.notify_all()

    # -- waiting ---------------------------------------------------------------------------------------------

    def unsettled(self) -> list[Any]:
        """Everything in memory that is not yet stored, oldest first."""
        with self.lock:
            return [*self._taken, *self._items]

    def wait_until_settled(self, timeout: float | None, also: Callable[[], bool] = lambda: True) -> bool:
        """Wait for all that was put in before this call, and until ``also`` is true; False when that took longer than
        ``timeout`` seconds."""
        with self.lock:
            goal = self._accepted
            if self._settled < goal or not also():
                self.hurry()
            return self._settled_some.wait_for(lambda: self._settled >= goal and also(), timeout)

    def wait_for_room(self, rows: int, size: int, timeout: float) -> bool:
        """Wait until so many records of so many bytes find room; False after ``timeout`` seconds."""
        with self.lock:
            if self.room(size) < rows:
                self.hurry()
            return self._settled_some.wait_for(lambda: self.closed or self.room(size) >= rows, timeout)

    @property
    def items(self) -> int:
        """Number of items that can be taken."""
        return len(self._items)

    @property
    def is_busy(self) -> bool:
        """Whether anything that was put in is not settled, wherever it waits."""
        return self._settled < self._accepted

    @property
    def is_half_full(self) -> bool:
        """Whether little room is left."""
        return self._length > self._most_records // 2 or self._bytes > self._most_bytes // 2

    @property
    def length(self) -> int:
        """Records and labels in it, those taken out and not yet stored included."""
        return self._length

    @property
    def is_empty(self) -> bool:
        """Whether nothing waits to be taken."""
        return not self._items
