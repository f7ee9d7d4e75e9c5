"""Features as points of ``model_features`` and back: a point a cell, ``value`` a number or ``text`` anything else.

Which Arrow type a feature has is kept beside (``model_schemas``), so that truth values, whole numbers, times and lists
come back as what they were. A missing cell has no point.
"""

from __future__ import annotations

import base64
import hashlib
import json
import zlib
from collections.abc import Iterator, Sequence
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass, field
from typing import Any

import numpy as np
import numpy.typing as npt
import pyarrow as pa

from driftwell.errors import BadInput, FormatError
from driftwell.stores.influx.client import Client
from driftwell.stores.influx.lines import field_text, key, tag, tag_literal, untag, where

__all__ = [
    "FEATURES",
    "UNWRITABLE",
    "Place",
    "Rows",
    "decode_schema",
    "encode_schema",
    "feature_lines",
    "read_features",
]

FEATURES = "model_features"

POINTS_A_QUERY = 400_000
READERS = 2
"""Queries for features that run at once."""
UNWRITABLE = frozenset(("nan", "inf", "-inf", "-0.0"))
"""Numbers that the server does not take, or gives back as another (the zero without its sign)."""
_EXACT = 1 << 53  # whole numbers up to here are exact as a float

Place = tuple[str, int]
"""Where a row is: its tag ``slot`` and its time in nanoseconds."""


@dataclass(slots=True)
class Rows:
    """Rows of one model version and one schema whose features are to be read: their places, in any order."""

    model: str
    version: str
    schema: pa.Schema
    places: Sequence[Place]
    wanted: Sequence[int] = ()
    """Positions of the features of ``schema`` that are asked for."""


def encode_schema(features: pa.Schema) -> tuple[str, str]:
    """``(id, text)`` of the names and types of features."""
    plain = features.remove_metadata().serialize().to_pybytes()
    return hashlib.blake2b(plain, digest_size=8).hexdigest(), base64.b64encode(zlib.compress(plain)).decode()


def decode_schema(text: str) -> pa.Schema:
    """The names and types again. Raises ``FormatError``."""
    try:
        return pa.ipc.read_schema(pa.py_buffer(zlib.decompress(base64.b64decode(text))))
    except (pa.ArrowException, OSError, ValueError, zlib.error) as exc:
        raise FormatError(f"the features' types cannot be read, the store is damaged: {exc}") from exc


def feature_lines(
    model: str, version: str, features: pa.Table, ids: Sequence[str], places: Sequence[Place]
) -> Iterator[list[str]]:
    """The lines of all cells, a list a feature. Raises ``BadInput`` for types that cannot be kept."""
    slots = sorted({slot for slot, _ in places})
    tails = [f",prediction_id={field_text(i)} {time}" for i, (_, time) in zip(ids, places, strict=True)]
    for name, column in zip(features.column_names, features.columns, strict=True):
        tags = {"model": tag(model), "version": tag(version), "feature_name": tag(name)}
        heads = {slot: key(FEATURES, tags | {"slot": slot}) + " " for slot in slots}
        written = _write_column(name, column)
        if len(slots) == 1:
            head = heads[slots[0]]
            yield [head + cell + tail for cell, tail in zip(written, tails, strict=True) if cell is not None]
        else:
            cells = zip(written, places, tails, strict=True)
            yield [heads[slot] + cell + tail for cell, (slot, _), tail in cells if cell is not None]


def read_features(client: Client, rows: Rows) -> list[pa.Array]:
    """The features asked for, one array each in the order of ``rows.wanted``."""
    if not rows.places or not rows.wanted:
        return [pa.array([], rows.schema.field(i).type) for i in rows.wanted]
    cells = {rows.schema.field(i).name: _Cells(len(rows.places)) for i in rows.wanted}
    index = _index(rows.places)
    queries = list(_queries(rows))
    with ThreadPoolExecutor(READERS) as pool:
        for _ in pool.map(lambda query: _collect(client, query, index, cells), queries):
            pass
    return [cells[rows.schema.field(i).name].as_array(rows.schema.field(i)) for i in rows.wanted]


@dataclass(slots=True)
class _Cells:
    """The cells of one feature as they are found."""

    rows: int
    values: npt.NDArray[np.float64] = field(init=False)
    found: npt.NDArray[np.bool_] = field(init=False)
    texts: dict[int, str] = field(default_factory=dict)

    def __post_init__(self) -> None:
        self.values, self.found = np.zeros(self.rows), np.zeros(self.rows, dtype=bool)

    def as_array(self, wanted: pa.Field) -> pa.Array:
        kind = wanted.type
        try:
            if pa.types.is_floating(kind) or (not self.texts and _is_counted(kind)):
                values = self.values
                for position, text in self.texts.items():
                    values[position], self.found[position] = float(text), True
                exact = kind.to_pandas_dtype() if pa.types.is_floating(kind) else np.int64
                return pa.array(values.astype(exact), mask=~self.found).cast(kind)
            return pa.array([self._cell(i, kind) for i in range(self.rows)], kind)
        except (ValueError, pa.ArrowException) as exc:
            raise FormatError(f"feature {wanted.name!r} holds points that are not of its kind {kind}: {exc}") from exc

    def _cell(self, position: int, kind: pa.DataType) -> Any:
        text = self.texts.get(position)
        if text is None:
            return int(self.values[position]) if self.found[position] else None
        if pa.types.is_string(kind) or pa.types.is_large_string(kind):
            return text
        return json.loads(text)


