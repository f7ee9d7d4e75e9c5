"""One check as a function: store, ledger, model, version, window and settings in; verdicts recorded, alerts and
retraining asked for. ``Monitor``, the service and ``driftwell check`` all call it."""

from __future__ import annotations

import logging
import time
from collections.abc import Callable
from contextlib import suppress
from dataclasses import dataclass, replace
from datetime import UTC, datetime
from typing import Any

from driftwell.capture.ids import new_id
from driftwell.config import MonitorSettings
from driftwell.detectors.verdict import Policy
from driftwell.drift import DriftResult, compare_profile
from driftwell.errors import InsufficientData, UnknownName
from driftwell.evaluation.degradation import degradation
from driftwell.evaluation.metrics import canonical_metric
from driftwell.evaluation.performance import performance_of
from driftwell.frame import read_table
from driftwell.monitor.rows import json_values
from driftwell.monitor.windowing import resolve_window, to_us
from driftwell.profiles.profile import Profile
from driftwell.profiles.reference import Reference, rename
from driftwell.results import Alarm, CheckResult, Measure, MetricValue, Severity, Verdict, Window, plain
from driftwell.stores.base import Ledger, PredictionStore
from driftwell.stores.windows import count_arrived, window_profile

__all__ = ["DAY", "CheckContext", "labelled_rows", "realized_performance", "run_check"]

log = logging.getLogger("driftwell.monitor")

DAY = "PT24H"
PER_CHECK = "every check stands for itself (alarm='per_check'); the budgeted alarm is not available in this version"


@dataclass(frozen=True)
class CheckContext:
    """Everything one check reads: where the rows are, which model, how to judge.

    ``mark`` is recorded with the check; ``only_after_mark`` leaves out rows that arrived before it.
    """

    store: PredictionStore
    ledger: Ledger
    model: str
    version: str
    settings: MonitorSettings
    reference: Reference | None
    baseline: dict[str, float]
    mark: int = 0
    only_after_mark: bool = False


@dataclass(frozen=True, slots=True)
class _Part:
    """What one job of a check found: its report, its verdicts, why there is none, and how many rows there are."""

    verdicts: tuple[Verdict, ...] = ()
    report: dict[str, Any] | None = None
    reason: str | None = None
    n: int | None = None


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
    table = _given(context, data, span)
    jobs: dict[str, Callable[[], _Part]] = {"traffic": lambda: _traffic(context, span, table)}
    if context.settings.enable_drift_detection:
        jobs["drift"] = lambda: _drift(context, span, table)
    if context.settings.enable_performance_tracking:
        jobs["performance"] = lambda: _performance(context, span, table)
    parts = {signal: _run(signal, job) for signal, job in jobs.items()}
    result = _assemble(context, span, moment, parts, source="store" if table is None else "given", note=note)
    result = replace(result, duration_seconds=time.perf_counter() - started)
    if record:
        context.ledger.put_check(result.to_dict())
    return result


def _run(signal: str, job: Callable[[], _Part]) -> _Part:
    """Failure is a value: whatever a job raises becomes its verdict."""
    try:
        return job()
    except InsufficientData as exc:
        return _Part((Verdict(signal, "no_data", Severity.NONE, signal, reason=str(exc)),), reason=str(exc))
    except Exception as exc:  # one handler a job: a check that cannot run is a recorded verdict
        log.warning("%s check failed", signal, exc_info=exc)
        reason = f"{type(exc).__name__}: {exc}"
        return _Part((Verdict(signal, "error", Severity.NONE, signal, reason=reason),), reason=reason)


# -- drift ---------------------------------------------------------------------------------------------------


def _drift(context: CheckContext, span: Window, table: Any) -> _Part:
    reference = context.reference
    if reference is None:
        reason = "there is no reference: build one with Reference.from_data or 'driftwell baseline'"
        return _Part((Verdict("drift", "no_data", Severity.NONE, "drift", reason=reason),), reason=reason)
    found, skipped = _profile(context, span, table, reference)
    settings = context.settings
    policy = Policy(settings.method, settings.threshold, settings.drift_p_value, min_samples=settings.drift_min_samples)
    result = _with_score_threshold(compare_profile(reference, found, policy), settings)
    if skipped:
        left_out = f"{skipped:,} rows are only known in older bins and are left out"
        result = replace(result, notes=(*result.notes, left_out))
    report = result.to_dict() | {"headline": headline(result)}
    if result.status == "no_data":
        reason = result.notes[-1] if result.notes else "not enough rows"
        verdict = Verdict("drift", "no_data", Severity.NONE, "drift", n=found.n_rows, reason=reason)
        return _Part((verdict,), report, reason)
    return _Part(tuple(_column_verdicts(result)), report)


