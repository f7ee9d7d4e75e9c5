"""Columns of one number, truth value or text a row."""

from __future__ import annotations

from decimal import Decimal
from typing import TYPE_CHECKING, Any

import numpy as np
import numpy.typing as npt

from driftwell.frame.columns import BOOLEAN_CATEGORIES, CodedColumn, Column, NumericColumn, is_text_type, text_of

if TYPE_CHECKING:
    import pyarrow as pa

__all__ = ["boolean_column", "coded_column", "column_of_cells", "numeric_column"]

EXACT_INTEGERS = 2**53  # up to here float64 holds every integer
EXACT_DIGITS = 15  # up to here every decimal is a float64 of its own


def numeric_column(name: str, column: pa.ChunkedArray) -> NumericColumn:
    """Numbers, truth values or nulls as float64; what float64 cannot hold is rounded to nearest and counted."""
    import pyarrow as pa
    import pyarrow.compute as pc

    if pa.types.is_boolean(column.type) or pa.types.is_null(column.type):
        column = column.cast(pa.int8())
    rounded = _rounded(column)
    if pa.types.is_decimal(column.type):
        column = column.cast(pa.string())  # Arrow's own decimal to float is not correctly rounded, parsing is
    if not pa.types.is_float64(column.type):
        column = pc.cast(column, pa.float64(), safe=False)
    if column.num_chunks > 1:
        column = pa.chunked_array([column.combine_chunks()])
    missing = pc.is_null(column).to_numpy() if column.null_count else None
    values = column.chunk(0).to_numpy(zero_copy_only=False) if column.num_chunks else np.empty(0)
    return NumericColumn(name, np.asarray(values, np.float64), missing, rounded=rounded)


def _rounded(column: pa.ChunkedArray) -> int:
    """How many values do not come back from float64: integers beyond 2**53, decimals of more than 15 digits."""
    import pyarrow as pa
    import pyarrow.compute as pc

    if column.type in (pa.int64(), pa.uint64()):
        low, high = pc.min_max(column).as_py().values()
        if low is None or max(-low, high) <= EXACT_INTEGERS:
            return 0
        whole = column.drop_null().to_numpy()
        return _unequal(whole, whole.astype(np.float64))
    if pa.types.is_decimal(column.type) and column.type.precision > EXACT_DIGITS:
        return sum(_loses(value) for value in column.drop_null().to_pylist())
    return 0


def _unequal(whole: npt.NDArray[Any], held: npt.NDArray[np.float64]) -> int:
    """Integers that differ from their float64; the float just beyond the type's range cannot be cast back."""
    inside = held < float(np.iinfo(whole.dtype).max)
    changed = held[inside].astype(whole.dtype) != whole[inside]
    return int(np.count_nonzero(~inside)) + int(np.count_nonzero(changed))


def _loses(value: Decimal) -> bool:
    digits = len(value.as_tuple().digits)
    return digits > EXACT_DIGITS and Decimal(f"{float(value):.{_places(value)}f}") != value


def _places(value: Decimal) -> int:
    exponent = value.as_tuple().exponent
    return max(0, -exponent) if isinstance(exponent, int) else 0


def coded_column(name: str, column: pa.ChunkedArray) -> CodedColumn:
    """Strings, numbers or truth values as codes of their texts."""
    import pyarrow as pa

    if len(column) == 0 or pa.types.is_null(column.type):
        return CodedColumn(name, np.full(len(column), -1, np.int64), ())
    if not pa.types.is_dictionary(column.type):
        column = column.dictionary_encode()
    array = column.unify_dictionaries().combine_chunks()
    codes = array.indices.cast(pa.int64()).fill_null(-1).to_numpy(zero_copy_only=False)
    texts = array.dictionary.to_pylist()
    if not is_text_type(array.dictionary.type):
        texts = [_category(c) for c in texts]
    return _merge_equal(name, codes, texts)


def _category(value: Any) -> str | None:
    """NaN is no category: it is missing, as in pandas."""
    return None if value is None or value != value else text_of(value)


def _merge_equal(name: str, codes: npt.NDArray[np.int64], texts: list[str | None]) -> CodedColumn:
    """Two dictionary entries may have one text (3 and 3.0) or none (null inside a dictionary)."""
    categories = tuple(dict.fromkeys(t for t in texts if t is not None))
    if len(categories) == len(texts):
        return CodedColumn(name, codes, categories)
    position = {text: i for i, text in enumerate(categories)}
    lookup = np.array([-1 if t is None else position[t] for t in texts] + [-1], np.int64)
    return CodedColumn(name, lookup[codes], categories)


def boolean_column(name: str, column: pa.ChunkedArray) -> CodedColumn:
    """Truth values, or numbers of which only 0 and 1 are valid."""
    numeric = numeric_column(name, column)
    values = numeric.values
    missing = np.isnan(values) if numeric.missing is None else (numeric.missing | np.isnan(values))
    valid = (values == 0) | (values == 1)
    codes = np.where(valid & ~missing, values == 1, -1).astype(np.int64)
    return CodedColumn(name, codes, BOOLEAN_CATEGORIES, int(np.sum(~valid & ~missing)), "boolean")


def column_of_cells(name: str, cells: list[Any], kind: str) -> Column:
    """Cell by cell: what cannot be read as the kind is missing and counted as invalid."""
    if kind == "categorical":
        texts = [None if c is None else text_of(c) for c in cells]
        categories = tuple(dict.fromkeys(t for t in texts if t is not None))
        position = {text: i for i, text in enumerate(categories)}
        codes = np.array([-1 if t is None else position[t] for t in texts], np.int64)
        return CodedColumn(name, codes, categories)
    readable = [isinstance(c, (bool, int, float)) and (kind == "numeric" or c in (0, 1)) for c in cells]
    invalid = sum(c is not None for c in cells) - sum(readable)
    if kind == "boolean":
        codes = np.array([int(c) if ok else -1 for c, ok in zip(cells, readable, strict=True)], np.int64)
        return CodedColumn(name, codes, BOOLEAN_CATEGORIES, invalid, "boolean")
    values = np.array([float(c) if ok else 0.0 for c, ok in zip(cells, readable, strict=True)], np.float64)
    return NumericColumn(name, values, ~np.array(readable, np.bool_), invalid)
