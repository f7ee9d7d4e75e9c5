"""From items to the store, on the recorder's thread: group, convert, append, add labels; again while it fails."""

from __future__ import annotations

import hashlib
import logging
import time
from collections import Counter
from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import dataclass, replace
from itertools import zip_longest
from typing import TYPE_CHECKING, Protocol, TypeVar

from driftwell.capture.batching import Prepared, batch_of_records, batch_of_table, label_of
from driftwell.capture.cells import Shape, kind_of
from driftwell.capture.counting import Counting, LabelTally
from driftwell.capture.ids import is_usable
from driftwell.capture.journal import Chunk
from driftwell.capture.patience import Seldom
from driftwell.capture.records import Bundle, Deferred, Expansion, Item, LabelItem, Record, TableRows
from driftwell.capture.snapshot import RefusedError, thaw
from driftwell.errors import FormatError
from driftwell.stores.base import AppendResult, Label, LabelCounts, LeafBuilder, PredictionBatch, PredictionStore
from driftwell.stores.transform import Transform

if TYPE_CHECKING:
    from driftwell.profiles.reference import Reference

__all__ = ["Patience", "ReferenceFor", "TransformFor", "Writer", "one_by_one"]

logger = logging.getLogger("driftwell.capture")

NEWEST_ROWS = 20
"""Rows of an earlier run that are asked which kinds the features of a model had."""

ReferenceFor = Callable[[str, str], "Reference | None"]
TransformFor = Callable[[str], Transform]
Done = TypeVar("Done")


class Patience(Protocol):
    """Decides when a failed operation is tried again."""

    @property
    def is_over(self) -> bool:
        """Whether it is time to give up."""

    def failed(self, exc: Exception) -> None:
        """Wait for a while."""

    def worked(self) -> None:
        """The store answers: start afresh."""


