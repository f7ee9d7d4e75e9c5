"""Values frozen at the call: one MessagePack text, which the caller can no longer change and whose size is known.

Encoding in C costs less than a safe copy of the Python objects would, and the queue then holds bytes only. What
MessagePack does not know (NumPy, pandas, any object with text) is turned into what it knows here.
"""

from __future__ import annotations

import math
import numbers
from collections.abc import Mapping, Sequence
from datetime import UTC, datetime
from typing import Any

import msgspec
import numpy as np

__all__ = ["RAISABLE", "RefusedError", "Unread", "freeze", "row_of", "snapshot", "thaw"]

RAISABLE = (Exception, SystemExit, GeneratorExit)
"""What an object of a caller's may raise when it is looked at. ``KeyboardInterrupt`` is nobody's answer and passes."""

MAX_TEXT = 1_000
_ARRAY, _UNREAD = 1, 2


class RefusedError(Exception):
    """A record that cannot be kept; ``reason`` is the word it is counted under."""

    def __init__(self, reason: str) -> None:
        super().__init__(reason)
        self.reason = reason


class Unread:
    """Stands for a value of a type nobody here knows; ``text`` is what it says of itself."""

    # No dataclass: MessagePack and JSON would take it for an object with fields.
    __slots__ = ("text",)

    def __init__(self, text: str) -> None:
        self.text = text

    def __repr__(self) -> str:
        return f"Unread({self.text!r})"


def _known(value: Any) -> Any:
    """Turn an object into one that MessagePack knows; whatever a hostile one raises passes through."""
    if isinstance(value, np.generic):
        return _scalar(value)
    if isinstance(value, np.ndarray):
        return _array(value)
    if type(value).__name__ == "NAType":  # pandas.NA, without importing pandas
        return None
    for base in (str, int, float):  # subclasses may override anything: take the value behind them
        if isinstance(value, base):
            return getattr(base, f"__{base.__name__}__")(value)
    if isinstance(value, datetime):
        return _moment(value)
    if isinstance(value, numbers.Real):
        return float(value)
    if isinstance(value, Mapping):
        return dict(value)
    if isinstance(value, Sequence) and not isinstance(value, (bytes, bytearray, memoryview)):
        return list(value)
    if hasattr(value, "__array__"):
        return np.array(value)
    return _unread(str(value))


def _unread(text: str) -> msgspec.msgpack.Ext:
    return msgspec.msgpack.Ext(_UNREAD, text[:MAX_TEXT].encode("utf-8", "replace"))


def _scalar(value: np.generic) -> Any:
    if isinstance(value, np.datetime64):
        moment = value.astype("datetime64[us]").item()
        return moment.replace(tzinfo=UTC) if isinstance(moment, datetime) else _unread("NaT")
    return float(value) if isinstance(value, np.floating) else value.item()


def _array(value: np.ndarray[Any, Any]) -> Any:
    if value.ndim == 0 or value.dtype.kind not in "biuf":
        return value.tolist()
    parts = (value.dtype.str, value.shape, value.tobytes())
    return msgspec.msgpack.Ext(_ARRAY, msgspec.msgpack.encode(parts))


def _moment(value: datetime) -> Any:
    if type(value).__name__ == "NaTType":
        return _unread("NaT")
    parts = (value.year, value.month, value.day, value.hour, value.minute, value.second, value.microsecond)
    return datetime(*parts, tzinfo=value.tzinfo, fold=value.fold)


def _restored(code: int, data: memoryview) -> Any:
    if code == _ARRAY:
        dtype, shape, content = msgspec.msgpack.decode(data)
        return np.frombuffer(content, dtype).reshape(shape)
    return Unread(bytes(data).decode())


freeze = msgspec.msgpack.Encoder(enc_hook=_known, decimal_format="number").encode
"""``freeze(value) -> bytes``. Raises whatever a hostile value raises."""

thaw = msgspec.msgpack.Decoder(ext_hook=_restored).decode
"""``thaw(bytes) -> value``: plain Python values, NumPy arrays and ``Unread``; tuples come back as lists."""


def snapshot(features: Any, names: Sequence[str], values: Sequence[Any]) -> bytes:
    """Freeze ``[features, *values]``.

    A feature that cannot be frozen keeps its place as ``Unread``, and so does a ``true_label``; raises ``RefusedError``
    with the name of any other value that cannot, or with ``features`` for what cannot be the row of one record.
    """
    if type(features) is not dict and features is not None:
        features = _row(features)
    try:
        return freeze((features, *values))
    except RAISABLE:  # the objects of a caller may raise anything, and capture never does
        return _freeze_each(features, names, values)


def _row(features: Any) -> Any:
    try:
        row = row_of(features)
    except RAISABLE as exc:
        raise RefusedError("features") from exc
    if row is None:
        raise RefusedError("features")
    return row


def row_of(features: Any) -> Any:
    """A dict, list or 1-D array; a pandas row keeps its names, an array of shape (1, n) is one row."""
    if isinstance(features, Mapping):
        return dict(features)
    if isinstance(features, (list, tuple)):
        return list(features)
    if isinstance(features, (str, bytes, bytearray, memoryview, np.generic)):
        return None
    if getattr(features, "ndim", None) == 1 and hasattr(features, "to_dict"):
        return features.to_dict()
    if hasattr(features, "__array__"):
        array = np.array(features)
        array = array[0] if array.ndim == 2 and array.shape[0] == 1 else array
        return array if array.ndim == 1 else None
    return list(features) if isinstance(features, Sequence) else None


def _freeze_each(features: Any, names: Sequence[str], values: Sequence[Any]) -> bytes:
    kept = []
    for name, value in zip(names, values, strict=True):
        if _freezes(value):
            kept.append(value)
        elif name == "true_label":
            kept.append(_unread(""))
        else:
            raise RefusedError(name)
    try:
        return freeze((_cells(features), *kept))
    except RAISABLE as exc:
        raise RefusedError("features") from exc


def _cells(features: Any) -> Any:
    if features is None:
        return None
    if isinstance(features, dict):
        return {_text(name if type(name) is str else str(name)): _cell(v) for name, v in features.items()}
    return [_cell(value) for value in features]


def _cell(value: Any) -> Any:
    if _freezes(value):
        return value
    if type(value) is str:
        return _text(value)
    if type(value) is int:
        return float(value) if abs(value) < 2**1023 else math.inf if value > 0 else -math.inf
    return _unread(f"<{type(value).__name__}>")


def _text(value: str) -> str:
    return value if value.isascii() else value.encode("utf-8", "replace").decode()


def _freezes(value: Any) -> bool:
    try:
        freeze(value)
    except RAISABLE:  # see snapshot
        return False
    return True
