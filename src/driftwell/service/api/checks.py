"""`POST /api/v1/checks`: check a window now. `GET /api/v1/checks`: what earlier checks found."""

from __future__ import annotations

from datetime import UTC, datetime
from typing import Annotated, Any

import msgspec
from fastapi import Query, Request, Response
from pydantic import BaseModel, Field
from starlette.concurrency import run_in_threadpool

from driftwell.routes.body import JSON_TYPES, json_document, read_body
from driftwell.routes.endpoints import ModelName, Version
from driftwell.routes.paths import Path, content
from driftwell.routes.problems import Answer, ProblemError
from driftwell.routes.schemas import AlarmOut, SeverityName, Time
from driftwell.service.api.context import Context, Ctx

__all__ = ["CHECK_PATHS"]

MAX_BODY = 64 * 1024


class WindowOut(BaseModel):
    """`[start, end)` of event time."""

    start: str
    end: str


class CheckOut(BaseModel):
    """One check of one model over one window."""

    check_id: str
    model: str
    version: str
    status: str = Field(description="ok, warning, critical, no_data or error.")
    severity: SeverityName
    window: WindowOut
    timestamp: Time
    sample_count: int
    drift_detected: bool
    performance_degraded: bool
    drifted_features: dict[str, float | None]
    max_drift_score: float | None
    reference_id: str | None
    alarm: AlarmOut
    verdicts: list[dict[str, Any]]
    drift: dict[str, Any] | None
    performance: dict[str, Any] | None
    quality: dict[str, Any] | None
    reason: str | None


class _Ask(msgspec.Struct, frozen=True, forbid_unknown_fields=True):
    model: str | None = None
    version: str | None = None
    window: str | int = "PT1H"
    at: datetime | None = None


async def post_check(request: Request, ctx: Ctx) -> Response:
    """Check `[at − window, at)` now, record the verdict, and let it alert as a scheduled check would.

    `window` is an ISO 8601 duration or a number of predictions; `at` is now when left out.
    """
    body = await read_body(request, types=JSON_TYPES, limit=MAX_BODY)
    return Answer(await run_in_threadpool(_check, ctx, json_document(body)))


def _check(ctx: Context, document: Any) -> dict[str, Any]:
    try:
        ask = msgspec.convert(document, _Ask)
    except msgspec.ValidationError as error:
        raise ProblemError(422, f"the body does not fit: {error}") from error
    one = ctx.served.resolve(ask.model, ask.version)
    if one is None:
        raise ProblemError(404, "no model yet: post predictions first")
    at = ask.at.replace(tzinfo=UTC) if ask.at and ask.at.tzinfo is None else ask.at
    return one.check(window=ask.window, at=at).to_dict()


def get_checks(
    ctx: Ctx,
    model: ModelName = None,
    version: Version = None,
    limit: Annotated[int, Query(ge=1, le=1000)] = 100,
    since: Annotated[datetime | None, Query(description="Only checks whose window ends after this.")] = None,
    full: Annotated[bool, Query(description="With each column's distributions.")] = False,
) -> Response:
    """Recorded checks, newest first; of all versions when none is named."""
    if ctx.served.resolve(model, version) is None:
        return Answer([])
    name, _ = ctx.served.place(model, version)
    since_us = _microseconds(since) if since else None
    found = ctx.runtime.ledger.checks(name, version, limit=limit, since_us=since_us, full=full)
    return Answer(found)


def _microseconds(moment: datetime) -> int:
    aware = moment.replace(tzinfo=UTC) if moment.tzinfo is None else moment
    return round(aware.timestamp() * 1_000_000)


CHECK_PATHS = (
    Path(
        "POST",
        "/api/v1/checks",
        post_check,
        CheckOut,
        errors=(404, 413, 415),
        body=content(JSON_TYPES, msgspec.json.schema_components([_Ask])[1]["_Ask"]),
    ),
    Path("GET", "/api/v1/checks", get_checks, list[CheckOut]),
)
