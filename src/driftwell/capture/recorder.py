"""The recorder: takes records, tables and labels from any thread at once, and stores them on a thread of its own.

Nothing here raises, blocks or grows without bound; whatever is not stored is counted by reason.
"""

from __future__ import annotations

import logging
import os
import time
from collections import Counter
from collections.abc import Callable, Mapping, Sequence
from typing import TYPE_CHECKING, Any

from driftwell.capture.conversion.cells import Shape
from driftwell.capture.conversion.view import View
from driftwell.capture.counting import Counting, LabelTally, Tally
from driftwell.capture.ids import IdSource, id_from, is_kept
from driftwell.capture.losses import LossBook
from driftwell.capture.patience import Backoff, LossReport, Seldom
from driftwell.capture.processes import notice_fork, survive_forks
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
    make_record,
)
from driftwell.capture.snapshot import RAISABLE, RefusedError, freeze
from driftwell.capture.spool.adoption import Adoption
from driftwell.capture.spool.files import Spool
from driftwell.capture.spool.journal import Journal
from driftwell.capture.table_intake import TableIntake
from driftwell.capture.worker import Worker
from driftwell.capture.writer import ReferenceFor, TransformFor, Writer
from driftwell.errors import ConfigError
from driftwell.stores.base import LabelCounts, LeafBuilder, Loss, PredictionStore
from driftwell.stores.transform import Transform

if TYPE_CHECKING:
    from driftwell.profiles.reference import Reference

__all__ = ["Recorder"]

