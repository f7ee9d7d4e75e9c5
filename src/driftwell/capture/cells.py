"""Feature cells become columns of one kind each; what cannot be read as its column's kind is kept as text beside it."""

from __future__ import annotations

import math
from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import dataclass, field
from datetime import date
from typing import TYPE_CHECKING, Any

import msgspec
import numpy as np

from driftwell.capture.snapshot import RefusedError, Unread
from driftwell.frame import text_of

if TYPE_CHECKING:
    from collections import Counter

    from driftwell.profiles.reference import Reference

__all__ = ["Cells", "Shape", "kind_of", "named_cells", "read_column"]

MAX_POSITIONS = 256
"""Up to this many elements a list without a reference is a row ``f0, f1, …``; a longer one is one series."""
MAX_FEATURES = 4_096
"""Features learned for one model version without a reference; further names are ignored and counted."""
MAX_INVALID_TEXT = 200

Cells = Mapping[str, Any]
_NAME_TYPES = frozenset({str})


@dataclass(slots=True)
class Shape:
    """What is known of the features of one model version.

    ``kinds`` are those of the reference (``fixed``: no other feature is kept), or those learned so far: the first
    value of a feature decides. ``given`` are the user's, which win over learning.
    """

    kinds: dict[str, str] = field(default_factory=dict)
    fixed: bool = False
    classes: Sequence[str] = ()
    given: Mapping[str, str] = field(default_factory=dict)

    @staticmethod
    def of(reference: Reference) -> Shape:
        """The shape a reference fixes."""
        return Shape(dict(reference.kinds), True, tuple(reference.classes))

    def kind(self, name: str, values: Iterable[Any]) -> str | None:
        """The kind of a feature; None while it has shown no value that has one."""
        found = self.kinds.get(name) or self.given.get(name)
        if found is None:
            found = next((kind for kind in map(kind_of, values) if kind), None)
        if found is not None and not self.fixed:
            self.kinds[name] = found
        return found

    def names_of(self, rows: Iterable[Cells | None], ignored: Counter[str]) -> list[str]:
        """The features of these rows, in the order of the reference or of their appearance; others are counted."""
        if self.fixed:
            known = self.kinds.keys()
            for row in rows:
                if row and not row.keys() <= known:
                    ignored.update(row.keys() - known)
            return list(self.kinds)
        names: dict[str, None] = {}
        for row in rows:
            if row and not row.keys() <= names.keys():
                names |= dict.fromkeys(row)
        room = MAX_FEATURES - len(self.kinds)
        fresh = [name for name in names if name not in self.kinds]
        ignored.update(fresh[room:])
        left_out = frozenset(fresh[room:])
        return [name for name in names if name not in left_out]


def kind_of(value: Any) -> str | None:
    """The kind a value shows: truth values boolean, numbers numeric, text categorical, else None."""
    if isinstance(value, bool):
        return "boolean"
    if isinstance(value, (int, float)):
        return "numeric"
    return "categorical" if isinstance(value, str) else None


def named_cells(features: Any, shape: Shape) -> Cells | None:
    """The features of one record by name; None where there are none.

    A list or array goes by position: the reference's features, or ``f0, f1, …``, or one series ``value`` when it
    is long. Raises ``RefusedError``: ``feature_count`` for another width than the reference's, ``features`` for what is
    no row.
    """
    if features is None:
        return None
    if isinstance(features, dict):
        return features if _NAME_TYPES.issuperset(map(type, features)) else _text_names(features)
    if isinstance(features, np.ndarray) and features.ndim == 1:
        features = features.tolist()
    if not isinstance(features, list):
        raise RefusedError("features")
    if shape.fixed:
        if len(features) != len(shape.kinds):
            raise RefusedError("feature_count")
        return dict(zip(shape.kinds, features, strict=True))
    if len(features) > MAX_POSITIONS:
        return {"value": features}
    return {f"f{i}": value for i, value in enumerate(features)}


def _text_names(features: Mapping[Any, Any]) -> dict[str, Any]:
    """Names that are numbers, as data frames with unnamed columns have them, become text."""
    return {name if type(name) is str else text_of(name): value for name, value in features.items()}


def read_column(values: list[Any], kind: str) -> tuple[list[Any], dict[int, str]]:
    """One column as ``kind``: the values a store keeps (None where missing), and the text of those unreadable.

    NaN stays apart from None in numeric columns and is missing in the others.

    Examples
    --------
    >>> read_column([1, "x", None, True], "numeric")
    ([1.0, None, None, 1.0], {1: 'x'})
    """
    ready, read = _READERS[kind]
    if ready.issuperset(map(type, values)):
        return values, {}
    out: list[Any] = []
    invalid: dict[int, str] = {}
    for i, value in enumerate(values):
        try:
            out.append(None if value is None else read(value))
        except (TypeError, ValueError, OverflowError):
            out.append(None)
            if not _is_missing(value):
                invalid[i] = _invalid_text(value)
    return out, invalid


def _numeric(value: Any) -> float:
    if isinstance(value, (int, float)):
        return float(value)
    raise TypeError


def _boolean(value: Any) -> bool | None:
    if isinstance(value, (int, float)) and value in (0, 1):
        return bool(value)
    if isinstance(value, float) and math.isnan(value):
        return None
    raise TypeError


def _category(value: Any) -> str | None:
    if isinstance(value, str):
        return value
    if isinstance(value, (int, float)):
        return None if value != value else text_of(value)
    raise TypeError


_READERS: Mapping[str, tuple[frozenset[type], Callable[[Any], Any]]] = {
    "numeric": (frozenset({float, type(None)}), _numeric),
    "boolean": (frozenset({bool, type(None)}), _boolean),
    "categorical": (frozenset({str, type(None)}), _category),
}


def _is_missing(value: Any) -> bool:
    return isinstance(value, Unread) and value.text == "NaT"


def _invalid_text(value: Any) -> str:
    """What is shown of a cell that could not be read, with the reason where the type alone is one."""
    if isinstance(value, Unread):
        text = value.text
    elif isinstance(value, (str, bool, int, float, date)):
        text = str(value)
    elif isinstance(value, (list, np.ndarray)):
        text = f"series of {len(value)} elements, which have no kind in this version: {_shown(value)}"
    else:
        text = f"{type(value).__name__}: {_shown(value)}"
    return text[:MAX_INVALID_TEXT]


def _shown(value: Any) -> str:
    if isinstance(value, np.ndarray):
        value = value[:MAX_INVALID_TEXT].tolist()
    elif isinstance(value, list):
        value = value[:MAX_INVALID_TEXT]
    try:
        return msgspec.json.encode(value, enc_hook=str).decode()
    except (TypeError, ValueError, RecursionError):
        return "…"
