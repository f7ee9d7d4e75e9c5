"""Attaching the truth to predictions: at once, or when the prediction arrives after its label.

All versions of a model that scored an id carry the same label, and of several labels the first stands.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Sequence
from dataclasses import dataclass, field

import apsw

from driftwell.errors import BadInput
from driftwell.stores.base import Label, LabelCounts
from driftwell.stores.sqlite.streams import find_streams

__all__ = ["add_labels", "attach_waiting_labels", "check_labels"]

_ANY_MODEL = ""

_SCORED = (
    "SELECT p.prediction_id, s.model, p.key, p.true_label FROM predictions p"
    " JOIN streams s ON s.id = p.stream WHERE p.prediction_id = ?"
)
_ATTACH = "UPDATE predictions SET true_label = ?, label_time_us = ? WHERE key = ?"
_EARLY = (
    "INSERT INTO early_labels (prediction_id, model, true_label, time_us) VALUES (?, ?, ?, ?)"
    " ON CONFLICT (prediction_id, model) DO NOTHING"
)


@dataclass(slots=True)
class _Scored:
    """The predictions of one id in one model: their keys, and the label they carry."""

    keys: list[int] = field(default_factory=list)
    true_label: str | None = None


def check_labels(labels: Sequence[Label]) -> None:
    """Raise ``BadInput`` for a label whose text no store could keep."""
    for label in labels:
        try:
            f"{label.prediction_id}{label.true_label}{label.model}".encode()
        except UnicodeEncodeError as exc:
            raise BadInput(f"a label is not valid Unicode text: {label!r}") from exc


def add_labels(connection: apsw.Connection, labels: Sequence[Label]) -> LabelCounts:
    """Attach or keep ``labels``; see ``PredictionStore.add_labels``. Needs a write transaction.

    Each label is counted once, however many versions it goes to.
    """
    scored = _find_scored(connection, labels)
    fates: list[str] = []
    owners: list[str | None] = []
    ambiguous: dict[str, list[str]] = {}
    attach: list[tuple[str, int, int]] = []
    for label in labels:
        models = scored.get(label.prediction_id, {})
        named = {model: found for model, found in models.items() if label.model in (None, model)}
        meant = list(named.values())
        owners.append(next(iter(named)) if len(named) == 1 else None)
        if len(meant) > 1:
            ambiguous[label.prediction_id] = sorted(models)
            fates.append("ambiguous")
        elif not meant:
            fates.append(_keep_early(connection, label))
        elif meant[0].true_label is None:
            attach += [(label.true_label, label.time_us, key) for key in meant[0].keys]
            meant[0].true_label = label.true_label
            fates.append("matched")
        else:
            fates.append(_repeated(meant[0].true_label, label.true_label))
    connection.executemany(_ATTACH, attach)
    n = Counter(fates)
    return LabelCounts(
        n["matched"], n["early"], n["duplicate"], n["conflicting"], ambiguous, tuple(fates), tuple(owners)
    )


def attach_waiting_labels(connection: apsw.Connection, model: str, stream: int, keys: tuple[int, int]) -> int:
    """Give the predictions just stored under ``keys`` (first, last) the labels that were there before them.

    Those are labels of the same id in another version of the model, and labels that came early.
    """
    matched = _attach_early(connection, model, keys)
    others = [s for s in find_streams(connection, model, None) if s != stream]
    return matched + sum(_attach_from(connection, other, keys) for other in others)


def _find_scored(connection: apsw.Connection, labels: Sequence[Label]) -> dict[str, dict[str, _Scored]]:
    scored: dict[str, dict[str, _Scored]] = {}
    ids = dict.fromkeys(label.prediction_id for label in labels)
    rows = connection.executemany(_SCORED, ((i,) for i in ids))
    for prediction_id, model, key, true_label in rows:
        found = scored.setdefault(prediction_id, {}).setdefault(model, _Scored())
        found.keys.append(key)
        found.true_label = true_label
    return scored


def _keep_early(connection: apsw.Connection, label: Label) -> str:
    model = label.model or _ANY_MODEL
    connection.execute(_EARLY, (label.prediction_id, model, label.true_label, label.time_us))
    if connection.changes():
        return "early"
    sql = "SELECT true_label FROM early_labels WHERE prediction_id = ? AND model = ?"
    return _repeated(connection.execute(sql, (label.prediction_id, model)).get, label.true_label)


def _repeated(stands: str, other: str) -> str:
    return "duplicate" if stands == other else "conflicting"


def _attach_early(connection: apsw.Connection, model: str, keys: tuple[int, int]) -> int:
    if not connection.execute("SELECT EXISTS (SELECT 1 FROM early_labels)").get:
        return 0
    sql = (
        "SELECT p.key, e.prediction_id, e.true_label, e.time_us FROM predictions p CROSS JOIN early_labels e"
        " ON e.prediction_id = p.prediction_id AND e.model IN (?, ?)"
        " WHERE p.key BETWEEN ? AND ? ORDER BY e.id DESC"
    )
    rows = connection.execute(sql, (_ANY_MODEL, model, *keys)).fetchall()
    first = {key: (true_label, time_us, key) for key, _, true_label, time_us in rows}
    connection.executemany(_ATTACH, first.values())
    used = ((prediction_id, _ANY_MODEL, model) for _, prediction_id, _, _ in rows)
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