def _profile(context: CheckContext, span: Window, table: Any, reference: Reference) -> tuple[Profile, int]:
    if table is not None:
        return _profile_given(rename(table, context.settings.feature_map), reference), 0
    found = window_profile(
        context.store,
        context.ledger,
        context.model,
        context.version,
        to_us(span.start),
        to_us(span.end),
        reference,
        after_arrival=context.mark if context.only_after_mark else 0,
    )
    return found.profile, found.skipped


def _profile_given(table: Any, reference: Reference) -> Profile:
    """A feature that is not among the rows is an error of its own and leaves the others alone; rows without any
    feature of the reference are refused with the names that come nearest."""
    known = reference.kinds.keys() & set(table.column_names)
    return reference.profile_table(table) if known else reference.profile_of(table)


def _with_score_threshold(result: DriftResult, settings: MonitorSettings) -> DriftResult:
    """A drift score above ``drift_threshold`` is drift too, where the sample sizes do not explain it."""
    limit = settings.drift_threshold
    if limit is None:
        return result
    columns = {
        name: replace(c, drifted=True, status="drift", severity=max(c.severity, Severity.MEDIUM),
                      reason=f"drift score {c.score:.3g} exceeds drift_threshold {limit:g}; {c.reason}")
        if not c.drifted and c.score is not None and c.score > limit
        and c.p_adjusted is not None and c.p_adjusted <= settings.drift_p_value
        else c
        for name, c in result.columns.items()
    }  # fmt: skip
    drifted = [c for c in columns.values() if c.drifted]
    return replace(
        result,
        columns=dict(sorted(columns.items(), key=lambda item: (not item[1].drifted, -(item[1].score or 0.0)))),
        drift_detected=bool(drifted),
        status="drift" if drifted else result.status,
        severity=max((c.severity for c in drifted), default=Severity.NONE),
        summary=result.summary | {"n_drifted": len(drifted)},
    )


def headline(result: DriftResult) -> dict[str, Any]:
    """PSI and KS of the feature that moved most by each: the single numbers of the HTTP contract."""
    psi_feature, psi = _farthest(result, "psi")
    ks_feature, ks = _farthest(result, "ks")
    return {
        "psi": psi.value if psi else None,
        "psi_feature": psi_feature,
        "ks_statistic": ks.value if ks else None,
        "ks_p_value": ks.p_value if ks else None,
        "ks_feature": ks_feature,
    }


def _farthest(result: DriftResult, method: str) -> tuple[str | None, Measure | None]:
    """The feature that this method finds farthest off, among those that it can read."""
    found: dict[str, Measure] = {}
    for name, column in result.columns.items():
        if column.status != "error" and (method == "psi" or column.kind == "numeric"):
            with suppress(InsufficientData):  # a column that lost all its values has no KS distance
                found[name] = result.metric(name, method)
    if not found:
        return None, None
    farthest = max(found, key=lambda name: found[name].value)
    return farthest, found[farthest]


def _column_verdicts(result: DriftResult) -> list[Verdict]:
    return [
        Verdict(
            signal="drift",
            status=c.severity.status if c.drifted else c.status,
            severity=c.severity if c.drifted else Severity.NONE,
            metric=c.method,
            feature=name,
            value=c.value,
            threshold=c.threshold,
            p_value=c.p_adjusted,
            n=c.n_current,
            reason=c.error or c.reason,
        )
        for name, c in result.columns.items()
    ]


# -- performance ---------------------------------------------------------------------------------------------


