"""Rows in one store, what is known about them in another: first the rows, then their leaf under the batch id.

A crash between the two leaves rows without a leaf; ``sweep`` finds and counts them. A leaf is kept once under its
batch id, so that however often a batch is offered, and by however many, it is counted once.
"""

from __future__ import annotations

import threading
from collections import OrderedDict
from collections.abc import Callable, Container, Iterator, Sequence
from dataclasses import replace
from functools import wraps
from typing import Any, TypeVar, cast

from driftwell.stores.base import (
    AppendResult,
    Capabilities,
    Leaf,
    LeafBuilder,
    Ledger,
    PredictionBatch,
    PredictionStore,
)
from driftwell.stores.batches import StoredBatches
from driftwell.stores.leaves import GatheredLeaves, MergeStates, merge_states

__all__ = ["SplitLedger", "SplitStore", "sweep"]

MOST_UNCOUNTED = 64
"""Batches whose leaf is held in memory because the ledger did not take it; ``sweep`` rebuilds older ones."""

_M = TypeVar("_M", bound=Callable[..., Any])


def _passed_to(attribute: str, method: _M) -> _M:
    """A method that calls its namesake on what is kept under ``attribute``."""

    @wraps(method)
    def call(self: Any, *args: Any, **kwargs: Any) -> Any:
        return getattr(getattr(self, attribute), method.__name__)(*args, **kwargs)

    return cast(_M, call)


class SplitStore:
    """Predictions in ``rows``, their leaves in ``ledger``.

    ``append`` raises ``StoreError`` when the ledger cannot be written although the rows are stored: the same batch
    offered again is answered as it would have been.
    """

    def __init__(self, rows: PredictionStore, ledger: Ledger) -> None:
        self.rows, self.ledger = rows, ledger
        self._uncounted: OrderedDict[str, tuple[AppendResult, Sequence[Leaf]]] = OrderedDict()
        self._lock = threading.Lock()

    @property
    def url(self) -> str:
        """The address of the rows, without secrets."""
        return self.rows.url

    @property
    def capabilities(self) -> Capabilities:
        """What the store of the rows can do."""
        return replace(self.rows.capabilities, ledger=False)

    def append(self, batch: PredictionBatch, leaves: LeafBuilder) -> AppendResult:
        """Store the rows that are new, then their leaves. Safe to repeat."""
        built: Sequence[Leaf] = ()

        def build(fresh: PredictionBatch) -> Sequence[Leaf]:
            nonlocal built
            built = tuple(leaves(fresh))
            return built

        result = self.rows.append(batch, build)
        if result.arrival is None:
            with self._lock:
                result, built = self._uncounted.pop(batch.batch_id, (result, ()))
        if result.arrival is not None:
            self._count(batch, result, built)
        return result

    def batches(self, model: str, version: str, *, edges_id_not: str | None = None) -> Sequence[PredictionBatch]:
        """Stored batches, oldest first; with ``edges_id_not`` only those whose leaves count in other bins."""
        if edges_id_not is None:
            return self.rows.batches(model, version)
        counted = _counted(self.ledger, model, version, self.rows.batch_index(model, version))
        wanted = {batch_id for batch_id, (_, edges_id) in counted.items() if edges_id != edges_id_not}
        return _chosen(self.rows, model, version, wanted)

    add_labels = _passed_to("rows", PredictionStore.add_labels)
    read = _passed_to("rows", PredictionStore.read)
    outcomes = _passed_to("rows", PredictionStore.outcomes)
    count = _passed_to("rows", PredictionStore.count)
    newest = _passed_to("rows", PredictionStore.newest)
    recent = _passed_to("rows", PredictionStore.recent)
    totals = _passed_to("rows", PredictionStore.totals)
    hourly_outputs = _passed_to("rows", PredictionStore.hourly_outputs)
    models = _passed_to("rows", PredictionStore.models)
    batch_index = _passed_to("rows", PredictionStore.batch_index)
    prune = _passed_to("rows", PredictionStore.prune)
    delete = _passed_to("rows", PredictionStore.delete)
    info = _passed_to("rows", PredictionStore.info)
    close = _passed_to("rows", PredictionStore.close)

    def _count(self, batch: PredictionBatch, result: AppendResult, built: Sequence[Leaf]) -> None:
        arrival = cast(int, result.arrival)
        try:
            self.ledger.put_leaves(batch.model, batch.version, batch.batch_id, arrival, batch.arrived_us, built)
        except BaseException:
            # Noted only now: another thread with the same batch must not answer from it while this one still tries.
            with self._lock:
                self._uncounted[batch.batch_id] = (result, built)
                while len(self._uncounted) > MOST_UNCOUNTED:
                    self._uncounted.popitem(last=False)
            raise


