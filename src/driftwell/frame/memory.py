"""Tables in memory: data frames, arrays, dicts and lists become Arrow tables."""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterable, Mapping, Sequence
from typing import TYPE_CHECKING, Any

import numpy as np
import numpy.typing as npt

from driftwell.errors import BadInput, ColumnError
from driftwell.frame.cells import from_cells

if TYPE_CHECKING:
    import pyarrow as pa

__all__ = ["checked_names", "from_array", "from_capsule", "from_columns", "from_list", "to_arrow"]

MOST_DEEP = 32
_NESTING: tuple[type, ...] = (list, tuple, dict, np.ndarray, type({}.values()))
"""What Arrow looks into; it does so by recursion without a bound, which ends the process."""


def to_arrow(values: Any) -> pa.Array:
    """One column as an Arrow array; one that mixes types keeps each cell as JSON text, marked as mixed.

    Raises ``BadInput`` for values nested deeper than 32 levels, or that contain themselves.
    """
    import pyarrow as pa

    if isinstance(values, np.ndarray):
        if values.ndim == 2 and values.shape[1] and values.dtype.kind in "iuf":  # a vector a row
            return pa.FixedSizeListArray.from_arrays(pa.array(_native(values.ravel())), values.shape[1])
        values = _native(values)
    if _holds_objects(values):
        values = values if hasattr(values, "dtype") else list(values)
        _check_depth(values)
    try:
        if hasattr(values, "__arrow_c_stream__"):
            column = pa.chunked_array(values)
            return column.combine_chunks() if column.num_chunks != 1 else column.chunk(0)
        return pa.array(values)
    except (pa.ArrowException, ValueError, OverflowError):
        return from_cells(list(values))


def _holds_objects(values: Any) -> bool:
    """Whether a column holds objects of Python, and not memory of a kind."""
    if hasattr(values, "dtype"):  # of NumPy or pandas
        return bool(values.dtype == object)
    return not (hasattr(values, "__arrow_c_stream__") or hasattr(values, "__arrow_c_array__"))


def _check_depth(values: Iterable[Any]) -> None:
    level = _nested(values)
    for _ in range(MOST_DEEP):
        if not level:
            return
        level = _nested([part for one in level for part in _parts(one)])
    raise BadInput(f"a cell is nested deeper than {MOST_DEEP} levels, or contains itself: flatten it, or leave it out")


def _nested(values: Iterable[Any]) -> list[Any]:
    """Those that hold others, each object once. Cost without any: looking at each one's type."""
    if not any(issubclass(kind, _NESTING) for kind in set(map(type, values))):
        return []
    return list({id(one): one for one in values if isinstance(one, _NESTING)}.values())


def _parts(value: Any) -> Iterable[Any]:
    if isinstance(value, np.ndarray):
        return value.ravel() if value.dtype == object else ()
    return dict.values(value) if isinstance(value, dict) else value


def from_capsule(table: Any, feature_names: Sequence[str] | None) -> pa.Table:
    import pyarrow as pa

    if hasattr(table, "columns") and hasattr(table, "items"):
        for _, column in table.items():  # noqa: PERF102 - pandas has no method values()
            if _holds_objects(column):
                _check_depth(column)
    try:
        return pa.table(table)
    except (pa.ArrowException, TypeError, ValueError) as exc:
        if hasattr(table, "columns") and hasattr(table, "items"):
            # pandas refuses the whole frame for one column; column by column the others are kept.
            checked_names([str(name) for name in table.columns])
            return from_columns(dict(table.items()))
        if hasattr(table, "columns"):
            raise BadInput(f"cannot read this {type(table).__name__} as an Arrow table: {exc}") from exc
    return _named([table], feature_names or ["value"])


def from_array(array: npt.NDArray[Any], feature_names: Sequence[str] | None) -> pa.Table:
    if array.dtype.names:
        return from_columns({name: array[name] for name in array.dtype.names})
    if array.ndim == 1:
        return _named([array], feature_names or ["value"])
    if array.ndim == 2:
        return _named(list(array.T), feature_names or [f"f{i}" for i in range(array.shape[1])])
    raise BadInput(f"an array must have 1 or 2 dimensions, this one has {array.ndim}")


def _named(columns: Sequence[Any], names: Sequence[str]) -> pa.Table:
    if len(names) != len(columns):
        raise ColumnError(f"the array has {len(columns)} columns, {len(names)} are expected: {', '.join(names)}")
    return from_columns(dict(zip(names, columns, strict=True)))


def from_columns(columns: Mapping[Any, Any]) -> pa.Table:
    import pyarrow as pa

    names = checked_names([str(name) for name in columns])
    arrays = {name: _column(name, values) for name, values in zip(names, columns.values(), strict=True)}
    lengths = {name: len(values) for name, values in arrays.items()}
    if len(set(lengths.values())) > 1:
        raise ColumnError(f"columns of unequal length: {lengths}")
    return pa.table(arrays)


def _column(name: str, values: Any) -> pa.Array:
    scalar = isinstance(values, (str, bytes, Mapping)) or (isinstance(values, np.ndarray) and values.ndim == 0)
    if scalar or not isinstance(values, Iterable):
        raise ColumnError(f"column {name!r} must be an array or a list, not one {type(values).__name__}")
    return to_arrow(values)


def from_list(rows: Sequence[Any], feature_names: Sequence[str] | None) -> pa.Table:
    if not rows:
        return from_columns({name: [] for name in feature_names or ()})
    if any(isinstance(row, Mapping) for row in rows):
        return _from_records(rows)
    try:
        array = np.asarray(rows)
        if array.dtype.kind not in "biuf":  # NumPy would turn numbers beside text into text
            array = np.asarray(rows, object)
    except ValueError as exc:
        raise BadInput("a list must hold dicts, numbers, or rows of equal length") from exc
    return from_array(array, feature_names)


def _from_records(rows: Sequence[Any]) -> pa.Table:
    if not all(isinstance(row, Mapping) for row in rows):
        raise BadInput("a list of rows must hold dicts only, or no dict at all")
    keys: dict[Any, None] = {}
    for row in rows:
        keys.update(dict.fromkeys(row))
    return from_columns({key: [row.get(key) for row in rows] for key in keys})


def _native(values: npt.NDArray[Any]) -> Any:
    """What Arrow can take: this machine's byte order, no extended floats, lists above one dimension."""
    if values.ndim > 1 or values.dtype == object:
        return list(values)
    if values.dtype.kind == "f" and values.dtype.itemsize > 8:
        return values.astype(np.float64)
    return values if values.dtype.isnative else values.astype(values.dtype.newbyteorder("="))


def checked_names(names: Sequence[str]) -> list[str]:
    """The names, when they are all different and valid text."""
    twice = sorted(name for name, count in Counter(names).items() if count > 1)
    if twice:
        raise ColumnError(f"columns named twice: {', '.join(twice)}; rename one of each")
    for name in names:
        try:
            name.encode()
        except UnicodeEncodeError as exc:
            raise ColumnError(f"the column name {name!a} is not valid text; rename it") from exc
    return list(names)
