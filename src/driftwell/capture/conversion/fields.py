"""The fields of one record, read one by one: each function gives the value a store keeps or raises ``RefusedError``."""

from __future__ import annotations

import math
from collections import Counter
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from datetime import UTC, date, datetime, timedelta
from typing import Any

import msgspec
import numpy as np

from driftwell.capture.snapshot import RefusedError, Unread
from driftwell.frame import text_of

__all__ = [
    "Notes",
    "read_json",
    "read_json_column",
    "read_metadata",
    "read_metadata_column",
    "read_non_negative",
    "read_number",
    "read_probability",
    "read_text",
    "read_time",
]

EPOCH = datetime(1970, 1, 1, tzinfo=UTC)
EARLIEST_US = -2_208_988_800_000_000  # 1900, as over HTTP
DAY_US = 86_400_000_000
SKEW_US = 1_000_000
"""A time this little after its arrival is no skewed clock, only two clock readings."""
_OBJECTS = frozenset({dict, type(None)})
_JSON_TYPES = _OBJECTS | {str, float, int, bool, list}
ROUNDING = 1e-6
"""Probabilities beyond 0…1 by no more than this come from float32 arithmetic, and are set to the end."""


@dataclass(slots=True)
class Notes:
    """What was noticed while records were read, besides the records themselves."""

    naive_time: bool = False
    skewed: int = 0
    rejected: Counter[str] = field(default_factory=Counter)
    ignored: Counter[str] = field(default_factory=Counter)
    labels_rejected: int = 0


def read_time(value: Any, arrived_us: int, notes: Notes) -> int:
    """Event time in microseconds: RFC 3339 text, datetimes, numbers of seconds since 1970; None is the arrival.

    A naive time is UTC. Raises ``RefusedError``: ``timestamp`` where it cannot be read or lies before 1900,
    ``future_timestamp`` more than 24 hours after the arrival.
    """
    if value is None:
        return arrived_us
    try:
        found = _microseconds(value, notes)
    except (ValueError, OverflowError, TypeError) as exc:
        raise RefusedError("timestamp") from exc
    if found < EARLIEST_US:
        raise RefusedError("timestamp")
    if found > arrived_us + DAY_US:
        raise RefusedError("future_timestamp")
    notes.skewed += found > arrived_us + SKEW_US
    return found


def _microseconds(value: Any, notes: Notes) -> int:
    if isinstance(value, str):
        value = datetime.fromisoformat(value.strip().upper())
    if isinstance(value, datetime):
        if value.tzinfo is None:
            notes.naive_time = True
            value = value.replace(tzinfo=UTC)
        return int((value - EPOCH) // timedelta(microseconds=1))
    if isinstance(value, date):
        return _microseconds(datetime(value.year, value.month, value.day), notes)
    if isinstance(value, (int, float)) and not isinstance(value, bool):
        return round(value * 1_000_000)
    raise TypeError(f"{type(value).__name__} is no time")


def read_number(value: Any, reason: str) -> float | None:
    """A float, None for None; NaN stays. Raises ``RefusedError`` for anything but a number or an array of one."""
    value = _one(value)
    if value is None:
        return None
    if isinstance(value, (int, float)):
        try:
            return float(value)
        except OverflowError as exc:
            raise RefusedError(reason) from exc
    raise RefusedError(reason)


def read_non_negative(value: Any, reason: str) -> float | None:
    """A finite float that is not negative; raises ``RefusedError`` for others."""
    number = read_number(value, reason)
    if number is not None and not 0 <= number < math.inf:
        raise RefusedError(reason)
    return number


def read_probability(value: Any, classes: Sequence[str]) -> tuple[str | None, float | None]:
    """``(JSON text, score)`` of a probability: a number, ``{class: p}``, or a list in the order of ``classes``.

    The score is the number itself, or the share of the positive class: the last of ``classes``, or where they are
    not known the one with the larger name. A list without known classes is named by position. Raises ``RefusedError``
    for shares outside 0…1 and for a list of another length than ``classes``.
    """
    value = _one(value)
    if value is None:
        return None, None
    if isinstance(value, (int, float)):
        share = _share(value)
        return _encode(share), share
    if isinstance(value, np.ndarray):
        value = value.reshape(-1).tolist() if value.ndim == 2 and len(value) == 1 else value.tolist()
    if isinstance(value, list):
        names = list(classes) or [str(i) for i in range(len(value))]
        if len(names) != len(value):
            raise RefusedError("probability")
        value = dict(zip(names, value, strict=True))
    if not isinstance(value, Mapping):
        raise RefusedError("probability")
    shares = {text_of(name): _share(share) for name, share in value.items() if share is not None}
    if not shares:
        raise RefusedError("probability")
    positive = classes[-1] if classes else max(shares)
    return _encode(shares), shares.get(positive)


def _share(value: Any) -> float:
    if isinstance(value, (int, float)) and -ROUNDING <= value <= 1 + ROUNDING:
        return min(max(float(value), 0.0), 1.0)
    raise RefusedError("probability")


def read_text(value: Any, reason: str) -> str | None:
    """A name as text: text, or a number or truth value in its canonical form. Raises ``RefusedError`` for others."""
    if value is None or type(value) is str:
        return value
    if isinstance(value, (bool, int, float)):
        return None if value != value else text_of(value)
    if isinstance(value, Unread) and value.text:
        return value.text
    raise RefusedError(reason)


def read_json(value: Any, reason: str) -> str | None:
    """Any value as JSON text, None for None; an array of one value is that value, NaN is ``null``.

    Raises ``RefusedError`` for what JSON cannot say.
    """
    value = _one(value)
    if value is None:
        return None
    try:
        return _encode(value)
    except (TypeError, ValueError, OverflowError, RecursionError) as exc:
        raise RefusedError(reason) from exc


def read_json_column(values: Sequence[Any], reason: str) -> Sequence[str | None]:
    """``read_json`` of each value, in one go where that is possible."""
    if not _JSON_TYPES.issuperset(map(type, values)):
        return [read_json(value, reason) for value in values]
    try:
        texts = _encode_lines(values).decode().split("\n")  # a text in JSON has no line breaks
    except (TypeError, ValueError, OverflowError, RecursionError) as exc:
        raise RefusedError(reason) from exc
    return [None if value is None else text for value, text in zip(values, texts, strict=False)]


def read_metadata(value: Any) -> str | None:
    """A JSON object as text, None for None; raises ``RefusedError`` for anything but a dict."""
    if value is None or isinstance(value, dict):
        return read_json(value, "metadata")
    raise RefusedError("metadata")


def read_metadata_column(values: Sequence[Any]) -> Sequence[str | None]:
    """``read_metadata`` of each value, in one go where that is possible."""
    if _OBJECTS.issuperset(map(type, values)):
        return read_json_column(values, "metadata")
    return [read_metadata(value) for value in values]


def _one(value: Any) -> Any:
    """The only value of an array of one, as ``model.predict`` gives it."""
    return value.item() if isinstance(value, np.ndarray) and value.size == 1 else value


def _plain(value: Any) -> Any:
    if isinstance(value, np.ndarray):
        return value.tolist()
    if isinstance(value, Unread):
        return value.text
    raise TypeError(f"{type(value).__name__} has no JSON form")


_encoder = msgspec.json.Encoder(enc_hook=_plain)
_encode_lines = _encoder.encode_lines


def _encode(value: Any) -> str:
    return _encoder.encode(value).decode()
