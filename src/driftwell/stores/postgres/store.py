"""The server store: predictions, labels and everything known about them in one schema of PostgreSQL."""

from __future__ import annotations

from collections.abc import Sequence
from typing import TYPE_CHECKING, Any

from driftwell.errors import MissingDependency
from driftwell.stores.base import AppendResult, Capabilities, Label, LabelCounts, LeafBuilder, PredictionBatch, Pruned
from driftwell.stores.batches import StoredBatches
from driftwell.stores.labels import check_labels
from driftwell.stores.reading import Window

try:
    import psycopg  # noqa: F401 - asked for here, so that its absence has one clear answer
except ImportError as exc:
    raise MissingDependency("psycopg", "postgres") from exc

from driftwell.stores.postgres import retention, rows, summaries
from driftwell.stores.postgres.append import append_batch
from driftwell.stores.postgres.connection import Database
from driftwell.stores.postgres.labels import add_labels
from driftwell.stores.postgres.ledger import PostgresLedger
from driftwell.stores.postgres.streams import find_streams, lock_for_labels

if TYPE_CHECKING:
    import pyarrow as pa

__all__ = ["PostgresStore"]


class PostgresStore(PostgresLedger):
    """Both store protocols over one schema of a PostgreSQL database (13 or newer), created when it is missing.

    Safe for many threads and processes, across fork, and across restarts of the server.

    Parameters
    ----------
    url
        ``postgresql://user:password@host:5432/database``; ``?schema=`` names another schema than ``driftwell``, all
        other options are libpq's (``sslmode``, ``connect_timeout`` …).

    Raises
    ------
    BadInput
        The address cannot be read.
    StoreError
        The server cannot be reached or refuses; the message says what to do and never holds the password.
    FormatError
        The schema is of another program, or was written by a newer version.
    MissingDependency
        psycopg is not installed.
    """

    def __init__(self, url: str) -> None:
        super().__init__(Database(url))

    @property
    def url(self) -> str:
        """The address without password and options."""
        return self.database.address.url

    @property
    def capabilities(self) -> Capabilities:
        """All of them."""
        return Capabilities(ledger=True)

    def close(self) -> None:
        """Close all connections. Safe to repeat; any other call afterwards raises ``StoreError``."""
        self.database.close()

    def append(self, batch: PredictionBatch, leaves: LeafBuilder) -> AppendResult:
        """Store the rows that are new, with their leaves. ``leaves`` is called before the transaction."""
        return append_batch(self.database, batch, leaves)

    def add_labels(self, labels: Sequence[Label]) -> LabelCounts:
        """Attach labels to every version of the model that scored the id; keep early ones."""
        check_labels(labels)
        if not labels:
            return LabelCounts()
        with self.database.write() as connection:
            lock_for_labels(connection)
            return add_labels(connection, labels)

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
        window = Window(start_us, end_us, after_arrival, labelled, limit)
        with self.database.read() as connection:
            return rows.read_rows(connection, model, version, window, columns)

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
        with self.database.read() as connection:
            return rows.read_outcomes(
                connection, model, version, Window(start_us, end_us, labelled=labelled, limit=limit)
            )

    def count(self, model: str, version: str | None, start_us: int, end_us: int) -> int:
        """Number of predictions in the window."""
        with self.database.read() as connection:
            return summaries.count_window(connection, model, version, start_us, end_us)

    def newest(self, model: str, version: str | None, before_us: int, n: int) -> tuple[int, int, int]:
        """``(start_us, end_us, count)``: the half-open span of the newest ``n`` before a moment.

        ``end_us`` is one microsecond after the last of them. ``count`` is what lies in the span: more than
        ``n`` when several share the first event time. ``(before_us, before_us, 0)`` when there are none.
        """
        with self.database.read() as connection:
            return summaries.newest_window(connection, model, version, before_us, n)

    def recent(self, model: str, version: str | None, n: int, *, after_arrival: int = 0) -> list[dict[str, Any]]:
        """The ``n`` newest rows by event time as dicts, newest first."""
        with self.database.read() as connection:
            return rows.read_recent(connection, model, version, n, after_arrival)

    def totals(self, model: str, version: str | None, *, after_arrival: int = 0) -> dict[str, Any]:
        """Counts, first and last event time, and the moments of the outputs; ``std`` is divided by n - 1."""
        with self.database.read() as connection:
            return summaries.totals(connection, model, version, after_arrival)

    def hourly_outputs(
        self, model: str, version: str | None, *, hours: int = 168, after_arrival: int = 0
    ) -> dict[int, tuple[int, float | None]]:
        """``{hour_us: (count, mean output)}`` of the newest ``hours`` hours that have data, oldest first."""
        with self.database.read() as connection:
            return summaries.hourly_outputs(connection, model, version, hours, after_arrival)

    def batches(self, model: str, version: str, *, edges_id_not: str | None = None) -> Sequence[PredictionBatch]:
        """Stored batches, oldest first; each is read when it is asked for, without rows when they were pruned since."""
        with self.database.read() as connection:
            streams = find_streams(connection, model, version)
            arrivals = [a for stream in streams for a in rows.find_batches(connection, stream, edges_id_not)]

        def load(arrival: int) -> PredictionBatch:
            with self.database.read() as connection:
                return rows.load_batch(connection, model, version, arrival)

        return StoredBatches(load, arrivals)

    def batch_index(self, model: str, version: str) -> list[tuple[int, str]]:
        """``(arrival, batch_id)`` of the stored batches that have feature rows, oldest first."""
        with self.database.read() as connection:
            return rows.index_batches(connection, list(find_streams(connection, model, version)))

    def models(self) -> list[tuple[str, str, int, int]]:
        """``(model, version, predictions, last event time)`` of everything that has rows, by name."""
        with self.database.read() as connection:
            return summaries.list_models(connection)

    def prune(self, *, rows_before_us: int | None = None, predictions_before_us: int | None = None) -> Pruned:
        """Delete old feature rows and old predictions in short transactions; leaves and summaries stay."""
        return retention.prune(self.database, rows_before_us, predictions_before_us)

    def delete(
        self, *, prediction_ids: Sequence[str] = (), entity_ids: Sequence[str] = (), model: str | None = None
    ) -> int:
        """Delete predictions with their features and labels; their number. Batches are rewritten without them."""
        return retention.delete_predictions(self.database, prediction_ids, entity_ids, model)
