"""The endpoints of one model. Plain functions run in threads: a slow store never holds up the event loop."""

from __future__ import annotations

from collections.abc import Sequence
from datetime import UTC, datetime
from typing import Annotated, Any, TypeVar

import msgspec
from fastapi import Depends, Query, Request, Response
from starlette.concurrency import run_in_threadpool

from driftwell.routes import schemas
from driftwell.routes.body import JSON_TYPES, json_document, json_rows, read_body
from driftwell.routes.ingest import (
    COMMIT_SECONDS,
    LOST,
    FeedbackRow,
    accept_feedback,
    body_schema,
    is_lost,
    label_flaw,
    note_refused_body,
    note_refused_labels_body,
)
from driftwell.routes.paths import Path, content
from driftwell.routes.problems import Answer, ProblemError
from driftwell.routes.protocol import Ingest, OneModel, Since
from driftwell.routes.wire import (
    EVENT_CONTENT,
    EVENT_TYPES,
    PREDICTION_CONTENT,
    PREDICTION_TYPES,
    accept_body,
    read_posted,
)

__all__ = ["INGEST_PATHS", "ONE_MODEL_PATHS", "PROMETHEUS_TYPE", "ModelName", "Version", "prometheus"]

PROMETHEUS_TYPE = "text/plain; version=0.0.4; charset=utf-8"
SMALL_BODY = 64 * 1024

Kind = TypeVar("Kind")

ModelName = Annotated[str | None, Query(max_length=200, description="Optional where one model is served.")]
Version = Annotated[str | None, Query(max_length=200, description="The newest version when left out.")]
SinceMark = Annotated[Since, Query(description="`all`: also what came before the newest mark.")]


def perhaps(request: Request, model: ModelName = None, version: Version = None) -> OneModel | None:
    """The model a request is about, None when nothing has been set up."""
    found: OneModel | None = request.state.driftwell_resolve(model, version)
    return found


def chosen(found: Annotated[Any, Depends(perhaps)]) -> OneModel:
    """The model a request is about: 404 when nothing has been set up."""
    if found is None:
        raise ProblemError(404, "no model yet: post predictions or a reference, then it appears by itself")
    one: OneModel = found
    return one


One = Annotated[Any, Depends(chosen)]


def collector_stats(one: Annotated[Any, Depends(perhaps)], since: SinceMark = None) -> Response:
    """What was collected since the newest mark."""
    return Answer({"status": "collector_not_initialized"} if one is None else one.collector_stats(since))


def collector_recent(one: One, n: Annotated[int, Query(ge=1, le=10_000)] = 10, since: SinceMark = None) -> Response:
    """The newest predictions, newest first."""
    return Answer(one.recent_http(n, since))


def collector_save(one: One) -> Response:
    """Write the newest predictions to a JSON file on the server."""
    return Answer(one.save_batch())


def collector_clear(one: One) -> Response:
    """Forget what is in memory and start statistics afresh; nothing stored is deleted."""
    return Answer(one.clear())


def drift_status(
    one: One,
    window: Annotated[
        str | None, Query(max_length=40, description="ISO 8601 duration (PT24H) or a number of predictions.")
    ] = None,
    at: Annotated[datetime | None, Query(description="End of the window; now when left out.")] = None,
    since: SinceMark = None,
) -> Response:
    """The newest recorded check, or one computed now for `window` and `at`."""
    span = int(window) if window and window.isascii() and window.isdecimal() else window
    return Answer(one.drift_status(span, _aware(at), since))


def drift_performance(one: One) -> Response:
    """Realized and estimated performance."""
    return Answer(one.drift_performance())


def hourly_summary(
    one: One,
    hours: Annotated[int, Query(ge=1, le=8784, description="Newest hours that have data.")] = 168,
    since: SinceMark = None,
) -> Response:
    """Count, input mean and output mean of each hour; the keys are bare UTC hours."""
    return Answer(one.hourly_summary(hours, since))


