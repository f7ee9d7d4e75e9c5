"""A look at a recorder: its numbers, and the records that still wait."""

from __future__ import annotations

import logging
from collections import Counter
from collections.abc import Callable, Iterable
from typing import Any

from driftwell.capture.conversion.batching import rows_as_dicts
from driftwell.capture.counting import Counting
from driftwell.capture.patience import Seldom
from driftwell.capture.queue import Queue
from driftwell.capture.records import Item, Record, Redaction, TableRows
from driftwell.capture.spool.adoption import Adoption
from driftwell.capture.spool.journal import Journal
from driftwell.capture.writer import Writer

__all__ = ["View"]

logger = logging.getLogger("driftwell.capture")


class View:
    """Reads the parts of a recorder and changes none of them."""

    def __init__(
        self,
        counting: Counting,
        queue: Queue,
        journal: Journal,
        adoption: Adoption,
        writer: Writer,
        redact_for: Callable[[str], Redaction | None],
    ) -> None:
        self._counting = counting
        self._queue = queue
        self._journal = journal
        self._adoption = adoption
        self._writer = writer
        self._redact_for = redact_for
        self._seldom = Seldom()

    def stats(self, model: str | None, version: str | None) -> dict[str, Any]:
        """See ``Recorder.stats``."""
        spool = self._journal.stats()
        spool["unreadable"] += self._adoption.unreadable
        with self._counting.lock:
            found = self._counting.stats(model, version) | {"queue_length": self._queue.length, "spool": spool}
            models = self._counting.models() if model is None else {model}
        return found | {"redaction_lost": self._lost_by_redaction(models)}

    def waiting(self, model: str, version: str | None) -> list[dict[str, Any]]:
        """See ``Recorder.waiting``."""
        on_disk = self._journal.newest()
        in_memory = [one for item in self._queue.unsettled() for one in getattr(item, "records", (item,))]
        seen = {_first_id(one) for one in in_memory}  # read back from disk while we looked
        on_disk = [one for one in on_disk if _first_id(one) not in seen]
        places: dict[tuple[str, str], list[Record | TableRows]] = {}
        for item in [*in_memory, *on_disk] if self._journal.journaling else [*on_disk, *in_memory]:
            if isinstance(item, (Record, TableRows)) and item.model == model and version in (None, item.version):
                places.setdefault((item.model, item.version), []).append(item)
        prepared = [one for place, items in places.items() for one in self._writer.preview(*place, items)]
        return [row for one in prepared for row in rows_as_dicts(one)]

    def _lost_by_redaction(self, models: Iterable[str]) -> dict[str, int]:
        lost: Counter[str] = Counter()
        try:
            redactions = {id(one): one for one in map(self._redact_for, models) if one is not None}
            for one in redactions.values():
                lost.update(one.lost)
        except Exception as exc:  # noqa: BLE001 - numbers are told whatever the rules of a user's do
            if self._seldom.permits("redaction"):
                logger.warning("what redaction dropped cannot be told: %s", type(exc).__name__)
        return dict(lost)


def _first_id(item: Item) -> tuple[str, str, str] | None:
    if isinstance(item, Record):
        return item.model, item.version, item.prediction_id
    return (item.model, item.version, item.ids[0]) if isinstance(item, TableRows) and item.ids else None
