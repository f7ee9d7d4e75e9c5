"""Columns that mix types: each cell kept as JSON text under an Arrow type that says so."""

from __future__ import annotations

import math
from collections.abc import Sequence
from typing import TYPE_CHECKING, Any

import msgspec
import numpy as np

from driftwell.errors import BadInput

if TYPE_CHECKING:
    import pyarrow as pa

__all__ = ["from_cells", "mixed_type", "to_cells"]

_INT64 = range(-(2**63), 2**64)


def mixed_type() -> pa.DataType:
    """The Arrow type of a column whose cells are JSON text of several types."""
    import pyarrow as pa

    return pa.opaque(pa.string(), "mixed", "driftwell")


def from_cells(cells: Sequence[Any]) -> pa.Array:
    """Python values that Arrow cannot put under one type: numbers become float64, text text, else mixed."""
    import pyarrow as pa

    plain = [c.item() if isinstance(c, np.generic) else c for c in cells]
    if all(c is None or (isinstance(c, (int, float)) and not isinstance(c, bool)) for c in plain):
        return pa.array([None if c is None else _float(c) for c in plain], pa.float64())
    if all(c is None or isinstance(c, str) for c in plain):
        return pa.array([None if c is None else _unicode(c) for c in plain], pa.string())
    return pa.ExtensionArray.from_storage(mixed_type(), pa.array([_json(c) for c in plain], pa.string()))


def to_cells(column: pa.ChunkedArray) -> list[Any]:
    """The Python values of a mixed column."""
    import pyarrow as pa

    return [None if c is None else msgspec.json.decode(c) for c in column.cast(pa.string()).to_pylist()]


def _json(value: Any) -> str | None:
    if _is_absent(value):
        return None
    if isinstance(value, int) and value not in _INT64:
        value = _float(value)
    if isinstance(value, float) and math.isinf(value):
        value = str(value)  # JSON has no infinity; as text it is counted as unreadable, not lost
    if not isinstance(value, (bool, int, float)):
        value = _unicode(_shown(value))
    return msgspec.json.encode(value).decode()


def _shown(value: Any) -> str:
    try:
        return str(value)
    except (Exception, SystemExit, GeneratorExit) as exc:  # an object of the user's may raise anything
        kind = type(value).__name__
        raise BadInput(f"a cell of type {kind} cannot be read: str() of it raises {type(exc).__name__}") from exc


def _is_absent(value: Any) -> bool:
    if isinstance(value, float):
        return math.isnan(value)
    return value is None or type(value).__name__ in ("NAType", "NaTType")  # pandas' two other words for None


def _float(value: float) -> float:
    try:
        return float(value)
    except OverflowError:  # an integer beyond float64
        return math.inf if value > 0 else -math.inf


def _unicode(text: str) -> str:
    """Lone surrogates (bytes that were no UTF-8) become visible escapes; Arrow holds valid text only."""
    return text.encode("utf-8", "backslashreplace").decode()
