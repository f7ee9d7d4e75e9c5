"""What becomes of labels: attached to their prediction, kept until it arrives, or told as repeated.

All versions of a model that scored an id carry the same label, and of several labels the first stands.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from typing import Generic, TypeVar

from driftwell.errors import BadInput
from driftwell.stores.base import Label, LabelCounts

__all__ = ["ANY_MODEL", "Decided", "Scored", "check_labels", "count_fates", "decide", "waiting_place"]

ANY_MODEL = ""
"""Stands for whichever model scores the id, where an early label is kept."""

_P = TypeVar("_P")
"""Where a store finds a prediction again."""


@dataclass(slots=True)
class Scored(Generic[_P]):
    """The predictions of one id in one model, and the label they carry."""

    predictions: list[_P] = field(default_factory=list)
    true_label: str | None = None


@dataclass(slots=True)
class Decided(Generic[_P]):
    """What is to be done with labels and what they met: ``attach`` to predictions, ``keep`` (positions) as early."""

    fates: list[str] = field(default_factory=list)
    owners: list[str | None] = field(default_factory=list)
    ambiguous: dict[str, list[str]] = field(default_factory=dict)
    attach: list[tuple[Label, _P]] = field(default_factory=list)
    keep: list[int] = field(default_factory=list)

    def counts(self) -> LabelCounts:
        """The answer of ``PredictionStore.add_labels``."""
        return count_fates(self.fates, self.owners, self.ambiguous)


def check_labels(labels: Sequence[Label]) -> None:
    """Raise ``BadInput`` for a label whose text no store could keep."""
    for label in labels:
        try:
            f"{label.prediction_id}{label.true_label}{label.model}".encode()
        except UnicodeEncodeError as exc:
            raise BadInput(f"a label is not valid Unicode text: {label!r}") from exc


def waiting_place(label: Label) -> tuple[str, str]:
    """The id and model under which an early label is kept."""
    return label.prediction_id, label.model or ANY_MODEL


def decide(
    labels: Sequence[Label],
    scored: Mapping[str, Mapping[str, Scored[_P]]],
    waiting: Mapping[tuple[str, str], str],
) -> Decided[_P]:
    """The fate of each label, each counted once however many versions it goes to.

    ``scored``: the predictions of the labels' ids by id and model; the labels decided here are noted in them.
    ``waiting``: the early labels that are kept already, by ``waiting_place``.
    """
    out: Decided[_P] = Decided()
    early = dict(waiting)
    for i, label in enumerate(labels):
        models = scored.get(label.prediction_id, {})
        named = {model: found for model, found in models.items() if label.model in (None, model)}
        meant = next(iter(named.values()), None)
        place = waiting_place(label)
        out.owners.append(next(iter(named)) if len(named) == 1 else None)
        if len(named) > 1:
            out.ambiguous[label.prediction_id] = sorted(models)
            out.fates.append("ambiguous")
        elif meant is None and place not in early:
            early[place] = label.true_label
            out.keep.append(i)
            out.fates.append("early")
        elif meant is not None and meant.true_label is None:
            meant.true_label = label.true_label
            out.attach += [(label, prediction) for prediction in meant.predictions]
            out.fates.append("matched")
        else:
            stands = early[place] if meant is None else meant.true_label
            out.fates.append("duplicate" if stands == label.true_label else "conflicting")
    return out


def count_fates(fates: Sequence[str], owners: Sequence[str | None], ambiguous: dict[str, list[str]]) -> LabelCounts:
    """The counts of fates, in the order of the labels."""
    n = Counter(fates)
    return LabelCounts(
        n["matched"], n["early"], n["duplicate"], n["conflicting"], ambiguous, tuple(fates), tuple(owners)
    )
