"""What model servers exchange becomes rows: ``{"request": …, "response": …}`` in a row's place, and CloudEvents."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from datetime import datetime
from typing import Any

from driftwell.capture.wire import inference_protocol
from driftwell.capture.wire.cloudevents import Event
from driftwell.errors import BadInput
from driftwell.routes.ingest import accept_predictions, note_refused_rows
from driftwell.routes.pairs import Half, Waiting
from driftwell.routes.problems import ProblemError
from driftwell.routes.protocol import Ingest

__all__ = ["accept_events", "accept_rows", "count_unpaired", "is_exchange"]

MAX_ROWS = 100_000
_ANSWERS = frozenset(("prediction", "score", "probability"))
_FEATURES = "features"


def is_exchange(row: Any) -> bool:
    """Whether a posted row is a model server's request and response."""
    return isinstance(row, Mapping) and "request" in row and "response" in row and _FEATURES not in row


def accept_rows(
    posted: Sequence[Any], ingest: Ingest, *, model: str | None, version: str | None, now: datetime
) -> dict[str, Any]:
    """Queue posted rows, those of exchanges too, and tell what became of each; see ``accept_predictions``."""
    rows: list[Any] = []
    for one in posted:
        try:
            rows += _exchange(one, ingest, model, version) if is_exchange(one) else [one]
        except BadInput as error:
            rows.append(error)
    return accept_predictions(_bounded(rows), ingest, model=model, version=version, now=now)


def accept_events(
    events: Sequence[Event | BadInput], ingest: Ingest, *, model: str | None, version: str | None, now: datetime
) -> dict[str, Any]:
    """Queue what events hold, and let halves of exchanges wait for each other.

    The answer is that of ``accept_predictions`` for all rows that were found, with ``waiting``: how many events of
    these wait for their other half. An event that cannot be used stands in the place of one row. An event that was
    delivered before is no row; a response that was is counted as ``rejected{duplicate}``.
    """
    rows: list[Any] = []
    met: list[tuple[Half, Waiting]] = []
    repeated: list[Event] = []
    for event in events:
        try:
            if isinstance(event, BadInput):
                raise event
            found, half_met = _of_event(event, ingest, model, version)
            rows += found
            if half_met is not None:
                met.append(half_met)
                repeated += [event] if half_met[1].repeated and event.half == "response" else []
        except BadInput as error:
            rows.append(error)
    waiting = sum(not (step.other or step.repeated or step.clash) for _, step in met)
    try:
        answer = accept_predictions(_bounded(rows), ingest, model=model, version=version, now=now, partly=waiting > 0)
    except ProblemError as error:
        if error.status in (413, 429):  # nothing was taken: all of it will be sent again
            for half, step in reversed(met):
                ingest.pairs.undo(half, step)
        raise
    for event in repeated:
        note_refused_rows(ingest, *_names(event, ingest, model, version), {"duplicate": 1})
    count_unpaired(ingest)
    return answer | {"waiting": waiting}


def count_unpaired(ingest: Ingest, *, all_of_them: bool = False) -> None:
    """Count the rows of halves whose other half did not come in time as ``rejected{unpaired}``."""
    for half in ingest.pairs.leaving(all_of_them=all_of_them):
        note_refused_rows(ingest, *_names(half.event, ingest, half.model, half.version), {"unpaired": half.rows})


def _of_event(
    event: Event, ingest: Ingest, model: str | None, version: str | None
) -> tuple[list[Any], tuple[Half, Waiting] | None]:
    document = event.document()
    _ = event.time, event.metadata  # unreadable ones are refused now, not when the other half comes
    if event.half is None or _is_whole(document):
        return _plain_rows(event, document, ingest, model, version), None
    if event.half == "request":
        count = len(inference_protocol.features(document))
    else:
        count = inference_protocol.outputs(document).rows
    half = Half(event, count, model, version)
    step = ingest.pairs.meet(half)
    if step.clash:
        raise BadInput(f"another event is the {event.half} of the exchange {event.exchange_id[:100]!r} already")
    if step.other is None:
        return [], (half, step)
    both = {half.event.half: half.event, step.other.event.half: step.other.event}
    query = (model or step.other.model, version or step.other.version)
    return _joined(both["request"], both["response"], ingest, *query), (half, step)


