"""Rows as PostgreSQL's binary COPY takes them, built a column at a time: row by row takes half of an append.

A row is the number of its fields, then of each field its length and its bytes; a null is the length -1.
See "COPY", "Binary Format" in PostgreSQL's manual.
"""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np
import numpy.typing as npt
import pyarrow as pa
import pyarrow.compute as pc

from driftwell.stores.postgres.texts import escape, needs_escape

__all__ = ["binary_rows"]

_HEADER = b"PGCOPY\n\xff\r\n\0" + bytes(8)
_TRAILER = b"\xff\xff"
_BIG_ENDIAN = {"int32": ">i4", "int64": ">i8", "double": ">f8"}

_Bytes = npt.NDArray[np.uint8]
_Field = tuple[npt.NDArray[np.int64], _Bytes]
"""Of each row the length of its bytes, -1 for null; and these bytes, one after the other."""


def binary_rows(columns: Sequence[pa.Array]) -> bytes:
    """A whole COPY of columns of one length: int32, int64, float64 or string, nulls among them.

    >>> binary_rows([pa.array([7, None], pa.int32())])[19:].hex(" ", -2)
    '0001 0000 0004 0000 0007 0001 ffff ffff ffff'
    """
    fields = [_field(column) for column in columns]
    sizes = np.full(len(columns[0]), 2, dtype=np.int64)
    for lengths, _ in fields:
        sizes += 4 + np.maximum(lengths, 0)
    ends = sizes.cumsum()
    out = np.empty(int(ends[-1]) if len(ends) else 0, dtype=np.uint8)
    at = ends - sizes
    at = _put(out, at, _bytes_of(np.full(len(at), len(fields)), ">i2"), np.full(len(at), 2))
    for lengths, content in fields:
        at = _put(out, at, _bytes_of(lengths, ">i4"), np.full(len(at), 4))
        at = _put(out, at, content, np.maximum(lengths, 0))
    return b"".join((_HEADER, out.tobytes(), _TRAILER))


def _field(column: pa.Array) -> _Field:
    if pa.types.is_string(column.type):
        return _texts(column)
    kind = _BIG_ENDIAN[str(column.type)]
    valid = np.asarray(column.is_valid())
    known = column.drop_null().to_numpy(zero_copy_only=False)
    return np.where(valid, int(kind[2]), -1), _bytes_of(known, kind)


def _texts(column: pa.Array) -> _Field:
    lengths, content = _raw_texts(column)
    if needs_escape(content):
        column = pa.array([None if text is None else escape(text) for text in column.to_pylist()], pa.string())
        return _raw_texts(column)
    return lengths, content


def _raw_texts(column: pa.Array) -> _Field:
    lengths = np.where(np.asarray(column.is_valid()), np.asarray(pc.binary_length(column).fill_null(0)), -1)
    known = column.drop_null()
    _, offsets, content = known.buffers()
    if not len(known) or content is None:
        return lengths, np.empty(0, dtype=np.uint8)
    ends = np.frombuffer(offsets, dtype=np.int32)[known.offset : known.offset + len(known) + 1]
    return lengths, np.frombuffer(content, dtype=np.uint8)[ends[0] : ends[-1]]


def _bytes_of(values: npt.NDArray[np.generic], kind: str) -> _Bytes:
    return values.astype(kind).view(np.uint8)


def _put(
    out: _Bytes, at: npt.NDArray[np.int64], content: _Bytes, lengths: npt.NDArray[np.int64]
) -> npt.NDArray[np.int64]:
    """Lay each row's bytes at its place; where the next field of each row begins."""
    before = lengths.cumsum() - lengths
    out[np.repeat(at - before, lengths) + np.arange(len(content))] = content
    return at + lengths
