"""The one place where a user's function is called: whatever it raises becomes a value."""

from __future__ import annotations

import asyncio
import inspect
import logging
import traceback
from collections.abc import Callable
from dataclasses import dataclass
from typing import Any

__all__ = ["Returned", "call", "name_of"]

logger = logging.getLogger("driftwell.outbox")


@dataclass(frozen=True, slots=True)
class Returned:
    """What a user's function gave back: its ``value``, or the ``error`` it ended with as one line of text."""

    value: Any = None
    error: str | None = None


def call(function: Callable[..., Any], *arguments: Any) -> Returned:
    """Call a user's function and never raise; what it raised is logged with its traceback.

    A coroutine is run to its end in an event loop of its own on this thread, so a caller that may be on a
    running loop must use a thread. ``SystemExit`` counts as an error, because training scripts end with it.

    Examples
    --------
    >>> call(int, "7")
    Returned(value=7, error=None)
    """
    try:
        value = function(*arguments)
        return Returned(asyncio.run(_finish(value)) if inspect.isawaitable(value) else value)
    except (Exception, SystemExit) as exc:  # user code may raise anything
        logger.warning("%s raised", name_of(function), exc_info=True)
        return Returned(error=" ".join("".join(traceback.format_exception_only(exc)).split()))


async def _finish(value: Any) -> Any:
    return await value


def name_of(function: Callable[..., Any]) -> str:
    """The function's dotted name, for addresses and log lines.

    Examples
    --------
    >>> name_of(call)
    'driftwell.outbox.callback.call'
    """
    own = getattr(function, "__qualname__", type(function).__qualname__)
    return f"{getattr(function, '__module__', None) or type(function).__module__}.{own}"
