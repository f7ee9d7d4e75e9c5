"""One result of what all jobs found."""

from __future__ import annotations

from datetime import datetime

from driftwell.capture.ids import new_id
from driftwell.monitor.checks.context import CheckContext, Part
from driftwell.results import Alarm, CheckResult, Severity, Verdict, Window, plain

__all__ = ["assemble"]

PER_CHECK = "every check stands for itself (alarm='per_check'); the budgeted alarm is not available in this version"


def assemble(
    context: CheckContext,
    span: Window,
    moment: datetime,
    parts: dict[str, Part],
    *,
    source: str,
    note: str | None,
) -> CheckResult:
    """The check as it is recorded; the verdicts of quality come first."""
    quality = parts.get("quality", Part())
    verdicts = tuple(verdict for part in parts.values() for verdict in part.verdicts)
    drift = parts.get("drift", Part(reason="drift detection is switched off"))
    performance = parts.get("performance", Part(reason="performance tracking is switched off"))
    severity = max((v.severity for v in verdicts), default=Severity.NONE)
    drifted = [v for v in verdicts if v.signal == "drift" and v.severity > Severity.NONE]
    degraded = any(v.signal == "performance" and v.severity > Severity.NONE for v in verdicts)
    scores = (drift.report or {}).get("scores", {})
    fired = severity >= Severity.MEDIUM
    broken = quality.quality.broken if quality.quality is not None else ()
    moved = {name: score for name, score in scores.items() if name not in broken}
    notes = dict.fromkeys(said for part in parts.values() for said in part.notes)
    reasons = [note, *notes, parts["traffic"].reason, quality.reason, drift.reason, performance.reason]
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
        max_drift_score=max((s for s in moved.values() if s is not None), default=None),
        reference_id=context.reference.id if context.reference else None,
        alarm=Alarm(fired=fired, active=fired, reason=PER_CHECK),
        verdicts=verdicts,
        culprits=_culprits(context, drifted, scores),
        drift=drift.report,
        performance=plain(performance.report),
        quality=quality.report,
        source=source,
        mark=context.mark,
        reason="; ".join(dict.fromkeys(reason for reason in reasons if reason)) or None,
    )


def _status(severity: Severity, verdicts: tuple[Verdict, ...]) -> str:
    """The worst that is known; below that errors, then ok, and no_data only when nothing could be judged.

    That no rule of quality failed does not make a check ok in which too few rows were there for the rest.
    """
    if severity >= Severity.MEDIUM:
        return severity.status
    if any(verdict.status == "error" for verdict in verdicts):
        return "error"
    judged = [verdict for verdict in verdicts if verdict.signal != "quality"] or verdicts
    return "ok" if any(verdict.status == "ok" for verdict in judged) else "no_data"


def _culprits(context: CheckContext, drifted: list[Verdict], scores: dict[str, float | None]) -> tuple[str, ...]:
    """Drifted features by drift score × importance, where importances are known."""
    weights = context.reference.importance if context.reference else {}

    def weight(name: str) -> float:
        return (scores.get(name) or 0.0) * (weights.get(name, 0.0) if weights else 1.0)

    return tuple(sorted((v.feature for v in drifted if v.feature), key=weight, reverse=True))
