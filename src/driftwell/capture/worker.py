"""The recorder's thread: takes what waits, has it stored, and in quiet moments what other processes left."""

from __future__ import annotations

import atexit
import logging
import threading
import time
from collections import Counter

from driftwell.capture.counting import Counting
from driftwell.capture.losses import LossBook
from driftwell.capture.patience import Backoff, LossReport, Seldom
from driftwell.capture.processes import finish_with_child, notice_fork
from driftwell.capture.queue import Queue
from driftwell.capture.records import Bundle, LabelItem, Record, TableRows
from driftwell.capture.spool.adoption import Adoption
from driftwell.capture.spool.journal import Journal, tally_of
from driftwell.capture.spool.pieces import Chunk
from driftwell.capture.writer import Writer
from driftwell.stores.base import LabelCounts

__all__ = ["Worker"]

logger = logging.getLogger("driftwell.capture")

EXIT_SECONDS = 5.0
FORK_SECONDS = 2.0
END_SECONDS = 1.0
"""Of the time to close, what is kept for bringing what is left to disk."""


class Worker:
    """Runs the thread from the first record to the end of the process, or to ``close``."""

    def __init__(
        self,
        queue: Queue,
        journal: Journal,
        adoption: Adoption,
        writer: Writer,
        backoff: Backoff,
        counting: Counting,
        report: LossReport,
        book: LossBook,
        flush_seconds: float,
    ) -> None:
        self._queue = queue
        self._journal = journal
        self._adoption = adoption
        self._writer = writer
        self._backoff = backoff
        self._counting = counting
        self._report = report
        self._book = book
        self.flush_seconds = flush_seconds
        self._seldom = Seldom()
        self._none_converts = False
        self.thread: threading.Thread | None = None
        atexit.register(self._at_exit)

    def start(self) -> None:
        """Start the thread unless it runs."""
        with self._queue.lock:
            if self.thread is not None or self._queue.closed:
                return
            thread = threading.Thread(target=self._run, name="driftwell-recorder", daemon=True)
            self.thread = thread
        try:
            thread.start()
        except RuntimeError:  # no thread can be had, as at exit: the next call or close() tries again
            self.thread = None
            return
        finish_with_child(self._at_exit)

    @property
    def is_own_thread(self) -> bool:
        """Whether this is asked on the recorder's thread, which cannot wait for itself."""
        return threading.current_thread() is self.thread

    def tell_losses(self) -> None:
        """See ``Recorder.tell_losses``."""
        self._book.tell(at_once=True)

    def flush(self, timeout: float | None) -> bool:
        """See ``Recorder.flush``."""
        if self.is_own_thread:  # an extractor of the user's, which cannot wait for itself
            return False
        before = self._adoption.looks
        adopts = not self._queue.is_busy and not self._queue.closed and self._adoption.hurry()
        if self.thread is None and (self._queue.is_busy or adopts):
            self.start()
        from_disk = self._journal.watch()
        return self._queue.wait_until_settled(
            timeout, lambda: from_disk() and (not adopts or self._adoption.looks > before or self._queue.closed)
        )

    def close(self, timeout: float) -> None:
        """See ``Recorder.close``."""
        with self._journal.lock, self._queue.lock:
            first = not self._queue.closed
            self._queue.closed = True
        if not first:
            return
        atexit.unregister(self._at_exit)
        tries = timeout - END_SECONDS if timeout >= 2 * END_SECONDS else timeout
        self._backoff.give_up_at(time.monotonic() + tries)
        self._queue.hurry()
        thread = self.thread
        if thread is None:
            self._run()
        elif thread is not threading.current_thread():
            thread.join(tries + END_SECONDS)
            if thread.is_alive():
                self._rescue()

    def _rescue(self) -> None:
        """The thread waits for a store that does not answer: what is left goes to the spool, or is counted as lost."""
        if not self._journal.lock.acquire(timeout=END_SECONDS):
            return
        try:
            chunk = self._journal.current
            is_kept = chunk is None or self._journal.keep_current()
            lost, on_disk = self._journal.rescue()
            with self._counting.lock:
                for item in lost:
                    self._counting.lose(tally_of(item), item.rows, "store_failed", item.arrived)
                if chunk is not None and not is_kept:
                    self._counting.lose_rest(on_disk, _in_memory(chunk), "store_failed")
                    self._writer.count_elsewhere()
        finally:
            self._journal.lock.release()
        self._report.report()

    def _at_exit(self) -> None:
        notice_fork()
        self.close(EXIT_SECONDS)

    def _run(self) -> None:
        queue = self._queue
        try:
            while not queue.closed:
                if not self._adoption.is_due:
                    queue.wake.wait(self.flush_seconds)
                queue.wake.clear()
                self._turn()
            while not queue.is_empty or (self._journal.is_behind and not self._backoff.is_over):
                self._turn()
        finally:
            if queue.closed:
                self._end()
            else:  # whatever ended it: the next record starts another
                self.thread = None

    def _turn(self) -> None:
        for chunk in self._journal.chunks():
            self._store(chunk)
        queue, end = self._queue, time.monotonic() + self.flush_seconds
        while not queue.closed and time.monotonic() < end and (left := self._next_adopted()) is not None:
            self._store(left)
        queue.settle(0)  # who waits for the adoption looks again
        self._report.report()
        self._book.tell()

    def _next_adopted(self) -> Chunk | None:
        try:
            return self._adoption.next_chunk()
        except Exception:
            if self._seldom.permits("adoption"):
                logger.exception("what another process left in the spool cannot be taken over")
            self._adoption.postpone()
            return None

    def _store(self, chunk: Chunk) -> None:
        self._journal.current = chunk
        defect = False
        try:
            chunk.items = self._writer.expand(chunk.taken)
            self._queue.keep(chunk.items)
            self._journal.begin(chunk)
            if self._writer.write(chunk):
                (self._adoption if chunk.adopted else self._journal).finish(chunk)
            else:
                self._journal.leave(chunk)
        except Exception:
            logger.exception("a defect of the recorder: please report it")
            defect = True
        finally:
            self._journal.current = None
            if not chunk.adopted:
                self._queue.release(chunk.taken, chunk.settles)
        if defect:
            self._give_up(chunk)

    def _give_up(self, chunk: Chunk) -> None:
        """What a defect kept from being stored and counted is counted as refused; what was adopted stays where it is,
        and is tried again later."""
        if chunk.adopted:
            self._adoption.postpone()
            return
        for item in chunk.items:
            if isinstance(item, LabelItem):
                item.ticket.settle(LabelCounts())
        if self._queue.closed:  # what was left for another process still counts as waiting
            return
        with self._journal.lock, self._queue.lock:
            waiting = self._journal.rows()
            for item in self._queue.unsettled():
                for one in item.records if isinstance(item, Bundle) else (item,):
                    if isinstance(one, (Record, TableRows, LabelItem)):
                        waiting[tally_of(one)] += one.rows
            self._counting.give_up(waiting, "defect")

    def _end(self) -> None:
        self._report.report()
        self._book.tell(at_once=True)
        self._adoption.close()
        self._journal.close()
        self._queue.settle(0)

    # -- fork ------------------------------------------------------------------------------------------------

    def before_fork(self) -> None:
        """Let no other thread be in the middle of a change, nor, if that does not take long, of a conversion."""
        self._none_converts = self._writer.converting.acquire(timeout=FORK_SECONDS)
        self._journal.lock.acquire()
        self._queue.lock.acquire()

    def after_fork_in_parent(self) -> None:
        """Go on."""
        self._queue.lock.release()
        self._journal.lock.release()
        if self._none_converts:
            self._writer.converting.release()

    def after_fork_in_child(self) -> None:
        """What waits, and the files of the spool, belong to the parent. The numbers were reset before."""
        self._queue.reset()
        self._journal.after_fork_in_child()
        self._adoption.reset()
        self._book.reset()
        self._writer.after_fork_in_child()
        self.thread = None


def _in_memory(chunk: Chunk) -> Counter[tuple[str | None, ...]] | None:
    """Rows of a chunk that have no entry in the spool, by tally; None where that is all of it."""
    if not chunk.position:
        return None
    found: Counter[tuple[str | None, ...]] = Counter()
    for item in chunk.items:
        found[tally_of(item)] += 0 if item.position else item.rows
    return found
