"""Attaching the truth to predictions: as fields of their points, or kept in ``model_labels`` until they arrive.

A label and its prediction may be written at the same moment by two processes. Each writes its own first and then looks
for the other's, so that at least one of them finds both.
"""

from __future__ import annotations

from collections.abc import Collection, Iterable, Mapping, Sequence
from contextlib import suppress
from dataclasses import dataclass
from typing import Any

from driftwell.errors import NotSupported
from driftwell.stores.base import Label, LabelCounts
from driftwell.stores.influx.client import Client
from driftwell.stores.influx.lines import bucket_of, field_text, key, literal, untag, where
from driftwell.stores.influx.points import PREDICTIONS, Point
from driftwell.stores.influx.process import Own
from driftwell.stores.influx.retention import LABELS, Horizon, horizon_of
from driftwell.stores.labels import ANY_MODEL, Scored, decide

__all__ = ["add_labels", "attach_waiting"]

MOST_NAMED = 10
"""Ids named in one condition; for more it is faster to read all ids of a bucket and to choose here."""
DELETES_TOGETHER = 100


@dataclass(frozen=True, slots=True)
class _Waiting:
    """An early label as it is stored."""

    true_label: str
    label_time_us: int
    model: str  # empty: of whichever model
    slot: str
    time: int


def add_labels(own: Own, labels: Sequence[Label]) -> LabelCounts:
    """Attach or keep ``labels``; see ``PredictionStore.add_labels``. The caller holds ``own.lock``."""
    client = own.client
    ids = {label.prediction_id for label in labels}
    horizon = horizon_of(client)
    waiting = _find_waiting(client, ids)
    kept_already = {(name, w.model): w.true_label for name, found in waiting.items() for w in reversed(found)}
    decided = decide(labels, _find_scored(client, ids, horizon), kept_already)
    client.write([point.line(_label_fields(label.true_label, label.time_us)) for label, point in decided.attach])
    if decided.keep:
        kept = {labels[i].prediction_id: i for i in reversed(decided.keep)}
        client.write([_early_line(labels[i], own.number, own.next_time()) for i in decided.keep])
        for i in _attach_overtaken(client, {name: labels[i] for name, i in kept.items()}, horizon):
            decided.fates[kept[i]] = "matched"
    return decided.counts()


def attach_waiting(client: Client, model: str, points: Mapping[str, Point]) -> int:
    """Give predictions just stored the labels that were there before them; how many that were."""
    waiting = _find_waiting(client, points.keys())
    lines, used = [], []
    for prediction_id, found in waiting.items():
        own = sorted((w for w in found if w.model in (ANY_MODEL, model)), key=lambda w: w.time)
        if own:
            lines.append(points[prediction_id].line(_label_fields(own[0].true_label, own[0].label_time_us)))
            used += own
    client.write(lines)
    _forget(client, used)
    return len(lines)


def _attach_overtaken(client: Client, kept: dict[str, Label], horizon: Horizon) -> list[str]:
    """Labels whose predictions were written while they were being kept; the ids of those that found theirs."""
    out = []
    for prediction_id, models in _find_scored(client, kept.keys(), horizon).items():
        label = kept[prediction_id]
        meant = [found for model, found in models.items() if label.model in (None, model)]
        if len(meant) == 1 and meant[0].true_label is None:
            client.write([p.line(_label_fields(label.true_label, label.time_us)) for p in meant[0].predictions])
            _forget(client, _find_waiting(client, [prediction_id])[prediction_id])
            out.append(prediction_id)
    return out


def _find_scored(client: Client, ids: Collection[str], horizon: Horizon) -> dict[str, dict[str, Scored[Point]]]:
    """``{id: {model: what is known}}`` of the predictions with these ids."""
    buckets: dict[str, list[str]] = {}
    for prediction_id in ids:
        buckets.setdefault(bucket_of(prediction_id), []).append(prediction_id)
    scored: dict[str, dict[str, Scored[Point]]] = {}
    for row in _predictions(client, buckets, horizon):
        prediction_id, model = row["prediction_id"], untag(row["model"])
        if prediction_id in ids:
            found = scored.setdefault(prediction_id, {}).setdefault(model, Scored())
            found.predictions.append(Point(model, untag(row["version"]), row["slot"], row["time"], prediction_id))
            found.true_label = found.true_label if row["true_label"] is None else row["true_label"]
    return scored


def _predictions(client: Client, buckets: dict[str, list[str]], horizon: Horizon) -> Iterable[dict[str, Any]]:
    for bucket, names in buckets.items():
        conditions = [f"bucket = {literal(bucket)}", *horizon.of_predictions]
        if len(names) <= MOST_NAMED and "\0" not in "".join(names):  # which no query can name
            conditions.append("(" + " OR ".join(f"prediction_id = {literal(name)}" for name in names) + ")")
        sql = f"SELECT prediction_id, true_label FROM {PREDICTIONS}{where(conditions)}"  # noqa: S608
        yield from client.rows(f"{sql} GROUP BY model, version, slot")


def _find_waiting(client: Client, ids: Collection[str]) -> dict[str, list[_Waiting]]:
    """Early labels of these ids that no prediction has taken yet, oldest first."""
    fields = "prediction_id, true_label, label_time_us, model, used"
    out: dict[str, list[_Waiting]] = {}
    for row in client.rows(f"SELECT {fields} FROM {LABELS} GROUP BY slot"):  # noqa: S608
        # One that is being written shows some of its fields; who writes it looks for the prediction afterwards.
        is_whole = None not in (row["true_label"], row["label_time_us"])
        if row["prediction_id"] in ids and is_whole and not row["used"]:
            found = _Waiting(row["true_label"], row["label_time_us"], row["model"] or "", row["slot"], row["time"])
            out.setdefault(row["prediction_id"], []).append(found)
    for waiting in out.values():
        waiting.sort(key=lambda w: w.time)
    return out


def _forget(client: Client, used: Sequence[_Waiting]) -> None:
    """Early labels that found their prediction: marked first, then deleted where the server can."""
    client.write([f"{key(LABELS, {'slot': w.slot})} used=true {w.time}" for w in used])
    with suppress(NotSupported):
        for start in range(0, len(used), DELETES_TOGETHER):
            some = used[start : start + DELETES_TOGETHER]
            client.ask("; ".join(f"DELETE FROM {LABELS} WHERE slot = '{w.slot}' AND time = {w.time}" for w in some))  # noqa: S608


def _early_line(label: Label, number: int, time: int) -> str:
    fields = [f"prediction_id={field_text(label.prediction_id)}", _label_fields(label.true_label, label.time_us)]
    fields += [f"model={field_text(label.model)}"] if label.model is not None else []
    return f"{key(LABELS, {'slot': str(number)})} {','.join(fields)} {time}"


def _label_fields(true_label: str, time_us: int) -> str:
    return f"true_label={field_text(true_label)},label_time_us={time_us}i"
