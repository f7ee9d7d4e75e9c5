"""Redaction: what must not be kept is dropped or changed before a record is frozen, queued or written anywhere."""

from __future__ import annotations

import logging
import math
import threading
from collections import Counter
from collections.abc import Callable, Collection, Mapping, Sequence
from decimal import Decimal
from typing import TYPE_CHECKING, Any

import numpy as np

from driftwell.capture.changes import Change, change_of, keep, plain
from driftwell.capture.ids import id_from
from driftwell.capture.patience import Seldom
from driftwell.capture.processes import survive_forks
from driftwell.capture.snapshot import RAISABLE, row_of
from driftwell.errors import ConfigError, shown
from driftwell.frame import text_of, to_arrow

if TYPE_CHECKING:
    import pyarrow as pa

__all__ = ["Redaction"]

logger = logging.getLogger("driftwell.capture")

MOST_DEEP = 32
_POSITION = "f"
_FIELDS = ("segment", "entity_id", "prediction", "true_label", "score")
_NEVER = ("timestamp", "latency_seconds", "model", "version")
_ONLY = {"prediction_id": ("hash",), "probability": ("drop",)}


class Redaction:
    """The redaction of one model: rules by column, checked when it is made; using it never raises.

    A column is a feature by the name it is recorded under (``*``: every feature without a rule of its own), a field
    (``prediction_id`` ``segment`` ``entity_id`` ``prediction`` ``true_label`` ``score`` ``probability``), ``metadata``
    or ``metadata.<key>`` (``metadata.user.email`` for nested ones). A rule named like a field also holds for a feature
    of that name.

    A value that its rule cannot change is dropped and counted in ``lost``: a raw value never passes because something
    went wrong.
    """

    def __init__(self, changes: Mapping[str, Change]) -> None:
        self._metadata = {name: one for name, one in changes.items() if f"{name}.".startswith("metadata.")}
        self._changes = {name: one for name, one in changes.items() if name not in self._metadata}
        self._rest = self._changes.pop("*", keep)
        self._any_feature = bool(self._changes.keys() - _ONLY.keys()) or self._rest is not keep
        self._positions_known = all(_is_position(name) for name in self._changes.keys() - {*_FIELDS, *_ONLY})
        self._seldom = Seldom()
        self._lost: Counter[str] = Counter()
        self.after_fork_in_child()
        survive_forks(self)

    @staticmethod
    def of(rules: Mapping[str, Any], key: bytes | None = None) -> Redaction:
        """Read the rules: ``"keep"``, ``"drop"``, ``"hash"``, ``{"bucket": …}`` or ``{"truncate": n}`` by column.

        ``key`` is the secret of ``"hash"``, at least 16 bytes.

        Raises
        ------
        ConfigError
            A rule or a column is not known, a column cannot have this rule, or a key is missing or too short.

        Examples
        --------
        >>> redaction = Redaction.of({"name": "drop", "age": {"bucket": 10}, "zip": {"truncate": 2}})
        >>> redaction.apply({"name": "Ada", "age": 36, "zip": "75001", "x": 1.5}, {})
        ({'age': 30.0, 'zip': '75', 'x': 1.5}, {})
        """
        if not isinstance(rules, Mapping) or not all(isinstance(name, str) and name for name in rules):
            raise ConfigError(f"redact is a rule by column name, such as {{'email': 'hash'}}. Got {shown(rules)}")
        changes = {name: change_of(name, rule, key) for name, rule in rules.items()}
        for name, one in changes.items():
            if name in _NEVER:
                raise ConfigError(f"redact: {name} cannot be redacted; windows and counts need it")
            if name in _ONLY and one.word not in (*_ONLY[name], "keep"):
                raise ConfigError(f"redact: the only rule for {name} is {_ONLY[name][0]!r}. Got {shown(rules[name])}")
        words = {name: changes[name].word if name in changes else "keep" for name in ("prediction", "true_label")}
        if "drop" not in words.values() and rules.get("prediction", "keep") != rules.get("true_label", "keep"):
            raise ConfigError(
                "redact: predictions are compared with labels: give prediction and true_label one rule, or drop either"
            )
        return Redaction(changes)

    @property
    def lost(self) -> dict[str, int]:
        """How many values were dropped because their rule could not change them, by column."""
        with self._lock:
            return dict(self._lost)

    def apply(
        self, features: Any, fields: Mapping[str, Any], names: Sequence[str] | None = None
    ) -> tuple[Any, dict[str, Any]]:
        """One record as its caller gave it: its features and fields redacted, what was given left alone.

        ``names`` are those of features given by position. Without them positions are ``f0, f1, …`` or one series
        ``value``; if a rule has any other name, nobody can tell which position it means and no value is kept.
        """
        return self._redacted_features(features, names), self._redacted_fields(fields)

    def apply_table(self, table: pa.Table, roles: Mapping[str, str] | None = None, *, ids: bool = False) -> pa.Table:
        """The same for every row of a table; a dropped column is gone.

        ``roles`` says which column is which field where the names do not. ``ids=False`` leaves prediction ids to
        ``id``: rows without one get it later, and the caller needs them as they were given.
        """
        columns = {(roles or {}).get(field, field): field for field in (*_FIELDS, *_ONLY, *_NEVER, "metadata")}
        if not self._positions_known and _are_positions(set(table.column_names) - columns.keys()):
            self._lose("features by position", table.num_rows)
            table = table.select([name for name in table.column_names if name in columns])
        out = {}
        for name, column in zip(table.column_names, table.columns, strict=True):
            field = columns.get(name)
            change = self._change_of_column(name, field)
            if field == "prediction_id" and not ids:
                change = keep
            if change is keep and not self._looks_inside(field):
                out[name] = column
            elif change.word != "drop":
                out[name] = self._redacted_column(column, field, name, change)
        return type(table).from_arrays(list(out.values()), names=list(out))

    def value(self, column: str, value: Any) -> Any:
        """One value of one column, None where it is dropped: what to look for in the store."""
        return self._redacted(column, self._changes.get(column, keep), value)

    def id(self, prediction_id: Any) -> str:
        """A prediction id as it is kept; the empty one stays, which no record may have."""
        found = id_from(prediction_id)
        return self.value("prediction_id", found) or "" if found else found

    def label(self, true_label: Any) -> Any:
        """A label as it is kept."""
        return self.value("true_label", true_label)

    # -- features --------------------------------------------------------------------------------------------

    def _redacted_features(self, features: Any, names: Sequence[str] | None) -> Any:
        if features is None or not self._any_feature:
            return features
        try:
            row = row_of(features)
            if isinstance(row, dict):
                return self._by_name(row if {str}.issuperset(map(type, row)) else _text_names(row))
            return object() if row is None else self._by_position(list(row), names)
        except RAISABLE:  # the objects of a caller may raise anything, and capture never does
            return object()  # refused as features when it is frozen, as what cannot be read always is

    def _by_name(self, row: dict[str, Any]) -> dict[str, Any]:
        """Change a dict of our own."""
        for name in list(row) if self._rest is not keep else self._changes.keys() & row.keys():
            change = self._changes.get(name, self._rest)
            if change is keep:
                continue
            changed = self._redacted(name, change, row[name])
            if changed is None:
                del row[name]
            else:
                row[name] = changed
        return row

    def _by_position(self, row: list[Any], names: Sequence[str] | None) -> list[Any]:
        """Positions stay; a dropped one is None."""
        if names is not None and (len(names) == len(row) or list(names) == ["value"]):
            own = [*names] if len(names) == len(row) else ["value"] * len(row)
            changes = [(name, self._changes.get(name, self._rest)) for name in own]
        elif names is None and self._positions_known:
            series = self._changes.get("value", self._rest)
            changes = [(f"{_POSITION}{i}", self._changes.get(f"{_POSITION}{i}", series)) for i in range(len(row))]
        else:
            self._lose("features by position", len(row))
            return [None] * len(row)
        return [
            value if change is keep else self._redacted(name, change, value)
            for value, (name, change) in zip(row, changes, strict=True)
        ]

    # -- fields ----------------------------------------------------------------------------------------------

    def _redacted_fields(self, fields: Mapping[str, Any]) -> dict[str, Any]:
        out = dict(fields)
        for name in _FIELDS:
            if name in self._changes and out.get(name) is not None:
                out[name] = self.value(name, out[name])
        if out.get("prediction_id") is not None and "prediction_id" in self._changes:
            out["prediction_id"] = self.id(out["prediction_id"])
        if out.get("metadata") is not None and self._metadata:
            out["metadata"] = self._redacted_metadata(out["metadata"])
        if out.get("probability") is not None:
            out["probability"] = self._redacted_probability(out["probability"])
        return out

    def _redacted_probability(self, value: Any) -> Any:
        """Of a distribution the names of the classes are changed as predictions are."""
        change = self._changes.get("prediction", keep)
        if self._changes.get("probability", keep).word == "drop":
            return None
        if change is keep or not hasattr(value, "keys"):
            return value
        try:
            return None if change.word == "drop" else {change(plain(name)): value[name] for name in value}
        except RAISABLE:  # see _redacted_features
            return self._lose("probability")

    def _redacted_metadata(self, value: Any) -> Any:
        try:
            if not isinstance(value, Mapping):
                return ""  # refused when it is read, as anything but a mapping is
            return self._walk("metadata", value, self._metadata.get("metadata", keep), 0)
        except RAISABLE:  # see _redacted_features
            return self._lose("metadata")

    def _walk(self, path: str, value: Any, change: Change, depth: int) -> Any:
        """Change the leaves of nested metadata; the nearest rule above a leaf holds."""
        change = self._metadata.get(path, change)
        if depth > MOST_DEEP:
            raise RecursionError
        try:
            if isinstance(value, Mapping):
                found = {name: self._walk(f"{path}.{_text(name)}", value[name], change, depth + 1) for name in value}
                kept = {name: one for name, one in found.items() if one is not None or value[name] is None}
                return None if change.word == "drop" and not kept else kept
            if isinstance(value, (list, tuple)):
                parts = [self._walk(path, one, change, depth + 1) for one in value]
                return None if change.word == "drop" and all(part is None for part in parts) else parts
        except RecursionError:  # what contains itself: all of it is dropped
            raise
        except RAISABLE:  # see _redacted_features
            return self._lose(path)
        return self._redacted(path, change, value)

    # -- one value, one column -------------------------------------------------------------------------------

    def _redacted(self, name: str, change: Change, value: Any) -> Any:
        if value is None or change is keep:
            return value
        if change.word == "drop":
            return None
        try:
            if isinstance(value, np.ndarray) and value.size == 1:
                value = value.item()
            return _each(change.make, value, 0)
        except RAISABLE:  # see _redacted_features
            return self._lose(name)

    def _change_of_column(self, name: str, field: str | None) -> Change:
        if field in _NEVER:
            return keep
        if field == "metadata":
            return self._metadata.get("metadata", keep) if len(self._metadata) == 1 else keep
        if field is None:
            return self._changes.get(name, self._rest)
        own = self._changes.get(field, keep)
        return self._changes.get(name, keep) if own is keep else own

    def _looks_inside(self, field: str | None) -> bool:
        return (field == "metadata" and bool(self._metadata)) or (
            field == "probability" and "prediction" in self._changes
        )

    def _redacted_column(self, column: pa.ChunkedArray, field: str | None, name: str, change: Change) -> pa.Array:
        import pyarrow as pa

        def one(value: Any) -> Any:
            if field == "metadata":
                return None if value is None else self._redacted_metadata(value)
            if field == "probability":
                return None if value is None else self._redacted_probability(value)
            return self._redacted(name, change, value)

        cells = _cells(column)
        try:
            if pa.types.is_nested(column.type) or isinstance(column.type, pa.BaseExtensionType):
                return to_arrow([one(cell) for cell in cells])
            known = {cell: one(cell) for cell in dict.fromkeys(cells)}  # a category is changed once
            return to_arrow([known[cell] for cell in cells])
        except RAISABLE:  # see _redacted_features
            self._lose(name, len(cells))
            return pa.nulls(len(cells))

    # -- losses ----------------------------------------------------------------------------------------------

    def _lose(self, name: str, count: int = 1) -> None:
        with self._lock:
            self._lost[name] += count
        if self._seldom.permits(name):
            logger.warning("values of %s cannot be redacted as their rule says, and are dropped", name)

    def before_fork(self) -> None:
        """Let no other thread be counting."""
        self._lock.acquire()

    def after_fork_in_parent(self) -> None:
        """Go on."""
        self._lock.release()

    def after_fork_in_child(self) -> None:
        """A lock of its own."""
        self._lock = threading.RLock()


