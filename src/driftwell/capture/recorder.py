"""The recorder: takes records, tables and labels from any thread at once, and stores them on a thread of its own.

Nothing here raises, blocks or grows without bound; whatever is not stored is counted by reason.
"""

from __future__ import annotations

import atexit
import logging
import threading
import time
from collections.abc import Callable, Mapping, Sequence
from typing import TYPE_CHECKING, Any

from driftwell.capture.batching import rows_as_dicts
from driftwell.capture.counting import Counting
from driftwell.capture.ids import IdSource, id_from, is_kept
from driftwell.capture.patience import Backoff, LossReport, Seldom
from driftwell.capture.processes import finish_with_child, survive_forks
from driftwell.capture.queue import Queue
from driftwell.capture.records import Deferred, LabelItem, LabelTicket, Record, TableRows, make_record
from driftwell.capture.snapshot import RefusedError, freeze
from driftwell.capture.tables import own_table, roles_of, slices_of
from driftwell.capture.writer import Item, ReferenceFor, TransformFor, Writer
from driftwell.stores.base import LabelCounts, LeafBuilder, PredictionStore
from driftwell.stores.transform import Transform

if TYPE_CHECKING:
    from driftwell.profiles.reference import Reference

__all__ = ["Recorder"]

logger = logging.getLogger("driftwell.capture")

TABLE_SECONDS = 5.0
WAKE_AT_ROWS = 1_000
BATCH_ROWS = 10_000
BATCH_BYTES = 32 * 1024**2
CLOSE_SECONDS = 10.0
EXIT_SECONDS = 5.0


