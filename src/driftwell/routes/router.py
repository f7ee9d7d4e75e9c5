"""The one-model paths of the HTTP contract as a FastAPI router."""

from __future__ import annotations

from collections.abc import AsyncIterator, Sequence
from contextlib import asynccontextmanager

from fastapi import APIRouter, Depends, Request
from fastapi.params import Depends as Dependency
from starlette.concurrency import run_in_threadpool

from driftwell.routes.endpoints import INGEST_PATHS, ONE_MODEL_PATHS
from driftwell.routes.exchanges import count_unpaired
from driftwell.routes.paths import add_paths
from driftwell.routes.problems import ProblemRoute
from driftwell.routes.protocol import Guard, Ingest, Resolve

__all__ = ["one_model_router"]


def one_model_router(
    resolve: Resolve,
    *,
    guard: Guard | None,
    dependencies: Sequence[Dependency] = (),
    ingest: Ingest | None = None,
) -> APIRouter:
    """Every one-model path of the HTTP contract.

    Parameters
    ----------
    resolve
        ``resolve(model, version)`` finds the model a request is about.
    guard
        Gives the dependency that checks a request's token for a scope; None lets every request through.
    dependencies
        Further FastAPI dependencies of every path.
    ingest
        Adds `POST /api/v1/predictions`, `/api/v1/cloudevents` and `/api/v1/feedback`.
    """

    def remember(request: Request) -> None:
        request.state.driftwell_resolve = resolve
        request.state.driftwell_ingest = ingest

    @asynccontextmanager
    async def lifespan(app: object) -> AsyncIterator[None]:
        yield
        if ingest is not None:
            await run_in_threadpool(count_unpaired, ingest, all_of_them=True)

    router = APIRouter(route_class=ProblemRoute, dependencies=[Depends(remember), *dependencies], lifespan=lifespan)
    add_paths(router, ONE_MODEL_PATHS if ingest is None else ONE_MODEL_PATHS + INGEST_PATHS, guard)
    return router