class SplitLedger:
    """The ledger of rows that ``rows`` has: only rebuilding leaves needs them."""

    def __init__(self, rows: PredictionStore, ledger: Ledger) -> None:
        self.rows, self.ledger = rows, ledger
        self._refused: dict[tuple[str, str, str], set[str]] = {}  # batches that need not be tried again

    def replace_leaves(
        self, model: str, version: str, edges_id: str, leaves_of: LeafBuilder, *, merge: MergeStates = merge_states
    ) -> int:
        """Rebuild the leaves of the kept batches that count in other bins, and show all the new ones at once.

        A leaf that was merged with those of batches whose rows are gone stays as it is, and so do the other batches
        that it covers. The number of batches rebuilt.
        """
        refused = self._refused.setdefault((model, version, edges_id), set())
        kept = self.rows.batch_index(model, version)
        counted = _counted(self.ledger, model, version, kept)
        stale = [(a, b) for a, b in kept if b in counted and counted[b][1] != edges_id and b not in refused]
        mark = self.ledger.get_mark(model)
        while stale:
            gathered = GatheredLeaves(mark, merge)
            arrivals = {batch_id: arrival for arrival, batch_id in stale}
            rebuilt = []
            for batch in _kept_batches(self.rows, model, version, arrivals):
                rebuilt.append(batch.batch_id)
                for leaf in leaves_of(batch):
                    gathered.add(leaf, arrivals[batch.batch_id])
            new = [(stored.leaf, stored.first_arrival, stored.last_arrival) for stored in gathered]
            if self.ledger.swap_leaves(model, version, edges_id, rebuilt, new):
                return len(rebuilt)
            # Sealed together with batches that are gone, which are the older ones: try without the older half.
            cut = (len(stale) + 1) // 2
            refused.update(batch_id for _, batch_id in stale[:cut])
            stale = stale[cut:]
        return 0

    put_reference = _passed_to("ledger", Ledger.put_reference)
    get_reference = _passed_to("ledger", Ledger.get_reference)
    references = _passed_to("ledger", Ledger.references)
    find_reference = _passed_to("ledger", Ledger.find_reference)
    leaves = _passed_to("ledger", Ledger.leaves)
    seal = _passed_to("ledger", Ledger.seal)
    put_leaves = _passed_to("ledger", Ledger.put_leaves)
    counted_batches = _passed_to("ledger", Ledger.counted_batches)
    swap_leaves = _passed_to("ledger", Ledger.swap_leaves)
    put_losses = _passed_to("ledger", Ledger.put_losses)
    losses = _passed_to("ledger", Ledger.losses)
    prune_history = _passed_to("ledger", Ledger.prune_history)
    set_mark = _passed_to("ledger", Ledger.set_mark)
    get_mark = _passed_to("ledger", Ledger.get_mark)
    put_check = _passed_to("ledger", Ledger.put_check)
    checks = _passed_to("ledger", Ledger.checks)
    get_alerts = _passed_to("ledger", Ledger.get_alerts)
    put_alert = _passed_to("ledger", Ledger.put_alert)
    put_metric = _passed_to("ledger", Ledger.put_metric)
    metrics = _passed_to("ledger", Ledger.metrics)
    enqueue = _passed_to("ledger", Ledger.enqueue)
    due = _passed_to("ledger", Ledger.due)
    settle = _passed_to("ledger", Ledger.settle)
    notices = _passed_to("ledger", Ledger.notices)
    put_run = _passed_to("ledger", Ledger.put_run)
    start_run = _passed_to("ledger", Ledger.start_run)
    runs = _passed_to("ledger", Ledger.runs)
    put_token = _passed_to("ledger", Ledger.put_token)
    find_token = _passed_to("ledger", Ledger.find_token)
    tokens = _passed_to("ledger", Ledger.tokens)
    revoke_token = _passed_to("ledger", Ledger.revoke_token)
    audit = _passed_to("ledger", Ledger.audit)
    audit_lines = _passed_to("ledger", Ledger.audit_lines)
    info = _passed_to("ledger", Ledger.info)


def sweep(rows: PredictionStore, ledger: Ledger, leaves_for: Callable[[str, str], LeafBuilder]) -> int:
    """Count the stored batches that never were, as after a crash between rows and leaf; how many there were.

    ``leaves_for`` gives the leaf builder of a model and version. Safe while others write, and in several processes at
    once: the ledger takes the leaves of a batch once. Cheap when nothing is missing: no row is read.
    """
    swept = 0
    for model, version, *_ in rows.models():
        index = rows.batch_index(model, version)
        counted = _counted(ledger, model, version, index)
        arrivals = {batch_id: arrival for arrival, batch_id in index if batch_id not in counted}
        if not arrivals:
            continue
        build = leaves_for(model, version)
        for batch in _kept_batches(rows, model, version, arrivals):
            arrival = arrivals[batch.batch_id]
            swept += ledger.put_leaves(model, version, batch.batch_id, arrival, batch.arrived_us, build(batch))
    return swept


def _counted(
    ledger: Ledger, model: str, version: str, index: Sequence[tuple[int, str]]
) -> dict[str, tuple[int, str | None]]:
    """The counted batches among those of an index, and some more: not the long history before them."""
    if not index:
        return {}
    return ledger.counted_batches(model, version, after_arrival=min(arrival for arrival, _ in index) - 1)


def _kept_batches(rows: PredictionStore, model: str, version: str, wanted: Container[str]) -> Iterator[PredictionBatch]:
    """The batches of these ids whose rows are there when their turn comes."""
    for batch in _chosen(rows, model, version, wanted):
        if len(batch) and batch.batch_id in wanted:
            yield batch


def _chosen(rows: PredictionStore, model: str, version: str, wanted: Container[str]) -> StoredBatches:
    """The batches whose id is in ``wanted``, each read when it is asked for."""
    index = rows.batch_index(model, version)
    batches = rows.batches(model, version)
    if len(batches) != len(index):  # something came or went between the two
        positions = [i for i, batch in enumerate(batches) if batch.batch_id in wanted]
    else:
        positions = [i for i, (_, batch_id) in enumerate(index) if batch_id in wanted]
    return StoredBatches(batches.__getitem__, positions)
