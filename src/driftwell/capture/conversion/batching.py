"""Records become one ``PredictionBatch``: fields read, features in columns of one kind, a content hash a row."""

from __future__ import annotations

import hashlib
import time
from collections.abc import Iterable, Iterator, Sequence
from dataclasses import dataclass
from itertools import repeat
from typing import TYPE_CHECKING, Any, NamedTuple, TypeVar

import msgspec
import numpy as np
import numpy.typing as npt

from driftwell.capture.conversion.cells import CellColumns, Cells, Shape, named_cells
from driftwell.capture.conversion.fields import Notes
from driftwell.capture.conversion.readers import ARROW_TYPES, read_column
from driftwell.capture.conversion.rows import RowColumns, RowReader
from driftwell.capture.conversion.tables import columns_of, fields_of
from driftwell.capture.records import Fields, Record, TableRows
from driftwell.capture.snapshot import RefusedError, thaw
from driftwell.stores.base import ROW_COLUMNS, Label, PredictionBatch

if TYPE_CHECKING:
    import pyarrow as pa

__all__ = ["Prepared", "batch_of_records", "batch_of_table", "rows_as_dicts"]

_TYPES = {"timestamp": "timestamp", "score": "float64", "latency_seconds": "float64"}

POLITE_ROWS = 64
POLITE_COLUMNS = 8
Item = TypeVar("Item")

_hash_text = msgspec.msgpack.Encoder().encode


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
    reader = RowReader(model, shape.classes, notes)
    cells = CellColumns()
    layout: tuple[str, ...] = ()  # the names of the last row
    for part in _politely(records):
        ids, arrived, read, own = [], [], [], []
        for record in part:
            try:
                found = Fields(*thaw(record.frozen))
                named: Cells | None = found.features
                if type(named) is not dict or tuple(named) != layout:
                    named = named_cells(named, shape)
                    layout = tuple(named or ())
            except RefusedError as refused:
                notes.rejected[refused.reason] += 1
                continue
            except (ValueError, TypeError, RecursionError):  # nested deeper than can be read back
                notes.rejected["unreadable"] += 1
                continue
            ids.append(record.prediction_id)
            arrived.append(round(record.arrived * 1e6))
            read.append(found)
            own.append(named)
        if ids:
            _, *given = zip(*read, strict=True)
            kept = reader.add(ids, given, arrived)
            cells.add(own if len(kept) == len(own) else [own[i] for i in kept])
    columns = _read_columns(cells.columns(shape.names_of(cells.layouts, notes.ignored)), shape)
    arrived_us = round(records[-1].arrived * 1e6)
    return _prepared(batch_id, model, version, reader, columns, cells.absent, notes, arrived_us)


def batch_of_table(batch_id: str, item: TableRows, shape: Shape) -> Prepared:
    """Read rows of a table; what cannot be kept is counted in ``notes.rejected``."""
    notes = Notes()
    arrived_us = round(item.arrived * 1e6)
    reader = RowReader(item.model, shape.classes, notes)
    given = fields_of(item, notes)
    kept: list[int] = []
    for part in _politely(range(item.rows)):
        start, stop = part[0], part[-1] + 1
        some = reader.add(item.ids[start:stop], [column[start:stop] for column in given], [arrived_us] * len(part))
        kept += [start + i for i in some]
    found = columns_of(item, shape, notes)
    if len(kept) < item.rows:
        found = {name: [values[i] for i in kept] for name, values in found.items()}
    columns = _read_columns(found, shape)
    return _prepared(batch_id, item.model, item.version, reader, columns, [False] * len(kept), notes, arrived_us)


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


def _politely(items: Sequence[Item]) -> Iterator[Sequence[Item]]:
    """The items, some at a time: the application's threads may run in between, which have to wait meanwhile."""
    for start in range(0, len(items), POLITE_ROWS):
        time.sleep(0)
        yield items[start : start + POLITE_ROWS]


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
    reader: RowReader,
    columns: _Columns,
    absent: Sequence[bool],
    notes: Notes,
    arrived_us: int,
) -> Prepared:
    rows = reader.columns
    invalid = [
        msgspec.json.encode(columns.invalid[i]).decode() if i in columns.invalid else None for i in range(len(absent))
    ]
    features = _arrays(columns)
    batch = PredictionBatch(
        batch_id=batch_id,
        model=model,
        version=version,
        rows=_table(rows, columns, features, absent, invalid),
        content_hash=_content_hashes(rows, columns, invalid, whole=not any(one.null_count for one in features)),
        arrived_us=arrived_us,
    )
    latencies = [latency for latency in rows.latency_seconds if latency is not None]
    return Prepared(batch, reader.labels, latencies, notes)


def _arrays(columns: _Columns) -> list[pa.Array]:
    import pyarrow as pa

    types = _arrow_types()
    out = []
    for i, (values, kind) in enumerate(zip(columns.values, columns.kinds, strict=True)):
        if not i % POLITE_COLUMNS:
            time.sleep(0)
        out.append(pa.array(values, types[ARROW_TYPES[kind]]))
    return out


def _table(
    rows: RowColumns,
    columns: _Columns,
    children: Sequence[pa.Array],
    absent: Sequence[bool],
    invalid: Sequence[str | None],
) -> pa.Table:
    import pyarrow as pa

    types = _arrow_types()
    arrays = [
        pa.array(values, types[_TYPES.get(name, "string")])
        for name, values in zip(ROW_COLUMNS, (*rows, invalid), strict=True)
    ]
    if children:
        struct = [pa.field(name, child.type) for name, child in zip(columns.names, children, strict=True)]
        features = pa.StructArray.from_arrays(children, fields=struct, mask=pa.array(absent, pa.bool_()))
    else:
        features = pa.array([None if none else {} for none in absent], pa.struct([]))
    return pa.Table.from_arrays([*arrays, features], names=[*ROW_COLUMNS, "features"])


def _arrow_types() -> dict[str, pa.DataType]:
    import pyarrow as pa

    return {
        "timestamp": pa.timestamp("us", "UTC"),
        "float64": pa.float64(),
        "bool": pa.bool_(),
        "string": pa.string(),
        "list": pa.list_(pa.float64()),
    }


def _content_hashes(
    rows: RowColumns, columns: _Columns, invalid: Sequence[str | None], *, whole: bool
) -> npt.NDArray[np.int64]:
    """A hash of what a row says, whatever the order of its features and the other rows of its batch.

    ``whole``: every row has a value of every feature.
    """
    order = sorted(range(len(columns.names)), key=columns.names.__getitem__)
    names = [columns.names[i] for i in order]
    cells: Iterable[tuple[Any, ...]] = zip(*(columns.values[i] for i in order), strict=True) if order else repeat(())
    said: dict[str, Any] = {}
    digests = []
    told = zip(cells, rows.prediction, rows.score, rows.probability, invalid, strict=False)
    for i, (values, prediction, score, probability, bad) in enumerate(told):
        if not i % POLITE_ROWS:
            time.sleep(0)
        if whole:
            said.update(zip(names, values, strict=True))  # the order stays that of the first row
        else:
            said = {name: value for name, value in zip(names, values, strict=True) if value is not None}
        text = _hash_text((said, prediction, score, probability, bad))
        digests.append(hashlib.blake2b(text, digest_size=8).digest())
    return np.frombuffer(b"".join(digests), "<i8").astype(np.int64)
