"""A request and its response become records: parsed, taken apart by extractors, laid out in rows.

All of it happens on the recorder's thread; while the application answers, only bytes are kept.
"""

from __future__ import annotations

import time
import zlib
from collections import Counter
from collections.abc import Callable, Mapping, Sequence
from itertools import count
from typing import TYPE_CHECKING, Any, NamedTuple

import msgspec
import numpy as np

from driftwell.capture.ids import new_id
from driftwell.capture.middleware.paths import MISSING, Extractor
from driftwell.capture.records import FIELDS, Expansion, Record, make_record
from driftwell.capture.snapshot import RAISABLE, RefusedError

if TYPE_CHECKING:
    from driftwell.capture.redaction import Redaction

__all__ = ["Exchange"]

MAX_ROWS = 100_000
"""Rows of one exchange; more are refused, since each takes much more memory than its text."""

POLITE_EXCHANGES = 32
"""After so many the application's threads may run: Python alone would make them wait for 5 ms."""

_turns = count()
_decode_json = msgspec.json.Decoder().decode
_OVERHEAD_BYTES = 1_000
_ANSWERS = ("prediction", "score", "probability")
_CONTEXT = ("timestamp", "segment", "entity_id", "version")
_JSON_TYPES = frozenset({dict, list, str, int, float, bool, type(None)})


class Exchange(NamedTuple):
    """One answered request as bytes.

    Attributes
    ----------
    extractors
        How to find each field; a field without one is not recorded.
    shared_id
        The id of the request: one of a header, used when the JSON has none; None when there was none either.
    told
        The client was told ``shared_id`` in a response header, so it is the id whatever the JSON says.
    most
        Bytes up to which a compressed body is unpacked.
    packed
        Whether the request and the response are gzip.
    redaction
        Applied to each row before it is frozen.
    names_for
        ``names_for(version)``: the names of features given by position, None where nobody knows them.
    make_id
        ``make_id(ended)``: a new id.
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
    most: int = 0
    packed: tuple[bool, bool] = (False, False)
    redaction: Redaction | None = None
    names_for: Callable[[str], Sequence[str] | None] = lambda version: None
    make_id: Callable[[float], str] = lambda ended: new_id()

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
        if not next(_turns) % POLITE_EXCHANGES:
            time.sleep(0)
        try:
            request = _decode(self.request, self.packed[0], self.most)
            response = _decode(self.response, self.packed[1], self.most)
        except _PackedError as packed:
            return Expansion(skipped=str(packed))
        except (ValueError, RecursionError):
            return Expansion(skipped="not_json")
        try:
            found = self._extracted(request, response)
        except RefusedError as refused:
            return Expansion(refused=Counter({refused.reason: 1}), cause=self._told_cause(refused.__cause__))
        rows = _row_count(found)
        if rows == 0:
            return Expansion(skipped="empty")
        try:
            return Expansion([self._record(found, None, 0, 1)]) if rows is None else self._records(found, rows)
        except RefusedError as refused:
            return Expansion(refused=Counter({refused.reason: 1 if rows is None else rows}))

    def _extracted(self, request: Any, response: Any) -> dict[str, Any]:
        found = {}
        for name, extract in self.extractors.items():
            try:
                value = extract(request, response)
            except RAISABLE as exc:
                raise RefusedError("extractor") from exc
            if value is MISSING:
                if name in ("features", "prediction"):
                    raise RefusedError(f"{name}_not_found")
                value = None
            found[name] = value if type(value) in _JSON_TYPES else _as_list(value)
        return found

    def _told_cause(self, cause: BaseException | None) -> BaseException | None:
        """What may be said in the log: the message of an error may quote what redaction would have taken away."""
        return cause if self.redaction is None or cause is None else RuntimeError(f"raised {type(cause).__name__}")

    def _records(self, found: Mapping[str, Any], rows: int) -> Expansion:
        if rows > MAX_ROWS:
            raise RefusedError("too_many_rows")
        columns = {name: _spread(name, found.get(name), rows) for name in ("features", *_ANSWERS, *_CONTEXT)}
        own_id = self._ids(found.get("prediction_id"), rows)
        records: list[Record] = []
        refused: Counter[str] = Counter()
        for i in range(rows):
            row = {name: column(i) for name, column in columns.items()}
            try:
                records.append(self._record(row, own_id(i), i, rows))
            except RefusedError as one:
                refused[one.reason] += 1
        return Expansion(records, refused)

    def _record(self, row: Mapping[str, Any], prediction_id: str | None, index: int, rows: int) -> Record:
        """One row; without an id it is the only one of the exchange."""
        get = row.get
        metadata = {"endpoint": self.endpoint, "batch_index": index, "batch_size": rows, "status": self.status}
        prediction, score, probability = get("prediction"), get("score"), get("probability")
        if prediction_id is None:
            prediction_id = self._only_id(get("prediction_id"))
            prediction, score, probability = _only(prediction), _only(score), _only(probability)
        version = self.version if get("version") is None else str(row["version"])
        values: Sequence[Any] = (
            prediction, score, probability, get("timestamp"), get("segment"), get("entity_id"), self.latency_seconds,
            metadata, None,
        )  # fmt: skip
        features = get("features")
        if self.redaction is not None:
            names = self.names_for(version)
            features, fields = self.redaction.apply(features, dict(zip(FIELDS, values, strict=True)), names)
            values = [fields[name] for name in FIELDS]
            prediction_id = self.redaction.id(prediction_id)
        return make_record(self.model, version, prediction_id, self.ended, features, values)

    def _only_id(self, given: Any) -> str:
        """The id of the only row: its own, that of the request, or a new one."""
        found = self.shared_id if self.told or given is None or given == "" else given
        return self.make_id(self.ended) if found is None else str(found)

    def _ids(self, given: Any, rows: int) -> Callable[[int], str]:
        """The id of each row: its own, or that of the request with ``:0, :1, …`` behind it where rows are many."""
        shared = self.shared_id if self.told or given is None or given == "" else given
        if isinstance(shared, list):
            own = _spread("prediction_id", shared, rows)
            return lambda i: self.make_id(self.ended) if own(i) is None else str(own(i))
        if shared is None:
            return lambda i: self.make_id(self.ended)
        return (lambda i: f"{shared}:{i}") if rows > 1 else (lambda i: str(shared))


def _only(value: Any) -> Any:
    """The answer for the only row, where it is the only one of a list."""
    return value[0] if type(value) is list and len(value) == 1 else value


class _PackedError(Exception):
    """A compressed body that is not unpacked; its text is the word it is counted under."""


def _decode(body: bytes, packed: bool, most: int) -> Any:
    """The JSON of a body; raises ``_PackedError`` for gzip that is broken, or larger than ``most`` bytes unpacked."""
    if packed:
        unpacking = zlib.decompressobj(wbits=31)
        try:
            body = unpacking.decompress(body, most + 1)
        except zlib.error as exc:
            raise _PackedError("encoded") from exc
        if len(body) > most or not unpacking.eof:
            raise _PackedError("too_large" if len(body) > most else "encoded")
    return _decode_json(body)


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


def _spread(name: str, value: Any, rows: int) -> Callable[[int], Any]:
    """The value of each row: of a list its own, of anything else the same for all.

    Raises ``RefusedError`` for a list that is not as long as there are rows, and for one answer to several.
    """
    if isinstance(value, list) and len(value) == rows:
        return value.__getitem__
    shared = not isinstance(value, list) and (value is None or name in _CONTEXT)
    if shared or (rows == 1 and name in _ANSWERS):
        return lambda i: value
    raise RefusedError("unequal_lengths")
