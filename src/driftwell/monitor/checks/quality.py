"""Whether the rows are sound: rules learned from the reference, before any talk of drift."""

from __future__ import annotations

from collections.abc import Callable
from datetime import UTC, datetime, timedelta
from functools import cache
from typing import TYPE_CHECKING, Any

from driftwell.monitor.checks.context import CheckContext, Part
from driftwell.monitor.windowing import Span, from_us, to_us
from driftwell.profiles.reference import Reference, rename
from driftwell.quality import QualityResult, Rule, expected_volume, judge_quality, learn_rules
from driftwell.results import QualityVerdict, Severity, Verdict, Window, isoformat
from driftwell.stores.windows import WindowProfile

if TYPE_CHECKING:
    import pyarrow as pa

__all__ = ["quality"]

MOST_ROWS = 20_000
EARLIER_CHECKS = 50


def quality(context: CheckContext, span: Span, table: Any, counted: Callable[[], WindowProfile]) -> Part:
    """The rules that failed in a window, or one verdict that all of them hold."""
    reference = context.reference
    assert reference is not None
    rules = learn_rules(reference, context.settings.quality)
    window = counted()
    profile = window.profile
    found = judge_quality(
        reference,
        profile,
        rows=_rows(context, span, table, reference),
        rules=rules,
        volume=_earlier_volume(context, span, rules),
        freshness=_age(context, span, table, reference) if any(rule.kind == "freshness" for rule in rules) else None,
    )
    verdicts = tuple(_verdict(one) for one in found.failed) or (_summary(found, profile.n_rows),)
    # A rule that holds is counted, not kept: a check is recorded every few minutes.
    return Part(verdicts, found.to_dict(brief=True), quality=found, notes=window.notes)


def _verdict(one: QualityVerdict) -> Verdict:
    return Verdict(
        "quality", one.status, one.severity, one.rule, one.column, value=one.value, threshold=one.threshold,
        p_value=one.p_value, n=one.n, reason=one.reason,
    )  # fmt: skip


def _summary(found: QualityResult, n: int) -> Verdict:
    held = sum(verdict.status == "ok" for verdict in found.verdicts)
    reason = f"{held:,} rules hold" if held else "no rows to judge"
    return Verdict("quality", found.status, Severity.NONE, "quality", n=n, reason=reason)


def _rows(
    context: CheckContext, span: Span, table: Any, reference: Reference
) -> pa.Table | Callable[[], pa.Table] | None:
    """The rows given, else a function that reads the newest of the store; those are as they were recorded, so there
    are none where the settings transform them before they are counted."""
    if table is not None:
        return rename(table, context.settings.feature_map)
    if context.settings.preprocess is not None or context.settings.feature_map:
        return None
    after = context.mark if context.only_after_mark else 0

    @cache
    def read() -> pa.Table:
        return context.store.read(
            context.model, context.version, to_us(span.start), to_us(span.end), columns=reference.feature_names,
            limit=span.at_most(min(reference.n_rows, MOST_ROWS)), after_arrival=after,
        )  # fmt: skip

    return read


def _earlier_volume(context: CheckContext, span: Window, rules: tuple[Rule, ...]) -> tuple[int, int] | None:
    """What earlier checks of windows as long as this one counted, where the rule asks for it."""
    if not any(rule.kind == "volume" and rule.limit == "earlier" for rule in rules):
        return None
    start, length = isoformat(span.start), span.end - span.start
    checks = context.ledger.checks(context.model, context.version, limit=EARLIER_CHECKS)
    return expected_volume(
        check["sample_count"]
        for check in checks
        if check["source"] == "store" and check["window"]["start"] < start and _length(check["window"]) == length
    )


def _length(window: dict[str, str]) -> timedelta:
    return datetime.fromisoformat(window["end"]) - datetime.fromisoformat(window["start"])


def _age(context: CheckContext, span: Window, table: Any, reference: Reference) -> timedelta | None:
    """How long before the end of the window the newest row was."""
    if table is not None:
        name = reference.roles.get("timestamp", "timestamp")
        newest = _newest(table.column(name)) if name in table.column_names else None
        return None if newest is None else span.end - newest
    _, end_us, count = context.store.newest(context.model, context.version, to_us(span.end), 1)
    return span.end - from_us(end_us) if count else None


def _newest(column: pa.ChunkedArray) -> datetime | None:
    """The newest time of a column of times; None for a column of anything else."""
    import pyarrow as pa
    import pyarrow.compute as pc

    if not pa.types.is_timestamp(column.type):
        return None
    found = pc.max(column.cast(pa.timestamp("us", column.type.tz), safe=False)).as_py()
    return found.replace(tzinfo=found.tzinfo or UTC) if isinstance(found, datetime) else None
