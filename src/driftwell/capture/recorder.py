"""The recorder: takes records, tables and labels from any thread at once, and stores them on a thread of its own.

Nothing here raises, blocks or grows without bound; whatever is not stored is counted by reason.
"""

from __future__ import annotations

import logging
import os
import time
from collections.abc import Callable, Mapping, Sequence
from dataclasses import replace
from typing import TYPE_CHECKING, Any

from driftwell.capture.adoption import Adoption
from driftwell.capture.batching import rows_as_dicts
from driftwell.capture.cells import Shape
from driftwell.capture.counting import Counting, LabelTally, Tally
from driftwell.capture.ids import IdSource, id_from, is_kept
from driftwell.capture.journal import Journal
from driftwell.capture.losses import LossBook
from driftwell.capture.patience import Backoff, LossReport, Seldom
from driftwell.capture.processes import survive_forks
from driftwell.capture.queue import Queue
from driftwell.capture.records import (
    FIELDS,
    Bundle,
    Deferred,
    Item,
    LabelItem,
    LabelTicket,
    Record,
    Redaction,
    TableRows,
    make_record,
)
from driftwell.capture.snapshot import RefusedError, freeze
from driftwell.capture.spool import Spool
from driftwell.capture.tables import own_table, roles_of, slices_of
from driftwell.capture.worker import Worker
from driftwell.capture.writer import ReferenceFor, TransformFor, Writer
from driftwell.errors import ConfigError
from driftwell.stores.base import LabelCounts, LeafBuilder, Loss, PredictionStore
from driftwell.stores.transform import Transform

if TYPE_CHECKING:
    from driftwell.profiles.reference import Reference

__all__ = ["Recorder"]

logger = logging.getLogger("driftwell.capture")

TABLE_SECONDS = 5.0
WAKE_AT_ROWS = 1_000
CLOSE_SECONDS = 10.0
SWITCH = "DRIFTWELL_DISABLED"


