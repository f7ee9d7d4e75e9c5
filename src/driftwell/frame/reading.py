"""Reading: data frames, arrays, dicts, lists and files become Arrow tables."""

from __future__ import annotations

import glob
import os
import re
from collections import Counter
from collections.abc import Callable, Iterable, Mapping, Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any

import msgspec
import numpy as np
import numpy.typing as npt

from driftwell.errors import BadInput, ColumnError
from driftwell.frame.cells import from_cells

if TYPE_CHECKING:
    import pyarrow as pa

__all__ = ["read_table", "to_arrow"]

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
        them a 1-D array is one column ``value``, a 2-D array has ``f0, f1, …``.

    Raises
    ------
    BadInput
        The table cannot be read; the message says what would work.
    ColumnError
        Two columns share a name, columns differ in length, or the array has another width than
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
    found = _read(table, feature_names)
    names = _checked(found.column_names)
    return found.select([name for name in names if not _PANDAS_INDEX.match(name)])


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


def _read(table: Any, feature_names: Sequence[str] | None) -> pa.Table:
    import pyarrow as pa

    if isinstance(table, pa.Table):
        return table
    if isinstance(table, (str, Path)):
        return _read_files(str(table), feature_names)
    if isinstance(table, np.ndarray):
        return _from_array(table, feature_names)
    if hasattr(table, "__arrow_c_stream__") or hasattr(table, "__arrow_c_array__"):
        return _from_capsule(table, feature_names)
    if isinstance(table, Mapping):
        return _from_columns(table)
    if isinstance(table, (list, tuple)):
        return _from_list(table, feature_names)
    if hasattr(table, "collect"):
        raise BadInput(f"{type(table).__name__} is lazy: call .collect() and pass the result")
    raise BadInput(
        f"cannot read a table from {type(table).__name__}: pass a data frame (pandas, polars, pyarrow), "
        "a NumPy array, a dict of arrays, a list of dicts, or a path"
    )


# -- what is in memory ---------------------------------------------------------------------------------------


def _from_capsule(table: Any, feature_names: Sequence[str] | None) -> pa.Table:
    import pyarrow as pa

    try:
        return pa.table(table)
    except (pa.ArrowException, TypeError, ValueError) as exc:
        if hasattr(table, "columns") and hasattr(table, "items"):
            # pandas refuses the whole frame for one column; column by column the others are kept.
            _checked([str(name) for name in table.columns])
            return _from_columns(dict(table.items()))
        if hasattr(table, "columns"):
            raise BadInput(f"cannot read this {type(table).__name__} as an Arrow table: {exc}") from exc
    return _named([table], feature_names or ["value"])


def _from_array(array: npt.NDArray[Any], feature_names: Sequence[str] | None) -> pa.Table:
    if array.dtype.names:
        return _from_columns({name: array[name] for name in array.dtype.names})
    if array.ndim == 1:
        return _named([array], feature_names or ["value"])
    if array.ndim == 2:
        return _named(list(array.T), feature_names or [f"f{i}" for i in range(array.shape[1])])
    raise BadInput(f"an array must have 1 or 2 dimensions, this one has {array.ndim}")


def _named(columns: Sequence[Any], names: Sequence[str]) -> pa.Table:
    if len(names) != len(columns):
        raise ColumnError(f"the array has {len(columns)} columns, {len(names)} are expected: {', '.join(names)}")
    return _from_columns(dict(zip(names, columns, strict=True)))


def _from_columns(columns: Mapping[Any, Any]) -> pa.Table:
    import pyarrow as pa

    names = _checked([str(name) for name in columns])
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


def _from_list(rows: Sequence[Any], feature_names: Sequence[str] | None) -> pa.Table:
    if not rows:
        return _from_columns({name: [] for name in feature_names or ()})
    if any(isinstance(row, Mapping) for row in rows):
        return _from_records(rows)
    try:
        array = np.asarray(rows)
        if array.dtype.kind not in "biuf":  # NumPy would turn numbers beside text into text
            array = np.asarray(rows, object)
    except ValueError as exc:
        raise BadInput("a list must hold dicts, numbers, or rows of equal length") from exc
    return _from_array(array, feature_names)


def _from_records(rows: Sequence[Any]) -> pa.Table:
    if not all(isinstance(row, Mapping) for row in rows):
        raise BadInput("a list of rows must hold dicts only, or no dict at all")
    keys: dict[Any, None] = {}
    for row in rows:
        keys.update(dict.fromkeys(row))
    return _from_columns({key: [row.get(key) for row in rows] for key in keys})


