"""An Arrow IPC stream from outside, read within bounds that are checked before anything is decoded.

A stream is small on the wire and may be huge in memory: by compression, by dictionaries and views that repeat one
value, by columns without buffers. What it would become is computed first and refused when it is too much.
"""

from __future__ import annotations

import struct
from collections.abc import Iterator
from typing import TYPE_CHECKING, Any

import msgspec
import numpy as np

from driftwell.errors import BadInput
from driftwell.frame.cells import mixed_type
from driftwell.stores.base import ROW_COLUMNS

if TYPE_CHECKING:
    import pyarrow as pa

__all__ = ["MAX_COLUMNS", "MAX_ROWS", "STREAM_TYPE", "TooLargeError", "batch_to_stream", "read_stream", "unpacked"]

STREAM_TYPE = "application/vnd.apache.arrow.stream"

MAX_ROWS = 100_000
MAX_COLUMNS = 10_000
CELL_BYTES = 8
"""What a cell counts at least, so that columns without buffers cannot be of any number."""

_LAYOUT, _BATCH_LAYOUT = b"driftwell.layout", b"batch-1"
"""Schema metadata of a stream that is a ``PredictionBatch``: features in a struct, other values as JSON text."""
_JSON_COLUMNS = ("prediction", "probability", "metadata")
_ROLES = (*ROW_COLUMNS, "model", "version", "true_label")

_EXTENSION = b"ARROW:extension:name"
_UNCOMPRESSED = -1
_SCHEMA, _DICTIONARY, _BATCH = "schema", "dictionary", "record batch"


class TooLargeError(BadInput):
    """The stream has too many rows, or would be too large in memory."""


def read_stream(body: bytes, *, most_bytes: int, most_rows: int = MAX_ROWS) -> pa.Table:
    """The table of a stream, whole and valid.

    Parameters
    ----------
    most_bytes
        How large it may become in memory, dictionaries and views written out.
    most_rows
        How many rows it may have.

    Raises
    ------
    TooLargeError
        It is larger than that.
    BadInput
        It is no Arrow IPC stream, is cut short, or has columns of a type that is not taken: extension types, maps,
        unions, run-end encoding, list views.
    """
    import pyarrow as pa

    try:
        _check_messages(body, most_bytes)
        with pa.ipc.open_stream(body) as reader:
            _check_schema(reader.schema)
            batches = list(_batches(reader, most_bytes, most_rows))
        return pa.Table.from_batches(batches, reader.schema)
    except (pa.ArrowException, OSError, struct.error, IndexError, ValueError) as exc:
        if isinstance(exc, BadInput):
            raise
        raise BadInput(f"the body is no Arrow IPC stream that can be read: {str(exc)[:200]}") from exc


def _batches(reader: Any, most_bytes: int, most_rows: int) -> Iterator[pa.RecordBatch]:
    rows = size = 0
    for batch in reader:
        rows += batch.num_rows
        if rows > most_rows:
            raise TooLargeError(f"the stream has more than {most_rows} rows: send it in parts")
        batch.validate(full=True)  # offsets and indexes from outside may point anywhere
        size += sum(max(_written_out(column), batch.num_rows * CELL_BYTES) for column in batch.columns)
        if size > most_bytes:
            raise TooLargeError(f"the stream is larger than {most_bytes} bytes in memory: send it in parts")
        yield batch


# -- batches of a client -----------------------------------------------------------------------------------------------


def batch_to_stream(rows: pa.Table) -> bytes:
    """The rows of a ``PredictionBatch`` as a stream that ``unpacked`` understands."""
    import pyarrow as pa

    marked = rows.replace_schema_metadata({_LAYOUT: _BATCH_LAYOUT})
    sink = pa.BufferOutputStream()
    with pa.ipc.new_stream(sink, marked.schema) as writer:
        writer.write_table(marked)
    return bytes(sink.getvalue())


