"""A path as one line of a table: verb, endpoint, answer, errors; added to a router with its scope's guard."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any

from fastapi import APIRouter, Depends

from driftwell.routes.problems import problem_responses
from driftwell.routes.protocol import Guard
from driftwell.routes.scopes import SCOPES

__all__ = ["Path", "add_paths", "content"]


@dataclass(frozen=True, slots=True)
class Path:
    """One path of the HTTP contract.

    ``answer`` describes the body of the good answer: a pydantic model or a type (JSON), or a dict of OpenAPI
    content where it is something else. ``errors`` are the statuses beside 401, 403, 422, 500 and 503, which
    every path may answer. ``body`` is the OpenAPI content of a request body that the endpoint reads itself.
    """

    method: str
    path: str
    endpoint: Callable[..., Any]
    answer: Any
    status: int = 200
    errors: tuple[int, ...] = (404,)
    body: Mapping[str, Any] = field(default_factory=dict)
    body_required: bool = True


def content(media_types: Sequence[str], schema: Mapping[str, Any]) -> dict[str, Any]:
    """OpenAPI content: one schema under each of these media types."""
    return {media_type: {"schema": dict(schema)} for media_type in media_types}


def add_paths(router: APIRouter, paths: Sequence[Path], guard: Guard | None) -> None:
    """Add each path of the table with the guard of its scope, its good answer and its errors."""
    for one in paths:
        scope = SCOPES[one.method, one.path]
        errors = (*one.errors, 422, 500, 503, *((401, 403) if guard else ()))
        good = {"content": one.answer} if isinstance(one.answer, dict) else {"model": one.answer}
        router.add_api_route(
            one.path,
            one.endpoint,
            methods=[one.method],
            status_code=one.status,
            dependencies=[Depends(guard(scope))] if guard else [],
            response_model=None,
            responses={one.status: good, **problem_responses(*errors)},
            openapi_extra=_request_body(one),
            tags=[scope],
        )


def _request_body(one: Path) -> dict[str, Any] | None:
    if not one.body:
        return None
    return {"requestBody": {"required": one.body_required, "content": dict(one.body)}}
