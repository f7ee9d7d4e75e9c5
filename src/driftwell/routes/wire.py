"""The body of `POST /api/v1/predictions` by content type: JSON, an Arrow stream, CloudEvents in three modes."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from datetime import UTC, datetime
from typing import Any

import msgspec
from fastapi import Request

from driftwell.capture.wire import cloudevents
from driftwell.capture.wire.arrow_stream import STREAM_TYPE, TooLargeError, read_stream
from driftwell.capture.wire.cloudevents import Event
from driftwell.errors import BadInput
from driftwell.routes.body import JSON_TYPES, json_document, media_type, read_body
from driftwell.routes.exchanges import accept_events, accept_rows
from driftwell.routes.ingest import PredictionRow, body_schema, note_refused_body
from driftwell.routes.problems import ProblemError
from driftwell.routes.protocol import Ingest
from driftwell.routes.streams import accept_table

__all__ = ["EVENT_CONTENT", "EVENT_TYPES", "PREDICTION_CONTENT", "PREDICTION_TYPES", "accept_body", "read_posted"]

STRUCTURED, BATCH = "application/cloudevents+json", "application/cloudevents-batch+json"
EVENT_TYPES = (STRUCTURED, BATCH)
PREDICTION_TYPES = (*JSON_TYPES, STREAM_TYPE, *EVENT_TYPES)
DECODED_TIMES = 4
"""An Arrow stream may become this many times the largest body in memory."""

_EVENT_SCHEMA: Mapping[str, Any] = {
    "type": "object",
    "description": "CloudEvents 1.0 (0.3 too). Data: rows of ours, or a body of the Open Inference Protocol.",
    "required": ["specversion", "id", "source", "type"],
    "properties": {
        "specversion": {"type": "string", "enum": ["1.0", "0.3"]},
        "id": {"type": "string", "minLength": 1},
        "source": {"type": "string", "minLength": 1},
        "type": {"type": "string", "minLength": 1},
        "time": {"type": "string", "format": "date-time"},
        "datacontenttype": {"type": "string"},
        "data": {},
        "data_base64": {"type": "string"},
    },
}
EVENT_CONTENT: Mapping[str, Any] = {
    STRUCTURED: {"schema": _EVENT_SCHEMA},
    BATCH: {"schema": {"type": "array", "items": _EVENT_SCHEMA}},
}
PREDICTION_CONTENT: Mapping[str, Any] = {
    JSON_TYPES[0]: {"schema": body_schema(PredictionRow)},
    STREAM_TYPE: {
        "schema": {"type": "string", "format": "binary", "description": "Columns by the names of a row's fields."}
    },
    **EVENT_CONTENT,
}


async def read_posted(request: Request, ingest: Ingest, types: Sequence[str]) -> bytes:
    """The raw body of one of ``types``, or of any where the headers say that it is the data of one event."""
    if "inference-header-content-length" in request.headers:
        raise ProblemError(415, "the binary extension of tensors is not read here; send the tensors as JSON")
    kind = media_type(request)
    binary = cloudevents.is_binary(request.headers) and kind not in EVENT_TYPES
    return await read_body(request, types=(kind,) if binary else types, limit=ingest.max_body_bytes)


def accept_body(
    request: Request, body: bytes, ingest: Ingest, *, model: str | None, version: str | None
) -> dict[str, Any]:
    """Decode the body and queue what it holds; one that cannot be read counts as one refused record.

    Raises
    ------
    ProblemError
        413, 422 or 429, see ``accept_predictions``.
    """
    names: dict[str, Any] = {"model": model, "version": version}
    try:
        kind = media_type(request)
        if kind == STREAM_TYPE and not cloudevents.is_binary(request.headers):
            table = _table(body, ingest)
        else:
            rows, events = _decoded(kind, request, body)
    except ProblemError as error:
        note_refused_body(error, ingest, model, version)
        raise
    now = datetime.now(UTC)
    if kind == STREAM_TYPE:
        return accept_table(table, ingest, **names)
    if events is not None:
        return accept_events(events, ingest, **names, now=now)
    return accept_rows(rows, ingest, **names, now=now)


def _table(body: bytes, ingest: Ingest) -> Any:
    try:
        return read_stream(body, most_bytes=DECODED_TIMES * ingest.max_body_bytes)
    except TooLargeError as error:
        raise ProblemError(413, str(error)) from error
    except BadInput as error:
        raise ProblemError(422, str(error)) from error


def _decoded(kind: str, request: Request, body: bytes) -> tuple[list[Any], Sequence[Event | BadInput] | None]:
    """Rows, or events where the body holds some."""
    try:
        if kind == STRUCTURED:
            return [], [cloudevents.from_document(_raw(body, dict[str, msgspec.Raw]))]
        if kind == BATCH:
            return [], [_event_or_flaw(one) for one in _raw(body, list[msgspec.Raw])]
        if cloudevents.is_binary(request.headers):
            return [], [cloudevents.from_headers(request.headers.items(), kind, body)]
        document = json_document(body)
        inside = cloudevents.from_payload(document, body)
    except BadInput as error:
        raise ProblemError(422, str(error)) from error
    if inside is not None:
        return [], [inside]
    if isinstance(document, list):
        return document, None
    if isinstance(document, dict):
        return [document], None
    raise ProblemError(422, "the body must be one JSON object or a list of them")


def _event_or_flaw(raw: msgspec.Raw) -> Event | BadInput:
    """One event of a batch: a bad one does not spoil the others."""
    try:
        return cloudevents.from_document(_raw(bytes(raw), dict[str, msgspec.Raw]))
    except BadInput as error:
        return error


def _raw(body: bytes, kind: Any) -> Any:
    try:
        return msgspec.json.decode(body, type=kind)
    except (msgspec.DecodeError, UnicodeDecodeError) as error:
        raise BadInput(f"the body is no such JSON: {error}") from error
    except RecursionError as error:
        raise BadInput("the body is nested too deeply") from error
