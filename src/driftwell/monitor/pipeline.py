"""One check as a function: store, ledger, model, version, window and settings in; verdicts recorded, alerts and
retraining asked for. ``Monitor``, the service and ``driftwell check`` all call it."""

from __future__ import annotations

import logging
import time
from collections.abc import Callable
from dataclasses import replace
from datetime import UTC, datetime
from functools import cache
from typing import Any

from driftwell.errors import DriftwellError, InsufficientData
from driftwell.monitor.checks.assembly import assemble
from driftwell.monitor.checks.context import CheckContext, Part
from driftwell.monitor.checks.coverage import coverage
from driftwell.monitor.checks.drift import drift
from driftwell.monitor.checks.performance import labelled_rows, performance, realized_performance
from driftwell.monitor.checks.quality import quality
from driftwell.monitor.checks.rows import profile_window, rows_given
from driftwell.monitor.checks.traffic import traffic
from driftwell.monitor.windowing import Span, resolve_window
from driftwell.results import CheckResult, Severity, Verdict, Window
from driftwell.stores.windows import WindowProfile

__all__ = ["DAY", "CheckContext", "labelled_rows", "realized_performance", "run_check"]

log = logging.getLogger("driftwell.monitor")

DAY = "PT24H"


def run_check(
    context: CheckContext,
    *,
    window: Any = "PT1H",
    at: datetime | None = None,
    data: Any = None,
    extend_to: Any = None,
    record: bool = True,
) -> CheckResult:
    """Check one model version over one window and record the result in the ledger (unless ``record`` is False).

    A part that cannot run is a verdict of status ``error`` with its reason; the others go on.
    """
    started = time.perf_counter()
    moment = at or datetime.now(UTC)
    least = context.settings.drift_min_samples
    span, note = resolve_window(
        context.store, context.model, context.version, window, moment, extend_to=extend_to, min_samples=least
    )
    table = rows_given(context, data, span)
    parts = _parts(context, span, table)
    source = "store" if table is None else "given"
    result = assemble(context, Window(span.start, span.end), moment, parts, source=source, note=note)
    result = replace(result, coverage=_coverage(context, span, table), duration_seconds=time.perf_counter() - started)
    if record:
        context.ledger.put_check(result.to_dict())
    return result


def _parts(context: CheckContext, span: Span, table: Any) -> dict[str, Part]:
    """What each job found, quality first: drift is told which columns are broken."""
    reference, settings = context.reference, context.settings

    @cache
    def counted() -> WindowProfile:
        assert reference is not None
        return profile_window(context, span, table, reference)

    parts: dict[str, Part] = {}
    if settings.quality is not False and reference is not None:
        parts["quality"] = _run("quality", lambda: quality(context, span, table, counted))
    found = parts.get("quality", Part()).quality
    parts["traffic"] = _run("traffic", lambda: traffic(context, span, table))
    if settings.enable_drift_detection:
        parts["drift"] = _run("drift", lambda: drift(context, span, table, counted, found))
    if settings.enable_performance_tracking:
        parts["performance"] = _run("performance", lambda: performance(context, span, table))
    return parts


def _coverage(context: CheckContext, span: Window, table: Any) -> float | None:
    """None where losses cannot be read: a check says what it can, and the other parts say what is wrong."""
    try:
        return coverage(context, span, table)
    except DriftwellError:
        return None


def _run(signal: str, job: Callable[[], Part]) -> Part:
    """Failure is a value: whatever a job raises becomes its verdict."""
    try:
        return job()
    except InsufficientData as exc:
        return Part((Verdict(signal, "no_data", Severity.NONE, signal, reason=str(exc)),), reason=str(exc))
    except Exception as exc:  # one handler a job: a check that cannot run is a recorded verdict
        if not isinstance(exc, DriftwellError):  # those are said in one line by the monitor
            log.warning("%s check failed", signal, exc_info=exc)
        reason = f"{type(exc).__name__}: {exc}"
        return Part((Verdict(signal, "error", Severity.NONE, signal, reason=reason),), reason=reason)
