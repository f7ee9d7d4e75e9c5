"""The bytes of a batch: ``narrow`` (what is known of a prediction) and ``rows`` (its features and what goes with them).

Both are Arrow messages of one layout, with nulls for the columns that the other has; ids stand apart, because scripts
read them.
"""

from __future__ import annotations

from collections.abc import Collection, Iterable, Sequence
from functools import cache

import msgspec
import numpy as np
import numpy.typing as npt
import pyarrow as pa

from driftwell.stores.base import ROW_COLUMNS
from driftwell.stores.encoding import ROW_TYPES, columns_of, encode
from driftwell.stores.encoding import decode as decode_columns

__all__ = [
    "NARROW",
    "decode_narrow",
    "encode_narrow",
    "encode_rows",
    "pack_hashes",
    "pack_ids",
    "read_hashes",
    "read_ids",
]

NARROW = ("timestamp", "prediction", "score", "segment", "entity_id", "latency_seconds")


def encode_narrow(flat: pa.Table) -> bytes:
    """The narrow columns of a table made by ``columns_of``."""
    return encode(_without(flat.select(range(len(ROW_COLUMNS) + 1)), set(ROW_COLUMNS) - set(NARROW)))[1]


def encode_rows(flat: pa.Table) -> tuple[bytes, bytes]:
    """``(schema message, rows message)`` of the other columns, features included."""
    return encode(_without(flat, {"prediction_id", *NARROW}))


def decode_narrow(messages: Iterable[bytes]) -> pa.Table:
    """The narrow columns of several batches, one chunk a batch."""
    return decode_columns(_narrow_schema(), messages, NARROW).select(NARROW)


def pack_ids(ids: Sequence[str]) -> bytes:
    """Texts as a script reads them."""
    return msgspec.msgpack.encode(ids)


def read_ids(packed: bytes) -> list[str]:
    """What ``pack_ids`` packed."""
    return msgspec.msgpack.decode(packed, type=list[str])


def pack_hashes(hashes: npt.NDArray[np.int64]) -> bytes:
    """Content hashes, 8 bytes each, the lowest byte first."""
    return hashes.astype("<i8").tobytes()


def read_hashes(packed: bytes) -> npt.NDArray[np.int64]:
    """What ``pack_hashes`` packed."""
    return np.frombuffer(packed, dtype="<i8").astype(np.int64)


def _without(flat: pa.Table, names: Collection[str]) -> pa.Table:
    """The table with nulls in these row columns: no bytes to speak of, and the layout stays."""
    columns = flat.columns
    for position, name in enumerate(ROW_COLUMNS):
        if name in names:
            columns[position] = pa.nulls(flat.num_rows, ROW_TYPES[name])
    return pa.Table.from_arrays(columns, names=flat.column_names)


@cache
def _narrow_schema() -> bytes:
    empty = pa.schema([*ROW_TYPES.items(), ("features", pa.struct([]))]).empty_table()
    return encode(columns_of(empty))[0]
