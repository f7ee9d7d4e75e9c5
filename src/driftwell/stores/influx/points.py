"""Predictions as points of ``model_predictions`` and back."""

from __future__ import annotations

import math
import time
from collections.abc import Collection, Iterable, Sequence
from dataclasses import dataclass
from typing import Any, NamedTuple

import pyarrow as pa

from driftwell.stores.base import ROW_COLUMNS
from driftwell.stores.influx.cells import UNWRITABLE, Place
from driftwell.stores.influx.client import Client
from driftwell.stores.influx.lines import FIRST_US, LAST_US, bucket_of, field_text, key, tag, tag_literal, where
from driftwell.stores.summaries import outputs_of

__all__ = ["PREDICTIONS", "Arrived", "Point", "Stream", "prediction_lines", "read_float", "rows_of", "window"]

PREDICTIONS = "model_predictions"

_TEXTS = ("prediction_id", "prediction", "probability", "segment", "entity_id", "metadata", "invalid")
_FLOATS = ("score", "latency_seconds")
_ALWAYS = ("batch_id", "arrival", "arrived_us", "content_hash", "position")
_FIELDS = (*_ALWAYS, *_TEXTS, *_FLOATS, *(f"{name}_text" for name in _FLOATS), "schema")
"""Fields whose presence is noted in ``present``, a bit each."""

_BITS = {name: 1 << i for i, name in enumerate(_FIELDS)}

PAUSE_SECONDS, MOST_PAUSES = 0.02, 100


class Stream(NamedTuple):
    """One model, and one of its versions or all."""

    model: str
    version: str | None

    @property
    def conditions(self) -> list[str]:
        """Its tags, as conditions of a query."""
        own = [f"model = {tag_literal(self.model)}"]
        return own if self.version is None else [*own, f"version = {tag_literal(self.version)}"]


class Point(NamedTuple):
    """Where one prediction is written: enough to add a field to it."""

    model: str
    version: str
    slot: str
    time: int
    prediction_id: str

    def line(self, fields: str) -> str:
        """The line that sets these fields of the prediction."""
        return f"{_key(self.model, self.version, self.slot, bucket_of(self.prediction_id))} {fields} {self.time}"


@dataclass(frozen=True, slots=True)
class Arrived:
    """What all rows of a batch have in common; ``schema``: the id of the features' types."""

    model: str
    version: str
    batch_id: str
    arrival: int
    arrived_us: int
    schema: str


def prediction_lines(
    batch: Arrived,
    rows: pa.Table,
    hashes: Sequence[int],
    places: Sequence[Place],
    positions: Sequence[int],
    labels: dict[int, tuple[str, int]],
) -> list[str]:
    """A line a row. ``labels``: ``(true_label, time)`` of rows by their number, where they are known already."""
    columns = {name: rows.column(i).to_pylist() for i, name in enumerate(ROW_COLUMNS) if name != "timestamp"}
    outputs = outputs_of(columns["score"], columns["prediction"]).tolist()
    has_features = rows.column("features").combine_chunks().is_valid().to_pylist()
    common = (
        f"batch_id={field_text(batch.batch_id)},arrival={batch.arrival}i,arrived_us={batch.arrived_us}i,content_hash="
    )
    schema = f"schema={field_text(batch.schema)}"
    heads: dict[tuple[str, str], str] = {}
    lines = []
    for i, prediction_id in enumerate(columns["prediction_id"]):
        slot, at = places[i]
        kind = (slot, bucket_of(prediction_id))
        if kind not in heads:
            heads[kind] = _key(batch.model, batch.version, *kind)
        parts = [f"{common}{hashes[i]}i", f"position={positions[i]}i"]
        parts += [f"{name}={field_text(columns[name][i])}" for name in _TEXTS if columns[name][i] is not None]
        parts += [_float(name, columns[name][i]) for name in _FLOATS if columns[name][i] is not None]
        parts += [schema] if has_features[i] else []
        names = {*_ALWAYS, *(part.partition("=")[0] for part in parts)}
        parts.append(f"present={sum(_BITS.get(name, 0) for name in names)}i")
        if not math.isnan(outputs[i]):
            parts.append(f"output={outputs[i]!r}")
        if i in labels:
            parts.append(f"true_label={field_text(labels[i][0])},label_time_us={labels[i][1]}i")
        lines.append(f"{heads[kind]} {','.join(parts)} {at}")
    return lines


def read_float(row: dict[str, Any], name: str) -> float | None:
    """A number of a stored prediction; those the server does not take are kept as text."""
    text = row.get(f"{name}_text")
    found = row.get(name)
    return float(text) if text else None if found is None else float(found)


def window(start_us: int, end_us: int) -> list[str]:
    """Conditions for event times of ``[start, end)`` microseconds."""
    low, high = max(start_us, FIRST_US), min(end_us, LAST_US)
    return [f"time >= {low * 1000}", f"time < {max(high, low) * 1000}"]


def rows_of(client: Client, fields: Collection[str], conditions: Iterable[str]) -> list[dict[str, Any]]:
    """Predictions with these fields and their tags ``version`` and ``slot``.

    The server shows a point that is being written with some of its fields: such an answer is asked for again. What is
    still in pieces after two seconds is left out.
    """
    columns = ", ".join(dict.fromkeys(["present", *fields]))
    sql = f"SELECT {columns} FROM {PREDICTIONS}{where(conditions)} GROUP BY version, slot"  # noqa: S608
    for _ in range(MOST_PAUSES):
        rows = client.rows(sql)
        checked = [(1 << i, name) for i, name in enumerate(_FIELDS) if name in fields]
        if all(_is_whole(row, checked) for row in rows):
            break
        time.sleep(PAUSE_SECONDS)
    return [row for row in rows if _is_whole(row, checked)]


def _is_whole(row: dict[str, Any], checked: Sequence[tuple[int, str]]) -> bool:
    present = row["present"]
    if present is None or any(present & bit and row[name] is None for bit, name in checked):
        return False
    return (row.get("true_label") is None) == (row.get("label_time_us") is None)


def _float(name: str, value: float) -> str:
    text = repr(value)
    return f'{name}_text="{text}"' if text in UNWRITABLE else f"{name}={text}"


def _key(model: str, version: str, slot: str, bucket: str) -> str:
    return key(PREDICTIONS, {"model": tag(model), "version": tag(version), "slot": slot, "bucket": bucket})
