"""Storing a batch: look what is there, find free places, write features, then predictions, then the batch's record.

InfluxDB has no transactions. Readers start from predictions, so a crash leaves at most features that nobody sees, or
predictions whose batch has no record: the same batch offered again is then completed in the same places.
"""

from __future__ import annotations

import time
import zlib
from collections.abc import Iterable, Iterator, Sequence
from dataclasses import dataclass, field

import pyarrow as pa

from driftwell.errors import BadInput
from driftwell.stores.appending import check_hashes
from driftwell.stores.base import ROW_COLUMNS, AppendResult, LeafBuilder, PredictionBatch
from driftwell.stores.encoding import columns_of
from driftwell.stores.influx.cells import Place, encode_schema, feature_lines
from driftwell.stores.influx.client import Client
from driftwell.stores.influx.labels import attach_waiting
from driftwell.stores.influx.lines import FIRST_US, LAST_US, field_text, key, nanosecond_of, portions, tag, untag, where
from driftwell.stores.influx.points import Arrived, Point, Stream, prediction_lines, rows_of
from driftwell.stores.influx.process import SCHEMAS, Own
from driftwell.stores.influx.retention import BATCHES, Horizon, horizon_of, reopen_slot

__all__ = ["append_batch", "free_places"]

MOST_UNFINISHED = 64
SCHEMA_SECONDS = 3_600.0
"""After which a process writes the types of features again: they must outlive the server's retention policy."""

_FIRST_FEATURE = len(ROW_COLUMNS) + 1


@dataclass(frozen=True, slots=True)
class _Known:
    """A stored row of the model in the batch's window."""

    content_hash: int
    batch_id: str
    arrival: int
    place: Place


@dataclass(slots=True)
class _Found:
    """What is stored in the batch's window: rows of the version, taken places, labels under other versions."""

    rows: dict[str, _Known] = field(default_factory=dict)
    taken: set[Place] = field(default_factory=set)
    labels: dict[str, tuple[str, int]] = field(default_factory=dict)


@dataclass(slots=True)
class _Sorted:
    """The rows of a batch: those to write, and how many are known already."""

    fresh: list[int] = field(default_factory=list)
    duplicate: int = 0
    conflict: int = 0
    own: dict[int, _Known] = field(default_factory=dict)  # written by an earlier try of this batch


def append_batch(own: Own, batch: PredictionBatch, leaves: LeafBuilder) -> AppendResult:
    """Store the rows of ``batch`` that are new; see ``PredictionStore.append``. The caller holds ``own.lock``."""
    check_hashes(batch)
    if not len(batch):
        return AppendResult(0)
    flat = columns_of(batch.rows)
    ids: list[str] = flat.column(0).to_pylist()
    times: list[int] = flat.column("timestamp").cast("int64").to_pylist()
    _check_times(times)
    client, horizon = own.client, horizon_of(own.client)
    found = _look(client, batch, horizon, min(times), max(times), str(own.number))
    rows = _sort_rows(batch, ids, found, own)
    if rows.own and _is_complete(client, batch, next(iter(rows.own.values())).arrival):
        return AppendResult(0, duplicate=len(batch))
    if not rows.fresh:
        return AppendResult(0, rows.duplicate, rows.conflict)
    fresh = batch if len(rows.fresh) == len(batch) else batch.take(pa.array(rows.fresh).to_numpy())
    leaves(fresh)
    known = next(iter(rows.own.values()), None)
    arrival = known.arrival if known else own.next_arrival(batch.arrived_us)
    places = _places_of(rows, ids, times, found.taken, own, batch.batch_id)
    features = flat.take(pa.array(rows.fresh)).select(list(range(_FIRST_FEATURE, flat.num_columns)))
    schema_id = _keep_schema(own, features.schema)
    arrived = Arrived(batch.model, batch.version, batch.batch_id, arrival, batch.arrived_us, schema_id)
    labels = {k: found.labels[ids[i]] for k, i in enumerate(rows.fresh) if ids[i] in found.labels}
    while len(own.unfinished) >= MOST_UNFINISHED:
        del own.unfinished[next(iter(own.unfinished))]
    own.unfinished[batch.batch_id] = {ids[i]: place for i, place in zip(rows.fresh, places, strict=True)}
    cells = feature_lines(batch.model, batch.version, features, [ids[i] for i in rows.fresh], places)
    for portion in portions(cells):
        client.write(portion)
    hashes = fresh.content_hash.tolist()
    for portion in portions([prediction_lines(arrived, fresh.rows, hashes, places, rows.fresh, labels)]):
        client.write(portion)
    client.write([_record(arrived, own.number, places)])
    del own.unfinished[batch.batch_id]
    if batch.arrived_us < max(horizon.rows_us, horizon.predictions_us):
        reopen_slot(client, own.number, batch.arrived_us)
    own.remember(batch, [ids[i] for i in rows.fresh], hashes)
    points = {
        ids[i]: Point(batch.model, batch.version, *place, ids[i])
        for k, (i, place) in enumerate(zip(rows.fresh, places, strict=True))
        if k not in labels
    }
    matched = len(labels) + attach_waiting(client, batch.model, points)
    return AppendResult(len(rows.fresh), rows.duplicate, rows.conflict, matched, arrival)


