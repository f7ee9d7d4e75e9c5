"""Attaching the truth to predictions: at once, or when the prediction arrives after its label."""

from __future__ import annotations

from collections.abc import Iterable, Sequence

from driftwell.stores.base import Label, LabelCounts
from driftwell.stores.labels import ANY_MODEL, Scored, decide, waiting_place
from driftwell.stores.postgres.connection import Connection, fetch

__all__ = ["add_labels", "attach_early", "attach_from"]

_Prediction = tuple[int, int, int]
"""Key, stream and event time."""
_Attached = tuple[int, int, int, str, int]
"""A row of ``labels``: key, stream, event time, label, time of the label."""

_SCORED = (
    "SELECT p.prediction_id, s.model, p.key, p.stream, p.time_us, l.true_label FROM predictions p"
    " JOIN streams s ON s.id = p.stream LEFT JOIN labels l ON l.key = p.key WHERE p.prediction_id = ANY(%b)"
)
_ATTACH = (
    "INSERT INTO labels (key, stream, time_us, true_label, label_time_us)"
    " SELECT * FROM unnest(%b::bigint[], %b::integer[], %b::bigint[], %b::text[], %b::bigint[])"
)
_KEEP = (
    "INSERT INTO early_labels (prediction_id, model, true_label, time_us)"
    " SELECT * FROM unnest(%b::text[], %b::text[], %b::text[], %b::bigint[])"
)


def add_labels(connection: Connection, labels: Sequence[Label]) -> LabelCounts:
    """Attach or keep ``labels``; see ``PredictionStore.add_labels``. Needs ``lock_for_labels``."""
    ids = list(dict.fromkeys(label.prediction_id for label in labels))
    decided = decide(labels, _find_scored(connection, ids), _find_waiting(connection, ids))
    _attach(connection, [(*prediction, label.true_label, label.time_us) for label, prediction in decided.attach])
    keep = [(*waiting_place(labels[i]), labels[i].true_label, labels[i].time_us) for i in decided.keep]
    if keep:
        connection.execute(_KEEP, [list(column) for column in zip(*keep, strict=True)])
    return decided.counts()


def attach_early(connection: Connection, model: str, keys: tuple[int, int]) -> int:
    """Give the predictions just stored under ``keys`` (first, last) the labels that came before them; how many."""
    # FOR UPDATE, in one order: another model that scored the same id may be about to take the same label.
    sql = (
        "SELECT p.key, p.stream, p.time_us, e.true_label, e.time_us, e.id FROM predictions p JOIN early_labels e"
        " ON e.prediction_id = p.prediction_id AND e.model IN (%s, %s)"
        " WHERE p.key BETWEEN %s AND %s ORDER BY e.id FOR UPDATE OF e"
    )
    rows = fetch(connection, sql, (ANY_MODEL, model, *keys))
    first: dict[int, _Attached] = {}
    for key, own, time_us, true_label, label_time_us, _ in rows:
        first.setdefault(key, (key, own, time_us, true_label, label_time_us))
    _attach(connection, first.values())
    if rows:
        connection.execute("DELETE FROM early_labels WHERE id = ANY(%s)", ([row[-1] for row in rows],))
    return len(first)


def attach_from(connection: Connection, others: list[int], keys: tuple[int, int]) -> int:
    """Give the predictions just stored under ``keys`` the labels of the same ids in the model's other versions."""
    sql = (
        "INSERT INTO labels (key, stream, time_us, true_label, label_time_us)"
        " SELECT p.key, p.stream, p.time_us, l.true_label, l.label_time_us FROM predictions p"
        " JOIN predictions o ON o.prediction_id = p.prediction_id AND o.stream = ANY(%s)"
        " JOIN labels l ON l.key = o.key WHERE p.key BETWEEN %s AND %s ON CONFLICT (key) DO NOTHING"
    )
    return connection.execute(sql, (others, *keys)).rowcount


def _find_scored(connection: Connection, ids: list[str]) -> dict[str, dict[str, Scored[_Prediction]]]:
    scored: dict[str, dict[str, Scored[_Prediction]]] = {}
    for prediction_id, model, key, stream, time_us, true_label in fetch(connection, _SCORED, (ids,)):
        found = scored.setdefault(prediction_id, {}).setdefault(model, Scored())
        found.predictions.append((key, stream, time_us))
        found.true_label = found.true_label if true_label is None else true_label
    return scored


def _find_waiting(connection: Connection, ids: list[str]) -> dict[tuple[str, str], str]:
    sql = "SELECT prediction_id, model, true_label FROM early_labels WHERE prediction_id = ANY(%b)"
    return {(prediction_id, model): true_label for prediction_id, model, true_label in fetch(connection, sql, (ids,))}


def _attach(connection: Connection, rows: Iterable[_Attached]) -> None:
    columns = [list(column) for column in zip(*rows, strict=True)]
    if columns:
        connection.execute(_ATTACH, columns)
