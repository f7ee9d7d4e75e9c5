"""From items to the store, on the recorder's thread: group, convert, append; again while it fails."""

from __future__ import annotations

import logging
import threading
import time
from collections import Counter
from collections.abc import Callable, Iterable, Mapping, Sequence
from contextlib import suppress
from dataclasses import replace
from typing import TYPE_CHECKING

from driftwell.capture.conversion.batching import Prepared
from driftwell.capture.conversion.cells import Shape, kind_of
from driftwell.capture.conversion.groups import Group, groups_of, prepare
from driftwell.capture.counting import Counting
from driftwell.capture.ids import is_usable
from driftwell.capture.label_writer import LabelWriter
from driftwell.capture.patience import Seldom
from driftwell.capture.persistence import Patience, persist
from driftwell.capture.records import Bundle, Deferred, Expansion, Item, LabelItem, Record, TableRows
from driftwell.capture.snapshot import RefusedError
from driftwell.capture.spool.pieces import Chunk
from driftwell.errors import FormatError
from driftwell.stores.base import AppendResult, Label, LeafBuilder, PredictionBatch, PredictionStore
from driftwell.stores.transform import Transform

if TYPE_CHECKING:
    from driftwell.profiles.reference import Reference

__all__ = ["ReferenceFor", "TransformFor", "Writer"]

logger = logging.getLogger("driftwell.capture")

NEWEST_ROWS = 20
"""Rows of an earlier run that are asked which kinds the features of a model had."""

ReferenceFor = Callable[[str, str], "Reference | None"]
TransformFor = Callable[[str], Transform]


