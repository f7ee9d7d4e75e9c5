"""From a table that was offered to items of the queue: read, redacted, cut into slices, and let in as there is room."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import replace
from typing import TYPE_CHECKING, Any

from driftwell.capture.conversion.tables import own_table, roles_of, slices_of
from driftwell.capture.ids import IdSource
from driftwell.capture.queue import Queue
from driftwell.capture.records import Redaction, TableRows
from driftwell.capture.writer import ReferenceFor, TransformFor

if TYPE_CHECKING:
    from driftwell.profiles.reference import Reference

__all__ = ["TableIntake"]

TABLE_SECONDS = 5.0
LEAST_ROWS = 100
"""A part of a slice that finds no room is not cut below this."""


class TableIntake:
    """Hands the rows of tables to ``take``, which counts them as offered.

    ``waits``: what finds no room in the queue waits for it, up to 5 seconds a slice. Else ``fits`` says whether a slice
    of so many bytes has room elsewhere; one that has none is offered in parts, so that no more is lost than must be.
    """

    def __init__(
        self,
        queue: Queue,
        ids: IdSource,
        reference_for: ReferenceFor,
        transform_for: TransformFor,
        take: Callable[[TableRows], bool],
        *,
        waits: bool,
        fits: Callable[[int], bool],
    ) -> None:
        self._queue = queue
        self._ids = ids
        self._reference_for = reference_for
        self._transform_for = transform_for
        self._take = take
        self._waits = waits
        self._fits = fits

    def offer(
        self,
        model: str,
        version: str,
        table: Any,
        given: Mapping[str, str],
        arrived: float,
        redaction: Redaction | None,
        may_wait: bool,
    ) -> list[str]:
        """The ids of all rows; see ``Recorder.offer_table``. Raises what a table that cannot be read raises."""
        reference, known = self._reference(model, version)
        found = own_table(table, reference, self._transform_for(model))
        roles = roles_of(found, given, reference)
        if redaction is not None:
            found = redaction.apply_table(found, roles)
            roles = {role: column for role, column in roles.items() if column in found.column_names}
        ids, items = slices_of(model, version, found, roles, arrived, self._ids)
        for item in items:
            if redaction is not None:
                item = _without_ids(item, redaction)
            if not known:
                item = replace(item, unplaced=dict(given))
            if not self._waits:
                self._take_in_parts(item)
                continue
            may_wait = may_wait and self._queue.wait_for_room(item.rows, item.size, TABLE_SECONDS)
            self._take_what_fits(item)
        return ids

    def _reference(self, model: str, version: str) -> tuple[Reference | None, bool]:
        """The reference, and whether it is known if there is one: a store that is away may not say."""
        try:
            return self._reference_for(model, version), True
        except OSError:
            return None, False

    def _take_in_parts(self, item: TableRows) -> None:
        if item.rows <= LEAST_ROWS or self._fits(item.size):
            self._take(item)
            return
        half = item.rows // 2
        self._take_in_parts(item.cut(0, half))
        self._take_in_parts(item.cut(half, item.rows))

    def _take_what_fits(self, item: TableRows) -> None:
        """As many rows as there is room for; the newest are dropped."""
        room = min(self._queue.room(), item.rows)
        for part in (item.cut(0, room), item.cut(room, item.rows)):
            if part.rows:
                self._take(part)


def _without_ids(item: TableRows, redaction: Redaction) -> TableRows:
    """The rows with ids as they are kept, and without the column they came from."""
    column = item.roles.get("prediction_id")
    table = item.table if column is None else item.table.drop_columns([column])
    roles = {role: name for role, name in item.roles.items() if role != "prediction_id"}
    return replace(item, ids=[redaction.id(one) for one in item.ids], table=table, roles=roles)
