"""Records become one ``PredictionBatch``: fields read, features in columns of one kind, a content hash a row."""

from __future__ import annotations

import hashlib
import math
import time
from collections.abc import Iterable, Iterator, Sequence
from dataclasses import dataclass
from itertools import repeat
from typing import TYPE_CHECKING, Any, NamedTuple, TypeVar

import msgspec
import numpy as np
import numpy.typing as npt

from driftwell.capture import fields
from driftwell.capture.cells import Cells, Shape, named_cells
from driftwell.capture.fields import Notes
from driftwell.capture.ids import is_usable
from driftwell.capture.readers import ARROW_TYPES, read_column
from driftwell.capture.records import Fields, Record, TableRows
from driftwell.capture.snapshot import RefusedError, Unread, thaw
from driftwell.capture.tables import columns_of, fields_of
from driftwell.stores.base import ROW_COLUMNS, Label, PredictionBatch

if TYPE_CHECKING:
    import pyarrow as pa

__all__ = ["Prepared", "batch_of_records", "batch_of_table", "label_of", "rows_as_dicts"]

_TYPES = {"timestamp": "timestamp", "score": "float64", "latency_seconds": "float64"}

POLITE_ROWS = 64
Item = TypeVar("Item")

_hash_text = msgspec.msgpack.Encoder().encode


class Row(NamedTuple):
    """One record's fields as a store keeps them, in the order of ``ROW_COLUMNS`` (without ``invalid``)."""

    prediction_id: str
    time_us: int
    prediction: str | None
    score: float | None
    probability: str | None
    segment: str | None
    entity_id: str | None
    latency_seconds: float | None
    metadata: str | None


@dataclass(frozen=True, slots=True)
class Prepared:
    """A batch ready to be stored, its labels, and what was noticed on the way."""

    batch: PredictionBatch
    labels: Sequence[Label]
    latencies: Sequence[float]
    notes: Notes


class _Columns(NamedTuple):
    names: list[str]
    kinds: list[str]
    values: list[list[Any]]
    invalid: dict[int, dict[str, str]]


def batch_of_records(batch_id: str, model: str, version: str, records: Sequence[Record], shape: Shape) -> Prepared:
    """Read records of one model version; what cannot be kept is counted in ``notes.rejected``."""
    notes = Notes()
    rows: list[Row] = []
    cells: list[Cells | None] = []
    labels: list[Label] = []
    arrived_us = 0
    for record in _politely(records):
        arrived_us = round(record.arrived * 1e6)
        try:
            read = Fields(*thaw(record.frozen))
            own = named_cells(read.features, shape)
            rows.append(_read_row(record.prediction_id, read, arrived_us, shape, notes))
        except RefusedError as refused:
            notes.rejected[refused.reason] += 1
            continue
        except (ValueError, TypeError, RecursionError):  # nested deeper than can be read back
            notes.rejected["unreadable"] += 1
            continue
        cells.append(own)
        labels += _own_label(model, rows[-1].prediction_id, read.true_label, arrived_us, notes)
    names = shape.names_of(cells, notes.ignored)
    columns = _read_columns({n: [c.get(n) if c else None for c in cells] for n in names}, shape)
    absent = [own is None for own in cells]
    return _prepared(batch_id, model, version, rows, columns, absent, labels, notes, arrived_us)


def batch_of_table(batch_id: str, item: TableRows, shape: Shape) -> Prepared:
    """Read rows of a table; what cannot be kept is counted in ``notes.rejected``."""
    notes = Notes()
    arrived_us = round(item.arrived * 1e6)
    rows: list[Row] = []
    kept: list[int] = []
    labels: list[Label] = []
    for i, read in enumerate(_politely(fields_of(item, notes))):
        try:
            rows.append(_read_row(item.ids[i], read, arrived_us, shape, notes))
        except RefusedError as refused:
            notes.rejected[refused.reason] += 1
            continue
        kept.append(i)
        labels += _own_label(item.model, rows[-1].prediction_id, read.true_label, arrived_us, notes)
    found = columns_of(item, shape, notes)
    if len(kept) < item.rows:
        found = {name: [values[i] for i in kept] for name, values in found.items()}
    columns = _read_columns(found, shape)
    absent = [False] * len(rows)
    return _prepared(batch_id, item.model, item.version, rows, columns, absent, labels, notes, arrived_us)


def label_of(prediction_id: str, true_label: Any, timestamp: Any, arrived_us: int, model: str | None) -> Label:
    """A label as a store keeps it; raises ``RefusedError`` where there is no truth in it or no time."""
    if isinstance(true_label, Unread) and not true_label.text:
        raise RefusedError("true_label")
    if not is_usable(prediction_id):
        raise RefusedError("prediction_id")
    text = fields.read_json(true_label, "true_label")
    if text is None or text == "null":
        raise RefusedError("true_label")
    return Label(prediction_id, text, fields.read_time(timestamp, arrived_us, Notes()), model)


