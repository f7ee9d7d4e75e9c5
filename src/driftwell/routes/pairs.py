"""Requests and responses that arrive as events of their own wait here for their other half.

Bounded by count, bytes and age. What leaves without having met its other half is handed back, so that it is counted.
Only one process joins: where several replicas receive events, both halves must be sent to the same one.
"""

from __future__ import annotations

import threading
import time
from collections import OrderedDict
from collections.abc import Callable
from dataclasses import dataclass, field, replace

from driftwell.capture.wire.cloudevents import Event

__all__ = ["AGE_SECONDS", "Half", "Pairs", "Waiting"]

AGE_SECONDS = 600.0
MOST_HALVES = 50_000
MOST_BYTES = 64 * 1024**2
REMEMBERED = 200_000
"""Exchanges already joined whose events are known again when they are delivered twice."""
OVERHEAD_BYTES = 1_000


@dataclass(frozen=True, slots=True)
class Half:
    """One event of an exchange: how many rows it has, and the model and version named by the query it came with."""

    event: Event
    rows: int
    model: str | None = None
    version: str | None = None
    arrived: float = field(default=0.0, compare=False)

    @property
    def size(self) -> int:
        """Bytes it keeps in memory."""
        return len(self.event.data) + OVERHEAD_BYTES


@dataclass(frozen=True, slots=True)
class Waiting:
    """What became of a half: ``other`` is the one it met; ``repeated`` says it was known already; ``clash`` that
    another event is the same half of the same exchange."""

    other: Half | None = None
    repeated: bool = False
    clash: bool = False


class Pairs:
    """The halves that wait, oldest first. Safe to use from any thread."""

    def __init__(
        self,
        *,
        most_halves: int = MOST_HALVES,
        most_bytes: int = MOST_BYTES,
        age_seconds: float = AGE_SECONDS,
        clock: Callable[[], float] = time.monotonic,
    ) -> None:
        self._most_halves = most_halves
        self._most_bytes = most_bytes
        self._age = age_seconds
        self._clock = clock
        self._lock = threading.Lock()
        self._waiting: OrderedDict[bytes, Half] = OrderedDict()
        self._joined: OrderedDict[bytes, None] = OrderedDict()
        self._bytes = 0

    def __len__(self) -> int:
        return len(self._waiting)

    def meet(self, half: Half) -> Waiting:
        """Give it its other half, or let it wait for it."""
        key = half.event.key
        with self._lock:
            if key in self._joined:
                return Waiting(repeated=True)
            there = self._waiting.get(key)
            if there is None:
                self._keep(key, half)
                return Waiting()
            if there.event.half == half.event.half:
                same = there.event.id == half.event.id
                return Waiting(repeated=same, clash=not same)
            self._take(key)
            self._joined[key] = None
            if len(self._joined) > REMEMBERED:
                self._joined.popitem(last=False)
            return Waiting(other=there)

    def undo(self, half: Half, met: Waiting) -> None:
        """Take back what ``meet`` did: the event was not accepted and will be sent again."""
        key = half.event.key
        with self._lock:
            if met.other is not None:
                self._joined.pop(key, None)
                self._keep(key, met.other)
                self._waiting.move_to_end(key, last=False)
            elif not met.repeated and not met.clash and self._is_waiting(key, half):
                self._take(key)

    def leaving(self, *, all_of_them: bool = False) -> list[Half]:
        """Remove and return what waited too long, and the oldest of what is more than may wait."""
        now = self._clock()
        gone = []
        with self._lock:
            for key, half in list(self._waiting.items()):
                over = len(self._waiting) > self._most_halves or self._bytes > self._most_bytes
                if not (all_of_them or over or now - half.arrived > self._age):
                    break
                gone.append(self._take(key))
        return gone

    def _is_waiting(self, key: bytes, half: Half) -> bool:
        there = self._waiting.get(key)
        return there is not None and there.event is half.event

    def _keep(self, key: bytes, half: Half) -> None:
        self._waiting[key] = half if half.arrived else replace(half, arrived=self._clock())
        self._bytes += half.size

    def _take(self, key: bytes) -> Half:
        half = self._waiting.pop(key)
        self._bytes -= half.size
        return half