def _is_position(name: str) -> bool:
    return name == "value" or (name.startswith(_POSITION) and name[len(_POSITION) :].isdecimal())


def _are_positions(names: Collection[str]) -> bool:
    """Whether these can only be the names that columns without names get."""
    return bool(names) and {*names} in ({f"{_POSITION}{i}" for i in range(len(names))}, {"value"})


def _text(name: Any) -> str:
    return name if type(name) is str else text_of(plain(name))


def _text_names(row: Mapping[Any, Any]) -> dict[str, Any]:
    """Names that are no text become text as they do when a record is read."""
    return {_text(name): value for name, value in row.items()}


def _each(change: Callable[[Any], Any], value: Any, depth: int) -> Any:
    """Change a value, or each one in a list; a dict cannot be changed."""
    value = plain(value)
    if depth > MOST_DEEP:
        raise RecursionError
    if value is None or _is_nan(value):
        return value
    if isinstance(value, (list, tuple)):
        return [_each(change, one, depth + 1) for one in value]
    if isinstance(value, Mapping):
        raise TypeError  # its keys may say as much as its values
    return change(value)


def _is_nan(value: Any) -> bool:
    """Asked of Python's own types only: any other may say so to pass unchanged."""
    return (type(value) is float and math.isnan(value)) or (type(value) is Decimal and value.is_nan())


def _cells(column: pa.ChunkedArray) -> list[Any]:
    """The values of a column as Python has them."""
    import pyarrow as pa

    from driftwell.frame.cells import to_cells

    if isinstance(column.type, pa.BaseExtensionType):
        mixed = getattr(column.type, "type_name", None) == "mixed"
        return to_cells(column) if mixed else list(column.cast(column.type.storage_type).to_pylist())
    if pa.types.is_timestamp(column.type):  # Python's times have no nanoseconds
        column = column.cast(pa.timestamp("us", column.type.tz), safe=False)
    return list(column.to_pylist())
