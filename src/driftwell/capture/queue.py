"""The queue between the callers and the recorder's thread: bounded by count and bytes, never waited for."""

from __future__ import annotations

import threading
from collections import deque
from collections.abc import Sequence
from typing import Any

from driftwell.capture.counting import Counting, LabelTally, Tally

__all__ = ["Queue"]


class Queue:
    """Items in the order they were offered. Its bounds also cover items taken out and not yet stored.

    An item has ``rows`` (0 where that is not known yet) and ``size`` in bytes. ``lock`` is the lock of the numbers:
    an item and its count change together.
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
        self._items: deque[Any] = deque()
        self._taken: Sequence[Any] = ()
        self._length = 0
        self._bytes = 0
        self._accepted = 0
        self._settled = 0

    def put(self, item: Any, tally: Tally | LabelTally, rows: int) -> bool:
        """Count the item as offered, and keep it if there is room; False when it was dropped, counted by reason."""
        size = item.size
        places = rows or 1
        with self.lock:
            if self.closed or self._length + places > self._most_records or self._bytes + size > self._most_bytes:
                tally.offered += places
                tally.dropped["closed" if self.closed else "queue_full"] += places
                return False
            tally.offered += rows
            tally.waiting += rows
            self._items.append(item)
            self._accepted += 1
            self._bytes += size
            before = self._length
            self._length = before + places
        if before < self._wake_at <= before + places:
            self.wake.set()
        return True

    def room(self) -> int:
        """How many more records there is place for; 0 once the bytes are used up."""
        with self.lock:
            full = self.closed or self._bytes >= self._most_bytes
            return 0 if full else max(0, self._most_records - self._length)

    def take(self) -> Sequence[Any]:
        """All items, oldest first; they count until they are released."""
        with self.lock:
            taken, self._items = self._items, deque()
            self._taken = taken
        return taken

    def keep(self, items: Sequence[Any]) -> None:
        """Of those taken, these are still to be stored, some of them in another form."""
        self._taken = items

    def release(self, items: Sequence[Any], left: Sequence[Any]) -> None:
        """These items are settled: make room, and tell those who wait. ``left`` of those taken are still to do."""
        places = sum(item.rows or 1 for item in items)
        size = sum(item.size for item in items)
        with self.lock:
            self._taken = left
            self._length -= places
            self._bytes -= size
            self._settled += len(items)
            self._settled_some.notify_all()

    def unsettled(self) -> list[Any]:
        """Everything not yet stored, oldest first."""
        with self.lock:
            return [*self._taken, *self._items]

    def wait_until_settled(self, timeout: float | None) -> bool:
        """Wait for all that was put in before this call; False when that took longer than ``timeout`` seconds."""
        with self.lock:
            goal = self._accepted
            if self._settled < goal:
                self.wake.set()
            return self._settled_some.wait_for(lambda: self._settled >= goal, timeout)

    @property
    def length(self) -> int:
        """Records and labels in it, those taken out and not yet stored included."""
        return self._length

    @property
    def is_empty(self) -> bool:
        """Whether nothing waits to be taken."""
        return not self._items
