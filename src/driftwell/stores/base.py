"""What a store must do: two protocols and the few frozen types that pass through them.

``PredictionStore`` keeps rows and labels, ``Ledger`` keeps everything the monitor knows about them (references,
profile leaves, verdicts, alerts, outbox, tokens, audit). SQLite is both. Stores are synchronous and thread-safe:
each thread gets its own connection. Times are integers: microseconds of UTC since 1970.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any, Protocol

import numpy as np
import numpy.typing as npt

if TYPE_CHECKING:
    import pyarrow as pa

__all__ = [
    "HOUR_US",
    "ROW_COLUMNS",
    "AppendResult",
    "Capabilities",
    "Label",
    "LabelCounts",
    "Leaf",
    "LeafBuilder",
    "Ledger",
    "Loss",
    "Notice",
    "PredictionBatch",
    "PredictionStore",
    "Pruned",
]

HOUR_US = 3_600_000_000

ROW_COLUMNS = (
    "prediction_id",  # string
    "timestamp",  # timestamp[us, UTC]: event time
    "prediction",  # string: the value as JSON, so that 3 and "3" stay apart; null when none was given
    "score",  # float64
    "probability",  # string: JSON number or {class: p}
    "segment",  # string
    "entity_id",  # string
    "latency_seconds",  # float64
    "metadata",  # string: JSON object
    "invalid",  # string: JSON {feature: text} of cells that could not be read as their column's kind
)
"""The columns of a batch that are not features, in order. Features are the fields of one more column, the
struct ``features``, so that no feature name can clash with them."""


@dataclass(frozen=True, slots=True)
class PredictionBatch:
    """Rows of one model and version as one Arrow table of ``ROW_COLUMNS`` plus the struct ``features``.

    ``batch_id`` is the idempotency key: appending the same batch twice is a no-op. ``content_hash`` (int64, one
    a row) covers features, prediction, score and probability and tells a duplicate from a conflict.
    """

    batch_id: str
    model: str
    version: str
    rows: pa.Table
    content_hash: npt.NDArray[np.int64]
    arrived_us: int

    def __len__(self) -> int:
        return int(self.rows.num_rows)

    def take(self, index: npt.NDArray[np.int64]) -> PredictionBatch:
        """The same batch with only the rows of ``index``."""
        return PredictionBatch(
            self.batch_id, self.model, self.version, self.rows.take(index), self.content_hash[index], self.arrived_us
        )


@dataclass(frozen=True, slots=True)
class Leaf:
    """A profile of some rows of one model, version, segment and event hour, counted in the bins ``edges_id``."""

    model: str
    version: str
    segment: str | None
    hour_us: int
    edges_id: str
    n: int
    state: bytes  # Profile.to_bytes()


LeafBuilder = Callable[[PredictionBatch], Sequence[Leaf]]
"""Builds the leaves of the rows that will really be stored; called again when some turn out to be duplicates."""


@dataclass(frozen=True, slots=True)
class AppendResult:
    """What became of a batch: ``stored + duplicate + conflict`` is its length."""

    stored: int
    duplicate: int = 0  # same id, same content
    conflict: int = 0  # same id, other content: the first stands
    labels_matched: int = 0  # early labels that found their prediction now
    arrival: int | None = field(default=None, compare=False)  # arrival number of the batch; None: nothing was new


@dataclass(frozen=True, slots=True)
class Capabilities:
    """What a store can do beyond appending, labelling and reading. What is False is refused with ``NotSupported``, or
    where it is a promise (``exact_dedupe``, ``durable``) not given: ``doctor`` and the docs say so."""

    ledger: bool  # it is the ledger too: rows and leaves are stored in one transaction
    exact_dedupe: bool = True  # an id offered twice by any processes is stored once, and told as duplicate or conflict
    delete: bool = True  # by prediction id and by subject
    durable: bool = True  # what was appended outlives the process and the server


@dataclass(frozen=True, slots=True)
class Pruned:
    """What retention took away: feature rows, and whole predictions with their labels."""

    rows: int = 0
    predictions: int = 0


@dataclass(frozen=True, slots=True)
class Loss:
    """Records that one process did not store, by hour of arrival and reason (``dropped.queue_full`` …): the count so
    far, so that a loss told twice is counted once. ``source`` tells processes apart."""

    model: str
    version: str
    hour_us: int
    reason: str
    source: str
    n: int


@dataclass(frozen=True, slots=True)
class Label:
    """The truth about one prediction; ``true_label`` is JSON text. ``model`` None: whichever model scored the id."""

    prediction_id: str
    true_label: str
    time_us: int
    model: str | None = None


@dataclass(frozen=True, slots=True)
class LabelCounts:
    """What became of labels. ``ambiguous`` maps an id found in several models to their names: nothing was stored.

    ``early`` labels are kept until their prediction arrives; of ``conflicting`` ones the first stands.
    """

    matched: int = 0
    early: int = 0
    duplicate: int = 0
    conflicting: int = 0
    ambiguous: dict[str, list[str]] = field(default_factory=dict)
    fates: tuple[str, ...] = ()  # the word of each label, in order
    models: tuple[str | None, ...] = field(default=(), compare=False)
    """The model that scored the id of each label, in order; None where none did or several."""


class PredictionStore(Protocol):
    """Rows of features and predictions, and their labels."""

    @property
    def url(self) -> str:
        """The address without secrets, fit for a log line."""

    def append(self, batch: PredictionBatch, leaves: LeafBuilder) -> AppendResult:
        """Store the rows that are new, with their leaves, in one transaction. Safe to repeat."""

    def add_labels(self, labels: Sequence[Label]) -> LabelCounts:
        """Attach labels to every version of the model that scored the id; keep early ones."""

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
        """Rows of ``[start_us, end_us)`` in event-time order: ``version``, ``ROW_COLUMNS``, ``true_label`` (JSON
        text), ``label_time`` and the features flattened beside them (a feature named like a row column becomes
        ``feature.<name>``). ``columns`` keeps only those of that name. ``labelled`` True keeps rows with a label,
        False those without. ``limit`` keeps the newest, of rows of one time the last to arrive. ``after_arrival``
        leaves out batches up to that mark."""

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
        """The narrow columns alone (``prediction_id, timestamp, version, prediction, score, segment, entity_id,
        latency_seconds, true_label, label_time``), in event-time order: no feature is read, nor need there be any
        left. ``labelled`` and ``limit`` as in ``read``."""

    def count(self, model: str, version: str | None, start_us: int, end_us: int) -> int:
        """Number of predictions in the window."""

    def newest(self, model: str, version: str | None, before_us: int, n: int) -> tuple[int, int, int]:
        """``(start_us, end_us, count)`` of the newest ``n`` predictions with event time before ``before_us``.

        ``end_us`` is the last event time plus one; ``count`` is more than ``n`` where rows share the first time."""

    def recent(self, model: str, version: str | None, n: int, *, after_arrival: int = 0) -> list[dict[str, Any]]:
        """The ``n`` newest rows by event time as dicts: ``ROW_COLUMNS`` with JSON decoded and ``timestamp`` an
        aware datetime, ``features`` a dict, ``model``, ``version``, ``true_label``; newest first."""

    def totals(self, model: str, version: str | None, *, after_arrival: int = 0) -> dict[str, Any]:
        """``{"predictions", "labels", "first_us", "last_us", "output": {"n", "mean", "std", "min", "max"}}``;
        output is the score, else the numeric prediction; None where nothing is numeric."""

    def hourly_outputs(
        self, model: str, version: str | None, *, hours: int = 168, after_arrival: int = 0
    ) -> dict[int, tuple[int, float | None]]:
        """``{hour_us: (count, mean output)}`` of the newest ``hours`` hours that have data."""

    def batches(self, model: str, version: str, *, edges_id_not: str | None = None) -> Sequence[PredictionBatch]:
        """Stored batches, oldest first; with ``edges_id_not`` only those whose leaves count in other bins."""

    def models(self) -> list[tuple[str, str, int, int]]:
        """``(model, version, predictions, last event time)`` of everything that has rows."""

    @property
    def capabilities(self) -> Capabilities:
        """What this store can do."""

    def batch_index(self, model: str, version: str) -> list[tuple[int, str]]:
        """``(arrival, batch_id)`` of the stored batches that have feature rows, oldest first."""

    def prune(self, *, rows_before_us: int | None = None, predictions_before_us: int | None = None) -> Pruned:
        """Delete the feature rows of batches that arrived before the first moment, and everything about predictions
        (id, score, label, summaries stay) of batches that arrived before the second. Leaves stay: they are the
        ledger's. Readers at work are not disturbed; safe to repeat."""

    def delete(
        self, *, prediction_ids: Sequence[str] = (), entity_ids: Sequence[str] = (), model: str | None = None
    ) -> int:
        """Delete predictions with their features and labels, early labels of these ids included, so that nothing of
        them can be read any more; the number of predictions deleted. Counts in leaves and summaries stay."""

    def info(self) -> dict[str, Any]:
        """For ``doctor``: at least ``kind`` (``sqlite`` …), ``server_version``, ``bytes`` (used, None where unknown)
        and ``problems``: sentences that say what is wrong and what to do; empty when all is well."""

    def close(self) -> None:
        """Release connections."""


