"""One JSON shape for every error: problem details of RFC 9457, wherever the routes are mounted.

`ProblemRoute` turns errors into answers inside the route itself, so that a router included in a user's own
application needs no exception handlers there.
"""

from __future__ import annotations

from collections.abc import Callable, Coroutine, Mapping
from http.client import responses
from typing import Any

import msgspec
from fastapi import Request, Response
from fastapi.exceptions import RequestValidationError
from fastapi.responses import JSONResponse
from fastapi.routing import APIRoute
from starlette.exceptions import HTTPException

from driftwell.errors import (
    DriftwellError,
    MissingDependency,
    MissingReference,
    StoreError,
    UnknownName,
)

__all__ = [
    "PROBLEM_TYPE",
    "Answer",
    "ProblemError",
    "ProblemRoute",
    "answer_for",
    "problem",
    "problem_responses",
]

PROBLEM_TYPE = "application/problem+json"

Handler = Callable[[Request], Coroutine[Any, Any, Response]]

STATUS_OF: tuple[tuple[type[DriftwellError], int], ...] = (
    (UnknownName, 404),
    (MissingReference, 404),
    (MissingDependency, 501),
    (StoreError, 503),
    (DriftwellError, 422),
)
"""The first row that fits decides: a name is not there, the server lacks something, the input is bad."""

PROBLEM_SCHEMA: dict[str, Any] = {
    "type": "object",
    "required": ["type", "title", "status", "detail"],
    "properties": {
        "type": {"type": "string"},
        "title": {"type": "string"},
        "status": {"type": "integer"},
        "detail": {"type": "string", "description": "What is wrong and what would work."},
    },
}


class Answer(JSONResponse):
    """JSON by msgspec: NaN and infinities become null, as the contract says."""

    def render(self, content: Any) -> bytes:
        return msgspec.json.encode(content)


class ProblemError(Exception):
    """An answer that is an error: status, one sentence for the user, headers, further fields."""

    def __init__(
        self,
        status: int,
        detail: str,
        *,
        headers: Mapping[str, str] | None = None,
        members: Mapping[str, Any] | None = None,
    ) -> None:
        super().__init__(detail)
        self.status = status
        self.detail = detail
        self.headers = dict(headers or {})
        self.members = dict(members or {})


class ProblemRoute(APIRoute):
    """A route whose errors are problem details."""

    def get_route_handler(self) -> Handler:
        handler = super().get_route_handler()

        async def answer(request: Request) -> Response:
            try:
                return await handler(request)
            except (ProblemError, DriftwellError, RequestValidationError, HTTPException) as error:
                return answer_for(error)

        return answer


def problem(status: int, detail: str, *, headers: Mapping[str, str] | None = None, **members: Any) -> Response:
    """The response for an error; ``members`` are further fields beside type, title, status and detail."""
    document = {
        "type": "about:blank",
        "title": responses.get(status, "Error"),
        "status": status,
        "detail": detail,
        **members,
    }
    return Answer(document, status_code=status, headers=dict(headers or {}), media_type=PROBLEM_TYPE)


def answer_for(error: Exception) -> Response:
    """The problem document that tells of ``error``; anything unforeseen is a 500 without inner details."""
    match error:
        case ProblemError():
            return problem(error.status, error.detail, headers=error.headers, **error.members)
        case RequestValidationError():
            return _invalid(error)
        case HTTPException():
            return problem(error.status_code, str(error.detail), headers=error.headers)
        case DriftwellError():
            status = next(status for kind, status in STATUS_OF if isinstance(error, kind))
            return problem(status, _sentence(error), headers={"Retry-After": "1"} if status == 503 else None)
    return problem(500, "the server made an error; its log has the details")


def problem_responses(*statuses: int) -> dict[int | str, dict[str, Any]]:
    """The ``responses=`` of a route that may answer with these errors, for its OpenAPI description."""
    content = {PROBLEM_TYPE: {"schema": PROBLEM_SCHEMA}}
    return {status: {"description": responses[status], "content": content} for status in statuses}


def _sentence(error: DriftwellError) -> str:
    return str(error) or (type(error).__doc__ or "").strip()


def _invalid(error: RequestValidationError) -> Response:
    flaws = [
        {"where": ".".join(str(part) for part in flaw["loc"]), "message": str(flaw["msg"])} for flaw in error.errors()
    ]
    return problem(422, "; ".join(f"{flaw['where']}: {flaw['message']}" for flaw in flaws), errors=flaws)
