"""`POST /api/v1/predictions` and `POST /api/v1/feedback`: rows decoded by msgspec and judged one by one.

A bad row never spoils the good ones beside it: it is named by its position with the reason.
"""

from __future__ import annotations

import functools
import time
from collections import Counter
from collections.abc import Callable, Mapping, Sequence
from datetime import UTC, datetime, timedelta
from typing import Annotated, Any, TypeVar

import msgspec
from msgspec import Meta

from driftwell.errors import BadInput, UnknownName
from driftwell.routes.problems import ProblemError
from driftwell.routes.protocol import Ingest, Ticket
from driftwell.stores.base import LabelCounts

__all__ = [
    "COMMIT_SECONDS",
    "INVALID",
    "LOST",
    "ROOM",
    "FeedbackRow",
    "PredictionRow",
    "accept_feedback",
    "accept_predictions",
    "body_schema",
    "is_lost",
    "label_flaw",
    "name_flaw",
    "note_refused_body",
    "note_refused_labels_body",
    "note_refused_rows",
    "placed",
]

MAX_NAME = 200
MAX_ID = 512
MAX_SKEW = timedelta(hours=24)
EARLIEST = datetime(1900, 1, 1, tzinfo=UTC)
COMMIT_SECONDS = 2.0
MAX_IGNORED_NAMES = 100
INVALID = "invalid_row"
FATES = ("matched", "early", "duplicate", "conflicting")
ROOM = "the queue has no room for all of it: nothing was taken; send it again a little later, or in parts"
LOST = "the label could not be kept: the queue is full or the store refused it; send it again"

Text = str | None
Number = float | None
Id = str | int


class PredictionRow(msgspec.Struct, frozen=True):
    """One record as it is posted."""

    model: Annotated[Text, Meta(description="May be left out where one model is served.")] = None
    version: Text = None
    prediction_id: Annotated[Id | None, Meta(description="Made when missing; feedback needs it.")] = None
    request_id: Annotated[Id | None, Meta(description="Another name of prediction_id.")] = None
    timestamp: Annotated[datetime | None, Meta(description="Event time: now when missing, UTC if naive.")] = None
    features: Annotated[
        dict[str, Any] | list[Any] | None,
        Meta(description="By name, or a list in the order of the reference's features, or one series."),
    ] = None
    prediction: Any = None
    score: Annotated[Number, Meta(description="Any number that ranks.")] = None
    probability: Annotated[
        float | dict[str, float] | list[float] | None,
        Meta(description="Of the positive class, or {class: p}, or a list in the order of the classes."),
    ] = None
    segment: Text = None
    entity_id: Text = None
    latency_seconds: Number = None
    metadata: dict[str, Any] | None = None
    true_label: Annotated[Any, Meta(description="The truth, when it is known already.")] = None


class FeedbackRow(msgspec.Struct, frozen=True):
    """One label as it is posted."""

    prediction_id: Id
    true_label: Any
    timestamp: Annotated[datetime | None, Meta(description="When the truth was known.")] = None
    model: Annotated[Text, Meta(description="Needed where several models scored the same id.")] = None


Row = TypeVar("Row", PredictionRow, FeedbackRow)
Rejections = list[dict[str, Any]]


def body_schema(row: type[msgspec.Struct]) -> dict[str, Any]:
    """The JSON schema of a body that is one such row or a list of them, from the struct that decodes it."""
    _, components = msgspec.json.schema_components([row])
    schema = components[row.__name__]
    return {"anyOf": [schema, {"type": "array", "items": schema}]}


def accept_predictions(
    rows: Sequence[Any],
    ingest: Ingest,
    *,
    model: str | None,
    version: str | None,
    now: datetime,
    partly: bool = False,
) -> dict[str, Any]:
    """Queue the rows that can be used and tell what became of each.

    ``model`` and ``version`` stand in where a row names none. A row that is a ``BadInput`` is rejected for that reason.
    ``partly``: something else of the same request was taken, so that it is no error when no row can be used.

    Raises
    ------
    ProblemError
        422 when no row can be used; 429 when the queue has no room for all of them: then none was taken, and
        the same body can be sent again.
    """
    good, rejected = _sorted_out(rows, PredictionRow, lambda row: _flaw(row, now))
    place = functools.cache(functools.partial(placed, ingest))  # asks the store: once a name, not once a row
    usable: list[tuple[int, PredictionRow, tuple[str, str]]] = []
    for index, row in good:
        where = place(model if row.model is None else row.model, version if row.version is None else row.version)
        if isinstance(where, str):
            rejected.append({"index": index, "reason": where})
        else:
            usable.append((index, row, where))
    ids: list[str | None] = [None] * len(rows)
    with ingest.turn:
        made = ingest.recording.offer_rows([_offered(row, *where) for _, row, where in usable])
    if made is None:
        raise ProblemError(429, ROOM, headers={"Retry-After": "1"})
    for (index, _, _), prediction_id in zip(usable, made, strict=True):
        ids[index] = prediction_id
    for one in rejected:
        where = place(*_named(rows[one["index"]], model, version))
        ingest.recording.note_refused(*(("", "") if isinstance(where, str) else where), {INVALID: 1})
    if not partly:
        _refuse_when_nothing_is_left(rows, usable, rejected)
    return {
        "accepted": len(usable),
        "ids": ids,
        "rejected": sorted(rejected, key=_index),
        "ignored_fields": _ignored(rows, PredictionRow),
    }


