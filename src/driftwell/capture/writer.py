"""From items to the store, on the recorder's thread: group, convert, append, add labels; again while it fails."""

from __future__ import annotations

import logging
import time
from collections import Counter
from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import dataclass, replace
from itertools import zip_longest
from typing import TYPE_CHECKING, Protocol, TypeVar

from driftwell.capture.batching import Prepared, batch_of_records, batch_of_table, label_of
from driftwell.capture.cells import Shape, kind_of
from driftwell.capture.counting import Counting
from driftwell.capture.ids import is_usable
from driftwell.capture.patience import Seldom
from driftwell.capture.records import Deferred, Expansion, LabelItem, Record, TableRows
from driftwell.capture.snapshot import RefusedError, thaw
from driftwell.errors import FormatError
from driftwell.stores.base import AppendResult, Label, LabelCounts, LeafBuilder, PredictionStore
from driftwell.stores.transform import Transform

if TYPE_CHECKING:
    from driftwell.profiles.reference import Reference

__all__ = ["Item", "Patience", "ReferenceFor", "TransformFor", "Writer", "one_by_one"]

logger = logging.getLogger("driftwell.capture")

NEWEST_ROWS = 20
"""Rows of an earlier run that are asked which kinds the features of a model had."""

Item = Record | TableRows | LabelItem
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
    """Records of one model version, or some rows of one table."""

    model: str
    version: str
    content: Sequence[Record] | TableRows

    @property
    def rows(self) -> int:
        """Number of records."""
        return self.content.rows if isinstance(self.content, TableRows) else len(self.content)