@dataclass(frozen=True, slots=True)
class Group:
    """Records of one model version, or some rows of one table, and the id of the batch they become."""

    batch_id: str
    model: str
    version: str
    content: Sequence[Record] | TableRows

    @property
    def rows(self) -> int:
        """Number of records."""
        return self.content.rows if isinstance(self.content, TableRows) else len(self.content)

    @property
    def arrived(self) -> float:
        """When the last of them came."""
        return self.content.arrived if isinstance(self.content, TableRows) else self.content[-1].arrived


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
        self._shapes: dict[tuple[str, str], Shape] = {}
        self._seldom = Seldom()
        self._said_naive = False

    def expand(self, items: Iterable[Item | Bundle | Deferred]) -> list[Item]:
        """Read the exchanges among the items; their rows are counted as offered from now on."""
        out: list[Item] = []
        for item in items:
            if isinstance(item, (Record, TableRows, LabelItem)):
                out.append(item)
            elif isinstance(item, Bundle):
                out += item.records
            else:
                found = self.read(item)
                with self._counting.lock:
                    for record in found:
                        own = self._counting.tally(record.model, record.version)
                        own.offered += 1
                        own.waiting += 1
                out += found
        return out

    def read(self, item: Deferred) -> Sequence[Record]:
        """The records of an exchange, not counted yet; what else it held is counted."""
        try:
            found = item.expand()
        except Exception as exc:  # noqa: BLE001 - what a user's function gave may raise when looked at
            found = Expansion(refused=Counter({"unreadable": 1}), cause=exc)
        if found.cause is not None and self._seldom.permits("extractor"):
            logger.warning("a request to %s cannot be recorded", item.model, exc_info=found.cause)
        with self._counting.lock:
            tally = self._counting.tally(item.model, item.version)
            tally.offered += found.refused.total()
            tally.reject(found.refused, time.time())
            if found.skipped is not None:
                tally.skipped[found.skipped] += 1
        return found.records

    def write(self, chunk: Chunk) -> bool:
        """Store the records, then add the labels. False when time was up and the chunk waits on disk instead."""
        self._left = False
        groups = _groups(chunk.items, chunk.id)
        labels = [label for group in groups for label in self._write_group(group, chunk.adopted)]
        if labels:
            if not chunk.adopted:
                with self._counting.lock:
                    for label in labels:
                        tally = self._counting.labels(label.model)
                        tally.offered += 1
                        tally.waiting += 1
            self._add_labels(labels, chunk.adopted)
        self._write_label_items([item for item in chunk.items if isinstance(item, LabelItem)], chunk.adopted)
        return not self._left

    def preview(self, model: str, version: str, items: Sequence[Record | TableRows]) -> list[Prepared]:
        """What ``write`` would store of these items; nothing is counted or learned."""
        known = self._shape(model, version, self._reference(model, version))
        shape = replace(known, kinds=dict(known.kinds), lengths=dict(known.lengths))
        return [_prepare(group, shape) for group in _groups(items, "")]

    # -- records ---------------------------------------------------------------------------------------------

    def _write_group(self, group: Group, adopted: bool) -> Sequence[Label]:
        for what in ("model", "version"):
            if not is_usable(getattr(group, what)):
                return self._reject(group, group.rows, what, adopted)
        rows = group.rows
        try:
            done = self._persist(lambda: self._prepared(group))
            if done is None:
                return self._give_up(group, rows, adopted)
            prepared, leaves = done
            rows = len(prepared.batch)
            self._note(group, prepared, adopted)
            result = self._append(prepared.batch, leaves) if rows else AppendResult(0)
        except Exception:
            if self._seldom.permits("unstorable"):
                logger.exception("%d records of %s %s cannot be stored", rows, group.model, group.version)
            return self._reject(group, rows, "unstorable", adopted)
        if result is None:
            return self._give_up(group, rows, adopted)
        self._settle(group, rows, result, adopted)
        return prepared.labels

    def _persist(self, operation: Callable[[], Done]) -> Done | None:
        """Do it, again and again while the store fails; None when there was no more time for it."""
        while not self._patience.is_over:
            try:
                done = operation()
            except (OSError, FormatError) as exc:
                self._patience.failed(exc)
            else:
                self._patience.worked()
                return done
        return None

    def _prepared(self, group: Group) -> tuple[Prepared, LeafBuilder]:
        reference = self._reference(group.model, group.version)
        shape = self._shape(group.model, group.version, reference)
        return _prepare(group, shape), self._leaf_builder(reference)

    def _append(self, batch: PredictionBatch, leaves: LeafBuilder) -> AppendResult | None:
        tries = 0

        def attempt() -> AppendResult:
            nonlocal tries
            tries += 1
            result = self._store.append(batch, leaves)
            all_known = result.duplicate == len(batch)
            return AppendResult(len(batch)) if tries > 1 and all_known and self._is_ours(batch) else result

        return self._persist(attempt)

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
        """There is no more time: the rows wait on disk for another process, or are lost."""
        if adopted or self._keep():
            self._left = True
            return ()
        with self._counting.lock:
            tally = self._counting.tally(group.model, group.version)
            tally.waiting -= rows
            tally.drop(rows, "store_failed", group.arrived)
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

    # -- labels ----------------------------------------------------------------------------------------------

    def _write_label_items(self, items: Sequence[LabelItem], adopted: bool) -> None:
        usable = [(item, label) for item in items if (label := self._label(item, adopted)) is not None]
        if usable:
            fates = self._add_labels([label for _, label in usable], adopted)
            for (item, _), fate in zip(usable, fates, strict=True):
                item.ticket.settle(fate)

    def _label(self, item: LabelItem, adopted: bool) -> Label | None:
        try:
            true_label, timestamp = thaw(item.frozen)
            arrived_us = round(item.arrived * 1e6)
            return label_of(item.prediction_id, true_label, timestamp, arrived_us, item.model)
        except RefusedError as refused:
            reason = refused.reason
        except (ValueError, TypeError, RecursionError):
            reason = "unreadable"
        with self._counting.lock:
            self._reject_label(self._counting.labels(item.model), reason, adopted)
        item.ticket.settle(LabelCounts())
        return None

    def _add_labels(self, labels: Sequence[Label], adopted: bool) -> list[LabelCounts]:
        """What became of each; their tallies are settled."""
        rejected = False
        try:
            counts = self._persist(lambda: self._store.add_labels(labels))
        except Exception:
            if self._seldom.permits("labels"):
                logger.exception("%d labels cannot be stored", len(labels))
            counts, rejected = None, True
        fates = [LabelCounts()] * len(labels) if counts is None else one_by_one(counts, labels)
        if counts is None and not rejected and (adopted or self._keep()):
            self._left = True
            return fates
        with self._counting.lock:
            for label, fate in zip(labels, fates, strict=True):
                tally = self._counting.labels(label.model)
                if rejected:
                    self._reject_label(tally, "unstorable", adopted)
                elif counts is None:
                    tally.waiting -= 1
                    tally.drop(1, "store_failed", 0.0)
                else:
                    self._count_fate(tally, label, fate, adopted)
        return fates

    def _count_fate(self, tally: LabelTally, label: Label, fate: LabelCounts, adopted: bool) -> None:
        owner = fate.models[0] if fate.models else None
        if adopted:
            (tally if owner is None else self._counting.labels(owner)).recover(fate)
            return
        if label.model is None and owner is not None:
            tally = tally.hand_over(self._counting.labels(owner))
        tally.settle(fate)

    def _reject_label(self, tally: LabelTally, reason: str, adopted: bool) -> None:
        if adopted:
            tally.offered += 1
            tally.waiting += 1
        tally.reject(reason)


