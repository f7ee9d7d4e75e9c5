"""The embedded default store: predictions, labels and everything known about them in one SQLite file."""

from __future__ import annotations

import os
from collections.abc import Sequence
from typing import TYPE_CHECKING, Any

from driftwell.stores.base import AppendResult, Capabilities, Label, LabelCounts, LeafBuilder, PredictionBatch, Pruned
from driftwell.stores.batches import StoredBatches
from driftwell.stores.labels import check_labels
from driftwell.stores.reading import Window
from driftwell.stores.sqlite import retention, rows, summaries
from driftwell.stores.sqlite.append import append_batch
from driftwell.stores.sqlite.connection import Database, Synchronous
from driftwell.stores.sqlite.labels import add_labels
from driftwell.stores.sqlite.ledger import SQLiteLedger
from driftwell.stores.sqlite.streams import find_streams

if TYPE_CHECKING:
    import pyarrow as pa

__all__ = ["SQLiteStore"]


class SQLiteStore(SQLiteLedger):
    """Both store protocols over one SQLite file, which is created when it is missing.

    Safe for many threads and processes, and across fork. Raises ``StoreError`` when the file cannot be
    opened, read or written, ``FormatError`` when it is damaged, newer, or of another program.

    With ``synchronous="FULL"`` what was stored outlives a power cut at once. With ``NORMAL`` the last commits can be
    lost to one (not to a crash of the process), which matters only to who was told that they are stored, such as a
    journal that forgets them.
    """

    def __init__(self, path: str | os.PathLike[str] | Database, *, synchronous: Synchronous = "NORMAL") -> None:
        super().__init__(path if isinstance(path, Database) else Database(path, synchronous=synchronous))

    @property
    def url(self) -> str:
        """``sqlite:///`` and the absolute path."""
        return f"sqlite:///{self.database.path}"

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
        """Counts, first and last event time, and the moments of the outputs; ``std`` is the sample's (n - 1)."""
        with self.database.read() as connection:
            return summaries.totals(connection, model, version, after_arrival)

    def hourly_outputs(
        self, model: str, version: str | None, *, hours: int = 168, after_arrival: int = 0
    ) -> dict[int, tuple[int, float | None]]:
        """``{hour_us: (count, mean output)}`` of the newest ``hours`` hours that have data, oldest first."""
        with self.database.read() as connection:
            return summaries.hourly_outputs(connection, model, version, hours, after_arrival)

    def batches(self, model: str, version: str, *, edges_id_not: str | None = None) -> Sequence[PredictionBatch]:
        """Stored batches, oldest first; each is read when it is asked for."""
        with self.database.read() as connection:
            streams = find_streams(connection, model, version)
            arrivals = [a for stream in streams for a in rows.find_batches(connection, stream, edges_id_not)]

        def load(arrival: int) -> PredictionBatch:
            with self.database.read() as connection:
                return rows.load_batch(connection, model, version, arrival)

        return StoredBatches(load, arrivals)

    def models(self) -> list[tuple[str, str, int, int]]:
        """``(model, version, predictions, last event time)`` of everything that has rows, by name."""
        with self.database.read() as connection:
            return summaries.list_models(connection)

    def batch_index(self, model: str, version: str) -> list[tuple[int, str]]:
        """``(arrival, batch_id)`` of the batches that have feature rows, oldest first."""
        with self.database.read() as connection:
            return rows.index_batches(connection, model, version)

    def prune(self, *, rows_before_us: int | None = None, predictions_before_us: int | None = None) -> Pruned:
        """Delete rows, and whole predictions, of batches that arrived before these moments, in short transactions.
        Space beyond a tenth of the file is given back; a file from before schema 2 keeps it for what comes next."""
        return retention.prune(self.database, rows_before_us, predictions_before_us)

    def delete(
        self, *, prediction_ids: Sequence[str] = (), entity_ids: Sequence[str] = (), model: str | None = None
    ) -> int:
        """Delete predictions by id or subject, so that no byte of them is left in the file or its log."""
        return retention.delete_predictions(self.database, prediction_ids, entity_ids, model)
