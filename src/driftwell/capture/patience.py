"""How the recorder's thread bears trouble: pauses between tries, and few lines in the log."""

from __future__ import annotations

import logging
import random
import time
from collections import Counter
from collections.abc import Callable

from driftwell.capture.counting import Counting
from driftwell.capture.queue import Queue

__all__ = ["Backoff", "LossReport", "Seldom"]

logger = logging.getLogger("driftwell.capture")

FIRST_PAUSE_SECONDS, LONGEST_PAUSE_SECONDS = 0.1, 10.0
QUIET_SECONDS = 60.0
RELIEF_AFTER = 3


class Seldom:
    """Lets a message into the log once in a while (a minute), however often it happens."""

    def __init__(self, quiet_seconds: float = QUIET_SECONDS) -> None:
        self._quiet_seconds = quiet_seconds
        self._silent_until: dict[str, float] = {}

    def permits(self, what: str) -> bool:
        """Whether it is time to say this again."""
        now = time.monotonic()
        if now < self._silent_until.get(what, 0.0):
            return False
        self._silent_until[what] = now + self._quiet_seconds
        return True

    def forget(self, what: str) -> None:
        """The next time this happens it is news."""
        self._silent_until.pop(what, None)


class Backoff:
    """Pauses after failures of the store, longer each time and never the same, until it works or time is up.

    Whoever waits for a flush or a close ends the pause, so that a store which is back is noticed at once. After some
    failures, or with little room left, ``relieve`` is called, and again whenever the queue fills up in a pause.
    """

    def __init__(self, queue: Queue, relieve: Callable[[], None] = lambda: None) -> None:
        self._queue = queue
        self._relieve = relieve
        self._failures = 0
        self._deadline: float | None = None
        self._seldom = Seldom()

    def give_up_at(self, deadline: float) -> None:
        """From this moment on (of ``time.monotonic``) nothing is tried again."""
        self._deadline = deadline

    @property
    def is_over(self) -> bool:
        """Whether there is no more time."""
        return self._deadline is not None and time.monotonic() >= self._deadline

    def failed(self, exc: Exception) -> None:
        """Pause, at most until time is up."""
        self._failures += 1
        if self._seldom.permits("failed"):
            logger.warning("%d records wait, the store fails and is tried again: %s", self._queue.length, exc)
        pause = min(LONGEST_PAUSE_SECONDS, FIRST_PAUSE_SECONDS * 2 ** min(self._failures - 1, 20))
        pause *= random.uniform(0.5, 1.0)  # noqa: S311 - jitter, not a secret
        if self._deadline is not None:
            pause = min(pause, max(0.0, self._deadline - time.monotonic()))
        end = time.monotonic() + pause
        while not self._queue.hurried:
            if self._failures >= RELIEF_AFTER or self._queue.is_half_full:
                self._relieve()
            self._queue.wake.wait(max(0.0, end - time.monotonic()))
            self._queue.wake.clear()
            if time.monotonic() >= end:
                return
        self._queue.hurried = False

    def worked(self) -> None:
        """The store answers: start afresh."""
        if self._failures:
            logger.warning("the store works again after %d failed tries", self._failures)
            self._failures = 0
            self._queue.hurried = False
            self._seldom.forget("failed")


class LossReport:
    """Says in the log what was lost, at most once a minute."""

    def __init__(self, counting: Counting) -> None:
        self._counting = counting
        self._seldom = Seldom()
        self._said: Counter[str] = Counter()

    def report(self) -> None:
        """Log what was lost since the last line, unless that is too short a time ago."""
        losses = self._counting.losses()
        fresh = losses - self._said
        if fresh and self._seldom.permits("losses"):
            self._said = losses
            logger.warning("not stored: %s", ", ".join(f"{n:,} {what}" for what, n in fresh.most_common()))