def unpacked(table: pa.Table) -> tuple[pa.Table, dict[str, str]]:
    """A table with one column a feature, and ``{role: column}`` for ``Recorder.offer_table``.

    Of a stream made by ``batch_to_stream`` features keep their names whatever they are, and cells that could not be
    read where they were recorded are the text they were. Any other table is returned as it is.

    Raises
    ------
    BadInput
        A stream says it was made by ``batch_to_stream`` and is not.
    """
    if (table.schema.metadata or {}).get(_LAYOUT) != _BATCH_LAYOUT:
        return table, {}
    import pyarrow as pa

    if tuple(table.column_names) != (*ROW_COLUMNS, "features") or not pa.types.is_struct(table["features"].type):
        raise BadInput("a stream of a client has the columns of a batch and a struct of features")
    texts = {name: table[name].cast(pa.string()) for name in (*_JSON_COLUMNS, "invalid")}
    decoded = {name: [_json(text) for text in column.to_pylist()] for name, column in texts.items()}
    kind = table["features"].type
    names = [kind.field(i).name for i in range(kind.num_fields)]
    columns = dict(zip(names, table["features"].flatten(), strict=True))
    for i, cells in enumerate(decoded["invalid"]):
        for name, text in cells.items() if isinstance(cells, dict) else ():
            found = columns.setdefault(name, [None] * len(table))
            columns[name] = found if isinstance(found, list) else found.to_pylist()
            columns[name][i] = text
    columns = {name: _mixed(one) if isinstance(one, list) else one for name, one in columns.items()}
    for name in ROW_COLUMNS[:-1]:
        column = table[name] if name not in texts else _as_mixed(texts[name])
        columns[_role_column(name)] = column
    return pa.table(columns), {role: _role_column(role) for role in _ROLES}


def _role_column(role: str) -> str:
    """A name that no feature has, so that a feature may be named ``score``."""
    return f"\0{role}"


def _json(text: str | None) -> Any:
    try:
        return None if text is None else msgspec.json.decode(text)
    except (msgspec.DecodeError, RecursionError) as exc:
        raise BadInput("a stream of a client has a cell that is not JSON") from exc


def _mixed(cells: list[Any]) -> pa.Array:
    import pyarrow as pa

    return _as_mixed(pa.array([None if c is None else msgspec.json.encode(c).decode() for c in cells], pa.string()))


def _as_mixed(texts: pa.Array | pa.ChunkedArray) -> pa.Array:
    import pyarrow as pa

    whole = texts.combine_chunks() if isinstance(texts, pa.ChunkedArray) else texts
    return pa.ExtensionArray.from_storage(mixed_type(), whole)


# -- types -----------------------------------------------------------------------------------------------------------


def _check_schema(schema: pa.Schema) -> None:
    if len(schema) > MAX_COLUMNS:
        raise BadInput(f"the stream has {len(schema)} columns, more than {MAX_COLUMNS}")
    if len(set(schema.names)) < len(schema):
        raise BadInput("two columns of the stream have the same name")
    for column in schema:
        _check_type(column.name, column.type)


def _check_type(name: str, kind: pa.DataType) -> None:
    import pyarrow as pa

    types = pa.types
    if types.is_struct(kind):
        inner = [kind.field(i).type for i in range(kind.num_fields)]
    elif types.is_list(kind) or types.is_large_list(kind) or types.is_fixed_size_list(kind):
        inner = [kind.value_type]
    elif types.is_dictionary(kind):
        inner = [kind.value_type]
        if types.is_nested(kind.value_type):
            raise _refused(name, kind)
    else:
        inner = []
        plain = types.is_primitive(kind) or types.is_decimal(kind) or types.is_null(kind) or _is_text(kind)
        if isinstance(kind, pa.BaseExtensionType) or not plain:
            raise _refused(name, kind)
    for one in inner:
        _check_type(name, one)


def _is_text(kind: pa.DataType) -> bool:
    import pyarrow as pa

    return bool(pa.types.is_string(kind) or pa.types.is_large_string(kind) or pa.types.is_string_view(kind))


def _refused(name: str, kind: pa.DataType) -> BadInput:
    return BadInput(f"the column {name[:100]!r} has the type {kind}, which is not taken: cast it to a plain one")


