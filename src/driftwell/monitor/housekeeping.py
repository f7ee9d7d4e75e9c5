"""What a store needs once in a while: leaves that a crash left out, and the end of what was kept long enough."""

from __future__ import annotations

import logging
import os
import time
from collections.abc import Callable
from dataclasses import dataclass
from datetime import timedelta
from typing import Any
from uuid import uuid4

from driftwell.config import MonitorSettings
from driftwell.config.addresses import default_retention_hours
from driftwell.errors import DriftwellError
from driftwell.stores.base import HOUR_US, LeafBuilder, Ledger, PredictionStore
from driftwell.stores.split import SplitStore, sweep

__all__ = ["Housekeeping", "Limits", "claim", "limits", "prune"]

log = logging.getLogger("driftwell.monitor")

EVERY = timedelta(hours=1)
LEASE = "housekeeping"
NOBODY = ""
"""The model of the points that are the lease; a model of a user has a name."""
MINUTE_US = 60_000_000


@dataclass(frozen=True, slots=True)
class Limits:
    """Moments in microseconds since 1970; what arrived (history: what ended) before is deleted. None: kept."""

    rows_before_us: int | None = None
    predictions_before_us: int | None = None
    history_before_us: int | None = None

    @property
    def are_set(self) -> bool:
        """Whether anything is ever deleted."""
        return self != Limits()


def limits(settings: MonitorSettings, store_url: str, now_us: int) -> Limits:
    """What is old enough to go: feature rows after the retention, predictions after it or the label maturity, whichever
    is longer, history after a retention of its own."""
    hours = settings.retention_hours or default_retention_hours(store_url)
    own = settings.history_retention
    history = None if own is None else now_us - own // timedelta(microseconds=1)
    if hours is None:
        return Limits(history_before_us=history)
    longer = max(timedelta(hours=hours), settings.label_maturity)
    return Limits(now_us - round(hours * HOUR_US), now_us - longer // timedelta(microseconds=1), history)


def prune(store: PredictionStore, ledger: Ledger, before: Limits) -> dict[str, int]:
    """Delete what is old enough: the number of ``rows``, ``predictions`` and entries of ``history`` that went."""
    gone = {"rows": 0, "predictions": 0, "history": 0}
    if before.rows_before_us is not None:
        found = store.prune(rows_before_us=before.rows_before_us, predictions_before_us=before.predictions_before_us)
        gone |= {"rows": found.rows, "predictions": found.predictions}
    if before.history_before_us is not None:
        gone["history"] = ledger.prune_history(before.history_before_us)
    return gone


def claim(ledger: Ledger, worker: str, now_us: int) -> bool:
    """Whether this worker does the work of the hour: of all that ask within an hour the first does.

    Two whose clocks differ may both be told so; the work is safe to repeat.
    """

    def claims() -> list[tuple[int, str]]:
        points = ledger.metrics(NOBODY, now_us - HOUR_US + MINUTE_US, now_us + HOUR_US)
        return sorted((p["time_us"], p["labels"]["worker"]) for p in points if p["name"] == LEASE)

    if claims():
        return False
    ledger.put_metric(NOBODY, LEASE, 1.0, now_us, {"worker": worker})
    return claims()[:1] == [(now_us, worker)]


class Housekeeping:
    """The hourly work on one store and ledger.

    Parameters
    ----------
    leaves_for
        The leaf builder of a model and version.
    clock
        Seconds since 1970.
    """

    def __init__(
        self,
        store: PredictionStore,
        ledger: Ledger,
        settings: MonitorSettings,
        leaves_for: Callable[[str, str], LeafBuilder],
        *,
        clock: Callable[[], float] = time.time,
    ) -> None:
        self._store, self._ledger, self._settings = store, ledger, settings
        self._leaves_for = leaves_for
        self._clock = clock
        self._worker = f"{os.getpid()}-{uuid4().hex[:8]}"
        self._has_swept = False

    @property
    def is_needed(self) -> bool:
        """Whether there is ever anything to do."""
        return self._is_split or self.limits.are_set

    @property
    def limits(self) -> Limits:
        """What is old enough to go now."""
        return limits(self._settings, self._store.url, self._now_us)

    def prune(self) -> dict[str, int]:
        """Delete what is old enough; said in the log and in the audit log where something went."""
        gone = prune(self._store, self._ledger, self.limits)
        if any(gone.values()):
            words: Any = (f"{gone['rows']:,}", f"{gone['predictions']:,}", f"{gone['history']:,}")
            log.info("retention: %s feature rows, %s predictions, %s entries of history were deleted", *words)
            self._ledger.audit("retention", "prune", gone, self._now_us)
        return gone

    def run(self) -> None:
        """The work of this hour, unless another worker did it; leaves are looked for at the first call too. A failure
        is a line in the log: the next hour tries again."""
        try:
            first, self._has_swept = not self._has_swept, True
            mine = claim(self._ledger, self._worker, self._now_us)
            if self._is_split and (first or mine):
                self._sweep()
            if mine and self.limits.are_set:
                self.prune()
        except DriftwellError as exc:
            log.warning("the store could not be tidied up: %s", exc)

    def _sweep(self) -> None:
        if found := sweep(self._store, self._ledger, self._leaves_for):
            log.warning("%d batches had been stored, but not counted: they are now", found)

    @property
    def _is_split(self) -> bool:
        return isinstance(self._store, SplitStore)

    @property
    def _now_us(self) -> int:
        return round(self._clock() * 1e6)
