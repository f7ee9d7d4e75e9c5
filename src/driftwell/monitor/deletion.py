"""Deleting what is stored of predictions and of people."""

from __future__ import annotations

import time
from collections.abc import Sequence
from dataclasses import dataclass, replace
from typing import TYPE_CHECKING, Any

from driftwell.errors import BadInput, StoreError, shown

if TYPE_CHECKING:
    from driftwell.monitor.runtime import Runtime

__all__ = ["Deleted", "delete_records"]

SETTLE_SECONDS = 10.0
MOST_SINGLE = 100
"""Ids that are deleted one by one, which tells what each had; of more, all go at once."""


@dataclass(frozen=True, slots=True)
class Deleted:
    """How many predictions are gone, how many of the ids and subjects had any (None: too many to look at one by one),
    and how many bytes of records other processes hold in the spool, which may be about the same ones."""

    deleted: int
    found: int | None = None
    not_found: int | None = None
    waiting_elsewhere: int = 0
    spool: str | None = None


def delete_records(
    runtime: Runtime,
    *,
    prediction_ids: Sequence[str] = (),
    entity_ids: Sequence[str] = (),
    model: str | None = None,
    who: str = "python",
) -> Deleted:
    """Delete predictions by id, and all of a subject, with features and labels, early labels included.

    What waits in this process is stored first, so that it is deleted too. Ids are looked for as they were given and as
    ``redact`` keeps them. The audit log says how many, and not whose.

    Raises
    ------
    BadInput
        Nothing is named, or something that is no text.
    StoreError
        The store does not answer, or takes too long to store what waits.
    NotSupported
        The store cannot delete.
    """
    predictions, subjects = _texts("prediction_ids", prediction_ids), _texts("entity_ids", entity_ids)
    if not predictions and not subjects:
        raise BadInput("name what to delete: prediction_ids or entity_ids")
    if not runtime.recorder.flush(SETTLE_SECONDS):
        raise StoreError("records still wait to be stored, so they cannot be deleted yet: try again a little later")
    gone = _delete(runtime, model, predictions, subjects)
    details = {"model": model, "prediction_ids": len(predictions), "entity_ids": len(subjects), "deleted": gone.deleted}
    runtime.ledger.audit(who, "delete", details, round(time.time() * 1e6))
    elsewhere = runtime.spool_state(of_others=True)
    if elsewhere and elsewhere.bytes:
        return replace(gone, waiting_elsewhere=elsewhere.bytes, spool=elsewhere.folder)
    return gone


def _delete(runtime: Runtime, model: str | None, predictions: list[str], subjects: list[str]) -> Deleted:
    if len(predictions) + len(subjects) > MOST_SINGLE:
        own, theirs = _as_kept(runtime, model, predictions, subjects)
        return Deleted(runtime.store.delete(prediction_ids=own, entity_ids=theirs, model=model))
    deleted = found = not_found = 0
    # Subjects last: what is deleted by id before is no more of a subject that is named too, but nothing is left over.
    for some in [([one], []) for one in dict.fromkeys(predictions)] + [([], [one]) for one in dict.fromkeys(subjects)]:
        own, theirs = _as_kept(runtime, model, *some)
        n = runtime.store.delete(prediction_ids=own, entity_ids=theirs, model=model)
        deleted, found, not_found = deleted + n, found + (n > 0), not_found + (n == 0)
    return Deleted(deleted, found, not_found)


def _texts(what: str, given: Any) -> list[str]:
    if isinstance(given, str) or not all(isinstance(one, str) for one in given):
        raise BadInput(f"{what} is a list of texts. Got {shown(given)}")
    return list(given)


def _as_kept(
    runtime: Runtime, model: str | None, predictions: list[str], subjects: list[str]
) -> tuple[list[str], list[str]]:
    """The ids as given and as the redaction of each model keeps them."""
    names = [model] if model is not None else list(dict.fromkeys(name for name, *_ in runtime.models()))
    rules = [found for name in names if (found := runtime.redaction_for(name)) is not None]
    predictions = [*predictions, *(one.id(given) for one in rules for given in predictions)]
    values = (one.value("entity_id", given) for one in rules for given in subjects)
    subjects = [*subjects, *(value for value in values if isinstance(value, str))]
    return list(dict.fromkeys(predictions)), list(dict.fromkeys(subjects))
