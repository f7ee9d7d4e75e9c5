"""What a target is: something that is asked to retrain and says how that ended."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any, Literal, Protocol

__all__ = ["Ended", "Target"]


@dataclass(frozen=True, slots=True)
class Ended:
    """How a target's work ended; ``result`` is what it answered, as JSON values."""

    state: Literal["completed", "failed"]
    error: str | None = None
    result: Any = None


class Target(Protocol):
    """Something that retrains a model."""

    @property
    def name(self) -> str:
        """Its address, free of secrets."""

    def start(self, reason: str, details: Mapping[str, Any]) -> Ended:
        """Retrain, and return when it is over. A failure is a value, not an exception."""