class Writer:
    """Stores items, counts what becomes of each, and never raises.

    A batch keeps its id over all tries, so that one whose success went unnoticed is not stored twice. Rows that were
    adopted count only if they are stored or refused here: those that another process stored already count nowhere.

    ``keep`` says whether a chunk for which there is no more time is safe on disk; if it is, its rows go on waiting.
    """

    def __init__(
        self,
        store: PredictionStore,
        reference_for: ReferenceFor,
        leaf_builder: Callable[[Reference | None], LeafBuilder],
        kinds: Mapping[str, str],
        counting: Counting,
        patience: Patience,
        transform_for: TransformFor = lambda model: Transform(),
        keep: Callable[[], bool] = lambda: False,
    ) -> None:
        self._store = store
        self._reference_for = reference_for
        self._leaf_builder = leaf_builder
        self._kinds = kinds
        self._transform_for = transform_for
        self._counting = counting
        self._patience = patience
        self._keep = keep
        self._labels = LabelWriter(store, counting, patience, keep)
        self._shapes: dict[tuple[str, str], Shape] = {}
        self._seldom = Seldom()
        self._said_naive = False
        self.after_fork_in_child()

    def after_fork_in_child(self) -> None:
        """No thread converts anything in a new process. ``converting`` is held while one does: Arrow has locks of its
        own, which a child must not inherit in use."""
        self.converting = threading.RLock()

    def expand(self, items: Iterable[Item | Bundle | Deferred]) -> list[Item]:
        """Read the exchanges among the items; their rows are counted as offered from now on."""
        out: list[Item] = []
        fresh: Counter[tuple[str, str]] = Counter()
        for item in items:
            if isinstance(item, (Record, TableRows, LabelItem)):
                out.append(item)
            elif isinstance(item, Bundle):
                out += [one._replace(position=item.position) for one in item.records]
            else:
                found = self.read(item)
                for record in found:
                    fresh[record.model, record.version] += 1
                out += found
        with self._counting.lock:
            for place, count in fresh.items():
                own = self._counting.tally(*place)
                own.offered += count
                own.waiting += count
        return out

    def read(self, item: Deferred) -> Sequence[Record]:
        """The records of an exchange, not counted yet; what else it held is counted."""
        try:
            found = item.expand()
        except Exception as exc:  # noqa: BLE001 - what a user's function gave may raise when looked at
            found = Expansion(refused={"unreadable": 1}, cause=exc)
        if found.cause is not None and self._seldom.permits("extractor"):
            logger.warning("a request to %s cannot be recorded", item.model, exc_info=found.cause)
        if found.refused or found.skipped is not None:
            with self._counting.lock:
                tally = self._counting.tally(item.model, item.version)
                tally.offered += sum(found.refused.values())
                tally.reject(found.refused, time.time())
                if found.skipped is not None:
                    tally.skipped[found.skipped] += 1
        return found.records

    def write(self, chunk: Chunk) -> bool:
        """Store the records, then add the labels. False when time was up and the chunk waits on disk instead."""
        self._left = self._labels.left = False
        groups = groups_of(chunk.items, chunk.id)
        own_labels = [label for group in groups for label in self._write_group(group, chunk.adopted)]
        self._labels.write_own(own_labels, chunk.adopted)
        self._labels.write([item for item in chunk.items if isinstance(item, LabelItem)], chunk.adopted)
        return not (self._left or self._labels.left)

    def count_elsewhere(self) -> None:
        """What is being stored was counted as lost: whatever becomes of it counts nowhere."""
        self._counting = Counting()
        self._labels.count_elsewhere(self._counting)

    def preview(self, model: str, version: str, items: Sequence[Record | TableRows]) -> list[Prepared]:
        """What ``write`` would store of these items; nothing is counted or learned."""
        reference = self._reference(model, version)
        known = self._shape(model, version, reference)
        shape = replace(known, kinds=dict(known.kinds), lengths=dict(known.lengths))
        transform = self._transform_for(model)
        found = []
        for group in groups_of(items, ""):
            with suppress(RefusedError):  # counted when it is written
                found.append(prepare(group, shape, reference, transform))
        return found

    # -- records ---------------------------------------------------------------------------------------------

    def _write_group(self, group: Group, adopted: bool) -> Sequence[Label]:
        for what in ("model", "version"):
            if not is_usable(getattr(group, what)):
                return self._reject(group, group.rows, what, adopted)
        rows = group.rows
        try:
            done = persist(lambda: self._prepared(group), self._patience)
            if done is None:
                return self._give_up(group, rows, adopted)
            prepared, leaves = done
            rows = len(prepared.batch)
            self._note(group, prepared, adopted)
            result = self._append(prepared.batch, leaves) if rows else AppendResult(0)
        except RefusedError as refused:
            return self._reject(group, rows, refused.reason, adopted)
        except Exception:
            if self._seldom.permits("unstorable"):
                logger.exception("%d records of %s %s cannot be stored", rows, group.model, group.version)
            return self._reject(group, rows, "unstorable", adopted)
        if result is None:
            return self._give_up(group, rows, adopted)
        self._settle(group, rows, result, adopted)
        return prepared.labels

    def _prepared(self, group: Group) -> tuple[Prepared, LeafBuilder]:
        with self.converting:
            import pyarrow  # noqa: F401 - the lock of an import is one of them
        reference = self._reference(group.model, group.version)
        shape = self._shape(group.model, group.version, reference)
        transform = self._transform_for(group.model)
        with self.converting:
            prepared = prepare(group, shape, reference, transform)
        return prepared, self._leaf_builder(reference)

    def _append(self, batch: PredictionBatch, leaves: LeafBuilder) -> AppendResult | None:
        tries = 0

        def attempt() -> AppendResult:
            nonlocal tries
            tries += 1
            result = self._store.append(batch, leaves)
            all_known = result.duplicate == len(batch)
            return AppendResult(len(batch)) if tries > 1 and all_known and self._is_ours(batch) else result

        return persist(attempt, self._patience)

    def _is_ours(self, batch: PredictionBatch) -> bool:
        """Whether the store has a batch under this id: an earlier try succeeded and only its answer was lost."""
        index = getattr(self._store, "batch_index", None)  # the client's store is a service, which has none
        return index is not None and any(one == batch.batch_id for _, one in index(batch.model, batch.version))

    def _note(self, group: Group, prepared: Prepared, adopted: bool) -> None:
        """Count what was refused or noticed while the rows were read; those of the batch still wait."""
        notes = prepared.notes
        if notes.naive_time and not self._said_naive:
            self._said_naive = True
            logger.warning("times without a zone are taken as UTC (said once)")
        refused = notes.rejected.total()
        with self._counting.lock:
            tally = self._counting.tally(group.model, group.version)
            tally.offered += refused if adopted else 0
            tally.waiting -= 0 if adopted else refused
            tally.reject(notes.rejected, group.arrived)
            tally.skewed += notes.skewed
            tally.ignore(notes.ignored)
            for latency in prepared.latencies:
                tally.observe(latency)
            labels = self._counting.labels(group.model)
            labels.offered += notes.labels_rejected
            labels.rejected.update({"true_label": notes.labels_rejected} if notes.labels_rejected else {})

    def _settle(self, group: Group, rows: int, result: AppendResult, adopted: bool) -> None:
        with self._counting.lock:
            tally = self._counting.tally(group.model, group.version)
            if adopted:
                tally.recover(result.stored)
            else:
                tally.settle(rows, result, group.arrived)
            self._counting.last_success = time.time()
            self._counting.labels(group.model).matched += result.labels_matched

    def _reject(self, group: Group, rows: int, reason: str, adopted: bool) -> Sequence[Label]:
        with self._counting.lock:
            tally = self._counting.tally(group.model, group.version)
            tally.offered += rows if adopted else 0
            tally.waiting -= 0 if adopted else rows
            tally.reject({reason: rows}, group.arrived)
        return ()

    def _give_up(self, group: Group, rows: int, adopted: bool) -> Sequence[Label]:
        """There is no more time: rows on disk wait for another process, those in memory alone are lost."""
        lost = 0 if adopted or self._keep() else min(rows, group.rows_in_memory)
        self._left = self._left or lost < rows
        with self._counting.lock:
            tally = self._counting.tally(group.model, group.version)
            tally.waiting -= lost
            if lost:
                tally.drop(lost, "store_failed", group.arrived)
        return ()

    def _reference(self, model: str, version: str) -> Reference | None:
        try:
            return self._reference_for(model, version)
        except FormatError:
            # Rows are worth more than their leaves, which are rebuilt when a readable reference arrives.
            if self._seldom.permits("reference"):
                logger.exception("%s %s is recorded without its reference", model, version)
            return None

    def _shape(self, model: str, version: str, reference: Reference | None) -> Shape:
        transform = self._transform_for(model)
        if reference is not None and transform.preprocess is None:
            return Shape.of(reference, transform.feature_map)
        found = self._learned(model, version)
        return found if reference is None else replace(found, classes=tuple(reference.classes))

    def _learned(self, model: str, version: str) -> Shape:
        found = self._shapes.get((model, version))
        if found is None:
            kinds: dict[str, str] = {}
            for row in self._store.recent(model, version, NEWEST_ROWS):
                shown = {name: kind_of(value) for name, value in (row["features"] or {}).items()}
                kinds |= {name: kind for name, kind in shown.items() if kind}
            found = self._shapes[model, version] = Shape(kinds=self._kinds_over(kinds), given=self._kinds)
        return found

    def _kinds_over(self, kinds: Mapping[str, str]) -> dict[str, str]:
        return {name: self._kinds.get(name, kind) for name, kind in kinds.items()}
