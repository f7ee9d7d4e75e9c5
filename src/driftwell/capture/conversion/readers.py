"""Cells become one column of one kind; what cannot be read as that kind is kept as text beside it."""

from __future__ import annotations

import math
from collections.abc import Callable, Mapping
from datetime import UTC, date, datetime, time
from typing import Any, NamedTuple

import msgspec
import numpy as np

from driftwell.capture.snapshot import Unread
from driftwell.frame import text_of

__all__ = ["ARROW_TYPES", "read_column"]

MAX_INVALID_TEXT = 200
MAX_VECTOR = 65_536


def read_column(values: list[Any], kind: str, *, length: int | None = None) -> tuple[list[Any], dict[int, str]]:
    """One column as ``kind``: the values a store keeps (None where missing), and the text of those unreadable.

    NaN stays apart from None in numeric columns and inside series; it is missing in the others. Vectors of another
    ``length`` are unreadable.

    Examples
    --------
    >>> read_column([1, "x", None, True], "numeric")
    ([1.0, None, None, 1.0], {1: 'x'})
    >>> read_column([[1, 2], [3]], "vector", length=2)
    ([[1.0, 2.0], None], {1: 'series of 1 elements: [3]'})
    """
    reader = _READERS[kind]
    if reader.ready.issuperset(map(type, values)):
        return values, {}
    out: list[Any] = []
    invalid: dict[int, str] = {}
    for i, value in enumerate(values):
        try:
            read = None if value is None else reader.read(value)
            if length is not None and read is not None and len(read) != length:
                raise ValueError
            out.append(read)
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
    if _is_nan(value):
        return None
    raise TypeError


def _category(value: Any) -> str | None:
    if isinstance(value, str):
        return value
    if isinstance(value, (int, float)):
        return None if value != value else text_of(value)
    raise TypeError


def _text(value: Any) -> str | None:
    if isinstance(value, str) or _is_nan(value):
        return value if isinstance(value, str) else None
    raise TypeError


def _moment(value: Any) -> datetime | None:
    """A time, a date, or either as RFC 3339 text; without a zone it is UTC."""
    if _is_nan(value):
        return None
    if isinstance(value, str):
        value = datetime.fromisoformat(value.strip().upper())
    if isinstance(value, date) and not isinstance(value, datetime):
        value = datetime.combine(value, time())
    if not isinstance(value, datetime):
        raise TypeError
    return value.replace(tzinfo=UTC) if value.tzinfo is None else value.astimezone(UTC)


def _series(value: Any) -> list[float | None] | None:
    if _is_nan(value):
        return None
    if isinstance(value, np.ndarray):
        value = value.tolist()
    if not isinstance(value, list):
        raise TypeError
    return [None if element is None else _numeric(element) for element in value]


def _vector(value: Any) -> list[float] | None:
    """As a series, but a vector has every element."""
    found = _series(value)
    if found is None:
        return None
    whole = [element for element in found if element is not None and math.isfinite(element)]
    if len(whole) != len(found) or not 1 <= len(whole) <= MAX_VECTOR:
        raise ValueError
    return whole


def _is_nan(value: Any) -> bool:
    return isinstance(value, float) and math.isnan(value)


class _Reader(NamedTuple):
    """How cells of one kind are read: ``ready`` are the types that need no reading, ``arrow`` is what a store keeps."""

    ready: frozenset[type]
    read: Callable[[Any], Any]
    arrow: str


_NONE = type(None)
_READERS: Mapping[str, _Reader] = {
    "numeric": _Reader(frozenset({float, _NONE}), _numeric, "float64"),
    "boolean": _Reader(frozenset({bool, _NONE}), _boolean, "bool"),
    "categorical": _Reader(frozenset({str, _NONE}), _category, "string"),
    "datetime": _Reader(frozenset({_NONE}), _moment, "timestamp"),
    "text": _Reader(frozenset({str, _NONE}), _text, "string"),
    "vector": _Reader(frozenset({_NONE}), _vector, "list"),
    "series": _Reader(frozenset({_NONE}), _series, "list"),
}
ARROW_TYPES: Mapping[str, str] = {kind: reader.arrow for kind, reader in _READERS.items()}
"""The word for the Arrow type that a column of each kind is stored as."""


def _is_missing(value: Any) -> bool:
    return isinstance(value, Unread) and value.text == "NaT"


def _invalid_text(value: Any) -> str:
    """What is shown of a cell that could not be read, with the reason where the type alone is one."""
    if isinstance(value, Unread):
        text = value.text
    elif isinstance(value, (str, bool, int, float, date)):
        text = str(value)
    elif isinstance(value, (list, np.ndarray)):
        text = f"series of {len(value)} elements: {_shown(value)}"
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