class Ledger(Protocol):
    """What the monitor knows: references, leaves, verdicts, alerts, outbox, tokens, audit."""

    # references: one current reference a (model, version), older ones stay readable by id
    def put_reference(self, model: str, version: str, reference_id: str, document: bytes) -> None:
        """Make this the reference of the model version, and set the arrival mark (see ``set_mark``)."""

    def get_reference(self, model: str, version: str) -> tuple[str, bytes] | None:
        """``(reference_id, document)`` of the current reference, or None."""

    def references(self) -> list[tuple[str, str]]:
        """``(model, version)`` of everything that has a reference."""

    def find_reference(self, reference_id: str) -> bytes | None:
        """The document of any reference that was ever current, or None."""

    # leaves
    def leaves(
        self, model: str, version: str | None, start_hour_us: int, end_hour_us: int, *, after_arrival: int = 0
    ) -> list[Leaf]:
        """All leaves of the hours ``[start, end)``; an hour may have several (batches, segments, edges)."""

    def replace_leaves(self, model: str, version: str, edges_id: str, leaves_of: LeafBuilder) -> int:
        """Rebuild the leaves of every kept batch of the model version that counts in other bins; the number
        of batches rebuilt. Used when a reference arrives or changes."""

    def seal(self, before_hour_us: int, *, more_than: int = 64) -> int:
        """Merge the leaves of each hour before the given one that has more than ``more_than`` of one kind; the
        number of hours sealed. The ids of merged batches are kept, so a repeated batch stays a no-op."""

    # leaves of rows that are kept elsewhere (``Capabilities.ledger`` False)
    def put_leaves(
        self, model: str, version: str, batch_id: str, arrival: int, arrived_us: int, leaves: Sequence[Leaf]
    ) -> bool:
        """Keep the leaves of a batch whose rows another store has, under its batch id and that store's arrival
        number; False when they were there already."""

    def counted_batches(self, model: str, version: str, *, after_arrival: int = 0) -> dict[str, tuple[int, str | None]]:
        """``{batch_id: (arrival, edges_id)}`` of every batch that was ever counted, its rows gone or not, and arrived
        after that number; ``edges_id`` None: no leaves."""

    def swap_leaves(
        self,
        model: str,
        version: str,
        edges_id: str,
        batch_ids: Sequence[str],
        leaves: Sequence[tuple[Leaf, int, int]],
    ) -> bool:
        """Put ``(leaf, first arrival, last arrival)`` in the place of all leaves of these batches, in one
        transaction; False, and nothing is changed, where a leaf also covers a batch that is not among them."""

    # losses: what processes offered and did not store
    def put_losses(self, losses: Sequence[Loss]) -> None:
        """Insert or replace by (model, version, hour, reason, source)."""

    def losses(self, model: str, version: str | None, start_us: int, end_us: int) -> dict[str, int]:
        """``{reason: n}`` over all processes, of the hours that begin in ``[start, end)``."""

    def prune_history(self, before_us: int) -> int:
        """Delete leaves and losses of hours before this moment, checks whose window ends before it, points of own
        metrics, and notices settled before it; the number of entries deleted. References, alerts, runs, tokens and the
        audit log stay."""

    # marks: where collector statistics start afresh
    def set_mark(self, model: str) -> int:
        """Start statistics of ``model`` afresh; the mark is the current arrival number, which is returned."""

    def get_mark(self, model: str) -> int:
        """The newest mark, 0 when there is none."""

    # checks
    def put_check(self, check: dict[str, Any]) -> None:
        """Record a check (``CheckResult.to_dict()``); a check of the same id replaces the former."""

    def checks(
        self,
        model: str,
        version: str | None = None,
        *,
        limit: int = 100,
        since_us: int | None = None,
        full: bool = False,
    ) -> list[dict[str, Any]]:
        """Newest first by window end. ``full`` False leaves out ``drift`` details that are large
        (``distribution`` of each column)."""

    # alerts: the state of each rule
    def get_alerts(self, model: str | None = None) -> list[dict[str, Any]]:
        """The stored alert states, newest change first: dicts with at least ``key, model, version, rule,
        severity, state, since_us, changed_us, value, message``, and the rule's ``summary``."""

    def put_alert(self, alert: dict[str, Any]) -> None:
        """Insert or replace the alert of this ``key``."""

    # custom metrics of the user
    def put_metric(self, model: str, name: str, value: float, time_us: int, labels: dict[str, str]) -> None:
        """One point of a user's own metric."""

    def metrics(self, model: str, start_us: int, end_us: int) -> list[dict[str, Any]]:
        """Points as dicts ``name, value, time_us, labels``, oldest first."""

    # outbox: durable sending
    def enqueue(self, notices: Sequence[Notice]) -> int:
        """Add notices; one whose ``key`` is already there is left alone. The number added."""

    def due(self, now_us: int, *, limit: int = 20, lease_us: int = 60_000_000) -> list[Notice]:
        """Claim notices that are due: no other caller gets them until the lease runs out."""

    def settle(
        self, key: str, *, state: str, now_us: int, retry_at_us: int | None = None, error: str | None = None
    ) -> None:
        """Record an attempt: ``state`` is ``sent``, ``retry`` (due again at ``retry_at_us``) or ``dead``."""

    def notices(self, *, state: str | None = None, limit: int = 100) -> list[dict[str, Any]]:
        """Notices with their attempts, newest first, for the page and ``doctor``."""

    # retraining runs
    def put_run(self, run: dict[str, Any]) -> None:
        """Insert or replace a retraining run by its ``id``: ``model, version, state, reason, details, at_us, …``."""

    def start_run(self, run: dict[str, Any]) -> str | None:
        """Keep a new run as ``put_run`` does, unless one of its model that has targets has not ended (``state``
        requested or running): then nothing is kept and the id of that one is returned. In one transaction, so that
        of several processes one starts."""

    def runs(self, model: str, *, limit: int = 20) -> list[dict[str, Any]]:
        """Retraining runs, newest first."""

    # tokens: only their hash is kept
    def put_token(
        self, token_id: str, digest: bytes, scopes: Sequence[str], expires_us: int | None, now_us: int
    ) -> None:
        """Keep a token's digest."""

    def find_token(self, digest: bytes) -> dict[str, Any] | None:
        """``{"id", "scopes", "expires_us", "created_us", "revoked"}`` of the token with this digest, or None."""

    def tokens(self) -> list[dict[str, Any]]:
        """All tokens, without digests."""

    def revoke_token(self, token_id: str) -> bool:
        """Revoke; False when there is no such token."""

    # audit
    def audit(self, who: str, what: str, details: dict[str, Any], now_us: int) -> None:
        """Append one line to the audit log."""

    def audit_lines(self, *, limit: int = 100) -> list[dict[str, Any]]:
        """The newest lines of the audit log: ``who, what, details, at_us``."""

    def info(self) -> dict[str, Any]:
        """For ``doctor``: schema version, driver version, bytes used, journal mode, integrity."""


@dataclass(frozen=True, slots=True)
class Notice:
    """One outgoing effect, kept until it is delivered or given up: ``key`` is the idempotency key."""

    key: str
    channel: str  # "log", "webhook:https://…": the channel's own address
    kind: str  # "alert", "resolved", "retraining"
    body: dict[str, Any]
    created_us: int
    attempts: int = 0
