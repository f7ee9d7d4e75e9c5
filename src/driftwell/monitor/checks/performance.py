"""Whether the model has become worse: metrics of the labelled predictions against the baseline."""

from __future__ import annotations

from typing import Any

from driftwell.errors import UnknownName
from driftwell.evaluation.degradation import degradation
from driftwell.evaluation.metrics import canonical_metric
from driftwell.evaluation.performance import performance_of
from driftwell.monitor.checks.context import CheckContext, Part
from driftwell.monitor.windowing import Span, to_us
from driftwell.results import MetricValue, Severity, Verdict
from driftwell.stores.export import json_values

__all__ = ["labelled_rows", "performance", "realized_performance"]


def performance(context: CheckContext, span: Span, table: Any) -> Part:
    """The verdicts on the metrics of the baseline."""
    if table is not None:
        return Part(reason="rows given with data= are checked for drift only")
    n = span.at_most(context.store.count(context.model, context.version, to_us(span.start), to_us(span.end)))
    report, metrics = realized_performance(context, _labelled_rows_of(context, span), n)
    if not metrics:
        reason = report["reason"]
        return Part((Verdict("performance", "no_data", Severity.NONE, "performance", reason=reason),), report, reason)
    return Part(tuple(_metric_verdicts(context, metrics)), report)


def labelled_rows(context: CheckContext, start_us: int, end_us: int, *, limit: int | None = None) -> Any:
    """Prediction, score and label of the predictions of a span whose label is known; ``limit`` keeps the newest."""
    # Not of the rows with features: a label may come when these are gone already.
    return context.store.outcomes(context.model, context.version, start_us, end_us, labelled=True, limit=limit)


def _labelled_rows_of(context: CheckContext, span: Span) -> Any:
    """The same of a window, of which only some rows at its first instant may be part."""
    import pyarrow as pa

    start, end = to_us(span.start), to_us(span.end)
    if span.records is None:
        return labelled_rows(context, start, end)
    left = max(span.records - context.store.count(context.model, context.version, start + 1, end), 0)
    first = context.store.outcomes(context.model, context.version, start, start + 1, limit=left)
    known = first.filter(first.column("true_label").is_valid())
    return pa.concat_tables([known, labelled_rows(context, start + 1, end)])


def realized_performance(
    context: CheckContext, rows: Any, n_predictions: int
) -> tuple[dict[str, Any], dict[str, MetricValue]]:
    """Metrics of labelled rows out of ``n_predictions``: a report of plain JSON values, and the values themselves.

    Both are empty, with a ``reason`` in the report, where there are no such rows.
    """
    known = rows.num_rows
    report: dict[str, Any] = {
        "task": None,
        "realized": {},
        "baseline": context.baseline,
        "labels": {"matched": known, "coverage": known / n_predictions if n_predictions else None},
        "reason": None if known else "no prediction of this window has a label yet",
    }
    if not known:
        return report, {}
    # Classes of the reference: a window that happens to lack one is still judged by the same task.
    classes = context.reference.classes if context.reference else []
    labels, predictions = json_values(rows.column("true_label")), json_values(rows.column("prediction"))
    found = performance_of(labels, predictions, rows.column("score"), classes=classes or None)
    report |= {"task": found.task, "realized": {name: value.to_dict() for name, value in found.metrics.items()}}
    return report, dict(found.metrics)


def _metric_verdicts(context: CheckContext, metrics: dict[str, MetricValue]) -> list[Verdict]:
    """One verdict for each metric of the baseline; degraded only with enough labels behind it."""
    least = context.settings.drift_min_samples
    verdicts = []
    for name, base in context.baseline.items():
        try:
            found = metrics.get(canonical_metric(name))
        except UnknownName as exc:
            verdicts.append(Verdict("performance", "error", Severity.NONE, name, reason=str(exc)))
            continue
        if found is None or found.value is None:
            continue
        if found.n < least:
            reason = f"{found.n} labels, {least} needed"
            verdicts.append(Verdict("performance", "no_data", Severity.NONE, name, n=found.n, reason=reason))
            continue
        judged = degradation(name, found, base, context.settings.performance_threshold)
        severity = Severity.NONE
        if judged.degraded:
            severity = Severity.HIGH if judged.confirmed else Severity.MEDIUM
        words = f"{name} {found.value:.4g} against a baseline of {base:.4g}"
        words += f" (limit {judged.limit:.4g}, {found.n:,} labels)"
        if judged.degraded:
            words += ": worse than the baseline by more than the threshold"
        verdicts.append(
            Verdict("performance", severity.status, severity, name, value=found.value, threshold=judged.limit,
                    n=found.n, reason=words)
        )  # fmt: skip
    return verdicts
