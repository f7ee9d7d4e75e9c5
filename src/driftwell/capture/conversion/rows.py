"""The fields of many records at once: read column by column, and row by row only where one of them cannot be kept."""

from __future__ import annotations

import math
from collections.abc import Callable, Sequence
from typing import Any, NamedTuple, TypeVar

from driftwell.capture.conversion import fields
from driftwell.capture.conversion.fields import Notes
from driftwell.capture.ids import is_usable
from driftwell.capture.snapshot import RefusedError, Unread
from driftwell.stores.base import Label

__all__ = ["RowColumns", "RowReader", "label_of"]

Value = TypeVar("Value")

_NONE = type(None)
_NOTHING = frozenset({_NONE})
_NUMBERS: frozenset[type] = frozenset({float, _NONE})
_TEXTS: frozenset[type] = frozenset({str, _NONE})


class RowColumns(NamedTuple):
    """Fields of records as a store keeps them, in the order of ``ROW_COLUMNS`` (without ``invalid``)."""

    prediction_id: list[str]
    time_us: list[int]
    prediction: list[str | None]
    score: list[float | None]
    probability: list[str | None]
    segment: list[str | None]
    entity_id: list[str | None]
    latency_seconds: list[float | None]
    metadata: list[str | None]


class RowReader:
    """Reads the fields of records of one model, some at a time, and keeps what a store keeps of them.

    Attributes
    ----------
    columns, labels
        What was kept so far.
    """

    def __init__(self, model: str, classes: Sequence[str], notes: Notes) -> None:
        self._model = model
        self._classes = classes
        self._notes = notes
        self.columns = RowColumns([], [], [], [], [], [], [], [], [])
        self.labels: list[Label] = []

    def add(self, ids: Sequence[str], given: Sequence[Sequence[Any]], arrived_us: Sequence[int]) -> Sequence[int]:
        """Read some records; returns the positions of those that are kept, the others are counted by reason.

        ``given`` are the columns of ``FIELDS``, ``arrived_us`` is when each came, in microseconds since 1970.
        """
        try:
            read, naive_time, skewed = self._read(ids, given, arrived_us)
        except RefusedError as refused:
            if len(ids) == 1:
                self._notes.rejected[refused.reason] += 1
                return ()
            singles = ((i, [column[i : i + 1] for column in given]) for i in range(len(ids)))
            return [i for i, one in singles if self.add(ids[i : i + 1], one, arrived_us[i : i + 1])]
        for kept, values in zip(self.columns, read, strict=True):
            kept.extend(values)  # type: ignore[attr-defined]
        self._notes.naive_time |= naive_time
        self._notes.skewed += skewed
        true_labels = given[-1]
        if not _NOTHING.issuperset(map(type, true_labels)):
            for prediction_id, true_label, arrived in zip(ids, true_labels, arrived_us, strict=True):
                self._add_label(prediction_id, true_label, arrived)
        return range(len(ids))

    def _read(
        self, ids: Sequence[str], given: Sequence[Sequence[Any]], arrived_us: Sequence[int]
    ) -> tuple[Sequence[Sequence[Any]], bool, int]:
        """The columns as they are kept, whether a time had no zone, and how many lie in the future; raises
        ``RefusedError`` where one cannot be kept."""
        prediction, score, probability, timestamp, segment, entity_id, latency_seconds, metadata, _ = given
        if not all(map(is_usable, ids)):
            raise RefusedError("prediction_id")
        shares, implied = self._probabilities(probability)
        scores = _read_each(score, _NUMBERS, lambda value: fields.read_number(value, "score"))
        if implied is not None:
            scores = [other if own is None else own for own, other in zip(scores, implied, strict=True)]
        notes = Notes()
        times = arrived_us
        if not _NOTHING.issuperset(map(type, timestamp)):
            pairs = zip(timestamp, arrived_us, strict=True)
            times = [fields.read_time(value, arrived, notes) for value, arrived in pairs]
        columns = (
            ids,
            times,
            fields.read_json_column(prediction, "prediction"),
            scores,
            shares,
            _read_each(segment, _TEXTS, lambda value: fields.read_text(value, "segment")),
            _read_each(entity_id, _TEXTS, lambda value: fields.read_text(value, "entity_id")),
            [fields.read_non_negative(value, "latency_seconds") for value in latency_seconds],
            fields.read_metadata_column(metadata),
        )
        return columns, notes.naive_time, notes.skewed

    def _probabilities(self, values: Sequence[Any]) -> tuple[Sequence[str | None], Sequence[float | None] | None]:
        """JSON texts and the scores that follow from them; None where nothing was given."""
        if _NOTHING.issuperset(map(type, values)):
            return values, None
        read = [fields.read_probability(value, self._classes) for value in values]
        return [text for text, _ in read], [score for _, score in read]

    def _add_label(self, prediction_id: str, true_label: Any, arrived_us: int) -> None:
        if true_label is None or (isinstance(true_label, float) and math.isnan(true_label)):
            return
        try:
            self.labels.append(label_of(prediction_id, true_label, None, arrived_us, self._model))
        except RefusedError:
            self._notes.labels_rejected += 1


def label_of(prediction_id: str, true_label: Any, timestamp: Any, arrived_us: int, model: str | None) -> Label:
    """A label as a store keeps it; raises ``RefusedError`` where there is no truth in it or no time."""
    if isinstance(true_label, Unread) and not true_label.text:
        raise RefusedError("true_label")
    if not is_usable(prediction_id):
        raise RefusedError("prediction_id")
    text = fields.read_json(true_label, "true_label")
    if text is None or text == "null":
        raise RefusedError("true_label")
    return Label(prediction_id, text, fields.read_time(timestamp, arrived_us, Notes()), model)


def _read_each(values: Sequence[Any], ready: frozenset[type], read: Callable[[Any], Value]) -> Sequence[Value]:
    """The values, read one by one unless all of them are of types that need no reading."""
    return values if ready.issuperset(map(type, values)) else [read(value) for value in values]
