"""The callback target: a Python function ``(reason, details)`` of this process, which may be async."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from typing import Any

from driftwell.outbox import call, name_of
from driftwell.results import plain
from driftwell.retraining.targets.base import Ended

__all__ = ["CallbackTarget"]


class CallbackTarget:
    """Calls ``function(reason, details)``; ``details`` is one flat dict of JSON scalars.

    The run has failed when the function raises or returns ``{"status": "failed"}`` (with ``error`` or
    ``reason`` to say why); anything else it returns, None included, completes it. A coroutine function runs
    in an event loop of its own.

    Examples
    --------
    >>> CallbackTarget(lambda reason, details: {"status": "failed"}).start("drift", {}).state
    'failed'
    """

    def __init__(self, function: Callable[[str, dict[str, Any]], Any]) -> None:
        self._function = function
        self.name = f"callback:{name_of(function)}"

    def start(self, reason: str, details: Mapping[str, Any]) -> Ended:
        """Call the function, to its end."""
        returned = call(self._function, reason, dict(details))
        if returned.error is not None:
            return Ended("failed", returned.error)
        answer = returned.value
        result = plain(answer) if isinstance(answer, Mapping) else None
        if isinstance(answer, Mapping) and answer.get("status") == "failed":
            why = answer.get("error") or answer.get("reason") or "the callback returned status failed"
            return Ended("failed", str(why), result)
        return Ended("completed", result=result)
