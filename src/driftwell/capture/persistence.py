"""An operation of the store is tried until it works, or until there is no more time."""

from __future__ import annotations

from collections.abc import Callable
from typing import Protocol, TypeVar

from driftwell.errors import FormatError

__all__ = ["Patience", "persist"]

Done = TypeVar("Done")


class Patience(Protocol):
    """Decides when a failed operation is tried again."""

    @property
    def is_over(self) -> bool:
        """Whether it is time to give up."""

    def failed(self, exc: Exception) -> None:
        """Wait for a while."""

    def worked(self) -> None:
        """The store answers: start afresh."""


def persist(operation: Callable[[], Done], patience: Patience) -> Done | None:
    """Do it, again and again while the store fails; None when there was no more time for it."""
    while not patience.is_over:
        try:
            done = operation()
        except (OSError, FormatError) as exc:
            patience.failed(exc)
        else:
            patience.worked()
            return done
    return None