def accept_feedback(
    rows: Sequence[Any],
    ingest: Ingest,
    *,
    model: str | None,
    each: bool = False,
    clock: Callable[[], float] = time.monotonic,
) -> dict[str, Any]:
    """Queue the usable labels, wait up to two seconds for their commit, and count what became of them.

    ``each`` adds ``fates``: the word of each label, in the order of the rows.

    Raises
    ------
    ProblemError
        422 when no row can be used; 409 with the model names when an id without a model belongs to several
        models: that label was not stored, the others were.
    """
    good, rejected = _sorted_out(rows, FeedbackRow, label_flaw)
    if rejected:
        ingest.recording.note_refused_labels(model or ingest.model, {INVALID: len(rejected)})
    _refuse_when_nothing_is_left(rows, good, rejected)
    tickets = [(index, _offer_label(ingest, row, model or ingest.model)) for index, row in good]
    counts, ambiguous, lost, words = _settled(tickets, clock)
    answer: dict[str, Any] = {**counts, "rejected": sorted(rejected + lost, key=_index)}
    if each:
        answer["fates"] = [words.get(index, "rejected") for index in range(len(rows))]
    if ambiguous:
        names = "; ".join(f"{key}: {', '.join(models)}" for key, models in sorted(ambiguous.items())[:5])
        detail = f"several models scored the same id ({names}); name one in `model`"
        raise ProblemError(409, detail, members={"ambiguous": ambiguous, **answer})
    return answer


def _settled(
    tickets: Sequence[tuple[int, Ticket]], clock: Callable[[], float]
) -> tuple[dict[str, int], dict[str, list[str]], Rejections, dict[int, str]]:
    """Counts, ids that belong to several models, labels that were taken but could not be kept, and the word of each."""
    deadline = clock() + COMMIT_SECONDS
    counts = dict.fromkeys((*FATES, "pending"), 0)
    ambiguous: dict[str, list[str]] = {}
    lost: Rejections = []
    words: dict[int, str] = {}
    for index, ticket in tickets:
        outcome = ticket.wait(max(0.0, deadline - clock()))
        if outcome is None:
            counts["pending"] += 1
            words[index] = "pending"
            continue
        for name in FATES:
            counts[name] += getattr(outcome, name)
        ambiguous |= outcome.ambiguous
        if is_lost(outcome):
            lost.append({"index": index, "reason": LOST})
        else:
            words[index] = next((name for name in FATES if getattr(outcome, name)), "ambiguous")
    return counts, ambiguous, lost, words


def is_lost(outcome: LabelCounts) -> bool:
    """Whether a label met none of the fates that labels have: the queue was full or the store refused it."""
    return not outcome.ambiguous and not any(getattr(outcome, name) for name in FATES)


def _sorted_out(
    rows: Sequence[Any], kind: type[Row], flaw: Callable[[Row], str | None]
) -> tuple[list[tuple[int, Row]], Rejections]:
    good: list[tuple[int, Row]] = []
    rejected: Rejections = []
    for index, raw in enumerate(rows):
        try:
            if isinstance(raw, BadInput):
                raise raw
            row = msgspec.convert(raw, kind)
            reason = flaw(row)
        except (msgspec.ValidationError, BadInput) as error:
            reason = str(error)
        if reason:
            rejected.append({"index": index, "reason": reason})
        else:
            good.append((index, row))
    return good, rejected


def _refuse_when_nothing_is_left(rows: Sequence[Any], good: Sequence[Any], rejected: Rejections) -> None:
    if rows and not good:
        raise ProblemError(
            422, f"no row can be used; the first: {rejected[0]['reason']}", members={"rejected": rejected}
        )


def placed(ingest: Ingest, model: str | None, version: str | None) -> tuple[str, str] | str:
    """Model and version, or the reason why there is none."""
    flaw = name_flaw("model", model) or name_flaw("version", version)
    if flaw:
        return flaw
    try:
        return ingest.place(model, version)
    except (BadInput, UnknownName) as error:
        return str(error)