def drift_scores(one: One) -> Response:
    """Drift scores of the newest check."""
    return Answer(one.drift_scores())


def monitoring_status(one: One) -> Response:
    """One model at a glance."""
    return Answer(one.status())


def monitoring_metrics(one: One) -> Response:
    """Prometheus text of one model."""
    return prometheus(one.metrics_text())


def prometheus(text: str | None) -> Response:
    """The scrape answer, or 404 when Prometheus is switched off."""
    if text is None:
        reason = "Prometheus not available"
        raise ProblemError(404, f"{reason}: it is switched off by enable_prometheus = false", members={"error": reason})
    return Response(text, media_type=PROMETHEUS_TYPE)


class _Label(msgspec.Struct, frozen=True):
    prediction_id: str | int
    true_label: str | int | float | bool
    timestamp: datetime | None = None


async def monitoring_feedback(
    request: Request,
    one: One,
    prediction_id: Annotated[str | None, Query(max_length=512)] = None,
    true_label: Annotated[
        str | None,
        Query(max_length=4096, description="JSON where it reads as JSON (`1`, `true`), else text."),
    ] = None,
) -> Response:
    """Record one label, named in the query or in a JSON body."""
    try:
        if prediction_id is not None and true_label is not None:
            label = FeedbackRow(prediction_id, _json_or_text(true_label))
        else:
            body = await read_body(request, types=JSON_TYPES, limit=SMALL_BODY, empty=True)
            posted = _convert(json_document(body or b"{}"), _Label)
            label = FeedbackRow(posted.prediction_id, posted.true_label, posted.timestamp)
        if flaw := label_flaw(label):
            raise ProblemError(422, flaw)
    except ProblemError as error:
        ingest: Ingest | None = request.state.driftwell_ingest
        if ingest is not None:
            await run_in_threadpool(note_refused_labels_body, error, ingest, request.query_params.get("model"))
        raise
    return Answer(await run_in_threadpool(_feedback, one, label))


def _feedback(one: OneModel, label: FeedbackRow) -> dict[str, Any]:
    ticket = one.record_feedback(str(label.prediction_id), label.true_label, timestamp=_aware(label.timestamp))
    outcome = ticket.wait(COMMIT_SECONDS)
    if outcome is None:
        return {"status": "pending", "matched": False}
    if is_lost(outcome):
        raise ProblemError(503, LOST, headers={"Retry-After": "1"})
    return {"status": "feedback_recorded", "matched": outcome.matched + outcome.duplicate > 0}


class _Trigger(msgspec.Struct, frozen=True):
    reason: str = "manual"
    details: dict[str, Any] | None = None


async def trigger_retraining(request: Request, one: One) -> Response:
    """Ask for retraining now: passes the cool-down, not the rule of one run at a time."""
    body = await read_body(request, types=JSON_TYPES, limit=SMALL_BODY, empty=True)
    asked = _convert(json_document(body or b"{}"), _Trigger)
    answer = await run_in_threadpool(one.trigger_retraining, asked.reason, asked.details)
    if answer["status"] != "retraining_triggered":
        raise ProblemError(409, answer.get("reason") or f"no retraining was started: {answer['status']}")
    return Answer(answer)


async def post_predictions(request: Request, model: ModelName = None, version: Version = None) -> Response:
    """Record predictions: queued when answered, stored a second later; bad rows are named."""
    return await _accepted(request, PREDICTION_TYPES, model, version)


async def post_events(request: Request, model: ModelName = None, version: Version = None) -> Response:
    """Record predictions sent as CloudEvents, by a model server's request logger for example."""
    return await _accepted(request, EVENT_TYPES, model, version)


async def _accepted(request: Request, types: Sequence[str], model: str | None, version: str | None) -> Response:
    ingest: Ingest = request.state.driftwell_ingest
    try:
        body = await read_posted(request, ingest, types)
    except ProblemError as error:
        await run_in_threadpool(note_refused_body, error, ingest, model, version)
        raise
    answer = await run_in_threadpool(lambda: accept_body(request, body, ingest, model=model, version=version))
    return Answer(answer, status_code=202)


