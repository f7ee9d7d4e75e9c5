"""The references of model versions as they are kept, and what a user gives as one or as a baseline made into it."""

from __future__ import annotations

import math
import os
import time
from collections.abc import Callable, Mapping
from dataclasses import replace
from pathlib import Path
from typing import Any

from driftwell.errors import BadInput, StoreError
from driftwell.evaluation.metrics import canonical_metric
from driftwell.profiles.reference import Reference
from driftwell.profiles.reference.roles import metrics
from driftwell.stores.base import Ledger
from driftwell.stores.transform import Transform
from driftwell.stores.windows import leaf_builder, leaf_edges

__all__ = ["References", "as_reference", "checked_baseline", "says_the_same"]

FRESH_SECONDS = 1.0

NO_METRIC = "num_samples"  # stands beside the metrics of a performance window


class References:
    """The current reference of every model version, read from the ledger at most once a second."""

    def __init__(
        self, ledger: Ledger, transform_for: Callable[[str], Transform], is_awaited: Callable[[], bool] = lambda: False
    ) -> None:
        self._ledger, self._transform_for, self._is_awaited = ledger, transform_for, is_awaited
        self._known: dict[tuple[str, str], tuple[float, bytes | None, Reference | None]] = {}
        self._unwritten: dict[tuple[str, str], Reference] = {}

    def get(self, model: str, version: str) -> Reference | None:
        """The current reference; another process's change is seen within a second.

        While the store does not answer, the one known last serves; ``StoreError`` where none was ever read.
        """
        waiting = self._unwritten.get((model, version))
        if waiting is None:
            return self._stored(model, version)
        if self._is_awaited():
            return waiting
        try:
            written = self.put(model, version, waiting)
        except StoreError:
            return waiting
        self._unwritten.pop((model, version), None)
        return written

    def put(self, model: str, version: str, reference: Reference) -> Reference:
        """Make this the reference; leaves of kept rows are rebuilt on its edges. The same one again is no change."""
        current = self._stored(model, version)
        if current is not None and says_the_same(current, reference):
            return current
        document = reference.to_json()
        self._ledger.put_reference(model, version, reference.id, document)
        self._known[model, version] = (time.monotonic(), document, reference)
        transform = self._transform_for(model)
        edges_id = leaf_edges(reference, transform)
        self._ledger.replace_leaves(model, version, edges_id, leaf_builder(reference, transform))
        return reference

    def put_later(self, model: str, version: str, reference: Reference) -> None:
        """Use this reference from now on, and write it with the first ``get`` that finds the store answering."""
        self._unwritten[model, version] = reference

    def _stored(self, model: str, version: str) -> Reference | None:
        now = time.monotonic()
        checked, document, known = self._known.get((model, version), (-math.inf, None, None))
        if now - checked < FRESH_SECONDS:
            return known
        try:
            stored = self._ledger.get_reference(model, version)
        except StoreError:
            if (model, version) in self._known:
                return known
            raise
        fresh = None if stored is None else stored[1]
        if fresh != document:
            source = f"the stored reference of {model} {version}"
            known = None if fresh is None else Reference.from_json(fresh, source=source)
        self._known[model, version] = (now, fresh, known)
        return known


def as_reference(given: Any, *, name: str, version: str, kinds: Mapping[str, str] | None) -> Reference:
    """A ``Reference`` as it is, a saved one by its path, or one built from any table.

    Raises
    ------
    MissingReference
        There is no file at the path; the message says what to run.
    FormatError, BadInput
        The file or the table cannot be used.
    """
    if isinstance(given, Reference):
        return given
    if isinstance(given, (str, os.PathLike)) and Path(given).suffix in {".json", ".npy"}:
        return Reference.load(Path(given))
    return Reference.from_data(given, name=name, version=version, kinds=kinds)


def says_the_same(one: Reference, other: Reference) -> bool:
    """Whether two references differ in nothing but the moment they were built and the order of their rows."""
    return one.id == other.id and _undated(one) == _undated(other)


def _undated(reference: Reference) -> bytes:
    return replace(reference, created=None, history=None).to_json()


def checked_baseline(performance: Mapping[str, float]) -> dict[str, float]:
    """Baseline metrics by name.

    Raises
    ------
    UnknownName
        A name is no metric; the nearest is named.
    BadInput
        A value is not a finite number.
    """
    if not isinstance(performance, Mapping):
        raise BadInput(f"a baseline is a dict such as {{'accuracy': 0.85}}. Got {performance!r}")
    found = {name: value for name, value in performance.items() if name != NO_METRIC and value is not None}
    for name in found:
        canonical_metric(name)
    return metrics("the baseline", found)