def _joined(asked: Event, answered: Event, ingest: Ingest, model: str | None, version: str | None) -> list[Any]:
    row = {
        "request": asked.document(),
        "response": answered.document(),
        "prediction_id": asked.exchange_id,
        "timestamp": _time(asked) or _time(answered),
        "metadata": answered.metadata | asked.metadata,
    }
    named = [_names(event, ingest, None, None) for event in (answered, asked)]
    row["model"] = model or next((name for name, _ in named if name), None)
    row["version"] = version or next((name for _, name in named if name), None)
    return _exchange(row, ingest, model, version)


def _plain_rows(event: Event, document: Any, ingest: Ingest, model: str | None, version: str | None) -> list[Any]:
    """Rows of our own as the data of an event, which lends them id, time and names where they have none."""
    listed = document if isinstance(document, list) else [document]
    if not all(isinstance(row, Mapping) for row in listed):
        raise BadInput("the event's data must be one JSON object or a list of them")
    its_model, its_version = _names(event, ingest, model, version)
    rows: list[Any] = []
    for i, own in enumerate(listed):
        row = dict(own)
        if row.get("prediction_id") is None and row.get("request_id") is None:
            row["prediction_id"] = f"{event.id}:{i}" if len(listed) > 1 else event.id
        row["timestamp"] = _time(event) if row.get("timestamp") is None else row["timestamp"]
        row["model"] = its_model if row.get("model") is None else row["model"]
        row["version"] = its_version if row.get("version") is None else row["version"]
        own_metadata = row.get("metadata")
        if own_metadata is None or isinstance(own_metadata, Mapping):
            row["metadata"] = event.metadata | dict(own_metadata or {})
        rows += _exchange(row, ingest, model, version) if is_exchange(row) else [row]
    return rows


def _exchange(posted: Mapping[str, Any], ingest: Ingest, model: str | None, version: str | None) -> list[Any]:
    """The rows of a request and its response; the other fields of ``posted`` are those of each."""
    request, response = posted["request"], posted["response"]
    shared = {name: value for name, value in posted.items() if name not in ("request", "response", "feature_names")}
    given = [shared.pop(name, None) for name in ("prediction_id", "request_id")]
    prediction_id = next((str(one) for one in given if one is not None), None)
    names = posted.get("feature_names")
    if names is not None and not (isinstance(names, list) and all(isinstance(name, str) for name in names)):
        raise BadInput("feature_names must be a list of texts")
    found = inference_protocol.rows(request, response, prediction_id=prediction_id, feature_names=names)
    said = inference_protocol.outputs(response)
    if ingest.model is None and shared.get("model") is None and model is None:
        shared["model"] = said.model
    if shared.get("version") is None and version is None:
        shared["version"] = said.version
    metadata = shared.pop("metadata", None)
    if metadata is not None and not isinstance(metadata, Mapping):
        raise BadInput("metadata must be an object")
    rows = []
    for i, row in enumerate(found):
        own = dict(metadata or {}) | ({"batch_index": i, "batch_size": len(found)} if len(found) > 1 else {})
        rows.append(shared | row | ({"metadata": own} if own else {}))
    return rows


def _names(event: Event, ingest: Ingest, model: str | None, version: str | None) -> tuple[str | None, str | None]:
    """Model and version of an event: the query's, else its own; of one model's router always that model."""
    return model or (event.model if ingest.model is None else None), version or event.version


def _is_whole(document: Any) -> bool:
    """Whether the data of a half is a row of our own that has its answer already."""
    return isinstance(document, Mapping) and _FEATURES in document and not _ANSWERS.isdisjoint(document)


def _time(event: Event) -> str | None:
    return None if event.time is None else event.time.isoformat()


def _bounded(rows: list[Any]) -> list[Any]:
    if len(rows) > MAX_ROWS:
        raise ProblemError(413, f"a request has at most {MAX_ROWS} rows; send them in parts")
    return rows
