"""What is too old: hidden from every reader at once, then deleted where no younger row stands in between.

Retention counts from arrival, but InfluxDB deletes by event time. So the moment before which arrivals do not count any
more is kept as a point of ``model_retention`` which every query obeys, and the points themselves are deleted by ranges
of event time that hold only expired batches. Ranges are looked at for one writer's slot at a time, and only by who
holds its number: nobody can be writing there.
"""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from typing import Any

from driftwell.stores.base import Pruned
from driftwell.stores.influx.cells import FEATURES
from driftwell.stores.influx.client import Client
from driftwell.stores.influx.lines import FIRST_US, literal, untag, where
from driftwell.stores.influx.points import PREDICTIONS, Stream

__all__ = ["BATCHES", "Horizon", "announce", "horizon_of", "reopen_slot", "slots_to_sweep", "subtract", "sweep_slot"]

BATCHES = "model_batches"
RETENTION = "model_retention"
LABELS = "model_labels"

Span = tuple[int, int]
"""First and last time, both in it, in nanoseconds."""

_NEVER = -(1 << 62)
_EARLIEST = FIRST_US * 1000


@dataclass(frozen=True, slots=True)
class Horizon:
    """Arrivals (microseconds) before which feature rows, and whole predictions, are not there any more."""

    rows_us: int = _NEVER
    predictions_us: int = _NEVER

    def hides(self, arrived_us: int) -> bool:
        """Whether a prediction of a batch that arrived then is gone."""
        return arrived_us < self.predictions_us

    @property
    def of_predictions(self) -> list[str]:
        """The condition on predictions, where there is one."""
        return [f"arrived_us >= {self.predictions_us}"] if self.predictions_us > _NEVER else []

    @property
    def of_rows(self) -> list[str]:
        """The condition on rows with features, where there is one."""
        latest = max(self.rows_us, self.predictions_us)
        return [f"arrived_us >= {latest}"] if latest > _NEVER else []


def horizon_of(client: Client, slot: str = "all") -> Horizon:
    """The moments before which arrivals are hidden; for a slot, those before which they are deleted."""
    parts = ("rows_before_us", "predictions_before_us")
    sql = "; ".join(
        f"SELECT last({part}) AS last FROM {RETENTION} WHERE slot = {literal(slot)}"  # noqa: S608
        for part in parts
    )
    found = [_NEVER, _NEVER]
    for series in client.query(sql):
        found[series.statement] = series.values[0][1]
    return Horizon(*found)


def announce(client: Client, rows_us: int | None, predictions_us: int | None) -> Pruned:
    """Hide what arrived before; what that newly hides."""
    old = horizon_of(client)
    new = Horizon(max(old.rows_us, rows_us or _NEVER), max(old.predictions_us, predictions_us or _NEVER))
    before, after = max(old.rows_us, old.predictions_us), max(new.rows_us, new.predictions_us)
    gone = Pruned(_count(client, before, after), _count(client, old.predictions_us, new.predictions_us))
    if new != old:
        _write_horizon(client, "all", new)
    return gone


def slots_to_sweep(client: Client) -> list[int]:
    """Numbers of the writers that have batches."""
    found = client.ask(f'SHOW TAG VALUES FROM {BATCHES} WITH KEY = "slot"')
    return sorted({int(row[1]) for series in found for row in series.values if row[1].isdigit()})


def sweep_slot(client: Client, number: int) -> None:
    """Delete what is hidden in the slots of this writer, whose number the caller must hold."""
    horizon, done = horizon_of(client), horizon_of(client, str(number))
    if horizon == done:
        return
    # Rows between younger ones of the same time are left for the next time: from there it starts again.
    rows_left = _sweep(client, number, FEATURES, done.rows_us, max(horizon.rows_us, horizon.predictions_us))
    left = _sweep(client, number, PREDICTIONS, done.predictions_us, horizon.predictions_us)
    if horizon.predictions_us > done.predictions_us:
        _forget_batches(client, number, left)
        _delete(client, LABELS, number, [], [(_EARLIEST, horizon.predictions_us * 1000 - 1)])  # their time is arrival
    _write_horizon(client, str(number), Horizon(min(rows_left, horizon.rows_us), min(left, horizon.predictions_us)))


