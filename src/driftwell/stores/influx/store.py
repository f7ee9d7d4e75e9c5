"""A store for teams that keep their time series in InfluxDB; the module ``retention`` says what is deleted when."""

from __future__ import annotations

import os
import weakref
from collections.abc import Sequence
from contextlib import suppress
from typing import TYPE_CHECKING, Any

from driftwell.errors import NotSupported, StoreError
from driftwell.stores.base import (
    AppendResult,
    Capabilities,
    Label,
    LabelCounts,
    LeafBuilder,
    PredictionBatch,
    Pruned,
)
from driftwell.stores.batches import StoredBatches
from driftwell.stores.influx import health, reading, summaries
from driftwell.stores.influx.address import parse_address
from driftwell.stores.influx.append import append_batch
from driftwell.stores.influx.labels import add_labels
from driftwell.stores.influx.points import Stream
from driftwell.stores.influx.process import Own
from driftwell.stores.influx.retention import announce, slots_to_sweep, sweep_slot
from driftwell.stores.influx.writers import claim_number, release
from driftwell.stores.labels import check_labels

if TYPE_CHECKING:
    import pyarrow as pa

__all__ = ["InfluxStore"]

RETENTION_HOURS = 24.0


class InfluxStore:
    """Predictions and labels in one InfluxDB database, by ``/write`` and ``/query``: 1.x, and 2.x and 3.x where they
    offer these two. It is no ledger.

    Nothing is sent before the first call, which also creates a missing database where the login may. Safe for many
    threads and processes, and across fork. What a call cannot do raises ``StoreError``, and repeating it is safe.

    Parameters
    ----------
    url
        ``influxdb://user:password@host:8086/database``, ``influxdb://:TOKEN@host/database`` or
        ``influxdb+https://…``; ``?rp=`` names a retention policy, ``?token_env=`` the variable that holds the token.
        Raises ``BadInput``, which shows nothing secret.
    retention_hours
        How long feature rows are meant to be kept after their arrival, 24 hours where None. ``prune`` does it.
    """

    def __init__(self, url: str, retention_hours: float | None = None) -> None:
        self.retention_hours = RETENTION_HOURS if retention_hours is None else retention_hours
        self._address = parse_address(url)
        self._owns = {os.getpid(): Own(self._address)}
        _open_stores.add(self)

    def __repr__(self) -> str:
        return f"InfluxStore({self.url!r})"

    @property
    def url(self) -> str:
        """The address without user, password and token."""
        return self._address.url

    @property
    def capabilities(self) -> Capabilities:
        """No ledger, no deletion by id or subject; an id is told from its repetition within a process, and by its
        event time across processes, but not by two that write it at the same moment."""
        return Capabilities(ledger=False, exact_dedupe=False, delete=False, durable=True)

    def append(self, batch: PredictionBatch, leaves: LeafBuilder) -> AppendResult:
        """Store the rows that are new. ``leaves`` is called once with them; what it returns is not kept here."""
        own = self._own
        with own.lock:
            return append_batch(own, batch, leaves)

    def add_labels(self, labels: Sequence[Label]) -> LabelCounts:
        """Attach labels to every version of the model that scored the id; keep early ones."""
        check_labels(labels)
        if not labels:
            return LabelCounts()
        own = self._own
        with own.lock:
            return add_labels(own, labels)

    def read(
        self,
        model: str,
        version: str | None,
        start_us: int,
        end_us: int,
        *,
        columns: Sequence[str] | None = None,
        labelled: bool | None = None,
        limit: int | None = None,
        after_arrival: int = 0,
    ) -> pa.Table:
        """Rows of ``[start_us, end_us)`` with features, in event-time order; ``limit`` keeps the newest.

        ``columns`` also sets the order; names that no row has are left out.
        """
        window = reading.Window(start_us, end_us, after_arrival, labelled, limit)
        return reading.read_rows(self._own.client, Stream(model, version), window, columns)

    def outcomes(
        self,
        model: str,
        version: str | None,
        start_us: int,
        end_us: int,
        *,
        labelled: bool | None = None,
        limit: int | None = None,
    ) -> pa.Table:
        """Predictions and labels of ``[start_us, end_us)`` in event-time order, without features."""
        window = reading.Window(start_us, end_us, labelled=labelled, limit=limit, with_features=False)
        return reading.read_outcomes(self._own.client, Stream(model, version), window)

    def count(self, model: str, version: str | None, start_us: int, end_us: int) -> int:
        """Number of predictions in the window."""
        return summaries.count_window(self._own.client, Stream(model, version), start_us, end_us)

    def newest(self, model: str, version: str | None, before_us: int, n: int) -> tuple[int, int, int]:
        """``(start_us, end_us, count)``: the half-open span of the newest ``n`` before a moment."""
        return summaries.newest_window(self._own.client, Stream(model, version), before_us, n)

    def recent(self, model: str, version: str | None, n: int, *, after_arrival: int = 0) -> list[dict[str, Any]]:
        """The ``n`` newest rows by event time as dicts, newest first."""
        return reading.read_recent(self._own.client, Stream(model, version), n, after_arrival)

    def totals(self, model: str, version: str | None, *, after_arrival: int = 0) -> dict[str, Any]:
        """Counts, first and last event time, and the moments of the outputs."""
        return summaries.totals(self._own.client, Stream(model, version), after_arrival)

    def hourly_outputs(
        self, model: str, version: str | None, *, hours: int = 168, after_arrival: int = 0
    ) -> dict[int, tuple[int, float | None]]:
        """``{hour_us: (count, mean output)}`` of the newest ``hours`` hours that have data, oldest first."""
        return summaries.hourly_outputs(self._own.client, Stream(model, version), hours, after_arrival)

    def batches(self, model: str, version: str, *, edges_id_not: str | None = None) -> Sequence[PredictionBatch]:
        """Stored batches, oldest first; each is read when it is asked for.

        In which bins they are counted is known to the ledger alone, so ``edges_id_not`` leaves out none.
        """
        client = self._own.client
        found = reading.find_batches(client, model, version)
        return StoredBatches(lambda batch: reading.load_batch(client, model, version, batch), found)

    def models(self) -> list[tuple[str, str, int, int]]:
        """``(model, version, predictions, last event time)`` of everything that has rows, by name."""
        return summaries.list_models(self._own.client)

    def batch_index(self, model: str, version: str) -> list[tuple[int, str]]:
        """``(arrival, batch_id)`` of the stored batches that have feature rows, oldest first."""
        return [(batch.arrival, batch.batch_id) for batch in reading.find_batches(self._own.client, model, version)]

    def prune(self, *, rows_before_us: int | None = None, predictions_before_us: int | None = None) -> Pruned:
        """Hide what arrived before these moments from all readers at once, and delete its points.

        Points of writers that are at work elsewhere are deleted by them, and those between younger ones of the same
        event time by a later call. On InfluxDB 2 and 3, which cannot delete by InfluxQL, the retention period of the
        bucket deletes them.
        """
        own = self._own
        with own.lock:
            gone = announce(own.client, rows_before_us, predictions_before_us)
            if gone.predictions:
                own.forget()
            with suppress(NotSupported):
                self._sweep(own)
        return gone

    def delete(
        self, *, prediction_ids: Sequence[str] = (), entity_ids: Sequence[str] = (), model: str | None = None
    ) -> int:
        """InfluxDB cannot delete by id or subject: raises ``NotSupported``."""
        raise NotSupported(
            "InfluxDB deletes by time only, not by prediction id or subject: keep predictions in PostgreSQL or SQLite"
            " where they may have to be deleted, or record no subject and wait for retention"
        )

    def info(self) -> dict[str, Any]:
        """Kind, server version, bytes used, retention policies, series, and what is wrong."""
        return health.describe(self._own.client) | {"retention_hours": self.retention_hours}

    def close(self) -> None:
        """Close connections and give the writer number back. Safe to repeat; other calls then raise ``StoreError``."""
        self._own.close()

    @property
    def _own(self) -> Own:
        """What this process writes with: a forked child has its own number, connections and lock."""
        pid = os.getpid()
        if pid not in self._owns:
            self._owns.setdefault(pid, Own(self._address))
        return self._owns[pid]

    def _sweep(self, own: Own) -> None:
        """Delete what is hidden where this process, or nobody, writes."""
        for number in slots_to_sweep(own.client):
            if number == own.held:
                sweep_slot(own.client, number)
                continue
            with suppress(StoreError):
                claim = claim_number(own.client, number)
                if claim is not None:
                    try:
                        sweep_slot(own.client, number)
                    finally:
                        release(own.client, claim)


_open_stores: weakref.WeakSet[InfluxStore] = weakref.WeakSet()


def _leave_parents_connections() -> None:
    for store in list(_open_stores):
        for pid, own in store._owns.items():
            if pid != os.getpid():
                own.client.abandon()


os.register_at_fork(after_in_child=_leave_parents_connections)
