"""`/login`: the printed link or a pasted token becomes a session cookie and leaves the address bar."""

from __future__ import annotations

from html import escape
from typing import Annotated
from urllib.parse import parse_qs

from fastapi import APIRouter, Query, Request
from fastapi.responses import HTMLResponse, RedirectResponse, Response
from starlette.concurrency import run_in_threadpool

from driftwell.routes.body import bounded, media_type
from driftwell.routes.problems import ProblemError, ProblemRoute
from driftwell.service.auth import Authority, same_origin

__all__ = ["base_path", "login_router"]

MAX_FORM = 8 * 1024

PAGE = """<!doctype html>
<html lang="en"><head><meta charset="utf-8"><title>Log in · Driftwell</title>
<meta name="viewport" content="width=device-width, initial-scale=1">
<meta name="color-scheme" content="light dark">
<link rel="icon" type="image/svg+xml" href="static/icon.svg">
<link rel="stylesheet" href="static/style.css">
</head><body><div class="page"><header class="masthead"><span class="brand">Driftwell</span></header>
<main><section class="verdict"><h1>Log in</h1><p class="lead" role="status">{message}</p>
<p class="lead">Make a token with <code>driftwell token create</code>, or restart
<code>driftwell serve</code> for a new link.</p></section>
<div class="card pad"><form method="post" action="login"><input type="hidden" name="next" value="{next}">
<label>Token <input name="token" type="password" autocomplete="off" required autofocus></label>
<button>Log in</button></form></div>
</main></div></body></html>
"""
ASK = "Paste a token to see the pages."
REFUSED = "This token is not valid: unknown, expired, revoked, or a start link that was used before."


def login_router(authority: Authority) -> APIRouter:
    """The login page and what it posts to; neither needs a token nor stands in the OpenAPI document."""
    router = APIRouter(route_class=ProblemRoute, include_in_schema=False)

    def follow_link(
        request: Request, token: Annotated[str, Query()] = "", next: Annotated[str, Query()] = ""
    ) -> Response:
        if token:
            return _enter(authority, request, token, next)
        return _local(request, next) if authority.is_logged_in(request) else _page(ASK, next, 200)

    async def post_token(request: Request) -> Response:
        if media_type(request) != "application/x-www-form-urlencoded":
            raise ProblemError(415, "send the form of the login page")
        if same_origin(request) is False:
            raise ProblemError(403, "another site's page asked to log in; that is refused")
        form = parse_qs((await bounded(request, MAX_FORM).body()).decode("utf-8", "replace"))
        token, target = (form.get(name, [""])[0] for name in ("token", "next"))
        return await run_in_threadpool(_enter, authority, request, token.strip(), target)

    router.add_api_route("/login", follow_link, methods=["GET"], response_model=None)
    router.add_api_route("/login", post_token, methods=["POST"], response_model=None)
    return router


def _enter(authority: Authority, request: Request, token: str, target: str) -> Response:
    response = _local(request, target)
    if authority.log_in(token, request, response) or authority.is_logged_in(request):
        return response
    return _page(REFUSED, target, 401)


def _local(request: Request, target: str) -> Response:
    """To a path of this service, never to another site (`//evil.example`, `/\\\\evil.example`)."""
    own = target.startswith("/") and not target.startswith(("//", "/\\")) and target.isprintable()
    return RedirectResponse(target if own else f"{base_path(request)}/", status_code=303)


def base_path(request: Request) -> str:
    """Where the service lies on its host; empty but behind a proxy that gives it a path of its own."""
    return str(request.scope.get("root_path") or "")


def _page(message: str, target: str, status: int) -> Response:
    return HTMLResponse(PAGE.format(message=message, next=escape(target, quote=True)), status_code=status)
