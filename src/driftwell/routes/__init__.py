"""The one-model paths of the HTTP contract over a protocol, with their errors, bodies, scopes and tokens."""

from driftwell.routes.protocol import Guard, Ingest, OneModel, Place, Recording, Resolve, Since, Ticket
from driftwell.routes.router import one_model_router
from driftwell.routes.tokens import bearer_guard, make_token

__all__ = [
    "Guard",
    "Ingest",
    "OneModel",
    "Place",
    "Recording",
    "Resolve",
    "Since",
    "Ticket",
    "bearer_guard",
    "make_token",
    "one_model_router",
]
