"""Deleting what is stored of predictions and of people."""

from __future__ import annotations

import time
from collections.abc import Sequence
from dataclasses import dataclass, replace
from itertools import chain
from typing import TYPE_CHECKING, Any

from driftwell.errors import BadInput, StoreError, shown

if TYPE_CHECKING:
    from driftwell.capture.redaction import Redaction
    from driftwell.monitor.runtime import Runtime

__all__ = ["Deleted", "delete_records"]

SETTLE_SECONDS = 10.0
MOST_SINGLE = 20
"""Ids that are at most deleted one by one: each may be a look through the whole store."""


@dataclass(frozen=True, slots=True)
class Deleted:
    """How many predictions are gone, how many of the ids and subjects had any (None: they were not deleted one by
    one), and how many bytes of records other processes hold in the spool, which may be about the same ones."""

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
    one_by_one: bool = False,
) -> Deleted:
    """Delete predictions by id, and all of a subject, with features and labels, early labels included.

    What waits in this process is stored first, so that it is deleted too. Ids are looked for as they were given and as
    ``redact`` keeps them. The audit log says how many, and not whose. ``one_by_one`` tells what was found of a few ids;
    a subject of whom nothing is left once the ids have gone counts as not found.

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
    names = [model] if model is not None else list(dict.fromkeys(name for name, *_ in runtime.models()))
    rules = [own for name in names if (own := runtime.redaction_for(name)) is not None]
    ids = [_ids_kept(one, rules) for one in dict.fromkeys(predictions)]
    people = [_subjects_kept(one, rules) for one in dict.fromkeys(subjects)]
    singly = one_by_one and len(ids) + len(people) <= MOST_SINGLE
    calls: list[tuple[list[str], list[str]]] = [(list(chain(*ids)), list(chain(*people)))]
    if singly:
        calls = [*((one, []) for one in ids), *(([], one) for one in people)]
    numbers = [runtime.store.delete(prediction_ids=some, entity_ids=of, model=model) for some, of in calls]
    found = sum(n > 0 for n in numbers)
    gone = Deleted(sum(numbers), found, len(numbers) - found) if singly else Deleted(sum(numbers))
    details = {"model": model, "prediction_ids": len(predictions), "entity_ids": len(subjects), "deleted": gone.deleted}
    runtime.ledger.audit(who, "delete", details, round(time.time() * 1e6))
    elsewhere = runtime.spool_state(of_others=True)
    if elsewhere and elsewhere.bytes:
        return replace(gone, waiting_elsewhere=elsewhere.bytes, spool=elsewhere.folder)
    return gone


def _texts(what: str, given: Any) -> list[str]:
    if isinstance(given, str) or not all(isinstance(one, str) for one in given):
        raise BadInput(f"{what} is a list of texts. Got {shown(given)}")
    return list(given)


def _ids_kept(given: str, rules: Sequence[Redaction]) -> list[str]:
    """An id as given and as the redaction of each model keeps it."""
    return list(dict.fromkeys([given, *(one.id(given) for one in rules)]))


def _subjects_kept(given: str, rules: Sequence[Redaction]) -> list[str]:
    values = (one.value("entity_id", given) for one in rules)
    return list(dict.fromkeys([given, *(value for value in values if isinstance(value, str))]))
