"""A request and its response become records: parsed, taken apart by extractors, laid out in rows.

All of it happens on the recorder's thread; while the application answers, only bytes are kept.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from typing import Any

import msgspec
import numpy as np

from driftwell.capture.ids import new_id
from driftwell.capture.paths import MISSING, Extractor
from driftwell.capture.records import FIELDS, Expansion, Record, make_record
from driftwell.capture.snapshot import RefusedError

__all__ = ["Exchange"]

MAX_ROWS = 100_000
"""Rows of one exchange; more are refused, since each takes much more memory than its text."""

_OVERHEAD_BYTES = 1_000
_ANSWERS = ("prediction", "score", "probability")
_CONTEXT = ("timestamp", "segment", "entity_id", "version")


@dataclass(frozen=True, slots=True)
class Exchange:
    """One answered request as bytes.

    Attributes
    ----------
    extractors
        How to find each field; a field without one is not recorded.
    shared_id
        The id of the request: one of a header, used when the JSON has none; None when there was none either.
    told
        The client was told ``shared_id`` in a response header, so it is the id whatever the JSON says.
    """

    model: str
    version: str
    extractors: Mapping[str, Extractor]
    request: bytes
    response: bytes
    endpoint: str
    status: int
    latency_seconds: float
    ended: float
    shared_id: str | None
    told: bool

    @property
    def rows(self) -> int:
        """0: how many there are is only known when it is read."""
        return 0

    @property
    def size(self) -> int:
        """Bytes it keeps in memory."""
        return len(self.request) + len(self.response) + _OVERHEAD_BYTES

    def expand(self) -> Expansion:
        """The records of the exchange; rows that cannot be told apart are refused together."""
        try:
            request, response = msgspec.json.decode(self.request), msgspec.json.decode(self.response)
        except (ValueError, RecursionError):
            return Expansion(skipped="not_json")
        try:
            found = self._extracted(request, response)
        except RefusedError as refused:
            return Expansion(refused=Counter({refused.reason: 1}), cause=refused.__cause__)
        rows = _row_count(found)
        try:
            return self._records(found, rows)
        except RefusedError as refused:
            return Expansion(refused=Counter({refused.reason: 1 if rows is None else rows}))

    def _extracted(self, request: Any, response: Any) -> dict[str, Any]:
        found = {}
        for name, extract in self.extractors.items():
            try:
                found[name] = _as_list(extract(request, response))
            except (Exception, SystemExit) as exc:
                raise RefusedError("extractor") from exc
            if found[name] is MISSING:
                if name in ("features", "prediction"):
                    raise RefusedError(f"{name}_not_found")
                found[name] = None
        return found

    def _records(self, found: Mapping[str, Any], rows: int | None) -> Expansion:
        """``rows`` None: the exchange is about one row by itself."""
        if rows is not None and rows > MAX_ROWS:
            raise RefusedError("too_many_rows")
        count = 1 if rows is None else rows
        columns = {name: _spread(name, found.get(name), rows) for name in ("features", *_ANSWERS, *_CONTEXT)}
        ids = self._ids(found.get("prediction_id"), rows)
        records: list[Record] = []
        refused: Counter[str] = Counter()
        for i in range(count):
            row = {name: column(i) for name, column in columns.items()}
            row["latency_seconds"] = self.latency_seconds
            row["metadata"] = {
                "endpoint": self.endpoint,
                "batch_index": i,
                "batch_size": count,
                "status": self.status,
            }
            version = self.version if row["version"] is None else str(row["version"])
            values = [row.get(name) for name in FIELDS]
            try:
                records.append(make_record(self.model, version, ids(i), self.ended, row["features"], values))
            except RefusedError as one:
                refused[one.reason] += 1
        return Expansion(records, refused)

    def _ids(self, given: Any, rows: int | None) -> Callable[[int], str]:
        """The id of each row: its own, or that of the request with ``:0, :1, …`` behind it where rows are many."""
        shared = self.shared_id if self.told or given is None or given == "" else given
        if isinstance(shared, list) and rows is not None:
            own = _spread("prediction_id", shared, rows)
            return lambda i: new_id() if own(i) is None else str(own(i))
        if shared is None:
            return lambda i: new_id()
        return (lambda i: f"{shared}:{i}") if (rows or 1) > 1 else (lambda i: str(shared))


def _as_list(value: Any) -> Any:
    """Rows as a user's function may give them: a tuple or an array."""
    if isinstance(value, np.ndarray):
        return value.tolist()
    return list(value) if isinstance(value, tuple) else value


def _row_count(found: Mapping[str, Any]) -> int | None:
    """How many rows there are; None where features are one row by themselves (a dict, or a list of values)."""
    features = found.get("features")
    if isinstance(features, list):
        return len(features) if all(isinstance(row, (dict, list)) or row is None for row in features) else None
    if features is None and isinstance(found.get("prediction"), list):
        return len(found["prediction"])
    return None


def _spread(name: str, value: Any, rows: int | None) -> Callable[[int], Any]:
    """The value of each row: of a list its own, of anything else the same for all.

    Raises ``RefusedError`` for a list that is not as long as there are rows, and for one answer to several.
    """
    if rows is None:
        alone = value[0] if name in _ANSWERS and isinstance(value, list) and len(value) == 1 else value
        return lambda i: alone
    if isinstance(value, list) and len(value) == rows:
        return value.__getitem__
    shared = not isinstance(value, list) and (value is None or name in _CONTEXT)
    if shared or (rows == 1 and name in _ANSWERS):
        return lambda i: value
    raise RefusedError("unequal_lengths")