logger = logging.getLogger("driftwell.capture")

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
        self.make_id = self._ids.make
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
            self._counting,
            LossReport(self._counting),
            LossBook(self._counting, losses_to),
            flush_seconds,
        )
        self.journaling = self._journal.journaling
        self._view = View(self._counting, self._queue, self._journal, self._adoption, self._writer, redact_for)
        self._tables = TableIntake(
            self._queue,
            self._ids,
            reference_for,
            transform_for,
            lambda item: self._take(item, self._counting.tally(item.model, item.version), item.rows),
            waits=not self.journaling,
            fits=lambda size: self._journal.room(size) > 0,
        )
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
        notice_fork()
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
            record = self._frozen(model, version, made, arrived, features, values)
            self._take(record, self._counting.tally(model, version), 1)
            return made
        except RefusedError as refused:
            return self._refuse(model, version, made, refused.reason)
        except RAISABLE:  # a public call of the recorder never raises, whatever it is given
            return self._refuse(model, version, made, "prediction_id" if made is None else "unreadable")

    def offer_rows(self, rows: Sequence[Mapping[str, Any]]) -> list[str] | None:
        """Take records that came together, each with the arguments of ``offer``: all, or none where there is no room.

        Returns the ids, None where nothing was taken (and nothing counted). With ``durability="journal"`` they are
        written at once. Never raises, never blocks.
        """
        notice_fork()
        ids: list[str] = []
        records: list[Record] = []
        refused: list[tuple[Any, Any, str | None, str]] = []
        arrived = self._clock()
        for row in rows:
            get = row.get
            model, version, given, made = get("model"), get("version"), get("prediction_id"), None
            if not self.enabled:
                ids.append(self._skip(model, version, arrived, given))
                continue
            try:
                made = self._ids.make(arrived) if given is None else id_from(given)
                values = [get(name) for name in FIELDS]
                records.append(self._frozen(id_from(model), id_from(version), made, arrived, get("features"), values))
            except RefusedError as one:
                refused.append((model, version, made, one.reason))
            except RAISABLE:  # a public call of the recorder never raises, whatever it is given
                refused.append((model, version, made, "unreadable"))
            ids.append(made or self._ids.make(arrived))
        if records and not self._take_all(records):
            return None
        for what in refused:
            self._refuse(*what)
        return ids

    def _take_all(self, records: Sequence[Record]) -> bool:
        bundle = Bundle(records)
        if self.journaling:
            places = Counter((one.model, one.version) for one in records)
            counts = [(self._counting.tally(*place), n) for place, n in places.items()]
            taken = self._journal.put(bundle, counts, or_leave=True)
        else:
            with self._queue.lock:  # nobody else may take the room in between
                taken = self._queue.room(bundle.size) >= len(records)
                for one in records if taken else ():
                    self._queue.put(one, self._counting.tally(one.model, one.version), 1)
        if taken:
            self._wake_up()
        return taken

    def _frozen(
        self, model: str, version: str, made: str, arrived: float, features: Any, values: Sequence[Any]
    ) -> Record:
        """A record as it is kept; raises ``RefusedError`` for what cannot be."""
        redaction = self.redact_for(model)
        if redaction is not None:
            names = None if isinstance(features, Mapping) else self.names_for(model, version)
            made = redaction.id(made)
            features, fields = redaction.apply(features, dict(zip(FIELDS, values, strict=True)), names)
            values = [fields.get(name) for name in FIELDS]
        return make_record(model, version, made, arrived, features, values)

    def offer_table(self, model: str, version: str, table: Any, roles: Mapping[str, str]) -> list[str]:
        """Take every row of a table; returns the ids in its order, ``[]`` when it is no table. Never raises.

        A table larger than the room that is left waits for the store, up to 5 seconds a slice; once that was not
        enough, what finds no room is dropped and counted, as single records are. While the store is away and the
        reference was never read, the rows are kept; what their columns mean is then found out when they are stored.

        ``roles`` says which column is which field where the names do not. With a reference its features are kept
        and further columns ignored and counted; without one every column without a role is a feature. Rows that
        name another ``model`` or ``version`` go there.
        """
        redaction = None
        notice_fork()
        try:
            arrived = self._clock()
            if not self.enabled:
                self._skip(model, version, arrived, None)
                return []
            redaction = self.redact_for(model)
            may_wait = not self._worker.is_own_thread
            return self._tables.offer(model, version, table, roles, arrived, redaction, may_wait)
        except RefusedError as refused:
            self._refuse(model, version, None, refused.reason)
        except RAISABLE as exc:
            if self._seldom.permits("table"):
                # Its message may quote values that redaction would have taken away.
                told = exc if redaction is None else RuntimeError(f"raised {type(exc).__name__}")
                logger.warning("a table offered for %s cannot be recorded", model, exc_info=told)
            self._refuse(model, version, None, "table")
        return []

    def offer_label(
        self, prediction_id: Any, true_label: Any, *, model: str | None = None, timestamp: Any = None
    ) -> LabelTicket:
        """Take one label, early or late; never raises, never blocks. The ticket tells what became of it."""
        notice_fork()
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
        except RAISABLE:  # a public call of the recorder never raises, whatever it is given
            with self._counting.lock:
                tally = self._counting.labels(model if isinstance(model, str) else None)
                tally.offered += 1
                tally.rejected["true_label"] += 1
        ticket.settle(LabelCounts())
        return ticket

    def offer_exchange(self, exchange: Deferred) -> None:
        """Take something that is read on the recorder's thread; its rows are counted when it is. Never blocks."""
        notice_fork()
        if not self.enabled:
            self.note_skipped(exchange.model, exchange.version, "disabled")
        elif self._queue.put(exchange, self._counting.tally(exchange.model, exchange.version), 0):
            self._wake_up()

    def offer_exchange_now(self, exchange: Deferred) -> None:
        """Take something, read it and write it to the spool before this call returns; never raises.

        Without ``journaling`` it is ``offer_exchange``.
        """
        notice_fork()
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
        ``version`` narrow everything else. ``redaction_lost`` has by column how many values were dropped because their
        rule could not change them.
        """
        notice_fork()
        return self._view.stats(model, version)

    def waiting(self, model: str, version: str | None = None) -> list[dict[str, Any]]:
        """Records not yet stored, oldest first, in the form of ``PredictionStore.recent``.

        Requests still to be read are not among them; of what waits on disk alone only the newest 100 entries are.
        Cost: each is converted.
        """
        return self._view.waiting(model, version)

    def room(self, size: int = 0) -> int:
        """How many more records are taken now, if all of them have so many bytes; with ``durability="journal"`` any
        number for which the spool has the bytes."""
        return self._journal.room(size)

    # -- life ------------------------------------------------------------------------------------------------

    def flush(self, timeout: float | None = None) -> bool:
        """Wait until all that was offered so far is stored or counted as lost; False after ``timeout`` seconds.

        Where nothing waits, wait until what other processes left in the spool is stored.
        """
        notice_fork()
        return self._worker.flush(timeout)

    def tell_losses(self) -> None:
        """Tell ``losses_to`` at once what was lost so far; never raises."""
        self._worker.tell_losses()

    def close(self, timeout: float = CLOSE_SECONDS) -> None:
        """Store what waits, for at most ``timeout`` seconds. What is left stays in the spool, where there is one, for
        another process; else it is dropped, and so is all that comes later."""
        notice_fork()
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
