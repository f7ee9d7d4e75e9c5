"""How many predictions came."""

from __future__ import annotations

from typing import Any

from driftwell.monitor.checks.context import CheckContext, Part
from driftwell.monitor.windowing import Span, to_us
from driftwell.stores.windows import count_arrived

__all__ = ["traffic"]


def traffic(context: CheckContext, span: Span, table: Any) -> Part:
    """How many predictions the window holds."""
    if table is not None:
        return Part(n=table.num_rows)
    window = (context.model, context.version, to_us(span.start), to_us(span.end))
    if context.only_after_mark:
        return Part(n=span.at_most(count_arrived(context.store, context.ledger, *window, after_arrival=context.mark)))
    return Part(n=span.at_most(context.store.count(*window)))
