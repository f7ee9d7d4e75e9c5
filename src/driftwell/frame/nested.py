"""Columns that say several things a row: points in time, texts, vectors and series."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import numpy as np

from driftwell.frame.columns import (
    CodedColumn,
    Column,
    DatetimeColumn,
    Moments,
    SeriesColumn,
    TextColumn,
    UnreadColumn,
    VectorColumn,
)
from driftwell.frame.scalars import numeric_column

if TYPE_CHECKING:
    import pyarrow as pa

__all__ = ["as_text", "datetime_column", "empty_column", "moments_of", "series_column", "vector_column"]

_PER_SECOND = {"s": 1, "ms": 10**3, "us": 10**6, "ns": 10**9}
_DAY = 86_400
MAX_LENGTH = 65_536


def empty_column(name: str, rows: int, kind: str) -> Column:
    """A composite column in which every row is missing."""
    missing, none = np.ones(rows, np.bool_), np.zeros(rows, np.int64)
    if kind == "datetime":
        return DatetimeColumn(name, Moments(none, none, missing))
    if kind == "text":
        return TextColumn(name, none - 1, ())
    if kind == "vector":
        return VectorColumn(name, np.empty((0, 0)), missing, None)
    return SeriesColumn(name, np.empty(0), np.empty(0, np.bool_), none, missing)


def as_text(column: CodedColumn) -> TextColumn:
    """The same strings as text instead of categories."""
    return TextColumn(column.name, column.codes, column.categories, column.invalid)


def moments_of(column: pa.ChunkedArray) -> Moments:
    """Timestamps or dates as exact seconds and nanoseconds; a time without a zone is UTC."""
    import pyarrow as pa
    import pyarrow.compute as pc

    missing = pc.is_null(column).combine_chunks().to_numpy(zero_copy_only=False)
    if pa.types.is_date32(column.type):
        days = column.cast(pa.int32()).cast(pa.int64())
        return Moments(_whole(days) * _DAY, np.zeros(len(column), np.int64), missing)
    unit = "ms" if pa.types.is_date64(column.type) else column.type.unit
    seconds, rest = np.divmod(_whole(column.cast(pa.int64())), _PER_SECOND[unit])
    return Moments(seconds, rest * (10**9 // _PER_SECOND[unit]), missing)


def datetime_column(name: str, column: pa.ChunkedArray, event: Moments | None) -> DatetimeColumn:
    """A column of timestamps or dates, with the event times of its rows where they are known."""
    import pyarrow as pa

    return DatetimeColumn(name, moments_of(column), bool(pa.types.is_date(column.type)), event)


def vector_column(name: str, column: pa.ChunkedArray) -> Column:
    """Lists of one length; lists of several lengths are one unread column."""
    import pyarrow as pa

    values, lengths, missing = _lists(column)
    own = lengths[~missing]
    if len(own) == 0:
        fixed = column.type.list_size if pa.types.is_fixed_size_list(column.type) else None
        return VectorColumn(name, np.empty((0, fixed or 0)), missing, fixed)
    if own.min() != own.max():
        return UnreadColumn(
            name, f"vectors of {own.min():,} to {own.max():,} elements where all must have one length", "vector"
        )
    if own.min() == 0 or own.max() > MAX_LENGTH:
        return UnreadColumn(name, f"vectors of {own.max():,} elements where 1 to {MAX_LENGTH:,} are read", "vector")
    table = _numbers(values).reshape(len(own), int(own[0]))
    whole = np.isfinite(table).all(axis=1)
    if not whole.all():
        broken = np.flatnonzero(~missing)[~whole]
        missing = missing.copy()
        missing[broken] = True
        table = table[whole]
    return VectorColumn(name, table, missing, int(own[0]), int(np.count_nonzero(~whole)))


def series_column(name: str, column: pa.ChunkedArray) -> SeriesColumn:
    """Lists of numbers of any length."""
    values, lengths, missing = _lists(column)
    numbers = numeric_column(name, values)
    absent = np.zeros(len(numbers.values), np.bool_) if numbers.missing is None else numbers.missing
    return SeriesColumn(name, numbers.values, absent, lengths, missing)


def _lists(column: pa.ChunkedArray) -> tuple[pa.ChunkedArray, Any, Any]:
    """``(all elements of the rows that are not null, length of each row, which rows are null)``."""
    import pyarrow as pa
    import pyarrow.compute as pc

    missing = pc.is_null(column).combine_chunks().to_numpy(zero_copy_only=False)
    lengths = pc.list_value_length(column).fill_null(0).combine_chunks().to_numpy(zero_copy_only=False)
    # Fixed-size lists keep room for null rows, so these are dropped before the elements are taken.
    kept = column.drop_null() if column.null_count else column
    return pc.list_flatten(kept) if len(kept) else pa.chunked_array([], column.type.value_type), \
        lengths.astype(np.int64), missing  # fmt: skip


def _numbers(values: pa.ChunkedArray) -> Any:
    """Elements as floats of their own width, so that a large table of float32 is not copied; null becomes NaN."""
    import pyarrow as pa

    if pa.types.is_float32(values.type) and not values.null_count:
        return values.to_numpy()
    found = numeric_column("elements", values)
    return found.values if found.missing is None else np.where(found.missing, np.nan, found.values)


def _whole(column: pa.ChunkedArray) -> Any:
    return column.fill_null(0).to_numpy()
