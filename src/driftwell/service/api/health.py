"""`/metrics`, `/healthz`, `/readyz`: for scrapers and for whoever keeps the process alive."""

from __future__ import annotations

from fastapi import APIRouter, Response
from pydantic import BaseModel

from driftwell.monitor.exporter import metrics_text
from driftwell.routes.endpoints import PROMETHEUS_TYPE, prometheus
from driftwell.routes.paths import Path, content
from driftwell.routes.problems import Answer, ProblemRoute, problem_responses
from driftwell.service.api.context import Ctx

__all__ = ["METRICS_PATHS", "probe_router"]


class Probe(BaseModel):
    """Alive, or ready to take and give data."""

    status: str


def metrics(ctx: Ctx) -> Response:
    """Prometheus text of all models and of the service itself."""
    settings = ctx.runtime.settings
    if not settings.enable_prometheus:
        return prometheus(None)

    def models() -> list[tuple[str, str]]:
        return [(name, version) for name, versions in ctx.served.versions().items() for version in versions]

    return prometheus(metrics_text(ctx.runtime, models, prefix=settings.metrics_prefix))


async def healthz() -> Response:
    """The process answers; no thread is needed for it, so that a slow store cannot make it look dead."""
    return Answer({"status": "ok"})


def readyz(ctx: Ctx) -> Response:
    """The store and the ledger answer too; 503 when one does not."""
    ctx.runtime.ledger.get_mark("")
    ctx.runtime.store.count("", None, 0, 1)
    return Answer({"status": "ready"})


def probe_router() -> APIRouter:
    """The two probes: they need no token, because what asks them has none."""
    router = APIRouter(route_class=ProblemRoute, tags=["probe"])
    for path, endpoint in (("/healthz", healthz), ("/readyz", readyz)):
        router.add_api_route(
            path,
            endpoint,
            methods=["GET"],
            response_model=None,
            responses={200: {"model": Probe}, **problem_responses(500, 503)},
        )
    return router


METRICS_PATHS = (Path("GET", "/metrics", metrics, content([PROMETHEUS_TYPE], {"type": "string"})),)
