"""How many predictions came."""

from __future__ import annotations

from typing import Any

from driftwell.monitor.checks.context import CheckContext, Part
from driftwell.monitor.windowing import Span, to_us
from driftwell.stores.base import HOUR_US
from driftwell.stores.windows import count_arrived

__all__ = ["stored_predictions", "traffic"]


def traffic(context: CheckContext, span: Span, table: Any) -> Part:
    """How many predictions the window holds."""
    if table is not None:
        return Part(n=table.num_rows)
    window = (context.model, context.version, to_us(span.start), to_us(span.end))
    if context.only_after_mark:
        return Part(n=span.at_most(count_arrived(context.store, context.ledger, *window, after_arrival=context.mark)))
    return Part(n=span.at_most(stored_predictions(context, window[2], window[3])))


def stored_predictions(context: CheckContext, start_us: int, end_us: int) -> int:
    """How many predictions of a span were stored. Of those that the store has forgotten since, the leaves know."""
    kept = context.store.count(context.model, context.version, start_us, end_us)
    if kept and context.store.capabilities.ledger:  # else it forgets by age or count, ids and all
        return kept
    first, last = -(-start_us // HOUR_US) * HOUR_US, end_us // HOUR_US * HOUR_US
    if first >= last:
        return kept
    leaves = context.ledger.leaves(context.model, context.version, first, last)
    whole = context.store.count(context.model, context.version, first, last)
    return kept - whole + max(whole, sum(leaf.n for leaf in leaves))
