"""Labels on their way to the store, and what becomes of each of them."""

from __future__ import annotations

import logging
from collections.abc import Callable, Sequence
from dataclasses import replace
from itertools import zip_longest

from driftwell.capture.conversion.rows import label_of
from driftwell.capture.counting import Counting, LabelTally
from driftwell.capture.patience import Seldom
from driftwell.capture.persistence import Patience, persist
from driftwell.capture.records import LabelItem
from driftwell.capture.snapshot import RefusedError, thaw
from driftwell.stores.base import Label, LabelCounts, PredictionStore

__all__ = ["LabelWriter", "one_by_one"]

logger = logging.getLogger("driftwell.capture")


class LabelWriter:
    """Adds labels to the store and counts what becomes of each; never raises. See ``Writer``.

    Attributes
    ----------
    left
        Labels wait on disk for another process, since there was no more time.
    """

    def __init__(
        self, store: PredictionStore, counting: Counting, patience: Patience, keep: Callable[[], bool]
    ) -> None:
        self._store = store
        self._counting = counting
        self._patience = patience
        self._keep = keep
        self._seldom = Seldom()
        self.left = False

    def count_elsewhere(self, counting: Counting) -> None:
        """See ``Writer``."""
        self._counting = counting

    def write_own(self, labels: Sequence[Label], adopted: bool) -> None:
        """Add labels that came with records; they were not counted before."""
        if not labels:
            return
        if not adopted:
            with self._counting.lock:
                for label in labels:
                    tally = self._counting.labels(label.model)
                    tally.offered += 1
                    tally.waiting += 1
        self._add_labels(labels, adopted)

    def write(self, items: Sequence[LabelItem], adopted: bool) -> None:
        """Add labels that came by themselves, and tell who waits for them."""
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
            counts = persist(lambda: self._store.add_labels(labels), self._patience)
        except Exception:
            if self._seldom.permits("labels"):
                logger.exception("%d labels cannot be stored", len(labels))
            counts, rejected = None, True
        fates = [LabelCounts()] * len(labels) if counts is None else one_by_one(counts, labels)
        if counts is None and not rejected and (adopted or self._keep()):
            self.left = True
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
