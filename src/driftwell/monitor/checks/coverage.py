"""How much of what was offered to a model's recorders was stored."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from driftwell.monitor.checks.context import CheckContext
from driftwell.monitor.checks.traffic import stored_predictions
from driftwell.monitor.windowing import to_us
from driftwell.results import Window
from driftwell.stores.base import HOUR_US

__all__ = ["KNOWN_ALREADY", "coverage", "lost"]

KNOWN_ALREADY = ("rejected.duplicate", "rejected.conflict")
"""Reasons that lose no prediction: the store has one of this id."""


def coverage(context: CheckContext, span: Window, table: Any) -> float | None:
    """Stored ÷ (stored + lost) over the whole hours that the window touches, over all processes.

    Losses are counted by the hour of their arrival, since a record that could not be kept has no known event time. A
    record offered again under the id of a stored one is no loss. None for rows given with the check, and where nothing
    was offered.
    """
    if table is not None:
        return None
    start = to_us(span.start) // HOUR_US * HOUR_US
    end = -(-to_us(span.end) // HOUR_US) * HOUR_US
    missing = lost(context.ledger.losses(context.model, context.version, start, end))
    stored = stored_predictions(context, start, end)
    return stored / (stored + missing) if stored + missing else None


def lost(losses: Mapping[str, int]) -> int:
    """How many predictions are missing, from ``Ledger.losses``.

    Examples
    --------
    >>> lost({"dropped.queue_full": 3, "rejected.duplicate": 50})
    3
    """
    return sum(n for reason, n in losses.items() if reason not in KNOWN_ALREADY)