def reopen_slot(client: Client, number: int, arrived_us: int) -> None:
    """A batch that arrived long ago was stored only now: what is deleted already begins before it."""
    done = horizon_of(client, str(number))
    if arrived_us < max(done.rows_us, done.predictions_us):
        earlier = Horizon(min(done.rows_us, arrived_us), min(done.predictions_us, arrived_us))
        _write_horizon(client, str(number), earlier)


def subtract(spans: Iterable[Span], kept: Iterable[Span]) -> list[Span]:
    """The parts of ``spans`` that lie in none of ``kept``, joined where they touch or overlap.

    >>> subtract([(0, 9), (5, 20)], [(3, 4), (18, 30)])
    [(0, 2), (5, 17)]
    """
    out = []
    others = _joined(kept)
    for low, high in _joined(spans):
        for first, last in others:
            if last < low:
                continue
            if first > high:
                break
            if first > low:
                out.append((low, first - 1))
            low = last + 1
        if low <= high:
            out.append((low, high))
    return out


def _joined(spans: Iterable[Span]) -> list[Span]:
    out: list[Span] = []
    for low, high in sorted(spans):
        if out and low <= out[-1][1] + 1:
            out[-1] = (out[-1][0], max(high, out[-1][1]))
        else:
            out.append((low, high))
    return out


def _sweep(client: Client, number: int, measurement: str, from_us: int, before_us: int) -> int:
    """Delete the points of batches that arrived in ``[from, before)``; the arrival from which on some are left."""
    if before_us <= from_us:
        return from_us
    left = before_us
    for (model, version), batches in _batches(client, number, from_us).items():
        expired = [b for b in batches if b["arrived_us"] < before_us]
        kept = [(b["first"], b["last"]) for b in batches if b["arrived_us"] >= before_us]
        gone = subtract(((b["first"], b["last"]) for b in expired), kept)
        _delete(client, measurement, number, Stream(model, version).conditions, gone)
        blocked = [b["arrived_us"] for b in expired if any(_overlap((b["first"], b["last"]), k) for k in _joined(kept))]
        left = min([left, *blocked])
    return left


def _forget_batches(client: Client, number: int, before_us: int) -> None:
    """Delete the records of batches whose predictions are deleted, in runs without a younger one between."""
    for (model, version), batches in _batches(client, number, _NEVER).items():
        expired = [b["time"] for b in batches if b["arrived_us"] < before_us]
        kept = [(b["time"], b["time"]) for b in batches if b["arrived_us"] >= before_us]
        if expired:
            runs = subtract([(min(expired), max(expired))], kept)
            _delete(client, BATCHES, number, Stream(model, version).conditions, runs)


def _batches(client: Client, number: int, from_us: int) -> dict[tuple[str, str], list[dict[str, Any]]]:
    conditions = [f"slot = {literal(str(number))}", *([f"arrived_us >= {from_us}"] if from_us > _NEVER else [])]
    sql = f"SELECT arrived_us, first, last FROM {BATCHES}{where(conditions)} GROUP BY model, version"  # noqa: S608
    out: dict[tuple[str, str], list[dict[str, Any]]] = {}
    for row in client.rows(sql):
        out.setdefault((untag(row["model"]), untag(row["version"])), []).append(row)
    return out


def _delete(client: Client, measurement: str, number: int, stream: Sequence[str], spans: Sequence[Span]) -> None:
    own = f"slot =~ /^{number}(\\.[0-9]+)?$/"
    for low, high in spans:
        conditions = [*stream, own, f"time >= {low}", f"time <= {high}"]
        client.ask(f"DELETE FROM {measurement}{where(conditions)}")  # noqa: S608


def _overlap(one: Span, other: Span) -> bool:
    return one[0] <= other[1] and other[0] <= one[1]


def _count(client: Client, from_us: int, before_us: int) -> int:
    if before_us <= from_us:
        return 0
    conditions = [f"arrived_us < {before_us}", *([f"arrived_us >= {from_us}"] if from_us > _NEVER else [])]
    sql = f"SELECT count(prediction_id) FROM {PREDICTIONS}{where(conditions)}"  # noqa: S608
    return sum(series.values[0][1] for series in client.query(sql))


def _write_horizon(client: Client, slot: str, horizon: Horizon) -> None:
    named = {"rows_before_us": horizon.rows_us, "predictions_before_us": horizon.predictions_us}
    fields = [f"{name}={value}i" for name, value in named.items() if value > _NEVER]
    if fields:
        client.write([f"{RETENTION},slot={slot} {','.join(fields)}"])