def _performance(context: CheckContext, span: Window, table: Any) -> _Part:
    if table is not None:
        return _Part(reason="rows given with data= are checked for drift only")
    start, end = to_us(span.start), to_us(span.end)
    n = context.store.count(context.model, context.version, start, end)
    report, metrics = realized_performance(context, labelled_rows(context, start, end), n)
    if not metrics:
        reason = report["reason"]
        return _Part((Verdict("performance", "no_data", Severity.NONE, "performance", reason=reason),), report, reason)
    return _Part(tuple(_metric_verdicts(context, metrics)), report)


def labelled_rows(context: CheckContext, start_us: int, end_us: int, *, limit: int | None = None) -> Any:
    """Prediction, score and label of the predictions of a span whose label is known; ``limit`` keeps the newest."""
    names = ("prediction", "score", "true_label")
    return context.store.read(
        context.model, context.version, start_us, end_us, columns=names, labelled=True, limit=limit
    )


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


# -- result --------------------------------------------------------------------------------------------------


def _given(context: CheckContext, data: Any, span: Window) -> Any:
    if data is None:
        return None
    rows = data(span.start, span.end) if callable(data) else data
    if context.settings.preprocess is not None:
        rows = context.settings.preprocess(rows)
    names = context.reference.feature_names if context.reference else None
    return read_table(rows, feature_names=names)


def _traffic(context: CheckContext, span: Window, table: Any) -> _Part:
    """How many predictions the window holds."""
    if table is not None:
        return _Part(n=table.num_rows)
    window = (context.model, context.version, to_us(span.start), to_us(span.end))
    if context.only_after_mark:
        return _Part(n=count_arrived(context.store, context.ledger, *window, after_arrival=context.mark))
    return _Part(n=context.store.count(*window))


def _assemble(
    context: CheckContext,
    span: Window,
    moment: datetime,
    parts: dict[str, _Part],
    *,
    source: str,
    note: str | None,
) -> CheckResult:
    verdicts = tuple(verdict for part in parts.values() for verdict in part.verdicts)
    drift = parts.get("drift", _Part(reason="drift detection is switched off"))
    performance = parts.get("performance", _Part(reason="performance tracking is switched off"))
    severity = max((v.severity for v in verdicts), default=Severity.NONE)
    drifted = [v for v in verdicts if v.signal == "drift" and v.severity > Severity.NONE]
    degraded = any(v.signal == "performance" and v.severity > Severity.NONE for v in verdicts)
    scores = (drift.report or {}).get("scores", {})
    fired = severity >= Severity.MEDIUM
    reasons = [note, parts["traffic"].reason, drift.reason, performance.reason]
    return CheckResult(
        check_id=new_id(),
        model=context.model,
        version=context.version,
        status=_status(severity, verdicts),
        severity=severity,
        window=span,
        timestamp=moment,
        n_predictions=parts["traffic"].n or 0,
        drift_detected=bool(drifted),
        performance_degraded=degraded,
        drifted_features={v.feature: scores.get(v.feature) or 0.0 for v in drifted if v.feature},
        max_drift_score=max((s for s in scores.values() if s is not None), default=None),
        reference_id=context.reference.id if context.reference else None,
        alarm=Alarm(fired=fired, active=fired, reason=PER_CHECK),
        verdicts=verdicts,
        culprits=_culprits(context, drifted, scores),
        drift=drift.report,
        performance=plain(performance.report),
        source=source,
        mark=context.mark,
        reason="; ".join(reason for reason in reasons if reason) or None,
    )


def _status(severity: Severity, verdicts: tuple[Verdict, ...]) -> str:
    """The worst that is known; below that errors, then ok, and no_data only when nothing could be judged."""
    statuses = {verdict.status for verdict in verdicts}
    if severity >= Severity.MEDIUM:
        return severity.status
    for word in ("error", "ok"):
        if word in statuses:
            return word
    return "no_data"


def _culprits(context: CheckContext, drifted: list[Verdict], scores: dict[str, float | None]) -> tuple[str, ...]:
    """Drifted features by drift score × importance, where importances are known."""
    weights = context.reference.importance if context.reference else {}

    def weight(name: str) -> float:
        return (scores.get(name) or 0.0) * (weights.get(name, 0.0) if weights else 1.0)

    return tuple(sorted((v.feature for v in drifted if v.feature), key=weight, reverse=True))