def _written_out(column: pa.Array) -> int:
    """Bytes of a column once dictionaries and views are written out."""
    import pyarrow as pa
    import pyarrow.compute as pc

    kind = column.type
    if pa.types.is_dictionary(kind):
        if not _is_text(kind.value_type):
            return len(column) * CELL_BYTES
        lengths = pc.binary_length(column.dictionary.cast(pa.large_string()))
        return int(pc.sum(lengths.take(column.indices)).as_py() or 0)
    if pa.types.is_string_view(kind):
        return _viewed(column)
    if _is_text(kind):
        return int(pc.sum(pc.cast(pc.binary_length(column), pa.int64())).as_py() or 0)
    if pa.types.is_struct(kind):
        return sum(max(_written_out(one), len(column) * CELL_BYTES) for one in column.flatten())
    if pa.types.is_nested(kind):
        inner = column.flatten()
        return max(_written_out(inner), len(inner) * CELL_BYTES)
    return int(column.nbytes)


def _viewed(column: pa.Array) -> int:
    """Bytes that the views of a column show: each has 16 bytes and begins with its length."""
    lengths = np.frombuffer(column.buffers()[1], np.int32)[::4][column.offset : column.offset + len(column)]
    shown = column.is_valid().to_numpy(zero_copy_only=False)
    return int(lengths[shown].sum(dtype=np.int64))


# -- messages ----------------------------------------------------------------------------------------------------------


def _check_messages(body: bytes, most_bytes: int) -> None:
    """Read what each message says of itself (Arrow's ``Message.fbs``), without decoding any of it."""
    import pyarrow as pa

    size = 0
    messages = pa.ipc.MessageReader.open_stream(body)
    while True:
        try:
            message = messages.read_next_message()
        except StopIteration:
            return
        metadata = message.metadata.to_pybytes()
        if message.type == _SCHEMA and _EXTENSION in metadata:
            raise BadInput("columns of extension types are not taken: cast them to plain ones")
        if message.type not in (_SCHEMA, _DICTIONARY, _BATCH):
            raise BadInput(f"a message of the stream is a {message.type}, which is not taken")
        if message.type != _SCHEMA and message.body is not None:
            size += _decompressed(metadata, message.body, message.type)
        if size > most_bytes:
            raise TooLargeError(f"the stream is larger than {most_bytes} bytes in memory: send it in parts")


def _decompressed(metadata: bytes, body: pa.Buffer, kind: str) -> int:
    """Bytes of the buffers of a batch; a compressed one begins with the number of bytes it becomes."""
    header = _child(metadata, struct.unpack_from("<I", metadata)[0], 2)
    batch = _child(metadata, header, 1) if kind == _DICTIONARY else header
    buffers = _field(metadata, batch, 2)
    if _field(metadata, batch, 3) is None or buffers is None:
        return int(body.size)
    start = buffers + struct.unpack_from("<I", metadata, buffers)[0]
    count = struct.unpack_from("<I", metadata, start)[0]
    size = 0
    for i in range(count):
        offset, length = struct.unpack_from("<qq", metadata, start + 4 + 16 * i)
        if length == 0:
            continue
        if offset < 0 or length < 8 or offset + length > body.size:
            raise BadInput("a buffer of the stream lies outside of its message")
        said = struct.unpack("<q", body.slice(offset, 8).to_pybytes())[0]
        if said < _UNCOMPRESSED:
            raise BadInput("a compressed buffer of the stream has a negative size")
        size += length - 8 if said == _UNCOMPRESSED else said
    return size


def _field(data: bytes, table: int, index: int) -> int | None:
    """Where a field of a FlatBuffers table lies; None where the table leaves it out."""
    layout = table - struct.unpack_from("<i", data, table)[0]
    if layout < 0 or 4 + 2 * index >= struct.unpack_from("<H", data, layout)[0]:
        return None
    offset = struct.unpack_from("<H", data, layout + 4 + 2 * index)[0]
    return table + offset if offset else None


def _child(data: bytes, table: int, index: int) -> int:
    """The table that a field points to."""
    where = _field(data, table, index)
    if where is None:
        raise BadInput("a message of the stream is cut short")
    return int(where + struct.unpack_from("<I", data, where)[0])
