"""Reading predictions: the points say which rows and in what order, the features are set beside them."""

from __future__ import annotations

from collections.abc import Collection, Iterable, Sequence
from dataclasses import dataclass, field
from typing import Any

import numpy as np
import pyarrow as pa

from driftwell.errors import FormatError
from driftwell.stores.base import ROW_COLUMNS, PredictionBatch
from driftwell.stores.encoding import public_names, unite
from driftwell.stores.influx.cells import Rows, decode_schema, read_features
from driftwell.stores.influx.client import Client
from driftwell.stores.influx.lines import FIRST_US, LAST_US, tag_literal, untag, where
from driftwell.stores.influx.points import PREDICTIONS, Stream, read_float, rows_of, window
from driftwell.stores.influx.process import SCHEMAS
from driftwell.stores.influx.retention import BATCHES, Horizon, horizon_of
from driftwell.stores.reading import HEAD, OUTCOME_COLUMNS, choose_columns, moments, recent_row

__all__ = ["Window", "find_batches", "find_rows", "load_batch", "read_outcomes", "read_recent", "read_rows"]

_TEXTS = ("prediction", "probability", "segment", "entity_id", "metadata", "invalid")
_WHICH = ("prediction_id", "arrival", "position", "true_label", "label_time_us", "schema")
_NUMBERS = ("score", "score_text", "latency_seconds", "latency_seconds_text")

Row = dict[str, Any]


@dataclass(frozen=True, slots=True)
class Window:
    """Which predictions: event time in ``[start, end)``, in batches after an arrival number, labelled or not.

    ``labelled`` None takes both; ``limit`` keeps the newest. ``with_features``: only rows whose features are kept.
    """

    start_us: int = FIRST_US
    end_us: int = LAST_US
    after_arrival: int = 0
    labelled: bool | None = None
    limit: int | None = None
    with_features: bool = True
    also: tuple[str, ...] = field(default=())
    """More conditions, in the server's words."""

    def conditions(self, horizon: Horizon) -> list[str]:
        """All of it but the limit, and rows without a label, which the server cannot ask for."""
        after = [f"arrival > {self.after_arrival}"] if self.after_arrival > 0 else []
        kept = horizon.of_rows if self.with_features else horizon.of_predictions
        label = ["true_label != ''"] if self.labelled else []
        return [*window(self.start_us, self.end_us), *kept, *after, *label, *self.also]


def find_rows(client: Client, stream: Stream, wanted: Window, fields: Collection[str] = ()) -> list[Row]:
    """The points of the window, oldest first, of one time in order of arrival."""
    conditions = [*stream.conditions, *wanted.conditions(horizon_of(client))]
    columns = [*_WHICH, *fields]
    if wanted.limit is None:
        return _ordered(rows_of(client, columns, conditions), wanted)
    if wanted.limit <= 0:
        return []
    n = wanted.limit
    while True:
        start = _start_of_newest(client, conditions, n)
        bound = [] if start is None else [f"time >= {start}"]
        rows = _ordered(rows_of(client, columns, [*conditions, *bound]), wanted)
        if start is None or len(rows) >= wanted.limit:
            return rows[-wanted.limit :]
        n *= 4  # many have a label where those without are wanted


def read_rows(client: Client, stream: Stream, wanted: Window, columns: Collection[str] | None) -> pa.Table:
    """Rows with their features in event-time order; see ``PredictionStore.read``."""
    asked = None if columns is None else set(columns)
    fields = [*_TEXTS, *_NUMBERS] if asked is None else [
        f for f in (*_TEXTS, *_NUMBERS) if f.removesuffix("_text") in asked
    ]  # fmt: skip
    rows = find_rows(client, stream, wanted, fields)
    features = _features(client, stream.model, rows, asked)
    return choose_columns([_row_columns(rows), features], columns)


def read_outcomes(client: Client, stream: Stream, wanted: Window) -> pa.Table:
    """The narrow columns in event-time order; see ``PredictionStore.outcomes``."""
    rows = find_rows(client, stream, wanted, ["prediction", "segment", "entity_id", *_NUMBERS])
    return _row_columns(rows).select(OUTCOME_COLUMNS)


