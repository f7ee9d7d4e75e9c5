"""Attaching the truth to predictions: at once, or when the prediction arrives after its label."""

from __future__ import annotations

from collections.abc import Iterable, Sequence

import apsw

from driftwell.stores.base import Label, LabelCounts
from driftwell.stores.labels import ANY_MODEL, Scored, decide, waiting_place
from driftwell.stores.sqlite.streams import find_streams

__all__ = ["add_labels", "attach_waiting_labels"]

_SCORED = (
    "SELECT p.prediction_id, s.model, p.key, p.true_label FROM predictions p"
    " JOIN streams s ON s.id = p.stream WHERE p.prediction_id = ?"
)
_ATTACH = "UPDATE predictions SET true_label = ?, label_time_us = ? WHERE key = ?"
_KEEP = "INSERT INTO early_labels (prediction_id, model, true_label, time_us) VALUES (?, ?, ?, ?)"


def add_labels(connection: apsw.Connection, labels: Sequence[Label]) -> LabelCounts:
    """Attach or keep ``labels``; see ``PredictionStore.add_labels``. Needs a write transaction."""
    ids = dict.fromkeys(label.prediction_id for label in labels)
    decided = decide(labels, _find_scored(connection, ids), _find_waiting(connection, ids))
    connection.executemany(_ATTACH, ((label.true_label, label.time_us, key) for label, key in decided.attach))
    early = (labels[i] for i in decided.keep)
    connection.executemany(_KEEP, ((*waiting_place(label), label.true_label, label.time_us) for label in early))
    return decided.counts()


def attach_waiting_labels(connection: apsw.Connection, model: str, stream: int, keys: tuple[int, int]) -> int:
    """Give the predictions just stored under ``keys`` (first, last) the labels that were there before them.

    Those are labels of the same id in another version of the model, and labels that came early.
    """
    matched = _attach_early(connection, model, keys)
    others = [s for s in find_streams(connection, model, None) if s != stream]
    return matched + sum(_attach_from(connection, other, keys) for other in others)


def _find_scored(connection: apsw.Connection, ids: Iterable[str]) -> dict[str, dict[str, Scored[int]]]:
    scored: dict[str, dict[str, Scored[int]]] = {}
    for prediction_id, model, key, true_label in connection.executemany(_SCORED, ((i,) for i in ids)):
        found = scored.setdefault(prediction_id, {}).setdefault(model, Scored())
        found.predictions.append(key)
        found.true_label = true_label
    return scored


def _find_waiting(connection: apsw.Connection, ids: Iterable[str]) -> dict[tuple[str, str], str]:
    if not _any_wait(connection):
        return {}
    sql = "SELECT prediction_id, model, true_label FROM early_labels WHERE prediction_id = ?"
    rows = connection.executemany(sql, ((i,) for i in ids))
    return {(prediction_id, model): true_label for prediction_id, model, true_label in rows}


def _any_wait(connection: apsw.Connection) -> bool:
    return bool(connection.execute("SELECT EXISTS (SELECT 1 FROM early_labels)").get)


def _attach_early(connection: apsw.Connection, model: str, keys: tuple[int, int]) -> int:
    if not _any_wait(connection):
        return 0
    sql = (
        "SELECT p.key, e.prediction_id, e.true_label, e.time_us FROM predictions p CROSS JOIN early_labels e"
        " ON e.prediction_id = p.prediction_id AND e.model IN (?, ?)"
        " WHERE p.key BETWEEN ? AND ? ORDER BY e.id DESC"
    )
    rows = connection.execute(sql, (ANY_MODEL, model, *keys)).fetchall()
    first = {key: (true_label, time_us, key) for key, _, true_label, time_us in rows}
    connection.executemany(_ATTACH, first.values())
    used = ((prediction_id, ANY_MODEL, model) for _, prediction_id, _, _ in rows)
    connection.executemany("DELETE FROM early_labels WHERE prediction_id = ? AND model IN (?, ?)", used)
    return len(first)


def _attach_from(connection: apsw.Connection, other: int, keys: tuple[int, int]) -> int:
    sql = (
        "SELECT o.true_label, o.label_time_us, p.key FROM predictions p CROSS JOIN predictions o"
        " ON o.prediction_id = p.prediction_id AND o.stream = ?"
        " WHERE p.key BETWEEN ? AND ? AND p.true_label IS NULL AND o.true_label IS NOT NULL"
    )
    rows = connection.execute(sql, (other, *keys)).fetchall()
    connection.executemany(_ATTACH, rows)
    return len(rows)
