"""Rows of a batch as bytes and back: an Arrow IPC stream cut in two, the schema message and the rows message.

The schema of a model hardly ever changes and is stored once; the rows of many batches are read in one go by
setting their messages behind it. Features are written as columns of their own, so that one can be read alone.
"""

from __future__ import annotations

import zlib
from collections.abc import Collection, Iterable, Sequence

import msgspec
import numpy as np
import pyarrow as pa

from driftwell.errors import BadInput, FormatError
from driftwell.stores.base import ROW_COLUMNS

__all__ = [
    "ROW_TYPES",
    "blank_rows",
    "columns_of",
    "decode",
    "decode_whole",
    "encode",
    "no_rows",
    "public_names",
    "unite",
]

ROW_TYPES: dict[str, pa.DataType] = {
    **dict.fromkeys(ROW_COLUMNS, pa.string()),
    "timestamp": pa.timestamp("us", "UTC"),
    "score": pa.float64(),
    "latency_seconds": pa.float64(),
}
SMALL_ROWS = 64
"""Below this a rows message is squeezed as a whole: Arrow squeezes column by column, which only adds then."""

_HAS_FEATURES = len(ROW_COLUMNS)  # position of the column that tells a row without features from one of nulls
_FIRST_FEATURE = _HAS_FEATURES + 1
_RESERVED = {"version", "true_label", "label_time", *ROW_COLUMNS}
_END_OF_STREAM = b"\xff\xff\xff\xff\x00\x00\x00\x00"


def columns_of(rows: pa.Table) -> pa.Table:
    """The flat table that is stored: row columns in their types, whether there were features, the features.

    Raises ``BadInput`` when a row column is missing, of another type, or has an id or time that is null.
    """
    flat = {name: _row_column(rows, name) for name in ROW_COLUMNS}
    if flat["prediction_id"].null_count or flat["timestamp"].null_count:
        raise BadInput("every row of a batch needs a prediction_id and a timestamp")
    features = _features(rows)
    children = [_plain(child) for child in features.flatten()]
    names = [*flat, "features", *(f.name for f in features.type)]
    return pa.Table.from_arrays([*flat.values(), features.is_valid(), *children], names=names)


def encode(flat: pa.Table) -> tuple[bytes, bytes]:
    """``(schema message, rows message)`` of a table made by ``columns_of``."""
    small = flat.num_rows < SMALL_ROWS
    # Arrow's own threads do not survive a fork, and the caller's process should not feel them.
    options = pa.ipc.IpcWriteOptions(compression=None if small else "zstd", use_threads=False)
    sink = pa.BufferOutputStream()
    with pa.ipc.new_stream(sink, flat.schema, options=options) as writer:
        writer.write_table(flat.combine_chunks())
    stream = sink.getvalue().to_pybytes()
    cut = flat.schema.serialize().size
    rows = stream[cut:].removesuffix(_END_OF_STREAM)
    return stream[:cut], zlib.compress(rows, 1) if small else rows


def blank_rows(schema: bytes, message: bytes, rows: Sequence[int]) -> bytes:
    """The rows message in which these rows hold nothing any more; the others stay where they are."""
    flat = _read_messages(schema, [message], [])
    index = np.arange(flat.num_rows)
    blanked = flat.take(pa.array(index, mask=np.isin(index, rows)))
    has_features = blanked.column(_HAS_FEATURES).fill_null(False)
    return encode(blanked.set_column(_HAS_FEATURES, flat.schema.field(_HAS_FEATURES), has_features))[1]


def decode(schema: bytes, messages: Iterable[bytes], columns: Collection[str] | None = None) -> pa.Table:
    """The rows of several messages of one schema under their public names, one chunk a message.

    ``columns`` spares reading the others; at least one column always comes back. Raises ``FormatError`` when
    the bytes are not what ``encode`` made.
    """
    names = public_names(_read_schema(schema))
    fields = [i for i, name in enumerate(names) if name and (columns is None or name in columns)] or [0]
    return _read_messages(schema, messages, fields).rename_columns([names[i] for i in fields])


def decode_whole(schema: bytes, messages: Iterable[bytes]) -> pa.Table:
    """The rows of several messages of one schema as ``PredictionBatch.rows``: the features in one struct."""
    flat = _read_messages(schema, messages, [])
    flat = flat.combine_chunks()
    fields = list(flat.schema)[_FIRST_FEATURE:]
    missing = pa.array(~flat.column(_HAS_FEATURES).to_numpy())
    if fields:
        children = [_one_chunk(flat.column(i)) for i in range(_FIRST_FEATURE, flat.num_columns)]
        features = pa.StructArray.from_arrays(children, fields=fields, mask=missing)
    else:
        features = pa.array([None if none else {} for none in missing.to_pylist()], pa.struct([]))
    return flat.select(list(range(_HAS_FEATURES))).append_column("features", features)


