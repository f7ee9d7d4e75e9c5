"""Typing: each Arrow column becomes numbers or codes of one kind, or says why it cannot."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

import numpy as np
import numpy.typing as npt

from driftwell.errors import UnknownName
from driftwell.frame.cells import mixed_type, to_cells

if TYPE_CHECKING:
    import pyarrow as pa

__all__ = [
    "BOOLEAN_CATEGORIES",
    "KINDS",
    "CodedColumn",
    "Column",
    "Frame",
    "NumericColumn",
    "UnreadColumn",
    "check_kinds",
    "infer_kind",
    "text_of",
]

KINDS = ("numeric", "categorical", "boolean")
BOOLEAN_CATEGORIES = ("false", "true")


@dataclass(frozen=True, slots=True)
class NumericColumn:
    """Float64 values; ``missing`` marks nulls (NaN is a value of its own), ``invalid`` counts unreadable
    cells, which are missing too."""

    name: str
    values: npt.NDArray[np.float64]
    missing: npt.NDArray[np.bool_] | None = None
    invalid: int = 0
    kind: str = "numeric"


@dataclass(frozen=True, slots=True)
class CodedColumn:
    """Codes into ``categories``, -1 where missing; kind ``categorical`` or ``boolean``."""

    name: str
    codes: npt.NDArray[np.int64]
    categories: tuple[str, ...]
    invalid: int = 0
    kind: str = "categorical"


@dataclass(frozen=True, slots=True)
class UnreadColumn:
    """A column that cannot be read as its kind, with the reason; the other columns are not touched."""

    name: str
    reason: str
    kind: str = "unknown"


Column = NumericColumn | CodedColumn | UnreadColumn


@dataclass(frozen=True, slots=True)
class Frame:
    """Typed columns of equal length."""

    columns: dict[str, Column]
    n_rows: int

    @staticmethod
    def of(table: pa.Table, *, kinds: Mapping[str, str] | None = None, names: Sequence[str] | None = None) -> Frame:
        """Type the columns ``names`` (default: all) by ``kinds`` where given, else by ``infer_kind``."""
        check_kinds(kinds)
        chosen = list(names) if names is not None else table.column_names
        return Frame({n: _typed(n, table.column(n), (kinds or {}).get(n)) for n in chosen}, table.num_rows)


def check_kinds(kinds: Mapping[str, str] | None) -> None:
    """Refuse a kind that is not known."""
    for kind in (kinds or {}).values():
        if kind not in KINDS:
            raise UnknownName("column kind", kind, KINDS)


def infer_kind(data: pa.DataType) -> str | None:
    """The kind of an Arrow type: numbers are numeric, booleans boolean, strings and dictionaries categorical.

    None means the type has no kind yet (times, lists, structs, bytes).
    """
    import pyarrow.types as types

    if types.is_boolean(data):
        return "boolean"
    if types.is_integer(data) or types.is_floating(data) or types.is_decimal(data) or types.is_null(data):
        return "numeric"
    if types.is_dictionary(data) or _is_text(data):
        return "categorical"
    return None


def text_of(value: Any) -> str:
    """The canonical text of a category: ``3.0`` and ``3`` are both ``"3"``, ``True`` is ``"true"``."""
    if isinstance(value, (bool, np.bool_)):
        return "true" if value else "false"
    if isinstance(value, (float, np.floating)):
        number = float(value)
        return str(int(number)) if number.is_integer() and abs(number) < 2**53 else repr(number)
    return str(value)


def _is_text(data: pa.DataType) -> bool:
    import pyarrow.types as types

    return bool(types.is_string(data) or types.is_large_string(data) or types.is_string_view(data))


def _typed(name: str, column: pa.ChunkedArray, kind: str | None) -> Column:
    import pyarrow as pa

    if column.type == mixed_type():
        return _read_cells(name, to_cells(column), kind or "categorical")
    own = infer_kind(column.type)
    if own is None:
        return UnreadColumn(name, f"columns of type {column.type} have no kind in this version")
    wanted = kind or own
    if wanted == "categorical":
        return _coded(name, column)
    if pa.types.is_dictionary(column.type):
        return _typed(name, column.cast(column.type.value_type), wanted)
    if own == "categorical":
        if column.null_count == len(column):
            return _read_cells(name, [None] * len(column), wanted)
        return UnreadColumn(name, f"text where {wanted} values were expected: the type of the column changed", wanted)
    if wanted == "boolean":
        return _boolean(name, column)
    return _numeric(name, column)


def _numeric(name: str, column: pa.ChunkedArray) -> NumericColumn:
    import pyarrow as pa
    import pyarrow.compute as pc

    if pa.types.is_boolean(column.type) or pa.types.is_null(column.type):
        column = column.cast(pa.int8())
    if pa.types.is_decimal(column.type):
        column = column.cast(pa.string())  # Arrow's own decimal to float is not correctly rounded, parsing is
    if not pa.types.is_float64(column.type):
        column = pc.cast(column, pa.float64(), safe=False)
    if column.num_chunks > 1:
        column = pa.chunked_array([column.combine_chunks()])
    missing = pc.is_null(column).to_numpy() if column.null_count else None
    values = column.chunk(0).to_numpy(zero_copy_only=False) if column.num_chunks else np.empty(0)
    return NumericColumn(name, np.asarray(values, np.float64), missing)


def _coded(name: str, column: pa.ChunkedArray) -> CodedColumn:
    import pyarrow as pa

    if len(column) == 0 or pa.types.is_null(column.type):
        return CodedColumn(name, np.full(len(column), -1, np.int64), ())
    if not pa.types.is_dictionary(column.type):
        column = column.dictionary_encode()
    array = column.unify_dictionaries().combine_chunks()
    codes = array.indices.cast(pa.int64()).fill_null(-1).to_numpy(zero_copy_only=False)
    texts = array.dictionary.to_pylist()
    if not _is_text(array.dictionary.type):
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


def _boolean(name: str, column: pa.ChunkedArray) -> CodedColumn:
    numeric = _numeric(name, column)
    values = numeric.values
    missing = np.isnan(values) if numeric.missing is None else (numeric.missing | np.isnan(values))
    valid = (values == 0) | (values == 1)
    codes = np.where(valid & ~missing, values == 1, -1).astype(np.int64)
    return CodedColumn(name, codes, BOOLEAN_CATEGORIES, int(np.sum(~valid & ~missing)), "boolean")


def _read_cells(name: str, cells: list[Any], kind: str) -> Column:
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
