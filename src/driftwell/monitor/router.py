"""``Monitor.router``: the one-model paths of the HTTP contract inside the user's own application."""

from __future__ import annotations

import logging
from collections.abc import Sequence
from typing import TYPE_CHECKING, Any

from driftwell.errors import BadInput, MissingDependency, UnknownName

if TYPE_CHECKING:
    from fastapi import APIRouter

    from driftwell.monitor.monitor import Monitor

__all__ = ["monitor_router"]

log = logging.getLogger("driftwell.monitor")


def monitor_router(monitor: Monitor, *, auth: str | None, dependencies: Sequence[Any]) -> APIRouter:
    """The router of one monitor. ``auth="token"`` asks for tokens of its store (``driftwell token create``); None
    opens it to whoever reaches the application, which the log says once.

    Raises
    ------
    MissingDependency
        FastAPI is not installed.
    """
    try:
        from driftwell.routes import Ingest, bearer_guard, one_model_router
    except ImportError as exc:
        raise MissingDependency("fastapi", "service") from exc
    if auth not in ("token", None):
        raise BadInput(f"auth is 'token' or None. Got {auth!r}")
    if auth is None:
        log.warning("the monitoring paths of %s are open: whoever reaches the application can use them", monitor.name)

    def resolve(model: str | None, version: str | None) -> Monitor:
        if model not in (None, monitor.name):
            raise UnknownName("model", model, [monitor.name])
        # Records may name a version; those are asked for by it too.
        return monitor if version in (None, monitor.version) else monitor.runtime.find(monitor.name, version)

    def place(model: str | None, version: str | None) -> tuple[str, str]:
        resolve(model, None)
        return monitor.name, version or monitor.version

    return one_model_router(
        resolve,
        guard=bearer_guard(monitor.runtime.ledger) if auth else None,
        dependencies=dependencies,
        ingest=Ingest(monitor.recorder, place, model=monitor.name),
    )