class Writer:
    """Stores items, counts what becomes of each, and never raises.

    A batch keeps its id over all tries, so that one whose success went unnoticed is not stored twice.
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
    ) -> None:
        self._store = store
        self._reference_for = reference_for
        self._leaf_builder = leaf_builder
        self._kinds = kinds
        self._transform_for = transform_for
        self._counting = counting
        self._patience = patience
        self._shapes: dict[tuple[str, str], Shape] = {}
        self._seldom = Seldom()
        self._said_naive = False

    def expand(self, items: Iterable[Item | Deferred]) -> list[Item]:
        """Read the exchanges among the items; their rows are counted as offered from now on."""
        out: list[Item] = []
        for item in items:
            if isinstance(item, (Record, TableRows, LabelItem)):
                out.append(item)
            else:
                out += self._expanded(item)
        return out

    def write(self, items: Sequence[Item]) -> None:
        """Store the records, then add the labels; returns when each is settled."""
        labels = [label for group in _groups(items) for label in self._write_group(group)]
        if labels:
            with self._counting.lock:
                for label in labels:
                    tally = self._counting.labels(label.model)
                    tally.offered += 1
                    tally.waiting += 1
            self._add_labels(labels)
        self._write_label_items([item for item in items if isinstance(item, LabelItem)])

    def preview(self, model: str, version: str, items: Sequence[Record | TableRows]) -> list[Prepared]:
        """What ``write`` would store of these items; nothing is counted or learned."""
        known = self._shape(model, version, self._reference(model, version))
        shape = replace(known, kinds=dict(known.kinds), lengths=dict(known.lengths))
        return [_prepare(group, shape) for group in _groups(items)]

    # -- records ---------------------------------------------------------------------------------------------

    def _expanded(self, item: Deferred) -> Sequence[Record]:
        try:
            found = item.expand()
        except Exception as exc:  # noqa: BLE001 - what a user's function gave may raise when looked at
            found = Expansion(refused=Counter({"unreadable": 1}), cause=exc)
        if found.cause is not None and self._seldom.permits("extractor"):
            logger.warning("a request to %s cannot be recorded", item.model, exc_info=found.cause)
        with self._counting.lock:
            tally = self._counting.tally(item.model, item.version)
            tally.offered += found.refused.total()
            tally.rejected.update(found.refused)
            if found.skipped is not None:
                tally.skipped[found.skipped] += 1
            for record in found.records:
                own = self._counting.tally(record.model, record.version)
                own.offered += 1
                own.waiting += 1
        return found.records

    def _write_group(self, group: Group) -> Sequence[Label]:
        for what in ("model", "version"):
            if not is_usable(getattr(group, what)):
                return self._reject(group, what)
        try:
            done = self._persist(lambda: self._prepared(group))
            if done is None:
                return self._lose(group)
            prepared, leaves = done
            result = self._persist(lambda: self._append(prepared, leaves))
        except Exception:
            if self._seldom.permits("unstorable"):
                logger.exception("%d records of %s %s cannot be stored", group.rows, group.model, group.version)
            return self._reject(group, "unstorable")
        return self._lose(group) if result is None else self._settle(group, prepared, result)

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

    def _append(self, prepared: Prepared, leaves: LeafBuilder) -> AppendResult:
        return self._store.append(prepared.batch, leaves) if len(prepared.batch) else AppendResult(0)

    def _settle(self, group: Group, prepared: Prepared, result: AppendResult) -> Sequence[Label]:
        notes = prepared.notes
        if notes.naive_time and not self._said_naive:
            self._said_naive = True
            logger.warning("times without a zone are taken as UTC (said once)")
        with self._counting.lock:
            tally = self._counting.tally(group.model, group.version)
            tally.settle(group.rows, result, notes.rejected)
            tally.skewed += notes.skewed
            tally.ignore(notes.ignored)
            for latency in prepared.latencies:
                tally.observe(latency)
            self._counting.last_success = time.time()
            labels = self._counting.labels(group.model)
            labels.matched += result.labels_matched
            labels.offered += notes.labels_rejected
            labels.rejected.update({"true_label": notes.labels_rejected} if notes.labels_rejected else {})
        return prepared.labels

    def _reject(self, group: Group, reason: str) -> Sequence[Label]:
        with self._counting.lock:
            tally = self._counting.tally(group.model, group.version)
            tally.settle(group.rows, AppendResult(0), Counter({reason: group.rows}))
        return ()

    def _lose(self, group: Group) -> Sequence[Label]:
        with self._counting.lock:
            self._counting.tally(group.model, group.version).lose(group.rows, "store_failed")
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

    def _write_label_items(self, items: Sequence[LabelItem]) -> None:
        usable = [(item, label) for item in items if (label := self._label(item)) is not None]
        if usable:
            fates = self._add_labels([label for _, label in usable])
            for (item, _), fate in zip(usable, fates, strict=True):
                item.ticket.settle(fate)

    def _label(self, item: LabelItem) -> Label | None:
        try:
            true_label, timestamp = thaw(item.frozen)
            arrived_us = round(item.arrived * 1e6)
            return label_of(item.prediction_id, true_label, timestamp, arrived_us, item.model)
        except RefusedError as refused:
            reason = refused.reason
        except (ValueError, TypeError, RecursionError):
            reason = "unreadable"
        with self._counting.lock:
            self._counting.labels(item.model).reject(reason)
        item.ticket.settle(LabelCounts())
        return None

    def _add_labels(self, labels: Sequence[Label]) -> list[LabelCounts]:
        """What became of each; their tallies are settled."""
        reason = "store_failed"
        try:
            counts = self._persist(lambda: self._store.add_labels(labels))
        except Exception:
            if self._seldom.permits("labels"):
                logger.exception("%d labels cannot be stored", len(labels))
            counts, reason = None, "unstorable"
        fates = [LabelCounts()] * len(labels) if counts is None else one_by_one(counts, labels)
        with self._counting.lock:
            for label, fate in zip(labels, fates, strict=True):
                owner = fate.models[0] if fate.models else None
                tally = self._counting.labels(label.model)
                if label.model is None and owner is not None:
                    tally = tally.hand_over(self._counting.labels(owner))
                if counts is not None:
                    tally.settle(fate)
                elif reason == "unstorable":
                    tally.reject(reason)
                else:
                    tally.lose(reason)
        return fates


def _prepare(group: Group, shape: Shape) -> Prepared:
    if isinstance(group.content, TableRows):
        return batch_of_table(group.content, shape)
    return batch_of_records(group.model, group.version, group.content, shape)


def _groups(items: Iterable[Item]) -> list[Group]:
    """Records of one model version together, each table item by itself."""
    records: dict[tuple[str, str], list[Record]] = {}
    groups = []
    for item in items:
        if isinstance(item, Record):
            place = (item.model, item.version)
            if place not in records:
                records[place] = []
                groups.append(Group(*place, records[place]))
            records[place].append(item)
        elif isinstance(item, TableRows):
            groups.append(Group(item.model, item.version, item))
    return groups


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