def _native(values: npt.NDArray[Any]) -> Any:
    """What Arrow can take: this machine's byte order, no extended floats, lists above one dimension."""
    if values.ndim > 1 or values.dtype == object:
        return list(values)
    if values.dtype.kind == "f" and values.dtype.itemsize > 8:
        return values.astype(np.float64)
    return values if values.dtype.isnative else values.astype(values.dtype.newbyteorder("="))


def _checked(names: Sequence[str]) -> list[str]:
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


# -- files ---------------------------------------------------------------------------------------------------


def _read_files(pattern: str, feature_names: Sequence[str] | None) -> pa.Table:
    import pyarrow as pa

    if not pattern:
        raise BadInput("the path of the table is empty")
    is_glob = glob.has_magic(pattern) and not os.path.exists(pattern)
    paths = sorted(glob.glob(pattern, recursive=True)) if is_glob else [pattern]
    if not paths:
        raise BadInput(f"no file matches {pattern}")
    tables = [_read_file(Path(path), feature_names) for path in paths]
    if len(tables) == 1:
        return tables[0]
    try:
        return pa.concat_tables(tables, promote_options="permissive")
    except (pa.ArrowInvalid, pa.ArrowTypeError) as exc:
        raise ColumnError(f"the files of {pattern} do not have the same columns: {exc}") from exc


def _read_file(path: Path, feature_names: Sequence[str] | None) -> pa.Table:
    import pyarrow as pa

    if not os.path.exists(path):  # Path.exists raises for a name too long and a folder that is closed to us
        raise BadInput(f"no such file: {path}")
    reader = _READERS.get(path.suffix.lower())
    if reader is None:
        known = ", ".join(sorted(_READERS))
        raise BadInput(f"cannot read {path}: the suffix must be one of {known}")
    try:
        found = reader(path, feature_names)
        _checked(found.column_names)
        return found
    except BadInput as exc:
        raise type(exc)(f"{path}: {exc}") from exc
    except (pa.ArrowException, msgspec.DecodeError, ValueError, EOFError, OSError) as exc:
        hint = "; save it as UTF-8" if re.search("utf-?8", str(exc), re.IGNORECASE) else ""
        raise BadInput(f"cannot read {path}: {exc}{hint}") from exc


def _parquet(path: Path, _: Sequence[str] | None) -> pa.Table:
    import pyarrow.parquet

    return pyarrow.parquet.read_table(path)


def _feather(path: Path, _: Sequence[str] | None) -> pa.Table:
    import pyarrow.feather

    return pyarrow.feather.read_table(path)


def _csv(path: Path, _: Sequence[str] | None) -> pa.Table:
    import pyarrow as pa
    import pyarrow.csv

    found = pyarrow.csv.read_csv(
        path,
        parse_options=pyarrow.csv.ParseOptions(delimiter="\t" if path.suffix.lower() == ".tsv" else ","),
        convert_options=pyarrow.csv.ConvertOptions(strings_can_be_null=True),
    )
    for field in found.schema:
        if pa.types.is_binary(field.type):  # Arrow's type for text it could not decode
            raise BadInput(f"column {field.name!r} is not UTF-8; save the file as UTF-8")
    return found


def _json_lines(path: Path, feature_names: Sequence[str] | None) -> pa.Table:
    rows = []
    for number, line in enumerate(path.read_bytes().splitlines(), 1):
        try:
            rows += [msgspec.json.decode(line)] if line.strip() else []
        except msgspec.DecodeError as exc:
            raise ValueError(f"line {number}: {exc}") from exc
    return _from_list(rows, feature_names)


def _json(path: Path, feature_names: Sequence[str] | None) -> pa.Table:
    document = msgspec.json.decode(path.read_bytes())
    if isinstance(document, dict):
        document = document.get("predictions")
    if not isinstance(document, list):
        raise BadInput("the file must hold a JSON list of rows")
    return _from_list(document, feature_names)


def _npy(path: Path, feature_names: Sequence[str] | None) -> pa.Table:
    try:
        array = np.load(path, allow_pickle=False)
    except ValueError as exc:
        if "pickle" in str(exc):
            raise BadInput("the file holds pickled objects, which are never read; save an array of numbers") from exc
        raise
    if not isinstance(array, np.ndarray):
        raise BadInput("the file holds several arrays (.npz); save one array with numpy.save")
    return _from_array(array, feature_names)


_READERS: dict[str, Callable[[Path, Sequence[str] | None], pa.Table]] = {
    ".arrow": _feather,
    ".csv": _csv,
    ".feather": _feather,
    ".json": _json,
    ".jsonl": _json_lines,
    ".ndjson": _json_lines,
    ".npy": _npy,
    ".parquet": _parquet,
    ".pq": _parquet,
    ".tsv": _csv,
}
