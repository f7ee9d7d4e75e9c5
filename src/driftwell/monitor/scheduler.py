"""Background checks: one thread that runs a job every so often and never lets a failure end it."""

from __future__ import annotations

import logging
import threading
from collections.abc import Callable
from datetime import UTC, datetime, timedelta

from driftwell.errors import DriftwellError
from driftwell.outbox import call

__all__ = ["Scheduler"]

log = logging.getLogger("driftwell.monitor")


class Scheduler:
    """Runs ``job`` every ``every``; the first run comes after one interval, or ``at_once``. A slow job delays the next
    one, it is never run twice at a time."""

    def __init__(self, job: Callable[[], object], every: timedelta, *, name: str, at_once: bool = False) -> None:
        self._job = job
        self._every = every
        self._at_once = at_once
        self._wake = threading.Event()
        self._thread = threading.Thread(target=self._loop, name=name, daemon=True)
        self.next_run: datetime | None = None

    def start(self) -> None:
        """Start the thread."""
        self.next_run = datetime.now(UTC) + self._every
        self._thread.start()

    def stop(self) -> None:
        """Stop after the job that runs now; waits for it up to ten seconds."""
        self._wake.set()
        if self._thread.is_alive() and self._thread is not threading.current_thread():
            self._thread.join(10)
        self.next_run = None

    def _loop(self) -> None:
        first = self._at_once
        while not self._wake.wait(0 if first else self._every.total_seconds()):
            first = False
            call(self._run)
            self.next_run = datetime.now(UTC) + self._every

    def _run(self) -> None:
        try:
            self._job()
        except DriftwellError as exc:
            log.warning("scheduled check failed: %s", exc)