class Recorder:
    """Takes the records of all models of a process.

    Parameters
    ----------
    store
        Where rows and labels go.
    reference_for
        ``reference_for(model, version)``: the current reference or None; asked on the recorder's thread.
    leaf_builder
        Makes the leaves of a batch from a reference.
    kinds
        Kinds of features that no reference decides.
    queue_records, queue_bytes
        Bounds of what waits in memory, the part being stored included. What comes on top is dropped and counted, or
        with ``durability="journal"`` waits on disk.
    flush_seconds
        How long a record waits at most before it is stored; a thousand of them wait no longer.
    clock
        Seconds since 1970.
    transform_for
        What leaves of a model do to features; says here under which names they are recorded.
    spool
        Where records wait on disk: what memory should not hold while the store fails, what is left at the end, and
        with ``durability="journal"`` every record. What processes that are gone left there is stored, too.
    durability
        ``"queued"``: a record is in memory when a call returns. ``"journal"``: it is in the spool.
    redact_for
        What must not be kept of a model's records; applied before anything else.
    losses_to
        Is told about every 10 seconds, on the recorder's thread, what was dropped and rejected so far.

    Attributes
    ----------
    enabled
        False: nothing is taken, what is offered counts as ``skipped["disabled"]``. ``DRIFTWELL_DISABLED=1`` in the
        environment sets it so from the start.

    Notes
    -----
    A forked child starts with an empty queue, counts, files and a thread of its own; what waited is stored by the
    parent. At exit what waits is stored for up to 5 seconds.
    """

    def __init__(
        self,
        store: PredictionStore,
        *,
        reference_for: ReferenceFor,
        leaf_builder: Callable[[Reference | None], LeafBuilder],
        kinds: Mapping[str, str] | None = None,
        queue_records: int = 100_000,
        queue_bytes: int = 256 * 1024**2,
        flush_seconds: float = 1.0,
        clock: Callable[[], float] = time.time,
        transform_for: TransformFor = lambda model: Transform(),
        spool: Spool | None = None,
        durability: str = "queued",
        redact_for: Callable[[str], Redaction | None] = lambda model: None,
        losses_to: Callable[[Sequence[Loss]], None] | None = None,
    ) -> None:
        if durability not in ("queued", "journal"):
            raise ConfigError(f"durability is 'queued' or 'journal'. Got {durability!r}")
        if durability == "journal" and spool is None:
            raise ConfigError("durability 'journal' needs a folder for its spool: name one with spool_dir")
        self._reference_for = reference_for
        self._transform_for = transform_for
        self.redact_for = redact_for
        self._clock = clock
        self._ids = IdSource()
        self._counting = Counting()
        self._queue = Queue(self._counting, queue_records, queue_bytes, min(WAKE_AT_ROWS, max(1, queue_records // 2)))
        self._backoff = Backoff(self._queue, lambda: self._journal.relieve())
        self._writer = Writer(
            store,
            reference_for,
            leaf_builder,
            kinds or {},
            self._counting,
            self._backoff,
            transform_for,
            keep=lambda: self._journal.keep_current(),
        )
        self._journal = Journal(
            self._queue,
            self._counting,
            spool,
            journaling=durability == "journal",
            expand=self._writer.expand,
            is_over=lambda: self._backoff.is_over,
        )
        self._adoption = Adoption(spool)
        self._worker = Worker(
            self._queue,
            self._journal,
            self._adoption,
            self._writer,
            self._backoff,
            LossReport(self._counting),
            LossBook(self._counting, losses_to),
            flush_seconds,
        )
        self.journaling = self._journal.journaling
        self._seldom = Seldom()
        self.enabled = os.environ.get(SWITCH, "").strip().lower() in ("", "0", "false", "no", "off")
        survive_forks(self)
        if spool is not None and self.enabled:
            self._worker.start()

    # -- offering --------------------------------------------------------------------------------------------

    def offer(
        self,
        model: str,
        version: str,
        features: Any,
        prediction: Any = None,
        *,
        score: Any = None,
        probability: Any = None,
        prediction_id: Any = None,
        timestamp: Any = None,
        segment: Any = None,
        entity_id: Any = None,
        latency_seconds: Any = None,
        metadata: Any = None,
        true_label: Any = None,
        keep: float = 1.0,
    ) -> str:
        """Take one record; returns its id at once, never raises, never blocks.

        The values are frozen at the call, everything else happens later on the recorder's thread. ``keep`` is the
        share of ids that is recorded, decided by the id's hash; the others are counted as ``sampled_out``.
        """
        made = None
        try:
            arrived = self._clock()
            if not self.enabled:
                return self._skip(model, version, arrived, prediction_id)
            if type(model) is not str or type(version) is not str:
                model, version = id_from(model), id_from(version)
            made = self._ids.make(arrived) if prediction_id is None else id_from(prediction_id)
            if keep < 1.0 and not is_kept(made, keep):
                return self._sample_out(model, version, made)
            values: Sequence[Any] = (
                prediction,
                score,
                probability,
                timestamp,
                segment,
                entity_id,
                latency_seconds,
                metadata,
                true_label,
            )
            redaction = self.redact_for(model)
            kept = made
            if redaction is not None:
                names = None if isinstance(features, Mapping) else self.names_for(model, version)
                kept = redaction.id(made)
                features, fields = redaction.apply(features, dict(zip(FIELDS, values, strict=True)), names)
                values = [fields.get(name) for name in FIELDS]
            record = make_record(model, version, kept, arrived, features, values)
            self._take(record, self._counting.tally(model, version), 1)
            return made
        except RefusedError as refused:
            return self._refuse(model, version, made, refused.reason)
        except Exception:  # noqa: BLE001 - a public call of the recorder never raises, whatever it is given
            return self._refuse(model, version, made, "prediction_id" if made is None else "unreadable")

    def offer_table(self, model: str, version: str, table: Any, roles: Mapping[str, str]) -> list[str]:
        """Take every row of a table; returns the ids in its order, ``[]`` when it is no table. Never raises.

        A table larger than the room that is left waits for the store, up to 5 seconds a slice; once that was not
        enough, what finds no room is dropped and counted, as single records are.

        ``roles`` says which column is which field where the names do not. With a reference its features are kept
        and further columns ignored and counted; without one every column without a role is a feature. Rows that
        name another ``model`` or ``version`` go there.
        """
        try:
            arrived = self._clock()
            if not self.enabled:
                self._skip(model, version, arrived, None)
                return []
            reference, transform = self._reference_for(model, version), self._transform_for(model)
            found = own_table(table, reference, transform)
            names = roles_of(found, roles, reference)
            redaction = self.redact_for(model)
            if redaction is not None:
                found = redaction.apply_table(found, names)
                names = {role: column for role, column in names.items() if column in found.column_names}
            ids, items = slices_of(model, version, found, names, arrived, self._ids)
            patient = True
            for item in items:
                if redaction is not None:
                    item = _without_ids(item, redaction)
                if self.journaling:
                    self._take(item, self._counting.tally(item.model, item.version), item.rows)
                    continue
                patient = patient and (self.room() >= item.rows or self.flush(TABLE_SECONDS))
                self._offer_rows(item)
            return ids
        except RefusedError as refused:
            self._refuse(model, version, None, refused.reason)
        except Exception as exc:
            if self._seldom.permits("table"):
                logger.warning("a table offered for %s cannot be recorded", model, exc_info=exc)
            self._refuse(model, version, None, "table")
        return []

    def offer_label(
        self, prediction_id: Any, true_label: Any, *, model: str | None = None, timestamp: Any = None
    ) -> LabelTicket:
        """Take one label, early or late; never raises, never blocks. The ticket tells what became of it."""
        ticket = LabelTicket(self._queue.hurry)
        try:
            if not self.enabled:
                with self._counting.lock:
                    self._counting.labels(model).skipped["disabled"] += 1
                ticket.settle(LabelCounts())
                return ticket
            kept = id_from(prediction_id)
            redaction = None if model is None else self.redact_for(model)
            if redaction is not None:
                kept, true_label = redaction.id(kept), redaction.label(true_label)
            item = LabelItem(model, kept, self._clock(), freeze((true_label, timestamp)), ticket)
            if self._take(item, self._counting.labels(model), 1):
                return ticket
        except Exception:  # noqa: BLE001 - a public call of the recorder never raises, whatever it is given
            with self._counting.lock:
                tally = self._counting.labels(model if isinstance(model, str) else None)
                tally.offered += 1
                tally.rejected["true_label"] += 1
        ticket.settle(LabelCounts())
        return ticket

    def offer_exchange(self, exchange: Deferred) -> None:
        """Take something that is read on the recorder's thread; its rows are counted when it is. Never blocks."""
        if not self.enabled:
            self.note_skipped(exchange.model, exchange.version, "disabled")
        elif self._queue.put(exchange, self._counting.tally(exchange.model, exchange.version), 0):
            self._wake_up()

    def offer_exchange_now(self, exchange: Deferred) -> None:
        """Take something, read it and write it to the spool before this call returns; never raises.

        Without ``journaling`` it is ``offer_exchange``.
        """
        if not self.journaling or not self.enabled:
            self.offer_exchange(exchange)
            return
        try:
            records = self._writer.read(exchange)
            counts = [(self._counting.tally(one.model, one.version), 1) for one in records]
            if records and self._journal.put(Bundle(records), counts):
                self._wake_up()
        except Exception:
            logger.exception("a defect of the recorder: please report it")

    def note_refused(self, model: str, version: str, reasons: Mapping[str, int]) -> None:
        """Count records that were refused where they were posted, by reason."""
        with self._counting.lock:
            self._counting.refuse(model, version, reasons)

    def note_refused_labels(self, model: str | None, reasons: Mapping[str, int]) -> None:
        """Count labels that were refused where they were posted, by reason."""
        with self._counting.lock:
            self._counting.refuse_labels(model, reasons)

    def note_skipped(self, model: str, version: str, reason: str) -> None:
        """Count a request that was passed over."""
        with self._counting.lock:
            self._counting.tally(model, version).skipped[reason] += 1

    def note_error(self, model: str, version: str) -> None:
        """Count a request that the application failed to answer."""
        with self._counting.lock:
            self._counting.tally(model, version).errors += 1

    def _take(self, item: Item, tally: Tally | LabelTally, rows: int) -> bool:
        if self.journaling:
            kept = self._journal.put(item, ((tally, rows),))
        else:
            kept = self._queue.put(item, tally, rows)
        if kept:
            self._wake_up()
        return kept

    def _wake_up(self) -> None:
        if self._worker.thread is None:
            self._worker.start()

    def _offer_rows(self, item: TableRows) -> None:
        """As many rows as there is room for; the newest are dropped."""
        room = min(self._queue.room(), item.rows)
        for part in (item.cut(0, room), item.cut(room, item.rows)):
            if part.rows:
                self._take(part, self._counting.tally(item.model, item.version), part.rows)

    def names_for(self, model: str, version: str) -> list[str] | None:
        """The names of features given by position; None where no reference says them."""
        try:
            reference, transform = self._reference_for(model, version), self._transform_for(model)
        except Exception:  # noqa: BLE001 - a record is worth more than the names of its positions
            return None
        if reference is None or transform.preprocess is not None:
            return None
        return list(Shape.of(reference, transform.feature_map).kinds)

    def _skip(self, model: Any, version: Any, arrived: float, prediction_id: Any) -> str:
        self.note_skipped(str(model), str(version), "disabled")
        return self._ids.make(arrived) if prediction_id is None else id_from(prediction_id)

    def _refuse(self, model: Any, version: Any, made: str | None, reason: str) -> str:
        place = (model, version) if isinstance(model, str) and isinstance(version, str) else ("", "")
        with self._counting.lock:
            tally = self._counting.tally(*place)
            tally.offered += 1
            tally.reject({reason: 1}, time.time())
        return self._ids.make(time.time()) if made is None else made

    def _sample_out(self, model: str, version: str, made: str) -> str:
        with self._counting.lock:
            self._counting.tally(model, version).sampled_out += 1
        return made

    # -- looking ---------------------------------------------------------------------------------------------

    def stats(self, model: str | None = None, version: str | None = None) -> dict[str, Any]:
        """What was offered since the start of this process and what became of it, all at one moment.

        ``offered = stored + waiting + sum(dropped) + sum(rejected)``. ``recovered`` of those stored were left behind by
        another process; what it had stored already is not counted here. ``unjournaled`` of those offered could not be
        written to the spool and were kept in memory alone. ``queue_length`` is that of the whole process, labels and
        requests still to be read included, and ``spool`` tells the ``bytes`` and ``files`` of the folder, the records
        and labels ``waiting`` on disk alone, and the number of ``unreadable`` entries met so far. ``model`` and
        ``version`` narrow everything else.
        """
        spool = self._journal.stats()
        spool["unreadable"] += self._adoption.unreadable
        with self._counting.lock:
            return self._counting.stats(model, version) | {"queue_length": self._queue.length, "spool": spool}

    def waiting(self, model: str, version: str | None = None) -> list[dict[str, Any]]:
        """Records in memory and not yet stored, oldest first, in the form of ``PredictionStore.recent``.

        Requests still to be read are not among them, nor what waits on disk alone. Cost: each is converted.
        """
        places: dict[tuple[str, str], list[Record | TableRows]] = {}
        items = [one for item in self._queue.unsettled() for one in getattr(item, "records", (item,))]
        for item in items:
            if isinstance(item, (Record, TableRows)) and item.model == model and version in (None, item.version):
                places.setdefault((item.model, item.version), []).append(item)
        prepared = [one for place, items in places.items() for one in self._writer.preview(*place, items)]
        return [row for one in prepared for row in rows_as_dicts(one)]

    def room(self) -> int:
        """How many more records the queue takes now."""
        return self._queue.room()

    # -- life ------------------------------------------------------------------------------------------------

    def flush(self, timeout: float | None = None) -> bool:
        """Wait until all that was offered so far is stored or counted as lost; False after ``timeout`` seconds.

        Where nothing waits, wait until what other processes left in the spool is stored.
        """
        return self._worker.flush(timeout)

    def close(self, timeout: float = CLOSE_SECONDS) -> None:
        """Store what waits, for at most ``timeout`` seconds. What is left stays in the spool, where there is one, for
        another process; else it is dropped, and so is all that comes later."""
        self._worker.close(timeout)

    # -- fork ------------------------------------------------------------------------------------------------

    def before_fork(self) -> None:
        """Let no other thread be in the middle of a change."""
        self._worker.before_fork()

    def after_fork_in_parent(self) -> None:
        """Go on."""
        self._worker.after_fork_in_parent()

    def after_fork_in_child(self) -> None:
        """Start with nothing offered: what waits belongs to the parent."""
        self._counting.reset()
        self._ids.reseed()
        self._worker.after_fork_in_child()


def _without_ids(item: TableRows, redaction: Redaction) -> TableRows:
    """The rows with ids as they are kept, and without the column they came from."""
    column = item.roles.get("prediction_id")
    table = item.table if column is None else item.table.drop_columns([column])
    roles = {role: name for role, name in item.roles.items() if role != "prediction_id"}
    return replace(item, ids=[redaction.id(one) for one in item.ids], table=table, roles=roles)