def _named(row: Any, model: str | None, version: str | None) -> tuple[str | None, str | None]:
    """The model and version that a row names which cannot be used otherwise."""
    own = row if isinstance(row, dict) else {}
    named = [own.get(key) for key in ("model", "version")]
    found = [default if name is None else name for name, default in zip(named, (model, version), strict=True)]
    usable = [name if isinstance(name, str) and name_flaw("name", name) is None else None for name in found]
    return usable[0], usable[1]


def note_refused_body(error: ProblemError, ingest: Ingest, model: str | None, version: str | None) -> None:
    """Count a request whose rows could not even be told apart as one record."""
    note_refused_rows(ingest, model, version, {f"http_{error.status}": 1})


def note_refused_rows(ingest: Ingest, model: str | None, version: str | None, reasons: Mapping[str, int]) -> None:
    """Count rows that cannot be offered, by reason: where they belong, or where nothing says that without a name."""
    where = placed(ingest, model, version)
    ingest.recording.note_refused(*(("", "") if isinstance(where, str) else where), reasons)


def note_refused_labels_body(error: ProblemError, ingest: Ingest, model: str | None) -> None:
    """Count a request that was refused as a whole as one label."""
    ingest.recording.note_refused_labels(model or ingest.model, {f"http_{error.status}": 1})


def _index(rejection: Mapping[str, Any]) -> int:
    return int(rejection["index"])


def _offered(row: PredictionRow, model: str, version: str) -> dict[str, Any]:
    """One of the rows of ``Recording.offer_rows``."""
    return {
        "model": model,
        "version": version,
        "features": row.features,
        "prediction": row.prediction,
        "score": row.score,
        "probability": row.probability,
        "prediction_id": _id_of(row),
        "timestamp": _aware(row.timestamp),
        "segment": row.segment,
        "entity_id": row.entity_id,
        "latency_seconds": row.latency_seconds,
        "metadata": row.metadata,
        "true_label": row.true_label,
    }


def _offer_label(ingest: Ingest, row: FeedbackRow, model: str | None) -> Ticket:
    return ingest.recording.offer_label(
        str(row.prediction_id), row.true_label, model=row.model or model, timestamp=_aware(row.timestamp)
    )


def _id_of(row: PredictionRow) -> str | None:
    found = row.request_id if row.prediction_id is None else row.prediction_id
    return None if found is None else str(found)


def _flaw(row: PredictionRow, now: datetime) -> str | None:
    return (
        _id_flaw(_id_of(row))
        or _time_flaw(row.timestamp, now)
        or _probability_flaw(row.probability)
        or ("latency_seconds must not be negative" if (row.latency_seconds or 0) < 0 else None)
    )


def label_flaw(row: FeedbackRow) -> str | None:
    """Why a label cannot be taken; None when it can."""
    if not isinstance(row.true_label, (str, int, float, bool)):
        return "true_label must be a text, a number, true or false"
    return _id_flaw(str(row.prediction_id)) or name_flaw("model", row.model) or _time_flaw(row.timestamp, None)


def _id_flaw(text: str | None) -> str | None:
    if text is None or (0 < len(text) <= MAX_ID and text.isprintable()):
        return None
    return f"prediction_id must have 1 to {MAX_ID} printable characters"


def name_flaw(what: str, text: str | None) -> str | None:
    """Why a model or a version cannot have this name; None when it can."""
    if text is None or (0 < len(text) <= MAX_NAME and text.isprintable()):
        return None
    return f"{what} must have 1 to {MAX_NAME} printable characters"


def _time_flaw(moment: datetime | None, now: datetime | None) -> str | None:
    aware = _aware(moment)
    if aware is None:
        return None
    if aware < EARLIEST:
        return "timestamp lies before 1900"
    if now is not None and aware > now + MAX_SKEW:
        return "timestamp lies more than 24 hours in the future"
    return None


def _probability_flaw(probability: float | dict[str, float] | list[float] | None) -> str | None:
    match probability:
        case None:
            values: Sequence[float] = ()
        case dict():
            values = list(probability.values())
        case list():
            values = probability
        case _:
            values = (probability,)
    if all(0 <= value <= 1 for value in values):
        return None
    return "probability must lie in 0…1 (a number that only ranks is a score)"


def _aware(moment: datetime | None) -> datetime | None:
    return moment.replace(tzinfo=UTC) if moment is not None and moment.tzinfo is None else moment


def _ignored(rows: Sequence[Any], kind: type[msgspec.Struct]) -> dict[str, int]:
    known = frozenset(kind.__struct_fields__)
    names = Counter(name for row in rows if isinstance(row, dict) for name in row.keys() - known)
    return dict(names.most_common(MAX_IGNORED_NAMES))