def rows_as_dicts(prepared: Prepared) -> list[dict[str, Any]]:
    """The rows of a batch in the form of ``PredictionStore.recent``."""
    batch = prepared.batch
    labels = {label.prediction_id: msgspec.json.decode(label.true_label) for label in prepared.labels}
    out = []
    for row in batch.rows.to_pylist():
        for name in ("prediction", "probability", "metadata", "invalid"):
            row[name] = None if row[name] is None else msgspec.json.decode(row[name])
        row["true_label"] = labels.get(row["prediction_id"])
        out.append(row | {"model": batch.model, "version": batch.version})
    return out


def _politely(items: Iterable[Item]) -> Iterator[Item]:
    """The items, letting the application's threads run in between: Python alone would make them wait for 5 ms."""
    for i, item in enumerate(items):
        if not i % POLITE_ROWS:
            time.sleep(0)
        yield item


def _own_label(model: str, prediction_id: str, true_label: Any, arrived_us: int, notes: Notes) -> list[Label]:
    if true_label is None or (isinstance(true_label, float) and math.isnan(true_label)):
        return []
    try:
        return [label_of(prediction_id, true_label, None, arrived_us, model)]
    except RefusedError:
        notes.labels_rejected += 1
        return []


def _read_row(prediction_id: str, read: Fields, arrived_us: int, shape: Shape, notes: Notes) -> Row:
    if not is_usable(prediction_id):
        raise RefusedError("prediction_id")
    probability, implied = fields.read_probability(read.probability, shape.classes)
    score = fields.read_number(read.score, "score")
    return Row(
        prediction_id,
        fields.read_time(read.timestamp, arrived_us, notes),
        fields.read_json(read.prediction, "prediction"),
        implied if score is None else score,
        probability,
        fields.read_text(read.segment, "segment"),
        fields.read_text(read.entity_id, "entity_id"),
        fields.read_non_negative(read.latency_seconds, "latency_seconds"),
        fields.read_metadata(read.metadata),
    )


def _read_columns(found: dict[str, list[Any]], shape: Shape) -> _Columns:
    """Type each column. One without any value that has a kind is left out: nothing says yet what it is."""
    names, kinds, columns = [], [], []
    invalid: dict[int, dict[str, str]] = {}
    for name, values in found.items():
        kind = shape.kind(name, values)
        read, unread = read_column(values, kind or "numeric", length=shape.length(name, values))
        for i, text in unread.items():
            invalid.setdefault(i, {})[name] = text
        if kind is not None:
            names.append(name)
            kinds.append(kind)
            columns.append(read)
    return _Columns(names, kinds, columns, invalid)


def _prepared(
    batch_id: str,
    model: str,
    version: str,
    rows: Sequence[Row],
    columns: _Columns,
    absent: Sequence[bool],
    labels: Sequence[Label],
    notes: Notes,
    arrived_us: int,
) -> Prepared:
    invalid = [
        msgspec.json.encode(columns.invalid[i]).decode() if i in columns.invalid else None for i in range(len(rows))
    ]
    batch = PredictionBatch(
        batch_id=batch_id,
        model=model,
        version=version,
        rows=_table(rows, columns, absent, invalid),
        content_hash=_content_hashes(rows, columns, invalid),
        arrived_us=arrived_us,
    )
    latencies = [row.latency_seconds for row in rows if row.latency_seconds is not None]
    return Prepared(batch, labels, latencies, notes)


def _table(rows: Sequence[Row], columns: _Columns, absent: Sequence[bool], invalid: Sequence[str | None]) -> pa.Table:
    import pyarrow as pa

    lists = [*(zip(*rows, strict=True) if rows else repeat((), len(Row._fields))), invalid]
    types = {
        "timestamp": pa.timestamp("us", "UTC"),
        "float64": pa.float64(),
        "bool": pa.bool_(),
        "string": pa.string(),
        "list": pa.list_(pa.float64()),
    }
    arrays = [
        pa.array(values, types[_TYPES.get(name, "string")]) for name, values in zip(ROW_COLUMNS, lists, strict=True)
    ]
    struct = [pa.field(n, types[ARROW_TYPES[k]]) for n, k in zip(columns.names, columns.kinds, strict=True)]
    children = [pa.array(v, f.type) for v, f in zip(columns.values, struct, strict=True)]
    if children:
        features = pa.StructArray.from_arrays(children, fields=struct, mask=pa.array(absent, pa.bool_()))
    else:
        features = pa.array([None if none else {} for none in absent], pa.struct([]))
    return pa.Table.from_arrays([*arrays, features], names=[*ROW_COLUMNS, "features"])


def _content_hashes(rows: Sequence[Row], columns: _Columns, invalid: Sequence[str | None]) -> npt.NDArray[np.int64]:
    """A hash of what a row says, whatever the order of its features and the other rows of its batch."""
    order = sorted(range(len(columns.names)), key=columns.names.__getitem__)
    names = [columns.names[i] for i in order]
    cells: Iterable[tuple[Any, ...]] = zip(*(columns.values[i] for i in order), strict=True) if order else repeat(())
    out = np.empty(len(rows), np.int64)
    for i, (row, values, bad) in enumerate(_politely(zip(rows, cells, invalid, strict=False))):
        said = {name: value for name, value in zip(names, values, strict=True) if value is not None}
        text = _hash_text((said, row.prediction, row.score, row.probability, bad))
        out[i] = int.from_bytes(hashlib.blake2b(text, digest_size=8).digest(), "little", signed=True)
    return out
