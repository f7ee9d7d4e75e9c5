"""The rules of redaction, each as a function of one value; what a rule cannot change raises and is dropped."""

from __future__ import annotations

import hashlib
import math
import numbers
from bisect import bisect_right
from collections.abc import Callable, Mapping
from datetime import UTC, date, datetime, time
from decimal import Decimal
from enum import Enum
from itertools import pairwise
from typing import Any, NamedTuple
from uuid import UUID

import numpy as np

from driftwell.errors import ConfigError, shown
from driftwell.frame import text_of

__all__ = ["Change", "change_of", "keep", "plain"]

LEAST_KEY_BYTES = 16
TOKEN_BYTES = 16
KNOWN = "'keep', 'drop', 'hash', {'bucket': 10}, {'bucket': [0, 18, 65]}, {'bucket': 'day'} and {'truncate': 3}"
_PLAIN = frozenset({str, int, float, bool, type(None), dict, list})
_CALENDAR: Mapping[str, Mapping[str, Any]] = {
    "hour": {"minute": 0, "second": 0, "microsecond": 0},
    "day": {"hour": 0, "minute": 0, "second": 0, "microsecond": 0},
    "month": {"day": 1, "hour": 0, "minute": 0, "second": 0, "microsecond": 0},
    "year": {"month": 1, "day": 1, "hour": 0, "minute": 0, "second": 0, "microsecond": 0},
}


class Change(NamedTuple):
    """A rule ready for use: its name, and what it makes of a value that is neither missing nor a list."""

    word: str
    make: Callable[[Any], Any]

    def __call__(self, value: Any) -> Any:
        """The changed value; raises whatever the value raises, or ``TypeError`` for one it cannot change."""
        return self.make(value)


keep = Change("keep", lambda value: value)


def change_of(column: str, rule: Any, key: bytes | None) -> Change:
    """The change a rule asks for.

    Raises
    ------
    ConfigError
        The rule is not known, its parameter cannot be used, or ``"hash"`` has no key of 16 bytes or more.
    """
    if rule == "keep":
        return keep
    if rule == "drop":
        return Change("drop", lambda value: None)
    if rule == "hash":
        return Change("hash", _hashing(column, key))
    if isinstance(rule, Mapping) and len(rule) == 1:
        ((word, by),) = rule.items()
        if word == "truncate" and isinstance(by, int) and not isinstance(by, bool) and by > 0:
            return Change("truncate", lambda value: _text_of_text(value)[:by])
        if word == "bucket" and isinstance(by, str) and by in _CALENDAR:
            return Change("bucket", lambda value: _moment(value).replace(**_CALENDAR[by]))
        if word == "bucket" and _is_number(by) and by > 0:
            return Change("bucket", lambda value: _floor(_number(value), float(by)))
        if word == "bucket" and isinstance(by, (list, tuple)) and _are_edges(by):
            edges = [float(edge) for edge in by]
            return Change("bucket", lambda value: edges[max(0, bisect_right(edges, _number(value)) - 1)])
    raise ConfigError(f"redact: no rule for {column!r} is {shown(rule)}. Rules are {KNOWN}, {{'bucket': 'month'}} …")


def plain(value: Any) -> Any:
    """A value as Python has it: arrays are lists, an enumeration is its value, missing values of pandas are None."""
    if type(value) in _PLAIN:
        return value
    if isinstance(value, Enum):
        return value.value
    if isinstance(value, np.datetime64):
        moment = value.astype("datetime64[us]").item()
        return moment if isinstance(moment, datetime) else None
    if type(value).__name__ in ("NAType", "NaTType"):
        return None
    if isinstance(value, (numbers.Real, date, str)) and not isinstance(value, np.generic):
        return value
    return np.array(value).tolist() if hasattr(value, "__array__") else value


def _hashing(column: str, key: bytes | None) -> Callable[[Any], str]:
    if not key or len(key) < LEAST_KEY_BYTES:
        raise ConfigError(
            f"redact: 'hash' of {column!r} needs a secret key of {LEAST_KEY_BYTES} bytes or more: set redact_key, "
            "or DRIFTWELL_REDACT_KEY, the same wherever tokens must agree"
        )
    secret = key if len(key) <= hashlib.blake2b.MAX_KEY_SIZE else hashlib.blake2b(key).digest()

    def token(value: Any) -> str:
        text = _canonical(value).encode("utf-8", "surrogatepass")
        return hashlib.blake2b(text, key=secret, digest_size=TOKEN_BYTES).hexdigest()

    return token


def _canonical(value: Any) -> str:
    """One text for values that are one category: 3 and 3.0, a time in any zone."""
    if isinstance(value, str):
        return str.__str__(value)
    if isinstance(value, bool):
        return text_of(value)
    if isinstance(value, int):
        return text_of(int.__int__(value))
    if isinstance(value, float):
        return text_of(float.__float__(value))
    if isinstance(value, (numbers.Real, Decimal)):
        return text_of(float(value))
    if isinstance(value, date):
        return _moment(value).isoformat()
    if isinstance(value, UUID):
        return str(value)
    raise TypeError


def _number(value: Any) -> float:
    if isinstance(value, int):
        return float(int.__int__(value))
    if isinstance(value, float):
        return float.__float__(value)
    if isinstance(value, (numbers.Real, Decimal)):
        return float(value)
    raise TypeError


def _floor(value: float, width: float) -> float:
    return value if math.isinf(value) else math.floor(value / width) * width


def _text_of_text(value: Any) -> str:
    if isinstance(value, str):
        return str.__str__(value)
    raise TypeError


def _moment(value: Any) -> datetime:
    """A time in UTC, where one without a zone is; RFC 3339 text and dates too."""
    if isinstance(value, str):
        value = datetime.fromisoformat(value.strip().upper())
    if isinstance(value, date) and not isinstance(value, datetime):
        value = datetime.combine(value, time())
    if not isinstance(value, datetime):
        raise TypeError
    return value.replace(tzinfo=UTC) if value.tzinfo is None else value.astimezone(UTC)


def _is_number(value: Any) -> bool:
    return isinstance(value, (int, float)) and not isinstance(value, bool) and math.isfinite(value)


def _are_edges(edges: Any) -> bool:
    return bool(edges) and all(map(_is_number, edges)) and all(a < b for a, b in pairwise(edges))
