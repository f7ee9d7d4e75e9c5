"""Tells a ledger what this process did not store, so that a window can say how complete it is."""

from __future__ import annotations

import logging
import time
from collections.abc import Callable, Sequence

from driftwell.capture.counting import Counting
from driftwell.capture.ids import new_id
from driftwell.capture.patience import Seldom
from driftwell.stores.base import Loss

__all__ = ["LossBook"]

logger = logging.getLogger("driftwell.capture")

TELL_SECONDS = 10.0


class LossBook:
    """Counts so far of records dropped and rejected, by model, version, hour of arrival and reason.

    They are told about every 10 seconds, those that changed; a ledger that fails is told again, which counts nothing
    twice.
    """

    def __init__(self, counting: Counting, losses_to: Callable[[Sequence[Loss]], None] | None) -> None:
        self._counting = counting
        self._losses_to = losses_to
        self._seldom = Seldom()
        self.reset()

    def reset(self) -> None:
        """Start with nothing told, under a name of our own."""
        self._source = new_id()
        self._told: dict[tuple[str, str, int, str], int] = {}
        self._tell_at = 0.0

    def tell(self, *, at_once: bool = False) -> None:
        """Tell what changed, if it is time; never raises."""
        now = time.monotonic()
        if self._losses_to is None or (now < self._tell_at and not at_once):
            return
        self._tell_at = now + TELL_SECONDS
        counts = self._counting.lost_by_hour()
        changed = {key: n for key, n in counts.items() if self._told.get(key) != n}
        if not changed:
            return
        losses = [Loss(*key, self._source, n) for key, n in changed.items() if all(key[:2])]
        try:
            self._losses_to(losses)
        except Exception as exc:  # noqa: BLE001 - a ledger of any kind must not end the recorder's thread
            if self._seldom.permits("losses"):
                logger.warning("the count of lost records waits, the ledger fails: %s", exc)
        else:
            self._told |= changed
