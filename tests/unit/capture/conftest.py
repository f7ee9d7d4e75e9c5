"""A store in memory that keeps batches as they come, and a recorder over it that flushes at once."""

from __future__ import annotations

import threading
from collections.abc import Iterator
from dataclasses import dataclass, field
from typing import Any

import pytest

from driftwell.capture.recorder import Recorder
from driftwell.stores.base import AppendResult, Label, LabelCounts, PredictionBatch


@dataclass
class MemoryStore:
    """Ids are unique in a model version, as in every store. ``broken`` makes writing fail, ``blind`` reading,
    ``gate`` makes it wait."""

    batches: list[PredictionBatch] = field(default_factory=list)
    tried: list[str] = field(default_factory=list)
    labels: list[Label] = field(default_factory=list)
    known: dict[tuple[str, str, str], int] = field(default_factory=dict)
    earlier: list[dict[str, Any]] = field(default_factory=list)
    broken: Exception | None = None
    blind: Exception | None = None
    gate: threading.Event | None = None

    def append(self, batch: PredictionBatch, leaves: Any) -> AppendResult:
        self.tried.append(batch.batch_id)
        if self.gate is not None:
            self.gate.wait(10)
        self._fail()
        leaves(batch)
        ids = batch.rows.column("prediction_id").to_pylist()
        counts = {"stored": 0, "duplicate": 0, "conflict": 0}
        for prediction_id, content in zip(ids, batch.content_hash.tolist(), strict=True):
            key = (batch.model, batch.version, prediction_id)
            word = "stored" if key not in self.known else "duplicate" if self.known[key] == content else "conflict"
            self.known.setdefault(key, content)
            counts[word] += 1
        self.batches.append(batch)
        return AppendResult(**counts)

    def add_labels(self, labels: list[Label]) -> LabelCounts:
        self._fail()
        fates = []
        for label in labels:
            models = sorted({m for m, _, i in self.known if i == label.prediction_id and label.model in (None, m)})
            before = [one.true_label for one in self.labels if one.prediction_id == label.prediction_id]
            if len(models) > 1:
                fates.append("ambiguous")
            elif before:
                fates.append("duplicate" if before[0] == label.true_label else "conflicting")
            else:
                fates.append("matched" if models else "early")
                self.labels.append(label)
        counts = {word: fates.count(word) for word in ("matched", "early", "duplicate", "conflicting")}
        ambiguous = {x.prediction_id: ["a", "b"] for x, fate in zip(labels, fates, strict=True) if fate == "ambiguous"}
        return LabelCounts(**counts, ambiguous=ambiguous, fates=tuple(fates))

    def recent(self, model: str, version: str | None, n: int) -> list[dict[str, Any]]:
        if self.blind is not None:
            raise self.blind
        return self.earlier

    def rows(self) -> list[dict[str, Any]]:
        return [row for batch in self.batches for row in batch.rows.to_pylist()]

    def _fail(self) -> None:
        if self.broken is not None:
            raise self.broken


@pytest.fixture
def store() -> MemoryStore:
    return MemoryStore()


@pytest.fixture
def make(store: MemoryStore) -> Iterator[Any]:
    """``make(**options)``: recorders, closed at the end."""
    made: list[Recorder] = []

    def build(**options: Any) -> Recorder:
        options = {"reference_for": lambda m, v: None, "leaf_builder": lambda r: lambda b: [], **options}
        made.append(Recorder(store, **{"flush_seconds": 0.01, **options}))
        return made[-1]

    yield build
    for recorder in made:
        store.broken = None
        if store.gate is not None:
            store.gate.set()
        recorder.close(1.0)


@pytest.fixture
def recorder(make: Any) -> Recorder:
    return make()
