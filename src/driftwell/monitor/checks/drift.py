"""Whether inputs and outputs moved away from the reference, each column alone and all together; a broken column is
never said to have."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from contextlib import suppress
from dataclasses import replace
from typing import Any

from driftwell.config import MonitorSettings
from driftwell.detectors.multivariate import MultivariateVerdict
from driftwell.detectors.policy import Policy
from driftwell.drift import DriftResult, compare_profile
from driftwell.errors import InsufficientData
from driftwell.monitor.checks.context import CheckContext, Part
from driftwell.monitor.checks.whole_rows import whole_rows
from driftwell.monitor.windowing import Span
from driftwell.quality import QualityResult
from driftwell.results import ColumnResult, Measure, Severity, Verdict
from driftwell.stores.windows import WindowProfile

__all__ = ["drift", "headline"]

UNREAD = ("broken", "error")
"""Statuses of columns about whose drift nothing can be said; their verdicts have the status ``error``."""


def drift(
    context: CheckContext,
    span: Span,
    table: Any,
    counted: Callable[[], WindowProfile],
    quality: QualityResult | None,
) -> Part:
    """The verdicts on features, on outputs (a signal of their own) and, where the settings ask for it, on whole rows;
    columns that ``quality`` found broken are held back."""
    reference = context.reference
    if reference is None:
        reason = "there is no reference: build one with Reference.from_data or 'driftwell baseline'"
        return Part((Verdict("drift", "no_data", Severity.NONE, "drift", reason=reason),), reason=reason)
    found = counted()
    settings = context.settings
    policy = Policy(settings.method, settings.threshold, settings.drift_p_value, min_samples=settings.drift_min_samples)
    result = _with_score_threshold(
        compare_profile(reference, found.profile, policy, quality=quality, notes=found.notes, outputs_count=False),
        settings,
    )
    together = whole_rows(context, span, table, policy, quality, n_rows=found.profile.n_rows)
    if together is not None:
        result = replace(result, multivariate=together).with_columns(result.columns)
    if found.skipped:
        left_out = f"{found.skipped:,} rows are only known in older bins and are left out"
        result = replace(result, notes=(*result.notes, left_out))
    told = None if quality is None else quality.to_dict(brief=True)
    report = result.to_dict() | {"headline": headline(result), "quality": told}
    if result.status == "no_data":
        reason = result.notes[-1] if result.notes else "not enough rows"
        nothing = Verdict("drift", "no_data", Severity.NONE, "drift", n=found.profile.n_rows, reason=reason)
        verdicts = tuple(verdict for verdict in _verdicts(result) if verdict.status != "no_data")
        said = any(verdict.signal == "drift" for verdict in verdicts)
        return Part(verdicts if said else (nothing, *verdicts), report, reason, notes=found.notes)
    return Part(tuple(_verdicts(result)), report, notes=found.notes)


def _with_score_threshold(result: DriftResult, settings: MonitorSettings) -> DriftResult:
    """A drift score above ``drift_threshold`` is drift too, where the sample sizes do not explain it."""
    limit = settings.drift_threshold
    if limit is None:
        return result
    columns = {
        name: replace(c, drifted=True, status="drift", severity=max(c.severity, Severity.MEDIUM),
                      reason=f"drift score {c.score:.3g} exceeds drift_threshold {limit:g}; {c.reason}")
        if c.status == "ok" and c.score is not None and c.score > limit
        and c.p_adjusted is not None and c.p_adjusted <= settings.drift_p_value
        else c
        for name, c in result.columns.items()
    }  # fmt: skip
    return result.with_columns(columns)


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
    """The feature that this method finds farthest off, among those that it can read; a feature of several facets is as
    far off as the farthest of them."""
    found: dict[str, Measure] = {}
    for name, part, column in _parts(result):
        if column.status not in UNREAD and (method == "psi" or column.kind == "numeric"):
            with suppress(InsufficientData):  # a column that lost all its values has no KS distance
                measure = result.metric(part, method)
                found[name] = max(found.get(name, measure), measure, key=lambda one: one.value)
    if not found:
        return None, None
    farthest = max(found, key=lambda name: found[name].value)
    return farthest, found[farthest]


def _parts(result: DriftResult) -> Iterator[tuple[str, str, ColumnResult]]:
    """``(feature, name of the part, what was found)`` of all that was measured; broken features have no parts."""
    for name, column in result.columns.items():
        if not column.facets:
            yield name, name, column
        elif column.status not in UNREAD:
            yield from ((name, f"{name}.{facet}", own) for facet, own in column.facets.items())


# -- verdicts ------------------------------------------------------------------------------------------------


def _verdicts(result: DriftResult) -> Iterator[Verdict]:
    enough = result.status != "no_data"
    why = result.quality.reasons if result.quality is not None and enough else {}
    for name, column in result.columns.items():
        yield _verdict("drift", column, broken=why.get(name))
    for column in result.outputs.values():
        yield _verdict("output", column)
    if result.multivariate is not None:
        yield _of_rows(result.multivariate)


def _verdict(signal: str, column: ColumnResult, *, broken: str | None = None) -> Verdict:
    """``broken``: why quality found the column so, which also says why none of its values could be judged."""
    lost = column.status == "no_data" and broken is not None
    unread = lost or column.status in UNREAD
    return Verdict(
        signal=signal,
        status="error" if unread else column.severity.status if column.drifted else column.status,
        severity=column.severity if column.drifted else Severity.NONE,
        metric=column.method,
        feature=column.name,
        value=column.value,
        threshold=column.threshold,
        p_value=column.p_adjusted,
        n=column.n_current,
        reason=f"broken: {broken}" if lost else column.error or column.reason,
    )


def _of_rows(found: MultivariateVerdict) -> Verdict:
    """The verdict on whole rows: of no feature, its metric is the method."""
    words = found.reason
    if words is None:
        sizes = f"{found.n_used[0]:,} reference and {found.n_used[1]:,} current rows"
        verb = "moved" if found.drifted else "have not moved"
        words = f"all columns together {verb}: {found.method} {found.statistic:.3g}, p = {found.p_value:.2g} ({sizes})"
    return Verdict(
        signal="drift",
        status=found.severity.status if found.drifted else found.status,
        severity=found.severity,
        metric=found.method,
        value=found.statistic,
        p_value=found.p_value,
        n=found.n_current,
        reason=words,
    )
