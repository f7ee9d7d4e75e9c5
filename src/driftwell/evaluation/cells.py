"""Labels, predictions and scores as people give them become numbers or coded texts that can be compared.

Two columns are compared as numbers when each holds numbers or booleans, or text that spells them while
another column holds numbers; otherwise both are compared by their text. So 1, 1.0, True and "1" beside
numbers are one class.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

import msgspec
import numpy as np
import numpy.typing as npt
import pyarrow as pa
import pyarrow.compute as pc

from driftwell.errors import BadInput
from driftwell.frame import text_of

__all__ = ["Cells", "Numbers", "Texts", "as_numbers", "as_texts", "read_cells"]

Floats = npt.NDArray[np.float64]
Ints = npt.NDArray[np.int64]

_EXACT = 2**53
_WORDS = {"true": 1.0, "false": 0.0}


@dataclass(frozen=True, slots=True)
class Numbers:
    """Float64 values, NaN where missing or not finite; ``boolean`` when they were true and false."""

    values: Floats
    boolean: bool = False


@dataclass(frozen=True, slots=True)
class Texts:
    """Codes into ``texts``, -1 where missing."""

    codes: Ints
    texts: tuple[str, ...]


Cells = Numbers | Texts


def read_cells(values: Any) -> Cells:
    """Read one column: a list, a NumPy array, an Arrow array, or a pandas or polars series.

    None, NaN and infinite numbers are missing. A list that mixes types is read cell by cell. Integers
    beyond 2^53 (hashes used as class names) are kept apart as texts. Cost: about 30 ns a value, no Python
    loop over plain types.

    Examples
    --------
    >>> read_cells([1, None, 2.5]).values
    array([1. , nan, 2.5])
    >>> read_cells(["late", None, "late"])
    Texts(codes=array([ 0, -1,  0]), texts=('late',))
    """
    if isinstance(values, np.ndarray) and values.ndim != 1:
        if values.size != len(values):
            raise BadInput(f"labels, predictions and scores are one value a row, not an array of shape {values.shape}")
        values = values.ravel()
    if isinstance(values, np.ndarray) and values.dtype.kind in "biuf" and not _beyond_exact(values):
        return Numbers(_finite(values.astype(np.float64)), values.dtype.kind == "b")
    array = _arrow(values)
    return _mixed(values) if array is None else _from_arrow(array)


def as_numbers(columns: Sequence[Cells], *, force: bool = False) -> list[Floats] | None:
    """All columns as float64 with NaN where missing, or None when they must be compared by text.

    ``force`` makes numbers of everything; what is not a number is missing then.

    Examples
    --------
    >>> as_numbers([read_cells([1, 0]), read_cells(["1", "false"])])
    [array([1., 0.]), array([1., 0.])]
    """
    if not force and not any(isinstance(c, Numbers) for c in columns):
        return None
    found = []
    for column in columns:
        if isinstance(column, Numbers):
            found.append(column.values)
            continue
        parsed = np.array([_number(t) for t in column.texts] + [np.nan])
        if not force and np.isnan(parsed[:-1]).any():
            return None
        found.append(parsed[column.codes])
    return found


def as_texts(columns: Sequence[Cells]) -> tuple[list[Ints], tuple[str, ...]]:
    """All columns as codes into one sorted list of texts, -1 where missing.

    Examples
    --------
    >>> as_texts([read_cells(["b", "a"]), read_cells(["b", None])])
    ([array([1, 0]), array([ 1, -1])], ('a', 'b'))
    """
    coded = [_spell(c) if isinstance(c, Numbers) else c for c in columns]
    classes = sorted({text for column in coded for text in column.texts})
    position = {text: i for i, text in enumerate(classes)}
    lookups = [np.array([position[t] for t in c.texts] + [-1], np.int64) for c in coded]
    return [lookup[c.codes] for lookup, c in zip(lookups, coded, strict=True)], tuple(classes)


def _arrow(values: Any) -> pa.Array | None:
    """The column as an Arrow array, or None when it mixes types."""
    if isinstance(values, pa.ChunkedArray):
        return values.combine_chunks()
    if isinstance(values, pa.Array):
        return values
    if hasattr(values, "__arrow_c_stream__"):
        return pa.chunked_array(values).combine_chunks()
    try:
        return pa.array(values if hasattr(values, "__array__") else list(values))
    except (pa.ArrowInvalid, pa.ArrowTypeError, pa.ArrowNotImplementedError, OverflowError):
        return None


def _from_arrow(array: pa.Array) -> Cells:
    if isinstance(array, pa.ChunkedArray):  # a chunked array of no chunks stays chunked
        array = pa.concat_arrays(array.chunks) if array.num_chunks else pa.nulls(0)
    kind = array.type
    if pa.types.is_boolean(kind):
        return Numbers(_to_floats(array.cast(pa.uint8())), boolean=True)
    if pa.types.is_integer(kind) and _wide(array):
        return _dictionary(array.cast(pa.string()))
    if pa.types.is_integer(kind) or pa.types.is_floating(kind) or pa.types.is_decimal(kind):
        return Numbers(_finite(_to_floats(array)))
    if pa.types.is_dictionary(kind):
        return _dictionary(array) if _is_text(kind.value_type) else _from_arrow(array.dictionary_decode())
    if getattr(kind, "vendor_name", None) == "driftwell":  # a column of mixed types, as read_table keeps it
        return _mixed([None if c is None else msgspec.json.decode(c) for c in array.storage.to_pylist()])
    return _dictionary(array) if _is_text(kind) else _mixed(array.to_pylist())


def _to_floats(array: pa.Array) -> Floats:
    floats: Floats = pc.cast(array, pa.float64(), safe=False).to_numpy(zero_copy_only=False)
    return floats


def _dictionary(array: pa.Array) -> Cells:
    if not pa.types.is_dictionary(array.type):
        array = array.dictionary_encode()
    codes = array.indices.fill_null(-1).to_numpy(zero_copy_only=False).astype(np.int64)
    known = array.dictionary.to_pylist()
    if None in known or len(set(known)) != len(known):
        return _mixed([None if c < 0 else known[c] for c in codes.tolist()])
    return Texts(codes, tuple(known))


def _mixed(values: Any) -> Cells:
    """Cell by cell: numbers if every cell is one, else texts."""
    cells = [c.item() if isinstance(c, np.generic) else c for c in values]
    cells = [None if isinstance(c, float) and not np.isfinite(c) else c for c in cells]
    present = [c for c in cells if c is not None]
    if present and all(isinstance(c, (bool, int, float)) and abs(c) <= _EXACT for c in present):
        values = np.array([np.nan if c is None else float(c) for c in cells])
        return Numbers(values, boolean=all(isinstance(c, bool) for c in present))
    texts = [None if c is None else text_of(c) for c in cells]
    position = {text: i for i, text in enumerate(dict.fromkeys(t for t in texts if t is not None))}
    return Texts(np.array([-1 if t is None else position[t] for t in texts], np.int64), tuple(position))


def _spell(column: Numbers) -> Texts:
    present = ~np.isnan(column.values)
    distinct, inverse = np.unique(column.values[present], return_inverse=True)
    codes = np.full(column.values.size, -1, np.int64)
    codes[present] = inverse
    return Texts(codes, tuple(text_of(bool(v) if column.boolean else float(v)) for v in distinct))


def _number(text: str) -> float:
    word = text.strip().lower()
    try:
        number = _WORDS[word] if word in _WORDS else float(word)
    except ValueError:
        return np.nan
    return number if np.isfinite(number) else np.nan


def _finite(values: Floats) -> Floats:
    """Infinite values become NaN; the array is new, so it may be changed."""
    infinite = np.isinf(values)
    return np.where(infinite, np.nan, values) if infinite.any() else values


def _beyond_exact(values: npt.NDArray[Any]) -> bool:
    return values.dtype.kind in "iu" and values.dtype.itemsize == 8 and _wide(pa.array(values.ravel()))


def _wide(array: pa.Array) -> bool:
    ends = pc.min_max(array).as_py()
    return ends["min"] is not None and (ends["max"] > _EXACT or ends["min"] < -_EXACT)


def _is_text(kind: pa.DataType) -> bool:
    return bool(pa.types.is_string(kind) or pa.types.is_large_string(kind) or pa.types.is_string_view(kind))