def read_recent(client: Client, stream: Stream, n: int, after_arrival: int) -> list[Row]:
    """The newest rows as dicts, newest first; see ``PredictionStore.recent``."""
    rows = find_rows(client, stream, Window(after_arrival=after_arrival, limit=n), [*_TEXTS, *_NUMBERS])
    out: dict[int, Row] = {}
    for positions, struct in _structs(client, stream.model, rows):
        out.update(zip(positions, struct.to_pylist(), strict=True))
    return [_recent_row(stream.model, row, out.get(i)) for i, row in reversed(list(enumerate(rows)))]


@dataclass(frozen=True, slots=True)
class _Batch:
    """The record of a stored batch."""

    arrival: int
    batch_id: str
    arrived_us: int
    first: int
    last: int


def find_batches(client: Client, model: str, version: str) -> list[_Batch]:
    """The batches that have feature rows, oldest first."""
    conditions = [*Stream(model, version).conditions, *horizon_of(client).of_rows]
    sql = f"SELECT arrival, batch_id, arrived_us, first, last FROM {BATCHES}{where(conditions)}"  # noqa: S608
    names = ("arrival", "batch_id", "arrived_us", "first", "last")
    found = [_Batch(*(row[n] for n in names)) for row in client.rows(sql) if None not in row.values()]
    return sorted(found, key=lambda batch: (batch.arrival, batch.batch_id))