async def post_feedback(
    request: Request,
    model: ModelName = None,
    fates: Annotated[bool, Query(description="Tell the fate of each label too.")] = False,
) -> Response:
    """Record labels by prediction id. Answers when they are committed, at most two seconds later."""
    ingest: Ingest = request.state.driftwell_ingest
    try:
        rows = json_rows(await read_body(request, types=JSON_TYPES, limit=ingest.max_body_bytes))
    except ProblemError as error:
        await run_in_threadpool(note_refused_labels_body, error, ingest, model)
        raise
    answer = await run_in_threadpool(lambda: accept_feedback(rows, ingest, model=model, each=fates))
    return Answer(answer, status_code=202)


def _aware(moment: datetime | None) -> datetime | None:
    return moment.replace(tzinfo=UTC) if moment is not None and moment.tzinfo is None else moment


def _json_or_text(text: str) -> Any:
    try:
        return msgspec.json.decode(text)
    except (msgspec.DecodeError, UnicodeEncodeError):
        return text


def _convert(document: Any, kind: type[Kind]) -> Kind:
    try:
        return msgspec.convert(document, kind)
    except msgspec.ValidationError as error:
        raise ProblemError(422, f"the body does not fit: {error}") from error


def _schema(kind: type[msgspec.Struct]) -> dict[str, Any]:
    _, components = msgspec.json.schema_components([kind])
    return dict(components[kind.__name__])


ONE_MODEL_PATHS = (
    Path("GET", "/api/v1/collector/stats", collector_stats, schemas.CollectorStats | schemas.NotInitialized),
    Path("GET", "/api/v1/collector/recent", collector_recent, list[schemas.RecentPrediction]),
    Path("POST", "/api/v1/collector/save", collector_save, schemas.Saved),
    Path("DELETE", "/api/v1/collector/clear", collector_clear, schemas.Cleared),
    Path("GET", "/api/v1/drift/status", drift_status, schemas.DriftStatus),
    Path("GET", "/api/v1/drift/performance", drift_performance, schemas.DriftPerformance),
    Path("GET", "/api/v1/hourly/summary", hourly_summary, dict[str, schemas.HourOut]),
    Path("GET", "/metrics/drift", drift_scores, schemas.DriftScores),
    Path("GET", "/monitoring/status", monitoring_status, schemas.MonitoringStatus),
    Path("GET", "/monitoring/metrics", monitoring_metrics, content([PROMETHEUS_TYPE], {"type": "string"})),
    Path(
        "POST",
        "/monitoring/feedback",
        monitoring_feedback,
        schemas.FeedbackRecorded,
        errors=(404, 413, 415),
        body=content(JSON_TYPES, _schema(_Label)),
        body_required=False,
    ),
    Path(
        "POST",
        "/monitoring/trigger-retraining",
        trigger_retraining,
        schemas.RetrainingTriggered,
        errors=(404, 409, 413, 415),
        body=content(JSON_TYPES, _schema(_Trigger)),
        body_required=False,
    ),
)

INGEST_PATHS = (
    Path(
        "POST",
        "/api/v1/predictions",
        post_predictions,
        schemas.PredictionsAccepted,
        status=202,
        errors=(413, 415, 429),
        body=PREDICTION_CONTENT,
    ),
    Path(
        "POST",
        "/api/v1/cloudevents",
        post_events,
        schemas.PredictionsAccepted,
        status=202,
        errors=(413, 415, 429),
        body=EVENT_CONTENT,
    ),
    Path(
        "POST",
        "/api/v1/feedback",
        post_feedback,
        schemas.FeedbackCounts,
        status=202,
        errors=(409, 413, 415),
        body=content(JSON_TYPES, body_schema(FeedbackRow)),
    ),
)