def free_places(ids: Sequence[str], times_us: Sequence[int], taken: set[Place], writer: str) -> Iterator[Place]:
    """A place of its own for each row; those given out are added to ``taken``.

    The nanosecond is the id's hash, else the next free one of the same microsecond. Where all thousand are taken, the
    row goes into the writer's next slot (``3``, ``3.1``, ``3.2`` …).

    >>> list(free_places(["a", "a"], [1, 1], set(), "0"))
    [('0', 1907), ('0', 1908)]
    """
    full: dict[int, int] = {}  # microsecond → slots of the writer that have no nanosecond left
    for prediction_id, time_us in zip(ids, times_us, strict=True):
        first = nanosecond_of(prediction_id)
        overflow = full.get(time_us, 0)
        while True:
            slot = f"{writer}.{overflow}" if overflow else writer
            places = ((slot, time_us * 1000 + (first + step) % 1000) for step in range(1000))
            place = next((place for place in places if place not in taken), None)
            if place is not None:
                break
            overflow += 1
            full[time_us] = overflow
        taken.add(place)
        yield place


def _check_times(times: Iterable[int]) -> None:
    if not all(FIRST_US <= time_us <= LAST_US for time_us in times):
        raise BadInput("InfluxDB keeps event times from 1677-09-21 to 2262-04-11, a row of the batch has another")


def _look(client: Client, batch: PredictionBatch, horizon: Horizon, first_us: int, last_us: int, writer: str) -> _Found:
    """Rows of all versions of the model in the microseconds of the batch."""
    stream = Stream(batch.model, None)
    span = [f"time >= {first_us * 1000}", f"time <= {last_us * 1000 + 999}"]
    wanted = ("prediction_id", "content_hash", "batch_id", "arrival", "arrived_us", "true_label", "label_time_us")
    found = _Found()
    for row in rows_of(client, wanted, [*stream.conditions, *span]):
        place = (row["slot"], row["time"])
        if untag(row["version"]) == batch.version:
            if place[0].partition(".")[0] == writer:
                found.taken.add(place)
            if not horizon.hides(row["arrived_us"]):
                known = _Known(row["content_hash"], row["batch_id"], row["arrival"], place)
                found.rows.setdefault(row["prediction_id"], known)
        elif row["true_label"] is not None and not horizon.hides(row["arrived_us"]):
            found.labels.setdefault(row["prediction_id"], (row["true_label"], row["label_time_us"]))
    return found


def _sort_rows(batch: PredictionBatch, ids: Sequence[str], found: _Found, own: Own) -> _Sorted:
    rows = _Sorted()
    hashes: dict[str, int] = {}
    for i, (prediction_id, content) in enumerate(zip(ids, batch.content_hash.tolist(), strict=True)):
        stands = hashes.get(prediction_id)
        if stands is None:
            known = found.rows.get(prediction_id)
            if known is not None and known.batch_id == batch.batch_id:
                rows.own[i] = known
            else:
                stands = known.content_hash if known else own.recall(batch, prediction_id)
        if stands is None:
            hashes[prediction_id] = content
            rows.fresh.append(i)
        elif stands == content:
            rows.duplicate += 1
        else:
            rows.conflict += 1
    return rows


def _is_complete(client: Client, batch: PredictionBatch, arrival: int) -> bool:
    conditions = [
        *Stream(batch.model, batch.version).conditions,
        f"time >= {arrival * 1000}",
        f"time < {arrival * 1000 + 1000}",
    ]
    rows = client.rows(f"SELECT batch_id FROM {BATCHES}{where(conditions)}")  # noqa: S608
    return any(row["batch_id"] == batch.batch_id for row in rows)


def _places_of(
    rows: _Sorted, ids: Sequence[str], times: Sequence[int], taken: set[Place], own: Own, batch_id: str
) -> list[Place]:
    """Where the fresh rows go: where an earlier try of the batch put them, which may still be on its way, else anew."""
    tried = own.unfinished.get(batch_id, {})
    places = {i: tried[ids[i]] for i in rows.fresh if ids[i] in tried}
    places |= {i: known.place for i, known in rows.own.items()}
    taken |= {place for other in own.unfinished.values() for place in other.values()}
    new = [i for i in rows.fresh if i not in places]
    found = free_places([ids[i] for i in new], [times[i] for i in new], taken, str(own.number))
    places |= dict(zip(new, found, strict=True))
    return [places[i] for i in rows.fresh]


def _keep_schema(own: Own, schema: pa.Schema) -> str:
    """Write the types of the features beside them; the id under which they are found."""
    schema_id, text = encode_schema(schema)
    now = time.monotonic()
    if now - own.schemas.get(schema_id, -SCHEMA_SECONDS) >= SCHEMA_SECONDS:
        own.client.write([f"{SCHEMAS},schema={schema_id} types={field_text(text)}"])
        own.schemas[schema_id] = now
    return schema_id


def _record(batch: Arrived, number: int, places: Sequence[Place]) -> str:
    tags = {"model": tag(batch.model), "version": tag(batch.version), "slot": str(number)}
    times = [time for _, time in places]
    fields = (
        f"batch_id={field_text(batch.batch_id)},arrival={batch.arrival}i,arrived_us={batch.arrived_us}i"
        f",first={min(times)}i,last={max(times)}i,n={len(places)}i"
    )
    at = batch.arrival * 1000 + zlib.crc32(batch.batch_id.encode()) % 1000
    return f"{key(BATCHES, tags)} {fields} {at}"