def load_batch(client: Client, model: str, version: str, batch: _Batch) -> PredictionBatch:
    """A stored batch as it was appended, without the rows that were not new then; without any where they are gone."""
    wanted = Window(batch.first // 1000, batch.last // 1000 + 1, also=(f"arrival = {batch.arrival}",))
    found = find_rows(client, Stream(model, version), wanted, [*_TEXTS, *_NUMBERS, "content_hash", "batch_id"])
    rows = [row for row in found if row["batch_id"] == batch.batch_id]
    rows.sort(key=lambda row: row["position"])
    table = _row_columns(rows).select(ROW_COLUMNS)
    parts = list(_structs(client, model, rows))
    if len(parts) == 1 and len(parts[0][0]) == len(rows):
        features = parts[0][1]
    else:  # some rows came without features
        features = _with_missing(rows, parts)
    hashes = np.array([row["content_hash"] for row in rows], dtype=np.int64)
    whole = table.append_column("features", features)
    return PredictionBatch(batch.batch_id, model, version, whole, hashes, batch.arrived_us)


def _with_missing(rows: Sequence[Row], parts: Sequence[tuple[list[int], pa.StructArray]]) -> pa.Array:
    if not parts:
        return pa.array([None] * len(rows), pa.struct([]))
    at = {position: k for k, position in enumerate(p for positions, _ in parts for p in positions)}
    whole = pa.chunked_array([struct for _, struct in parts]).combine_chunks()
    return whole.take(pa.array([at.get(i) for i in range(len(rows))], pa.int64()))


def _start_of_newest(client: Client, conditions: list[str], n: int) -> int | None:
    """The first nanosecond of the microsecond of the newest ``n``; None where there are no more than these."""
    sql = f"SELECT prediction_id FROM {PREDICTIONS}{where(conditions)} ORDER BY time DESC LIMIT {n}"  # noqa: S608
    times = [row[0] for series in client.query(sql) for row in series.values]
    return min(times) // 1000 * 1000 if len(times) >= n else None


def _ordered(rows: Iterable[Row], wanted: Window) -> list[Row]:
    kept = [row for row in rows if wanted.labelled is not False or row["true_label"] is None]
    kept.sort(key=lambda row: (row["time"] // 1000, row["arrival"], row["position"], row["time"]))
    return kept


def _row_columns(rows: Sequence[Row]) -> pa.Table:
    """The columns that are not features. A text that was not asked for is null."""
    times = moments([row["time"] // 1000 for row in rows])
    label_times = moments([row["label_time_us"] for row in rows])
    texts = {
        name: pa.array([row.get(name) for row in rows], pa.string())
        for name in ("prediction_id", *_TEXTS, "true_label")
    }
    numbers = {
        name: pa.array([read_float(row, name) for row in rows], pa.float64()) for name in ("score", "latency_seconds")
    }
    versions = {"version": pa.array([untag(row["version"]) for row in rows], pa.string())}
    columns = versions | texts | numbers | {"timestamp": times, "label_time": label_times}
    return pa.table({name: columns[name] for name in HEAD})


def _schemas(client: Client, rows: Sequence[Row]) -> dict[str, pa.Schema]:
    found = {}
    for schema_id in sorted({row["schema"] for row in rows if row["schema"]}):
        sql = f"SELECT last(types) AS types FROM {SCHEMAS} WHERE schema = {tag_literal(schema_id)}"  # noqa: S608
        texts = [row["types"] for row in client.rows(sql)]
        if not texts:
            raise FormatError(f"the types of the features of {client.address.url} are gone: was {SCHEMAS} deleted?")
        found[schema_id] = decode_schema(texts[0])
    return found


def _structs(client: Client, model: str, rows: Sequence[Row]) -> Iterable[tuple[list[int], pa.StructArray]]:
    """The features of rows, a struct for each version and schema, with the positions of its rows."""
    for (_, schema), positions, arrays in _read_parts(client, model, rows, None):
        fields = list(schema)
        if fields:
            yield positions, pa.StructArray.from_arrays(arrays, fields=fields)
        else:
            yield positions, pa.array([{}] * len(positions), pa.struct([]))


_Part = tuple[tuple[list[int], pa.Schema], list[int], list[pa.Array]]


def _read_parts(client: Client, model: str, rows: Sequence[Row], asked: set[str] | None) -> Iterable[_Part]:
    """``((wanted fields, schema), positions of the rows, arrays)`` for each version and schema among the rows."""
    schemas = _schemas(client, rows)
    by_kind: dict[tuple[str, str], list[int]] = {}
    for i, row in enumerate(rows):
        if row["schema"]:
            by_kind.setdefault((row["version"], row["schema"]), []).append(i)
    for (version, schema_id), positions in by_kind.items():
        schema = schemas[schema_id]
        names = _public(schema)
        wanted = [i for i, name in enumerate(names) if asked is None or name in asked]
        places = [(rows[i]["slot"], rows[i]["time"]) for i in positions]
        arrays = read_features(client, Rows(model, untag(version), schema, places, wanted))
        yield (wanted, schema), positions, arrays


def _public(schema: pa.Schema) -> list[str]:
    """The names under which ``read`` shows features."""
    stored = [pa.field(name, pa.null()) for name in (*ROW_COLUMNS, "features")]
    return public_names(pa.schema([*stored, *schema]))[len(stored) :]


def _features(client: Client, model: str, rows: Sequence[Row], asked: set[str] | None) -> pa.Table:
    """The features of all rows under their public names, in the order of the rows."""
    tables, order = [], []
    for (wanted, schema), positions, arrays in _read_parts(client, model, rows, asked):
        names = _public(schema)
        own = {names[i]: array for i, array in zip(wanted, arrays, strict=True)}
        tables.append(pa.table({"": pa.array(positions, pa.int64()), **own}))
        order += positions
    missing = sorted(set(range(len(rows))).difference(order))
    if missing or not tables:
        tables.append(pa.table({"": pa.array(missing, pa.int64())}))
        order += missing
    whole = unite(tables)
    return whole.take(pa.array(np.argsort(order))).drop_columns([""])


def _recent_row(model: str, row: Row, features: Row | None) -> Row:
    kept = {name: row[name] for name in ("prediction_id", *_TEXTS, "true_label")}
    numbers = {name: read_float(row, name) for name in ("score", "latency_seconds")}
    about = {"version": untag(row["version"]), "features": features}
    return recent_row(kept | numbers | about, model=model, time_us=row["time"] // 1000)
