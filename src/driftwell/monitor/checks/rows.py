"""The rows of a window: those given, or those of the store; counted once for quality and drift."""

from __future__ import annotations

from typing import Any

from driftwell.frame import read_table
from driftwell.monitor.checks.context import CheckContext
from driftwell.monitor.windowing import Span, to_us
from driftwell.profiles.profile import Profile
from driftwell.profiles.reference import Reference, rename
from driftwell.results import Window
from driftwell.stores.transform import Transform
from driftwell.stores.windows import WindowProfile, window_profile

__all__ = ["profile_window", "rows_given"]


def rows_given(context: CheckContext, data: Any, span: Window) -> Any:
    """The table given with ``data=``; None where the store's rows are checked."""
    if data is None:
        return None
    rows = data(span.start, span.end) if callable(data) else data
    if context.settings.preprocess is not None:
        rows = context.settings.preprocess(rows)
    names = context.reference.feature_names if context.reference else None
    return read_table(rows, feature_names=names)


def profile_window(context: CheckContext, span: Span, table: Any, reference: Reference) -> WindowProfile:
    """The rows of the window counted in the reference's bins: those given, else those of the store."""
    if table is not None:
        return WindowProfile(_profile_given(rename(table, context.settings.feature_map), reference))
    return window_profile(
        context.store,
        context.ledger,
        context.model,
        context.version,
        to_us(span.start),
        to_us(span.end),
        reference,
        limit=span.records,
        after_arrival=context.mark if context.only_after_mark else 0,
        transform=Transform(context.settings.feature_map, context.settings.preprocess),
    )


def _profile_given(table: Any, reference: Reference) -> Profile:
    """A feature that is not among the rows is an error of its own and leaves the others alone; rows without any
    feature of the reference are refused with the names that come nearest."""
    known = reference.kinds.keys() & set(table.column_names)
    return reference.profile_table(table) if known else reference.profile_of(table)
