"""What a check found, in one line for people: which metric fell, which column moved, by how much."""

from __future__ import annotations

from collections.abc import Collection, Mapping, Sequence
from typing import Any

__all__ = ["findings", "p_words"]

MOST_NAMED = 3
SMALLEST_P = 1e-16
SIGNALS: Mapping[str, str] = {
    **dict.fromkeys(("drift_detected", "drift_severity", "n_drifted", "max_drift_score"), "drift"),
    **{f"{role}_drift{of}": "output" for role in ("prediction", "score", "confidence") for of in ("", "_value")},
    "output_drift": "output",
    **dict.fromkeys(("performance_degraded", "performance_severity"), "performance"),
    **dict.fromkeys(("quality_failed", "quality_severity", "broken_columns"), "quality"),
}
"""What the metrics of a rule that only count or grade verdicts are about."""

Verdict = Mapping[str, Any]


def findings(check: Mapping[str, Any], names: Collection[str]) -> str | None:
    """The verdicts that made a rule over these metric names fire; None where its own metrics say it better.

    Examples
    --------
    >>> verdict = {"signal": "drift", "severity": "medium", "feature": "dep_delay", "metric": "psi",
    ...            "value": 0.3141, "threshold": 0.1, "p_value": 0.0, "n": 500}
    >>> findings({"verdicts": [verdict]}, ["drift_detected"])
    'dep_delay: psi 0.314 ≥ 0.1'
    """
    signals = dict.fromkeys(SIGNALS[name] for name in names if name in SIGNALS)
    found = [_words(check, signal) for signal in signals]
    return "; ".join(words for words in found if words) or None


def p_words(p: float) -> str:
    """A p-value to two digits, and no further down than its computation can be trusted.

    Examples
    --------
    >>> p_words(0.01234), p_words(3e-40)
    ('p = 0.012', 'p < 1e-16')
    """
    return f"p = {p:.2g}" if p >= SMALLEST_P else f"p < {SMALLEST_P:.0e}"


def _words(check: Mapping[str, Any], signal: str) -> str:
    raised = [v for v in check.get("verdicts") or () if v["signal"] == signal and v["severity"] != "none"]
    grades = {"high": 0, "medium": 1, "low": 2}
    order = check.get("culprits") or ()
    raised.sort(
        key=lambda v: (grades[v["severity"]], order.index(v["feature"]) if v["feature"] in order else len(order))
    )
    baseline = (check.get("performance") or {}).get("baseline") or {}
    return _listed([_metric(v, baseline) if signal == "performance" else _column(v) for v in raised])


def _listed(parts: Sequence[str]) -> str:
    more = f"; and {len(parts) - MOST_NAMED} more" if len(parts) > MOST_NAMED else ""
    return "; ".join(parts[:MOST_NAMED]) + more


def _metric(verdict: Verdict, baseline: Mapping[str, float]) -> str:
    name, value, limit, n = verdict["metric"], verdict.get("value"), verdict.get("threshold"), verdict.get("n")
    if value is None or limit is None:
        return str(verdict.get("reason") or name)
    against = f" (baseline {baseline[name]:.4g})" if name in baseline else ""
    side = "below" if value < limit else "above"
    return f"{name} {value:.4g} is {side} its limit {limit:.4g}{against}, n={n or 0:,}"


def _column(verdict: Verdict) -> str:
    feature, metric, value, limit, p = (
        verdict.get(key) for key in ("feature", "metric", "value", "threshold", "p_value")
    )
    feature = feature or ("all columns together" if verdict["signal"] == "drift" else None)
    if value is None or verdict["signal"] not in ("drift", "output"):
        return ": ".join(str(part) for part in (feature, verdict.get("reason") or metric) if part)
    if limit is not None and value >= limit:
        return f"{feature}: {metric} {value:.3g} ≥ {limit:.3g}"
    if limit is None and p is not None:
        return f"{feature}: {metric} {value:.3g}, {p_words(p)}"
    return f"{feature}: {verdict.get('reason') or f'{metric} {value:.3g}'}"
