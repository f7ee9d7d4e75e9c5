"""Items as entries of a spool, and back."""

from __future__ import annotations

import io
from collections.abc import Callable, Sequence
from functools import partial
from typing import TYPE_CHECKING, Any

import msgspec

from driftwell.capture.records import Bundle, Item, LabelItem, LabelTicket, Record, TableRows

if TYPE_CHECKING:
    import pyarrow as pa

__all__ = ["decode_entry", "encode_entry"]

_RECORD, _TABLE, _LABEL = range(3)

_encode = msgspec.msgpack.Encoder().encode
_decode = msgspec.msgpack.Decoder().decode


def encode_entry(items: Sequence[Item | Bundle], chunk_id: str | None = None) -> bytes:
    """One entry that holds these items. ``chunk_id``: they are stored together, under this id.

    Raises ``UnicodeEncodeError`` for an id or a name that is no text; such an item cannot be stored anyway.
    """
    return _encode((chunk_id, [_parts(one) for item in items for one in _single(item)]))


def decode_entry(
    content: memoryview, position: int, ticket: Callable[[int], LabelTicket]
) -> tuple[str | None, list[Item]]:
    """``(chunk_id, items)`` of the entry before a position; ``ticket(position)`` is that of a label.

    Raises ``ValueError`` for what is no entry.
    """
    try:
        chunk_id, parts = _decode(content)
        place = position if chunk_id is None else 0  # a chunk was in memory only when it was stored first
        return chunk_id, [_item(one, place, partial(ticket, position)) for one in parts]
    except (TypeError, IndexError, KeyError, OSError) as exc:
        raise ValueError("no entry of a spool") from exc


def _single(item: Item | Bundle) -> Sequence[Item]:
    return item.records if isinstance(item, Bundle) else (item,)


def _parts(item: Item) -> tuple[Any, ...]:
    if isinstance(item, Record):
        return (_RECORD, *item[:5])
    if isinstance(item, TableRows):
        unplaced = () if item.unplaced is None else (dict(item.unplaced),)
        table = _table_bytes(item.table)
        return (_TABLE, item.model, item.version, item.ids, item.arrived, table, dict(item.roles), *unplaced)
    return (_LABEL, item.model, item.prediction_id, item.arrived, item.frozen)


def _item(parts: list[Any], place: int, ticket: Callable[[], LabelTicket]) -> Item:
    kind, *rest = parts
    if kind == _RECORD:
        model, version, prediction_id, arrived, frozen = rest
        return Record(model, version, prediction_id, arrived, frozen, place)
    if kind == _LABEL:
        model, prediction_id, arrived, frozen = rest
        return LabelItem(model, prediction_id, arrived, frozen, ticket(), place)
    if kind != _TABLE:
        raise ValueError(f"no kind of item: {kind}")
    model, version, ids, arrived, table, roles, *unplaced = rest
    return TableRows(model, version, ids, arrived, _table(table), roles, place, *unplaced)


def _table_bytes(table: pa.Table) -> bytes:
    import pyarrow as pa

    out = io.BytesIO()
    with pa.ipc.new_stream(out, table.schema) as writer:
        writer.write_table(table)
    return out.getvalue()


def _table(data: bytes) -> pa.Table:
    import pyarrow as pa

    with pa.ipc.open_stream(data) as reader:
        return reader.read_all()
