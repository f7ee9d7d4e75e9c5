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


def to_arrow(values: Any) -> pa.Array:
    """One column as an Arrow array; one that mixes types keeps each cell as JSON text, marked as mixed."""
    import pyarrow as pa

    if isinstance(values, np.ndarray):
        if values.ndim == 2 and values.shape[1] and values.dtype.kind in "iuf":  # a vector a row
            return pa.FixedSizeListArray.from_arrays(pa.array(_native(values.ravel())), values.shape[1])
        values = _native(values)
    try:
        if hasattr(values, "__arrow_c_stream__"):
            column = pa.chunked_array(values)
            return column.combine_chunks() if column.num_chunks != 1 else column.chunk(0)
        if hasattr(values, "__arrow_c_array__") or isinstance(values, np.ndarray):
            return pa.array(values)
        values = list(values)
        return pa.array(values)
    except (pa.ArrowException, ValueError, OverflowError):
        return from_cells(list(values))


def from_capsule(table: Any, feature_names: Sequence[str] | None) -> pa.Table:
    import pyarrow as pa

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