def no_rows() -> pa.Table:
    """``PredictionBatch.rows`` of a batch whose rows are gone."""
    return pa.schema(ROW_TYPES | {"features": pa.struct([])}).empty_table()


def public_names(schema: pa.Schema) -> list[str]:
    """The names by which ``read`` shows the columns of a stored schema; '' for the one it does not show.

    A feature named like a row column becomes ``feature.<name>``.
    """
    names = dict.fromkeys([*ROW_COLUMNS, ""])
    for name in schema.names[_FIRST_FEATURE:]:
        while name in _RESERVED or name in names:
            name = f"feature.{name}"
        names[name] = None
    return list(names)


def unite(tables: Sequence[pa.Table]) -> pa.Table:
    """One table of all: missing columns become null, numbers widen, kinds that clash become text."""
    try:
        return pa.concat_tables(tables, promote_options="permissive")
    except (pa.ArrowInvalid, pa.ArrowTypeError):
        clashing = _clashing(tables)
        return pa.concat_tables([_texts(t, clashing) for t in tables], promote_options="permissive")


def _read_schema(schema: bytes) -> pa.Schema:
    try:
        return pa.ipc.read_schema(pa.py_buffer(schema))
    except (pa.ArrowException, OSError) as exc:
        raise _damaged(exc) from exc


def _read_messages(schema: bytes, messages: Iterable[bytes], fields: list[int]) -> pa.Table:
    try:
        stream = b"".join([schema, *(m if m[:1] == b"\xff" else zlib.decompress(m) for m in messages)])
        options = pa.ipc.IpcReadOptions(use_threads=False, included_fields=fields)
        return pa.ipc.open_stream(stream, options=options).read_all()
    except (pa.ArrowException, OSError, zlib.error) as exc:
        raise _damaged(exc) from exc


def _damaged(exc: Exception) -> FormatError:
    return FormatError(f"stored rows cannot be read, the store is damaged: {exc}")


def _row_column(rows: pa.Table, name: str) -> pa.ChunkedArray:
    try:
        return rows.column(name).cast(ROW_TYPES[name])
    except (KeyError, pa.ArrowInvalid, pa.ArrowNotImplementedError) as exc:
        raise BadInput(f"a batch needs a column {name!r} of type {ROW_TYPES[name]}: {exc}") from exc


def _features(rows: pa.Table) -> pa.StructArray:
    kind = rows.schema.field("features").type if "features" in rows.column_names else None
    if kind == pa.null():
        return pa.array([None] * len(rows), pa.struct([]))
    if kind is None or not pa.types.is_struct(kind):
        raise BadInput("a batch needs a column 'features' that is a struct")
    return rows.column("features").combine_chunks()


def _plain(column: pa.Array) -> pa.Array:
    """Dictionaries are written out: they would have to travel with every message."""
    return column.dictionary_decode() if pa.types.is_dictionary(column.type) else column


def _one_chunk(column: pa.ChunkedArray) -> pa.Array:
    return column.combine_chunks() if column.num_chunks != 1 else column.chunk(0)


def _clashing(tables: Sequence[pa.Table]) -> set[str]:
    kinds: dict[str, pa.Schema] = {}
    clashing = set()
    for field in (field for table in tables for field in table.schema):
        one = pa.schema([field.with_nullable(True)])
        try:
            known = [kinds[field.name]] if field.name in kinds else []
            kinds[field.name] = pa.unify_schemas([*known, one], promote_options="permissive")
        except (pa.ArrowInvalid, pa.ArrowTypeError):
            clashing.add(field.name)
    return clashing


def _texts(table: pa.Table, names: set[str]) -> pa.Table:
    for name in names & set(table.column_names):
        table = table.set_column(table.column_names.index(name), name, _as_text(table.column(name)))
    return table


def _as_text(column: pa.ChunkedArray) -> pa.ChunkedArray:
    if pa.types.is_nested(column.type):
        values = [None if v is None else msgspec.json.encode(v).decode() for v in column.to_pylist()]
        return pa.chunked_array([pa.array(values, pa.string())])
    return column.cast(pa.string())
