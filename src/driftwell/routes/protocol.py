"""What the one-model paths need from whoever serves them; `Monitor` fits it."""

from __future__ import annotations

import threading
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field
from datetime import datetime
from typing import TYPE_CHECKING, Any, Literal, Protocol

from driftwell.routes.pairs import Pairs

if TYPE_CHECKING:
    from driftwell.stores.base import LabelCounts

__all__ = [
    "MAX_BODY_BYTES",
    "Guard",
    "Ingest",
    "OneModel",
    "Place",
    "Recording",
    "Resolve",
    "Since",
    "Ticket",
]

MAX_BODY_BYTES = 16 * 1024 * 1024

Since = Literal["all"] | None
"""None: since the newest mark (clear, new version, new reference); ``"all"``: everything that is stored."""


class Ticket(Protocol):
    """A label on its way into the store."""

    def wait(self, timeout: float) -> LabelCounts | None:
        """What became of the label, or None when it has not been committed after ``timeout`` seconds."""


class OneModel(Protocol):
    """One model version as the HTTP contract sees it: each method returns the very dict that is sent.

    All methods may block on the store; the router calls them in threads. A window or a time that cannot be
    read raises `BadInput` (422), a store that cannot be reached `StoreError` (503).
    """

    def collector_stats(self, since: Since = None) -> dict[str, Any]:
        """``total_predictions, buffered_predictions, errors_count, input_statistics, output_statistics,
        time_range, features``."""

    def recent_http(self, n: int, since: Since = None) -> list[dict[str, Any]]:
        """The ``n`` newest as ``prediction_id, timestamp, input, output, metadata``, newest first."""

    def save_batch(self) -> dict[str, Any]:
        """``{"status": "saved", "filepath": …}``."""

    def clear(self) -> dict[str, Any]:
        """``{"status": "cleared", "cleared": n}``; nothing stored is deleted."""

    def drift_status(self, window: Any = None, at: datetime | None = None, since: Since = None) -> dict[str, Any]:
        """The newest recorded check, or, when ``window`` or ``at`` is given, one computed for them."""

    def drift_performance(self) -> dict[str, Any]:
        """``total_predictions, output_statistics, realized, estimated, labels``."""

    def hourly_summary(self, hours: int = 168, since: Since = None) -> dict[str, Any]:
        """``{hour: {"count", "input_mean", "output_mean"}}`` of the newest ``hours`` hours that have data."""

    def drift_scores(self) -> dict[str, Any]:
        """``feature_scores, last_check, drift_detected``."""

    def status(self) -> dict[str, Any]:
        """``status, model, version, monitoring, reference_id, last_check, next_check, drift, …``."""

    def record_feedback(self, prediction_id: str, true_label: Any, *, timestamp: datetime | None = None) -> Ticket:
        """Offer a label of this model; the ticket tells what became of it."""

    def trigger_retraining(self, reason: str = "manual", details: dict[str, Any] | None = None) -> dict[str, Any]:
        """``{"status": "retraining_triggered", "id": …}``; any other ``status`` means that none was started
        and ``reason`` says why."""

    def metrics_text(self) -> str | None:
        """Prometheus text of this model; None when Prometheus is switched off."""


Resolve = Callable[[str | None, str | None], OneModel | None]
"""``resolve(model, version)``: the one meant by the query, None when nothing has been set up yet. It raises
`UnknownName` for a name that is not there and `ProblemError` (422) when a name is needed."""


class Recording(Protocol):
    """Where posted records and labels go: the part of the recorder that the ingest paths use."""

    def offer_rows(self, rows: Sequence[Mapping[str, Any]]) -> list[str] | None:
        """Queue records, each with ``model``, ``version``, ``features`` and the other fields of a record by name, and
        return the ids; None when there is no room for all of them: then none is taken. Never raises, never blocks."""

    def offer_table(self, model: str, version: str, table: Any, roles: Mapping[str, str]) -> list[str]:
        """Queue every row of an Arrow table and return the ids; ``[]`` when it cannot be used. Never raises."""

    def offer_label(
        self,
        prediction_id: str,
        true_label: Any,
        *,
        model: str | None = None,
        timestamp: datetime | None = None,
    ) -> Ticket:
        """Queue one label; never raises, never blocks."""

    def note_refused(self, model: str, version: str, reasons: Mapping[str, int]) -> None:
        """Count records that were refused before they could be offered, by reason."""

    def note_refused_labels(self, model: str | None, reasons: Mapping[str, int]) -> None:
        """Count labels that were refused before they could be offered, by reason."""

    def room(self, size: int = 0) -> int:
        """How many more records are taken now, if all of them have so many bytes."""


Place = Callable[[str | None, str | None], tuple[str, str]]
"""``place(model, version)``: where a posted record belongs. A new name is a new model; it raises `BadInput`
or `UnknownName` when the record belongs nowhere."""


@dataclass(frozen=True, slots=True)
class Ingest:
    """What the two ingest paths need: where records go, whose they are, and the largest body in bytes.

    ``model`` is the only model there is: that of labels that name none, whatever a model server calls itself; None
    where there may be several. ``pairs`` are halves of exchanges that wait. ``turn`` is held from the question
    whether the queue has room until the records are in it.
    """

    recording: Recording
    place: Place
    model: str | None = None
    max_body_bytes: int = MAX_BODY_BYTES
    pairs: Pairs = field(default_factory=Pairs)
    turn: threading.Lock = field(default_factory=threading.Lock)


Guard = Callable[[str], Callable[..., object]]
"""``guard(scope)`` gives the FastAPI dependency that lets a request through or raises 401 or 403."""
