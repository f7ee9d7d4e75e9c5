"""What one process knows of its own writing: its connections, its writer number, the ids it wrote lately."""

from __future__ import annotations

import threading
import time

from driftwell.stores.base import PredictionBatch
from driftwell.stores.influx.address import Address
from driftwell.stores.influx.cells import Place
from driftwell.stores.influx.client import Client
from driftwell.stores.influx.retention import BATCHES
from driftwell.stores.influx.writers import Claim, claim_number, release, renew

__all__ = ["SCHEMAS", "Own"]

SCHEMAS = "model_schemas"
MOST_REMEMBERED = 100_000
"""Ids kept in memory by which a repetition is known whatever its event time (about 20 MB)."""


class Own:
    """The writing side of a store in one process. ``lock`` is held by whoever appends or sweeps."""

    def __init__(self, address: Address) -> None:
        self.client = Client(address)
        self.lock = threading.Lock()
        self.schemas: dict[str, float] = {}
        self.unfinished: dict[str, dict[str, Place]] = {}
        """Batches whose writing failed midway, and where each of their rows goes: some may be there already."""
        self._claim: Claim | None = None
        self._ids: dict[tuple[str, str, str], int] = {}
        self._last_arrival = 0
        self._last_time = 0

    @property
    def number(self) -> int:
        """The writer number of this process, claimed when it is first needed."""
        if self._claim is not None and not renew(self.client, self._claim):
            self._claim = None
        if self._claim is None:
            self._claim = claim_number(self.client)
            assert self._claim is not None
        return self._claim.number

    @property
    def held(self) -> int | None:
        """The writer number, None where this process never wrote."""
        return None if self._claim is None else self._claim.number

    def next_arrival(self, arrived_us: int) -> int:
        """The arrival number of a batch: its arrival in microseconds, but more than that of any batch before."""
        series = self.client.ask(f"SELECT last(batch_id) FROM {BATCHES}")  # noqa: S608
        last = max([self._last_arrival, *(s.values[0][0] // 1000 for s in series)])
        self._last_arrival = max(arrived_us, last + 1)
        return self._last_arrival

    def next_time(self) -> int:
        """Now in nanoseconds, and never the same twice."""
        self._last_time = max(time.time_ns(), self._last_time + 1)
        return self._last_time

    def remember(self, batch: PredictionBatch, ids: list[str], hashes: list[int]) -> None:
        """Keep what was written in mind."""
        for prediction_id, content in zip(ids, hashes, strict=True):
            self._ids[batch.model, batch.version, prediction_id] = content
        while len(self._ids) > MOST_REMEMBERED:
            del self._ids[next(iter(self._ids))]

    def recall(self, batch: PredictionBatch, prediction_id: str) -> int | None:
        """The content hash under which this process wrote the id lately."""
        return self._ids.get((batch.model, batch.version, prediction_id))

    def forget(self) -> None:
        """What was remembered may be gone: retention took some of it."""
        self._ids.clear()

    def close(self) -> None:
        """Give the number back and close connections."""
        if self._claim is not None and not self.unfinished:
            release(self.client, self._claim)
        self._claim = None
        self.client.close()
