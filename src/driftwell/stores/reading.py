"""Reading rows, whatever keeps them: which are meant, decoded parts put in order, and the forms of answers."""

from __future__ import annotations

from collections.abc import Callable, Collection, Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from datetime import UTC, datetime, timedelta
from itertools import accumulate
from typing import Any

import msgspec
import numpy as np
import numpy.typing as npt
import pyarrow as pa

from driftwell.stores.base import ROW_COLUMNS
from driftwell.stores.encoding import ROW_TYPES, unite

__all__ = [
    "HEAD",
    "NARROW_TYPES",
    "OUTCOME_COLUMNS",
    "Decoder",
    "Found",
    "Part",
    "StoredRows",
    "Window",
    "choose_columns",
    "decoded_parts",
    "in_order",
    "moments",
    "outcomes_table",
    "recent_row",
    "recent_rows",
    "rows_table",
    "take",
]

HEAD = ("version", *ROW_COLUMNS, "true_label", "label_time")
"""The columns that ``read`` puts before the features."""
OUTCOME_COLUMNS = (
    *("prediction_id", "timestamp", "version", "prediction", "score"),
    *("segment", "entity_id", "latency_seconds", "true_label", "label_time"),
)
NARROW_TYPES = {
    **dict.fromkeys(("prediction_id", "prediction", "segment", "entity_id", "true_label"), pa.string()),
    **dict.fromkeys(("score", "latency_seconds"), pa.float64()),
    "label_time_us": pa.int64(),
}
"""Columns of a table of predictions that ``outcomes`` needs besides ``time_us``, ``key`` and ``version``."""

Part = tuple[npt.NDArray[np.int64], pa.Table]
"""Some of the rows of an answer, and their positions in it."""
Decoder = Callable[[bytes, Iterable[bytes]], pa.Table]
"""Rows of a schema message and several rows messages."""
Found = Mapping[str, Sequence[Any]]
"""Columns ``time_us``, ``key``, ``version`` and more of a table of predictions, oldest row first."""

_EPOCH = datetime(1970, 1, 1, tzinfo=UTC)
_FOREVER = (-(1 << 62), 1 << 62)
_JSON_COLUMNS = ("prediction", "probability", "metadata", "invalid", "true_label")


@dataclass(frozen=True, slots=True)
class Window:
    """Which predictions: event time in ``[start, end)``, in batches after an arrival number, labelled or not.

    ``labelled`` None takes both; ``limit`` keeps the newest.
    """

    start_us: int = _FOREVER[0]
    end_us: int = _FOREVER[1]
    after_arrival: int = 0
    labelled: bool | None = None
    limit: int | None = None


@dataclass(frozen=True, slots=True)
class StoredRows:
    """The rows message of a batch, how many rows it holds, and the name of the schema that it was written in."""

    arrival: int
    schema: Any
    n: int
    message: bytes


def decoded_parts(
    stored: Iterable[StoredRows],
    arrivals: npt.NDArray[np.int64],
    places: npt.NDArray[np.int64],
    schema_of: Callable[[Any, Iterable[int]], bytes | None],
    read: Decoder,
) -> Iterator[Part]:
    """The rows at ``places`` of the batches ``arrivals``, a part for each schema that they were written in.

    A row is left out where its batch is not among those stored, its place is negative, or ``schema_of`` (a schema's
    name, the batches) has no answer.
    """
    by_schema: dict[Any, list[StoredRows]] = {}
    for batch in stored:
        by_schema.setdefault(batch.schema, []).append(batch)
    numbers, slots = np.unique(arrivals, return_inverse=True)
    for schema, batches in by_schema.items():
        wording = schema_of(schema, [batch.arrival for batch in batches])
        if wording is None:
            continue
        table = read(wording, [batch.message for batch in batches])
        firsts = accumulate((batch.n for batch in batches), initial=0)
        first_of = {batch.arrival: first for batch, first in zip(batches, firsts, strict=False)}
        starts = np.array([first_of.get(number, -1) for number in numbers.tolist()], dtype=np.int64)[slots]
        positions = np.flatnonzero((starts >= 0) & (places >= 0))
        yield positions, take(table, starts[positions] + places[positions])


def in_order(parts: Sequence[Part]) -> Part:
    """All parts as one table in the order of their positions, and these positions."""
    if not parts:
        return np.zeros(0, dtype=np.int64), pa.schema(ROW_TYPES).empty_table()
    positions = np.concatenate([positions for positions, _ in parts])
    order = np.argsort(positions)
    return positions[order], take(unite([table for _, table in parts]), order)


def take(table: pa.Table, rows: npt.NDArray[np.int64]) -> pa.Table:
    """These rows of a table, which is not copied where they are all of it in order."""
    everything = len(rows) == table.num_rows and np.array_equal(rows, np.arange(len(rows)))
    return table if everything else table.take(pa.array(rows))


def rows_table(found: Found, parts: Iterable[Part], columns: Collection[str] | None) -> pa.Table:
    """The answer of ``PredictionStore.read`` for the rows found, of which those in ``parts`` are kept."""
    own = pa.table(
        {
            "version": pa.array(found["version"], pa.string()),
            "true_label": pa.array(found["true_label"], pa.string()),
            "label_time": moments(found["label_time_us"]),
        }
    )
    positions, table = in_order(list(parts))
    return choose_columns([take(own, positions), table], columns)


def choose_columns(tables: Iterable[pa.Table], columns: Collection[str] | None) -> pa.Table:
    """The columns of tables side by side in the order asked for, or with those that ``read`` has at first."""
    everything = {name: table.column(name) for table in tables for name in table.column_names}
    ordered = dict.fromkeys([*HEAD, *everything] if columns is None else columns)
    return pa.table({name: everything[name] for name in ordered if name in everything})


def outcomes_table(found: Found) -> pa.Table:
    """The answer of ``PredictionStore.outcomes`` for the rows found."""
    everything = {name: pa.array(found[name], kind) for name, kind in NARROW_TYPES.items()}
    everything |= {"timestamp": moments(found["time_us"]), "label_time": moments(found["label_time_us"])}
    everything["version"] = pa.array(found["version"], pa.string())
    return pa.table({name: everything[name] for name in OUTCOME_COLUMNS})


def recent_rows(model: str, found: Found, parts: Iterable[Part]) -> list[dict[str, Any]]:
    """The answer of ``PredictionStore.recent`` for the rows found, of which those in ``parts`` are kept."""
    rows: dict[int, dict[str, Any]] = {}
    for positions, table in parts:
        rows.update(zip(positions.tolist(), table.to_pylist(), strict=True))
    return [
        recent_row(
            rows[i] | {"version": found["version"][i], "true_label": found["true_label"][i]},
            model=model,
            time_us=found["time_us"][i],
        )
        for i in sorted(rows, reverse=True)
    ]


def recent_row(row: Mapping[str, Any], *, model: str, time_us: int) -> dict[str, Any]:
    """A row as ``PredictionStore.recent`` shows it: JSON decoded, with an aware time."""
    decoded = {name: None if row[name] is None else msgspec.json.decode(row[name]) for name in _JSON_COLUMNS}
    about = {"model": model, "timestamp": _EPOCH + timedelta(microseconds=time_us), "features": row["features"] or {}}
    return {**row, **decoded, **about}


def moments(values: Sequence[int | None]) -> pa.Array:
    """Microseconds as a column of moments."""
    return pa.array(values, pa.int64()).cast(ROW_TYPES["timestamp"])
