"""The service as one FastAPI application: the HTTP contract over all models of a runtime, login and pages."""

from __future__ import annotations

import time
from collections.abc import AsyncIterator, Callable, Mapping
from contextlib import AbstractAsyncContextManager, asynccontextmanager
from pathlib import Path
from urllib.parse import quote

from fastapi import APIRouter, FastAPI, Request, Response
from fastapi.exceptions import RequestValidationError
from fastapi.responses import RedirectResponse
from starlette.concurrency import run_in_threadpool
from starlette.exceptions import HTTPException

from driftwell._version import __version__
from driftwell.config import Config
from driftwell.errors import ConfigError, DriftwellError
from driftwell.monitor.runtime import Runtime
from driftwell.routes import Guard, Ingest, one_model_router
from driftwell.routes.paths import Path as ApiPath
from driftwell.routes.paths import add_paths, content
from driftwell.routes.problems import Answer, ProblemError, ProblemRoute, answer_for
from driftwell.routes.tokens import ALL_SCOPES, Grant, digest
from driftwell.service.api import API_PATHS, METRICS_PATHS, Context, probe_router
from driftwell.service.auth import Authority, key_beside, local_guard
from driftwell.service.login import base_path, login_router
from driftwell.service.pages import pages_router
from driftwell.service.served import Served
from driftwell.service.shield import SECURITY_HEADERS, LoopbackHosts, SecurityHeaders

__all__ = ["create_app"]

DESCRIPTION = "Watches machine-learning models in production. Errors are problem details (RFC 9457)."
STOP_SECONDS = 10.0


def create_app(
    runtime: Runtime,
    config: Config | None = None,
    *,
    auth: bool = True,
    start_token: str | None = None,
    clock: Callable[[], float] = time.time,
) -> FastAPI:
    """The service over a runtime, which the caller opens and closes.

    Parameters
    ----------
    auth
        Ask for tokens. Without, only loopback host names are answered; check the address with `check_bind`.
    start_token
        Opens one browser session, once, at ``/login?token=…``.

    Raises
    ------
    ConfigError
        The token file of the configuration cannot be read or holds no token.
    """
    settings = config or Config()
    served = Served(runtime, settings)
    app = FastAPI(
        title="Driftwell",
        version=__version__,
        description=DESCRIPTION,
        lifespan=_lifespan(served),
        docs_url=None,  # Swagger's page comes from another site, which the content policy refuses
        redoc_url=None,
        openapi_url=None,
    )
    app.state.driftwell = Context(runtime, settings, served)
    guard = _guarded(app, _authority(runtime, settings, start_token, clock) if auth else None)
    app.add_middleware(SecurityHeaders)
    for kind in (ProblemError, DriftwellError, RequestValidationError, HTTPException):
        app.add_exception_handler(kind, _answer_error)
    app.add_exception_handler(Exception, _answer_unforeseen)
    ingest = Ingest(runtime.recorder, served.place)
    app.include_router(one_model_router(served.resolve, guard=guard, ingest=ingest))
    app.include_router(_router(API_PATHS, guard))
    app.include_router(_router(METRICS_PATHS, None if settings.metrics_public else guard))
    app.include_router(_router((OPENAPI_PATH,), guard))
    app.include_router(probe_router())
    app.include_router(pages_router(runtime, guard))
    return app


def openapi(request: Request) -> Response:
    """This document."""
    return Answer(request.app.openapi())


OPENAPI_PATH = ApiPath("GET", "/openapi.json", openapi, content(["application/json"], {"type": "object"}), errors=())


def _router(paths: tuple[ApiPath, ...], guard: Guard | None) -> APIRouter:
    router = APIRouter(route_class=ProblemRoute)
    add_paths(router, paths, guard)
    return router


def _lifespan(served: Served) -> Callable[[FastAPI], AbstractAsyncContextManager[None]]:
    @asynccontextmanager
    async def lifespan(app: FastAPI) -> AsyncIterator[None]:
        await run_in_threadpool(served.load_references)
        yield
        # The server ends the process by the signal that stopped it: what was accepted must be stored before.
        await run_in_threadpool(served.runtime.recorder.flush, STOP_SECONDS)

    return lifespan


def _authority(runtime: Runtime, config: Config, start_token: str | None, clock: Callable[[], float]) -> Authority:
    key = key_beside(runtime.store.url)
    fixed = _token_of_file(config.token_file)
    return Authority(runtime.ledger, key, start_token=start_token, fixed=fixed, clock=clock)


def _guarded(app: FastAPI, authority: Authority | None) -> Guard:
    if authority is None:
        app.add_middleware(LoopbackHosts)
        return local_guard
    app.include_router(login_router(authority))
    return authority.guard


def _token_of_file(path: str | None) -> Mapping[bytes, Grant]:
    if path is None:
        return {}
    try:
        token = Path(path).read_text(encoding="utf-8").strip()
    except (OSError, UnicodeDecodeError) as exc:
        raise ConfigError(f"cannot read token_file {path}: {exc}") from exc
    if len(token) < 32:
        raise ConfigError(f"token_file {path} must hold a token of at least 32 characters")
    return {digest(token): Grant("token file", frozenset(ALL_SCOPES))}


async def _answer_error(request: Request, error: Exception) -> Response:
    """A problem document, or for a browser that wants a page and has no session: the login page."""
    if isinstance(error, ProblemError) and error.status == 401 and _wants_page(request):
        target = request.url.path + (f"?{request.url.query}" if request.url.query else "")
        return RedirectResponse(f"{base_path(request)}/login?next={quote(target)}", status_code=303)
    return answer_for(error)


def _wants_page(request: Request) -> bool:
    return request.method == "GET" and "text/html" in request.headers.get("accept", "")


async def _answer_unforeseen(request: Request, error: Exception) -> Response:
    """500, sent from outside of all middleware: it brings the security headers itself."""
    answer = answer_for(error)
    answer.headers.update(SECURITY_HEADERS | {"Cache-Control": "no-store"})
    return answer
