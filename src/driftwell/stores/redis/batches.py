"""Whole batches: read back as they were appended, and rewritten without the rows that must go."""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from typing import Any

import numpy as np
import pyarrow as pa
import pyarrow.compute as pc

from driftwell.errors import StoreError
from driftwell.stores.base import ROW_COLUMNS, PredictionBatch, Pruned
from driftwell.stores.encoding import ROW_TYPES, columns_of, decode_whole, no_rows
from driftwell.stores.redis.rows import NARROW_TOGETHER, ChangedError, stored_schema, until_stable
from driftwell.stores.redis.server import CLEAN_ROWS, Server
from driftwell.stores.redis.streams import all_streams, find_streams
from driftwell.stores.redis.values import (
    decode_narrow,
    encode_narrow,
    encode_rows,
    pack_hashes,
    pack_ids,
    read_hashes,
    read_ids,
)

__all__ = ["batch_index", "delete_predictions", "load_batch", "prune"]

MOST_TURNS = 10


def batch_index(server: Server, model: str, version: str) -> list[tuple[int, str]]:
    """``(arrival, batch_id)`` of the batches that have features, oldest first."""
    found: list[tuple[int, str]] = []
    for stream in find_streams(server, model, version):
        ids = server.ask("hgetall", server.key(f"s{stream}:featured"))
        found += [(int(arrival), batch_id.decode()) for arrival, batch_id in ids.items()]
    return sorted(found)


def load_batch(server: Server, model: str, version: str, arrival: int, batch_id: str) -> PredictionBatch:
    """A stored batch as it was appended, without the rows that were deleted since; without any where they are gone."""
    (arrived_us, ids, hashes, _), (narrow, message, schema, _) = _whole(server, arrival)
    wording = None if None in (ids, narrow, message) else stored_schema(server, schema, [arrival])
    if wording is None:
        return PredictionBatch(batch_id, model, version, no_rows(), np.zeros(0, dtype=np.int64), int(arrived_us or 0))
    rows = _joined(read_ids(ids), narrow, decode_whole(wording, [message]))
    return PredictionBatch(batch_id, model, version, rows, read_hashes(hashes), int(arrived_us))


def prune(server: Server, rows_before_us: int | None, predictions_before_us: int | None) -> Pruned:
    """Delete by arrival, a part at a time; see ``PredictionStore.prune``."""
    moments = ["" if moment is None else moment for moment in (rows_before_us, predictions_before_us)]
    rows = predictions = 0
    more = True
    while more:
        n, of, more = server.run("prune", *moments, CLEAN_ROWS)
        rows, predictions = rows + n, predictions + of
    return Pruned(rows, predictions)


def delete_predictions(
    server: Server, prediction_ids: Sequence[str], entity_ids: Sequence[str], model: str | None
) -> int:
    """Delete predictions and what belongs to them; see ``PredictionStore.delete``."""
    ids, entities = set(prediction_ids), set(entity_ids)
    arrivals = _arrivals_of(server, ids, model) if ids else set()
    if entities:
        arrivals |= _arrivals_of_entities(server, entities, model)
    gone = [i for arrival in sorted(arrivals) for i in _rewrite(server, arrival, ids, entities)]
    others = set(gone) - ids
    if others:
        _arrivals_of(server, others, model)  # their early labels
    return len(gone)


def _whole(server: Server, arrival: int) -> tuple[list[Any], list[Any]]:
    """``(arrived, ids, hashes, revision)`` and ``(narrow, rows, schema, revision)`` of one revision."""

    def once() -> tuple[list[Any], list[Any]]:
        about, value = server.ask_all(
            lambda pipe: [
                pipe.hmget(server.key(f"m{arrival}"), "arrived_us", "ids", "hashes", "revision"),
                pipe.hmget(server.key(f"b{arrival}"), "narrow", "rows", "schema", "revision"),
            ]
        )
        if None not in (about[-1], value[-1]) and about[-1] != value[-1]:
            raise ChangedError
        return about, value

    return until_stable(server, once)


def _joined(ids: Sequence[str], narrow: bytes, wide: pa.Table) -> pa.Table:
    """The rows of a batch out of its parts."""
    known = decode_narrow([narrow]).append_column("prediction_id", pa.array(ids, pa.string()))
    columns = [known if name in known.column_names else wide for name in (*ROW_COLUMNS, "features")]
    names = [*ROW_COLUMNS, "features"]
    return pa.table({name: of.column(name) for name, of in zip(names, columns, strict=True)})


def _arrivals_of(server: Server, ids: Iterable[str], model: str | None) -> set[int]:
    """The batches that hold predictions of these ids. Their early labels are deleted."""
    wanted = list(ids)
    return {
        int(arrival)
        for first in range(0, len(wanted), 5_000)
        for arrival in server.run("locate", pack_ids(wanted[first : first + 5_000]), model or "")
    }


def _arrivals_of_entities(server: Server, entities: set[str], model: str | None) -> set[int]:
    """The batches with predictions about these subjects. No index has them: every batch is looked at."""
    found: set[int] = set()
    wanted = pa.array(list(entities), pa.string())
    for stream, (of_model, _) in all_streams(server).items():
        if model not in (None, of_model):
            continue
        hours = [int(h) for h in server.ask("zrange", server.key(f"s{stream}:hours"), 0, -1)]
        keys = server.ask_each("hkeys", [server.key(f"s{stream}:h{hour}") for hour in hours])
        arrivals = sorted({int(arrival) for of_hour in keys for arrival in of_hour})
        for first in range(0, len(arrivals), NARROW_TOGETHER):
            part = arrivals[first : first + NARROW_TOGETHER]
            messages = server.ask_each("hget", [server.key(f"b{arrival}") for arrival in part], "narrow")
            for arrival, message in zip(part, messages, strict=True):
                if message is None:
                    continue
                if pc.any(pc.is_in(decode_narrow([message]).column("entity_id"), wanted)).as_py():
                    found.add(arrival)
    return found


def _rewrite(server: Server, arrival: int, ids: set[str], entities: set[str]) -> list[str]:
    """Write a batch anew without the predictions that must go; their ids."""
    for _ in range(MOST_TURNS):
        (_, packed, hashes, revision), (narrow, message, schema, _) = _whole(server, arrival)
        if packed is None or narrow is None:
            return []
        own = read_ids(packed)
        subjects = decode_narrow([narrow]).column("entity_id").to_pylist()
        goes = np.array([i in ids or e in entities for i, e in zip(own, subjects, strict=True)], dtype=bool)
        if not goes.any():
            return []
        wording = None if message is None else stored_schema(server, schema, [arrival])
        if message is not None and wording is None:
            continue  # the features were pruned this moment
        wide = None if wording is None else decode_whole(wording, [message])
        rows = _joined(own, narrow, _without_features(len(own)) if wide is None else wide)
        kept = columns_of(rows.take(pa.array(np.flatnonzero(~goes))))
        going = [own[i] for i in np.flatnonzero(goes)]
        args = (
            pack_ids([own[i] for i in np.flatnonzero(~goes)]),
            pack_hashes(read_hashes(hashes)[~goes]),
            pack_ids(going),
            encode_narrow(kept),
            b"" if wide is None else encode_rows(kept)[1],
        )
        if server.run("replace", arrival, revision, *args):
            return going
    raise StoreError(f"{server.address.shown}: a batch is being rewritten all the time, try again later")


def _without_features(n: int) -> pa.Table:
    nothing = {name: pa.nulls(n, ROW_TYPES[name]) for name in ROW_COLUMNS}
    return pa.table(nothing | {"features": pa.nulls(n, pa.struct([]))})
