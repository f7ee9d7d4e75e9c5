"""What the endpoints of the service read from the application they run in."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Annotated

from fastapi import Depends, Request

from driftwell.config import Config
from driftwell.monitor.runtime import Runtime
from driftwell.service.served import Served

__all__ = ["Context", "Ctx"]


@dataclass(frozen=True, slots=True)
class Context:
    """The runtime, the configuration, the models of both, and the largest file that may be sent."""

    runtime: Runtime
    config: Config
    served: Served
    max_upload_bytes: int = 256 * 1024 * 1024


def _context(request: Request) -> Context:
    found: Context = request.app.state.driftwell
    return found


Ctx = Annotated[Context, Depends(_context)]
