"""Reading: whatever a user calls a table becomes an Arrow table."""

from __future__ import annotations

import re
from collections.abc import Iterable, Mapping, Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np

from driftwell.errors import BadInput, ColumnError, shown
from driftwell.frame.columns import is_list_type
from driftwell.frame.files import read_files
from driftwell.frame.memory import checked_names, from_array, from_capsule, from_columns, from_list

if TYPE_CHECKING:
    import pyarrow as pa

__all__ = ["read_table"]

_INSTEAD = {
    "Profile": "a Profile holds counts, no rows: pass the rows it was counted from, or compare(reference, profile)",
    "Reference": "a Reference holds counts, no rows: pass the rows it was built from, or compare(reference, table)",
}
"""What to pass in place of objects of these types, which are known here by name only."""

_PANDAS_INDEX = re.compile(r"__index_level_\d+__$")


def read_table(table: Any, *, feature_names: Sequence[str] | None = None) -> pa.Table:
    """Turn anything API users call a table into an Arrow table.

    Parameters
    ----------
    table
        An object with the Arrow PyCapsule interface (pandas, polars, pyarrow, DuckDB …), a 1-D or 2-D NumPy
        array or the same as lists, a dict of arrays, a list of dicts, or a path or glob of Parquet, CSV, JSON
        lines, Arrow or ``.npy`` files.
    feature_names
        Names of the columns of an array, by position; ignored where the table has names of its own. Without
        them a 1-D array is one column ``value``, a 2-D array has ``f0, f1, …``. A table that has none of these
        names and one column of lists takes them by position too, in place of that column.

    Raises
    ------
    BadInput
        The table cannot be read, or ``feature_names`` are no names; the message says what would work.
    ColumnError
        Two columns share a name, columns differ in length, or the array or the lists have another width than
        ``feature_names``.

    Notes
    -----
    Empty CSV cells are missing. A column that mixes types keeps every cell; what cannot be read as the
    column's kind is counted as invalid later. pandas turns NaN into missing, NumPy and polars keep it as a
    value.

    Examples
    --------
    >>> read_table({"age": [31, 44], "city": ["Oslo", None]}).column_names
    ['age', 'city']
    """
    wanted = None if feature_names is None else _names(feature_names)
    found = _read(table, wanted)
    names = checked_names(found.column_names)
    found = found.select([name for name in names if not _PANDAS_INDEX.match(name)])
    return _by_position(found, wanted) if wanted else found


def _names(given: Any) -> list[str]:
    names = [given] if isinstance(given, (str, bytes)) or not isinstance(given, Iterable) else list(given)
    if isinstance(given, (str, bytes)) or not all(isinstance(name, str) for name in names):
        raise BadInput(f"feature_names is a list of names such as ['age', 'income']. Got {shown(given)}")
    return [str(name) for name in names]  # names of an array are NumPy's own


def _by_position(table: pa.Table, names: list[str]) -> pa.Table:
    """The elements of the only column of lists as columns of these names, where the table has none of them.

    One name alone may be that of the list itself, renamed later; only lists of one element are taken apart for it.
    """
    import pyarrow.compute as pc

    lists = [field.name for field in table.schema if is_list_type(field.type)]
    if len(lists) != 1 or set(names) & set(table.column_names):
        return table
    at, column = table.column_names.index(lists[0]), table.column(lists[0])
    least, most = pc.min_max(pc.list_value_length(column)).as_py().values()
    if not least == most == len(names):
        if least is None or len(names) == 1 or table.num_columns > 1:
            return table
        width = f"{most:,}" if least == most else f"{least:,} to {most:,}"
        raise ColumnError(
            f"the lists of {lists[0]!r} have {width} elements, {len(names)} are expected: {', '.join(names)}"
        )
    parts = [(name, pc.list_element(column, i)) for i, name in enumerate(names)]
    table = table.remove_column(at)
    for offset, (name, part) in enumerate(parts):
        table = table.add_column(at + offset, name, part)
    return table


def _read(table: Any, feature_names: Sequence[str] | None) -> pa.Table:
    import pyarrow as pa

    if isinstance(table, pa.Table):
        return table
    if isinstance(table, (str, Path)):
        return read_files(str(table), feature_names)
    if isinstance(table, np.ndarray):
        return from_array(table, feature_names)
    if hasattr(table, "__arrow_c_stream__") or hasattr(table, "__arrow_c_array__"):
        return from_capsule(table, feature_names)
    if isinstance(table, Mapping):
        return from_columns(table)
    if isinstance(table, (list, tuple)):
        return from_list(table, feature_names)
    if hasattr(table, "collect"):
        raise BadInput(f"{type(table).__name__} is lazy: call .collect() and pass the result")
    raise BadInput(
        _INSTEAD.get(type(table).__name__)
        or f"cannot read a table from {type(table).__name__}: pass a data frame (pandas, polars, pyarrow), "
        "a NumPy array, a dict of arrays, a list of dicts, or a path"
    )
