"""Storing a batch: everything that can be done beforehand, then one script that stores all of it or nothing.

The leaves are built before, in the hope that every row is new. When the script says that some are known after all,
they are dropped, and the rest is prepared again.
"""

from __future__ import annotations

import hashlib
import os
import threading
from collections import OrderedDict
from collections.abc import Sequence
from dataclasses import dataclass, field

import msgspec
import numpy as np
import numpy.typing as npt
import pyarrow as pa

from driftwell.errors import BadInput
from driftwell.stores.appending import check_hashes, new_rows
from driftwell.stores.base import HOUR_US, AppendResult, LeafBuilder, PredictionBatch
from driftwell.stores.encoding import columns_of
from driftwell.stores.redis.hours import pack_hour
from driftwell.stores.redis.server import LAYOUT, OutOfMemoryError, Server
from driftwell.stores.redis.streams import stream_name
from driftwell.stores.redis.values import encode_narrow, encode_rows, pack_hashes, pack_ids, read_hashes
from driftwell.stores.summaries import outputs_of, summarise

__all__ = ["Attempts", "append_batch"]

MOST_UNSURE = 64
"""Batches that are remembered because no answer came: whether they are stored shows when they are offered again."""
TOKEN_BYTES = 8


@dataclass(frozen=True, slots=True)
class _Attempt:
    """The rows that one call of the script offers, and how many of the others have the same content."""

    fresh: npt.NDArray[np.int64]
    duplicate: int


@dataclass(slots=True)
class Attempts:
    """Calls of the script that ended in an error, by batch id and token: they may have stored the batch all the same.

    The script keeps the token with the batch, so that the next time the batch is offered tells.
    """

    _unsure: OrderedDict[str, dict[bytes, _Attempt]] = field(default_factory=OrderedDict)
    _lock: threading.Lock = field(default_factory=threading.Lock)

    def note(self, batch_id: str, token: bytes, attempt: _Attempt) -> None:
        """Remember a call."""
        with self._lock:
            self._unsure.setdefault(batch_id, {})[token] = attempt
            self._unsure.move_to_end(batch_id)
            while len(self._unsure) > MOST_UNSURE:
                self._unsure.popitem(last=False)

    def forget(self, batch_id: str) -> dict[bytes, _Attempt]:
        """The calls that are remembered of a batch, for the last time: its fate is known."""
        with self._lock:
            return self._unsure.pop(batch_id, {})


def append_batch(
    server: Server, attempts: Attempts, batch: PredictionBatch, leaves: LeafBuilder, keep_ms: int
) -> AppendResult:
    """Store the rows of ``batch`` that are new; see ``PredictionStore.append``."""
    _check_size(batch, server.address.max_rows)
    if not len(batch):
        return AppendResult(0)
    flat = columns_of(batch.rows)
    ids: list[str] = flat.column(0).to_pylist()
    hashes: list[int] = batch.content_hash.tolist()
    known: dict[str, int] = {}
    while True:
        fresh, duplicate = new_rows(ids, hashes, known)
        attempt, token = _Attempt(fresh, duplicate), os.urandom(TOKEN_BYTES)
        whole = len(fresh) == len(batch)
        new = batch if whole else batch.take(fresh)
        if len(new):
            leaves(new)
        args = _arguments(new, flat if whole else flat.take(fresh), ids if whole else [ids[i] for i in fresh])
        try:
            answer = _store(server, [*args, keep_ms, server.address.max_rows, token, LAYOUT])
        except BaseException:
            attempts.note(batch.batch_id, token, attempt)
            raise
        if answer[0] == b"stored":
            attempts.forget(batch.batch_id)
            return _result(batch, attempt, answer[1], answer[2])
        if answer[0] == b"applied":
            # Ours where the driver had to send it twice, or where an earlier answer was lost.
            earlier = (attempts.forget(batch.batch_id) | {token: attempt}).get(answer[2])
            if earlier is None:
                return AppendResult(0, duplicate=len(batch))
            if earlier is not attempt and len(earlier.fresh):
                leaves(batch.take(earlier.fresh))  # the last call is the one whose leaves count
            return _result(batch, earlier, answer[1], answer[3])
        positions = msgspec.msgpack.decode(answer[1], type=list[int])
        contents = read_hashes(answer[2]).tolist()
        known |= {ids[fresh[i]]: content for i, content in zip(positions, contents, strict=True)}


def _result(batch: PredictionBatch, attempt: _Attempt, arrival: bytes, matched: bytes) -> AppendResult:
    stored = len(attempt.fresh)
    return AppendResult(
        stored,
        attempt.duplicate,
        len(batch) - stored - attempt.duplicate,
        int(matched),
        int(arrival) if stored else None,
    )


def _store(server: Server, args: Sequence[object]) -> list[bytes]:
    try:
        answer: list[bytes] = server.run("append", *args)
    except OutOfMemoryError:
        if not server.clean():
            raise
        answer = server.run("append", *args)
    return answer


def _arguments(batch: PredictionBatch, flat: pa.Table, ids: Sequence[str]) -> list[object]:
    times = flat.column(1).cast("int64").to_numpy()
    scores, predictions = flat.column(3).to_pylist(), flat.column(2).to_pylist()
    hours = summarise(times, outputs_of(scores, predictions))
    schema, rows = encode_rows(flat)
    return [
        batch.batch_id,
        stream_name(batch.model, batch.version),
        pack_ids(ids),
        pack_hashes(batch.content_hash),
        " ".join(str(hour_us // HOUR_US) for hour_us in hours),
        b"".join(pack_hour(hour) for hour in hours.values()),
        encode_narrow(flat),
        rows,
        _digest(schema),
        schema,
        batch.arrived_us,
    ]


def _digest(schema: bytes) -> str:
    return hashlib.sha256(schema).hexdigest()[:32]


def _check_size(batch: PredictionBatch, max_rows: int) -> None:
    if len(batch) > max_rows:
        raise BadInput(
            f"a batch of {len(batch):,} rows does not fit: this store keeps {max_rows:,}; split it or raise max_rows"
        )
    check_hashes(batch)