class Recorder:
    """Queue and writer of all models of a process.

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
        Bounds of what waits, the part being stored included. What comes on top is dropped and counted.
    flush_seconds
        How long a record waits at most before it is stored; a thousand of them wait no longer.
    clock
        Seconds since 1970.
    transform_for
        What leaves of a model do to features; says here under which names they are recorded.

    Notes
    -----
    A forked child starts with an empty queue, counts of its own and its own thread; what waited is stored by the
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
    ) -> None:
        self._reference_for = reference_for
        self._transform_for = transform_for
        self._flush_seconds = flush_seconds
        self._clock = clock
        self._ids = IdSource()
        self._counting = Counting()
        self._queue = Queue(self._counting, queue_records, queue_bytes, min(WAKE_AT_ROWS, queue_records))
        self._backoff = Backoff(self._queue)
        self._losses = LossReport(self._counting)
        self._seldom = Seldom()
        self._writer = Writer(
            store, reference_for, leaf_builder, kinds or {}, self._counting, self._backoff, transform_for
        )
        self._thread: threading.Thread | None = None
        survive_forks(self)
        atexit.register(self._at_exit)

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
            if type(model) is not str or type(version) is not str:
                model, version = id_from(model), id_from(version)
            made = self._ids.make(arrived) if prediction_id is None else id_from(prediction_id)
            if keep < 1.0 and not is_kept(made, keep):
                return self._sample_out(model, version, made)
            values = (
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
            record = make_record(model, version, made, arrived, features, values)
            if self._queue.put(record, self._counting.tally(model, version), 1) and self._thread is None:
                self._start()
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
            reference, transform = self._reference_for(model, version), self._transform_for(model)
            found = own_table(table, reference, transform)
            arrived = self._clock()
            ids, items = slices_of(model, version, found, roles_of(found, roles, reference), arrived, self._ids)
            patient = True
            for item in items:
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
        ticket = LabelTicket(self._queue.wake.set)
        try:
            frozen = freeze((true_label, timestamp))
            item = LabelItem(model, id_from(prediction_id), self._clock(), frozen, ticket)
            if self._queue.put(item, self._counting.labels(model), 1):
                if self._thread is None:
                    self._start()
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
        tally = self._counting.tally(exchange.model, exchange.version)
        if self._queue.put(exchange, tally, 0) and self._thread is None:
            self._start()

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

    def _offer_rows(self, item: TableRows) -> None:
        """As many rows as there is room for; the newest are dropped."""
        room = min(self._queue.room(), item.rows)
        tally = self._counting.tally(item.model, item.version)
        for part in (item.cut(0, room), item.cut(room, item.rows)):
            if part.rows and self._queue.put(part, tally, part.rows) and self._thread is None:
                self._start()

    def _refuse(self, model: Any, version: Any, made: str | None, reason: str) -> str:
        place = (model, version) if isinstance(model, str) and isinstance(version, str) else ("", "")
        with self._counting.lock:
            tally = self._counting.tally(*place)
            tally.offered += 1
            tally.rejected[reason] += 1
        return self._ids.make(time.time()) if made is None else made

    def _sample_out(self, model: str, version: str, made: str) -> str:
        with self._counting.lock:
            self._counting.tally(model, version).sampled_out += 1
        return made

    # -- looking ---------------------------------------------------------------------------------------------

    def stats(self, model: str | None = None, version: str | None = None) -> dict[str, Any]:
        """What was offered since the start of this process and what became of it, all at one moment.

        ``offered = stored + waiting + sum(dropped) + sum(rejected)``. ``queue_length`` is that of the whole process,
        labels and requests still to be read included. ``model`` and ``version`` narrow everything else.
        """
        with self._counting.lock:
            return self._counting.stats(model, version) | {"queue_length": self._queue.length}

    def waiting(self, model: str, version: str | None = None) -> list[dict[str, Any]]:
        """Records not yet stored, oldest first, in the form of ``PredictionStore.recent``.

        Requests still to be read are not among them. Cost: each is converted.
        """
        places: dict[tuple[str, str], list[Record | TableRows]] = {}
        for item in self._queue.unsettled():
            if isinstance(item, (Record, TableRows)) and item.model == model and version in (None, item.version):
                places.setdefault((item.model, item.version), []).append(item)
        prepared = [one for place, items in places.items() for one in self._writer.preview(*place, items)]
        return [row for one in prepared for row in rows_as_dicts(one)]

    def room(self) -> int:
        """How many more records the queue takes now."""
        return self._queue.room()

    # -- life ------------------------------------------------------------------------------------------------

    def flush(self, timeout: float | None = None) -> bool:
        """Wait until all that was offered so far is stored or counted as lost; False after ``timeout`` seconds."""
        if threading.current_thread() is self._thread:  # an extractor of the user's, which cannot wait for itself
            return False
        if self._thread is None and not self._queue.is_empty:
            self._start()
        return self._queue.wait_until_settled(timeout)

    def close(self, timeout: float = CLOSE_SECONDS) -> None:
        """Store what waits, for at most ``timeout`` seconds; what is left, and all that comes later, is dropped."""
        with self._counting.lock:
            first = not self._queue.closed
            self._queue.closed = True
        if not first:
            return
        atexit.unregister(self._at_exit)
        self._backoff.give_up_at(time.monotonic() + timeout)
        self._queue.wake.set()
        thread = self._thread
        if thread is None:
            self._run()
        elif thread is not threading.current_thread():
            thread.join(timeout + 1.0)

    def _at_exit(self) -> None:
        self.close(EXIT_SECONDS)

    def _start(self) -> None:
        with self._counting.lock:
            if self._thread is not None or self._queue.closed:
                return
            thread = threading.Thread(target=self._run, name="driftwell-recorder", daemon=True)
            self._thread = thread
        try:
            thread.start()
        except RuntimeError:  # no thread can be had, as at exit: the next call or close() tries again
            self._thread = None
            return
        finish_with_child(self._at_exit)

    def _run(self) -> None:
        queue = self._queue
        try:
            while not queue.closed or not queue.is_empty:
                queue.wake.wait(0 if queue.closed else self._flush_seconds)
                queue.wake.clear()
                self._store(queue.take())
                self._losses.report()
        finally:
            if not queue.closed:  # whatever ended it: the next record starts another
                self._thread = None

    def _store(self, items: Sequence[Item | Deferred]) -> None:
        rest = list(items)
        while rest:
            end = _batch_end(rest)
            now, rest = rest[:end], rest[end:]
            try:
                ready = self._writer.expand(now)
                self._queue.keep([*ready, *rest])
                self._writer.write(ready)
            except Exception:
                logger.exception("a defect of the recorder: please report it")
            finally:
                self._queue.release(now, rest)

    # -- fork ------------------------------------------------------------------------------------------------

    def before_fork(self) -> None:
        """Let no other thread be in the middle of a change."""
        self._counting.lock.acquire()

    def after_fork_in_parent(self) -> None:
        """Go on."""
        self._counting.lock.release()

    def after_fork_in_child(self) -> None:
        """Start with nothing offered: what waits belongs to the parent."""
        self._counting.reset()
        self._queue.reset()
        self._ids.reseed()
        self._thread = None


def _batch_end(items: Sequence[Any]) -> int:
    """How many of the items are stored together."""
    rows = size = 0
    for i, item in enumerate(items):
        if i and (rows >= BATCH_ROWS or size >= BATCH_BYTES):
            return i
        rows += item.rows or 1
        size += item.size
    return len(items)
