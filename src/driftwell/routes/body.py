"""Request bodies: read raw, bounded, only of the content types a path takes."""

from __future__ import annotations

from collections.abc import Collection
from typing import Any

import msgspec
from fastapi import Request
from starlette.types import Message

from driftwell.routes.problems import ProblemError

__all__ = ["JSON_TYPES", "bounded", "json_document", "json_rows", "media_type", "read_body"]

JSON_TYPES = ("application/json",)


def media_type(request: Request) -> str:
    """The content type without parameters, in lower case; empty when there is none."""
    return request.headers.get("content-type", "").partition(";")[0].strip().lower()


def bounded(request: Request, limit: int) -> Request:
    """The same request with a body of at most ``limit`` bytes: 413 as soon as it is longer."""
    declared = request.headers.get("content-length", "")
    if declared.isdecimal() and int(declared) > limit:
        raise _too_large(limit)
    seen = 0

    async def receive() -> Message:
        nonlocal seen
        message = await request.receive()
        seen += len(message.get("body", b""))
        if seen > limit:
            raise _too_large(limit)
        return message

    return Request(request.scope, receive)


async def read_body(request: Request, *, types: Collection[str], limit: int, empty: bool = False) -> bytes:
    """The raw body, when its content type is one of ``types``: 415 otherwise, 413 when it is too long.

    ``empty`` allows no body at all, then without a content type too.
    """
    kind = media_type(request)
    encoding = request.headers.get("content-encoding", "identity").strip().lower()
    if encoding not in ("", "identity"):
        raise ProblemError(415, f"Content-Encoding {encoding!r} is not accepted here; send the body as it is")
    if kind in types:
        return await bounded(request, limit).body()
    if empty and not kind and not await bounded(request, 0).body():
        return b""
    named = f"content type {kind!r} is not accepted here" if kind else "the content type is missing"
    raise ProblemError(415, f"{named}; send {' or '.join(types)}", members={"accepted": list(types)})


def json_document(body: bytes) -> Any:
    """The decoded JSON; malformed text is a 422 that says where, NaN and Infinity (not JSON) included."""
    try:
        return msgspec.json.decode(body)
    except (msgspec.DecodeError, UnicodeDecodeError) as error:
        raise ProblemError(422, f"the body is not JSON: {error}") from error
    except RecursionError as error:
        raise ProblemError(422, "the body is not usable JSON: nested too deeply") from error


def json_rows(body: bytes) -> list[Any]:
    """The rows of a body that is one object or a list."""
    document = json_document(body)
    if isinstance(document, list):
        return document
    if isinstance(document, dict):
        return [document]
    raise ProblemError(422, "the body must be one JSON object or a list of them")


def _too_large(limit: int) -> ProblemError:
    return ProblemError(413, f"the body is longer than {limit} bytes; send it in parts", members={"limit_bytes": limit})