def _prepare(group: Group, shape: Shape) -> Prepared:
    if isinstance(group.content, TableRows):
        return batch_of_table(group.batch_id, group.content, shape)
    return batch_of_records(group.batch_id, group.model, group.version, group.content, shape)


def _groups(items: Iterable[Item], chunk_id: str) -> list[Group]:
    """Records of one model version together, each table item by itself.

    The id of a batch says which part of which chunk it is, so that it is the same when the chunk is read again. A
    record that was only in memory may then be missing, which must not change the ids of the other batches.
    """
    records: dict[tuple[str, str], list[Record]] = {}
    groups = []
    tables = 0
    for item in items:
        if isinstance(item, Record):
            place = (item.model, item.version)
            if place not in records:
                records[place] = []
                groups.append(Group(_part(chunk_id, *place), *place, records[place]))
            records[place].append(item)
        elif isinstance(item, TableRows):
            tables += 1
            part = f"at {item.position}" if item.position else f"table {tables}"
            groups.append(Group(_part(chunk_id, item.model, item.version, part), item.model, item.version, item))
    return groups


def _part(chunk_id: str, *names: str) -> str:
    text = "\0".join((chunk_id, *names)).encode("utf-8", "replace")
    return hashlib.blake2b(text, digest_size=16).hexdigest()


def one_by_one(counts: LabelCounts, labels: Sequence[Label]) -> list[LabelCounts]:
    """What became of each label, from the counts of all of them.

    Examples
    --------
    >>> both = LabelCounts(matched=1, early=1, fates=("early", "matched"))
    >>> one_by_one(both, [Label("a", "1", 0), Label("b", "0", 0)])[1].matched
    1
    """
    if len(labels) == 1:
        return [counts]
    out = []
    models = counts.models or (None,) * len(labels)
    for label, fate, model in zip_longest(labels, counts.fates[: len(labels)], models[: len(labels)]):
        if fate == "ambiguous":
            names = counts.ambiguous.get(label.prediction_id, [])
            out.append(LabelCounts(ambiguous={label.prediction_id: names}, fates=(fate,)))
        else:
            out.append(replace(_FATES.get(fate, LabelCounts()), models=(model,)))
    return out


_FATES = {
    "matched": LabelCounts(matched=1, fates=("matched",)),
    "early": LabelCounts(early=1, fates=("early",)),
    "duplicate": LabelCounts(duplicate=1, fates=("duplicate",)),
    "conflicting": LabelCounts(conflicting=1, fates=("conflicting",)),
}
