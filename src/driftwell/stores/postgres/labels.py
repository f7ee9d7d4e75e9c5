"""Attaching the truth to predictions: at once, or when the prediction arrives after its label.

All versions of a model that scored an id carry the same label, and of several labels the first stands.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterable, Sequence
from dataclasses import dataclass, field

from driftwell.stores.base import Label, LabelCounts
from driftwell.stores.postgres.connection import Connection, fetch

__all__ = ["add_labels", "attach_early", "attach_from"]

_ANY_MODEL = ""

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


@dataclass(slots=True)
class _Scored:
    """The predictions of one id in one model (key, stream, event time), and the label they carry."""

    predictions: list[tuple[int, int, int]] = field(default_factory=list)
    true_label: str | None = None


def add_labels(connection: Connection, labels: Sequence[Label]) -> LabelCounts:
    """Attach or keep ``labels``; see ``PredictionStore.add_labels``. Needs ``lock_for_labels``.

    Each label is counted once, however many versions it goes to.
    """
    ids = list(dict.fromkeys(label.prediction_id for label in labels))
    scored = _find_scored(connection, ids)
    waiting = _find_waiting(connection, ids)
    fates: list[str] = []
    owners: list[str | None] = []
    ambiguous: dict[str, list[str]] = {}
    attach: list[_Attached] = []
    keep: list[tuple[str, str, str, int]] = []
    for label in labels:
        models = scored.get(label.prediction_id, {})
        named = {model: found for model, found in models.items() if label.model in (None, model)}
        meant = list(named.values())
        owners.append(next(iter(named)) if len(named) == 1 else None)
        place = (label.prediction_id, label.model or _ANY_MODEL)
        if len(meant) > 1:
            ambiguous[label.prediction_id] = sorted(models)
            fates.append("ambiguous")
        elif not meant and place in waiting:
            fates.append(_repeated(waiting[place], label.true_label))
        elif not meant:
            waiting[place] = label.true_label
            keep.append((*place, label.true_label, label.time_us))
            fates.append("early")
        elif meant[0].true_label is None:
            attach += [(*prediction, label.true_label, label.time_us) for prediction in meant[0].predictions]
            meant[0].true_label = label.true_label
            fates.append("matched")
        else:
            fates.append(_repeated(meant[0].true_label, label.true_label))
    _attach(connection, attach)
    if keep:
        connection.execute(_KEEP, [list(column) for column in zip(*keep, strict=True)])
    n = Counter(fates)
    return LabelCounts(
        n["matched"], n["early"], n["duplicate"], n["conflicting"], ambiguous, tuple(fates), tuple(owners)
    )


def attach_early(connection: Connection, model: str, keys: tuple[int, int]) -> int:
    """Give the predictions just stored under ``keys`` (first, last) the labels that came before them; how many."""
    # FOR UPDATE, in one order: another model that scored the same id may be about to take the same label.
    sql = (
        "SELECT p.key, p.stream, p.time_us, e.true_label, e.time_us, e.id FROM predictions p JOIN early_labels e"
        " ON e.prediction_id = p.prediction_id AND e.model IN (%s, %s)"
        " WHERE p.key BETWEEN %s AND %s ORDER BY e.id FOR UPDATE OF e"
    )
    rows = fetch(connection, sql, (_ANY_MODEL, model, *keys))
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


def _find_scored(connection: Connection, ids: list[str]) -> dict[str, dict[str, _Scored]]:
    scored: dict[str, dict[str, _Scored]] = {}
    for prediction_id, model, key, stream, time_us, true_label in fetch(connection, _SCORED, (ids,)):
        found = scored.setdefault(prediction_id, {}).setdefault(model, _Scored())
        found.predictions.append((key, stream, time_us))
        found.true_label = found.true_label if true_label is None else true_label
    return scored


def _find_waiting(connection: Connection, ids: list[str]) -> dict[tuple[str, str], str]:
    sql = "SELECT prediction_id, model, true_label FROM early_labels WHERE prediction_id = ANY(%b)"
    return {(prediction_id, model): true_label for prediction_id, model, true_label in fetch(connection, sql, (ids,))}


def _repeated(stands: str, other: str) -> str:
    return "duplicate" if stands == other else "conflicting"


def _attach(connection: Connection, rows: Iterable[_Attached]) -> None:
    columns = [list(column) for column in zip(*rows, strict=True)]
    if columns:
        connection.execute(_ATTACH, columns)