def _write_column(name: str, column: pa.ChunkedArray) -> list[str | None]:
    """Field and value of each cell, None where it is missing."""
    kind = column.type
    if pa.types.is_floating(kind):
        cells = column.to_pylist()
        written = [None if v is None else repr(v) for v in cells]
        return [None if v is None else f'text="{v}"' if v in UNWRITABLE else f"value={v}" for v in written]
    if pa.types.is_boolean(kind):
        return [None if v is None else "value=1.0" if v else "value=0.0" for v in column.to_pylist()]
    if pa.types.is_integer(kind) or pa.types.is_timestamp(kind):
        whole = column.cast(pa.int64()) if pa.types.is_timestamp(kind) else column
        cells = whole.to_pylist()
        return [None if v is None else f"value={v}.0" if -_EXACT <= v <= _EXACT else f'text="{v}"' for v in cells]
    if pa.types.is_string(kind) or pa.types.is_large_string(kind):
        return [None if v is None else f"text={field_text(v)}" for v in column.to_pylist()]
    try:
        return [None if v is None else f"text={field_text(json.dumps(v))}" for v in column.to_pylist()]
    except TypeError as exc:
        raise BadInput(
            f"InfluxDB cannot keep feature {name!r} of type {kind}: give it as numbers, text, times or lists of these"
        ) from exc


def _is_counted(kind: pa.DataType) -> bool:
    return bool(pa.types.is_integer(kind) or pa.types.is_timestamp(kind) or pa.types.is_boolean(kind))


def _is_number(kind: pa.DataType) -> bool:
    return bool(pa.types.is_floating(kind)) or _is_counted(kind)


def _queries(rows: Rows) -> Iterator[str]:
    """Some features each, so that no answer is large; numbers and texts apart, since most have only one of them."""
    times = [time for _, time in rows.places]
    bounds = [f"time >= {min(times)}", f"time <= {max(times)}"]
    stream = [f"model = {tag_literal(rows.model)}", f"version = {tag_literal(rows.version)}"]
    together = max(1, POINTS_A_QUERY // len(times))
    names = [rows.schema.field(i).name for i in rows.wanted]
    everything = len(names) == len(rows.schema) and len(names) <= together
    numbers = {rows.schema.field(i).name for i in rows.wanted if _is_number(rows.schema.field(i).type)}
    for start in range(0, len(names), together):
        some = names[start : start + together]
        either = " OR ".join(f"feature_name = {tag_literal(name)}" for name in some)
        conditions = [*stream, *([] if everything else [f"({either})"]), *bounds]
        for column in ("value", "text") if numbers.intersection(some) else ("text",):
            yield f"SELECT {column} FROM {FEATURES}{where(conditions)} GROUP BY feature_name, slot"  # noqa: S608


_Index = dict[str, tuple[npt.NDArray[np.int64], npt.NDArray[np.int64]]]


def _index(places: Sequence[Place]) -> _Index:
    """``{slot: (sorted times, the rows they belong to)}``."""
    by_slot: dict[str, list[int]] = {}
    for i, (slot, _) in enumerate(places):
        by_slot.setdefault(slot, []).append(i)
    out: _Index = {}
    for slot, rows in by_slot.items():
        times = np.array([places[i][1] for i in rows], dtype=np.int64)
        order = np.argsort(times)
        out[slot] = times[order], np.array(rows, dtype=np.int64)[order]
    return out


def _collect(client: Client, query: str, index: _Index, cells: dict[str, _Cells]) -> None:
    is_number = query.startswith("SELECT value")
    for series in client.query(query, numbers=is_number):
        own = cells.get(untag(series.tags.get("feature_name", "")))
        places = index.get(series.tags.get("slot", ""))
        if own is None or places is None:
            continue
        if is_number:
            times, numbers = series.arrays()
            rows, hit = _matched(times, *places)
            own.values[rows], own.found[rows] = numbers[hit], True
        else:
            stamps, texts = zip(*series.values, strict=True)
            rows, hit = _matched(np.array(stamps, dtype=np.int64), *places)
            own.texts.update(zip(rows.tolist(), (texts[i] for i in np.flatnonzero(hit)), strict=True))


def _matched(
    times: npt.NDArray[np.int64], sorted_times: npt.NDArray[np.int64], rows: npt.NDArray[np.int64]
) -> tuple[npt.NDArray[np.int64], npt.NDArray[np.bool_]]:
    """The rows that points of these times belong to, and which points have one: others of the window have not."""
    at = np.minimum(np.searchsorted(sorted_times, times), len(sorted_times) - 1)
    hit = sorted_times[at] == times
    return rows[at[hit]], hit
