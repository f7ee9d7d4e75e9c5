"""The store over Redis: a buffer and cache of rows and labels, bounded by age and by count."""

from __future__ import annotations

from collections.abc import Sequence
from typing import TYPE_CHECKING, Any

from driftwell.errors import BadInput
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
from driftwell.stores.labels import check_labels
from driftwell.stores.reading import Window
from driftwell.stores.redis import batches, hours, rows
from driftwell.stores.redis.address import parse_address
from driftwell.stores.redis.append import Attempts, append_batch
from driftwell.stores.redis.health import describe
from driftwell.stores.redis.labels import add_labels
from driftwell.stores.redis.server import Server

if TYPE_CHECKING:
    import pyarrow as pa

__all__ = ["RedisStore"]

RETENTION_HOURS = 24.0


class RedisStore:
    """Rows and labels in one Redis or Valkey server (6.0 or newer), for many threads and processes.

    A row is kept for ``retention_hours`` after it was stored (24 when None), and of all models together at most
    ``?max_rows=`` rows (1,000,000), the newest. Leaves are not kept here: a ledger goes beside it.

    Raises ``BadInput`` for an address that cannot be used, ``StoreError`` when the server cannot be reached, refuses
    the password, is out of memory or too old, ``FormatError`` when what it holds is newer or damaged.
    """

    def __init__(self, url: str, retention_hours: float | None = None) -> None:
        hours_kept = RETENTION_HOURS if retention_hours is None else retention_hours
        if not 0 < hours_kept < float("inf"):
            raise BadInput(
                f"retention_hours is a number above 0 for a Redis store, which is bounded; got {hours_kept!r}"
            )
        self._keep_ms = max(round(hours_kept * 3_600_000), 1)
        self._server = Server(parse_address(url))
        self._attempts = Attempts()

    def __repr__(self) -> str:
        return f"RedisStore({self.url!r})"

    @property
    def url(self) -> str:
        """The address without name, password and the driver's options."""
        return self._server.address.shown

    @property
    def capabilities(self) -> Capabilities:
        """Exact within what is kept; not durable, since memory is all that is promised (``info`` tells of AOF)."""
        return Capabilities(ledger=False, exact_dedupe=True, delete=True, durable=False)

    def close(self) -> None:
        """Close the connections. Safe to repeat; any other call afterwards raises ``StoreError``."""
        self._server.close()

    def append(self, batch: PredictionBatch, leaves: LeafBuilder) -> AppendResult:
        """Store the rows that are new. ``leaves`` is called with them before, and what it returns is not kept.

        A batch whose answer got lost is answered as it would have been when it is offered again to the same store.
        """
        return append_batch(self._server, self._attempts, batch, leaves, self._keep_ms)

    def add_labels(self, labels: Sequence[Label]) -> LabelCounts:
        """Attach labels to every version of the model that scored the id; keep early ones for the retention."""
        check_labels(labels)
        return add_labels(self._server, labels, self._keep_ms)

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

        ``columns`` also sets the order; names that no row has are left out, and so are rows that fell out meanwhile.
        """
        self._server.clean()
        window = Window(start_us, end_us, after_arrival, labelled, limit)
        return rows.read_rows(self._server, model, version, window, columns)

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
        self._server.clean()
        return rows.read_outcomes(
            self._server, model, version, Window(start_us, end_us, labelled=labelled, limit=limit)
        )

    def count(self, model: str, version: str | None, start_us: int, end_us: int) -> int:
        """Number of predictions in the window."""
        self._server.clean()
        return rows.count_window(self._server, model, version, start_us, end_us)

    def newest(self, model: str, version: str | None, before_us: int, n: int) -> tuple[int, int, int]:
        """``(start_us, end_us, count)``: the half-open span of the newest ``n`` before a moment.

        ``(before_us, before_us, 0)`` when there are none.
        """
        self._server.clean()
        return rows.newest_window(self._server, model, version, before_us, n)

    def recent(self, model: str, version: str | None, n: int, *, after_arrival: int = 0) -> list[dict[str, Any]]:
        """The ``n`` newest rows by event time as dicts, newest first."""
        self._server.clean()
        return rows.read_recent(self._server, model, version, n, after_arrival)

    def totals(self, model: str, version: str | None, *, after_arrival: int = 0) -> dict[str, Any]:
        """Counts, first and last event time, and the moments of the outputs, of what is kept."""
        self._server.clean()
        return hours.totals(self._server, model, version, after_arrival)

    def hourly_outputs(
        self, model: str, version: str | None, *, hours: int = 168, after_arrival: int = 0
    ) -> dict[int, tuple[int, float | None]]:
        """``{hour_us: (count, mean output)}`` of the newest ``hours`` hours that have data, oldest first."""
        self._server.clean()
        return _hourly_outputs(self._server, model, version, hours, after_arrival)

    def batches(self, model: str, version: str, *, edges_id_not: str | None = None) -> Sequence[PredictionBatch]:
        """Stored batches that have features, oldest first; each is read when it is asked for.

        In which bins their leaves count is the ledger's to know: with ``edges_id_not`` all come.
        """
        places = self.batch_index(model, version)
        return StoredBatches(lambda place: batches.load_batch(self._server, model, version, *place), places)

    def batch_index(self, model: str, version: str) -> list[tuple[int, str]]:
        """``(arrival, batch_id)`` of the stored batches that have features, oldest first."""
        self._server.clean()
        return batches.batch_index(self._server, model, version)

    def models(self) -> list[tuple[str, str, int, int]]:
        """``(model, version, predictions, last event time)`` of everything that has rows, by name."""
        self._server.clean()
        return hours.list_models(self._server)

    def prune(self, *, rows_before_us: int | None = None, predictions_before_us: int | None = None) -> Pruned:
        """Delete features, or all about predictions and their summaries, of batches that arrived before these moments.

        What is older than the retention goes too and is not counted here; ``info`` tells of it.
        """
        self._server.clean()
        return batches.prune(self._server, rows_before_us, predictions_before_us)

    def delete(
        self, *, prediction_ids: Sequence[str] = (), entity_ids: Sequence[str] = (), model: str | None = None
    ) -> int:
        """Delete predictions with their features and labels; the number deleted. Summaries stay."""
        self._server.clean()
        return batches.delete_predictions(self._server, prediction_ids, entity_ids, model)

    def info(self) -> dict[str, Any]:
        """Server, memory, what is kept, what fell out, and ``problems``: sentences that say what to do."""
        self._server.clean()
        return describe(self._server, self._keep_ms)


_hourly_outputs = hours.hourly_outputs
